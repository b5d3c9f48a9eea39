"""Dependencies of nodes are closed when their worker or runtime ends, whatever happened before."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.unit.distributed.bench import bench

from flowcraft import App, AppError, BaseNode, FlowRuntime, NodeContext, NodeResult


class Bank:
    def __init__(self, told: list[str]) -> None:
        self.told = told
        self.open = True
        told.append("opened")

    def close(self) -> None:
        self.open = False
        self.told.append("closed")


def ways(told: list[str]) -> dict[str, Callable[..., Any]]:
    """Factories of a bank, in each form that there is."""

    def plain() -> Iterator[Bank]:
        bank = Bank(told)
        yield bank
        bank.close()

    async def async_() -> AsyncIterator[Bank]:
        await asyncio.sleep(0)
        bank = Bank(told)
        yield bank
        await asyncio.sleep(0)
        bank.close()

    @contextlib.contextmanager
    def decorated() -> Generator[Bank, None, None]:
        yield from plain()

    @contextlib.asynccontextmanager
    async def async_decorated() -> AsyncGenerator[Bank, None]:
        async for bank in async_():
            yield bank

    def manager() -> AbstractContextManager[Bank]:
        return decorated()

    async def async_manager() -> AbstractAsyncContextManager[Bank]:
        await asyncio.sleep(0)
        return async_decorated()

    return {
        each.__name__: each for each in (plain, async_, decorated, async_decorated, manager, async_manager)
    }


def shop(told: list[str], factory: Callable[..., Any]) -> App:
    app = App("shop")
    app.dependency("house")(factory)

    @app.node("charge")
    async def charge(ctx: NodeContext, bank: Bank) -> str:
        told.append("charged" if bank.open else "charged at a closed bank")
        return "done"

    @app.node("fail")
    async def fail(ctx: NodeContext, bank: Bank) -> None:
        raise ValueError("no money")

    app.flow("order", version="1").node("charge")
    app.flow("bad", version="1").node("fail")
    return app


def runtime_of(app: App) -> FlowRuntime:
    options = app.options
    return FlowRuntime(
        blueprints=options.blueprints.values(), registry=options.registry, dependencies=options.dependencies
    )


@pytest.mark.parametrize("way", sorted(ways([])))
async def test_each_way_to_say_how_it_is_closed(way: str) -> None:
    told: list[str] = []
    async with runtime_of(shop(told, ways(told)[way])) as runtime:
        for _ in range(2):
            assert (await runtime.run("order", {})).status == "completed"
    assert told == ["opened", "charged", "charged", "closed"]


async def test_it_is_closed_after_a_failure_too() -> None:
    told: list[str] = []

    async def program() -> None:
        async with runtime_of(shop(told, ways(told)["async_"])) as runtime:
            assert (await runtime.run("bad", {})).status == "failed"
            raise RuntimeError("of the program")

    with pytest.raises(RuntimeError, match="of the program"):
        await program()
    assert told == ["opened", "closed"]


def test_what_nobody_closes_is_closed_when_the_loop_ends_and_made_anew_in_the_next() -> None:
    told: list[str] = []
    runtime = runtime_of(shop(told, ways(told)["async_"]))
    for _ in range(2):
        assert asyncio.run(runtime.run("order", {})).status == "completed"
    assert told == ["opened", "charged", "closed"] * 2


async def test_what_was_opened_first_is_closed_last() -> None:
    told: list[str] = []
    app = App("shop")

    @app.dependency
    async def pool() -> AsyncIterator[list[str]]:
        told.append("pool opened")
        yield told
        told.append("pool closed")

    @app.dependency
    def bank(pool: list[str]) -> Iterator[Bank]:
        bank = Bank(pool)
        yield bank
        bank.close()

    @app.node("charge")
    def charge(ctx: NodeContext, bank: Bank) -> None: ...

    app.flow("order").node("charge")
    runtime = runtime_of(app)
    await runtime.run("order", {})
    await runtime.aclose()
    assert told == ["pool opened", "opened", "closed", "pool closed"]
    assert (await runtime.run("order", {})).status == "completed"
    assert told[4:] == ["pool opened", "opened"]
    await runtime.aclose()


async def test_what_fails_to_close_is_told_and_the_others_are_closed() -> None:
    told: list[str] = []
    app = shop(told, ways(told)["plain"])

    @app.dependency
    def stubborn(house: Bank) -> Iterator[int]:
        yield 1
        raise OSError("still in use")

    @app.node("count")
    def count(ctx: NodeContext, stubborn: int) -> int:
        return stubborn

    app.flow("count").node("count")
    with capture_logs() as logs:
        async with runtime_of(app) as runtime:
            assert (await runtime.run("count", {})).output == {"count": 1}
    assert told == ["opened", "closed"]
    (line,) = [each for each in logs if each["event"] == "a dependency could not be closed"]
    assert (line["dependency"], line["error"]) == ("stubborn", "OSError: still in use")


async def test_one_that_cannot_be_opened_fails_its_node_and_is_tried_again() -> None:
    told: list[str] = []
    broken = [True]

    async def house() -> AsyncIterator[Bank]:
        if broken:
            raise OSError("no route to bank")
        yield Bank(told)

    async with runtime_of(shop(told, house)) as runtime:
        error = (await runtime.run("order", {})).records["charge"].error or {}
        assert (error["type"], error["message"]) == (
            "DependencyError",
            "dependency 'house': OSError: no route to bank",
        )
        broken.clear()
        assert (await runtime.run("order", {})).status == "completed"


async def test_one_that_says_it_is_a_context_manager_and_is_none_is_told() -> None:
    def house() -> AbstractContextManager[Bank]:
        return 7  # type: ignore[return-value]

    async with runtime_of(shop([], house)) as runtime:
        error = (await runtime.run("order", {})).records["charge"].error or {}
        assert "dependency 'house' is a int, no context manager" in error["message"]


async def test_one_whose_node_was_cancelled_while_it_was_opened_is_closed_at_once() -> None:
    told: list[str] = []
    opening, go_on, closed = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def house() -> AsyncIterator[Bank]:
        opening.set()
        await go_on.wait()
        bank = Bank(told)
        yield bank
        bank.close()
        closed.set()

    runtime = runtime_of(shop(told, house))
    run = asyncio.create_task(runtime.run("order", {}))
    await opening.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    go_on.set()
    await closed.wait()
    assert told == ["opened", "closed"]
    await runtime.aclose()


async def test_it_is_entered_and_left_by_one_task_and_not_in_the_context_of_a_node() -> None:
    who = contextvars.ContextVar("who", default="nobody")
    tasks = []

    async def house() -> AsyncIterator[Bank]:
        tasks.append((asyncio.current_task(), who.get()))
        yield Bank([])
        tasks.append((asyncio.current_task(), who.get()))

    async with runtime_of(shop([], house)) as runtime:
        who.set("whoever runs it")
        await runtime.run("order", {})
    assert tasks[0] == tasks[1]
    assert tasks[0][1] == "nobody"


async def test_of_two_runtimes_the_last_one_closes() -> None:
    told: list[str] = []
    app = shop(told, ways(told)["async_"])
    async with runtime_of(app):
        async with runtime_of(app) as inner:
            await inner.run("order", {})
        assert told == ["opened", "charged"]
    assert told == ["opened", "charged", "closed"]


async def test_workers_close_it_when_the_last_of_them_has_drained() -> None:
    told: list[str] = []
    async with bench(shop(told, ways(told)["async_"]), workers=2) as place:
        for blueprint in ("order", "bad", "order"):
            await place.run(blueprint)
        assert "closed" not in told
    assert told == ["opened", "charged", "charged", "closed"]


def test_what_can_make_nothing_is_refused() -> None:
    with pytest.raises(AppError, match="give a function that returns or yields it"):
        App("shop").dependencies.add_factory("no function", "bank")  # type: ignore[arg-type]


class Charge(BaseNode):
    """Asks for something in each of its methods."""

    async def prep(self, ctx: NodeContext, bank: Bank) -> Any:
        bank.told.append("prep")
        return ctx.input

    def exec(self, prepared: Any, ctx: NodeContext, *, bank: Bank, tries: int = 3) -> Any:
        bank.told.append(f"exec {tries}")
        if prepared == "break":
            raise ValueError("no money")
        return prepared

    async def post(self, result: NodeResult, ctx: NodeContext, currency: str) -> Any:
        return f"{result.output} {currency}"

    async def recover(self, error: BaseException, ctx: NodeContext, bank: Bank) -> None:
        bank.told.append(f"recover: {error}")


async def test_methods_of_a_class_get_what_they_take_behind_their_context() -> None:
    told: list[str] = []
    app = App("shop", dependencies={"currency": "EUR"})
    app.dependency("bank")(ways(told)["async_"])
    app.node("charge")(Charge)
    app.flow("order").node("charge")
    async with runtime_of(app) as runtime:
        assert (await runtime.run("order", "42")).output == {"charge": "42 EUR"}
        assert (await runtime.run("order", "break")).status == "failed"
    assert told == ["opened", "prep", "exec 3", "prep", "exec 3", "recover: no money", "closed"]


def test_what_a_class_lacks_is_told_before_anything_runs() -> None:
    app = App("shop", dependencies={"bank": Bank([])})
    app.node("charge")(Charge)
    with pytest.raises(AppError, match="node 'charge' asks for `currency`, and there is no such dependency"):
        _ = app.options


def test_dependencies_of_a_method_are_given_by_name() -> None:
    class Wrong(BaseNode):
        async def exec(self, prepared: Any, ctx: NodeContext, bank: Bank, /) -> Any: ...

    with pytest.raises(AppError, match="parameter bank is given by name; remove the `/` behind it"):
        App("shop").node("wrong")(Wrong)
