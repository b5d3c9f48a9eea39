"""The order in which runs are listed."""

from __future__ import annotations

from flowcraft_api.wire import HeaderDocument
from flowcraft_cli.finding import in_order


def test_runs_of_one_second_are_listed_by_name_and_others_by_time() -> None:
    times = {
        "c": "2026-01-31T08:00:01.100Z",
        "b": "2026-01-31T08:00:01.300Z",
        "a": "2026-01-31T08:00:01.200Z",
        "z": "2026-01-31T08:00:00.900Z",
    }
    found = [HeaderDocument(id=f"id of {name}", name=name, createdAt=at) for name, at in times.items()]

    assert [header["name"] for header in in_order(found)] == ["z", "a", "b", "c"]
