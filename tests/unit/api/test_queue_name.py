"""A pool's queue is called by its namespace and name, in a form that Azure accepts."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcraft_api.backend import BackendSpec, QueueBackend
from flowcraft_api.manifest import ManifestError, parse_worker_pool
from flowcraft_api.worker_pool import WorkerPoolSpec, queue_name

AZURE_QUEUE_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
LABEL = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True)


def test_the_default_is_namespace_and_name() -> None:
    assert queue_name("shop", "orders") == "shop-orders"


def test_a_name_in_the_spec_wins() -> None:
    backend = BackendSpec(queue=QueueBackend(name="shop-orders"))
    spec = WorkerPoolSpec(image="a", app="a:b", backend=backend)
    assert queue_name("default", "orders", spec) == "shop-orders"


@given(LABEL, LABEL)
def test_every_default_is_a_queue_name_and_leaves_room_for_its_poison_queue(
    namespace: str, pool: str
) -> None:
    name = queue_name(namespace, pool)
    assert AZURE_QUEUE_NAME.fullmatch(name)
    assert len(name) >= 3
    assert len(f"{name}-poison") <= 63


def test_names_that_would_be_cut_to_the_same_keep_apart() -> None:
    assert queue_name("a" * 60, "orders") != queue_name("a" * 60, "orders2")
    assert queue_name("a", "b--c") != queue_name("a", "b-c")


def test_no_pool_has_the_poison_queue_of_another_for_its_queue() -> None:
    assert queue_name("shop", "orders-poison") != f"{queue_name('shop', 'orders')}-poison"
    with pytest.raises(ManifestError, match="another queue's poison queue"):
        parse_worker_pool(
            {
                "apiVersion": "flowcraft.io/v1alpha1",
                "kind": "FlowcraftWorkerPool",
                "metadata": {"name": "orders"},
                "spec": {"image": "i", "app": "a:b", "backend": {"queue": {"name": "shop-orders-poison"}}},
            }
        )
