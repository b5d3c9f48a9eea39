"""Subflows of runs in memory: a run within a run, and how decisions reach the nodes that wait in it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from flowcraft.blueprint import Blueprint
from flowcraft.engine.inputs import Facts, given_value
from flowcraft.engine.keys import NodeKey
from flowcraft.engine.plan import Plan
from flowcraft.engine.subflows import Subflow, mapped_output, mapped_outputs, node_named, why_ended
from flowcraft.errors import AppError
from flowcraft.failures import ErrorDetail
from flowcraft.memory.result import Decision, RunResult
from flowcraft.records import NodeRecord


@dataclass(frozen=True, slots=True)
class Asked:
    """A child run to be carried on.

    Attributes:
        run_id: Its id.
        blueprint: What it runs.
        input: Its input, as JSON.
        above: How many runs are above it.
        timeout_s: Seconds it may take; None: no limit.
        before: What it has come to so far; None: it is begun.
        decisions: For nodes that wait in it.
    """

    run_id: str
    blueprint: Blueprint
    input: Any
    above: int
    timeout_s: float | None = None
    before: RunResult | None = None
    decisions: Mapping[str, Decision] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Subflows:
    """What a run needs for its child runs.

    Attributes:
        find: Gives the blueprint of an id and version, if it is known.
        carry: Carries a child run on until nothing moves in it; raises ``UnableError``.
        above: How many runs are above the run whose children these are.
    """

    find: Callable[[str, str | None], Blueprint | None]
    carry: Callable[[Asked], Awaitable[RunResult]]
    above: int = 0


def input_of(subflow: Subflow, value: Any, plan: Plan, facts: Facts) -> Any:
    """The input of a child run; ``value`` is the node's own."""
    if subflow.inputs is None:
        return value
    return {key: given_value(source, plan, facts) for key, source in subflow.inputs.items()}


def output_of(result: RunResult) -> Any:
    """What a node gives whose child run has completed."""
    return mapped_output(result.output, Plan.of(result.blueprint).terminal_nodes)


def writes_of(subflow: Subflow, result: RunResult) -> dict[str, Any]:
    """The context keys that a completed child run writes for its parent."""
    given = result.input if isinstance(result.input, Mapping) else {}
    latest: dict[str, NodeRecord] = {}
    for key, record in result.records.items():
        if record.status == "completed" and NodeKey.parse(key).child is None:
            known = latest.setdefault(record.node, record)
            if NodeKey.parse(known.key).rounds < NodeKey.parse(key).rounds:
                latest[record.node] = record
    names = map(node_named, subflow.outputs.values())
    records = {name: latest[name] for name in names if name in latest}
    left = {name: value for name, value in given.items() if name not in result.deleted}
    return mapped_outputs(subflow, records, {**left, **result.context})


def why_failed(result: RunResult) -> ErrorDetail:
    """What a node fails with whose child run has failed."""
    first = result.errors[0] if result.errors else None
    told = f"node {first['nodeKey']} failed: {first['message']}" if first is not None else ""
    return why_ended(result.run_id, result.blueprint.id, result.status, told, result.errors)


def addressed(
    result: RunResult, decisions: Mapping[str, Decision]
) -> tuple[dict[str, Decision], dict[str, dict[str, Decision]]]:
    """Decisions by node key of the run itself, and those for each of its child runs.

    A decision for a subflow's node itself is one for the only node that waits in it.

    Raises:
        AppError: nothing waits under a key, or more than one node does.
    """
    own: dict[str, Decision] = {}
    nested: dict[str, dict[str, Decision]] = {}
    waiting = result.awaiting
    for key, decision in decisions.items():
        meant = key
        if key not in waiting and key in result.subflows:
            inside = [name for name in waiting if name.startswith(f"{key}/")]
            if len(inside) > 1:
                raise AppError(f"several nodes wait in subflow {key!r}: decide {' or '.join(inside)}")
            meant = inside[0] if inside else key
        if meant not in waiting:
            shown = ", ".join(waiting) or "nothing"
            raise AppError(f"node {key!r} of run {result.run_id} does not wait; {shown} does")
        parent = next((name for name in result.subflows if meant.startswith(f"{name}/")), None)
        if parent is None or meant in result.records:
            own[meant] = decision
        else:
            nested.setdefault(parent, {})[meant.removeprefix(f"{parent}/")] = decision
    return own, nested
