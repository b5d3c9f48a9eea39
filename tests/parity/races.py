"""What may differ between two of our own runs: nothing but what depends on which edge came first.

An ``any`` join with several taken edges runs at the first of them, so its input tells which ones were there,
and so does all that follows from that input. Of a run that failed, it is open how far other branches came.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tests.parity.outcome import Outcome, same
from tests.parity.programs import Program
from tests.parity.rules import Touch

RACE = "race"


class Races(Touch):
    """Nodes that depend on which edge of an ``any`` join came first."""

    def _used_twice(self) -> set[str]:
        return set()

    def _runs_by(self, node_id: str, entering: list[tuple[int, Mapping[str, Any]]]) -> str | None:
        sources = {edge["source"] for _, edge in entering}
        raced = any(source in self.touched.runs or source in self._leaving for source in sources)
        return RACE if raced else None

    def _often(self, node_id: str, entering: list[tuple[int, Mapping[str, Any]]]) -> None:
        """Never: a node executes once."""

    def _gets(self, node_id: str, entering: list[tuple[int, Mapping[str, Any]]]) -> None:
        node = self._nodes[node_id]
        inputs = node.get("inputs")
        if inputs is not None:
            raced = self._read([inputs] if isinstance(inputs, str) else inputs.values())
        else:
            open_or_taken = [
                edge for position, edge in entering if self._taken(position, edge["source"]) is not False
            ]
            several = len({edge["source"] for edge in open_or_taken}) > 1
            first = several and node["config"].get("joinStrategy") == "any"
            raced = RACE if first else self._passed_on(open_or_taken)
        if raced:
            self.touched.gets[node_id] = RACE

    def _passed_on(self, edges: list[Mapping[str, Any]]) -> str | None:
        for edge in edges:
            transform = edge.get("transform")
            if transform and transform.partition(".")[0] == "context":
                if self._read([transform.partition(".")[2]]):
                    return RACE
            elif edge["source"] in self.touched.gives:
                return RACE
        return None

    def _read(self, names: Any) -> str | None:
        for name in names:
            head = name.removeprefix("_outputs.").partition(".")[0]
            writer = "n" + head[1:] if head.startswith("k") else head
            if writer in self.touched.runs or head in self.touched.gives:
                return RACE
        return None

    def _gives(self, node_id: str) -> None:
        node = self._nodes[node_id]
        code = self._nodes[self._ours.stood_in.get(node_id, node_id)]
        output = "input" if node["uses"] == "sleep" else code["params"].get("output")
        if output == "input" and node_id in self.touched.gets:
            self.touched.gives[node_id] = RACE
        if output == "reads" and self._read(code["params"]["reads"]):
            self.touched.gives[node_id] = RACE


def disagreements(program: Program, one: Outcome, other: Outcome) -> Iterator[str]:
    """What differs between two of our runs that no race explains, in words."""
    raced = Races(program, one).all()
    completed = one.status == other.status == "completed"
    if one.status != other.status and not raced.runs:
        yield f"one is {one.status}, the other {other.status}"
    for node_id in program.order:
        if node_id in raced.runs:
            continue
        here, there = one.records.get(node_id), other.records.get(node_id)
        if completed and not (here and there):
            yield f"{node_id} has no record on one side"
        if here and there and (completed or here.status == there.status):
            yield from _facts(node_id, one, other, gave=node_id not in raced.gives)
            if here.status == "completed":
                yield from _calls(node_id, one, other, got=node_id not in raced.gets)
    if completed and not raced.runs and not same(one.keys, other.keys):
        yield f"context: {one.keys!r}, {other.keys!r}"


def _facts(node_id: str, one: Outcome, other: Outcome, *, gave: bool) -> Iterator[str]:
    here, there = one.records[node_id], other.records[node_id]
    for name in ("status", "action", "attempt", "taken"):
        if getattr(here, name) != getattr(there, name):
            yield f"{name} of {node_id}: {getattr(here, name)!r}, {getattr(there, name)!r}"
    if gave and not same(here.output, there.output):
        yield f"output of {node_id}: {here.output!r}, {there.output!r}"


def _calls(node_id: str, one: Outcome, other: Outcome, *, got: bool) -> Iterator[str]:
    here, there = one.calls.get(node_id, []), other.calls.get(node_id, [])
    if len(here) != len(there):
        yield f"{node_id} was called {len(here)} and {len(there)} times"
    elif got and not same(here, there):
        yield f"{node_id} got {here!r}, {there!r}"
