"""Errors of the core, divided by what the caller must do about them.

* reject what was given, it will never work: ``BlueprintError``, ``AppError``, ``EvaluationError``
* a node's code failed, retry it by its policy: any other exception, ``NodeTimeoutError``
* a node's code failed, do not retry: ``NonRetryableError``, ``InputError``, ``OutputError``,
  ``DependencyError``; with ``FatalError`` do not run the fallback either
"""

from __future__ import annotations


class FlowcraftError(Exception):
    """Anything that this package raises on purpose."""


class BlueprintError(FlowcraftError):
    """A blueprint cannot be read or run; the message says where and what to do.

    Attributes:
        path: Keys and positions from the blueprint to the part that is wrong, as far as it is known.
    """

    path: tuple[str | int, ...] = ()


class AppError(FlowcraftError):
    """An app cannot be loaded, or was put together wrongly; the message says what to do."""


class EvaluationError(FlowcraftError):
    """A condition or transform cannot be compiled or evaluated.

    Attributes:
        expression: The expression as written.
        position: Character in it where the trouble is, counted from 1; None when not known.
    """

    def __init__(self, reason: str, expression: str, position: int | None = None) -> None:
        shown = expression if len(expression) <= 200 else expression[:200] + "…"
        where = f", character {position}" if position else ""
        super().__init__(f"expression `{shown}`{where}: {reason}")
        self.expression = expression
        self.position = position


class NonRetryableError(FlowcraftError):
    """Raise it in a node when trying again cannot help; a fallback still runs."""


class FatalError(NonRetryableError):
    """Raise it in a node to fail the run at once: neither a retry nor the fallback runs."""


class InputError(NonRetryableError):
    """A node's input is not what its implementation asks for."""


class OutputError(NonRetryableError):
    """A node gave something that is not JSON; the message names the place."""


class DependencyError(NonRetryableError):
    """A node asks for a dependency that the app does not have, or whose factory failed."""


class NodeTimeoutError(FlowcraftError):
    """An attempt of a node took longer than its timeout; it counts as a failed attempt."""
