"""Which records a node key sees in a run with loops: those behind its edges, and those that it names.

Edges say exactly whose record it is. A name means the latest: in the rounds that reader and named node share,
the reader's own round if the node has run in it, else the latest before it; of a loop that the reader is
not in, the last round. How often a loop turned is told by marks (see ``marks``); what is looked for is asked
for step by step, so that whoever has the facts can answer from a dictionary or a store.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from flowcraft.engine.keys import NodeKey
from flowcraft.engine.marks import ExitMark, exit_name, over_name
from flowcraft.engine.plan import Plan
from flowcraft.records import NodeRecord

MOST_AT_ONCE: Final = 64
"""Rounds that are looked through in one request, where a node has not run for long."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Facts that are needed to go on."""

    keys: Sequence[str] = ()
    marks: Sequence[str] = ()


@dataclass(slots=True)
class Known:
    """Facts that were asked for; what does not exist is None."""

    records: MutableMapping[str, NodeRecord | None] = field(default_factory=dict)
    marks: MutableMapping[str, Any] = field(default_factory=dict)

    def answer(self, ask: Ask, records: Mapping[str, NodeRecord], marks: Mapping[str, Any]) -> None:
        """Learn what was asked for."""
        self.records.update((key, records.get(key)) for key in ask.keys)
        self.marks.update((name, marks.get(name)) for name in ask.marks)


@dataclass(slots=True)
class Seen:
    """What a node key sees.

    Attributes:
        states: Which of the edges it waits for are taken or dead; open ones are not in it.
        edges: By edge, the record of the source that took it.
        records: By node id, the record that a name means.
        sources: The resolved records that its edges leave, whether they took them or not.
    """

    states: dict[str, bool] = field(default_factory=dict)
    edges: dict[int, NodeRecord] = field(default_factory=dict)
    records: dict[str, NodeRecord] = field(default_factory=dict)
    sources: list[NodeRecord] = field(default_factory=list)


_Search = Generator[Ask, None, None]


class Lookup:
    """Looks up what one node key sees.

    Attributes:
        seen: What was found so far.
    """

    def __init__(
        self, plan: Plan, key: NodeKey, named: Iterable[str], known: Known, *, edges: bool = True
    ) -> None:
        """Args: the plan; the reader; node ids that it names; facts; whether edges are looked up, too."""
        self._plan = plan
        self._key = key
        self._known = known
        self.seen = Seen()
        searches = [self._edge(position) for position in plan.incoming(str(key))] if edges else []
        searches += [self._name(node_id) for node_id in named if node_id in plan.nodes]
        self._open: list[tuple[_Search, Ask]] = [(search, Ask()) for search in searches]

    def ask(self) -> Ask | None:
        """What is needed next; None when all is found."""
        waiting: list[tuple[_Search, Ask]] = []
        for search, asked in self._open:
            ask: Ask | None = asked
            while ask is not None and not (ask := self._lacking(ask)).keys and not ask.marks:
                ask = next(search, None)
            if ask is not None:
                waiting.append((search, ask))
        self._open = waiting
        if not waiting:
            return None
        return Ask(
            tuple(dict.fromkeys(key for _, ask in waiting for key in ask.keys)),
            tuple(dict.fromkeys(name for _, ask in waiting for name in ask.marks)),
        )

    def _lacking(self, ask: Ask) -> Ask:
        known = self._known
        return Ask(
            [key for key in ask.keys if key not in known.records],
            [name for name in ask.marks if name not in known.marks],
        )

    # ---- edges ----

    def _edge(self, position: int) -> _Search:
        hop = self._plan.hops[position]
        rounds = hop.prefix(self._key.rounds)
        if hop.leaves:
            name = exit_name(position, rounds)
            yield Ask(marks=[name])
            mark = ExitMark.read(self._known.marks[name])
            if mark is None:
                return
            if not mark.taken:
                self.seen.states[str(position)] = False
                return
            rounds = mark.rounds
        key = str(NodeKey(hop.source, rounds))
        yield Ask([key])
        record = self._known.records[key]
        if record is not None and record.resolved:
            taken = record.took(position)
            self.seen.sources.append(record)
            self.seen.states[str(position)] = taken
            if taken:
                self.seen.edges[position] = record

    # ---- names ----

    def _name(self, node_id: str) -> _Search:
        plan, reader = self._plan, self._key
        scope, around = plan.nodes[node_id].scope, self._scope()
        shared = _common(scope, around)
        rounds = yield from self._last(reader.rounds[:shared], scope)
        width = 2 if shared == len(scope) else 1
        while rounds is not None:
            numbers = range(rounds[-1], max(rounds[-1] - width, 0), -1) if rounds else (0,)
            keys = [str(NodeKey(node_id, (*rounds[:-1], n) if rounds else ())) for n in numbers]
            if self._ran(keys[0]):
                keys = keys[:1]  # no need to ask for earlier rounds
            yield Ask(keys)
            for key in keys:
                record = self._known.records[key]
                if record is not None and record.status == "completed":
                    self.seen.records[node_id] = record
                    return
            width = min(width * 4, MOST_AT_ONCE)
            rounds = yield from self._before((*rounds[:-1], numbers[-1]) if rounds else (), scope)

    def _ran(self, key: str) -> bool:
        record = self._known.records.get(key)
        return record is not None and record.status == "completed"

    def _scope(self) -> tuple[str, ...]:
        node = self._plan.nodes.get(self._key.node)
        return () if node is None else node.scope

    def _before(
        self, rounds: tuple[int, ...], scope: tuple[str, ...]
    ) -> Generator[Ask, None, tuple[int, ...] | None]:
        """The rounds before these; None if they are the first ones."""
        for place in range(len(rounds) - 1, -1, -1):
            while rounds[place] > 1:
                rounds = (*rounds[:place], rounds[place] - 1, *rounds[place + 1 :])
                found = yield from self._last(rounds[: place + 1], scope)
                if found is not None:
                    return found
        return None

    def _last(
        self, prefix: tuple[int, ...], scope: tuple[str, ...]
    ) -> Generator[Ask, None, tuple[int, ...] | None]:
        """The last round of each further loop of a scope; None if nothing tells of one of them."""
        while len(prefix) < len(scope):
            loop = self._plan.loops[scope[len(prefix)]]
            exits = [exit_name(position, prefix) for position in loop.exits]
            over = [] if loop.tight else [over_name(loop.head, prefix)]
            yield Ask(marks=[*exits, *over])
            found = [ExitMark.read(self._known.marks[name]) for name in exits]
            marks = [(mark, position) for mark, position in zip(found, loop.exits, strict=True) if mark]
            taken = [(mark.rounds, position) for mark, position in marks if mark.taken]
            number = self._known.marks[over[0]] if over else None
            if taken:
                rounds, position = max(taken)
                source = self._plan.nodes[self._plan.hops[position].source].scope
                prefix = rounds[: _common(source, scope)]
            elif isinstance(number, int):
                prefix = (*prefix, number)
            elif marks:
                prefix = marks[0][0].rounds[: len(prefix) + 1]
            else:
                return None
        return prefix


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    return next(
        (n for n, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]),
        min(len(one), len(other)),
    )
