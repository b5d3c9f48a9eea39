"""`python -m flowcraft_operator.release`: takes the operator's finalizers off all resources.

Without it, a resource that is deleted after the operator was uninstalled would wait for it for ever. It runs
as a hook of the chart, and may be run by hand.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from flowcraft_operator.handlers.run_record import POOL_FINALIZER, RUN_FINALIZER
from flowcraft_operator.kube.client import KubeClient, login, read_deep_objects
from flowcraft_operator.kube.errors import ConflictError, ForbiddenError, KubeError, NotFoundError
from flowcraft_operator.kube.resources import DEPLOYMENTS, PODS, WORKER_POOLS, WORKFLOW_RUNS, Resource
from flowcraft_operator.settings import OperatorSettings, SettingsError

OWN: Final = frozenset({RUN_FINALIZER, POOL_FINALIZER})
TRIES: Final = 5
STOP_TIMEOUT_S: Final = 120.0


async def release_all(kube: KubeClient, namespaces: tuple[str, ...] = ()) -> int:
    """Take the finalizers off all runs and pools; how many objects had one.

    A namespace that was given and may not be read is told and left out: as a rule it was deleted, and the
    operator's role with it.

    Raises:
        KubeError: the API server does not let it.
    """
    released = 0
    for resource in (WORKFLOW_RUNS, WORKER_POOLS):
        async for body in _all(kube, resource, namespaces):
            released += await _release(kube, resource, body)
    return released


async def _all(
    kube: KubeClient, resource: Resource, namespaces: tuple[str, ...]
) -> AsyncIterator[dict[str, Any]]:
    for namespace in namespaces or (None,):
        try:
            async for body in kube.scan(resource, namespace):
                yield body
        except NotFoundError:
            continue  # the definitions are gone, and everything with them
        except ForbiddenError as error:
            if namespace is None:
                raise
            sys.stderr.write(f"flowcraft-operator release: namespace {namespace} is left out: {error}\n")


async def _release(kube: KubeClient, resource: Resource, body: Mapping[str, Any]) -> bool:
    namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]
    for _ in range(TRIES):
        finalizers = body["metadata"].get("finalizers") or ()
        if not OWN.intersection(finalizers):
            return False
        left = [each for each in finalizers if each not in OWN]
        try:
            version = body["metadata"]["resourceVersion"]
            await kube.set_finalizers(resource, namespace, name, left, resource_version=version)
        except NotFoundError:
            return False
        except ConflictError:
            try:
                body = await kube.get(resource, namespace, name)
            except NotFoundError:
                return False
        else:
            return True
    raise ConflictError(
        f"{resource.kind} {namespace}/{name} changes again and again: is an operator running?"
    )


async def stop_deployment(kube: KubeClient, namespace: str, name: str) -> None:
    """Scale the operator down and wait until it is gone: it would set its finalizers again.

    Raises:
        KubeError: it may not be scaled, or its pod does not end.
    """
    try:
        document = await kube.patch_merge(DEPLOYMENTS, namespace, name, {"spec": {"replicas": 0}})
    except NotFoundError:
        return
    labels = document["spec"]["selector"]["matchLabels"]
    selector = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while [pod async for pod in kube.scan(PODS, namespace, label_selector=selector)]:
        if time.monotonic() > deadline:
            raise KubeError(f"the pod of Deployment {name} does not end")
        await asyncio.sleep(0.5)


async def _main(deployment: str) -> int:
    settings = OperatorSettings.from_environment(os.environ)
    read_deep_objects()
    kube = KubeClient(login)
    try:
        if deployment:
            namespace, _, name = deployment.partition("/")
            await stop_deployment(kube, namespace, name)
        released = await release_all(kube, settings.watch_namespaces)
    finally:
        await kube.close()
    sys.stdout.write(f"finalizers taken off {released} objects\n")
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Run once; 1 with one line if it did not work."""
    parser = argparse.ArgumentParser("flowcraft_operator.release", description=__doc__.partition("\n")[0])
    parser.add_argument("--stop", metavar="NAMESPACE/DEPLOYMENT", default="", help="end the operator first")
    options = parser.parse_args(arguments)
    try:
        return asyncio.run(_main(options.stop))
    except (KubeError, SettingsError) as error:
        sys.stderr.write(f"flowcraft-operator release: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
