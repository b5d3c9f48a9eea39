"""Many WorkflowRuns: what the operator writes and reads when it starts among them, and at rest.

How long that takes for 5,000 of them, and how much memory, is measured by `benchmarks/operator_scale.py`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

import kopf
import pytest
from tests.kubernetes.api_server import ApiServer
from tests.kubernetes.conftest import Scene
from tests.kubernetes.programs import Program, until

from flowcraft.clock import SystemClock
from flowcraft.distributed.runs.header import RunRequest
from flowcraft_api.timestamps import rfc3339
from flowcraft_operator.handlers.run_record import RUN_FINALIZER
from flowcraft_operator.kube.client import KubeClient
from flowcraft_operator.kube.resources import WORKFLOW_RUNS
from flowcraft_operator.wiring import AzureBackends

pytestmark = [pytest.mark.cluster, pytest.mark.emulators, pytest.mark.timeout(400)]

_log = logging.getLogger(__name__)

RUNS = int(os.environ.get("FLOWCRAFT_SCALE_RUNS", "500"))
ACTIVE_RUNS = RUNS // 5
"""Each costs a header in Cosmos DB before the test begins."""
AT_ONCE = 48
MEMORY_MB = 250


async def _all(count: int, one: Callable[[int], Awaitable[Any]]) -> list[Any]:
    gate = asyncio.Semaphore(AT_ONCE)

    async def gated(number: int) -> Any:
        async with gate:
            return await one(number)

    return list(await asyncio.gather(*(gated(number) for number in range(count))))


def _client(api: ApiServer) -> KubeClient:
    user = json.loads(api.kubeconfig.read_text())
    server, token = user["clusters"][0]["cluster"]["server"], user["users"][0]["user"]["token"]
    return KubeClient(lambda: kopf.ConnectionInfo(server=server, token=token, insecure=True))


def _manifest(namespace: str, number: int, finalizers: list[str]) -> dict[str, Any]:
    return {
        "apiVersion": "flowcraft.io/v1alpha1",
        "kind": "WorkflowRun",
        "metadata": {"name": f"order-{number}", "namespace": namespace, "finalizers": finalizers},
        "spec": {
            "poolRef": {"name": "orders"},
            "blueprint": {"name": "order", "version": "1"},
            "input": {"amount": number, "note": "x" * 200},
            "suspend": True,
        },
    }


def _status(uid: str, phase: str, *, ended: bool) -> dict[str, Any]:
    now = rfc3339(SystemClock().now())

    def condition(kind: str, status: str, reason: str) -> dict[str, Any]:
        return {
            "type": kind,
            "status": status,
            "reason": reason,
            "message": "",
            "lastTransitionTime": now,
            "observedGeneration": 1,
        }

    return {
        "observedGeneration": 1,
        "runId": uid,
        "phase": phase,
        "startedAt": now,
        "progress": "2/4",
        "conditions": [
            condition("Accepted", "True", "Accepted"),
            condition("Succeeded", "True" if ended else "Unknown", "Completed" if ended else phase),
            condition("Finished", str(ended), phase),
        ],
    }


async def _runs(kube: KubeClient, namespace: str, phase: str, count: int, *, ended: bool) -> list[str]:
    """Create runs as the operator leaves them in a phase; their ids."""

    async def one(number: int) -> str:
        manifest = _manifest(namespace, number, [] if ended else [RUN_FINALIZER])
        created = await kube.create(WORKFLOW_RUNS, namespace, manifest)
        uid = str(created["metadata"]["uid"])
        name = created["metadata"]["name"]
        status = _status(uid, phase, ended=ended)
        await kube.patch_status(WORKFLOW_RUNS, namespace, name, uid=uid, status=status)
        return uid

    return await _all(count, one)


async def test_at_rest_among_finished_runs_it_writes_and_reads_nothing(scene: Scene) -> None:
    kube = _client(scene.api)
    await _runs(kube, scene.namespace, "Succeeded", RUNS, ended=True)
    await kube.close()
    scene.pool(scaling={"pollInterval": "1s", "cooldown": "60s"})
    started = time.monotonic()
    operator = scene.operator(FLOWCRAFT_STATUS_POLL_S="5")
    await scene.condition("flowcraftworkerpool", "orders", "Ready", "Idle")
    scene.run("last", poolRef={"name": "nobody"})
    await scene.condition("workflowrun", "last", "Accepted", "PoolNotFound")
    caught_up_s = time.monotonic() - started
    scene.kubectl("delete", "workflowrun", "last")
    await until(
        "the first reconciliation", lambda: "lastReconciliation" in scene.get("fwp", "orders")["status"]
    )
    for _ in range(3):  # what was begun before may still be written, later on a busy machine
        before = _cost(operator)
        await asyncio.sleep(10)  # rest is what is measured: two polls of the status
        after = _cost(operator)
        if after == before:
            break
    _log.info(
        f"caught up after {caught_up_s:.1f} s, {operator.memory_mb():.0f} MB, at rest {before} -> {after}"
    )
    assert after == before
    assert operator.memory_mb() < MEMORY_MB


def _cost(operator: Any) -> tuple[float, float]:
    """Writes to the API server and requests to Cosmos DB so far."""
    return (
        operator.metric("flowcraft_operator_api_writes"),
        operator.metric('flowcraft_operator_backend_requests{service="cosmos"}'),
    )


async def test_it_catches_up_with_active_runs(scene: Scene) -> None:
    """Suspended runs: every one has a header, and nothing moves."""
    kube = _client(scene.api)
    uids = await _runs(kube, scene.namespace, "Suspended", ACTIVE_RUNS, ended=False)
    await kube.close()
    settings = {**scene.environment, "FLOWCRAFT_QUEUE": f"{scene.namespace}-orders"}
    backend = AzureBackends().open(settings, SystemClock())

    async def start(number: int) -> None:
        request = RunRequest(uids[number], "order", "1", {"amount": number}, suspended=True)
        await backend.client.start(request)

    await _all(ACTIVE_RUNS, start)
    await backend.close()
    scene.pool(scaling={"maxReplicas": 1})
    first = scene.operator(FLOWCRAFT_STATUS_POLL_S="5")
    await until("all statuses are told", lambda: _told(first), timeout_s=200)
    _log.info(
        f"{ACTIVE_RUNS} statuses written with {first.cpu_s():.1f} s of processor time, "
        f"{first.memory_mb():.0f} MB"
    )
    first.stop()

    started = time.monotonic()
    operator = scene.operator(FLOWCRAFT_STATUS_POLL_S="5")
    await until("all headers are read", lambda: _told(operator), timeout_s=60)
    caught_up_s, used_s = time.monotonic() - started, operator.cpu_s()
    _log.info(
        f"caught up with {ACTIVE_RUNS} after {caught_up_s:.1f} s, {used_s:.1f} s used, "
        f"{operator.memory_mb():.0f} MB"
    )
    assert operator.memory_mb() < MEMORY_MB


def _told(operator: Program) -> bool:
    """Whether every run's header has been seen, and nothing waits to be handled."""
    return (
        operator.metric("flowcraft_operator_headers_seen") >= ACTIVE_RUNS
        and operator.metric('flowcraft_operator_workqueue_depth{queue="runs"}') == 0
    )
