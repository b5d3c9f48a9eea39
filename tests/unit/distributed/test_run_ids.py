"""Ids of runs: what no backend could find again is refused before anything is stored."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcraft.clock import SystemClock
from flowcraft.distributed.client import Client
from flowcraft.distributed.message import Message, MessageError
from flowcraft.distributed.run_ids import run_id_problem
from flowcraft.distributed.runs.verbs import RefusedError
from flowcraft.embedded import open_embedded

FIT = ["order-1001", "order 1001", "{a}", "%2F", "Grüße", "a.b", "x" * 255]
UNFIT = ["", "a/b", "a\\b", "a?b", "a#b", "a\nb", " a", "a ", ".", "..", "x" * 256, "\ud800", "a\x7f"]


@pytest.mark.parametrize("run_id", FIT)
def test_ids_that_can_be_kept(run_id: str) -> None:
    assert not run_id_problem(run_id)
    assert Message.parse(Message(run_id).to_body()).run_id == run_id


@pytest.mark.parametrize("run_id", UNFIT)
async def test_ids_that_cannot_be_kept_are_refused_with_the_reason(run_id: str) -> None:
    async with open_embedded(":memory:", "q") as backend:
        client = Client("q", backend.queue, backend.facts, backend.coordination, SystemClock())
        if run_id:
            with pytest.raises(RefusedError, match=r"the run id .* (has|is|begins) "):
                await client.start_workflow("flow", {}, run_id=run_id)
        assert (await backend.queue.depth()).total == 0
    if run_id != "\ud800":
        with pytest.raises(MessageError):
            Message.parse(Message(run_id).to_body())


@given(st.uuids())
def test_every_generated_id_can_be_kept(run_id: uuid.UUID) -> None:
    assert not run_id_problem(str(run_id))
