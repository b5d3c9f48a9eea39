"""The example manifests are read without complaint, and mean what the comments in them say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from flowcraft_api.manifest import parse_worker_pool, parse_workflow_run
from flowcraft_api.worker_pool import queue_name

SHOP = Path(__file__).parents[3] / "examples" / "shop"


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((SHOP / name).read_text(encoding="utf-8")))


def test_the_pool_names_no_server_and_no_secret() -> None:
    (document,) = documents("pool.yaml")
    pool = parse_worker_pool(document)
    assert (pool.spec.image, pool.spec.app) == ("example/shop:1.4.0", "shop.flows:app")
    assert queue_name("default", pool.metadata.name, pool.spec) == "shop-orders"
    backend = pool.spec.backend
    assert backend.queue.model_dump(exclude_none=True).keys() == {"name"}
    assert backend.cosmos.model_dump(exclude_none=True).keys() == {
        "database",
        "context_container",
        "status_container",
    }
    assert (backend.redis.url, backend.identity) == (None, None)


@pytest.mark.parametrize("name", ["pool-secrets.yaml", "pool-identity.yaml"])
def test_the_other_pools_are_accepted(name: str) -> None:
    (document,) = documents(name)
    assert parse_worker_pool(document).spec.app == "shop.flows:app"


def test_the_run_is_an_order_of_42() -> None:
    (document,) = documents("run.yaml")
    run = parse_workflow_run(document)
    assert (run.metadata.name, run.spec.pool_ref.name, run.spec.input) == (
        "order-1001",
        "orders",
        {"amount": 42},
    )
    assert (run.spec.blueprint.name, run.spec.blueprint.version) == ("order", "1")
    assert run.spec.deadline == "1h"


def test_the_runs_are_one_for_each_way_through_the_flow() -> None:
    runs = [parse_workflow_run(document) for document in documents("runs.yaml")]
    assert {run.metadata.name: run.spec.input["amount"] for run in runs} == {
        "order-1001": 42,
        "order-1002": 0,
        "order-1003": 5000,
        "order-1004": -5,
    }
