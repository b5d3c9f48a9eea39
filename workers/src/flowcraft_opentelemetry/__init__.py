"""Flowcraft's traces and metrics in OpenTelemetry; install ``flowcraft-runtime[opentelemetry]``.

``instrument(app.extensions)`` is all that an app needs; where spans and figures go is the SDK's to configure.
"""

from flowcraft_opentelemetry.instrumentation import instrument
from flowcraft_opentelemetry.metrics import RunMetrics
from flowcraft_opentelemetry.tracing import RunTracing

__all__ = ["RunMetrics", "RunTracing", "instrument"]
