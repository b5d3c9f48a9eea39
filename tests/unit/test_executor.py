"""One node is run to an outcome: attempts, backoff, timeout, cancellation, fallback, and what it gives."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from tests.unit.clocks import FixedRandom, SteppingClock, StillClock

from flowcraft import BaseNode, FatalError, NodeContext, NodeResult, NonRetryableError, RunContext
from flowcraft.executor import (
    Cancelled,
    Completed,
    Failed,
    Outcome,
    RetryLater,
    Surroundings,
    Work,
    backoff_s,
    execute_node,
)
from flowcraft.failures import MAX_MESSAGE, ErrorDetail
from flowcraft.implementation import NodeImplementation, RetryPolicy
from flowcraft.node import MISSING


def work(code: Any, policy: RetryPolicy | None = None, *, input_type: Any = None, **context: Any) -> Work:
    implementation = NodeImplementation.of("node", code, input_type=input_type)

    def make(attempt: int) -> NodeContext:
        return NodeContext(**{"run_id": "r", "node_id": "node", "attempt": attempt, **context})

    return Work(implementation, make, policy or RetryPolicy())


def around(clock: SteppingClock | None = None, random: float = 0.0, moment_s: float = 2.0) -> Surroundings:
    return Surroundings(clock or SteppingClock(), FixedRandom(random), moment_s=moment_s)


async def run(code: Any, policy: RetryPolicy | None = None, **options: Any) -> Outcome:
    return await execute_node(work(code, policy, **options), around())


def failing(times: int, error: Callable[[], BaseException] = lambda: ValueError("broken")) -> Any:
    """Code that fails so often and then gives the attempt's number."""

    async def code(ctx: NodeContext) -> Any:
        if ctx.attempt <= times:
            raise error()
        return ctx.attempt

    return code


def completed(outcome: Outcome) -> Completed:
    assert isinstance(outcome, Completed), outcome
    return outcome


def failed(outcome: Outcome) -> Failed:
    assert isinstance(outcome, Failed), outcome
    return outcome


# --- what it gives


async def test_a_plain_value_is_the_output() -> None:
    async def code(ctx: NodeContext) -> Any:
        return {"got": ctx.input, "pair": (1, 2)}

    assert await run(code, input=5) == Completed(NodeResult({"got": 5, "pair": [1, 2]}), {}, 1)


async def test_a_result_carries_its_action() -> None:
    async def code(_ctx: NodeContext) -> NodeResult:
        return NodeResult(output=None, action="approved")

    assert completed(await run(code)).result == NodeResult(None, "approved")


async def test_the_output_is_independent_of_the_nodes_objects() -> None:
    kept: list[int] = [1]

    async def code(_ctx: NodeContext) -> Any:
        return {"rows": kept}

    outcome = completed(await run(code))
    kept.append(2)
    assert outcome.result.output == {"rows": [1]}


async def test_what_a_node_does_to_its_input_stays_its_own() -> None:
    value = {"rows": [1]}
    params = {"list": [1]}

    async def code(ctx: NodeContext) -> Any:
        ctx.input["rows"].append(2)
        ctx.params["list"].append(2)
        if ctx.attempt == 1:
            raise ValueError("once")
        return ctx.input["rows"]

    assert completed(await run(code, RetryPolicy(2), input=value, params=params)).result.output == [1, 2]
    assert value == {"rows": [1]}
    assert params == {"list": [1]}


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"rows": [{"price": math.nan}]}, "the node's output cannot be stored: `.rows[0].price` is nan"),
        ({"when": {"at": object()}}, "`.when.at` is a object, which cannot be kept"),
        (NodeResult({"a": 2**60}), "`.a` is an integer above 53 bits"),
        (NodeResult(1, action=5), "a result's action is a string or None, not 5"),  # type: ignore[arg-type]
    ],
)
async def test_what_is_not_json_fails_the_node_at_once_with_its_place(value: Any, told: str) -> None:
    async def code(_ctx: NodeContext) -> Any:
        return value

    outcome = failed(await run(code, RetryPolicy(3)))
    assert (outcome.attempts, outcome.error.type) == (1, "OutputError")
    assert told in outcome.error.message


async def test_writes_of_the_attempt_that_completes_are_handed_on_and_no_others() -> None:
    async def code(ctx: NodeContext) -> None:
        await ctx.context.set(f"by{ctx.attempt}", ctx.attempt)
        await ctx.context.delete("old")
        if ctx.attempt < 3:
            raise ValueError("again")

    assert completed(await run(code, RetryPolicy(3))).writes == {"by3": 3, "old": MISSING}


