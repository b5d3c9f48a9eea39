"""What an app gives to its nodes: values by name, and factories that make a value when a node first asks."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import typing
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Final
from weakref import WeakKeyDictionary

from flowcraft.annotations import Unresolved, annotations_of
from flowcraft.dependency_keeper import DependencyKeeper
from flowcraft.errors import AppError, DependencyError

_BY_NAME_ONLY: Final = frozenset(
    {type(None), bool, int, float, str, bytes, list, dict, tuple, set, object, Any}
)
"""Types that say nothing about what a value is for: a parameter of one of them is found by its name alone."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A parameter to be filled.

    Attributes:
        name: Its name.
        type: Its annotation as a class; None where there is none, or none that names a class.
        optional: It has a default, which stays when there is nothing to fill it with.
    """

    name: str
    type: type | None
    optional: bool = False

    def __str__(self) -> str:
        return self.name if self.type is None else f"{self.name}: {self.type.__name__}"

    @classmethod
    def of(cls, parameter: inspect.Parameter, annotation: Any) -> Wanted:
        """Look at a parameter of a function."""
        says = inspect.isclass(annotation) and annotation not in _BY_NAME_ONLY
        if says and getattr(annotation, "_is_protocol", False):
            says = False  # whether a value is of a protocol cannot be asked
        named = annotation if says else None
        return cls(parameter.name, named, parameter.default is not inspect.Parameter.empty)


@dataclass(eq=False, slots=True)
class _Factory:
    code: Callable[..., Any]
    gives: type | None
    wants: tuple[Wanted, ...]
    opens: bool  # the code gives a context manager, and what that gives is the dependency
    made: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Future[Any]] = field(
        default_factory=WeakKeyDictionary
    )


class Dependencies(MutableMapping[str, Any]):
    """Values by name. What a factory makes is made once for each event loop, at the first use.

    As a mapping it holds the values that were given; nodes get what factories make as parameters. What has to
    be closed is closed when the last one that holds them lets go, or else when the event loop ends.
    """

    def __init__(self, values: Mapping[str, Any] | None = None) -> None:
        self._values: dict[str, Any] = dict(values or {})
        self._factories: dict[str, _Factory] = {}
        self._keepers: WeakKeyDictionary[asyncio.AbstractEventLoop, DependencyKeeper] = WeakKeyDictionary()
        self._holders: WeakKeyDictionary[asyncio.AbstractEventLoop, int] = WeakKeyDictionary()

    def add_factory(self, code: Callable[..., Any], name: str | None = None) -> None:
        """Take a function that makes a dependency; what it asks for itself are dependencies, too.

        It returns the dependency, or yields it once and closes it behind the ``yield``, or says that it
        returns a context manager (``AbstractAsyncContextManager[Bank]``). Each way it may be async or plain.

        Raises:
            AppError: it cannot make one, or its name is taken.
        """
        own = name or getattr(code, "__name__", "")
        if not own or own in self:
            raise AppError(f"there is a dependency {own!r} already; give this one another name")
        if not callable(code):
            raise AppError(f"dependency {own!r}: give a function that returns or yields it, async or not")
        known = annotations_of(code)
        code, gives, opens = _opened(code, known.pop("return", None))
        try:
            parameters = inspect.signature(code).parameters.values()
        except (TypeError, ValueError):
            parameters = {}.values()  # a built-in class: called without arguments
        wants = tuple(Wanted.of(each, known.get(each.name)) for each in parameters)
        if inspect.isclass(code):
            gives = code
        made = gives if inspect.isclass(gives) and not isinstance(gives, Unresolved) else None
        self._factories[own] = _Factory(code, made, wants, opens)

    def name_for(self, wanted: Wanted) -> str | None:
        """The name of what fills a parameter: by type where exactly one fits, else by name.

        Raises:
            AppError: several are of its type and none has its name.
        """
        own = wanted.name if wanted.name in self._values or wanted.name in self._factories else None
        if wanted.type is None or (own is not None and self._fits(own, wanted.type)):
            return own
        fitting = [name for name in (*self._values, *self._factories) if self._fits(name, wanted.type)]
        if len(fitting) > 1:
            raise AppError(
                f"parameter {wanted}: {', '.join(sorted(fitting))} are all of this type; "
                "give the parameter the name of one"
            )
        return fitting[0] if fitting else None

    async def value(self, name: str) -> Any:
        """The value of this name, made now if it never was.

        Raises:
            KeyError: there is none.
            DependencyError: its factory failed, or needs itself.
        """
        if name in self._values:
            return self._values[name]
        return await self._made(name, ())

    async def filled(self, wanted: tuple[Wanted, ...]) -> dict[str, Any]:
        """Values by parameter; a parameter with a default is left out when there is nothing for it.

        Raises:
            DependencyError: there is nothing for a parameter, or a factory failed.
        """
        return await self._filled(wanted, ())

    def hold(self) -> Hold:
        """Keep what is made in this event loop open for as long as the hold lasts, and close it then."""
        loop = asyncio.get_running_loop()
        self._holders[loop] = self._holders.get(loop, 0) + 1
        return Hold(self)

    async def let_go(self) -> None:
        """The end of a hold; of the last one, what factories opened here is closed."""
        loop = asyncio.get_running_loop()
        left = self._holders[loop] = self._holders.get(loop, 1) - 1
        if left == 0 and (keeper := self._keepers.get(loop)) is not None:
            await keeper.close()

    def lack(self, wanted: tuple[Wanted, ...]) -> Wanted | None:
        """The first parameter that nothing fills."""
        return next((each for each in wanted if not each.optional and self.name_for(each) is None), None)

    async def _filled(self, wanted: tuple[Wanted, ...], under_way: tuple[str, ...]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for each in wanted:
            name = self.name_for(each)
            if name is not None:
                values = self._values
                found[each.name] = values[name] if name in values else await self._made(name, under_way)
            elif not each.optional:
                raise DependencyError(f"there is no dependency for the parameter `{each}`; {_ADVICE}")
        return found

    async def _made(self, name: str, under_way: tuple[str, ...]) -> Any:
        factory = self._factories[name]
        if name in under_way:
            raise DependencyError(f"dependency {name!r} needs itself: {' -> '.join((*under_way, name))}")
        loop = asyncio.get_running_loop()
        known = factory.made.get(loop)
        if known is None:
            known = factory.made[loop] = loop.create_future()
            try:
                value = factory.code(**await self._filled(factory.wants, (*under_way, name)))
                value = await value if inspect.isawaitable(value) else value
                known.set_result(await self._keeper(loop).enter(name, value) if factory.opens else value)
            except BaseException as error:
                factory.made.pop(loop, None)  # the next attempt tries again
                known.cancel()
                if isinstance(error, DependencyError) or not isinstance(error, Exception):
                    raise
                raise DependencyError(f"dependency {name!r}: {type(error).__name__}: {error}") from error
        try:
            return await asyncio.shield(known)
        except asyncio.CancelledError:
            if known.cancelled():
                raise DependencyError(f"dependency {name!r} could not be made") from None
            raise

    def _keeper(self, loop: asyncio.AbstractEventLoop) -> DependencyKeeper:
        if (known := self._keepers.get(loop)) is not None:
            return known

        def forget() -> None:
            self._keepers.pop(loop, None)
            for factory in self._factories.values():  # what was only made may work with what was opened
                factory.made.pop(loop, None)

        keeper = self._keepers[loop] = DependencyKeeper(forget)
        return keeper

    def _fits(self, name: str, wanted: type) -> bool:
        if name in self._values:
            return _is_instance(self._values[name], wanted)
        gives = self._factories[name].gives
        return gives is not None and _is_subclass(gives, wanted)

    def __getitem__(self, name: str) -> Any:
        if name in self._factories:
            raise DependencyError(
                f"dependency {name!r} is made when a node asks for it: take it as a parameter of the node"
            )
        return self._values[name]

    def __setitem__(self, name: str, value: Any) -> None:
        if name in self._factories:
            raise AppError(f"there is a dependency {name!r} already; give this one another name")
        self._values[name] = value

    def __delitem__(self, name: str) -> None:
        del self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, name: object) -> bool:
        return name in self._values or name in self._factories

    def __repr__(self) -> str:
        return f"Dependencies({', '.join(sorted((*self._values, *self._factories)))})"


class Hold:
    """Somebody works with dependencies, and says when that ends."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._dependencies: Dependencies | None = dependencies

    async def end(self) -> None:
        """Let go; once, however often it is said."""
        dependencies, self._dependencies = self._dependencies, None
        if dependencies is not None:
            await dependencies.let_go()


