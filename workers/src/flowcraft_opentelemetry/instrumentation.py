"""Making an app tell OpenTelemetry what it does."""

from __future__ import annotations

from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider

from flowcraft.extensions import Extensions
from flowcraft_opentelemetry.metrics import RunMetrics
from flowcraft_opentelemetry.tracing import RunTracing


def instrument(
    extensions: Extensions,
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> None:
    """Let everything that runs with these extensions make spans and figures.

    Args:
        extensions: Of an app or a runtime, before anything runs; other middleware is inside the spans.
        tracer_provider: The process's own by default.
        meter_provider: The process's own by default.
    """
    tracing = RunTracing(tracer_provider)
    extensions.tracing = tracing
    extensions.middleware.insert(0, tracing)
    extensions.events.subscribe(RunMetrics(meter_provider))
