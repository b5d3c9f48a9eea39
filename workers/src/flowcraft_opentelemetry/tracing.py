"""A span for each execution of a node, all of a run in one trace, over as many workers as there are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, Status, StatusCode, TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from flowcraft.middleware import Middleware, Next, RetryScheduledError
from flowcraft.node import NodeContext, NodeResult

NAME: Final = "flowcraft"
_PROPAGATOR: Final = TraceContextTextMapPropagator()
_TRACEPARENT: Final = "traceparent"


class _Job:
    """The trace of the message that is worked on: each node is a child of the one before it."""

    __slots__ = ("context",)

    def __init__(self, context: Context) -> None:
        self.context = context


_JOB: Final[ContextVar[_Job | None]] = ContextVar("flowcraft_opentelemetry_job", default=None)


class RunTracing(Middleware):
    """Implements the ``Tracing`` port, and as middleware makes the spans of nodes.

    A message carries the ``traceparent`` of the node that caused it, so that a node's span is a child of the
    span of its predecessor, wherever that ran; at a join, of the one that completed it. What is started or
    decided without a trace begins one. In memory, the nodes' spans are children of one span of the run.
    """

    def __init__(self, tracer_provider: TracerProvider | None = None) -> None:
        """Args: who makes tracers; the process's own by default."""
        self._tracer = trace.get_tracer(NAME, tracer_provider=tracer_provider)

    def carrier(self) -> str:
        """The ``traceparent`` for what is sent now."""
        job = _JOB.get()
        carried: dict[str, str] = {}
        _PROPAGATOR.inject(carried, None if job is None else job.context)
        return carried.get(_TRACEPARENT, "")

    @contextmanager
    def running(self, run_id: str, blueprint_id: str) -> Iterator[None]:
        """A run in memory: one span, around those of its nodes."""
        told = {"flowcraft.run_id": run_id, "flowcraft.blueprint_id": blueprint_id}
        with self._tracer.start_as_current_span(f"run {blueprint_id}", attributes=told):
            yield

    @contextmanager
    def attached(self, traceparent: str) -> Iterator[None]:
        """A worker's job: what it executes belongs to the trace of its message."""
        context = _PROPAGATOR.extract({_TRACEPARENT: traceparent}, Context())
        if not trace.get_current_span(context).get_span_context().is_valid:
            beginning = self._tracer.start_span("run", context=Context())
            context = trace.set_span_in_context(beginning, Context())
            beginning.end()
        job = _JOB.set(_Job(context))
        token = contexts.attach(context)
        try:
            yield
        finally:
            contexts.detach(token)
            _JOB.reset(job)

    async def around_node(self, ctx: NodeContext, following: Next) -> Any:
        """The span of one execution: all attempts that are made in it, and the fallback."""
        job = _JOB.get()
        span = self._tracer.start_span(
            f"node {ctx.node_id}",
            context=None if job is None else job.context,
            attributes={
                "flowcraft.run_id": ctx.run_id,
                "flowcraft.node_id": ctx.node_id,
                "flowcraft.node_key": ctx.node_key,
                "flowcraft.attempt": ctx.attempt,
            },
        )
        if job is not None:
            job.context = trace.set_span_in_context(span, job.context)
        with trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
            try:
                result = await following()
            except Exception as error:
                _fail(span, error)
                raise
            _finish(span, result)
            return result


def _finish(span: Span, result: NodeResult) -> None:
    if result.action is not None:
        span.set_attribute("flowcraft.action", result.action)
    if result.fallback_executed:
        span.set_attribute("flowcraft.fallback", True)


def _fail(span: Span, error: Exception) -> None:
    if isinstance(error, RetryScheduledError):
        span.set_attribute("flowcraft.retry_in_s", error.delay_s)
        span.set_status(Status(StatusCode.ERROR, error.error.message))
        return
    span.record_exception(error)
    span.set_status(Status(StatusCode.ERROR, f"{type(error).__name__}: {error}"))
