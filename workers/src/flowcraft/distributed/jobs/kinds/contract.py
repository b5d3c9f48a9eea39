"""What a kind of node that waits is given, and what it has to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from flowcraft.blueprint import NodeDefinition
from flowcraft.distributed.jobs.known_runs import Run
from flowcraft.distributed.jobs.recording import Turned
from flowcraft.distributed.runs.pinning import Plans
from flowcraft.distributed.services import Services
from flowcraft.engine.inputs import Facts
from flowcraft.engine.making import Made
from flowcraft.failures import ErrorDetail
from flowcraft.node import NodeResult
from flowcraft.ports import StoredRecord
from flowcraft.records import AwaitKind, NodeRecord


@dataclass(frozen=True, slots=True)
class Act:
    """A node key being acted on.

    Attributes:
        key: The node key.
        definition: Of its node.
        facts: What its turn reads.
        own: Its awaiting record, if it has one.
        started: When this turn began.
        proven: What the record waits for has happened, as the signal says.
        woken: That was its children.
    """

    key: str
    definition: NodeDefinition
    facts: Facts
    own: StoredRecord | None
    started: datetime
    proven: bool = False
    woken: bool = False


class Acting(Protocol):
    """The turn, as a kind sees it: its surroundings, and the records it can write."""

    @property
    def services(self) -> Services:
        """Ports, clock, settings."""
        ...

    @property
    def run(self) -> Run:
        """The run, as this worker knows it."""
        ...

    @property
    def plans(self) -> Plans:
        """Plans of pinned blueprints, and which blueprints were found valid."""
        ...

    @property
    def session(self) -> str:
        """Token of what this delivery has seen and written."""
        ...

    def input(self, act: Act) -> Any:
        """The node's input."""
        ...

    async def wait(self, act: Act, kind: AwaitKind, wake_at: str | None = None, **facts: Any) -> Turned:
        """Record that the node key waits; further facts are fields of ``NodeRecord``.

        Without ``wake_at`` the message ends, and whatever the node waits for has to signal it.
        """
        ...

    def still(self, record: NodeRecord, *, due: bool = False) -> Turned:
        """It waits on: nothing is written; ``due`` if whoever is woken has something to do."""
        ...

    async def complete(
        self, act: Act, result: NodeResult, writes: Mapping[str, Any] | None = None, attempts: int = 1
    ) -> Turned | None:
        """Record the result, the context written (``MISSING`` deletes) and the edges taken."""
        ...

    async def give_up(self, key: str, error: ErrorDetail, *, woken: bool) -> Turned:
        """Record the failure of a node key whose record is another one by now."""
        ...

    async def fail(self, act: Act, error: ErrorDetail, attempts: int = 1) -> Turned:
        """Record the failure."""
        ...

    async def own(
        self, act: Act, made: Made, writes: Mapping[str, Any] | None = None, attempts: int = 1
    ) -> Turned:
        """Record that the node key waits for children, and with it the context written."""
        ...

    async def fall_back(self, act: Act, error: ErrorDetail, attempts: int) -> Turned | None:
        """Let the node's fallback run as its last attempt; without one, record the failure."""
        ...


class WaitingKind(Protocol):
    """One kind. Both methods may be called again at any time, and do nothing twice that counts."""

    async def begin(self, turn: Acting, act: Act) -> Turned | None:
        """The first turn: there is no record; or, with one, the next attempt after a delay."""
        ...

    async def go_on(self, turn: Acting, act: Act, record: NodeRecord) -> Turned | None:
        """A later turn: there is an awaiting record, whose time, if it has one, has come."""
        ...
