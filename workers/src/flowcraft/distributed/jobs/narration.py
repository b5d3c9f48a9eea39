"""What a job tells of its run and its message, and the trace it belongs to; nothing while nobody listens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from flowcraft.distributed.jobs.known_runs import Run
from flowcraft.distributed.message import Message, MessageError
from flowcraft.distributed.runs import header as headers
from flowcraft.distributed.services import Services
from flowcraft.records import NodeRecord
from flowcraft.times import parse_time
from flowcraft_api.wire import HeaderDocument

if TYPE_CHECKING:
    from flowcraft.distributed.jobs.job import Job
    from flowcraft.ports import Delivery
    from flowcraft.telemetry import Telemetry


class Narrator:
    """Tells what happens to one delivery."""

    __slots__ = ("_services",)

    def __init__(self, services: Services) -> None:
        self._services = services

    def _of(self, run: Run) -> Telemetry | None:
        return self._services.tells(run.run_id, run.plan.blueprint.id)

    def trace(self) -> str:
        """The trace of what is sent now."""
        tracing = self._services.catalog.extensions.tracing
        return tracing.carrier() if tracing is not None else ""

    def started(self, run: Run) -> None:
        """The run's start message is acted on."""
        if (tells := self._of(run)) is not None:
            tells.started(run.input)

    def woken(self, run: Run, record: NodeRecord) -> None:
        """A node that waited has its record; a decision is what a run is resumed by."""
        if record.decision is not None and (tells := self._of(run)) is not None:
            tells.resumed()

    def enqueued(self, run: Run, keys: Sequence[str]) -> None:
        """Messages were sent."""
        if (tells := self._of(run)) is not None:
            tells.enqueued(self._services.queue_name, keys)

    def ended(self, run: Run) -> None:
        """The run's end is published."""
        tell_end(self._services, run.stored.document)

    async def settled(self, run: Run) -> None:
        """Nothing of the run seemed to move, and its header was brought up to date."""
        if (tells := self._of(run)) is None:
            return
        stored = await self._services.facts.read_header(run.run_id)
        if stored is not None and stored.document.get("status") == "awaiting":
            tells.paused()


def tell_end(services: Services, header: HeaderDocument) -> None:
    """A run is over; each worker that knew it may tell."""
    tells = services.tells(header["runId"], header.get("blueprintId", ""))
    if tells is not None and headers.is_terminal(header):
        tells.finished(header.get("status", ""), header.get("output"), header.get("errors") or ())


def tell_pause(services: Services, before: HeaderDocument | None, header: HeaderDocument) -> None:
    """A run was suspended, or goes on after that, as this worker comes to see it."""
    was = before.get("status") if before is not None else None
    now = header.get("status")
    if (now == "paused") == (was == "paused"):
        return
    tells = services.tells(header["runId"], header.get("blueprintId", ""))
    if tells is not None:
        tells.paused() if now == "paused" else tells.resumed()


@contextmanager
def narrated(services: Services, job: Job) -> Iterator[None]:
    """While a job runs: its trace is attached. Then tell how its delivery ended."""
    extensions = services.catalog.extensions
    if extensions.tracing is None and not extensions.events.listening:
        yield
        return
    began = services.clock.monotonic()
    first = _parsed(job.delivery)
    age_s = _queue_age_s(services, job.delivery, first)
    tracing = extensions.tracing
    attached = nullcontext() if tracing is None else tracing.attached(first.trace if first else "")
    try:
        with attached:
            yield
    except Exception as error:
        job.trouble = (type(error).__name__, str(error))
        raise
    finally:
        tells = services.tells(job.run_id, job.message.blueprint_id if job.message else "")
        if tells is not None:
            _tell(services, job, tells, services.clock.monotonic() - began, age_s)


def _tell(services: Services, job: Job, tells: Telemetry, duration_s: float, age_s: float) -> None:
    key = job.message.node_key if job.message is not None else ""
    if job.trouble is not None:
        tells.job_failed(services.queue_name, key, *job.trouble)
    tells.processed(
        services.queue_name, key, duration_s=duration_s, success=job.trouble is None, queue_age_s=age_s
    )


def _parsed(delivery: Delivery) -> Message | None:
    try:
        return Message.parse(delivery.body)
    except MessageError:
        return None


def _queue_age_s(services: Services, delivery: Delivery, message: Message | None) -> float:
    """Seconds for which the message could have been received: since it was sent, or since it was due."""
    not_before = parse_time(message.not_before) if message is not None else None
    due = delivery.inserted_at if not_before is None else max(delivery.inserted_at, not_before)
    return max((services.clock.now() - due).total_seconds(), 0.0)
