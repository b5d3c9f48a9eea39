"""The operator's program: settings checked, logs set up, Kopf run until a signal comes."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Final

import kopf
import structlog

from flowcraft_operator.handlers.operator import Operator
from flowcraft_operator.handlers.registration import registry_of
from flowcraft_operator.kube.client import KubeClient, login, read_deep_objects
from flowcraft_operator.kube.errors import UnavailableError
from flowcraft_operator.kube.resources import WORKER_POOLS, WORKFLOW_RUNS
from flowcraft_operator.settings import OperatorSettings, SettingsError

DEFINITIONS_EVERY_S: Final = 3.0

_log = logging.getLogger(__name__)


def main(environment: Mapping[str, str] = os.environ) -> int:
    """Run until ended; 2 if the settings cannot be used."""
    try:
        settings = OperatorSettings.from_environment(environment)
    except SettingsError as error:
        sys.stderr.write(f"flowcraft-operator: {error}\n")
        return 2
    _set_up_logs(settings)
    read_deep_objects()
    asyncio.run(operate(settings))
    return 0


async def operate(settings: OperatorSettings) -> None:
    """Run in this loop until a signal comes or the task is cancelled."""
    await _definitions_served()
    await kopf.operator(
        registry=registry_of(lambda: Operator(settings), login),
        clusterwide=not settings.watch_namespaces,
        namespaces=settings.watch_namespaces,
        standalone=True,
    )


async def _definitions_served() -> None:
    """Wait until the API server knows both resources: what is there at the start is what Kopf watches.

    An operator that looks after some namespaces only may not watch the definitions themselves.
    """
    kube = KubeClient(login)
    try:
        while lacking := await _lacking(kube):
            _log.warning("waiting for %s", lacking)
            await asyncio.sleep(DEFINITIONS_EVERY_S)
    finally:
        await kube.close()


async def _lacking(kube: KubeClient) -> str:
    try:
        missing = await kube.unserved(WORKER_POOLS, WORKFLOW_RUNS)
    except UnavailableError as error:
        return f"the API server: {error}"
    return f"the custom resource definitions of {' and '.join(missing)}" if missing else ""


def _set_up_logs(settings: OperatorSettings) -> None:
    log_format = kopf.LogFormat.JSON if settings.log_format == "json" else kopf.LogFormat.FULL
    kopf.configure(log_format=log_format)
    structlog.configure(  # what the runtime tells, of reconciliation above all, goes the same way
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.processors.format_exc_info,
            _sentence,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    level = logging.getLevelNamesMapping()[settings.log_level]
    logging.getLogger().setLevel(level)
    # Kopf tells of every tick of every timer, the SDKs of every request.
    for name in ("kopf", "azure", "aiohttp", "asyncio"):
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


def _sentence(_logger: object, _method: str, entry: MutableMapping[str, Any]) -> str:
    """An entry of the runtime as one text: what happened, then to what."""
    event = entry.pop("event", "")
    facts = ", ".join(f"{name}={value}" for name, value in entry.items())
    return f"{event} ({facts})" if facts else str(event)
