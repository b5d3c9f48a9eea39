"""Names in ``inputs``, conditions and transforms that nothing stands behind.

A name that is missing is null when it is read, as the original has it, so a misspelt one fails nothing: it
chooses another branch. What can be known before a run is told here, and nothing that may be right.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

from flowcraft.analysis import edges_taken, fallback_only_ids, kinds
from flowcraft.blueprint import Blueprint, EdgeDefinition, NodeDefinition
from flowcraft.engine.inputs import LOOP_CONTROLLER, controller_condition
from flowcraft.errors import EvaluationError
from flowcraft.expressions.compiled import Expression, compile_expression
from flowcraft.linting.finding import Finding, Path, Words

RESULT_FIELDS: Final = ("output", "action")
SCOPE: Final = ("result", "input", "context", "_outputs")
"""Names that every expression has; conditions have every context key, output and field of the input, too."""
OFTEN_MEANT: Final = {"output": "result.output", "action": "result.action", "ctx": "result.output"}
"""What people write first for what their node gave, where nothing is known by that name."""
MAX_STEPS: Final = 200_000
"""Nodes looked at in search of what comes before what; more is left unsaid."""


def unknown_names(blueprint: Blueprint, context_keys: Collection[str] = ()) -> Iterator[Finding]:
    """Names that are no node, no field of a result, or nearly one of what there is.

    Args:
        blueprint: What to look at.
        context_keys: Keys known to be written by nodes.
    """
    looker = _Looker(blueprint, context_keys)
    for place, node in enumerate(blueprint.nodes):
        if node.inputs is not None:
            yield from looker.inputs(place, node)
    for place, edge in enumerate(blueprint.edges):
        if edge.condition is not None:
            yield from looker.expression(_Reader.edge(place, edge, "condition"), edge.condition)
        if edge.transform is not None:
            yield from looker.expression(_Reader.edge(place, edge, "transform"), edge.transform)
    if LOOP_CONTROLLER in kinds(blueprint):
        for place, node in enumerate(blueprint.nodes):
            if (condition := controller_condition(node)) is not None:
                yield from looker.expression(_Reader.controller(place, node), condition)


Told = tuple[str, str]
"""Code and message."""


@dataclass(frozen=True, slots=True)
class _Reader:
    """Who evaluates an expression: an edge when its source has run, or a loop controller.

    Attributes:
        shown: Its name in a message.
        behind: The node whose result it reads, and before whose end everything it reads must have run.
        kind: A transform knows fewer names than a condition.
        path: Where the expression stands.
        node: The node to tell of; None for an edge.
        ends: The edge to tell of; None for a node.
    """

    shown: str
    behind: str
    kind: Literal["condition", "transform"]
    path: Path
    node: str | None = None
    ends: tuple[str, str] | None = None

    @classmethod
    def edge(cls, place: int, edge: EdgeDefinition, kind: Literal["condition", "transform"]) -> _Reader:
        ends = (edge.source, edge.target)
        shown = f"edge {edge.source} -> {edge.target}: {kind}"
        return cls(shown, edge.source, kind, ("edges", place, kind), ends=ends)

    @classmethod
    def controller(cls, place: int, node: NodeDefinition) -> _Reader:
        path: Path = ("nodes", place, "params", "condition")
        return cls(f"loop controller {node.id}: condition", node.id, "condition", path, node=node.id)


class _Looker:
    def __init__(self, blueprint: Blueprint, context_keys: Collection[str]) -> None:
        self._ids = blueprint.node_ids
        self._keys = frozenset(context_keys)
        self._names = Words(self._ids)
        self._known = Words(self._ids | self._keys)
        self._blueprint = blueprint
        self._fallbacks = fallback_only_ids(blueprint)
        self._steps = MAX_STEPS

    def inputs(self, place: int, node: NodeDefinition) -> Iterator[Finding]:
        """Look at what a node's ``inputs`` name."""
        single = isinstance(node.inputs, str)
        sources: Mapping[str, str] = {"": node.inputs} if isinstance(node.inputs, str) else node.inputs or {}
        for field, source in sources.items():
            head, *rest = source.split(".")
            path: Path = ("nodes", place, "inputs") if single else ("nodes", place, "inputs", field)
            if head == "_outputs" and rest:
                head = rest[0]
                if head not in self._ids:
                    told = f"node {node.id}: inputs name the output of {head!r}, but there is no such node"
                    yield self._warning("UNKNOWN_OUTPUT", told, head, node.id, path)
                    continue
            if head in self._ids:
                if not self._comes_before(head, node.id, or_is=False):
                    told = (
                        f"node {node.id}: inputs of a fallback are not read: it gets those of the node "
                        "that it stands in for"
                        if node.id in self._fallbacks
                        else f"node {node.id}: inputs name {head!r}, which never runs before it, "
                        "so it gets null"
                    )
                    yield self._plain("OUTPUT_NOT_BEFORE", told, node.id, path)
            elif head not in self._keys and self._known.meant(head):
                told = f"node {node.id}: inputs name {head!r}, which is no node"
                yield self._warning("MISSPELT_NAME", told, head, node.id, path)

    def expression(self, reader: _Reader, source: str) -> Iterator[Finding]:
        """Look at the names of a condition or transform; what cannot be compiled is told elsewhere."""
        try:
            expression = compile_expression(source)
        except EvaluationError:
            return
        for path in sorted(expression.reads):
            told = self._told(reader, path)
            if told is not None:
                code, message = told
                yield Finding(
                    code,
                    f"{reader.shown}: {message}",
                    reader.node,
                    reader.ends,
                    severity="warning",
                    path=reader.path,
                    character=_place(expression, path[0]),
                )

    def _told(self, reader: _Reader, path: tuple[str, ...]) -> Told | None:
        head, rest = path[0], path[1:]
        if head in SCOPE:
            return self._of_scope(reader, head, rest[0]) if rest else None
        if reader.kind == "transform":
            return (
                "UNKNOWN_NAME",
                f"a transform knows {', '.join(SCOPE)}; {head!r} is none of them, so it is null; "
                f"did you mean 'input.{head}' or 'context.{head}'?",
            )
        if head in OFTEN_MEANT and head not in self._known:
            return (
                "UNKNOWN_NAME",
                f"{head!r} is no node and no context key that is known; did you mean {OFTEN_MEANT[head]!r}?",
            )
        return self._misspelt(head)

    def _of_scope(self, reader: _Reader, head: str, name: str) -> Told | None:
        if head == "result" and name not in RESULT_FIELDS:
            return (
                "UNKNOWN_RESULT_FIELD",
                f"a result has output and action, and no {name!r}, so it is null; "
                f"did you mean 'result.output.{name}'?",
            )
        if head == "_outputs":
            return self._output(reader.behind, name)
        return self._misspelt(name) if head == "context" else None

    def _output(self, behind: str, name: str) -> Told | None:
        if name not in self._ids:
            meant = self._names.hint(name)
            return "UNKNOWN_OUTPUT", f"it reads the output of {name!r}, but there is no such node{meant}"
        if not self._comes_before(name, behind, or_is=True):
            return "OUTPUT_NOT_BEFORE", f"{name!r} never runs before {behind!r} ends, so it is null"
        return None

    def _misspelt(self, name: str) -> Told | None:
        if name in self._known or name in SCOPE or not (meant := self._known.meant(name)):
            return None
        return "MISSPELT_NAME", f"nothing is known to be called {name!r}; did you mean {meant!r}?"

    @cached_property
    def _before(self) -> dict[str, list[str]]:
        before: dict[str, list[str]] = {}
        for edge in edges_taken(self._blueprint):
            before.setdefault(edge.target, []).append(edge.source)
        return before

    def _comes_before(self, name: str, node_id: str, *, or_is: bool) -> bool:
        """Whether edges lead from one to the other; True where that takes too long to find out."""
        if or_is and name == node_id:
            return True
        if name in self._before.get(node_id, ()):
            return True
        seen: set[str] = set()
        stack = [node_id]
        while stack and self._steps > 0:
            for source in self._before.get(stack.pop(), ()):
                self._steps -= 1
                if source == name:
                    return True
                if source not in seen:
                    seen.add(source)
                    stack.append(source)
        return bool(stack)

    def _warning(self, code: str, told: str, name: str, node: str, path: Path) -> Finding:
        known = self._names if code == "UNKNOWN_OUTPUT" else self._known
        return self._plain(code, f"{told}{known.hint(name)}", node, path)

    @staticmethod
    def _plain(code: str, told: str, node: str, path: Path) -> Finding:
        return Finding(code, told, node, severity="warning", path=path)


def _place(expression: Expression, name: str) -> int | None:
    return expression.reading.positions.get(name)
