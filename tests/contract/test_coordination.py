"""The promises of the coordination port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

import pytest
from tests.contract.backends import BackendUnderTest

from flowcraft.ports import Arrival, Claim, ClaimRequest, Coordination, Discharge, JoinArrival
from flowcraft.ports.coordination import hint_channel

LEASE_S = 60.0


@pytest.fixture
def store(backend: BackendUnderTest) -> Coordination:
    return backend.coordination


def request(
    run_id: str, token: str, key: str = "a", lease_s: float = LEASE_S, activity: int = 0
) -> ClaimRequest:
    return ClaimRequest(run_id, key, token, lease_s, activity)


# ---- claims ----


async def test_a_node_key_is_claimed_by_one_delivery_at_a_time(store: Coordination, run_id: str) -> None:
    assert await store.claim(request(run_id, "one")) is Claim.CLAIMED
    assert await store.claim(request(run_id, "two")) is Claim.HELD
    assert await store.claim(request(run_id, "one")) is Claim.CLAIMED
    assert await store.claim(request(run_id, "two", key="b")) is Claim.CLAIMED
    assert await store.claim(request(f"{run_id}-other", "two")) is Claim.CLAIMED


async def test_of_many_claims_exactly_one_wins(store: Coordination, run_id: str) -> None:
    answers = await asyncio.gather(*(store.claim(request(run_id, str(number))) for number in range(10)))
    assert sorted(answer.value for answer in answers) == ["claimed", *["held"] * 9]


async def test_a_claim_lapses_after_its_lease(backend: BackendUnderTest, run_id: str) -> None:
    store = backend.coordination
    await store.claim(request(run_id, "one", lease_s=backend.tick_s))

    async def claimed() -> bool:
        return await store.claim(request(run_id, "two")) is Claim.CLAIMED

    assert not await claimed()
    await backend.until(claimed, within_s=3 * backend.tick_s)
    assert await store.claim(request(run_id, "one")) is Claim.HELD


async def test_a_renewed_claim_outlives_its_first_lease(backend: BackendUnderTest, run_id: str) -> None:
    store = backend.coordination
    await store.claim(request(run_id, "one", lease_s=backend.tick_s))
    assert await store.renew(run_id, ["a"], "one", LEASE_S)
    await backend.clock.tick(1.5 * backend.tick_s)
    assert await store.claim(request(run_id, "two")) is Claim.HELD


async def test_renewing_tells_of_a_lost_claim_and_does_not_take_it_back(
    backend: BackendUnderTest, run_id: str
) -> None:
    store = backend.coordination
    await store.claim(request(run_id, "one", lease_s=backend.tick_s))
    await store.claim(request(run_id, "one", key="kept"))

    async def lapsed() -> bool:
        return not await store.held(run_id, ["a"])

    await backend.until(lapsed, within_s=3 * backend.tick_s)
    assert not await store.renew(run_id, ["a", "kept"], "one", LEASE_S)
    assert await store.claim(request(run_id, "two")) is Claim.CLAIMED
    assert not await store.renew(run_id, ["a"], "one", LEASE_S)
    assert await store.renew(run_id, ["a"], "two", LEASE_S)
    assert await store.renew(run_id, ["kept"], "one", LEASE_S)


async def test_renewing_nothing_loses_nothing(store: Coordination, run_id: str) -> None:
    assert await store.renew(run_id, [], "one", LEASE_S)


async def test_a_claim_that_was_never_made_is_not_renewed(store: Coordination, run_id: str) -> None:
    assert not await store.renew(run_id, ["a"], "one", LEASE_S)
    assert await store.held(run_id, ["a"]) == frozenset()


async def test_held_tells_of_live_claims_only(backend: BackendUnderTest, run_id: str) -> None:
    store = backend.coordination
    await store.claim(request(run_id, "one", key="live"))
    await store.claim(request(run_id, "one", key="done"))
    await store.claim(request(run_id, "one", key="released"))
    await store.discharge(Discharge(run_id, "one", done=["done"], released=["released"]))
    assert await store.held(run_id, ["live", "done", "released", "absent"]) == {"live"}
    assert await store.held(run_id, []) == frozenset()


async def test_a_discharged_node_key_is_done_for_everybody(store: Coordination, run_id: str) -> None:
    await store.claim(request(run_id, "one"))
    await store.discharge(Discharge(run_id, "one", done=["a"]))
    assert await store.claim(request(run_id, "two")) is Claim.DONE
    assert await store.claim(request(run_id, "one")) is Claim.DONE
    assert not await store.renew(run_id, ["a"], "one", LEASE_S)


async def test_a_released_node_key_can_be_claimed_at_once(store: Coordination, run_id: str) -> None:
    await store.claim(request(run_id, "one"))
    await store.discharge(Discharge(run_id, "one", released=["a"]))
    assert await store.claim(request(run_id, "two")) is Claim.CLAIMED


async def test_claims_of_other_tokens_are_left_alone(store: Coordination, run_id: str) -> None:
    await store.claim(request(run_id, "one", key="a"))
    await store.claim(request(run_id, "one", key="b"))
    await store.discharge(Discharge(run_id, "two", done=["a"], released=["b"]))
    assert await store.held(run_id, ["a", "b"]) == {"a", "b"}
    assert await store.renew(run_id, ["a", "b"], "one", LEASE_S)


async def test_a_done_mark_stays_done_when_it_is_released(store: Coordination, run_id: str) -> None:
    await store.claim(request(run_id, "one"))
    await store.discharge(Discharge(run_id, "one", done=["a"]))
    await store.discharge(Discharge(run_id, "one", released=["a"]))
    assert await store.claim(request(run_id, "two")) is Claim.DONE


# ---- counts ----


async def test_open_obligations_are_added_up(store: Coordination, run_id: str) -> None:
    assert await store.discharge(Discharge(run_id, "one", activity=3)) == 3
    assert await store.discharge(Discharge(run_id, "two", activity=-1)) == 2
    assert await store.discharge(Discharge(run_id, "two")) == 2
    assert await store.discharge(Discharge(f"{run_id}-other", "one", activity=1)) == 1


async def test_a_claim_adds_its_activity_only_when_it_is_made(store: Coordination, run_id: str) -> None:
    await store.discharge(Discharge(run_id, "zero", activity=1))
    assert await store.claim(request(run_id, "one", activity=1)) is Claim.CLAIMED
    assert await store.claim(request(run_id, "one", activity=1)) is Claim.CLAIMED
    assert await store.claim(request(run_id, "two", activity=1)) is Claim.HELD
    assert await store.discharge(Discharge(run_id, "one")) == 2


async def test_progress_is_known_of_runs_that_have_a_count(store: Coordination, run_id: str) -> None:
    await store.discharge(Discharge(run_id, "one", progress=2))
    await store.discharge(Discharge(run_id, "two", progress=3, activity=-1))
    assert await store.progress([run_id, f"{run_id}-other"]) == {run_id: 5}
    assert await store.progress([]) == {}


# ---- joins ----


class Join:
    """One join of a run; edges are given by name, with whether they are taken."""

    def __init__(self, store: Coordination, run_id: str, expected: int, *, first: bool = False) -> None:
        self._store, self._run_id, self._expected, self._first = store, run_id, expected, first

    async def arrive(self, edge: str, **states: bool) -> tuple[Arrival, bool]:
        return await self._store.arrive(
            JoinArrival(self._run_id, "gather", edge, states, self._expected, self._first)
        )

    async def answer(self, edge: str, **states: bool) -> Arrival:
        return (await self.arrive(edge, **states))[0]


async def test_an_all_join_is_ready_when_every_edge_is_resolved(store: Coordination, run_id: str) -> None:
    join = Join(store, run_id, 3)
    assert await join.arrive("a", a=True) == (Arrival.OPEN, True)
    assert await join.arrive("b", b=False) == (Arrival.OPEN, False)
    assert await join.arrive("c", c=False) == (Arrival.READY, False)


async def test_a_join_of_one_edge_is_resolved_at_once(store: Coordination, run_id: str) -> None:
    assert await Join(store, run_id, 1).arrive("a", a=True) == (Arrival.READY, True)
    assert await Join(store, f"{run_id}-other", 1).arrive("a", a=False) == (Arrival.DEAD, True)


async def test_a_join_whose_edges_are_all_dead_is_dead(store: Coordination, run_id: str) -> None:
    join = Join(store, run_id, 2)
    assert await join.answer("a", a=False) is Arrival.OPEN
    assert await join.answer("b", b=False) is Arrival.DEAD


@pytest.mark.parametrize("taken", [True, False])
async def test_only_the_edge_that_resolved_a_join_is_told_the_answer_again(
    store: Coordination, run_id: str, taken: bool
) -> None:
    join = Join(store, run_id, 2)
    await join.answer("a", a=taken)
    answer = await join.answer("b", b=taken)
    assert answer is (Arrival.READY if taken else Arrival.DEAD)
    assert await join.arrive("b", b=taken) == (answer, False)
    assert await join.arrive("a", a=taken) == (Arrival.FIRED, False)
    assert await join.arrive("b", a=taken, b=taken) == (answer, False)


async def test_an_edge_that_arrives_twice_counts_once(store: Coordination, run_id: str) -> None:
    join = Join(store, run_id, 3)
    for _ in range(5):
        assert await join.answer("a", a=True) is Arrival.OPEN
    assert await join.answer("b", b=True) is Arrival.OPEN
    assert await join.answer("c", c=True) is Arrival.READY


async def test_edges_known_from_records_count_as_arrived(store: Coordination, run_id: str) -> None:
    join = Join(store, run_id, 4)
    assert await join.arrive("a", a=True, b=False, c=True) == (Arrival.OPEN, True)
    assert await join.answer("b", b=False) is Arrival.OPEN
    assert await join.answer("d", d=False) is Arrival.READY
    assert await join.answer("c", c=True) is Arrival.FIRED


async def test_an_any_join_is_ready_at_its_first_taken_edge(store: Coordination, run_id: str) -> None:
    join = Join(store, run_id, 3, first=True)
    assert await join.answer("a", a=False) is Arrival.OPEN
    assert await join.answer("b", b=True) is Arrival.READY
    assert await join.answer("c", c=True) is Arrival.FIRED
    assert await join.answer("b", b=True) is Arrival.READY


async def test_an_any_join_is_ready_by_an_edge_that_brings_another_taken_one(
    store: Coordination, run_id: str
) -> None:
    join = Join(store, run_id, 3, first=True)
    assert await join.answer("a", a=False, b=True) is Arrival.READY
    assert await join.answer("b", b=True) is Arrival.FIRED


async def test_an_any_join_whose_edges_are_all_dead_is_dead(store: Coordination, run_id: str) -> None:
    join = Join(store, run_id, 2, first=True)
    assert await join.answer("a", a=False) is Arrival.OPEN
    assert await join.answer("b", b=False) is Arrival.DEAD


async def test_of_many_edges_at_once_exactly_one_resolves_the_join(store: Coordination, run_id: str) -> None:
    join = Join(store, run_id, 40)
    edges = [f"e{number}" for number in range(40)]
    answers = await asyncio.gather(*(join.arrive(edge, **{edge: True}) for edge in edges))
    outcomes = [answer.value for answer, _ in answers]
    assert sorted(outcomes) == sorted(["ready", *["open"] * 39])
    assert sum(created for _, created in answers) == 1


async def test_a_join_of_a_thousand_edges_is_resolved_by_its_last(store: Coordination, run_id: str) -> None:
    join = Join(store, run_id, 1000)
    seeded: Mapping[str, bool] = {f"e{number}": True for number in range(999)}
    assert await join.arrive("e0", **seeded) == (Arrival.OPEN, True)
    assert await join.arrive("e999", e999=True) == (Arrival.READY, False)


async def test_joins_of_one_run_are_apart(store: Coordination, run_id: str) -> None:
    for name in ("x", "y"):
        arrival = JoinArrival(run_id, name, "a", {"a": True}, 2)
        assert await store.arrive(arrival) == (Arrival.OPEN, True)


# ---- named leases, heartbeats ----


async def test_a_lease_has_one_holder_who_may_renew_it(store: Coordination, run_id: str) -> None:
    assert await store.lease(run_id, "one", LEASE_S)
    assert not await store.lease(run_id, "two", LEASE_S)
    assert await store.lease(run_id, "one", LEASE_S)


async def test_a_lease_lapses(backend: BackendUnderTest, run_id: str) -> None:
    await backend.coordination.lease(run_id, "one", backend.tick_s)

    async def taken() -> bool:
        return await backend.coordination.lease(run_id, "two", LEASE_S)

    await backend.until(taken, within_s=3 * backend.tick_s)
    assert not await backend.coordination.lease(run_id, "one", LEASE_S)


async def test_only_its_holder_releases_a_lease(store: Coordination, run_id: str) -> None:
    await store.lease(run_id, "one", LEASE_S)
    await store.release(run_id, "two")
    assert not await store.lease(run_id, "two", LEASE_S)
    await store.release(run_id, "one")
    await store.release(run_id, "one")
    assert await store.lease(run_id, "two", LEASE_S)


async def test_heartbeats_tell_the_last_count_of_each_worker_of_the_queue(
    store: Coordination, run_id: str
) -> None:
    await store.heartbeat(run_id, "w1", 3, 60.0)
    await store.heartbeat(run_id, "w2", 0, 60.0)
    await store.heartbeat(run_id, "w1", 5, 60.0)
    await store.heartbeat(f"{run_id}-other", "w3", 1, 60.0)
    assert await store.heartbeats(run_id) == {"w1": 5, "w2": 0}
    assert await store.heartbeats(f"{run_id}-nobody") == {}


async def test_a_worker_that_is_silent_is_forgotten(backend: BackendUnderTest, run_id: str) -> None:
    store = backend.coordination
    await store.heartbeat(run_id, "silent", 3, backend.tick_s)
    await store.heartbeat(run_id, "alive", 1, 60.0)

    async def forgotten() -> bool:
        return await store.heartbeats(run_id) == {"alive": 1}

    await backend.until(forgotten, within_s=3 * backend.tick_s)


# ---- notifications ----


async def next_text(backend: BackendUnderTest, texts: AsyncIterator[str]) -> str:
    reader = asyncio.ensure_future(anext(texts))

    async def done() -> bool:
        return reader.done()

    try:
        await backend.until(done)
        return await reader
    finally:
        reader.cancel()  # a listener that nothing reached must not keep the failed test waiting


async def test_a_listener_hears_what_is_published_while_it_listens(
    backend: BackendUnderTest, run_id: str
) -> None:
    store = backend.coordination
    await store.notify(run_id, "before anybody listened")
    async with store.listen(run_id) as texts:
        await store.notify(f"{run_id}-other", "elsewhere")
        await store.notify(run_id, "first")
        await store.notify(run_id, "")
        await store.notify(run_id, "Grüße")
        assert [await next_text(backend, texts) for _ in range(3)] == ["first", "", "Grüße"]


async def test_a_listener_that_waits_is_woken(backend: BackendUnderTest, run_id: str) -> None:
    async with backend.coordination.listen(run_id) as texts:
        reader = asyncio.ensure_future(next_text(backend, texts))
        await asyncio.sleep(0)
        await backend.coordination.notify(run_id, "now")
        assert await reader == "now"


async def test_every_listener_hears_a_text(backend: BackendUnderTest, run_id: str) -> None:
    store = backend.coordination
    async with store.listen(run_id) as one, store.listen(run_id) as two:
        await store.notify(run_id, "x")
        assert [await next_text(backend, texts) for texts in (one, two)] == ["x", "x"]


async def test_publishing_to_nobody_is_no_error(store: Coordination, run_id: str) -> None:
    await store.notify(run_id, "x")


async def test_a_discharge_publishes_its_hint_to_the_queues_listeners(
    backend: BackendUnderTest, run_id: str
) -> None:
    store = backend.coordination
    channel = hint_channel(backend.queue_name)
    async with store.listen(channel) as texts:
        await store.discharge(Discharge(run_id, "one"))
        await store.discharge(Discharge(run_id, "one", channel=channel, hint=run_id))
        assert await next_text(backend, texts) == run_id


# ---- forgetting ----


async def test_forgetting_a_run_drops_its_claims_joins_and_counts(store: Coordination, run_id: str) -> None:
    other = f"{run_id}-other"
    for run in (run_id, other):
        await store.claim(request(run, "one", key="live"))
        await store.claim(request(run, "one", key="done"))
        await store.discharge(Discharge(run, "one", done=["done"], activity=4, progress=2))
        await Join(store, run, 2).answer("a", a=True)
    await store.forget(run_id)
    await store.forget(run_id)
    assert await store.progress([run_id, other]) == {other: 2}
    assert await store.claim(request(run_id, "two", key="live")) is Claim.CLAIMED
    assert await store.claim(request(run_id, "two", key="done")) is Claim.CLAIMED
    assert await store.claim(request(other, "two", key="live")) is Claim.HELD
    assert await store.claim(request(other, "two", key="done")) is Claim.DONE
    assert await Join(store, run_id, 2).arrive("b", b=True) == (Arrival.OPEN, True)
    assert await Join(store, other, 2).answer("b", b=True) is Arrival.READY
    assert await store.discharge(Discharge(run_id, "one", activity=1)) == 1
