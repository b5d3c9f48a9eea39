"""A recorded run, step by step: what was known when each node key was resolved, and what followed from it.

The engine that decides on a run decides here again, on the records alone: no code of a node runs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from flowcraft_api.durations import elapsed
from flowcraft_cli.node_rows import error_line, shown, took
from flowcraft_cli.run_nodes import NodeView

if TYPE_CHECKING:
    from flowcraft.blueprint import Blueprint
    from flowcraft.engine.plan import Plan
    from flowcraft.records import NodeRecord

DERIVED_UP_TO: Final = 500
"""Node keys up to which what follows is derived at each step; from there only at the last one."""


@dataclass(frozen=True, slots=True)
class Step:
    """One node key as it was resolved, or came to wait.

    Attributes:
        view: The node key with its record and output.
        given: Its input, where it is known; None else.
        taken: Ids of the nodes that its taken edges lead to.
        left: Ids of the nodes that its other edges lead to.
        next: Node keys that could run then; None where that was not derived.
    """

    view: NodeView
    given: Any
    taken: tuple[str, ...]
    left: tuple[str, ...]
    next: tuple[str, ...] | None

    def document(self) -> dict[str, Any]:
        """The step as JSON."""
        record = self.view.record
        return {
            "key": self.view.key,
            "node": self.view.node,
            **(record.to_document() if record else {"status": self.view.status}),
            "input": self.given,
            "takenTo": list(self.taken),
            "notTakenTo": list(self.left),
            **({} if self.next is None else {"next": list(self.next)}),
        }


def steps(nodes: Sequence[NodeView], given: Mapping[str, Any], blueprint: Blueprint) -> list[Step]:
    """The steps of a run, in the order of what happened.

    Args:
        nodes: Its node keys in that order, with their outputs.
        given: Inputs by node key.
        blueprint: What the run is pinned to.
    """
    from flowcraft.engine.plan import Plan

    plan = Plan.of(blueprint)
    recorded = [view for view in nodes if view.record is not None]
    known: dict[str, NodeRecord] = {}
    found: list[Step] = []
    for number, view in enumerate(recorded, 1):
        record = view.record
        assert record is not None  # noqa: S101  that is what is recorded
        known[view.key] = record
        derived = len(recorded) <= DERIVED_UP_TO or number == len(recorded)
        edges = [plan.edges[position] for position in _outgoing(plan, view)]
        taken = tuple(plan.edges[position].target for position in record.taken)
        left = [edge.target for edge in edges]
        for target in taken:
            if target in left:
                left.remove(target)
        following = _ready(plan, known) if derived else None
        found.append(Step(view, given.get(view.key), taken, tuple(left), following))
    return found


def _outgoing(plan: Plan, view: NodeView) -> tuple[int, ...]:
    from flowcraft.engine.keys import NodeKey

    child = NodeKey.parse(view.key).child is not None
    return (
        ()
        if child or view.status != "completed" or not plan.knows(view.key)
        else plan.node(view.key).outgoing
    )


def _ready(plan: Plan, known: Mapping[str, NodeRecord]) -> tuple[str, ...]:
    """What could run when this was known; children of an owner that is not recorded yet belong to it."""
    from flowcraft.engine.children import owner_of, resolve_all

    seen = {
        key: record for key, record in known.items() if (owner := owner_of(key)) is None or owner in known
    }
    return resolve_all(plan, seen).ready


def lines(found: Sequence[Step], context: Mapping[str, Any], later: Sequence[str]) -> Iterator[str]:
    """The steps as text, then the context as it is known after the last one.

    Args:
        found: The steps.
        context: Context keys written so far, with their last values.
        later: Those of them that a later step wrote again, so that their value then is not known.
    """
    first = next((step.view.started for step in found if step.view.started), None)
    width = len(str(len(found)))
    for number, step in enumerate(found, 1):
        at = step.view.finished
        after = f"  +{elapsed((at - first).total_seconds())}" if first and at and at >= first else ""
        worked = f"  took {took(step.view)}" if took(step.view) else ""
        yield f"{number:>{width}}. {step.view.key}  {step.view.status}{after}{worked}"
        for name, value in _facts(step).items():
            if value:
                yield f"{' ' * width}  {name + ':':<9}{value}"
    if context:
        yield "Context then:"
        for name, value in sorted(context.items()):
            yield f"  {name} = {'(written again later)' if name in later else shown(value)}"


def _facts(step: Step) -> dict[str, str]:
    record = step.view.record
    if record is None or record.status == "skipped":
        return {}
    output = record.output is not None and record.status == "completed"
    return {
        "input": "" if step.given is None else shown(step.given),
        "output": shown(record.output) if output else "",
        "action": record.action or "",
        "error": error_line(record.error) if record.error else "",
        "decided": json.dumps(record.decision, ensure_ascii=False) if record.decision else "",
        "edges": ", ".join(
            [*(f"-> {target}" for target in step.taken), *(f"not -> {target}" for target in step.left)]
        ),
        "context": ", ".join(record.wrote),
        "next": ", ".join(step.next or ()),
    }
