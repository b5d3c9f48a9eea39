"""A worker for this process: the application's code on the ports of a backend."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from flowcraft_cli.usage import UsageError

if TYPE_CHECKING:
    from flowcraft.app import App
    from flowcraft.distributed.reconciliation import Reconciler
    from flowcraft.distributed.services import Services
    from flowcraft_cli.backend import Backend
    from flowcraft_cli.settings import Settings


def load(settings: Settings) -> App:
    """The application that the settings name, with every blueprint of it checked.

    Raises:
        UsageError: none is named.
        AppError: it cannot be imported, or is none.
        BlueprintError: one of its blueprints has mistakes.
    """
    from flowcraft.app import load_app
    from flowcraft.evaluators import lintable
    from flowcraft.linter import require_valid

    if not settings.app:
        raise UsageError("name the application: --app module:attribute, for example --app shop.flows:app")
    app = load_app(settings.app)
    evaluator = app.extensions.evaluator
    for blueprint in app.blueprints.values():
        seen = blueprint if evaluator is None else lintable(blueprint, evaluator)
        require_valid(seen, app.registry)
    return app


def services_of(backend: Backend, app: App, settings: Settings) -> Services:
    """What a worker of this process is given."""
    from flowcraft.distributed.services import Services, WorkerSettings
    from flowcraft.evaluator import ExpressionEvaluator

    options = app.options
    return Services(
        queue_name=backend.queue_name,
        queue=backend.queue,
        facts=backend.facts,
        coordination=backend.coordination,
        clock=backend.clock,
        random=backend.random,
        evaluator=options.extensions.evaluator or ExpressionEvaluator(),
        catalog=options,
        worker_id=worker_id(),
        settings=WorkerSettings(
            concurrency=settings.concurrency,
            visibility_timeout_s=settings.visibility_timeout_s,
            max_deliveries=settings.max_deliveries,
            drain_s=settings.drain_s,
            webhook_url=settings.webhook_url,
        ),
    )


def reconciler_of(backend: Backend, settings: Settings, app: App) -> Reconciler:
    """What looks after the queue's runs where no operator does."""
    from flowcraft.distributed.reconciliation import Reconciler

    return Reconciler(
        backend,
        worker_id(),
        stalled_threshold_s=settings.stalled_threshold_s,
        events=app.extensions.events,
    )


def worker_id() -> str:
    """Who writes: the host (a pod's name) and the process."""
    return f"{socket.gethostname()}/{os.getpid()}"
