"""The Deployment of a pool's workers, and the ServiceAccount and Secret that its pods use."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any, Final

from flowcraft_api.worker_pool import WorkerPoolSpec, pod_template_document
from flowcraft_operator.manifests.backend_sources import FromOperator, FromSecret, Plain, Source
from flowcraft_operator.manifests.identity import PoolIdentity
from flowcraft_operator.manifests.overlay import laid_over

CONTAINER: Final = "worker"
HEALTH_PORT: Final = 8080
DRAIN_S: Final = 25
TERMINATION_GRACE_S: Final = 45
"""Longer than a worker drains, and than it takes to give back what it could not finish."""
SETTINGS_HASH: Final = "flowcraft.io/settings-hash"
"""Annotation of the pods: changes with the connection settings, so that new secrets reach the workers."""

_RESOURCES: Final = {
    "requests": {"cpu": "100m", "memory": "128Mi"},
    "limits": {"memory": "512Mi"},
}


def worker_deployment(
    pool: PoolIdentity,
    spec: WorkerPoolSpec,
    sources: Mapping[str, Source],
    *,
    replicas: int,
    settings_hash: str = "",
) -> dict[str, Any]:
    """The Deployment: the operator's pod template with the pool's overlay on top.

    Raises:
        OverlayError: the overlay cannot be merged.
    """
    overlay = pod_template_document(spec)
    labels = {**(overlay.get("metadata") or {}).get("labels", {}), **pool.labels}
    if spec.backend.identity is not None:
        labels["azure.workload.identity/use"] = "true"
    annotations = dict((overlay.get("metadata") or {}).get("annotations", {}))
    if settings_hash:
        annotations[SETTINGS_HASH] = settings_hash
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": pool.metadata(),
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 3,
            "selector": {"matchLabels": pool.selector},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0},
            },
            "template": {
                "metadata": {"labels": labels, "annotations": annotations},
                "spec": laid_over(_pod_spec(pool, spec, sources), overlay.get("spec") or {}),
            },
        },
    }


def service_account(pool: PoolIdentity, spec: WorkerPoolSpec) -> dict[str, Any]:
    """The account of the worker pods: no right and no token; with an identity, Azure's name for it."""
    annotations = {}
    if spec.backend.identity is not None:
        annotations["azure.workload.identity/client-id"] = spec.backend.identity.client_id
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": pool.metadata(annotations),
        "automountServiceAccountToken": False,
    }


def operator_secret(pool: PoolIdentity, sources: Mapping[str, Source]) -> dict[str, Any] | None:
    """The Secret with those of the operator's defaults that the pool uses; None if it uses none."""
    values = {name: source.text for name, source in sources.items() if isinstance(source, FromOperator)}
    if not values:
        return None
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": pool.metadata(),
        "stringData": values,
    }


def settings_hash(pool: PoolIdentity, settings: Mapping[str, str]) -> str:
    """What changes when a connection setting does, and tells nothing about it (keyed by the pool's uid)."""
    text = "\0".join(f"{name}={value}" for name, value in sorted(settings.items()))
    return hmac.new(pool.uid.encode(), text.encode(), hashlib.sha256).hexdigest()[:16]


def _pod_spec(pool: PoolIdentity, spec: WorkerPoolSpec, sources: Mapping[str, Source]) -> dict[str, Any]:
    return {
        "serviceAccountName": pool.child_name,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": TERMINATION_GRACE_S,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": pool.selector},
            }
        ],
        "containers": [_container(pool, spec, sources)],
        "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "256Mi"}}],
    }


def _container(pool: PoolIdentity, spec: WorkerPoolSpec, sources: Mapping[str, Source]) -> dict[str, Any]:
    return {
        "name": CONTAINER,
        "image": spec.image,
        "command": ["flowcraft"],
        "args": ["worker", "--app", spec.app, "--backend", "azure"],
        "env": _environment(pool, spec, sources),
        "ports": [{"name": "health", "containerPort": HEALTH_PORT, "protocol": "TCP"}],
        "startupProbe": _probe("/livez", period_s=2, failures=60),
        "livenessProbe": _probe("/livez", period_s=10, failures=6),
        "readinessProbe": _probe("/readyz", period_s=5, failures=2),
        "resources": _RESOURCES,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - the container's own
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _probe(path: str, *, period_s: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": "health"},
        "periodSeconds": period_s,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


def _environment(
    pool: PoolIdentity, spec: WorkerPoolSpec, sources: Mapping[str, Source]
) -> list[dict[str, Any]]:
    settings = {
        "FLOWCRAFT_CONCURRENCY": str(spec.concurrency),
        "FLOWCRAFT_MAX_DELIVERIES": str(spec.poison.max_deliveries),
        "FLOWCRAFT_HEALTH_PORT": str(HEALTH_PORT),
        "FLOWCRAFT_DRAIN_S": str(DRAIN_S),
    }
    if spec.backend.identity is not None:
        settings["FLOWCRAFT_IDENTITY_CLIENT_ID"] = spec.backend.identity.client_id
    entries: list[dict[str, Any]] = [{"name": name, "value": value} for name, value in settings.items()]
    entries += [_entry(pool, name, sources[name]) for name in sorted(sources)]
    return entries


def _entry(pool: PoolIdentity, name: str, source: Source) -> dict[str, Any]:
    match source:
        case Plain(text):
            return {"name": name, "value": text}
        case FromSecret(secret, key):
            return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}
        case FromOperator():
            reference = {"name": pool.child_name, "key": name}
            return {"name": name, "valueFrom": {"secretKeyRef": reference}}
