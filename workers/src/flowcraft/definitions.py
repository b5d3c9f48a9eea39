"""The parts of a blueprint: nodes with their configuration, and edges; and how upstream's JSON has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

JoinStrategy = Literal["all", "any"]


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """How a node is tried, replaced and joined. None: the implementation's own setting, else the default.

    Attributes:
        max_retries: Attempts in all, the first included (upstream's word, upstream's meaning); default 1.
        retry_delay_s: Seconds before the second attempt; it doubles from there; default 0.
        timeout_s: Seconds an attempt may take; default: no limit.
        fallback: Id of the node (or name of the implementation) that runs as the last attempt.
        join_strategy: ``all`` or ``any`` of the incoming edges.
        extra: Fields of the JSON that this version does not know.
    """

    max_retries: int | None = None
    retry_delay_s: float | None = None
    timeout_s: float | None = None
    fallback: str | None = None
    join_strategy: JoinStrategy = "all"
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Upstream's JSON, without what is not set."""
        known = {
            "maxRetries": self.max_retries,
            "retryDelay": _milliseconds(self.retry_delay_s),
            "timeout": _milliseconds(self.timeout_s),
            "fallback": self.fallback,
            "joinStrategy": None if self.join_strategy == "all" else self.join_strategy,
        }
        return without_none(known) | dict(self.extra)


@dataclass(frozen=True, slots=True)
class NodeDefinition:
    """One step.

    Attributes:
        id: Its place in the blueprint.
        uses: Name of its implementation.
        params: Static parameters, as JSON.
        inputs: Where its input comes from: one source, or sources by name; None: its taken edges.
        config: Retries, timeout, fallback, join.
        extra: Fields of the JSON that this version does not know.
    """

    id: str
    uses: str
    params: Mapping[str, Any] = field(default_factory=dict)
    inputs: str | Mapping[str, str] | None = None
    config: NodeConfig = field(default_factory=NodeConfig)
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Upstream's JSON, without what is not set."""
        inputs = dict(self.inputs) if isinstance(self.inputs, Mapping) else self.inputs
        known = {
            "id": self.id,
            "uses": self.uses,
            "params": dict(self.params) or None,
            "inputs": inputs,
            "config": self.config.to_dict() or None,
        }
        return without_none(known) | dict(self.extra)


@dataclass(frozen=True, slots=True)
class EdgeDefinition:
    """A connection of two nodes.

    Attributes:
        source: Id of the node it leaves.
        target: Id of the node it enters.
        action: Taken only when the source's result has this action.
        condition: Taken only when this expression holds.
        transform: Expression for the value that the target gets.
        extra: Fields of the JSON that this version does not know.
    """

    source: str
    target: str
    action: str | None = None
    condition: str | None = None
    transform: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Upstream's JSON, without what is not set."""
        known = {
            "source": self.source,
            "target": self.target,
            "action": self.action,
            "condition": self.condition,
            "transform": self.transform,
        }
        return without_none(known) | dict(self.extra)


def without_none(document: dict[str, Any]) -> dict[str, Any]:
    """The fields that are set."""
    return {name: value for name, value in document.items() if value is not None}


def _milliseconds(seconds: float | None) -> float | None:
    if seconds is None:
        return None
    exact = round(float(seconds) * 1000, 6)
    return int(exact) if exact.is_integer() else exact
