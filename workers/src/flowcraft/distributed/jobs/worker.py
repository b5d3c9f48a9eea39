"""A worker: receives messages, runs their jobs, renews what they hold, and drains when it is told to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from flowcraft.cancellation import uncancel
from flowcraft.dependencies import Hold, dependencies_of
from flowcraft.distributed.jobs.job import Job
from flowcraft.distributed.jobs.known_runs import Runs
from flowcraft.distributed.jobs.narration import narrated
from flowcraft.distributed.jobs.opening import Opener, Refusal
from flowcraft.distributed.jobs.quarantine import Quarantine
from flowcraft.distributed.runs import header as headers
from flowcraft.distributed.runs.pinning import Plans
from flowcraft.distributed.services import Services
from flowcraft.ports import Delivery
from flowcraft.ports.errors import (
    BackendRefusedError,
    BackendUnavailableError,
    PortError,
    PreconditionFailedError,
)

HEARTBEAT_S = 10.0
FEW_FREE_S = 0.02
"""How long a busy worker collects free places before it asks for less than half of what it can hold."""
WARM_S = 60.0


class Worker:
    """Works on the messages of one queue until it is stopped.

    Attributes:
        jobs: Deliveries in work.
        last_receive: Monotonic time of the last receive that was answered; None before the first.
        problem: Why the backend cannot be used just now; empty while it can.
    """

    def __init__(self, services: Services) -> None:
        # Threads are made when a synchronous node needs one: as many as there may be jobs.
        self._threads = ThreadPoolExecutor(services.settings.concurrency, thread_name_prefix="node")
        log = services.catalog.extensions.logger or services.log
        services = replace(services, threads=services.threads or self._threads, log=log)
        self._services = services
        self._runs = Runs(services.evaluator)
        self._opener = Opener(services, self._runs, Plans(evaluator=services.evaluator))
        self._loops: list[asyncio.Task[None]] = []
        self._hold: Hold | None = None
        self._arrived = asyncio.Event()
        self._freed = asyncio.Event()
        self._stopping = asyncio.Event()
        self._stopped = asyncio.Event()
        self._checks: set[asyncio.Task[None]] = set()
        self._quarantine = Quarantine(services.settings.visibility_timeout_s, self._freed.set)
        self.jobs: dict[asyncio.Task[None], Job] = {}
        self.handled = 0
        self.last_receive: float | None = None
        self.problem = ""

    async def start(self) -> None:
        """Begin to poll; returns at once."""
        if self._loops:
            raise RuntimeError("this worker was started before; make a new one")
        loops: list[Coroutine[Any, Any, None]] = [
            self._poll(),
            self._renew(),
            self._listen(),
            self._beat(),
            self._touch(),
        ]
        self._hold = dependencies_of(self._services.catalog.dependencies).hold()
        self._loops = [asyncio.create_task(loop) for loop in loops]

    async def wait(self) -> None:
        """Return when the worker has stopped.

        Raises:
            Exception: what ended one of its loops, which is a defect.
        """
        done, _ = await asyncio.wait(
            [*self._loops, stopped := asyncio.create_task(self._stopped.wait())],
            return_when=asyncio.FIRST_COMPLETED,
        )
        stopped.cancel()
        for task in done:
            if task is not stopped and not task.cancelled() and (error := task.exception()):
                raise error
        await self._stopped.wait()

    async def stop(self) -> None:
        """Drain: take nothing new, let jobs finish for a while, give back the rest, then stop."""
        self._stopping.set()
        self._arrived.set()
        self._freed.set()
        if self.jobs:
            await asyncio.wait(self.jobs, timeout=self._services.settings.drain_s)
        unfinished = dict(self.jobs)
        for task in unfinished:
            task.cancel()
        if unfinished:
            await asyncio.wait(unfinished)
        await _ended(self._loops)
        await self._report(0, ttl_s=0.0)
        await self._services.catalog.extensions.events.drain()
        if self._hold is not None:
            await self._hold.end()
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._stopped.set()

    async def __aenter__(self) -> Worker:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    # ---- receiving ----

    async def _poll(self) -> None:
        settings, queue = self._services.settings, self._services.queue
        idle_s, last_message = settings.idle_min_s, self._services.clock.monotonic()
        while not self._stopping.is_set():
            free = await self._free_places()
            if self._stopping.is_set():
                return
            self._arrived.clear()
            try:
                deliveries = await queue.receive(min(free, 32), settings.visibility_timeout_s)
                self.problem = ""
            except (BackendUnavailableError, BackendRefusedError) as error:
                self._tell_problem(error)
                await self._services.clock.sleep(self._jittered(settings.idle_max_s))
                continue
            now = self.last_receive = self._services.clock.monotonic()
            if deliveries:
                idle_s, last_message = settings.idle_min_s, now
                for delivery in deliveries:
                    self._begin(delivery)
                continue
            await self._idle(idle_s)
            longest_s = settings.idle_warm_s if now - last_message < WARM_S else settings.idle_max_s
            idle_s = min(idle_s * 2, longest_s)
            if self._arrived.is_set():
                idle_s = settings.idle_min_s

    async def _free_places(self) -> int:
        """Wait for a place; while jobs end one by one, collect a few places before asking."""
        places = self._services.settings.concurrency
        await self._until_free(1)
        few = (min(places, 32) + 1) // 2
        if places - len(self.jobs) < few:
            pause = asyncio.create_task(self._services.clock.sleep(FEW_FREE_S))
            pause.add_done_callback(lambda _: self._freed.set())
            await self._until_free(few, pause)
            pause.cancel()
        return places - len(self.jobs)

    async def _until_free(self, wanted: int, pause: asyncio.Task[None] | None = None) -> None:
        """Return when so many places are free, the pause is over, or the worker is stopping."""
        places = self._services.settings.concurrency
        while not self._stopping.is_set():
            closed = self._quarantine.closed
            if not closed and places - len(self.jobs) >= wanted:
                return
            if pause is not None and pause.done() and not closed:
                return
            self._freed.clear()
            await self._freed.wait()

    async def _idle(self, seconds: float) -> None:
        pause = asyncio.create_task(self._services.queue.wait(self._jittered(seconds)))
        arrived = asyncio.create_task(self._arrived.wait())
        try:
            await asyncio.wait([pause, arrived], return_when=asyncio.FIRST_COMPLETED)
            if pause.done() and (error := pause.exception()):
                self._services.log.warning("waiting for messages failed", error=str(error))
                await self._services.clock.sleep(self._jittered(seconds))
        finally:
            for task in (pause, arrived):
                task.cancel()
            await asyncio.gather(pause, arrived, return_exceptions=True)

    def _begin(self, delivery: Delivery) -> None:
        job = Job(self._services, self._opener, delivery, self._arrived.set)
        task = asyncio.create_task(self._run(job))
        self.jobs[task] = job
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self.jobs[task]
        self.handled += 1
        self._freed.set()

    async def _run(self, job: Job) -> None:
        try:
            with narrated(self._services, job):
                async with self._quarantine.admitted(suspected=job.suspected) as admitted:
                    await (job.run() if admitted else job.give_back(self._jittered(self._away_s())))
        except asyncio.CancelledError:
            if self._stopping.is_set():
                await self._release(job)
                return
            # Nobody else ends a job: the node's code cancelled the task that it runs in.
            uncancel()
            self._services.log.warning("job cancelled by its own node", run_id=job.run_id)
            await self._release(job, delay_s=self._jittered(2.0), counts=True)
        except PortError as error:
            self._services.log.warning("job ended by the backend", run_id=job.run_id, error=str(error))
        except Exception:
            # A defect of this program: the message is delivered again, and is poison in the end.
            self._services.log.exception("job ended by a defect", run_id=job.run_id)
            await self._release(job, delay_s=self._jittered(2.0), counts=True)

    def _away_s(self) -> float:
        return self._services.settings.visibility_timeout_s / 6

    async def _release(self, job: Job, *, delay_s: float = 0.0, counts: bool = False) -> None:
        try:
            await job.give_back(delay_s, counts=counts)
        except PortError as error:
            self._services.log.warning("message not given back", run_id=job.run_id, error=str(error))

    # ---- beside receiving ----

    async def _renew(self) -> None:
        """Renew every delivery well before it runs out, and look at the status of runs in work."""
        period_s = self._services.settings.visibility_timeout_s / 3
        while True:
            await self._services.clock.sleep(period_s)
            await asyncio.gather(*(self._renew_one(job) for job in list(self.jobs.values())))

    async def _renew_one(self, job: Job) -> None:
        try:
            await job.renew()
        except PortError as error:
            self._services.log.warning("renewal failed", run_id=job.run_id, error=str(error))

    async def _listen(self) -> None:
        """Hear of new work and of changed headers; without hints, polling does the same later."""
        while True:
            try:
                async with self._services.coordination.listen(self._services.channel) as hints:
                    async for text in hints:
                        self._heard(text)
            except BackendUnavailableError as error:
                self._services.log.info("no hints for now", error=str(error))
            await self._services.clock.sleep(self._jittered(self._services.settings.idle_max_s))

    def _heard(self, text: str) -> None:
        if text.startswith("+"):
            self._arrived.set()
            return
        self._runs.changed(text)
        if any(job.run_id == text and job.executes for job in self.jobs.values()):
            task = asyncio.create_task(self._check(text))
            self._checks.add(task)
            task.add_done_callback(self._checks.discard)

    async def _check(self, run_id: str) -> None:
        """Tell nodes in execution when their run has ended."""
        try:
            allowed = await self._opener.open(run_id, "")
        except PortError:
            return  # the next look at the status tells
        if allowed is Refusal.ENDED:
            for job in list(self.jobs.values()):
                if job.run_id == run_id:
                    job.cancel_node()

    async def _beat(self) -> None:
        while True:
            await self._report(len(self.jobs), ttl_s=3 * HEARTBEAT_S)
            await self._services.clock.sleep(HEARTBEAT_S)

    async def _report(self, in_flight: int, ttl_s: float) -> None:
        services = self._services
        try:
            await services.coordination.heartbeat(services.queue_name, services.worker_id, in_flight, ttl_s)
        except BackendUnavailableError:
            return  # the operator then does not know, and says so

    async def _touch(self) -> None:
        """Keep ``lastUpdated`` of runs in work young, so that none looks stalled; check their status."""
        settings, clock = self._services.settings, self._services.clock
        touched = clock.monotonic()
        while True:
            await clock.sleep(settings.status_max_age_s)
            runs = {job.run_id for job in self.jobs.values() if job.executes}
            for run_id in runs:
                await self._check(run_id)
            if clock.monotonic() - touched >= settings.touch_interval_s:
                touched = clock.monotonic()
                for run_id in runs:
                    await self._touch_one(run_id)

    async def _touch_one(self, run_id: str) -> None:
        run = self._runs.get(run_id)
        document = headers.touched(run.stored.document, self._services.clock.now()) if run else None
        if run is None or document is None:
            return
        try:
            run.stored = await self._services.facts.replace_header(run.stored, document)
        except PreconditionFailedError:
            self._runs.changed(run_id)
        except PortError as error:
            self._services.log.info("run not touched", run_id=run_id, error=str(error))

    def _tell_problem(self, error: PortError) -> None:
        if self.problem != str(error):
            self._services.log.error("the queue cannot be read", error=str(error))
        self.problem = str(error)

    def _jittered(self, seconds: float) -> float:
        return seconds * (0.75 + self._services.random.random() / 2)


async def _ended(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel until all have ended: in Python 3.11 `wait_for`, inside a client, may swallow a cancellation."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        done, left = await asyncio.wait(left, timeout=1.0)
        for task in done:
            if not task.cancelled():
                task.exception()  # told by `wait`, or of no use any more
