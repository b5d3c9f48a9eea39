"""How a run says which node failed it."""

from __future__ import annotations

from flowcraft.node_failures import why_failed
from flowcraft.records import NodeRecord


def failed(**error: str) -> NodeRecord:
    return NodeRecord("read", "read", "failed", error=error)


def test_an_exception_of_user_code_is_told_with_its_type_and_line() -> None:
    record = failed(type="KeyError", message="'amount'", line="flows:9 in read")

    assert why_failed(record) == "node read failed: KeyError: 'amount' (flows:9 in read)"


def test_a_failure_that_the_node_explains_is_told_in_its_own_words() -> None:
    record = failed(
        type="NonRetryableError", message="the amount must not be negative", line="flows:4 in read"
    )

    assert why_failed(record) == "node read failed: the amount must not be negative"
