"""The tracing port: which trace a message belongs to, told from worker to worker."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol


class Tracing(Protocol):
    """Carries W3C trace context (``traceparent``) through queue messages and into the nodes of a run."""

    def carrier(self) -> str:
        """The ``traceparent`` for what is sent now; empty where there is no trace."""
        ...

    def running(self, run_id: str, blueprint_id: str) -> AbstractContextManager[None]:
        """While the context is entered, a run is carried out in this process."""
        ...

    def attached(self, traceparent: str) -> AbstractContextManager[None]:
        """While the context is entered, what is executed belongs to this trace; empty: to one of its own."""
        ...
