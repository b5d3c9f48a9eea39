"""The objects of a pool at the API server: seen, and made what they should be."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import orjson

from flowcraft.ports import Clock
from flowcraft_api.worker_pool import WorkerPoolSpec
from flowcraft_operator.handlers.pool_state import Applied, PoolState
from flowcraft_operator.kube.client import KubeClient
from flowcraft_operator.kube.errors import NotFoundError, RejectedError
from flowcraft_operator.kube.resources import DEPLOYMENTS, PODS, resource_of
from flowcraft_operator.manifests.worker_deployment import (
    operator_secret,
    service_account,
    settings_hash,
    worker_deployment,
)
from flowcraft_operator.planning.pods import worker_problem
from flowcraft_operator.planning.pool import DeploymentSeen, wants_pods

SETTLED_EVERY_S: Final = 15.0
"""How often a Deployment is looked at that is as it should be; every look of the pool while it is not."""


class NameTakenError(Exception):
    """An object of the name that the pool needs is somebody else's; the text says which."""


class PoolChildren:
    """Observes and applies the Deployment, ServiceAccount and Secret of pools."""

    def __init__(self, kube: KubeClient, clock: Clock) -> None:
        self._kube = kube
        self._clock = clock

    async def observe(self, state: PoolState) -> None:
        """Look at the Deployment, and at its pods where not all are ready."""
        now = self._clock.monotonic()
        deployment = state.deployment
        settled = deployment is None or deployment.wanted == deployment.replicas == deployment.ready
        if settled and state.deployment_at is not None and now - state.deployment_at < SETTLED_EVERY_S:
            return
        namespace, name = state.key.namespace, state.identity.child_name
        try:
            document = await self._kube.get(DEPLOYMENTS, namespace, name)
        except NotFoundError:
            state.deployment, state.applied, state.problem = None, Applied(), None
            state.deployment_at = now
            return
        state.deployment_at = now
        unchanged = document["metadata"].get("generation") == state.applied.generation
        if not unchanged or not await self._companions_unchanged(state):
            state.applied = Applied()  # somebody changed or deleted one: all are applied anew
        state.deployment = seen(document)
        state.problem = None
        if wants_pods(state.deployment):
            selector = state.identity.selector_text
            pods = [pod async for pod in self._kube.scan(PODS, namespace, label_selector=selector)]
            state.problem = worker_problem(pods)

    async def apply(self, state: PoolState, spec: WorkerPoolSpec, replicas: int) -> None:
        """Make the objects what they should be; does nothing where they are.

        Raises:
            OverlayError: the pool's template cannot be merged.
            RejectedError: the API server refuses an object.
            ForbiddenError: the operator may not make it: its role, a quota, a policy.
            NameTakenError: an object of that name is somebody else's.
        """
        manifests = self._manifests(state, spec, replicas)
        fingerprint = hashlib.sha256(orjson.dumps(manifests, option=orjson.OPT_SORT_KEYS)).hexdigest()
        if fingerprint == state.applied.manifests:
            return
        if fingerprint == state.applied.refused:
            raise RejectedError(state.applied.refusal)
        await self._require_own(state, manifests)
        versions = {}
        try:
            for manifest in manifests:
                answer = await self._kube.apply(manifest)
                versions[resource_of(manifest)] = answer["metadata"].get("resourceVersion", "")
        except RejectedError as error:
            state.applied = Applied(refused=fingerprint, refusal=str(error))
            raise
        versions.pop(DEPLOYMENTS)  # its version changes with its status
        generation = answer["metadata"].get("generation", -1)
        state.applied = Applied(fingerprint, generation, MappingProxyType(versions))
        state.companions_at = self._clock.monotonic()
        state.deployment = seen(answer)
        state.deployment_at = None

    def _manifests(self, state: PoolState, spec: WorkerPoolSpec, replicas: int) -> list[dict[str, Any]]:
        pool, sources = state.identity, state.sources
        secret = operator_secret(pool, sources)
        deployment = worker_deployment(
            pool,
            spec,
            sources,
            replicas=replicas,
            settings_hash=settings_hash(pool, state.connection.settings),
        )
        return [service_account(pool, spec), *([secret] if secret else []), deployment]

    async def _companions_unchanged(self, state: PoolState) -> bool:
        """Whether what was applied beside the Deployment is still so; looked at now and then."""
        now = self._clock.monotonic()
        if state.companions_at is not None and now - state.companions_at < SETTLED_EVERY_S:
            return True
        state.companions_at = now
        for resource, version in state.applied.versions.items():
            try:
                document = await self._kube.get(resource, state.key.namespace, state.identity.child_name)
            except NotFoundError:
                return False
            if document["metadata"].get("resourceVersion") != version:
                return False
        return True

    async def _require_own(self, state: PoolState, manifests: Sequence[Mapping[str, Any]]) -> None:
        """An object that the pool did not make is never overwritten, and never goes with the pool."""
        if state.applied.manifests:
            return
        for resource in map(resource_of, manifests):
            try:
                document = await self._kube.get(resource, state.key.namespace, state.identity.child_name)
            except NotFoundError:
                continue
            if not state.identity.owns(document) and not document["metadata"].get("deletionTimestamp"):
                raise NameTakenError(
                    f"{resource.kind} {state.identity.child_name} exists and is not this pool's: "
                    "rename or delete it, or give the pool another name"
                )


def seen(document: Mapping[str, Any]) -> DeploymentSeen:
    """What matters of a Deployment."""
    status = document.get("status") or {}
    failures = [
        each.get("message", "")
        for each in status.get("conditions") or ()
        if each.get("type") == "ReplicaFailure" and each.get("status") == "True"
    ]
    return DeploymentSeen(
        wanted=(document.get("spec") or {}).get("replicas", 0),
        replicas=status.get("replicas", 0),
        ready=status.get("readyReplicas", 0),
        problem=failures[0] if failures else "",
    )
