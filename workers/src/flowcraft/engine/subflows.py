"""Subflows: what a child run is given, and what its end gives back. Pure.

``params`` of a node that ``uses: subflow``, as the original has them: ``blueprintId``; ``inputs``, an object
from keys of the child's input to context keys or nodes of the parent; ``outputs``, an object from context
keys of the parent to nodes or context keys of the child. ``blueprintVersion`` is our own.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

from flowcraft.blueprint import Blueprint, NodeDefinition
from flowcraft.failures import ErrorDetail
from flowcraft.records import NodeRecord
from flowcraft_api.wire import NodeErrorDocument

MAX_DEPTH: Final = 16
"""Runs above a run; a blueprint that starts itself comes to an end there."""
_PASSED_ON: Final = ("SubflowFailed", "SubflowCancelled")
_SAID: Final = {"failed": "failed", "cancelled": "was cancelled"}
_UNFIT: Final = re.compile(r"[^A-Za-z0-9_-]+")
_LONGEST_PARENT: Final = 64
_LONGEST_KEY: Final = 24


class SubflowError(ValueError):
    """The parameters of a subflow are not what they must be; the text says which."""


class UnableError(Exception):
    """A child run cannot be started, now or later; ``detail`` is what its node fails with."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.detail = ErrorDetail(kind, message)


@dataclass(frozen=True, slots=True)
class Subflow:
    """What a node says of its subflow.

    Attributes:
        blueprint_id: Which blueprint.
        version: Which version of it; None: the one added last.
        inputs: Sources in the parent by key of the child's input; None: the node's input is the child's.
        outputs: Sources in the child by context key of the parent.
    """

    blueprint_id: str
    version: str | None = None
    inputs: Mapping[str, str] | None = None
    outputs: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, definition: NodeDefinition) -> Subflow:
        """Read a node's parameters.

        Raises:
            SubflowError: they are not a subflow's.
        """
        params = definition.params
        name, version = params.get("blueprintId"), params.get("blueprintVersion")
        if not isinstance(name, str) or not name:
            raise SubflowError(f"params.blueprintId is the id of a blueprint, not {name!r}")
        if version is not None and not isinstance(version, str):
            raise SubflowError(f"params.blueprintVersion is text, not {version!r}")
        inputs, outputs = _mapping(params, "inputs"), _mapping(params, "outputs")
        return cls(name, version, inputs, outputs or {})

    @property
    def shown(self) -> str:
        """Blueprint and version, for people."""
        return f"{self.blueprint_id} version {self.version}" if self.version else self.blueprint_id


def _mapping(params: Mapping[str, Any], name: str) -> Mapping[str, str] | None:
    value = params.get(name)
    if value is None:
        return None
    names = value.values() if isinstance(value, Mapping) else [None]
    if not all(isinstance(source, str) and source for source in names):
        raise SubflowError(f"params.{name} is an object whose values are names, not {value!r}")
    return cast("Mapping[str, str]", value)


def asked_by(
    definition: NodeDefinition, above: int, find: Callable[[str, str | None], Blueprint | None]
) -> tuple[Subflow, Blueprint]:
    """What a node's child run is to be.

    Args:
        definition: The node's.
        above: How many runs are above the run that the node is in.
        find: Gives the blueprint of an id and version, if it is known.

    Raises:
        UnableError: there can be no such run.
    """
    try:
        subflow = Subflow.of(definition)
    except SubflowError as error:
        raise UnableError("SubflowError", str(error)) from None
    if above >= MAX_DEPTH:
        raise UnableError(
            "SubflowTooDeep",
            f"{above} runs are above this one, and no more than {MAX_DEPTH} may be: "
            f"does blueprint {subflow.blueprint_id} start itself?",
        )
    blueprint = find(subflow.blueprint_id, subflow.version)
    if blueprint is None:
        raise UnableError(
            "BlueprintUnknown", f"there is no blueprint {subflow.shown} here; add it to the app"
        )
    return subflow, blueprint


def why_ended(
    run_id: str, blueprint_id: str, status: str, told: str, errors: Sequence[NodeErrorDocument]
) -> ErrorDetail:
    """What a node fails with whose child run has failed or was cancelled.

    The words are those of the run in which it began, however many runs are in between.
    """
    if errors and errors[0].get("type") in _PASSED_ON:
        return ErrorDetail(errors[0]["type"], errors[0].get("message", ""))
    kind = "SubflowCancelled" if status == "cancelled" else "SubflowFailed"
    more = f": {told}" if told else ""
    return ErrorDetail(kind, f"run {run_id} of blueprint {blueprint_id} {_SAID[status]}{more}")


def sources_of(definition: NodeDefinition) -> tuple[str, ...]:
    """What the child's input is made of; nothing where the parameters are no subflow's."""
    if definition.uses != "subflow":
        return ()
    try:
        return tuple((Subflow.of(definition).inputs or {}).values())
    except SubflowError:
        return ()


def node_named(source: str) -> str:
    """The node that a source means, if there is one: ``a`` or ``_outputs.a``."""
    return source.removeprefix("_outputs.")


def mapped_output(output: Mapping[str, Any] | None, terminal: tuple[str, ...]) -> Any:
    """What a subflow gives: the output of its one last node; of several, an object by node id."""
    given = output or {}
    return given.get(terminal[0]) if len(terminal) == 1 else dict(given)


def mapped_outputs(
    subflow: Subflow, records: Mapping[str, NodeRecord], context: Mapping[str, Any]
) -> dict[str, Any]:
    """What a completed child run writes into its parent's context.

    A source is a node's output where that is not null, else a context key or a field of the child's input
    (``context`` has both), else null.

    Args:
        subflow: What the node says.
        records: Of the nodes that it names, by node id.
        context: What the child knows by name.
    """
    written = {}
    for key, source in subflow.outputs.items():
        record = records.get(node_named(source))
        value = record.output if record is not None and record.status == "completed" else None
        written[key] = context.get(source) if value is None else value
    return written


def child_run_id(run_id: str, node_key: str, attempt: int = 1) -> str:
    """The id of the run that a node key starts: the same each time, short, and telling where it belongs."""
    whole = "\0".join((run_id, node_key, str(attempt)))
    digest = hashlib.sha256(whole.encode()).hexdigest()[:10]
    fit = _UNFIT.sub("-", node_key).strip("-")[:_LONGEST_KEY]
    return f"{run_id[:_LONGEST_PARENT]}.{fit}-{digest}"


def child_of(record: NodeRecord) -> str:
    """The child run that a record tells of; empty if it tells of none."""
    told = record.waits_for or {}
    return str(told.get("runId") or "")


def children_of(run_id: str, record: NodeRecord) -> list[str]:
    """That child run, and before it those of the attempts that failed, of which no record tells any more."""
    last = child_of(record)
    before = (
        [child_run_id(run_id, record.key, attempt) for attempt in range(1, record.attempt)] if last else []
    )
    return [*(child_id for child_id in before if child_id != last), last] if last else []
