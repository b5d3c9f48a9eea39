"""Errors of the API server, divided by what the caller must do.

* stop, it is gone: ``NotFoundError``
* read again and decide again: ``ConflictError``
* tell the user, do not repeat soon: ``RejectedError``, ``ForbiddenError``
* back off and try again: ``UnavailableError``
"""

from __future__ import annotations

from typing import Any


class KubeError(Exception):
    """Anything the API server answers that is not success, and not being able to reach it.

    Attributes:
        status: The HTTP status; 0 where there was no answer.
        reason: The server's CamelCase reason, where it gave one.
    """

    def __init__(self, message: str, *, status: int = 0, reason: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class NotFoundError(KubeError):
    """The object, or its kind, does not exist."""


class ConflictError(KubeError):
    """The object changed meanwhile, or exists already, or is another one of the same name."""


class RejectedError(KubeError):
    """The request can never succeed as it is: the object is invalid, or an admission policy refuses it."""


class ForbiddenError(KubeError):
    """The operator's role does not allow it, or a quota is used up."""


class UnavailableError(KubeError):
    """Not reachable, overloaded, or failing; the request may or may not have taken effect.

    Attributes:
        retry_after_s: How long the server asked to wait.
    """

    def __init__(
        self, message: str, *, status: int = 0, reason: str = "", retry_after_s: float = 0.0
    ) -> None:
        super().__init__(message, status=status, reason=reason)
        self.retry_after_s = retry_after_s


class UnauthorizedError(UnavailableError):
    """The credentials ran out: the client logs in again and repeats the request once by itself."""


_KINDS: dict[int, type[KubeError]] = {
    400: RejectedError,
    403: ForbiddenError,
    404: NotFoundError,
    405: RejectedError,
    409: ConflictError,
    410: NotFoundError,
    412: ConflictError,
    413: RejectedError,
    415: RejectedError,
    422: RejectedError,
}


def error_of(status: int, body: Any, *, retry_after: str | None = None) -> KubeError:
    """The error for an answer.

    Args:
        status: The HTTP status, 400 or more.
        body: The decoded answer, a `metav1.Status` where the server itself answered.
        retry_after: The header of that name, in seconds.
    """
    document = body if isinstance(body, dict) else {}
    message = str(document.get("message") or f"the API server answered {status}")
    reason = str(document.get("reason") or "")
    if status == 401:
        return UnauthorizedError(message, status=status, reason=reason)
    if kind := _KINDS.get(status):
        return kind(message, status=status, reason=reason)
    return UnavailableError(message, status=status, reason=reason, retry_after_s=_seconds(retry_after))


def _seconds(text: str | None) -> float:
    try:
        return min(max(float(text or 0), 0.0), 60.0)
    except ValueError:
        return 0.0
