"""Running manifests on this machine: a worker in this process, until nothing can move any more."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from flowcraft.app import App
from flowcraft.blueprint import Blueprint
from flowcraft.distributed.client import RunNotFoundError
from flowcraft.distributed.jobs.worker import Worker
from flowcraft.distributed.runs.header import RunRequest
from flowcraft.distributed.runs.verbs import RefusedError
from flowcraft.linter import require_valid
from flowcraft.linting.decisions import unknown_decision
from flowcraft.targets import towards
from flowcraft_api.wire import TERMINAL_STATUSES, HeaderDocument
from flowcraft_cli.backend import Backend
from flowcraft_cli.blueprints import named
from flowcraft_cli.changes import Changes
from flowcraft_cli.progress import Progress
from flowcraft_cli.usage import UsageError
from flowcraft_cli.views import ANSWERED, RunView

if TYPE_CHECKING:
    from flowcraft_api.resources import WorkflowRun

LOOK_EVERY_S: Final = 1.0
"""How long a change may go unseen when its hint was lost."""
LOOK_AT_MOST_EVERY_S: Final = 0.02
"""Hundreds of runs change hundreds of times a second; the work is the workers', not this loop's."""
STARTED_AT_ONCE: Final = 64
"""Starts whose commits share a sync of the disk."""


@dataclass(slots=True)
class LocalRun:
    """One manifest and the run that stands for it.

    Attributes:
        manifest: What was asked for.
        blueprint: The blueprint that it pins.
        run_id: The run's id.
        decided: Node keys whose decision in the manifest was given.
        seen: Its header when it was last looked at.
    """

    manifest: WorkflowRun
    blueprint: Blueprint
    run_id: str
    decided: set[str] = field(default_factory=set)
    seen: HeaderDocument = field(default_factory=HeaderDocument)

    def request(self) -> RunRequest:
        """What starts it."""
        spec, metadata = self.manifest.spec, self.manifest.metadata
        return RunRequest(
            run_id=self.run_id,
            blueprint_id=self.blueprint.id,
            version=self.blueprint.version,
            input=dict(spec.input),
            pool=spec.pool_ref.name,
            name=metadata.name,
            namespace=metadata.namespace,
            deadline_s=spec.deadline.seconds if spec.deadline else None,
            ttl_after_finished_s=spec.ttl_after_finished.seconds if spec.ttl_after_finished else None,
            suspended=spec.suspend,
        )


def prepare(
    manifests: Sequence[WorkflowRun], app: App, run_id: str | None, targets: Sequence[str] = ()
) -> list[LocalRun]:
    """Check that everything asked for can run here, before anything is started.

    Args:
        manifests: The WorkflowRuns.
        app: What this process can run.
        run_id: The run's id, or the beginning of each run's id where there are several manifests.
        targets: Node ids: only they and what lies before them run; all nodes where there are none.

    Raises:
        AppError: a blueprint has no node of a target's name.
        UsageError: a blueprint is not known here, or is kept in a cluster, or a decision answers no node.
        BlueprintError: a blueprint given inline has mistakes.
    """
    runs = []
    for manifest in manifests:
        own_id = str(uuid.uuid4()) if run_id is None else run_id
        if run_id is not None and len(manifests) > 1:
            own_id = f"{run_id}-{manifest.metadata.name}"
        blueprint = _blueprint(manifest, app)
        for decision in manifest.spec.decisions:
            if told := unknown_decision(blueprint, decision.node_key):
                raise UsageError(f"{manifest.metadata.name}: spec.decisions: {told}")
        if targets:
            blueprint = towards(blueprint, targets)
        runs.append(LocalRun(manifest, blueprint, own_id))
    return runs


def _blueprint(manifest: WorkflowRun, app: App) -> Blueprint:
    source, name = manifest.spec.blueprint, manifest.metadata.name
    if source.config_map_ref is not None:
        raise UsageError(
            f"{name}: a ConfigMap is only there on a cluster; use blueprint.name or blueprint.inline"
        )
    if source.inline is not None:
        blueprint = Blueprint.from_dict(source.inline)
        require_valid(blueprint, app.registry)
        return blueprint
    try:
        return named(app, source.name or "", source.version)
    except UsageError as error:
        raise UsageError(f"{name}: {error}") from None


class LocalRuns:
    """Starts runs, follows them until nothing can move, and says how they stand."""

    def __init__(self, backend: Backend, runs: Sequence[LocalRun], progress: Progress) -> None:
        self._backend = backend
        self._client = backend.client
        self._runs = runs
        self._progress = progress

    async def start(self) -> None:
        """Start every run; one that was started before under its id is only followed.

        Raises:
            UsageError: a run of that id was started with something else.
        """
        for first in range(0, len(self._runs), STARTED_AT_ONCE):
            await asyncio.gather(*map(self._start, self._runs[first : first + STARTED_AT_ONCE]))

    async def follow(self, worker: Worker, stop: asyncio.Event) -> None:
        """Return when no run can move any more, or when ``stop`` is set.

        Raises:
            Exception: what ended the worker, which is a defect.
        """
        ended = asyncio.create_task(worker.wait())
        try:
            async with Changes(self._backend) as changes:
                while not stop.is_set() and await self._can_move():
                    if ended.done():
                        await ended
                        return
                    await changes.wait(LOOK_EVERY_S)
                    await self._backend.clock.sleep(LOOK_AT_MOST_EVERY_S)
        finally:
            ended.cancel()
            await asyncio.gather(ended, return_exceptions=True)
            self._progress.end()

    async def views(self) -> list[RunView]:
        """How each run stands, in the manifests' order."""
        now = self._backend.clock.now()
        return [RunView.of(await self._client.header(run.run_id), now) for run in self._runs]

    async def _start(self, run: LocalRun) -> None:
        stored = await self._client.start(run.request(), run.blueprint)
        _require_same(run, stored.document)
        if run.manifest.spec.cancel:
            await self._client.cancel(run.run_id)

    async def _can_move(self) -> bool:
        decided = False
        for run in self._runs:
            if run.seen.get("status") in TERMINAL_STATUSES:
                continue
            run.seen = await self._client.header(run.run_id)
            decided = await self._decide(run, run.seen) or decided
        headers = [run.seen for run in self._runs]
        self._progress.show(headers)
        return decided or any([await self._moves(header) for header in headers])

    async def _moves(self, header: HeaderDocument) -> bool:
        """Whether a run goes on by itself; one that waits is looked at, the header may tell of it late."""
        return await moves(header, self._client.header) or await self._was_answered(header)

    async def _was_answered(self, header: HeaderDocument) -> bool:
        keys = [entry["nodeKey"] for entry in header.get("awaiting") or () if entry.get("kind") in ANSWERED]
        if header.get("status") != "awaiting" or not keys:
            return False
        loaded = await self._client.facts.load(header["id"], nodes=keys)
        return any(each.record.resolved or each.record.decision for each in loaded.records.values())

    async def _decide(self, run: LocalRun, header: HeaderDocument) -> bool:
        """Give the manifest's decisions to the nodes that have come to wait for them."""
        listed = header.get("awaiting") or ()
        waiting = {entry["nodeKey"] for entry in listed}
        subflows = tuple(f"{entry['nodeKey']}/" for entry in listed if entry.get("runId"))
        given = False
        for decision in run.manifest.spec.decisions:
            inside = decision.node_key.startswith(subflows)
            if (decision.node_key in waiting or inside) and decision.node_key not in run.decided:
                run.decided.add(decision.node_key)
                try:
                    await self._client.decide(
                        run.run_id, decision.node_key, action=decision.action, output=decision.output
                    )
                    given = True
                except RefusedError as error:
                    if inside and error.retryable:  # it comes to wait there, or it does not
                        run.decided.discard(decision.node_key)
                        continue
                    self._progress.tell(f"{run.manifest.metadata.name}: {error}")
        return given


