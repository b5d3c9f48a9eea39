"""Fixtures of the tests on a real cluster."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.cluster.local_cluster import LocalCluster
from tests.emulators.stand_ins import StandIns


@pytest.fixture(scope="session")
def cluster() -> LocalCluster:
    """The cluster that `cluster exec` started this session in."""
    return LocalCluster.from_environment()


@pytest.fixture(scope="session")
def stand_ins(cluster: LocalCluster) -> Iterator[StandIns]:
    """Stand-ins that pods and tests reach by the same connection strings."""
    with cluster.stand_ins() as connections:
        yield connections


@pytest.fixture
def namespace(cluster: LocalCluster) -> Iterator[str]:
    """A namespace of the test's own, as strict as Pod Security can be."""
    with cluster.namespace(**{"pod-security.kubernetes.io/enforce": "restricted"}) as name:
        yield name
