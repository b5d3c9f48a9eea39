"""What Kopf calls: each handler only passes on what it was given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import kopf

from flowcraft_api.resources import GROUP, VERSION
from flowcraft_operator.handlers.operator import Operator, configure
from flowcraft_operator.handlers.run_record import Key
from flowcraft_operator.kube.client import Login

POLL_TICK_S: Final = 1.0
"""How often a pool is asked whether its own poll interval has passed."""
RECONCILE_TICK_S: Final = 1.0

_RUNS: Final = (GROUP, VERSION, "workflowruns")
_POOLS: Final = (GROUP, VERSION, "flowcraftworkerpools")


def registry_of(make: Callable[[], Operator], log_in: Login) -> kopf.OperatorRegistry:
    """The handlers of one operator, which is made when Kopf's loop runs.

    WorkflowRuns go through events only: they are thousands, and handlers of changes would write to each of
    them and keep more than a gigabyte. Pools are few; their timers are Kopf's.
    """
    registry = kopf.OperatorRegistry()
    running: list[Operator] = []

    @kopf.on.login(registry=registry)
    def log_in_to_kubernetes(**_: Any) -> kopf.ConnectionInfo | None:
        return log_in()

    @kopf.on.startup(registry=registry, errors=kopf.ErrorsMode.PERMANENT)
    async def start(settings: kopf.OperatorSettings, **_: Any) -> None:
        operator = make()
        configure(settings, clusterwide=not operator.settings.watch_namespaces)
        await operator.start()
        running.append(operator)

    @kopf.on.cleanup(registry=registry)
    async def stop(**_: Any) -> None:
        while running:
            await running.pop().stop()

    @kopf.on.event(*_RUNS, registry=registry)
    async def run_seen(event: kopf.RawEvent, **_: Any) -> None:
        running[0].runs.observe(event["type"], event["object"])

    @kopf.on.event(*_POOLS, registry=registry)
    async def pool_seen(event: kopf.RawEvent, **_: Any) -> None:
        running[0].pools.observe(event["type"], event["object"])

    @kopf.timer(*_POOLS, registry=registry, interval=POLL_TICK_S)
    async def poll(namespace: str | None, name: str, **_: Any) -> None:
        running[0].pools.poll(Key(namespace or "", name))

    @kopf.timer(*_POOLS, registry=registry, interval=RECONCILE_TICK_S)
    async def reconcile(namespace: str | None, name: str, **_: Any) -> None:
        running[0].pools.reconcile(Key(namespace or "", name))

    return registry
