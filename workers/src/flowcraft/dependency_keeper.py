"""What keeps the dependencies of one event loop open, and closes them in the end, in reverse order.

All of them are entered and left in one task, which does nothing else: a context manager may insist on being
left by the task that entered it, and the node that asked first has long ended by then. That task ends when
it is told to, or when it is cancelled: ``asyncio.run`` cancels what is left, so what nobody closed is closed
there.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, TypeGuard, cast

import structlog

from flowcraft.errors import DependencyError

Manager = AbstractContextManager[Any] | AbstractAsyncContextManager[Any]
_Asked = tuple[str, Manager, asyncio.Future[Any]]

_log = structlog.get_logger(__name__)


class DependencyKeeper:
    """Enters context managers one after the other, and leaves them all when it is closed."""

    def __init__(self, forget: Callable[[], None]) -> None:
        """Begin, in the running event loop.

        Args:
            forget: Called before the first one is left: nobody is to be given any of them from there on.
        """
        self._forget = forget
        self._asked: asyncio.Queue[_Asked | None] = asyncio.Queue()
        # In a context of its own: not that of the node which happened to ask first.
        self._task = asyncio.create_task(self._keep(), name="dependencies", context=contextvars.Context())

    async def enter(self, name: str, manager: Any) -> Any:
        """Enter a context manager, plain or async; gives what it gives.

        Raises:
            DependencyError: it is none.
            Exception: what entering it raised.
        """
        if not (hasattr(manager, "__aenter__") or hasattr(manager, "__enter__")):
            raise DependencyError(f"dependency {name!r} is a {type(manager).__name__}, no context manager")
        entered = asyncio.get_running_loop().create_future()
        self._asked.put_nowait((name, manager, entered))
        return await entered

    async def close(self) -> None:
        """Leave all; what fails is logged, and the others are left all the same."""
        self._asked.put_nowait(None)
        await asyncio.wait([self._task])

    async def _keep(self) -> None:
        kept: list[tuple[str, Manager]] = []
        try:
            while (asked := await self._asked.get()) is not None:
                name, manager, entered = asked
                if await _entered(manager, entered):
                    kept.append((name, manager))
        except asyncio.CancelledError:
            pass  # the loop ends
        finally:
            self._forget()
            for name, manager in reversed(kept):
                await _left(name, manager)


async def _entered(manager: Manager, entered: asyncio.Future[Any]) -> bool:
    """Enter; whether it is to be left later."""
    try:
        if _is_async(manager):
            value = await manager.__aenter__()
        else:
            value = cast("AbstractContextManager[Any]", manager).__enter__()
    except BaseException as error:
        if not entered.done():
            entered.set_exception(error if isinstance(error, Exception) else DependencyError(repr(error)))
        if isinstance(error, Exception):
            return False
        raise
    if entered.done():  # who asked was cancelled meanwhile, and the next one will ask again
        await _left("", manager)
        return False
    entered.set_result(value)
    return True


async def _left(name: str, manager: Manager) -> None:
    try:
        if _is_async(manager):
            await manager.__aexit__(None, None, None)
        else:
            cast("AbstractContextManager[Any]", manager).__exit__(None, None, None)
    except Exception as error:
        _log.warning(
            "a dependency could not be closed", dependency=name, error=f"{type(error).__name__}: {error}"
        )


def _is_async(manager: Manager) -> TypeGuard[AbstractAsyncContextManager[Any]]:
    return hasattr(manager, "__aenter__")
