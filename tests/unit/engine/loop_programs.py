"""Random structured programs with loops, drawn as blueprints; and what they mean, read off their structure.

A program is run by walking its pieces (``run``); the engine sees only nodes and edges. A piece is walked even
where it is dead: then it executes nothing, and what follows is dead too, unless another way leads there.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from flowcraft.blueprint import Blueprint, EdgeDefinition, NodeConfig, NodeDefinition
from flowcraft.engine.keys import NodeKey
from flowcraft.engine.plan import Plan

Rounds = tuple[int, ...]
Exit = tuple[str, str | None]
"""A node that something follows, and the action that leads there."""


@dataclass
class Drawing:
    """The graph as far as it is drawn."""

    nodes: list[NodeDefinition] = field(default_factory=list)
    edges: list[EdgeDefinition] = field(default_factory=list)

    def node(self, *, any_join: bool = False) -> str:
        node_id = f"n{len(self.nodes)}"
        config = NodeConfig(join_strategy="any" if any_join else "all")
        self.nodes.append(NodeDefinition(node_id, "code", config=config))
        return node_id

    def edge(self, source: Exit, target: str) -> None:
        self.edges.append(EdgeDefinition(source[0], target, source[1]))


@dataclass
class World:
    """What happens: the actions that nodes choose, and which keys were executed."""

    seed: int
    executed: list[str] = field(default_factory=list)

    def execute(self, node: str, rounds: Rounds) -> None:
        self.executed.append(str(NodeKey(node, rounds)))

    def chance(self, node: str, rounds: Rounds) -> float:
        return random.Random(f"{self.seed} {NodeKey(node, rounds)}").random()  # noqa: S311


@dataclass
class LoopState:
    """What became of a loop while it ran: an exit from inside was taken, the round goes around again."""

    left: bool = False
    again: bool = False


class Piece:
    """A part of a program with one entry and one exit."""

    entry: str
    exit: Exit

    def draw(self, drawing: Drawing, loops: list[Looping]) -> None:
        raise NotImplementedError

    def run(self, world: World, rounds: Rounds, loops: list[LoopState], *, live: bool) -> bool:
        raise NotImplementedError

    def action(self, node: str, rounds: Rounds, world: World) -> str | None:
        """The action of one of its own nodes; None if it has no choice."""
        raise NotImplementedError


@dataclass
class Task(Piece):
    """One node; with a spur it has another behind it that leads nowhere."""

    spur: bool = False

    def draw(self, drawing: Drawing, loops: list[Looping]) -> None:
        self.entry = drawing.node()
        self.exit = (self.entry, None)
        if self.spur:
            self.end = drawing.node()
            drawing.edge(self.exit, self.end)

    def run(self, world: World, rounds: Rounds, loops: list[LoopState], *, live: bool) -> bool:
        if live:
            world.execute(self.entry, rounds)
            if self.spur:
                world.execute(self.end, rounds)
        return live


@dataclass
class Sequence(Piece):
    """One piece after the other."""

    pieces: list[Piece]

    def draw(self, drawing: Drawing, loops: list[Looping]) -> None:
        for number, piece in enumerate(self.pieces):
            piece.draw(drawing, loops)
            if number:
                drawing.edge(self.pieces[number - 1].exit, piece.entry)
        self.entry, self.exit = self.pieces[0].entry, self.pieces[-1].exit

    def run(self, world: World, rounds: Rounds, loops: list[LoopState], *, live: bool) -> bool:
        for piece in self.pieces:
            live = piece.run(world, rounds, loops, live=live)
        return live


@dataclass
class Branches(Piece):
    """Pieces side by side, or (``choice``) one of them; a join behind them."""

    pieces: list[Piece | None]
    choice: bool
    any_join: bool

    def draw(self, drawing: Drawing, loops: list[Looping]) -> None:
        self.entry = drawing.node()
        join = drawing.node(any_join=self.any_join)
        self.exit = (join, None)
        for number, piece in enumerate(self.pieces):
            way: Exit = (self.entry, f"way{number}" if self.choice else None)
            if piece is None:
                drawing.edge(way, join)
            else:
                piece.draw(drawing, loops)
                drawing.edge(way, piece.entry)
                drawing.edge(piece.exit, join)

    def run(self, world: World, rounds: Rounds, loops: list[LoopState], *, live: bool) -> bool:
        if live:
            world.execute(self.entry, rounds)
        chosen = chosen_way(len(self.pieces), self.entry, rounds, world)
        joined = False
        for number, piece in enumerate(self.pieces):
            goes = live and (not self.choice or number == chosen)
            joined |= goes if piece is None else piece.run(world, rounds, loops, live=goes)
        if joined:
            world.execute(self.exit[0], rounds)
        return joined


def chosen_way(count: int, node: str, rounds: Rounds, world: World) -> int:
    """Which of its ways a node with a choice takes."""
    return int(world.chance(node, rounds) * count)


@dataclass
class Leave(Piece):
    """A node that may leave one of the loops around it: 0 is the innermost."""

    depth: int

    def draw(self, drawing: Drawing, loops: list[Looping]) -> None:
        self.entry = drawing.node()
        self.exit = (self.entry, "on")
        drawing.edge((self.entry, "out"), loops[-1 - self.depth].after)

    def run(self, world: World, rounds: Rounds, loops: list[LoopState], *, live: bool) -> bool:
        if not live:
            return False
        world.execute(self.entry, rounds)
        leaves = chosen_way(3, self.entry, rounds, world) == 0
        loops[-1 - self.depth].left |= leaves
        return not leaves


@dataclass
class Again(Piece):
    """A node that may begin the next round of a loop around it; not in a fourth round."""

    depth: int

    def draw(self, drawing: Drawing, loops: list[Looping]) -> None:
        self.entry = drawing.node()
        self.exit = (self.entry, "on")
        drawing.edge((self.entry, "next"), loops[-1 - self.depth].head)

    def run(self, world: World, rounds: Rounds, loops: list[LoopState], *, live: bool) -> bool:
        if not live:
            return False
        world.execute(self.entry, rounds)
        again = goes_again(self, rounds, world)
        loops[-1 - self.depth].again |= again
        return not again


def goes_again(piece: Again, rounds: Rounds, world: World) -> bool:
    return rounds[-1 - piece.depth] < 4 and chosen_way(2, piece.entry, rounds, world) == 0


@dataclass
class Looping(Piece):
    """A loop: its controller comes last, or (``first``) at the head; a node after it where it can be left."""

    body: Piece
    first: bool
    left_from_inside: bool
    any_head: bool
    any_after: bool

    def draw(self, drawing: Drawing, loops: list[Looping]) -> None:
        if self.first:
            self.controller = self.head = drawing.node(any_join=self.any_head)
        else:
            self.head = drawing.node(any_join=self.any_head)
            self.controller = drawing.node(any_join=self.any_head)
        self.exit = (self.controller, "break")
        if self.left_from_inside:
            self.after = drawing.node(any_join=self.any_after)
            drawing.edge(self.exit, self.after)
            self.exit = (self.after, None)
        self.entry = self.head
        self.body.draw(drawing, [*loops, self])
        if self.first:
            drawing.edge((self.controller, "continue"), self.body.entry)
            drawing.edge(self.body.exit, self.controller)
        else:
            drawing.edge((self.head, None), self.body.entry)
            drawing.edge(self.body.exit, self.controller)
            drawing.edge((self.controller, "continue"), self.head)

    def run(self, world: World, rounds: Rounds, loops: list[LoopState], *, live: bool) -> bool:
        state, number, broke = LoopState(), 0, False
        goes = live
        while goes:
            number += 1
            inside = (*rounds, number)
            state.again = False
            if self.first:
                world.execute(self.controller, inside)
                goes = turns(self, inside, world)
                broke |= not goes
                goes = self.body.run(world, inside, [*loops, state], live=goes)
            else:
                world.execute(self.head, inside)
                goes = self.body.run(world, inside, [*loops, state], live=True)
                if goes:
                    world.execute(self.controller, inside)
                    goes = turns(self, inside, world)
                    broke |= not goes
            goes = goes or state.again
        if not live:
            self.body.run(world, (*rounds, 1), [*loops, state], live=False)
        if self.left_from_inside and (broke or state.left):
            world.execute(self.after, rounds)
        return broke or state.left


def turns(loop: Looping, rounds: Rounds, world: World) -> bool:
    return rounds[-1] < 4 and chosen_way(2, loop.controller, rounds, world) == 0


@dataclass
class Program:
    """A program, drawn."""

    root: Piece
    plan: Plan
    choosers: dict[str, Piece]
    seed: int

    def action(self, key: str) -> str | None:
        """The action that a node key chooses when it runs."""
        place, world = NodeKey.parse(key), World(self.seed)
        piece = self.choosers.get(place.node)
        if isinstance(piece, Branches):
            return f"way{chosen_way(len(piece.pieces), place.node, place.rounds, world)}"
        if isinstance(piece, Leave):
            return "out" if chosen_way(3, place.node, place.rounds, world) == 0 else "on"
        if isinstance(piece, Again):
            return "next" if goes_again(piece, place.rounds, world) else "on"
        if isinstance(piece, Looping):
            return "continue" if turns(piece, place.rounds, world) else "break"
        return None

    def taken(self, key: str) -> tuple[int, ...]:
        """The edges that a node key takes when it runs."""
        action, plan = self.action(key), self.plan
        return tuple(p for p in plan.node(key).outgoing if plan.edges[p].action in (None, action))

    def meaning(self) -> list[str]:
        """The node keys that it executes, read off its structure."""
        world = World(self.seed)
        self.root.run(world, (), [], live=True)
        return sorted(world.executed)


def program(seed: int, *, depth: int = 4, max_nodes: int = 40) -> Program:
    """The program of a seed."""
    rng = random.Random(seed)  # noqa: S311
    while True:
        root = Sequence([Task(), _piece(rng, depth, [], parallel=0), Task(spur=rng.random() < 0.3)])
        drawing = Drawing()
        root.draw(drawing, [])
        if len(drawing.nodes) <= max_nodes and not _leaves_and_turns(root):
            break
    plan = Plan.of(Blueprint("program", tuple(drawing.nodes), tuple(drawing.edges)))
    return Program(root, plan, dict(_choosers(root)), seed)


def _piece(  # noqa: PLR0911  one for each kind
    rng: random.Random, depth: int, loops: list[int], *, parallel: int
) -> Piece:
    """A random piece; ``loops`` holds how many parallel branches were around each loop's body."""
    chance = rng.random()
    if depth == 0 or chance < 0.15:
        return Task(spur=rng.random() < 0.2)
    if chance < 0.35:
        count = rng.randint(2, 3)
        return Sequence([_piece(rng, depth - 1, loops, parallel=parallel) for _ in range(count)])
    if chance < 0.5:
        ways: list[Piece | None] = [
            _piece(rng, depth - 1, loops, parallel=parallel + 1) for _ in range(rng.randint(2, 3))
        ]
        return Branches(ways, choice=False, any_join=rng.random() < 0.3)
    if chance < 0.62:
        ways = [_piece(rng, depth - 1, loops, parallel=parallel) for _ in range(rng.randint(1, 2))]
        return Branches([*ways, None][:2], choice=True, any_join=rng.random() < 0.3)
    if chance < 0.7 and loops:
        return Leave(rng.randrange(len(loops)))
    # Beside a branch that turns, a round may both turn and end; which keys are then inside is another matter.
    again = [number for number, around in enumerate(reversed(loops)) if around == parallel]
    if chance < 0.78 and again:
        return Again(rng.choice(again))
    body = _piece(rng, depth - 1, [*loops, parallel], parallel=parallel)
    return Looping(
        body,
        first=rng.random() < 0.3,
        left_from_inside=any(isinstance(piece, Leave) for piece in _all(body)) or rng.random() < 0.2,
        any_head=rng.random() < 0.4,
        any_after=rng.random() < 0.4,
    )


