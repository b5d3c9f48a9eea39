"""The steps of a run that go to its backend, and what comes of each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

from flowcraft.distributed.client import Client, RunNotFoundError
from flowcraft.distributed.runs.pinning import pinned_blueprint
from flowcraft.distributed.runs.verbs import RefusedError
from flowcraft.errors import BlueprintError
from flowcraft.linting.decisions import misspelt_action, unknown_decision
from flowcraft.ports import Clock
from flowcraft.ports.errors import (
    BackendRefusedError,
    BackendUnavailableError,
    PayloadTooLargeError,
    PortError,
)
from flowcraft_api.resources import WorkflowRun
from flowcraft_api.run_status import (
    BACKEND_UNREACHABLE,
    BLUEPRINT_INVALID,
    BLUEPRINT_NOT_FOUND,
    INPUT_TOO_LARGE,
    RunObstacle,
)
from flowcraft_api.wire import HeaderDocument
from flowcraft_api.workflow_run import Decision
from flowcraft_operator.handlers.run_record import RunRecord
from flowcraft_operator.handlers.run_starting import (
    BlueprintMissingError,
    blueprint_of,
    drift,
    start_request,
)
from flowcraft_operator.handlers.seams import Pools
from flowcraft_operator.kube.client import KubeClient
from flowcraft_operator.kube.events import Event
from flowcraft_operator.planning.run_steps import Cancel, Decide, ReadHeader, Resume, Start, Step, Suspend

RETRY_AFTER: Final = timedelta(seconds=15)
NEVER: Final = timedelta(days=3650)


class RunVerbs:
    """Carries out steps; a failure is kept in the record for the next plan, never raised."""

    def __init__(self, kube: KubeClient, pools: Pools, clock: Clock) -> None:
        self._kube = kube
        self._pools = pools
        self._clock = clock

    async def carry_out(self, step: Step, record: RunRecord, run: WorkflowRun) -> list[Event]:
        """Do one step, and give the events it is worth."""
        client = self._pools.client(record.pool)
        if client is None:
            self._fail(record, RunObstacle(BACKEND_UNREACHABLE, "The pool's backend is not open yet."))
            return []
        try:
            events = await self._step(step, record, run, client)
        except (BackendUnavailableError, BackendRefusedError) as error:
            self._pools.report(record.pool, error)
            self._fail(record, RunObstacle(BACKEND_UNREACHABLE, str(error)))
            return []
        except PayloadTooLargeError as error:
            self._fail(record, RunObstacle(INPUT_TOO_LARGE, str(error), final=True))
            return []
        self._pools.report(record.pool, None)
        return events

    async def full_header(self, record: RunRecord) -> HeaderDocument | None:
        """The whole header, or None if it cannot be read now."""
        client = self._pools.client(record.pool)
        if client is None:
            return None
        try:
            document = await client.header(record.uid)
        except (PortError, RunNotFoundError):
            return None
        record.see_header(document, record.etag, self._clock.now())
        return document

    async def misdirected(self, record: RunRecord, run: WorkflowRun) -> dict[str, str]:
        """Decisions of the spec that cannot be meant, by node key, and why not.

        No node of the pinned blueprint can wait for them, or an action is nearly one that an edge asks for.

        Raises:
            PortError: the blueprint cannot be read now.
        """
        client = self._pools.client(record.pool)
        document = None if client is None else await self.full_header(record)
        if client is None or document is None:
            raise BackendUnavailableError("the run cannot be read now")
        if not (document.get("blueprint") or document.get("blueprintRef")):
            return {}
        blueprint, told = await pinned_blueprint(client.facts, document), {}
        for decision in run.spec.decisions:
            key = decision.node_key
            why = unknown_decision(blueprint, key) or misspelt_action(blueprint, key, decision.action)
            if why:
                told[key] = why
        return told

    async def _step(self, step: Step, record: RunRecord, run: WorkflowRun, client: Client) -> list[Event]:
        match step:
            case Start():
                await self._start(record, run, client)
            case Cancel():
                await self._steer(record, client, client.cancel)
            case Suspend():
                await self._steer(record, client, client.suspend)
            case Resume():
                await self._steer(record, client, client.resume)
            case ReadHeader():
                await self._read(record, client)
            case Decide(decision):
                return await self._decide(record, client, decision)
            case _:
                raise AssertionError(step)
        return []

    async def _start(self, record: RunRecord, run: WorkflowRun, client: Client) -> None:
        try:
            blueprint = await blueprint_of(self._kube, record.key.namespace, run.spec)
            request = start_request(
                run,
                record.uid,
                blueprint,
                queue=client.queue_name,
                ttl_after_finished_s=self._pools.ttl_after_finished_s(record.pool),
            )
            stored = await client.start(request, blueprint)
        except BlueprintMissingError as error:
            self._fail(record, RunObstacle(BLUEPRINT_NOT_FOUND, str(error)))
        except BlueprintError as error:
            self._fail(record, RunObstacle(BLUEPRINT_INVALID, str(error), final=True))
        else:
            record.drift = drift(run, stored.document)
            record.compared = run.metadata.generation
            record.see_header(stored.document, stored.etag, self._clock.now())

    async def _steer(
        self, record: RunRecord, client: Client, verb: Callable[[str], Awaitable[HeaderDocument]]
    ) -> None:
        try:
            record.see_header(await verb(record.uid), "", self._clock.now())
        except RefusedError:  # it has ended meanwhile
            await self._read(record, client)
        except RunNotFoundError:
            record.see_header(None, "", self._clock.now())

    async def _read(self, record: RunRecord, client: Client) -> None:
        try:
            record.see_header(await client.header(record.uid), "", self._clock.now())
        except RunNotFoundError:
            record.see_header(None, "", self._clock.now())

    async def _decide(self, record: RunRecord, client: Client, decision: Decision) -> list[Event]:
        now, key = self._clock.now(), decision.node_key
        try:
            await client.decide(record.uid, key, action=decision.action, output=decision.output)
        except RunNotFoundError:
            record.see_header(None, "", now)
            return []
        except RefusedError as error:
            record.decided[key] = now if error.retryable else now + NEVER
            return [] if error.retryable else [Event("DecisionRefused", str(error), "Warning")]
        again = key in record.decided
        record.decided[key] = now
        return (
            []
            if again
            else [Event("Decided", f"Node {key} was answered with {decision.action or 'no action'}.")]
        )

    def _fail(self, record: RunRecord, obstacle: RunObstacle) -> None:
        record.failure = obstacle
        record.retry_at = None if obstacle.final else self._clock.now() + RETRY_AFTER
