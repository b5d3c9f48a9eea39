"""What a run in memory came to, as a value; one that awaits decisions can be gone on with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from flowcraft.blueprint import Blueprint
from flowcraft.node import MISSING
from flowcraft.records import NodeRecord
from flowcraft.values import value_class
from flowcraft_api.wire import NodeErrorDocument

RunStatus = Literal["completed", "failed", "cancelled", "awaiting", "paused"]


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer to a waiting node: its result.

    Attributes:
        action: Chooses the edges of this action.
        output: JSON; the node's output.
    """

    action: str | None = None
    output: Any = None


def deleted_by(layers: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """The keys that layers of writes, each over those before it, leave deleted."""
    last = {name: value is MISSING for layer in layers for name, value in layer.items()}
    return frozenset(name for name, deleted in last.items() if deleted)


@value_class
class RunResult:
    """The outcome of a run, with all its facts.

    Attributes:
        run_id: The run.
        blueprint: What was run.
        input: The run's input, as JSON.
        status: ``completed``, ``failed``, ``cancelled``, ``awaiting`` when nothing can move without a
            decision, or ``paused`` when something could and was not let.
        output: Outputs of the completed terminal nodes by id; None unless completed.
        errors: What failed, as in a run's header: ``nodeKey``, ``type``, ``message``, ``attempt``, ``at``.
        records: What is known of each node key; keys that were not reached have none.
        context: The run's shared keys, its input not among them.
        writes: What each node key wrote of it, in the order in which they completed; ``MISSING`` marks a
            deleted key.
        subflows: What the child runs came to, by the key of the node that each belongs to.
    """

    run_id: str
    blueprint: Blueprint
    input: Any
    status: RunStatus
    output: Mapping[str, Any] | None
    errors: tuple[NodeErrorDocument, ...]
    records: Mapping[str, NodeRecord]
    context: Mapping[str, Any]
    writes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    subflows: Mapping[str, RunResult] = field(default_factory=dict)

    @property
    def deleted(self) -> frozenset[str]:
        """Context keys that were deleted and not written again, fields of the run's input among them."""
        return deleted_by(self.writes.values())

    @property
    def awaiting(self) -> tuple[str, ...]:
        """Node keys that wait for a decision; ``FlowRuntime.resume`` takes one for some or all of them.

        One in a subflow is ``<key of the subflow's node>/<node key in it>``.
        """
        found: list[str] = []
        for key, record in self.records.items():
            if record.resolved or record.kind == "children":  # these wait for other node keys
                continue
            if record.kind != "run":
                found.append(key)
            elif key in self.subflows:
                found.extend(f"{key}/{inner}" for inner in self.subflows[key].awaiting)
        return tuple(found)