_ADVICE: Final = "add it with @app.dependency, or to app.dependencies under that name"


def dependencies_of(given: Mapping[str, Any]) -> Dependencies:
    """The same as dependencies; a plain mapping is a set of values."""
    return given if isinstance(given, Dependencies) else Dependencies(given)


def _opened(code: Callable[..., Any], gives: Any) -> tuple[Callable[..., Any], Any, bool]:
    """A factory as it is called, what it makes, and whether that comes out of a context manager."""
    plain = inspect.unwrap(code)
    inner = next(iter(typing.get_args(gives)), None)  # what Iterator[Bank] and its like are of
    if inspect.isgeneratorfunction(plain) or inspect.isasyncgenfunction(plain):
        if plain is not code:  # decorated: contextlib.contextmanager or asynccontextmanager made one of it
            return code, inner, True
        if inspect.isasyncgenfunction(code):
            return contextlib.asynccontextmanager(code), inner, True
        return contextlib.contextmanager(code), inner, True
    origin = typing.get_origin(gives)
    if origin in (contextlib.AbstractContextManager, contextlib.AbstractAsyncContextManager):
        return code, inner, True
    return code, gives, False


def _is_instance(value: Any, wanted: type) -> bool:
    try:
        return isinstance(value, wanted)
    except TypeError:  # a class that refuses to be asked
        return False


def _is_subclass(gives: type, wanted: type) -> bool:
    try:
        return issubclass(gives, wanted)
    except TypeError:
        return False
