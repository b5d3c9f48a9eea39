"""`python -m flowcraft_operator.release`: takes the operator's finalizers off all resources.

Without it, a resource that is deleted after the operator was uninstalled would wait for it for ever. It runs
as a hook of the chart, and may be run by hand.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from flowcraft_operator.handlers.run_record import POOL_FINALIZER, RUN_FINALIZER
from flowcraft_operator.kube.client import KubeClient, login
from flowcraft_operator.kube.errors import ConflictError, KubeError, NotFoundError
from flowcraft_operator.kube.resources import WORKER_POOLS, WORKFLOW_RUNS, Resource
from flowcraft_operator.settings import OperatorSettings, SettingsError

OWN: Final = frozenset({RUN_FINALIZER, POOL_FINALIZER})
TRIES: Final = 5


async def release_all(kube: KubeClient, namespaces: tuple[str, ...] = ()) -> int:
    """Take the finalizers off all runs and pools; how many objects had one.

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
            async for body in kube.list(resource, namespace):
                yield body
        except NotFoundError:
            continue  # the definitions are gone, and everything with them


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


async def _main() -> int:
    settings = OperatorSettings.from_environment(os.environ)
    kube = KubeClient(login)
    try:
        released = await release_all(kube, settings.watch_namespaces)
    finally:
        await kube.close()
    sys.stdout.write(f"finalizers taken off {released} objects\n")
    return 0


def main() -> int:
    """Run once; 1 with one line if it did not work."""
    try:
        return asyncio.run(_main())
    except (KubeError, SettingsError) as error:
        sys.stderr.write(f"flowcraft-operator release: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