# --- attempts


async def test_attempts_are_counted_from_one_and_end_at_the_first_success() -> None:
    outcome = completed(await run(failing(2), RetryPolicy(4)))
    assert (outcome.result.output, outcome.attempts) == (3, 3)


async def test_the_last_failure_is_told_with_the_line_of_the_users_code() -> None:
    outcome = failed(await run(failing(9), RetryPolicy(3)))
    assert outcome.attempts == 3
    assert outcome.error.type == "ValueError"
    assert outcome.error.message == "broken"
    assert outcome.error.line is not None
    assert outcome.error.line.startswith(f"{__name__}:")
    assert outcome.error.line.endswith("in code")


async def test_delays_double_from_the_first() -> None:
    clock = SteppingClock()
    node = work(failing(4), RetryPolicy(5, retry_delay_s=0.1))
    completed(await execute_node(node, around(clock, random=0.999999)))
    assert clock.slept == pytest.approx([0.1, 0.2, 0.4, 0.8], rel=1e-3)


@given(st.integers(1, 2000), st.floats(0.001, 5000), st.floats(0, 1, exclude_max=True))
def test_backoff_lies_between_half_and_all_of_the_doubled_and_capped_delay(
    attempt: int, delay_s: float, random: float
) -> None:
    policy = RetryPolicy(retry_delay_s=delay_s, max_retry_delay_s=max(300, delay_s))
    whole = min(delay_s * 2 ** min(attempt - 1, 60), policy.max_retry_delay_s)
    assert whole / 2 <= backoff_s(policy, attempt, FixedRandom(random)) <= whole


async def test_a_delay_longer_than_a_moment_is_given_back() -> None:
    clock = SteppingClock()
    node = work(failing(2), RetryPolicy(3, retry_delay_s=10))
    outcome = await execute_node(node, around(clock))
    assert isinstance(outcome, RetryLater)
    assert (outcome.delay_s, outcome.attempts, outcome.error.message) == (5, 1, "broken")
    outcome = await execute_node(node, around(clock), first_attempt=outcome.attempts + 1)
    assert isinstance(outcome, RetryLater)
    assert (outcome.delay_s, outcome.attempts) == (10, 2)
    last = completed(await execute_node(node, around(clock), first_attempt=3))
    assert last.attempts == 3
    assert clock.slept == []


async def test_a_policy_that_allows_fewer_attempts_than_were_made_still_allows_one() -> None:
    assert failed(await execute_node(work(failing(9)), around(), first_attempt=7)).attempts == 7


@pytest.mark.parametrize("error", [NonRetryableError, FatalError])
async def test_what_cannot_be_helped_by_retrying_is_not_retried(error: type[Exception]) -> None:
    outcome = failed(await run(failing(9, lambda: error("no use")), RetryPolicy(4, retry_delay_s=60)))
    assert (outcome.attempts, outcome.error.message) == (1, "no use")


async def test_sys_exit_fails_the_node_and_not_the_worker() -> None:
    outcome = failed(await run(failing(9, lambda: SystemExit(3)), RetryPolicy(4)))
    assert (outcome.attempts, outcome.error.message) == (1, "the node called sys.exit(3)")


async def test_a_panic_of_an_extension_module_fails_the_node_and_not_the_worker() -> None:
    class PanicException(BaseException):
        pass

    outcome = failed(await run(failing(9, lambda: PanicException("index out of bounds")), RetryPolicy(2)))
    assert (outcome.attempts, outcome.error.message) == (2, "index out of bounds")


async def test_a_cancellation_that_the_code_lets_escape_is_a_failure() -> None:
    outcome = failed(await run(failing(9, asyncio.CancelledError), RetryPolicy(2)))
    assert (outcome.attempts, outcome.error.type) == (2, "CancelledError")


def test_an_error_is_described_whatever_it_is() -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    assert ErrorDetail.of(MuteError()).message == "MuteError without a message"
    assert ErrorDetail.of(ValueError()).message == "ValueError without a message"
    assert len(ErrorDetail.of(ValueError("x" * 99_999)).message) == MAX_MESSAGE + 1
    assert ErrorDetail.of(ValueError("\ud800")).message == "?"
    assert ErrorDetail("T", "m").to_dict() == {"type": "T", "message": "m"}


# --- input


class Order(BaseModel):
    """What the node asks for."""

    amount: float
    lines: list[int] = []


