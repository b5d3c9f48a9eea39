"""Evaluators that an app brings along: paths only, and a language of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from flowcraft import Blueprint, BlueprintError, EvaluationError, FlowRuntime, NodeContext
from flowcraft.evaluators import PropertyEvaluator
from flowcraft.extensions import Extensions
from flowcraft.memory.result import RunResult


class Words:
    """A language of three words: ``<path> is <value>``, and ``<path> shouted``."""

    def reads(self, expression: str) -> frozenset[tuple[str, ...]]:
        return frozenset({tuple(expression.split(maxsplit=1)[0].split("."))})

    def condition(self, expression: str, scope: Mapping[str, Any]) -> bool:
        path, word, value = expression.split()
        if word != "is":
            raise EvaluationError(f"there is no word {word!r}", expression)
        return str(self._at(path, scope)) == value

    def transform(self, expression: str, scope: Mapping[str, Any]) -> Any:
        return f"{self._at(expression.split(maxsplit=1)[0], scope)}!".upper()

    def _at(self, path: str, scope: Mapping[str, Any]) -> Any:
        value: Any = scope
        for name in path.split("."):
            value = value[name]
        return value


def fork(condition: str, transform: str = "") -> Blueprint:
    edge = {"source": "a", "target": "b", "condition": condition, "transform": transform or None}
    return Blueprint.from_dict(
        {"id": "p", "nodes": [{"id": name, "uses": "code"} for name in "ab"], "edges": [edge]}
    )


async def code(ctx: NodeContext) -> Any:
    return {"paid": "yes", "no": False} if ctx.node_id == "a" else ctx.input


async def run(evaluator: Any, blueprint: Blueprint) -> RunResult:
    runtime = FlowRuntime(registry={"code": code}, extensions=Extensions(evaluator=evaluator))
    return await runtime.run(blueprint)


async def test_the_property_evaluator_reads_paths() -> None:
    result = await run(PropertyEvaluator(), fork("result.output.paid", "input.paid"))
    assert result.output == {"b": "yes"}
    assert (await run(PropertyEvaluator(), fork("result.output.no"))).records["b"].status == "skipped"


@pytest.mark.parametrize(
    ("condition", "transform"), [("1 < 2", ""), ("result.output.paid", "input.paid + '!'")]
)
async def test_the_property_evaluator_refuses_more_than_paths(condition: str, transform: str) -> None:
    result = await run(PropertyEvaluator(), fork(condition, transform))
    assert "more than a property path" in result.errors[0]["message"]


async def test_an_app_may_have_a_language_of_its_own() -> None:
    result = await run(Words(), fork("result.output.paid is yes", "input.paid shouted"))
    assert result.output == {"b": "YES!"}
    assert (await run(Words(), fork("result.output.paid is no"))).records["b"].status == "skipped"


async def test_what_such_a_language_refuses_fails_the_node() -> None:
    result = await run(Words(), fork("result.output.paid was yes"))
    assert result.errors[0]["nodeKey"] == "a"
    assert "there is no word 'was'" in result.errors[0]["message"]


async def test_with_the_default_language_it_is_no_blueprint() -> None:
    with pytest.raises(BlueprintError):
        await run(None, fork("result.output.paid is yes"))
