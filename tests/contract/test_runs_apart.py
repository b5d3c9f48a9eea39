"""Runs whose ids nearly say the same: none sees, holds up or deletes anything of another."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.contract.backends import BackendUnderTest

from flowcraft.distributed.run_ids import run_id_problem
from flowcraft.ports import Arrival, Claim, ClaimRequest, Commit, ContextWrite, JoinArrival
from flowcraft.records import NodeRecord

ENDINGS = ["", "}", "{", ":s", ":c:a", "%7D", "%2F", ".", "..x", "é", "e\u0301", "'", '"', "-other", "[0]"]


@pytest.fixture
def run_ids(run_id: str) -> list[str]:
    found = [f"{run_id}{ending}" for ending in dict.fromkeys(ENDINGS)]
    found += [run_id.upper(), f"{{{run_id}}}", f"x{run_id}"]
    assert not any(map(run_id_problem, found))
    return found


def large(run_id: str) -> dict[str, Any]:
    return {"of": run_id, "text": "x" * 140_000}


async def written(backend: BackendUnderTest, run_id: str) -> None:
    document: Any = {"id": run_id, "runId": run_id, "status": "running", "queue": "orders"}
    await backend.facts.create_header(document, {"input of": run_id})
    record = NodeRecord("a", "a", "completed", output=large(run_id))
    await backend.facts.commit(run_id, Commit(create=[record], context=[ContextWrite("key", run_id)]))
    assert await backend.coordination.claim(ClaimRequest(run_id, "a", run_id, 60.0)) is Claim.CLAIMED


async def test_facts_claims_and_joins_of_each_are_its_own(
    backend: BackendUnderTest, run_ids: list[str]
) -> None:
    await asyncio.gather(*(written(backend, run_id) for run_id in run_ids))
    for run_id in run_ids:
        loaded = await backend.facts.load(run_id, nodes=["a"], context=["key"], with_input=True)
        assert loaded.records["a"].record.output == large(run_id)
        assert (loaded.context, loaded.input) == ({"key": run_id}, {"input of": run_id})
        header = await backend.facts.read_header(run_id)
        assert header is not None
        assert header.document["runId"] == run_id
        edge = JoinArrival(run_id, "j", "0", {"0": True}, expected=2)
        assert (await backend.coordination.arrive(edge))[0] is Arrival.OPEN


async def test_a_purge_takes_nothing_of_another(backend: BackendUnderTest, run_ids: list[str]) -> None:
    await asyncio.gather(*(written(backend, run_id) for run_id in run_ids))
    gone, *kept = run_ids
    await backend.facts.purge(gone)
    await backend.coordination.forget(gone)
    assert await backend.facts.read_header(gone) is None
    for run_id in kept:
        loaded = await backend.facts.load(run_id, nodes=["a"], context=["key"])
        assert (loaded.records["a"].record.output, loaded.context) == (large(run_id), {"key": run_id})
        assert await backend.coordination.held(run_id, ["a"]) == {"a"}