async def test_an_input_is_validated_where_a_type_is_given() -> None:
    async def code(ctx: NodeContext) -> Any:
        assert isinstance(ctx.input, Order)
        return ctx.input.amount

    assert completed(await run(code, input_type=Order, input={"amount": "4.5"})).result.output == 4.5


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"amount": "much"}, "the input of node node is wrong: input.amount: Input should be a valid number"),
        ({}, "input.amount: Field required"),
        (None, "input: Input should be a valid dictionary"),
        ({"amount": 1, "lines": [1, "x"]}, "input.lines[1]: Input should be a valid integer"),
    ],
)
async def test_an_input_that_does_not_fit_fails_without_retries(value: Any, told: str) -> None:
    outcome = failed(await run(failing(0), RetryPolicy(4), input_type=Order, input=value))
    assert (outcome.attempts, outcome.error.type) == (1, "InputError")
    assert told in outcome.error.message


# --- synchronous code


async def test_synchronous_code_runs_in_a_thread_and_reaches_the_context() -> None:
    async def stored(_key: str) -> Any:
        await asyncio.sleep(0)
        return "stored"

    def code(ctx: NodeContext) -> Any:
        keys = ctx.context.blocking
        keys.set("mine", [1])
        keys.delete("old")
        return [threading.current_thread() is threading.main_thread(), keys.get("other"), keys.has("mine")]

    outcome = completed(await execute_node(work(code, context=RunContext(stored)), around()))
    assert outcome.result.output == [False, "stored", True]
    assert outcome.writes == {"mine": [1], "old": MISSING}


async def test_synchronous_code_may_give_something_to_await() -> None:
    def code(ctx: NodeContext) -> Any:
        return failing(0)(ctx)

    assert completed(await run(code)).result.output == 1


async def test_synchronous_failures_are_failures() -> None:
    def code(_ctx: NodeContext) -> None:
        raise StopIteration

    assert failed(await run(code)).error.message == "the node raised StopIteration"


# --- timeout


async def test_an_attempt_that_takes_too_long_is_cancelled_and_retried() -> None:
    clock = SteppingClock()
    cleaned_up: list[int] = []

    async def code(ctx: NodeContext) -> Any:
        if ctx.attempt == 1:
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                await asyncio.sleep(0)
                cleaned_up.append(ctx.attempt)
                assert ctx.cancelled.is_set()
        return ctx.attempt

    outcome = completed(await execute_node(work(code, RetryPolicy(2, timeout_s=30)), around(clock)))
    assert outcome.result.output == 2
    assert cleaned_up == [1]
    assert clock.slept == [30]


async def test_running_out_of_time_on_every_attempt_fails() -> None:
    async def code(_ctx: NodeContext) -> None:
        await asyncio.get_running_loop().create_future()

    outcome = failed(await run(code, RetryPolicy(2, timeout_s=1.5)))
    assert (outcome.attempts, outcome.error.type) == (2, "NodeTimeoutError")
    assert outcome.error.message == "the attempt took longer than 1.5 s"


async def test_code_that_does_not_listen_is_left_to_itself() -> None:
    released = asyncio.Event()

    async def code(_ctx: NodeContext) -> None:
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                continue

    outcome = failed(await run(code, RetryPolicy(timeout_s=1)))
    assert outcome.error.type == "NodeTimeoutError"
    released.set()


async def test_a_thread_that_is_too_slow_is_told_and_left_to_itself() -> None:
    told = threading.Event()

    def code(ctx: NodeContext) -> None:
        while not ctx.cancelled.is_set():
            time.sleep(0.001)
        told.set()

    assert failed(await run(code, RetryPolicy(timeout_s=1))).error.type == "NodeTimeoutError"
    assert await asyncio.to_thread(told.wait, 5)


async def test_a_timeout_that_is_not_reached_changes_nothing() -> None:
    node = work(failing(1), RetryPolicy(2, timeout_s=30))
    assert completed(await execute_node(node, around(StillClock()))).result.output == 2


async def test_a_timed_out_attempt_does_not_set_the_callers_event() -> None:
    cancelled = asyncio.Event()

    async def code(_ctx: NodeContext) -> None:
        await asyncio.get_running_loop().create_future()

    await run(code, RetryPolicy(2, timeout_s=1), cancelled=cancelled)
    assert not cancelled.is_set()


# --- cancellation


class Running:
    """A node that runs until it is told not to."""

    def __init__(self, policy: RetryPolicy | None = None, clock: SteppingClock | None = None) -> None:
        self.cancelled = asyncio.Event()
        self.began = asyncio.Event()
        node = work(self._code, policy, cancelled=self.cancelled)
        self.task = asyncio.ensure_future(execute_node(node, around(clock or StillClock())))

    async def _code(self, _ctx: NodeContext) -> None:
        self.began.set()
        await asyncio.get_running_loop().create_future()