Reader = Callable[[str], Awaitable[HeaderDocument]]
"""Reads the header of a run."""


async def moves(header: HeaderDocument, read: Reader) -> bool:
    """Whether a run goes on by itself: it works, sleeps, or waits for its next attempt or for such a run."""
    if header.get("status") == "running":
        return not header.get("reason")  # it says why no worker can take the run
    if header.get("status") != "awaiting":
        return False
    for entry in header.get("awaiting") or ():
        child = entry.get("runId")
        if entry.get("kind") not in ANSWERED and (child is None or await _child_moves(child, read)):
            return True
    return False


async def _child_moves(run_id: str, read: Reader) -> bool:
    """Whether a child run moves; one that has ended does: its parent is about to go on."""
    try:
        header = await read(run_id)
    except RunNotFoundError:
        return True  # about to be created
    return header.get("status") in TERMINAL_STATUSES or await moves(header, read)


def _require_same(run: LocalRun, document: HeaderDocument) -> None:
    """An id that is used again means the same run; another input or blueprint under it is a mistake."""
    asked = {"blueprintHash": run.blueprint.content_hash}
    if "input" in document:
        asked["input"] = run.request().input
    for key, value in asked.items():
        if document.get(key) != value:
            what = "input" if key == "input" else "blueprint"
            raise UsageError(
                f"run {run.run_id} was started before with another {what}; use another --run-id "
                f"(it was {_short(document.get(key))})"
            )


def _short(value: object) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."