def _leaves_and_turns(root: Piece) -> bool:
    """Whether one branch may leave a loop within a loop while another turns the outer one.

    What comes after the outer loop is then reached in a round after which it goes on, and belongs to it: so
    says the graph, though the structure does not.
    """
    pieces = _all(root)
    beside = [piece for piece in pieces if isinstance(piece, Branches) and not piece.choice]
    leaves = any(isinstance(inside, Leave) for branches in beside for inside in _all(branches))
    return leaves and any(isinstance(piece, Again) and piece.depth for piece in pieces)


def _all(piece: Piece | None) -> list[Piece]:
    if piece is None:
        return []
    inside: list[Piece | None] = []
    if isinstance(piece, Sequence):
        inside = [*piece.pieces]
    elif isinstance(piece, Branches):
        inside = piece.pieces
    elif isinstance(piece, Looping):
        inside = [piece.body]
    return [piece, *(found for one in inside for found in _all(one))]


def _choosers(root: Piece) -> list[tuple[str, Piece]]:
    found: list[tuple[str, Piece]] = []
    for piece in _all(root):
        if isinstance(piece, Looping):
            found.append((piece.controller, piece))
        elif isinstance(piece, Leave | Again) or (isinstance(piece, Branches) and piece.choice):
            found.append((piece.entry, piece))
    return found
