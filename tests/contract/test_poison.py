"""The poison queue as people use it, on every backend."""

from __future__ import annotations

import pytest
from tests.contract.backends import BackendUnderTest

from flowcraft.distributed.client import Client
from flowcraft.distributed.message import Message, poison_body
from flowcraft.distributed.poison import PoisonQueue
from flowcraft.distributed.runs.verbs import RefusedError

FOREIGN = "<hello>"


def box(backend: BackendUnderTest) -> PoisonQueue:
    return PoisonQueue(backend.queue, backend.poison, backend.facts)


async def poisoned(backend: BackendUnderTest, *bodies: str) -> dict[str, str]:
    """Put messages into the poison queue as a worker does; their ids by body."""
    for body in bodies:
        await backend.queue.send_poison(poison_body(body, f"because of {body}", 6))
    return {message.body: message.id for message in await box(backend).messages()}


async def test_messages_are_shown_with_their_reason_and_stay(backend: BackendUnderTest, run_id: str) -> None:
    known = Message(run_id, "order", "charge", base=3).to_body()
    await poisoned(backend, known, FOREIGN)

    for _ in range(2):
        found = {message.body: message for message in await box(backend).messages()}
        assert found.keys() == {known, FOREIGN}
        assert found[FOREIGN].message is None
        assert (found[FOREIGN].reason, found[FOREIGN].deliveries) == (f"because of {FOREIGN}", 6)
        message = found[known].message
        assert message is not None
        assert (message.run_id, message.node_key) == (run_id, "charge")


async def test_many_messages_are_all_shown(backend: BackendUnderTest) -> None:
    assert len(await poisoned(backend, *map(str, range(40)))) == 40


async def test_what_somebody_else_put_there_is_a_body_without_a_reason(backend: BackendUnderTest) -> None:
    await backend.poison.send('{"hello": 1}')
    (found,) = await box(backend).messages()
    assert (found.body, found.reason, found.message) == ('{"hello": 1}', "", None)


async def test_a_message_sent_back_is_new_and_makes_its_receiver_look(
    backend: BackendUnderTest, run_id: str
) -> None:
    client = Client(backend.queue_name, backend.queue, backend.facts, backend.coordination, backend.clock)
    await client.start_workflow("order", run_id=run_id)
    (start,) = await backend.until(lambda: backend.queue.receive(1, 30.0))
    await backend.queue.delete(start)
    known = Message(run_id, "order", "charge", base=3, not_before="2026-01-31T08:00:00.000Z").to_body()
    ids = await poisoned(backend, known, FOREIGN)

    sent, refused = await box(backend).requeue([ids[known]])

    assert (sent, refused) == ([ids[known]], {})
    (delivery,) = await backend.until(lambda: backend.queue.receive(1, 30.0))
    assert Message.parse(delivery.body) == Message(run_id, "order", "charge", check=True)
    assert [message.body for message in await box(backend).messages()] == [FOREIGN]


async def test_what_belongs_to_an_ended_run_stays_with_advice(backend: BackendUnderTest, run_id: str) -> None:
    client = Client(backend.queue_name, backend.queue, backend.facts, backend.coordination, backend.clock)
    await client.start_workflow("order", run_id=run_id)
    await client.cancel(run_id)
    known = Message(run_id, "order", "charge").to_body()
    ids = await poisoned(backend, known)

    sent, refused = await box(backend).requeue()

    assert sent == []
    assert f"flowcraft retry {run_id}" in refused[ids[known]]
    assert len(await box(backend).messages()) == 1


async def test_dropped_messages_are_gone_and_others_stay(backend: BackendUnderTest) -> None:
    ids = await poisoned(backend, "one", "two", "three")

    assert await box(backend).drop([ids["two"], "no such id"]) == [ids["two"]]
    assert {message.body for message in await box(backend).messages()} == {"one", "three"}
    assert len(await box(backend).drop()) == 2
    assert await box(backend).messages() == []


async def test_two_who_look_at_once_lose_nothing(backend: BackendUnderTest) -> None:
    ids = await poisoned(backend, "one")
    (held,) = await backend.until(lambda: backend.poison.receive(1, backend.tick_s))

    assert await box(backend).messages() == [], "somebody else holds it"

    (again,) = await backend.until(box(backend).messages)
    assert again.id == ids["one"] == held.message_id
    with pytest.raises(RefusedError, match="somebody else"):
        await box(backend)._remove(held)  # a look that took too long
