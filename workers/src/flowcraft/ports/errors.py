"""What can go wrong behind a port, divided by what the caller must do.

* give the payload back to whoever made it: ``PayloadTooLargeError``
* stop without acknowledging: ``DeliveryLostError``
* reload and decide again: ``ConflictError``, ``PreconditionFailedError``, ``StaleReadError``
* back off and try again: ``BackendUnavailableError``
* tell an operator of the service: ``BackendRefusedError``
"""

from __future__ import annotations


class PortError(Exception):
    """Anything a backend reports through a port."""


class PayloadTooLargeError(PortError):
    """A body, item or batch is over the service's limit; it will never be accepted."""


class DeliveryLostError(PortError):
    """The receipt is stale: the message was delivered again or is gone."""


class ConflictError(PortError):
    """What should be created exists already; nothing was written."""


class PreconditionFailedError(PortError):
    """What should be replaced was changed meanwhile; nothing was written."""


class StaleReadError(PortError):
    """A fact that is known to exist is not visible to this read yet."""


class BackendUnavailableError(PortError):
    """Unreachable, timed out or throttled; a write may or may not have happened.

    Attributes:
        retry_after_s: How long the service asked to wait, where it did.
    """

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class BackendRefusedError(PortError):
    """The service refuses: wrong credentials, a missing queue, database or container; the message tells."""
