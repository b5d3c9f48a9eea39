from __future__ import annotations

from datetime import UTC, datetime

from flowcraft_operator.planning.queue_owner import QueueClaim, queue_owner


def claim(
    name: str, day: int, *, queue: str = "shop", account: str = "a", namespace: str = "n"
) -> QueueClaim:
    return QueueClaim(account, queue, datetime(2026, 3, day, tzinfo=UTC), namespace, name)


def test_a_queue_of_its_own_is_the_pools() -> None:
    assert queue_owner(claim("a", 2), [claim("a", 2), claim("b", 1, queue="other")]) is None


def test_of_two_pools_with_one_queue_the_younger_gives_way() -> None:
    old, young = claim("old", 1), claim("young", 2)
    assert queue_owner(young, [old, young]) == old
    assert queue_owner(old, [old, young]) is None


def test_pools_of_two_namespaces_conflict_and_those_of_two_accounts_do_not() -> None:
    young = claim("p", 2, namespace="y")
    assert queue_owner(young, [claim("p", 1, namespace="x")]) is not None
    assert queue_owner(young, [claim("p", 1, namespace="x", account="b")]) is None


def test_pools_of_one_moment_agree_on_who_gives_way() -> None:
    one, other = claim("a", 1), claim("b", 1)
    assert queue_owner(one, [other]) is None
    assert queue_owner(other, [one]) == one


def test_of_three_the_oldest_is_named() -> None:
    assert queue_owner(claim("c", 3), [claim("b", 2), claim("a", 1)]) == claim("a", 1)
