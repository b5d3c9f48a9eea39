"""From a WorkflowRun to a start request: where its blueprint comes from, and what differs from the pin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import orjson

from flowcraft.blueprint import Blueprint
from flowcraft.distributed.runs.header import RunRequest
from flowcraft.errors import BlueprintError
from flowcraft.ports.errors import PayloadTooLargeError
from flowcraft_api.resources import WorkflowRun
from flowcraft_api.run_status import SPEC_CHANGE_IGNORED, RunObstacle
from flowcraft_api.wire import HeaderDocument
from flowcraft_api.workflow_run import WorkflowRunSpec
from flowcraft_operator.kube.client import KubeClient
from flowcraft_operator.kube.errors import ForbiddenError, NotFoundError
from flowcraft_operator.kube.resources import CONFIG_MAPS

MAX_INPUT_BYTES: Final = 1024 * 1024
"""etcd takes 1.5 MiB a resource (its ``--max-request-bytes``), and a run's status stands beside its input."""

SHORTEST_KEPT_S: Final = 180.0
"""Facts are kept at least so long after the end: how a run ended must have been read before they go."""


class BlueprintMissingError(Exception):
    """The ConfigMap, or its key, is not there yet; the text says which."""


async def blueprint_of(kube: KubeClient, namespace: str, spec: WorkflowRunSpec) -> Blueprint | None:
    """The blueprint that a run brings along; None if it is the application's.

    Raises:
        BlueprintMissingError: the ConfigMap or the key does not exist.
        BlueprintError: it is no blueprint.
    """
    source = spec.blueprint
    if source.inline is not None:
        return Blueprint.from_dict(source.inline)
    if source.config_map_ref is None:
        return None
    name, key = source.config_map_ref.name, source.config_map_ref.key
    try:
        document = await kube.get(CONFIG_MAPS, namespace, name)
    except NotFoundError:
        raise BlueprintMissingError(f"ConfigMap {name} does not exist in namespace {namespace}") from None
    except ForbiddenError as error:
        raise BlueprintMissingError(f"ConfigMap {name} may not be read: {error}") from None
    text = (document.get("data") or {}).get(key)
    if text is None:
        raise BlueprintMissingError(f"ConfigMap {name} has no key {key}")
    return Blueprint.from_json(text)


def start_request(
    run: WorkflowRun,
    run_id: str,
    blueprint: Blueprint | None,
    *,
    queue: str,
    ttl_after_finished_s: float | None,
) -> RunRequest:
    """What is asked of the backend.

    Raises:
        PayloadTooLargeError: the input is too large for a manifest.
    """
    spec = run.spec
    size = len(orjson.dumps(spec.input))
    if size > MAX_INPUT_BYTES:
        raise PayloadTooLargeError(
            f"the input has {size} bytes of JSON, over the {MAX_INPUT_BYTES} of a manifest: keep "
            "large data in storage and pass a reference, or start the run with `flowcraft start`"
        )
    own_ttl = spec.ttl_after_finished
    ttl_s = own_ttl.seconds if own_ttl is not None else ttl_after_finished_s
    return RunRequest(
        run_id=run_id,
        blueprint_id=blueprint.id if blueprint else spec.blueprint.name or "",
        version=blueprint.version if blueprint else spec.blueprint.version,
        input=spec.input,
        queue=queue,
        pool=spec.pool_ref.name,
        name=run.metadata.name,
        namespace=run.metadata.namespace,
        deadline_s=spec.deadline.seconds if spec.deadline else None,
        ttl_after_finished_s=None if ttl_s is None else max(ttl_s, SHORTEST_KEPT_S),
        suspended=spec.suspend,
    )


def drift(run: WorkflowRun, header: HeaderDocument) -> RunObstacle | None:
    """What of the spec is not what the run was started with. The run keeps what it was started with.

    A large input is kept outside the header and is not compared, nor is a ConfigMap, which is read once.
    """
    changed = []
    if isinstance(pinned := header.get("input"), Mapping) and dict(pinned) != run.spec.input:
        changed.append("spec.input")
    source, blueprint_id = run.spec.blueprint, header.get("blueprintId")
    if source.name is not None and blueprint_id and blueprint_id != source.name:
        changed.append("spec.blueprint.name")
    pinned_hash = header.get("blueprintHash")
    if source.inline is not None and pinned_hash and _hash(source.inline) != pinned_hash:
        changed.append("spec.blueprint.inline")
    if not changed:
        return None
    return RunObstacle(
        SPEC_CHANGE_IGNORED,
        f"{' and '.join(changed)} changed after the run was accepted; the run keeps what it was started "
        "with. Delete the run and apply it again to run with the new values.",
    )


def _hash(inline: Mapping[str, object]) -> str:
    try:
        return Blueprint.from_dict(inline).content_hash
    except BlueprintError:
        return ""
