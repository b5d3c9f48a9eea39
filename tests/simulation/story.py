"""Stories: a random blueprint, what its nodes do, what people do to the run, and what must come of it.

A story is drawn and told in one pass over the graph: the sequential meaning of each node (its input, output
and taken edges) is computed here, without the engine, while the edges that leave it are furnished.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

import orjson

from flowcraft.blueprint import Blueprint
from flowcraft.engine.plan import Plan

Kind = Literal["work", "sleep", "wait"]
KINDS: Final[tuple[Kind, ...]] = ("work", "sleep", "wait")
State = Literal["ran", "skipped", "failed", "unreached"]
Verb = Literal["cancel", "suspend", "start again", "stop a worker"]
VERBS: Final[tuple[Verb, ...]] = ("cancel", "suspend", "start again", "stop a worker")
RUN_INPUT: Final = {"amount": 42, "who": {"name": "ada"}}
DECISION: Final = {"by": "ada"}
FOREVER: Final = 99
SECOND_EDITION: Final = 100_000
"""Stories from this seed on have more to tell; those before it stay as they were, because tests name them."""
THIRD_EDITION: Final = 1_000_000
"""Stories from this seed on have still more: nodes that never say the same twice, a key that all write, many
acts, hours without any worker."""


@dataclass(frozen=True)
class Act:
    """What somebody does to the run: ``after_s`` from its start, or ``lasts_s`` later undone."""

    verb: Verb
    after_s: float
    lasts_s: float = 0.0


@dataclass
class Told:
    """What becomes of one node: its state, and if it ran, its output and whether that is always the same."""

    state: State
    output: Any = None
    certain: bool = True


@dataclass(frozen=True)
class Story:
    """What is simulated.

    Attributes:
        name: Shape and particulars, for people.
        blueprint: The blueprint.
        told: By node id: what must become of it.
        decisions: Waiting nodes, with the action of their decision; those left out are never decided.
        acts: What people do meanwhile.
        by_hand: Started as a hand-written client does: an unpinned header, one message a start node.
        kills: Whether a node ends its worker each time.
        bare: By hand, and the header does not even name a blueprint: only the messages do.
        pinned: The one who starts it gives the blueprint.
        deadline_s: Until when it must be over.
        strangers: How many workers of the queue do not know the blueprint.
        indecision: Every decision is made twice, and then otherwise.
        late_s: How long there is no worker at first.
        families: By the key of each owner of children: theirs.
        subflows: Blueprints of the runs that its nodes start.
        busy: Nodes that work for so long that the others must be done before.
        newer: What every second worker has instead of the blueprint.
        kept_s: How long its facts are kept after its end; None is for ever.
        beside: Another run of the same blueprint is started with it, to which nobody does anything.
    """

    name: str
    blueprint: Blueprint
    told: dict[str, Told]
    decisions: dict[str, str | None]
    acts: tuple[Act, ...] = ()
    by_hand: bool = False
    kills: bool = False
    bare: bool = False
    pinned: bool = False
    deadline_s: float | None = None
    strangers: int = 0
    indecision: bool = False
    late_s: float = 0.0
    families: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    subflows: tuple[Blueprint, ...] = ()
    busy: tuple[str, ...] = ()
    newer: Blueprint | None = None
    kept_s: float | None = None
    beside: bool = False

    @property
    def widest(self) -> int:
        """The most edges that enter one join, the end included."""
        plan = Plan.of(self.blueprint)
        joins = [len(node.incoming) for node in plan.nodes.values()]
        return max(len(plan.end_sources), *joins, *map(len, self.families.values()))

    @property
    def status(self) -> str:
        """How the run ends when nobody interferes."""
        states = {told.state for told in self.told.values()}
        if "failed" in states:
            return "failed"
        return "awaiting" if "unreached" in states else "completed"


@dataclass
class _Edge:
    source: str
    target: str
    action: str | None = None
    condition: str | None = None
    holds: bool = True
    state: Literal["open", "taken", "dead"] = "open"


@dataclass
class _Node:
    id: str
    any_join: bool = False
    kind: Kind = "work"
    document: dict[str, Any] = field(default_factory=dict)
    action: str | None = None
    fickle: bool = False
    """Its output is another one each time."""
    before: frozenset[str] = frozenset()
    """Nodes that certainly ran before this one."""


SHAPES: Final[dict[str, tuple[str, str]]] = {
    "one": ("a", ""),
    "linear": ("a>b b>c", ""),
    "diamond": ("a>b a>c b>d c>d", ""),
    "diamond with a tail": ("a>b a>c b>d c>d d>e e>f", ""),
    "two ends": ("a>b a>c", ""),
    "two starts": ("a>c b>c c>d", ""),
    "three starts that cross": ("a>d b>d b>e c>e d>f e>f", ""),
    "any of two": ("a>b a>c b>d c>d", "d"),
    "any of two with a tail": ("a>b a>c b>d c>d d>e", "d"),
    "any of three starts": ("a>d b>d c>d d>e", "d"),
    "any of any": ("a>b a>c a>d b>e c>e d>f e>f f>g", "ef"),
    "nested branches": ("a>b a>c b>d b>e d>f e>f f>g c>g g>h", ""),
    "branches in a row": ("a>b a>c b>d c>d d>e d>f e>g f>g", ""),
    "fan of eight": (" ".join(f"a>{n} {n}>z" for n in "bcdefghi"), ""),
    "fan of three any": ("a>b a>c a>d b>e c>e d>e e>f", "e"),
    "crossing": ("a>c a>d b>c b>d c>e d>e", ""),
}

WIDE: Final = "bcdefghijklmnopqrstuvw"
MORE_SHAPES: Final[dict[str, tuple[str, str]]] = {
    "fan of twenty-two": (" ".join(f"a>{n} {n}>z" for n in WIDE), ""),
    "any fan of twenty-two": (" ".join(f"a>{n} {n}>y" for n in WIDE) + " y>z", "y"),
    "twenty-three ends": (" ".join(f"a>{n}" for n in WIDE), ""),
    "two joins of one fan": (" ".join(f"a>{n} {n}>y {n}>z" for n in "bcde") + " y>x z>x", "y"),
}


def draw(seed: int) -> Story:
    """The story of a seed."""
    edition = 1 + (seed >= SECOND_EDITION) + (seed >= THIRD_EDITION)
    return _Author(random.Random(f"story {seed}"), edition).story()  # noqa: S311


class _Author:
    def __init__(self, rng: random.Random, edition: int) -> None:
        self.rng = rng
        self.more = edition > 1
        self.newest = edition > 2
        self.shape, edges, any_joins = self._shape()
        pairs = [tuple(pair.split(">")) for pair in edges.split() if ">" in pair]
        ids = dict.fromkeys(node_id for pair in edges.split() for node_id in pair.split(">"))
        self.edges = [_Edge(source, target) for source, target in pairs]
        self.nodes = {node_id: _Node(node_id, node_id in any_joins) for node_id in _ordered(ids, pairs)}
        self.told: dict[str, Told] = {}
        self.decisions: dict[str, str | None] = {}
        self.kills = False
        self.special = rng.random() < 0.5  # sleeps, waits, failures in every second story only

    def story(self) -> Story:
        for node in self.nodes.values():
            self._tell(node)
        blueprint = Blueprint.from_dict(
            {
                "id": "story",
                "metadata": {"version": "1"},
                "nodes": [node.document for node in self.nodes.values()],
                "edges": [
                    {"source": e.source, "target": e.target, "action": e.action, "condition": e.condition}
                    for e in self.edges
                ],
            }
        )
        acts = self._acts()
        story = Story(
            f"{self.shape}{''.join(f', {act.verb} at {act.after_s:.1f} s' for act in acts)}",
            blueprint,
            self.told,
            self.decisions,
            acts,
            by_hand=self.rng.random() < 0.1,
            kills=self.kills,
        )
        return self._embellished(story) if self.more else story

    def _embellished(self, story: Story) -> Story:
        chance = self.rng.random
        return replace(
            story,
            bare=story.by_hand and chance() < 0.5,
            pinned=not story.by_hand and chance() < 0.2,
            deadline_s=self.rng.choice([1.0, 4.0, 20.0]) if chance() < 0.1 and not story.by_hand else None,
            strangers=1 if chance() < 0.15 else 0,
            indecision=chance() < 0.2,
            late_s=7200.0 if self.newest and chance() < 0.03 else 0.0,
        )

    def _shape(self) -> tuple[str, str, str]:
        names = [*SHAPES, *(MORE_SHAPES if self.more else ()), "random", "random", "random"]
        name = self.rng.choice(names)
        if name != "random":
            return (name, *(SHAPES | MORE_SHAPES)[name])
        ids = "abcdefghi"[: self.rng.randint(3, 9)]
        pairs = {
            f"{source}>{target}"
            for number, target in enumerate(ids)
            for source in self.rng.sample(ids[:number], min(number, self.rng.randint(0, 3)))
        }
        any_joins = "".join(node_id for node_id in ids if self.rng.random() < 0.3)
        return name, " ".join([*ids, *sorted(pairs)]), any_joins

    def _acts(self) -> tuple[Act, ...]:
        acts: list[Act] = []
        if self.newest and self.rng.random() < 0.15:
            return self._many_acts()
        if self.rng.random() < 0.08:
            acts.append(Act("cancel", self.rng.uniform(0.0, 8.0)))
        if self.rng.random() < 0.15:
            acts.append(Act("suspend", self.rng.uniform(0.0, 6.0), self.rng.choice([0.02, 0.5, 5.0, 40.0])))
        if self.rng.random() < 0.1:
            acts.append(Act("start again", self.rng.uniform(0.0, 8.0)))
        if self.rng.random() < 0.15:
            acts.append(Act("stop a worker", self.rng.uniform(0.0, 8.0)))
        return tuple(acts)

    def _many_acts(self) -> tuple[Act, ...]:
        verbs: list[Verb] = self.rng.choices(VERBS, [1, 4, 3, 2], k=self.rng.randint(2, 5))
        return tuple(
            Act(verb, self.rng.uniform(0.0, 15.0), self.rng.choice([0.02, 0.5, 5.0])) for verb in verbs
        )

    # ---- one node ----

    def _tell(self, node: _Node) -> None:
        incoming = [edge for edge in self.edges if edge.target == node.id]
        taken = [edge for edge in incoming if edge.state == "taken"]
        is_open = any(edge.state == "open" for edge in incoming)
        if node.any_join and len(incoming) > 1:
            runs = bool(taken) or not incoming
            skipped = not taken and not is_open
        else:
            runs = not is_open and (bool(taken) or not incoming)
            skipped = not is_open and not runs
        several = len(incoming) > 1 and node.any_join
        if runs and not several:
            known = [self.nodes[edge.source].before | {edge.source} for edge in taken]
            node.before = frozenset().union(*known)
        self._furnish(node)
        if runs:
            self.told[node.id] = self._run(node, taken, vague=several and len(incoming) > 1)
        else:
            self.told[node.id] = Told("skipped" if skipped else "unreached")
        self._leave(node)

    def _furnish(self, node: _Node) -> None:
        node.document = {"id": node.id, "uses": "work", "params": {"takes_s": self._takes_s()}}
        if node.any_join:
            node.document["config"] = {"joinStrategy": "any"}
        if self.special:
            node.kind = self.rng.choices(KINDS, [8, 1, 1])[0]
        if node.kind == "sleep":
            seconds = self.rng.choice([1, 2, 45])
            node.document.update(uses="sleep", params={"duration": f"{seconds}s"})
        elif node.kind == "wait":
            node.document.update(uses="wait", params={})

    def _takes_s(self) -> float:
        return self.rng.choices([0.0, 0.1, 1.0, 20.0], [6, 3, 3, 0.5])[0]

    def _run(self, node: _Node, taken: list[_Edge], *, vague: bool) -> Told:
        value, certain = self._input(node, taken)
        certain = certain and not vague
        if node.kind == "sleep":
            return Told("ran", value, certain)
        if node.kind == "wait":
            return self._wait(node)
        params = node.document["params"]
        if not certain:
            params["opaque"] = True
        if self.rng.random() < 0.4:
            params["action"] = node.action = self.rng.choice(["go", "stop"])
        works = self._works(node)
        if works:
            params["reads"] = {
                name: self.told[name].output for name in self.rng.sample(works, min(2, len(works)))
            }
        if self.newest and self.special and self.rng.random() < 0.1:
            params["fickle"] = node.fickle = True
            return self._troubled(node, params, "")
        output = f"{node.id}!" if not certain else f"{node.id}-{digest(value)}"
        return self._troubled(node, params, output)

    def _troubled(self, node: _Node, params: dict[str, Any], output: str) -> Told:
        config = node.document.setdefault("config", {})
        trouble = self.rng.random() if self.special else 1.0
        if trouble < 0.03:
            params["kills"] = self.kills = True
            return Told("failed")
        if trouble < 0.07:
            params["fails"] = FOREVER
            config.update(maxRetries=self.rng.choice([1, 2]), retryDelay=self.rng.choice([0, 100, 9000]))
            return Told("failed")
        if trouble < 0.15:
            params["fails"] = self.rng.choice([1, 2])
            config.update(maxRetries=3, retryDelay=self.rng.choice([0, 100, 9000]))
        elif trouble < 0.19 and self.more:
            params["fails"] = FOREVER
            config.update(fallback="spare", maxRetries=self.rng.choice([1, 2]))
            output, node.fickle = f"{node.id}~", False
        elif trouble < 0.23 and self.more:
            params["stalls"] = 1
            config.update(timeout=60_000, maxRetries=3)
        return Told("ran", output, not node.fickle)

    def _works(self, node: _Node) -> list[str]:
        """Nodes before this one that wrote what can be told beforehand."""
        before = (self.nodes[name] for name in sorted(node.before))
        return [one.id for one in before if one.kind == "work" and not one.fickle]

    def _wait(self, node: _Node) -> Told:
        if self.rng.random() < 0.15:
            return Told("unreached")  # nobody ever decides
        node.action = self.rng.choice([None, "go", "stop"])
        self.decisions[node.id] = node.action
        return Told("ran", DECISION)

    def _input(self, node: _Node, taken: list[_Edge]) -> tuple[Any, bool]:
        """The node's input and whether it is always this one; it may name its sources itself."""
        if node.before and node.kind != "wait" and self.rng.random() < 0.25:
            sources = self.rng.sample(sorted(node.before), min(2, len(node.before)))
            named: dict[str, str] = {
                f"x{name}": self.rng.choice([name, f"_outputs.{name}"]) for name in sources
            }
            named["amount"] = "amount"
            values: dict[str, Any] = {f"x{name}": self.told[name].output for name in sources}
            values["amount"] = 42
            if self.nodes[sources[0]].kind == "work":
                named["key"], values["key"] = f"k_{sources[0]}", self.told[sources[0]].output
            node.document["inputs"] = named
            return values, all(self.told[name].certain for name in sources)
        if not any(edge.target == node.id for edge in self.edges):
            return RUN_INPUT, True
        certain = all(self.told[edge.source].certain for edge in taken)
        outputs = {edge.source: self.told[edge.source].output for edge in taken}
        return (next(iter(outputs.values())) if len(outputs) == 1 else outputs), certain

    # ---- the edges that leave it ----

    def _leave(self, node: _Node) -> None:
        told = self.told[node.id]
        leaving = [edge for edge in self.edges if edge.source == node.id]
        for edge in leaving:
            self._guard(edge, node, told)
        if told.state in ("failed", "unreached"):
            return
        for edge in leaving:
            edge.state = "dead"
        if told.state == "ran":
            own = [e for e in leaving if node.action is not None and e.action == node.action and e.holds]
            for edge in own or [e for e in leaving if e.action is None and e.holds]:
                edge.state = "taken"

    def _guard(self, edge: _Edge, node: _Node, told: Told) -> None:
        if self.rng.random() < 0.25:
            edge.action = self.rng.choice(["go", "stop"])
        if node.kind != "work" or self.rng.random() >= 0.3:
            return
        known = self._works(node)
        options: list[tuple[str, bool]] = [("amount > 10", True), ("amount > 100", False)]
        if told.state == "ran" and not node.fickle:
            if self.newest:
                options += [(f"last == '{told.output}'", True)]
            options += [(f"result.output == '{told.output}'", True), ("result.output == ''", False)]
            options += [(f"k_{node.id} == '{told.output}'", True)]
        for name in known[:2]:
            value = self.told[name].output
            options += [(f"k_{name} == '{value}'", True), (f"k_{name} != '{value}'", False)]
            options += [(f"_outputs.{name} == '{value}'", True)]
        edge.condition, edge.holds = self.rng.choice(options)


def _ordered(ids: dict[str, None], pairs: list[Any]) -> list[str]:
    """Node ids so that every edge goes forward."""
    order: list[str] = []
    while len(order) < len(ids):
        order += [
            node_id
            for node_id in ids
            if node_id not in order and all(source in order for source, target in pairs if target == node_id)
        ]
    return order


def digest(value: Any) -> str:
    """A few letters that tell one JSON value from another; 3.0 and 3 are the same."""
    return hashlib.sha256(orjson.dumps(_whole(value), option=orjson.OPT_SORT_KEYS)).hexdigest()[:6]


def _whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
