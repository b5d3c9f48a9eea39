"""What a worker's code is given: the ports, the settings and the blueprints it knows."""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flowcraft.ports.coordination import hint_channel

if TYPE_CHECKING:  # a client needs none of it, and it takes long to load
    from flowcraft.engine.inputs import Evaluator
    from flowcraft.ports import Clock, Coordination, FactStore, JobQueue
    from flowcraft.runtime import RuntimeOptions
    from flowcraft.telemetry import Telemetry


def _logger() -> Any:
    import structlog  # noqa: PLC0415  half of the start of a command that logs nothing

    return structlog.get_logger()


def _new_token() -> str:
    return secrets.token_urlsafe(24)


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """How a worker works; times in seconds.

    Attributes:
        concurrency: Messages it holds at once.
        visibility_timeout_s: How long a message is hidden and its claims are leased; both are renewed at a
            third of it, so that the work of a worker that died is taken up after about this time.
        max_deliveries: Unexplained deliveries after which a node key fails as poison.
        idle_min_s: First pause after an empty receive.
        idle_warm_s: Longest pause while warm (within a minute of the last message).
        idle_max_s: Longest pause once cold.
        status_max_age_s: How old a cached run status may be before it is read again.
        pause_delay_s: Delay of messages of a paused run.
        unknown_delay_s: Delay of messages whose blueprint is not known here.
        touch_interval_s: How often ``lastUpdated`` of a run in work is moved.
        inline_retry_s: Retry delays up to this are waited for in place; longer ones are alarms.
        drain_s: How long a stopping worker lets jobs finish before it gives them back.
        parallel_sends: Requests of one job under way at once.
        webhook_url: Address to which callers of webhooks send their answers; empty where there is none.
        check_open_joins_up_to: Joins of at most so many edges are checked with the facts at each open answer.
    """

    concurrency: int = 16
    visibility_timeout_s: float = 30.0
    max_deliveries: int = 5
    idle_min_s: float = 0.05
    idle_warm_s: float = 1.0
    idle_max_s: float = 5.0
    status_max_age_s: float = 5.0
    pause_delay_s: float = 3600.0
    unknown_delay_s: float = 15.0
    touch_interval_s: float = 100.0
    inline_retry_s: float = 2.0
    drain_s: float = 25.0
    parallel_sends: int = 32
    check_open_joins_up_to: int = 16
    webhook_url: str = ""


@dataclass(frozen=True, slots=True)
class Services:
    """The ports of one queue and everything else that a job needs; synchronous nodes run in ``threads``.

    ``new_token`` makes texts that nobody can guess.
    """

    queue_name: str
    queue: JobQueue
    facts: FactStore
    coordination: Coordination
    clock: Clock
    random: random.Random
    evaluator: Evaluator
    catalog: RuntimeOptions
    worker_id: str
    threads: Executor | None = None
    settings: WorkerSettings = field(default_factory=WorkerSettings)
    log: Any = field(default_factory=_logger)
    new_token: Callable[[], str] = _new_token

    def tells(self, run_id: str, blueprint_id: str = "") -> Telemetry | None:
        """What tells a run's events; None while nobody listens."""
        events = self.catalog.extensions.events
        if not events.listening:
            return None
        from flowcraft.telemetry import Telemetry  # noqa: PLC0415  clients never need it

        return Telemetry(events, self.clock, run_id, blueprint_id)

    @property
    def channel(self) -> str:
        """Where hints of this queue are published."""
        return hint_channel(self.queue_name)
