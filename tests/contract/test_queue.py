"""The promises of the queue port."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest
from tests.contract.backends import BackendUnderTest

from flowcraft.distributed.message import Message
from flowcraft.ports import Delivery
from flowcraft.ports.errors import DeliveryLostError, PayloadTooLargeError
from flowcraft.times import iso


async def receive_one(backend: BackendUnderTest, timeout_s: float = 30.0) -> Delivery:
    (delivery,) = await backend.until(lambda: backend.queue.receive(1, timeout_s))
    return delivery


async def receive_all(backend: BackendUnderTest, timeout_s: float = 30.0) -> list[Delivery]:
    taken: list[Delivery] = []
    while batch := await backend.queue.receive(32, timeout_s):
        taken.extend(batch)
    return taken


def bodies(deliveries: Sequence[Delivery]) -> list[str]:
    return sorted(delivery.body for delivery in deliveries)


async def test_a_sent_message_is_received_with_its_body_and_its_age(backend: BackendUnderTest) -> None:
    before = backend.clock.now()
    await backend.queue.send("hello")
    delivery = await receive_one(backend)
    assert delivery.body == "hello"
    assert delivery.delivery_count == 1
    assert abs(delivery.inserted_at - before) < timedelta(seconds=5)
    assert delivery.inserted_at.utcoffset() == timedelta(0)


async def test_an_empty_queue_gives_nothing(backend: BackendUnderTest) -> None:
    assert await backend.queue.receive(32, 30.0) == []


@pytest.mark.parametrize(
    "body",
    [
        '{"runId": "a", "nodeId": "b"}',
        "eyJydW5JZCI6ICJhIn0=",
        "<a href='x'>&amp; \"quoted\"</a>",
        "Grüße, 你好, 🚢",
        "two\nlines\tand a tab",
        "%2F+?#\\",
    ],
)
async def test_a_body_arrives_as_it_was_sent(backend: BackendUnderTest, body: str) -> None:
    await backend.queue.send(body)
    delivery = await receive_one(backend)
    assert delivery.body == body
    assert (await backend.queue.update(delivery, body, 30.0)).body == body


async def test_a_received_message_is_hidden_until_its_timeout_and_then_comes_again(
    backend: BackendUnderTest,
) -> None:
    await backend.queue.send("again")
    first = await receive_one(backend, backend.tick_s)
    assert await backend.queue.receive(1, 30.0) == []
    second = await receive_one(backend)
    assert second.message_id == first.message_id
    assert second.body == "again"
    assert second.delivery_count == 2
    assert second.receipt != first.receipt
    assert second.inserted_at == first.inserted_at


async def test_a_delayed_message_is_not_seen_before_its_time(backend: BackendUnderTest) -> None:
    await backend.queue.send("later", delay_s=backend.tick_s)
    assert await backend.queue.receive(1, 30.0) == []
    assert (await receive_one(backend)).body == "later"


async def test_no_more_than_asked_for_is_taken(backend: BackendUnderTest) -> None:
    for number in range(5):
        await backend.queue.send(str(number))
    first = await backend.queue.receive(3, 30.0)
    rest = await backend.queue.receive(32, 30.0)
    assert (len(first), len(rest)) == (3, 2)
    assert bodies([*first, *rest]) == ["0", "1", "2", "3", "4"]


async def test_at_most_32_are_taken_at_once(backend: BackendUnderTest) -> None:
    await asyncio.gather(*(backend.queue.send(str(number)) for number in range(40)))
    assert len(await backend.queue.receive(32, 30.0)) == 32
    assert len(await backend.queue.receive(32, 30.0)) == 8


async def test_receivers_share_no_message(backend: BackendUnderTest) -> None:
    await asyncio.gather(*(backend.queue.send(str(number)) for number in range(40)))
    taken = await asyncio.gather(*(receive_all(backend) for _ in range(4)))
    assert bodies([delivery for part in taken for delivery in part]) == sorted(map(str, range(40)))


async def test_a_body_of_48_kib_is_accepted(backend: BackendUnderTest) -> None:
    await backend.queue.send("x" * 48 * 1024)
    assert len((await receive_one(backend)).body) == 48 * 1024


async def test_a_body_over_the_limit_is_refused(backend: BackendUnderTest) -> None:
    with pytest.raises(PayloadTooLargeError):
        await backend.queue.send("x" * 70 * 1024)
    with pytest.raises(PayloadTooLargeError):
        await backend.queue.send("é" * 40 * 1024)
    assert await backend.queue.receive(1, 30.0) == []


async def test_an_update_rewrites_the_body_and_hides_the_message(backend: BackendUnderTest) -> None:
    await backend.queue.send("before")
    delivery = await receive_one(backend, 30.0)
    updated = await backend.queue.update(delivery, "after", backend.tick_s)
    assert updated.receipt != delivery.receipt
    assert (updated.message_id, updated.body) == (delivery.message_id, "after")
    assert updated.delivery_count == delivery.delivery_count == 1
    assert await backend.queue.receive(1, 30.0) == []
    again = await receive_one(backend)
    assert (again.body, again.delivery_count) == ("after", 2)


async def test_an_update_keeps_a_message_hidden_beyond_its_first_timeout(backend: BackendUnderTest) -> None:
    await backend.queue.send("long work")
    delivery = await receive_one(backend, 2 * backend.tick_s)
    renewed = await backend.queue.update(delivery, delivery.body, 60.0)
    await backend.clock.tick(2.5 * backend.tick_s)
    assert await backend.queue.receive(1, 30.0) == []
    await backend.queue.delete(renewed)


async def test_an_update_with_zero_shows_the_message_now(backend: BackendUnderTest) -> None:
    await backend.queue.send("give back")
    delivery = await receive_one(backend, 60.0)
    await backend.queue.update(delivery, "given back", 0.0)
    assert (await receive_one(backend)).body == "given back"


async def test_the_receipt_of_before_an_update_is_stale(backend: BackendUnderTest) -> None:
    await backend.queue.send("x")
    old = await receive_one(backend)
    new = await backend.queue.update(old, "y", 30.0)
    with pytest.raises(DeliveryLostError):
        await backend.queue.update(old, "z", 30.0)
    with pytest.raises(DeliveryLostError):
        await backend.queue.delete(old)
    await backend.queue.delete(await backend.queue.update(new, "y2", 30.0))


async def test_the_receipt_of_an_earlier_delivery_is_stale(backend: BackendUnderTest) -> None:
    await backend.queue.send("x")
    lost = await receive_one(backend, backend.tick_s)
    current = await receive_one(backend)
    with pytest.raises(DeliveryLostError):
        await backend.queue.update(lost, "rewritten", 30.0)
    with pytest.raises(DeliveryLostError):
        await backend.queue.delete(lost)
    again = await backend.queue.update(current, current.body, backend.tick_s)
    assert again.body == "x"
    assert (await receive_one(backend)).body == "x"


async def test_a_deleted_message_never_comes_again(backend: BackendUnderTest) -> None:
    await backend.queue.send("x")
    delivery = await receive_one(backend, backend.tick_s)
    await backend.queue.delete(delivery)
    await backend.clock.tick(1.5 * backend.tick_s)
    assert await backend.queue.receive(1, 30.0) == []


async def test_deleting_twice_is_no_error_and_updating_a_deleted_message_is(
    backend: BackendUnderTest,
) -> None:
    await backend.queue.send("x")
    delivery = await receive_one(backend)
    await backend.queue.delete(delivery)
    await backend.queue.delete(delivery)
    with pytest.raises(DeliveryLostError):
        await backend.queue.update(delivery, "y", 30.0)


async def test_poison_goes_to_the_poison_queue_only(backend: BackendUnderTest) -> None:
    await backend.queue.send_poison("bad")
    assert await backend.queue.receive(1, 30.0) == []
    (delivery,) = await backend.until(lambda: backend.poison.receive(1, 30.0))
    assert delivery.body == "bad"


async def test_the_depth_of_an_empty_queue_is_a_known_zero(backend: BackendUnderTest) -> None:
    depth = await backend.queue.depth()
    assert (depth.visible, depth.exact, depth.total, depth.oldest_visible) == (0, True, 0, None)


async def test_depth_counts_visible_messages_and_takes_none(backend: BackendUnderTest) -> None:
    for number in range(4):
        await backend.queue.send(str(number))
    await backend.queue.send("delayed", delay_s=60.0)
    await receive_one(backend)
    for _ in range(2):
        depth = await backend.queue.depth()
        assert (depth.visible, depth.exact) == (3, True)
        assert depth.total == 5
    assert [delivery.delivery_count for delivery in await receive_all(backend)] == [1, 1, 1]


async def test_depth_is_at_least_32_where_that_many_are_visible(backend: BackendUnderTest) -> None:
    await asyncio.gather(*(backend.queue.send(str(number)) for number in range(40)))
    depth = await backend.queue.depth()
    assert depth.visible == 40 if depth.exact else depth.visible >= 32
    assert depth.total == 40


async def test_the_age_of_the_oldest_visible_message_starts_at_its_insertion(
    backend: BackendUnderTest,
) -> None:
    await backend.queue.send(Message("run").to_body())
    oldest = (await backend.queue.depth()).oldest_visible
    delivery = await receive_one(backend)
    assert oldest == delivery.inserted_at


async def test_a_delay_on_purpose_is_not_age(backend: BackendUnderTest) -> None:
    await backend.queue.send(Message("run").to_body())
    delivery = await receive_one(backend)
    due = backend.clock.now() + timedelta(seconds=backend.tick_s)
    await backend.queue.update(delivery, Message("run", not_before=iso(due)).to_body(), backend.tick_s)

    async def oldest() -> object:
        return (await backend.queue.depth()).oldest_visible

    seen = await backend.until(oldest)
    assert seen == due.replace(microsecond=due.microsecond // 1000 * 1000)


async def test_the_age_of_garbage_is_known_too(backend: BackendUnderTest) -> None:
    await backend.queue.send("no message at all")
    assert (await backend.queue.depth()).oldest_visible is not None


async def test_waiting_ends_at_the_latest_after_its_timeout(backend: BackendUnderTest) -> None:
    task = asyncio.ensure_future(backend.queue.wait(backend.tick_s))

    async def done() -> bool:
        return task.done()

    assert await backend.until(done, within_s=5 * backend.tick_s)
    await task


async def test_waiting_ends_in_time_for_a_message_that_becomes_visible(backend: BackendUnderTest) -> None:
    await backend.queue.send("later", delay_s=backend.tick_s)
    task = asyncio.ensure_future(backend.queue.wait(2 * backend.tick_s))

    async def done() -> bool:
        return task.done()

    await backend.until(done)
    assert (await receive_one(backend)).body == "later"
