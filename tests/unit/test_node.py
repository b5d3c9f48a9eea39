"""What a node's code sees: shared keys with buffered writes, and a context of its own."""

from __future__ import annotations

import math
from typing import Any

import pytest
from structlog.testing import capture_logs

from flowcraft import BaseNode, NodeContext, RunContext
from flowcraft.node import MISSING

STORED = {"name": "ada", "null": None, "rows": [1]}


async def stored(key: str) -> Any:
    return STORED.get(key, MISSING)


async def test_a_missing_key_is_told_from_null() -> None:
    context = RunContext(stored)
    assert await context.get("name") == "ada"
    assert await context.get("null", 5) is None
    assert await context.get("nobody", 5) == 5
    assert await context.has("null")
    assert not await context.has("nobody")


async def test_a_node_reads_its_own_writes_and_the_store_is_not_touched() -> None:
    context = RunContext(stored)
    await context.set("name", "bob")
    await context.set("new", (1, 2))
    await context.delete("rows")
    assert await context.get("name") == "bob"
    assert await context.get("new") == [1, 2]
    assert not await context.has("rows")
    assert await context.get("rows", "gone") == "gone"
    assert context.writes == {"name": "bob", "new": [1, 2], "rows": MISSING}
    assert STORED["name"] == "ada"


async def test_values_are_the_nodes_own_copies() -> None:
    context = RunContext(stored)
    rows = await context.get("rows")
    rows.append(2)
    assert STORED["rows"] == [1]
    mine = [1]
    await context.set("mine", mine)
    mine.append(2)
    (await context.get("mine")).append(3)
    assert context.writes["mine"] == [1]


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("a", math.nan, "context key 'a': the value is nan"),
        ("a", {"b": object()}, "context key 'a': `.b` is a object"),
        ("", 1, "is a string that is not empty"),
        (5, 1, "is a string that is not empty"),
        ("é" * 128, 1, "is longer than 255 bytes"),
        ("_outputs.charge", 1, "is reserved"),
        ("_loop.exit.4", 1, "is reserved for the engine's own"),
        ("_large", 1, "is reserved for the engine's own"),
    ],
)
async def test_what_cannot_be_a_key_or_a_value_is_refused_at_once(key: Any, value: Any, told: str) -> None:
    with pytest.raises(ValueError, match="context key") as refused:
        await RunContext().set(key, value)
    assert told in str(refused.value)


async def test_blocking_calls_are_for_threads() -> None:
    with pytest.raises(RuntimeError, match="await"):
        _ = RunContext().blocking


def test_the_idempotency_key_is_the_node_key_in_its_run() -> None:
    first = NodeContext(run_id="r", node_id="n", node_key="n#2", attempt=1)
    again = NodeContext(run_id="r", node_id="n", node_key="n#2", attempt=2)
    assert first.idempotency_key == again.idempotency_key == "r:n#2"
    assert NodeContext(run_id="r", node_id="n").node_key == "n"
    assert first.signal is first.cancelled


def test_every_line_of_its_logger_names_the_run() -> None:
    with capture_logs() as lines:
        NodeContext(run_id="r", node_id="n", attempt=3).logger.info("hello")
    assert lines == [{"event": "hello", "log_level": "info", "run_id": "r", "node_key": "n", "attempt": 3}]


def test_a_class_node_needs_its_exec() -> None:
    with pytest.raises(TypeError, match="abstract"):
        BaseNode()  # type: ignore[abstract]
