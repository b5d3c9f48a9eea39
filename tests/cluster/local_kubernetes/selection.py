"""Which kind of cluster this machine gets."""

from __future__ import annotations

import os

from .cluster import LocalKubernetes
from .kind import KindCluster, docker_runs
from .settings import ClusterError, Settings


def choose(settings: Settings) -> LocalKubernetes | KindCluster:
    """The cluster for this machine: as FLOWCRAFT_CLUSTER says, else kind where Docker runs.

    Raises:
        ClusterError: FLOWCRAFT_CLUSTER names no kind of cluster.
    """
    wanted = os.environ.get("FLOWCRAFT_CLUSTER") or ("kind" if docker_runs() else "local")
    if wanted == "kind":
        return KindCluster(settings)
    if wanted == "local":
        return LocalKubernetes(settings)
    raise ClusterError(f"FLOWCRAFT_CLUSTER is {wanted!r}; it may be `kind` or `local`")
