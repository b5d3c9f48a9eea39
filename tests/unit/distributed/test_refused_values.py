"""What no backend keeps as it was given is refused where it is given."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.children.runs import place

from flowcraft import App
from flowcraft.distributed.client import RunNotFoundError
from flowcraft.distributed.runs.header import RunRequest
from flowcraft.ports.errors import PayloadTooLargeError


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"id": 2**53 + 1}, "above 53 bits"),
        ({"amount": float("nan")}, "is nan"),
        ({"name": "\ud800"}, "not Unicode"),
        ({"deep": json.loads("[" * 101 + "]" * 101)}, "nests deeper"),
    ],
)
async def test_an_input_that_a_backend_would_change_is_refused_at_the_start(
    given: dict[str, Any], told: str
) -> None:
    async with place(App("app")) as here:
        with pytest.raises(PayloadTooLargeError, match=told):
            await here.client.start(RunRequest("run", "flow", input=given))
        with pytest.raises(RunNotFoundError):
            await here.client.header("run")


async def test_an_answer_that_is_no_unicode_is_refused() -> None:
    async with place(App("app")) as here:
        with pytest.raises(PayloadTooLargeError, match="not Unicode"):
            await here.client.decide("run", "wait", action="\ud800")
