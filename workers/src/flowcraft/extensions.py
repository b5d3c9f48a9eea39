"""What an app may bring along instead of, or beside, what is built in: one value for all modes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flowcraft.event_bus import EventBus
from flowcraft.events import Event
from flowcraft.serializer import JSON, Serializer

if TYPE_CHECKING:
    from flowcraft.engine.inputs import Evaluator
    from flowcraft.middleware import Middleware
    from flowcraft.ports.tracing import Tracing


@dataclass(slots=True)
class Extensions:
    """Extension points, each with its default.

    Attributes:
        middleware: Wrapped around each execution of a node's code, the first one outermost.
        events: Who hears of events.
        serializer: Makes JSON of what nodes give and write, and values of what they get.
        evaluator: Conditions and transforms; None: property paths and CEL.
        logger: What ``ctx.logger`` is made of, and where a worker logs; None: structlog's.
        tracing: Carries trace context through messages; None: there are no traces.
    """

    middleware: list[Middleware] = field(default_factory=list)
    events: EventBus = field(default_factory=EventBus)
    serializer: Serializer = JSON
    evaluator: Evaluator | None = None
    logger: Any = None
    tracing: Tracing | None = None

    def use(self, middleware: Middleware) -> None:
        """Add middleware, inside of what was added before."""
        self.middleware.append(middleware)

    def on(self, *kinds: type[Event] | str) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
        """Register the decorated function, plain or async, for events of some kinds; for all without any."""

        def register(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
            self.events.subscribe(function, *kinds)
            return function

        return register
