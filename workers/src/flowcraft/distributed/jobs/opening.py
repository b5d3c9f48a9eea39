"""What a worker may do with a run now: look at its header, pin it, or say why not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from flowcraft.blueprint import Blueprint
from flowcraft.distributed.jobs.known_runs import Run, Runs
from flowcraft.distributed.jobs.narration import tell_end, tell_pause
from flowcraft.distributed.queue_ports import hint
from flowcraft.distributed.runs import header as headers
from flowcraft.distributed.runs.continuation import is_copying
from flowcraft.distributed.runs.ending import publish_failed
from flowcraft.distributed.runs.pinning import Plans, pin
from flowcraft.distributed.runs.takeover import take_over
from flowcraft.distributed.services import Services
from flowcraft.engine.making import code_of
from flowcraft.engine.plan import Plan
from flowcraft.errors import BlueprintError
from flowcraft.ports import Stored
from flowcraft.ports.errors import PreconditionFailedError, StaleReadError
from flowcraft.times import parse_time
from flowcraft_api.wire import HeaderDocument


class Refusal(Enum):
    """Why a run is not worked on now, and what becomes of the message."""

    ENDED = "ended"
    """The message is deleted."""
    PAUSED = "paused"
    """The message is given back for long; resuming signals anew."""
    UNKNOWN = "unknown"
    """Another worker may know its blueprint; the message is given back."""


@dataclass(frozen=True, slots=True)
class Opener:
    """Opens runs for the jobs of one worker."""

    services: Services
    runs: Runs
    plans: Plans

    async def open(self, run_id: str, blueprint_id: str) -> Run | Refusal:
        """The run if it may be worked on now; reads the header only when the remembered one is too old.

        Raises:
            StaleReadError: there is no header, though a message names the run.
        """
        known = self.runs.get(run_id)
        if known is not None and self._fresh(known) and known.stored.document.get("status") != "paused":
            return await self._allowed(known)
        if known is None:
            run = await self._read(run_id, blueprint_id, None)
        else:
            run = await self._read_again(known, blueprint_id)
        return run if isinstance(run, Refusal) else await self._allowed(run)

    async def _read_again(self, known: Run, blueprint_id: str) -> Run | Refusal:
        """Read the header once for all jobs of the run: the others go on with what is known meanwhile.

        Unless that is much too old: a message that was hidden for an hour must not find the run as it was.
        """
        known.stale = False  # a hint from here on counts
        now = self.services.clock.monotonic()
        if now - known.read_at < 2 * self.services.settings.status_max_age_s:
            known.read_at = now
        try:
            return await self._read(known.run_id, blueprint_id, known)
        except BaseException:
            known.stale = True
            raise

    def _fresh(self, run: Run) -> bool:
        age_s = self.services.clock.monotonic() - run.read_at
        return not run.stale and age_s < self.services.settings.status_max_age_s

    async def _read(self, run_id: str, blueprint_id: str, known: Run | None) -> Run | Refusal:
        stored = await self.services.facts.read_header(run_id)
        if stored is None:
            raise StaleReadError(f"run {run_id} has no header")
        if headers.is_of_newer_format(stored.document):
            return Refusal.UNKNOWN
        if headers.is_terminal(stored.document):
            return self._ended(stored)
        if not headers.is_pinned(stored.document):
            return await self._pin(stored, blueprint_id)
        plan = await self.plans.of(self.services.facts, stored.document)
        if not self._takes(plan, stored):
            return await self._block(stored, lacking=self._lacking(plan.blueprint))
        if is_copying(stored.document):
            stored = await take_over(self.services, stored)
        if "reason" in stored.document:
            stored = await self._unblock(stored)
        return self._remember(stored, plan, known)

    def _remember(self, stored: Stored, plan: Plan, known: Run | None = None) -> Run:
        now = self.services.clock.monotonic()
        tell_pause(self.services, known.stored.document if known is not None else None, stored.document)
        if known is not None:
            known.stored, known.read_at = stored, now
            return known
        run = Run(stored, plan, now)
        if "input" in stored.document:
            run.learn_input(stored.document["input"], self.services.catalog.extensions.serializer)
        return self.runs.put(run)

    async def _allowed(self, run: Run) -> Run | Refusal:
        header = run.stored.document
        now = self.services.clock.now()
        if headers.is_terminal(header):
            return self._ended(run.stored)
        if header.get("deadlineAt") and headers.deadline_passed(header, now):
            await self._past_deadline(run, now)
            return Refusal.ENDED
        return Refusal.PAUSED if header.get("status") == "paused" else run

    def _ended(self, stored: Stored) -> Refusal:
        if self.runs.get(stored.document["runId"]) is not None:  # somebody else ended it
            tell_end(self.services, stored.document)
        self.runs.drop(stored.document["runId"])
        self.runs.over(stored.document)
        return Refusal.ENDED

    async def _past_deadline(self, run: Run, now: datetime) -> None:
        message = f"the run did not finish before its deadline {run.stored.document.get('deadlineAt')}"
        ended = await publish_failed(self.services, run.stored, reason="DeadlineExceeded", message=message)
        tell_end(self.services, ended.document)
        await hint(self.services, run.run_id)
        self.runs.drop(run.run_id)

    async def _pin(self, stored: Stored, blueprint_id: str) -> Run | Refusal:
        header = stored.document
        blueprint = self.services.catalog.blueprints.find(
            header.get("blueprintId") or blueprint_id, header.get("blueprintVersion")
        )
        if blueprint is None:
            return await self._block(stored, blueprint_id)
        try:
            self.plans.require_valid(blueprint, self.services.catalog.registry)
        except BlueprintError as error:
            return await self._invalid(stored, error)
        return await self._pin_known(stored, blueprint)

    async def _pin_known(self, stored: Stored, blueprint: Blueprint) -> Run | Refusal:
        now = self.services.clock.now()
        document = await pin(self.services.facts, stored.document, blueprint, now, self.services.queue_name)
        try:
            stored = await self.services.facts.replace_header(stored, document)
        except PreconditionFailedError:
            return await self._read(document["runId"], blueprint.id, None)  # somebody pinned, or ended it
        if document.get("status") == "paused":
            return Refusal.PAUSED
        plan = self.plans.keep(blueprint)
        if is_copying(stored.document):  # it begins with another context than the run before it
            stored = await take_over(self.services, stored)
        return self._remember(stored, plan)

    async def _invalid(self, stored: Stored, error: BlueprintError) -> Refusal:
        ended = await publish_failed(self.services, stored, reason="InvalidBlueprint", message=str(error))
        tell_end(self.services, ended.document)
        await hint(self.services, stored.document["runId"])
        return Refusal.ENDED

    def _takes(self, plan: Plan, stored: Stored) -> bool:
        blueprints = self.services.catalog.blueprints
        blueprint = plan.blueprint
        known = blueprints.find(blueprint.id, stored.document.get("blueprintVersion"))
        if known is None and blueprint.id in blueprints:
            return False
        if known is not None and known.content_hash != blueprint.content_hash:
            self.services.log.warning(
                "the run follows its pinned blueprint, which differs from this worker's",
                run_id=stored.document["runId"],
                blueprint_id=blueprint.id,
                version=blueprint.version,
            )
        return not self._lacking(blueprint)

    def _lacking(self, blueprint: Blueprint) -> list[str]:
        """The implementations that the blueprint uses and this worker does not have."""
        implements = self.services.catalog.registry.implements
        wanted = (name for node in blueprint.nodes for name in code_of(node))
        return list(dict.fromkeys(name for name in wanted if not implements(name)))

    def _worked_on(self, header: HeaderDocument) -> bool:
        """Whether other workers have moved the run lately: those of a newer app, while it is rolled out."""
        if not headers.is_pinned(header) or headers.is_untouched(header):
            return False
        last = parse_time(header.get("lastUpdated"))
        lately = timedelta(seconds=2 * self.services.settings.touch_interval_s)
        return last is not None and self.services.clock.now() - last < lately

    async def _unblock(self, stored: Stored) -> Stored:
        """Take back what a worker said that does not know the blueprint."""
        document = headers.unblocked(stored.document, self.services.clock.now())
        if document is None:
            return stored
        try:
            stored = await self.services.facts.replace_header(stored, document)
        except PreconditionFailedError:
            self.runs.changed(stored.document["runId"])
        else:
            await hint(self.services, stored.document["runId"])
        return stored

    async def _block(self, stored: Stored, blueprint_id: str = "", lacking: Sequence[str] = ()) -> Refusal:
        header = stored.document
        if self._worked_on(header):
            return Refusal.UNKNOWN
        name = header.get("blueprintId") or blueprint_id
        version = header.get("blueprintVersion")
        shown = f"{name} version {version}" if version else f"{name}"
        can = f"implements {', '.join(lacking[:5])} of" if lacking else "runs"
        queue = self.services.queue_name
        message = f"no worker of queue {queue} {can} blueprint {shown} so far: deploy an app that does"
        document = headers.blocked(header, "BlueprintUnknown", message, self.services.clock.now())
        if document is not None:
            try:
                await self.services.facts.replace_header(stored, document)
                await hint(self.services, header["runId"])
            except PreconditionFailedError:
                pass  # somebody who knows the blueprint may just have pinned it
        return Refusal.UNKNOWN
