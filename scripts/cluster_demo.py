"""The shop on a cluster: operator from the chart, stand-ins, a pool, runs, and the table that kubectl prints.

Run by `make cluster-demo`, in the cluster's network (`tests/cluster/cluster exec`). What it brings up stays
until `make cluster-down`; doing it again changes nothing: a manifest that is applied twice is one run.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.cluster.local_cluster import ClusterCommandError, LocalCluster, until
from tests.cluster.local_kubernetes.settings import Settings
from tests.cluster.operator_release import OperatorRelease
from tests.emulators.__main__ import Background
from tests.emulators.stand_ins import Addresses, StandIns

CLONE = Path(__file__).resolve().parents[1]
SHOP = CLONE / "examples" / "shop"
QUEUE = "shop-orders"
RUNS = ("order-1001", "order-1002", "order-1003", "order-1004")
AT_REST = {"Succeeded", "Awaiting", "Failed", "Suspended", "Cancelled"}
"""Where the runs of the example come to, whatever somebody did to them since an earlier demo."""
NEXT = """
Go on with:

alias kubectl="$PWD/tests/cluster/cluster kubectl"
kubectl describe workflowrun order-1004        # why it failed
kubectl patch workflowrun order-1003 --type=merge \\
  -p '{"spec": {"decisions": [{"nodeKey": "approve", "action": "approved", "output": {"by": "ada"}}]}}'
kubectl get workflowruns,pods -w               # it goes on; the pool goes to zero when nothing is left to do
kubectl explain workflowrun.spec
make cluster-down"""
TIMEOUT_S = 120.0


def main() -> int:
    """Run the demo; gives the exit code."""
    try:
        cluster = LocalCluster.from_environment()
        connections = _stand_ins(cluster)
        _say("installing the operator (helm) ...")
        OperatorRelease(cluster, connections).install()
        _say("creating queue, database and containers (flowcraft provision) ...")
        _provision(connections)
        _say("applying pool and runs (kubectl) ...")
        cluster.kubectl("apply", "-f", str(SHOP / "pool.yaml"), "-f", str(SHOP / "runs.yaml"))
        until("the four runs", lambda: _phases(cluster) <= AT_REST, timeout_s=TIMEOUT_S)
    except (ClusterCommandError, subprocess.CalledProcessError, AssertionError) as error:
        _say(f"cluster-demo: {error}")
        return 1
    for resource in ("workflowruns", "flowcraftworkerpools"):
        _show(f"kubectl get {resource}", cluster.kubectl("get", resource))
    print(NEXT)
    return 0


def _stand_ins(cluster: LocalCluster) -> StandIns:
    """Stand-ins that outlive the demo, where pods reach them; they end with the cluster."""
    _say("starting stand-ins for queue, Cosmos DB and Redis ...")
    address = cluster.host_address
    state = Settings.from_environment().state / "emulators"
    return Background(state).up(Addresses(bind_host=address, advertised_host=address, cosmos_scheme="http"))


def _provision(connections: StandIns) -> None:
    command = [str(Path(sys.executable).with_name("flowcraft")), "provision", "--queue", QUEUE]
    environment = {**os.environ, **connections.environment}
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)  # noqa: S603  our own program


def _phases(cluster: LocalCluster) -> set[str]:
    runs = cluster.get("workflowruns")["items"]
    found = {run["metadata"]["name"]: run.get("status", {}).get("phase", "") for run in runs}
    return {found.get(name, "") for name in RUNS}


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _show(command: str, output: str) -> None:
    print(f"$ {command}\n{output}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
