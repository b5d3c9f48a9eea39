"""The shop example: a sound blueprint whose nodes do what its README says."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.clocks import FixedRandom, SteppingClock

from flowcraft import App, NodeContext, lint, load_app
from flowcraft.evaluator import ExpressionEvaluator
from flowcraft.executor import Completed, Failed, Outcome, Surroundings, Work, execute_node

SHOP = Path(__file__).parents[2] / "examples" / "shop"


@pytest.fixture
def shop() -> Iterator[App]:
    before = list(sys.path)
    yield load_app("shop.flows:app", search_path=SHOP)
    sys.path[:] = before
    for name in ("shop.flows", "shop"):
        sys.modules.pop(name, None)


async def run(app: App, node_id: str, value: Any) -> Outcome:
    node = app.blueprints["order"].node(node_id)
    implementation = app.registry[node.uses]

    def context(attempt: int) -> NodeContext:
        return NodeContext(input=value, run_id="r", node_id=node_id, attempt=attempt)

    return await execute_node(
        Work(implementation, context, implementation.policy(node.config)),
        Surroundings(SteppingClock(), FixedRandom()),
    )


def targets(app: App, source: str, result: dict[str, Any]) -> set[str]:
    evaluator = ExpressionEvaluator()
    edges = [edge for edge in app.blueprints["order"].edges if edge.source == source]
    for action in (result["action"], None):
        taken = {
            edge.target
            for edge in edges
            if edge.action == action
            and (edge.condition is None or evaluator.condition(edge.condition, {"result": result}))
        }
        if taken:
            return taken
    return set()


def test_the_blueprint_is_sound(shop: App) -> None:
    blueprint = shop.blueprints["order"]
    assert lint(blueprint, shop.registry) == []
    assert blueprint.version == "1"
    assert blueprint.node_ids == {"charge", "approve", "ship", "refund"}
    assert blueprint.node("charge").config.max_retries == 4


@pytest.mark.parametrize(
    ("amount", "target"),
    [(42, "ship"), (1000, "ship"), (1000.01, "approve"), (5000, "approve"), (0, "refund")],
)
async def test_the_amount_chooses_the_branch(shop: App, amount: float, target: str) -> None:
    outcome = await run(shop, "charge", {"amount": amount})
    assert isinstance(outcome, Completed)
    assert targets(shop, "charge", {"output": outcome.result.output, "action": outcome.result.action}) == {
        target
    }


def test_an_approved_order_is_shipped_and_any_other_is_not(shop: App) -> None:
    assert targets(shop, "approve", {"output": {"by": "ada"}, "action": "approved"}) == {"ship"}
    assert targets(shop, "approve", {"output": {"by": "ada"}, "action": "rejected"}) == set()


async def test_a_negative_amount_fails_at_once_with_its_reason(shop: App) -> None:
    outcome = await run(shop, "charge", {"amount": -1})
    assert isinstance(outcome, Failed)
    assert outcome.attempts == 1
    assert outcome.error.message == "the amount must not be negative, but it is -1"
    assert outcome.error.line is not None
    assert outcome.error.line.startswith("shop.flows:")


@pytest.mark.parametrize("value", [{"amount": "42"}, {"amount": True}, {}])
async def test_an_amount_that_is_no_number_fails_at_once_and_says_so(shop: App, value: Any) -> None:
    outcome = await run(shop, "charge", value)
    assert isinstance(outcome, Failed)
    assert outcome.attempts == 1
    assert outcome.error.message == f"the amount must be a number, not {value.get('amount')!r}"


async def test_shipping_and_refunding_complete(shop: App) -> None:
    shipped, refunded = await run(shop, "ship", {"paid": 42}), await run(shop, "refund", {"paid": 0})
    assert isinstance(shipped, Completed)
    assert isinstance(refunded, Completed)
    assert shipped.result.output == {"shipped": True, "order": "r", "after": {"paid": 42}}
    assert refunded.result.output == {"refunded": 0}
