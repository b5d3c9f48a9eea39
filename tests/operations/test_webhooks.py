"""Webhooks: nodes that wait for a caller, at an address that is known once they wait."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from tests.operations.place import Code, Place, flow

from flowcraft.distributed.callbacks import webhook_address
from flowcraft.distributed.runs.verbs import RefusedError
from flowcraft_api.wire import AwaitingDocument

HOOK = flow("a>hook hook>z", hook={"uses": "webhook"})
URL = "https://hooks.example.com/flowcraft/"


async def waiting(place: Place, run_id: str) -> AwaitingDocument:
    (entry,) = (await place.status(run_id, "awaiting"))["awaiting"]
    return entry


async def test_the_address_is_listed_once_the_node_waits_and_its_answer_is_the_nodes_output(
    place: Place,
) -> None:
    code = Code()
    await place.worker(code, HOOK, webhook_url=URL)
    run_id = await place.client.start_workflow("flow", {})

    entry = await waiting(place, run_id)
    parts = urlsplit(entry["address"]).path.split("/")
    assert entry["kind"] == "webhook"
    assert parts[:-1] == ["", "flowcraft", run_id, "hook"]
    assert len(parts[-1]) >= 32
    await place.client.call_back(run_id, "hook", parts[-1], output={"paid": True})

    assert (await place.ended(run_id))["status"] == "completed"
    assert code.inputs["z"] == {"paid": True}


async def test_without_an_address_it_is_answered_by_a_decision(place: Place) -> None:
    code = Code()
    await place.worker(code, HOOK)
    run_id = await place.client.start_workflow("flow", {})

    assert "address" not in await waiting(place, run_id)
    await place.client.decide(run_id, "hook", output="by hand")

    assert (await place.ended(run_id))["status"] == "completed"
    assert code.inputs["z"] == "by hand"


async def test_a_wrong_token_answers_nothing(place: Place) -> None:
    await place.worker(Code(), HOOK, webhook_url=URL)
    run_id = await place.client.start_workflow("flow", {})
    await waiting(place, run_id)

    for key, token in (("hook", "guessed"), ("hook", ""), ("a", "guessed"), ("nowhere", "")):
        with pytest.raises(RefusedError, match="under this token"):
            await place.client.call_back(run_id, key, token, output="forged")
    assert (await place.client.header(run_id))["status"] == "awaiting"


async def test_what_does_not_wait_is_not_answered_and_an_answer_counts_once(place: Place) -> None:
    code = Code()
    await place.worker(code, HOOK)
    run_id = await place.client.start_workflow("flow", {})
    await waiting(place, run_id)

    with pytest.raises(RefusedError, match="does not wait: it is completed"):
        await place.client.decide(run_id, "a")
    with pytest.raises(RefusedError, match="not waiting yet") as refused:
        await place.client.decide(run_id, "z")
    assert refused.value.retryable
    await place.client.decide(run_id, "hook", output=1)
    await place.client.decide(run_id, "hook", output=1)
    with pytest.raises(RefusedError, match="already decided otherwise"):
        await place.client.decide(run_id, "hook", output=2)
    assert (await place.ended(run_id))["status"] == "completed"
    await place.client.decide(run_id, "hook", output=1)
    with pytest.raises(RefusedError, match="already decided otherwise"):
        await place.client.decide(run_id, "hook", output=2)
    assert code.taken == ["a", "z"]


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("", ""),
        ("https://x.example", "https://x.example/r%2F1/n%231/t"),
        ("https://x.example/a/", "https://x.example/a/r%2F1/n%231/t"),
        ("https://x.example/?r={runId}&n={nodeKey}&t={token}", "https://x.example/?r=r%2F1&n=n%231&t=t"),
    ],
)
def test_addresses(url: str, address: str) -> None:
    assert webhook_address(url, "r/1", "n#1", "t") == address
