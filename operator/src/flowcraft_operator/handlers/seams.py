"""What runs need to know of pools, and pools of runs: the two know each other by these only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from flowcraft.distributed.client import Client
from flowcraft.ports.errors import PortError
from flowcraft_api.pool_status import RunCounts
from flowcraft_api.run_status import RunObstacle
from flowcraft_api.wire import HeaderDocument
from flowcraft_operator.handlers.run_record import Key, RunRecord


class Pools(Protocol):
    """What runs need to know of pools."""

    def problem(self, pool: Key, *, deleting: bool) -> RunObstacle | None:
        """Why the pool cannot take or steer runs now; None if it can."""
        ...

    def workers_problem(self, pool: Key) -> RunObstacle | None:
        """Why no worker of the pool runs, as far as is known."""
        ...

    def is_settling(self, pool: Key) -> bool:
        """Whether it is too early to say that something is wrong with the pool."""
        ...

    def client(self, pool: Key) -> Client | None:
        """The client of the pool's backend."""
        ...

    def report(self, pool: Key, error: PortError | None) -> None:
        """Take note of how a request to the backend went."""
        ...

    def ttl_after_finished_s(self, pool: Key) -> float | None:
        """How long facts of ended runs are kept."""
        ...

    def look_up(self, record: RunRecord) -> None:
        """Have the header of a run read soon, together with others."""
        ...


class RunsOfPools(Protocol):
    """What pools need to know of runs."""

    def active(self, pool: Key) -> Mapping[str, RunRecord]:
        """The runs of a pool that have not ended, by run id."""
        ...

    def look_again(self, pool: Key) -> None:
        """Have all runs of a pool planned anew."""
        ...

    def counts(self, pool: Key) -> RunCounts:
        """How many runs of a pool are in which state."""
        ...

    def plan(self, record: RunRecord) -> None:
        """Have a run planned anew."""
        ...

    def see_header(self, record: RunRecord, document: HeaderDocument | None, etag: str) -> None:
        """Take a header that was read for a run."""
        ...