@pytest.mark.parametrize("timeout_s", [None, 30])
async def test_a_cancelled_node_gives_no_result(timeout_s: float | None) -> None:
    running = Running(RetryPolicy(3, timeout_s=timeout_s))
    await running.began.wait()
    running.cancelled.set()
    running.task.cancel()
    assert await running.task == Cancelled(1)
    assert not running.task.cancelled()


@pytest.mark.parametrize("timeout_s", [None, 30])
async def test_a_worker_that_shuts_down_is_not_a_cancelled_node(timeout_s: float | None) -> None:
    running = Running(RetryPolicy(3, timeout_s=timeout_s))
    await running.began.wait()
    running.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running.task


async def test_a_node_cancelled_before_it_begins_does_not_begin() -> None:
    cancelled = asyncio.Event()
    cancelled.set()
    assert await run(failing(0), cancelled=cancelled) == Cancelled(0)


async def test_a_node_cancelled_between_attempts_makes_no_more() -> None:
    cancelled = asyncio.Event()

    def error() -> Exception:
        cancelled.set()
        return ValueError("while being cancelled")

    assert await run(failing(9, error), RetryPolicy(5), cancelled=cancelled) == Cancelled(1)


async def test_a_node_cancelled_while_it_waits_for_its_next_attempt_ends() -> None:
    cancelled = asyncio.Event()
    node = work(failing(9), RetryPolicy(5, retry_delay_s=1), cancelled=cancelled)
    task = asyncio.ensure_future(execute_node(node, around(StillClock())))
    for _ in range(10):
        await asyncio.sleep(0)
    cancelled.set()
    task.cancel()
    assert await task == Cancelled(1)


async def test_a_result_that_came_in_spite_of_the_cancellation_is_given() -> None:
    cancelled = asyncio.Event()
    began = asyncio.Event()

    async def code(_ctx: NodeContext) -> Any:
        began.set()
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            return "done all the same"

    task = asyncio.ensure_future(execute_node(work(code, cancelled=cancelled), around()))
    await began.wait()
    cancelled.set()
    task.cancel()
    assert completed(await task).result.output == "done all the same"


# --- fallback


async def test_a_fallback_is_the_last_attempt() -> None:
    seen: list[int] = []

    async def instead(ctx: NodeContext) -> NodeResult:
        seen.append(ctx.attempt)
        return NodeResult("instead", "refunded")

    outcome = completed(
        await execute_node(work(failing(9), RetryPolicy(2)), around(), fallback=work(instead))
    )
    assert outcome.result == NodeResult("instead", "refunded", fallback_executed=True)
    assert (outcome.attempts, seen) == (3, [3])


async def test_a_fallback_runs_when_retrying_is_no_use_but_not_after_a_fatal_error() -> None:
    useless = work(failing(9, lambda: NonRetryableError("no use")), RetryPolicy(5))
    assert completed(await execute_node(useless, around(), fallback=work(failing(0)))).attempts == 2
    fatal = work(failing(9, lambda: FatalError("stop")), RetryPolicy(5))
    assert failed(await execute_node(fatal, around(), fallback=work(failing(0)))).error.message == "stop"


async def test_a_fallback_that_fails_is_told_with_what_it_stood_in_for() -> None:
    instead = work(failing(9, lambda: KeyError("also")), RetryPolicy(5))
    outcome = failed(await execute_node(work(failing(9)), around(), fallback=instead))
    assert outcome.attempts == 2
    assert (outcome.error.type, outcome.error.cause) == ("KeyError", "ValueError: broken")


async def test_a_fallback_is_not_run_while_attempts_are_left() -> None:
    node = work(failing(1), RetryPolicy(2))
    assert not completed(
        await execute_node(node, around(), fallback=work(failing(0)))
    ).result.fallback_executed


# --- classes


