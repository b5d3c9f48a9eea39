"""How a failed node is told: in a header's list of errors, and in the sentence that a run shows."""

from __future__ import annotations

from typing import Final

from flowcraft.records import NodeRecord
from flowcraft_api.wire import NodeErrorDocument

_TOLD: Final = frozenset(
    {
        "EvaluationError",
        "FatalError",
        "InputError",
        "NodeTimeoutError",
        "NonRetryableError",
        "OutputError",
        "OutputTooLarge",
        "PoisonMessage",
        "BlueprintUnknown",
        "InputTooLarge",
        "InvalidBlueprint",
        "LoopWithoutEnd",
        "RunIdTaken",
        "SubflowCancelled",
        "SubflowError",
        "SubflowFailed",
        "SubflowTooDeep",
    }
)
"""Kinds of error whose message says all; of any other exception people need type and line too."""


def why_failed(record: NodeRecord) -> str:
    """The sentence by which a run says which node failed it, and with what."""
    error = record.error or {}
    kind, message, line = str(error.get("type", "Error")), error.get("message", ""), error.get("line")
    told = f"{message}" if kind in _TOLD else f"{kind}: {message}" + (f" ({line})" if line else "")
    return f"node {record.key} failed: {told}"


def failure(record: NodeRecord) -> NodeErrorDocument:
    """The entry of a failed record in the header's list of errors."""
    error = record.error or {}
    return {
        "nodeKey": record.key,
        "type": str(error.get("type", "Error")),
        "message": str(error.get("message", "")),
        "attempt": record.attempt,
        "at": record.finished_at,
    }
