"""When the same event is counted again."""

from __future__ import annotations

from datetime import timedelta

from flowcraft_operator.kube.events import Event, counted_again_after


def test_a_pool_that_is_scaled_again_is_counted_and_a_warning_that_goes_on_is_not() -> None:
    scaled = Event("Scaled", "Workers wanted: 0 -> 1")
    refused = Event("QueueConflict", "another pool has this queue", "Warning")

    assert counted_again_after(scaled) < timedelta(seconds=10)
    assert counted_again_after(refused) >= timedelta(minutes=10)
