"""Where we differ from the original on purpose, told of one run: which of its nodes each rule touches.

The names are those of ``docs/parity.md``. A rule touches a node in one of these ways, and what it touches
spreads along the graph: whether the node *runs*; what it *gets*, and gives if it passes that on; how *often*
it is called. What no rule touches must be the same on both sides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.parity.outcome import Outcome
from tests.parity.programs import Program

DEAD_PATH = "dead-path"
UNMATCHED = "unmatched-action"
ONCE = "any-join-once"
JOIN_INPUT = "join-input"
INPUTS_WIN = "inputs-win"
START_INPUT = "start-input"
FALLBACK = "fallback-stands-in"
FALLBACK_STATUS = "fallback-status"
FAIL_FAST = "fail-fast"


@dataclass
class Touched:
    """Nodes that rules touch, with the name of the first rule.

    Attributes:
        runs: Whether they run may differ.
        gets: Their input may differ.
        gives: Their output may differ.
        often: The original may call them more often.
    """

    runs: dict[str, str] = field(default_factory=dict)
    gets: dict[str, str] = field(default_factory=dict)
    gives: dict[str, str] = field(default_factory=dict)
    often: dict[str, str] = field(default_factory=dict)

    @property
    def rules(self) -> frozenset[str]:
        """Names of the rules that touch anything."""
        return frozenset(
            rule for where in (self.runs, self.gets, self.gives, self.often) for rule in where.values()
        )


class Touch:
    """Finds what rules touch in one run of ours, node by node in the order of the edges."""

    def __init__(self, program: Program, ours: Outcome) -> None:
        self.touched = Touched()
        self._ours = ours
        self._program = program
        self._edges: list[Mapping[str, Any]] = list(program.blueprint["edges"])
        self._nodes = {node["id"]: node for node in program.blueprint["nodes"]}
        self._leaving: dict[str, str] = {}  # nodes whose choice of edges may differ
        self._shared = self._used_twice()

    def all(self) -> Touched:
        for node_id in self._program.order:
            entering = [
                (position, edge) for position, edge in enumerate(self._edges) if edge["target"] == node_id
            ]
            self._runs(node_id, entering)
            self._often(node_id, entering)
            self._gets(node_id, entering)
            self._gives(node_id)
            self._leaves(node_id)
        return self.touched

    def _used_twice(self) -> set[str]:
        """Fallbacks of several nodes: there, one that ran for one takes the edges of all of them."""
        named = [node["config"]["fallback"] for node in self._nodes.values() if _fallback(node)]
        return {name for name in named if named.count(name) > 1}

    def _taken(self, position: int, source: str) -> bool | None:
        """Whether an edge was taken; None while its source is not resolved (the run failed before)."""
        record = self._ours.records.get(source)
        if record is None or not record.resolved or record.status == "failed":
            return None
        return record.took(position)

    # ---- whether it runs ----

    def _runs(self, node_id: str, entering: list[tuple[int, Mapping[str, Any]]]) -> None:
        rule = self._runs_by(node_id, entering)
        if rule:
            self.touched.runs[node_id] = rule

    def _runs_by(self, node_id: str, entering: list[tuple[int, Mapping[str, Any]]]) -> str | None:
        any_join = self._nodes[node_id]["config"].get("joinStrategy") == "any"
        sources = {edge["source"] for _, edge in entering}
        for source in sources:
            if rule := self.touched.runs.get(source) or self._leaving.get(source):
                return rule
            if any_join and source in self._ours.stood_in:
                return FALLBACK  # there it does not know the node that stands in as a predecessor
        live = {edge["source"] for position, edge in entering if self._taken(position, edge["source"])}
        if not any_join and live and live != sources:
            return DEAD_PATH
        if not any(edge.get("condition") for _, edge in entering):
            for source in sources - live:
                record = self._ours.records.get(source)
                if record and record.status == "completed" and not record.taken:
                    return UNMATCHED
        return None

    # ---- how often ----

    def _often(self, node_id: str, entering: list[tuple[int, Mapping[str, Any]]]) -> None:
        any_join = self._nodes[node_id]["config"].get("joinStrategy") == "any"
        sources = {edge["source"] for _, edge in entering}
        rule = next((self.touched.often[source] for source in sources if source in self.touched.often), None)
        live = {
            edge["source"]
            for position, edge in entering
            if self._taken(position, edge["source"]) is not False
        }
        if rule is None and any_join and len(live) > 1:
            rule = ONCE
        if rule is None and len(sources) > 1 and any(source in self._ours.stood_in for source in sources):
            rule = FALLBACK
        if rule is None:
            return
        self.touched.often[node_id] = rule
        # A call more may be the one that no longer fails.
        if self._params(node_id).get("fails") or _fallback(self._nodes[node_id]):
            self.touched.runs.setdefault(node_id, rule)

    # ---- what it gets ----

    def _gets(self, node_id: str, entering: list[tuple[int, Mapping[str, Any]]]) -> None:
        inputs = self._nodes[node_id].get("inputs")
        live = [edge for position, edge in entering if self._taken(position, edge["source"])]
        if inputs is not None:
            rule = INPUTS_WIN if any(edge.get("transform") for edge in live) else None
            rule = rule or self._read([inputs] if isinstance(inputs, str) else inputs.values())
        elif not entering:
            rule = START_INPUT
        else:
            rule = self._received(node_id, live)
        if rule:
            self.touched.gets[node_id] = rule

    def _received(self, node_id: str, live: list[Mapping[str, Any]]) -> str | None:
        sources = {edge["source"] for edge in live}
        if len(live) > 1 and (len(sources) > 1 or any(edge.get("transform") for edge in live)):
            return JOIN_INPUT
        if node_id in self.touched.often:
            return self.touched.often[node_id]
        for edge in live:
            source, transform = edge["source"], edge.get("transform")
            if transform is None or transform.partition(".")[0] == "input":
                if source in self.touched.gives:
                    return self.touched.gives[source]
            elif rule := self._read([transform.partition(".")[2]]):
                return rule
        return None

    def _read(self, names: Iterable[str]) -> str | None:
        """The rule that touches what one of these paths names, if any does."""
        for name in names:
            head = name.removeprefix("_outputs.").partition(".")[0]
            if head in self._ours.stood_in:
                return FALLBACK  # there its output is null, and the fallback has one of its own
            writer = "n" + head[1:] if head.startswith("k") else head
            rule = self.touched.runs.get(writer) or (
                self.touched.gives.get(writer) if head == writer else None
            )
            if rule:
                return rule
        return None

    # ---- what it gives, and to whom ----

    def _gives(self, node_id: str) -> None:
        fallback = _fallback(self._nodes[node_id])
        if fallback and node_id in self.touched.runs:
            self.touched.runs.setdefault(fallback, self.touched.runs[node_id])
        stands_in = self._ours.stood_in.get(node_id)
        if stands_in is None:
            if rule := self._given(node_id, self.touched.gets.get(node_id)):
                self.touched.gives[node_id] = rule
            return
        self.touched.gets.setdefault(stands_in, FALLBACK)
        if rule := self._given(stands_in, FALLBACK):
            self.touched.gives[node_id] = rule
        if stands_in in self._shared or self._params(stands_in).get("fails"):
            self.touched.runs.setdefault(stands_in, FALLBACK)
            self._leaving[node_id] = FALLBACK
        if node_id in self.touched.often:
            self.touched.often.setdefault(stands_in, self.touched.often[node_id])

    def _given(self, code: str, got: str | None) -> str | None:
        """The rule that touches what a node's code gives: by its input, or by what it reads."""
        output = self._params(code).get("output")
        if output == "reads":
            return self._read(self._params(code)["reads"])
        return got if output == "input" else None

    def _leaves(self, node_id: str) -> None:
        if _fallback(self._nodes[node_id]) in self._shared:
            self._leaving.setdefault(node_id, FALLBACK)
        for edge in self._edges:
            condition = edge.get("condition")
            if edge["source"] != node_id or not condition:
                continue
            if condition.startswith("result.output"):
                rule = self.touched.gives.get(node_id)
            else:
                rule = None if condition.startswith("result.") else self._read([condition])
            if rule:
                self._leaving.setdefault(node_id, rule)

    def _params(self, node_id: str) -> Mapping[str, Any]:
        params: Mapping[str, Any] = self._nodes[node_id]["params"]
        return params


def _fallback(node: Mapping[str, Any]) -> str | None:
    name: str | None = node.get("config", {}).get("fallback")
    return name
