"""What is asked of the backend for a WorkflowRun."""

from __future__ import annotations

from typing import Any

import pytest

from flowcraft_api.manifest import parse_workflow_run
from flowcraft_operator.handlers.run_starting import start_request


def kept_s(of_pool_s: float | None, **spec: Any) -> float | None:
    manifest = {
        "apiVersion": "flowcraft.io/v1alpha1",
        "kind": "WorkflowRun",
        "metadata": {"name": "order", "namespace": "shop"},
        "spec": {"poolRef": {"name": "orders"}, "blueprint": {"name": "order"}, **spec},
    }
    run = parse_workflow_run(manifest)
    return start_request(run, "uid", None, queue="q", ttl_after_finished_s=of_pool_s).ttl_after_finished_s


@pytest.mark.parametrize(
    ("of_pool_s", "of_run", "expected_s"),
    [
        (3600.0, None, 3600.0),
        (3600.0, "2h", 7200.0),
        (3600.0, "0s", 180.0),
        (0.0, None, 180.0),
        (None, None, None),
    ],
)
def test_facts_are_kept_as_asked_and_long_enough_to_be_read(
    of_pool_s: float | None, of_run: str | None, expected_s: float | None
) -> None:
    given = {} if of_run is None else {"ttlAfterFinished": of_run}
    assert kept_s(of_pool_s, **given) == expected_s
