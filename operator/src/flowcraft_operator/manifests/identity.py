"""Names, labels and owner of the objects that a pool owns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from flowcraft_api.resources import API_VERSION

MANAGED_BY: Final = "flowcraft-operator"
POOL_LABEL: Final = "flowcraft.io/pool"
APP_NAME: Final = "flowcraft-worker"


@dataclass(frozen=True, slots=True)
class PoolIdentity:
    """Which FlowcraftWorkerPool an object belongs to."""

    namespace: str
    name: str
    uid: str

    @property
    def child_name(self) -> str:
        """The name of every object of the pool; a pool's own name has at most 47 characters."""
        return f"{self.name}-workers"

    @property
    def selector(self) -> dict[str, str]:
        """The labels that find the pool's pods; a Deployment's selector can never change."""
        return {"app.kubernetes.io/name": APP_NAME, POOL_LABEL: self.name}

    @property
    def selector_text(self) -> str:
        """The same as a label selector."""
        return ",".join(f"{name}={value}" for name, value in sorted(self.selector.items()))

    @property
    def labels(self) -> dict[str, str]:
        """The labels of every object of the pool."""
        return {
            **self.selector,
            "app.kubernetes.io/instance": self.name,
            "app.kubernetes.io/part-of": "flowcraft",
            "app.kubernetes.io/component": "worker",
            "app.kubernetes.io/managed-by": MANAGED_BY,
        }

    def metadata(self, annotations: dict[str, str] | None = None) -> dict[str, Any]:
        """The metadata of an object that goes when the pool goes."""
        metadata: dict[str, Any] = {
            "name": self.child_name,
            "namespace": self.namespace,
            "labels": self.labels,
            "ownerReferences": [
                {
                    "apiVersion": API_VERSION,
                    "kind": "FlowcraftWorkerPool",
                    "name": self.name,
                    "uid": self.uid,
                    "controller": True,
                    "blockOwnerDeletion": False,
                }
            ],
        }
        if annotations:
            metadata["annotations"] = annotations
        return metadata

    def owns(self, document: dict[str, Any]) -> bool:
        """Whether an object of this name is the pool's own."""
        owners = (document.get("metadata") or {}).get("ownerReferences") or ()
        return any(owner.get("uid") == self.uid for owner in owners)
