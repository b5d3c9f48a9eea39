"""One cluster, one operator, one backend for all scenarios; two namespaces that most of them share."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import suppress

import pytest
from tests.cluster.local_cluster import ClusterCommandError, LocalCluster
from tests.cluster.operator_release import OperatorRelease
from tests.emulators.stand_ins import StandIns
from tests.kubernetes.e2e.backend import Backend
from tests.kubernetes.e2e.scene import Scene, example

RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
"""Pod Security as strict as it gets: workers must do with it."""
_OPERATOR = pytest.StashKey[OperatorRelease]()


@pytest.fixture(scope="session")
def cluster() -> LocalCluster:
    """The cluster that `cluster exec` started this session in."""
    return LocalCluster.from_environment()


@pytest.fixture(scope="session")
def stand_ins(cluster: LocalCluster) -> Iterator[StandIns]:
    """Stand-ins that pods and tests reach by the same connection strings."""
    with cluster.stand_ins() as connections:
        yield connections


@pytest.fixture(scope="session")
def backend(stand_ins: StandIns) -> Backend:
    """What the operator's defaults name."""
    return Backend(stand_ins)


@pytest.fixture(scope="session")
def operator(
    cluster: LocalCluster, stand_ins: StandIns, request: pytest.FixtureRequest
) -> Iterator[OperatorRelease]:
    """The operator, installed by helm for the session."""
    release = OperatorRelease(cluster, stand_ins)
    release.install()
    request.session.stash[_OPERATOR] = release
    yield release
    release.uninstall()


@pytest.fixture(scope="session")
def shop(cluster: LocalCluster, operator: OperatorRelease, backend: Backend) -> Iterator[Scene]:
    """A namespace with the pool of examples/shop; its cooldown is shorter, to see it go to zero."""
    (pool,) = example("pool.yaml")
    pool["spec"]["scaling"]["cooldown"] = "5s"
    with cluster.namespace("shop", **RESTRICTED) as name:
        scene = Scene(cluster, name, backend)
        backend.provision(pool["spec"]["backend"]["queue"]["name"])
        scene.apply(pool)
        scene.wait("flowcraftworkerpool/orders", "condition=Ready")
        yield scene


@pytest.fixture(scope="session")
def chores(cluster: LocalCluster, operator: OperatorRelease, backend: Backend) -> Iterator[Scene]:
    """A namespace with a pool of slow work, `chores`; stalled runs in it are repaired after seconds."""
    with cluster.namespace("chores", **RESTRICTED) as name:
        scene = Scene(cluster, name, backend)
        scene.pool("chores", reconciliation={"interval": "2s", "stalledThreshold": "6s"})
        scene.wait("flowcraftworkerpool/chores", "condition=Ready")
        yield scene


@pytest.fixture
def scene(cluster: LocalCluster, operator: OperatorRelease, backend: Backend) -> Iterator[Scene]:
    """A namespace of the test's own, without any pool."""
    with cluster.namespace("alone", **RESTRICTED) as name:
        yield Scene(cluster, name, backend)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add what the cluster looks like to the report of a test that failed."""
    report = yield
    release = item.session.stash.get(_OPERATOR, None)
    if report.failed and release is not None:
        with suppress(ClusterCommandError):
            objects = release.cluster.kubectl("get", "wfr,fwp,pods", "-A", "-o", "wide")
            report.sections.append(("objects", objects))
            report.sections.append(("operator", release.logs(60)))
    return report
