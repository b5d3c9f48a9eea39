"""The resources that the operator touches, and their addresses at the API server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from flowcraft_api.resources import GROUP, VERSION


@dataclass(frozen=True, slots=True)
class Resource:
    """A namespaced resource type."""

    group: str
    version: str
    kind: str
    plural: str

    @property
    def api_version(self) -> str:
        """As manifests write it."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str = "") -> str:
        """The path of one object, of all objects of a namespace, or of all there are."""
        path = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        if namespace is not None:
            path += f"/namespaces/{quote(namespace, safe='')}"
        path += f"/{self.plural}"
        if name is not None:
            path += f"/{quote(name, safe='')}"
        return f"{path}/{subresource}" if subresource else path


WORKFLOW_RUNS = Resource(GROUP, VERSION, "WorkflowRun", "workflowruns")
WORKER_POOLS = Resource(GROUP, VERSION, "FlowcraftWorkerPool", "flowcraftworkerpools")
DEPLOYMENTS = Resource("apps", "v1", "Deployment", "deployments")
SERVICE_ACCOUNTS = Resource("", "v1", "ServiceAccount", "serviceaccounts")
SECRETS = Resource("", "v1", "Secret", "secrets")
CONFIG_MAPS = Resource("", "v1", "ConfigMap", "configmaps")
PODS = Resource("", "v1", "Pod", "pods")
EVENTS = Resource("", "v1", "Event", "events")

_OWNED = {(each.api_version, each.kind): each for each in (DEPLOYMENTS, SERVICE_ACCOUNTS, SECRETS)}


def resource_of(manifest: Mapping[str, Any]) -> Resource:
    """The resource of a manifest that the operator makes.

    Raises:
        KeyError: the operator makes no such object.
    """
    return _OWNED[manifest["apiVersion"], manifest["kind"]]
