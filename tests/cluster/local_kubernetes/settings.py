"""Where a cluster lives on the machine, and the addresses it uses inside its own network."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

NODE_NETWORK = "10.250.0"
"""First three octets of the nodes' addresses: node N is ``.N``."""
POD_NETWORK = "10.244"
"""First two octets of the pods' addresses: node N hands out ``.N.0/24``."""
SERVICE_NETWORK = "10.96.0.0/16"
API_SERVICE_IP = "10.96.0.1"
DNS_SERVICE_IP = "10.96.0.10"
HOST_ADDRESS = f"{NODE_NETWORK}.1"
"""Node 1: where the control plane listens, and how pods reach servers started by ``cluster exec``."""
ADDRESS_VARIABLE = "FLOWCRAFT_CLUSTER_ADDRESS"
"""Tells a command started by ``cluster exec`` where pods find the servers that it starts."""


class ClusterError(Exception):
    """The cluster cannot do what was asked; the message says why, in one line."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The folders of one cluster.

    Attributes:
        sources: The folder with ``go.mod`` and ``kube/``.
        cache: What was built from pinned inputs; shared by every clone of this user.
        state: Everything else of one cluster; removed by ``down``.
    """

    sources: Path
    cache: Path
    state: Path

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Read ``FLOWCRAFT_CACHE`` and ``FLOWCRAFT_CLUSTER_STATE``; the defaults suit one cluster a clone."""
        sources = Path(__file__).resolve().parent.parent
        user_cache = Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        cache = Path(environment.get("FLOWCRAFT_CACHE") or user_cache / "flowcraft")
        state = Path(environment.get("FLOWCRAFT_CLUSTER_STATE") or sources.parent.parent / ".cluster")
        return cls(sources, cache.absolute(), state.absolute())

    @property
    def clone(self) -> Path:
        """The root of the project's clone."""
        return self.sources.parent.parent

    @property
    def kubeconfig(self) -> Path:
        """The administrator's configuration; it holds in the network of ``cluster exec``."""
        return self.state / "kubeconfig"

    @property
    def identity(self) -> str:
        """What sets this cluster apart from others on the machine, from its state folder."""
        return hashlib.sha256(bytes(self.state)).hexdigest()[:8]

    @property
    def cgroup(self) -> str:
        """The cgroup, below each controller's root, that holds all nodes of this cluster."""
        return f"flowcraft-{self.identity}"


def node_address(node: int) -> str:
    """The address of a node in the nodes' network."""
    return f"{NODE_NETWORK}.{node}"