class Recorder(BaseNode):
    """Writes down what is called; ``params`` say what fails."""

    async def prep(self, ctx: NodeContext) -> Any:
        await self._step("prep", ctx)
        await ctx.context.set("prepared", ctx.attempt)
        return "prepared"

    async def exec(self, prepared: Any, ctx: NodeContext) -> Any:
        assert prepared == "prepared"
        await ctx.context.set(f"exec{ctx.attempt}", True)
        await self._step("exec", ctx)
        return NodeResult("done", "yes")

    async def post(self, result: NodeResult, ctx: NodeContext) -> Any:
        await self._step("post", ctx)
        return NodeResult([result.output, "posted"], result.action)

    async def fallback(self, error: BaseException, ctx: NodeContext) -> Any:
        await self._step("fallback", ctx)
        if "fallback" not in ctx.dependencies["has"]:
            raise error
        return f"instead of {error}"

    async def recover(self, error: BaseException, ctx: NodeContext) -> None:
        await self._step("recover", ctx)

    async def _step(self, name: str, ctx: NodeContext) -> None:
        ctx.dependencies["steps"].append(name)
        if ctx.dependencies["fails"].get(name, 0) >= ctx.attempt:
            raise ctx.dependencies.get("error", ValueError)(f"{name} broke")


async def record(attempts: int = 1, *has: str, **fails: Any) -> tuple[Outcome, list[str]]:
    steps: list[str] = []
    error = fails.pop("error", ValueError)
    dependencies = {"steps": steps, "fails": fails, "has": has, "error": error}
    outcome = await run(Recorder, RetryPolicy(attempts), dependencies=dependencies)
    return outcome, steps


async def test_a_class_prepares_executes_and_finishes() -> None:
    outcome, steps = await record()
    assert steps == ["prep", "exec", "post"]
    assert completed(outcome).result == NodeResult(["done", "posted"], "yes")


async def test_only_exec_is_retried_and_what_prep_wrote_is_kept() -> None:
    outcome, steps = await record(4, exec=2)
    assert steps == ["prep", "exec", "exec", "exec", "post"]
    assert completed(outcome).writes == {"prepared": 1, "exec3": True}


@pytest.mark.parametrize(
    ("fails", "expected"),
    [
        ({"prep": 9}, ["prep", "recover"]),
        ({"post": 9}, ["prep", "exec", "post", "recover"]),
        ({"exec": 9}, ["prep", "exec", "exec", "exec", "fallback", "recover"]),
        ({"exec": 9, "recover": 9}, ["prep", "exec", "exec", "exec", "fallback", "recover"]),
        ({"exec": 9, "error": FatalError}, ["prep", "exec", "recover"]),
    ],
)
async def test_a_class_that_fails_recovers_and_keeps_its_first_reason(
    fails: Any, expected: list[str]
) -> None:
    outcome, steps = await record(3, **fails)
    assert steps == expected
    broken = next(name for name in ("prep", "exec", "post") if name in fails)
    assert failed(outcome).error.message == f"{broken} broke"


async def test_a_class_may_stand_in_for_its_own_exec() -> None:
    outcome, steps = await record(2, "fallback", exec=9)
    assert steps == ["prep", "exec", "exec", "fallback", "post"]
    assert completed(outcome).result.output == ["instead of exec broke", "posted"]
    assert completed(outcome).writes == {"prepared": 1}


async def test_a_class_whose_time_is_over_may_still_stand_in_for_its_exec() -> None:
    class Slow(BaseNode):
        async def exec(self, prepared: Any, ctx: NodeContext) -> Any:
            await asyncio.get_running_loop().create_future()

        async def fallback(self, error: BaseException, ctx: NodeContext) -> Any:
            return [str(error), ctx.cancelled.is_set()]

    outcome = completed(await run(Slow, RetryPolicy(2, timeout_s=1)))
    assert outcome.result.output == ["the attempt took longer than 1 s", False]
    assert outcome.attempts == 2


async def test_the_methods_of_a_class_may_be_plain_functions() -> None:
    class Plain(BaseNode):
        def exec(self, prepared: Any, ctx: NodeContext) -> Any:
            ctx.context.blocking.set("thread", threading.current_thread() is not threading.main_thread())
            return [prepared, self.params["p"], self.node_id]

    outcome = completed(await run(Plain, input=1, params={"p": 2}))
    assert outcome.result.output == [1, 2, "node"]
    assert outcome.writes == {"thread": True}


# --- cost


async def test_executing_a_node_that_does_nothing_costs_little() -> None:
    async def code(_ctx: NodeContext) -> None:
        return None

    node, surroundings = work(code), around()
    best_s = math.inf
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(200):
            await execute_node(node, surroundings)
        best_s = min(best_s, (time.perf_counter() - began) / 200)
    assert best_s < 50e-6


async def test_without_a_timeout_no_task_is_made() -> None:
    seen: list[Any] = []

    async def code(_ctx: NodeContext) -> None:
        seen.append(asyncio.current_task())

    await run(code)
    assert seen == [asyncio.current_task()]
