"""The operator's pod among thousands of WorkflowRuns that have ended: memory, time to catch up, cost at rest.

    tests/cluster/cluster up && tests/cluster/images operator
    tests/cluster/cluster exec .venv/bin/python -m benchmarks.operator_scale

Everything is measured from outside: memory by the kubelet, writes by the API server's own counters, reads of
Cosmos DB by the bytes on the line to it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from tests.cluster.local_cluster import LocalCluster, until
from tests.cluster.operator_release import NAMESPACE, RELEASE, OperatorRelease
from tests.kubernetes.e2e.backend import Backend, Line
from tests.kubernetes.e2e.scene import Scene, chores_pool, run_manifest

from flowcraft.clock import SystemClock
from flowcraft_api.timestamps import parse_instant, rfc3339
from flowcraft_operator.kube.client import KubeClient, login
from flowcraft_operator.kube.resources import WORKFLOW_RUNS

AT_ONCE: Final = 32
MARKER: Final = "zz-marker"
"""The last of the runs by name: the API server lists it last, and its pool does not exist."""
_WRITES = re.compile(
    r'^apiserver_request_total\{.*resource="(workflowruns|flowcraftworkerpools|deployments|secrets|events)".*'
    r'verb="(?:APPLY|PATCH|POST|PUT|DELETE|UPDATE)".*\} (\S+)$',
    re.M,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 0 when that worked, whatever the figures are."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.operator_scale", description=__doc__)
    parser.add_argument("--runs", type=int, default=5000, help="how many (%(default)s)")
    parser.add_argument("--rest", type=float, default=60, help="seconds at rest to look at (%(default)s)")
    given = parser.parse_args(arguments)
    cluster = LocalCluster.from_environment()
    with cluster.stand_ins() as connections:
        line = Line(cluster.host_address, connections)
        release = OperatorRelease(cluster, line.connections)
        release.install()
        try:
            with cluster.namespace("scale") as namespace:
                scene = Scene(cluster, namespace, Backend(connections))
                for text in _measure(scene, line, release, given):
                    print(text, flush=True)
        finally:
            release.uninstall()
    return 0


def _measure(scene: Scene, line: Line, release: OperatorRelease, given: argparse.Namespace) -> Sequence[str]:
    _scale(scene.cluster, 0)
    _say(f"creating {given.runs} finished runs ...")
    asyncio.run(_create(scene.namespace, given.runs))
    scene.backend.provision(scene.queue("chores"))
    # Nothing is ever in its queue, so its image is never needed.
    scene.apply(chores_pool("chores", image="localhost/none:0"))
    scene.apply(run_manifest(MARKER, poolRef={"name": "nobody"}))
    started, started_at = time.monotonic(), SystemClock().now()
    _scale(scene.cluster, 1)
    scene.wait_reason(f"workflowrun/{MARKER}", "Accepted", "PoolNotFound", timeout_s=120)
    caught_up_s = time.monotonic() - started
    scene.kubectl("delete", "workflowrun", MARKER)
    _say("waiting for the first reconciliation ...")
    until("a reconciliation", lambda: _reconciled_after(scene, started_at), timeout_s=150)
    time.sleep(5)
    writes, asked = _writes(scene.cluster), line.bytes_asked_of_cosmos()
    _say(f"looking at it at rest for {given.rest:.0f} s ...")
    time.sleep(given.rest)
    written, read = _writes(scene.cluster) - writes, line.bytes_asked_of_cosmos() - asked
    memory = _memory(scene.cluster, release.pod())
    return [
        f"finished WorkflowRuns        {given.runs}",
        f"pod wanted until caught up   {caught_up_s:.1f} s",
        f"memory                       {memory['rssBytes'] / 2**20:.0f} MB resident, "
        f"{memory['workingSetBytes'] / 2**20:.0f} MB working set",
        f"at rest for {given.rest:.0f} s             {written:.0f} writes to the API server, "
        f"{read} bytes sent to Cosmos DB",
    ]


def _scale(cluster: LocalCluster, replicas: int) -> None:
    cluster.kubectl("scale", f"deployment/{RELEASE}", "-n", NAMESPACE, f"--replicas={replicas}")
    if replicas == 0:
        selector = f"app.kubernetes.io/instance={RELEASE}"
        cluster.kubectl("wait", "pod", "-l", selector, "-n", NAMESPACE, "--for=delete", "--timeout=60s")


async def _create(namespace: str, count: int) -> None:
    kube = KubeClient(login)
    gate = asyncio.Semaphore(AT_ONCE)
    now = rfc3339(SystemClock().now())

    async def one(number: int) -> None:
        async with gate:
            manifest = run_manifest(f"order-{number:05}", input={"seconds": number, "note": "x" * 200})
            created = await kube.create(WORKFLOW_RUNS, namespace, manifest)
            name, uid = created["metadata"]["name"], created["metadata"]["uid"]
            await kube.patch_status(WORKFLOW_RUNS, namespace, name, uid=uid, status=_succeeded(uid, now))

    try:
        await asyncio.gather(*(one(number) for number in range(count)))
    finally:
        await kube.close()


def _succeeded(uid: str, now: str) -> Mapping[str, Any]:
    """The status that the operator leaves a run with."""
    conditions = [
        {
            "type": kind,
            "status": "True",
            "reason": reason,
            "message": "",
            "lastTransitionTime": now,
            "observedGeneration": 1,
        }
        for kind, reason in (("Accepted", "Accepted"), ("Succeeded", "Completed"), ("Finished", "Succeeded"))
    ]
    return {
        "observedGeneration": 1,
        "runId": uid,
        "phase": "Succeeded",
        "conditions": conditions,
        "startedAt": now,
        "finishedAt": now,
        "duration": "1.2s",
        "progress": "4/4",
        "output": {"last": {"done": ["first", "left", "last"]}},
    }


def _reconciled_after(scene: Scene, moment: datetime) -> bool:
    last = scene.status("flowcraftworkerpool/chores").get("lastReconciliation", {})
    at = parse_instant(last.get("time"))
    return at is not None and at > moment


def _writes(cluster: LocalCluster) -> float:
    """Requests so far that may have changed what an operator changes."""
    metrics = cluster.kubectl("get", "--raw", "/metrics")
    return sum(float(value) for _, value in _WRITES.findall(metrics))


def _memory(cluster: LocalCluster, pod: Mapping[str, Any]) -> Mapping[str, int]:
    node = pod["spec"]["nodeName"]
    stats = json.loads(cluster.kubectl("get", "--raw", f"/api/v1/nodes/{node}/proxy/stats/summary"))
    found: Callable[[Mapping[str, Any]], bool] = lambda one: (  # noqa: E731
        one["podRef"]["uid"] == pod["metadata"]["uid"]
    )
    memory: Mapping[str, int] = next(filter(found, stats["pods"]))["containers"][0]["memory"]
    return memory


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
