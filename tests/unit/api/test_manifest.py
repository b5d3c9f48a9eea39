"""A manifest is read into a model, or refused in one line that names the field and says what to do."""

from __future__ import annotations

import contextlib
import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcraft_api.manifest import ManifestError, parse_worker_pool, parse_workflow_run
from flowcraft_api.resources import API_VERSION


def pool(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": "FlowcraftWorkerPool",
        "metadata": {"name": "orders"},
        "spec": {"image": "example/shop:1.4.0", "app": "shop.flows:app", **spec},
    }


def run(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": "WorkflowRun",
        "metadata": {"name": "order-1001"},
        "spec": {"poolRef": {"name": "orders"}, "blueprint": {"name": "order"}, **spec},
    }


def secret(key: str) -> dict[str, Any]:
    return {"secretKeyRef": {"name": "azure", "key": key}}


def test_a_pool_needs_no_more_than_image_and_app() -> None:
    spec = parse_worker_pool(pool()).spec
    assert (spec.concurrency, spec.scaling.min_replicas, spec.scaling.max_replicas) == (16, 0, 20)
    assert spec.scaling.poll_interval.seconds == 2
    assert spec.scaling.cooldown.seconds == 60
    assert (spec.reconciliation.interval.seconds, spec.reconciliation.stalled_threshold.seconds) == (60, 300)
    assert spec.poison.max_deliveries == 5
    assert spec.retention.ttl_after_finished.seconds == 168 * 3600
    assert spec.backend.queue.name is None
    assert spec.template is None


def test_jobs_per_replica_follows_concurrency_until_it_is_given() -> None:
    assert parse_worker_pool(pool(concurrency=4)).spec.jobs_per_replica == 4
    assert parse_worker_pool(pool(concurrency=4, scaling={"jobsPerReplica": 9})).spec.jobs_per_replica == 9


def test_every_way_into_a_backend_is_read() -> None:
    backend = {
        "queue": {"name": "shop-orders", "connectionString": secret("storage")},
        "cosmos": {
            "endpoint": "https://shop.documents.azure.com:443/",
            "key": secret("cosmos"),
            "database": "flowcraft-db",
            "contextContainer": "contexts",
            "statusContainer": "statuses",
        },
        "redis": {"url": secret("redis")},
        "identity": {"clientId": "00000000-0000-0000-0000-000000000000"},
    }
    read = parse_worker_pool(pool(backend=backend))
    assert read.to_document()["spec"]["backend"] == backend


def test_a_run_keeps_its_input_its_decisions_and_its_spelling_of_durations() -> None:
    given_spec = {
        "input": {"amount": 42, "lines": [{"sku": "a", "n": None}]},
        "deadline": "60m",
        "ttlAfterFinished": "24h",
        "decisions": [{"nodeKey": "approve", "action": "approved", "output": {"by": "ada"}}],
    }
    read = parse_workflow_run(run(**given_spec)).spec
    assert read.input == given_spec["input"]
    assert (read.deadline, read.deadline.seconds if read.deadline else None) == ("60m", 3600)
    assert read.decisions[0].output == {"by": "ada"}
    assert (read.suspend, read.cancel) == (False, False)


def test_what_the_api_server_adds_is_no_mistake() -> None:
    document = run()
    document["metadata"] |= {
        "uid": "8b2f",
        "generation": 2,
        "creationTimestamp": "2026-01-31T08:00:00Z",
        "managedFields": [{"manager": "kubectl"}],
    }
    document["status"] = {"phase": "Running", "fieldOfALaterVersion": 1}
    read = parse_workflow_run(document)
    assert read.metadata.uid == "8b2f"
    assert read.status is not None
    assert read.status.phase == "Running"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            {"scaling": {"minReplicas": 5, "maxReplicas": 3}},
            "spec.scaling: minReplicas must not be more than maxReplicas, but 5 > 3",
        ),
        (
            {"scaling": {"minReplicas": 21}},
            "spec.scaling: minReplicas must not be more than maxReplicas, but 21 > 20",
        ),
        ({"scalling": {}}, "spec.scalling: is not a field here; did you mean scaling?"),
        (
            {"scaling": {"replicas": 1}},
            "spec.scaling.replicas: is not a field here; did you mean minReplicas?",
        ),
        (
            {"backend": {"queue": {"url": "x"}}},
            "spec.backend.queue.url: is not a field here; remove it, or use one of",
        ),
        ({"concurrency": "16"}, "spec.concurrency: input should be a valid integer, but it is '16'"),
        ({"concurrency": 0}, "spec.concurrency: input should be greater than or equal to 1, but it is 0"),
        (
            {"app": "shop.flows"},
            "spec.app: 'shop.flows' is not allowed. The application in the image, as module:attribute",
        ),
        (
            {"scaling": {"cooldown": "1 minute"}},
            "spec.scaling.cooldown: '1 minute' is not a duration; write it like 30s",
        ),
        (
            {"scaling": {"pollInterval": "0s"}},
            "spec.scaling.pollInterval: must be longer than zero, for example 1s",
        ),
        ({"scaling": []}, "spec.scaling: must be an object, but is []"),
        (
            {"backend": {"redis": {"url": {}}}},
            "spec.backend.redis.url: give exactly one of value and secretKeyRef",
        ),
        (
            {"backend": {"redis": {"url": {"value": "redis://:pw@host"}}}},
            "spec.backend.redis.url.value: 'redis://:pw@host' is not allowed",
        ),
        (
            {"backend": {"queue": {"connectionString": secret("a"), "accountUrl": "https://a"}}},
            "spec.backend.queue: give connectionString or accountUrl, not both",
        ),
        (
            {"backend": {"cosmos": {"connectionString": secret("a"), "endpoint": "https://a"}}},
            "spec.backend.cosmos: give connectionString, or endpoint",
        ),
        (
            {"backend": {"queue": {"name": "Shop_Orders"}}},
            "spec.backend.queue.name: 'Shop_Orders' is not allowed",
        ),
        ({"image": ""}, "spec.image: string should have at least 1 character"),
    ],
)
def test_a_mistake_in_a_pool_is_named(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(ManifestError) as caught:
        parse_worker_pool(pool(**spec))
    assert str(caught.value).startswith(f"FlowcraftWorkerPool orders: {message}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"inputs": {}}, "spec.inputs: is not a field here; did you mean input?"),
        ({"input": [1]}, "spec.input: must be an object, but is [1]"),
        ({"input": {"at": object()}}, "spec.input.at: input was not a valid JSON value"),
        ({"blueprint": {}}, "spec.blueprint: give exactly one of name, inline and configMapRef"),
        (
            {"blueprint": {"name": "a", "inline": {}}},
            "spec.blueprint: give exactly one of name, inline and configMapRef",
        ),
        ({"blueprint": {"inline": {}, "version": "1"}}, "spec.blueprint: version belongs to name"),
        (
            {"blueprint": {"name": "a", "version": 1}},
            'spec.blueprint.version: must be text: write "1"',
        ),
        ({"poolRef": {}}, "spec.poolRef.name: is required; add it"),
        (
            {"poolRef": {"name": "Orders"}},
            "spec.poolRef.name: 'Orders' is not allowed. The name of a FlowcraftWorkerPool",
        ),
        ({"deadline": "0s"}, "spec.deadline: must be longer than zero"),
        ({"decisions": [{"action": "ok"}]}, "spec.decisions[0].nodeKey: is required; add it"),
        (
            {"decisions": [{"nodeKey": "a", "actoin": "x"}]},
            "spec.decisions[0].actoin: is not a field here; did you mean action?",
        ),
        (
            {"decisions": [{"nodeKey": "a"}, {"nodeKey": "a"}]},
            "spec: decisions has more than one entry for the node key a",
        ),
        ({"suspend": "yes"}, "spec.suspend: input should be a valid boolean, but it is 'yes'"),
    ],
)
def test_a_mistake_in_a_run_is_named(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(ManifestError) as caught:
        parse_workflow_run(run(**spec))
    assert str(caught.value).startswith(f"WorkflowRun order-1001: {message}")


def test_several_mistakes_are_one_line() -> None:
    with pytest.raises(ManifestError) as caught:
        parse_worker_pool(pool(concurrency=0, **{f"wrong{i}": 1 for i in range(6)}))
    assert str(caught.value).count("; ") >= 5
    assert str(caught.value).endswith("and 2 more")


def test_another_kind_is_refused_by_what_was_expected() -> None:
    expected = (
        "expected apiVersion: flowcraft.io/v1alpha1 and kind: WorkflowRun, "
        "but the manifest has apiVersion: v1 and kind: Pod"
    )
    with pytest.raises(ManifestError, match=expected):
        parse_workflow_run({"apiVersion": "v1", "kind": "Pod"})
    with pytest.raises(ManifestError, match="must be an object with apiVersion, kind, metadata and spec"):
        parse_workflow_run([])  # type: ignore[arg-type]


def test_a_manifest_without_spec_or_name_is_told_so() -> None:
    with pytest.raises(ManifestError, match=r"^WorkflowRun x: spec: is required; add it$"):
        parse_workflow_run({"apiVersion": API_VERSION, "kind": "WorkflowRun", "metadata": {"name": "x"}})
    with pytest.raises(ManifestError, match=r"^WorkflowRun: metadata: is required; add it"):
        parse_workflow_run({"apiVersion": API_VERSION, "kind": "WorkflowRun"})


@pytest.mark.parametrize("name", ["a" * 48, "a.b", "Orders"])
def test_a_pool_name_must_fit_into_the_names_of_its_pods(name: str) -> None:
    with pytest.raises(ManifestError, match=r"metadata\.name"):
        parse_worker_pool(pool() | {"metadata": {"name": name}})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**31), 2**31) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=8), json_values, max_size=5))
def test_any_json_object_is_an_input(value: dict[str, Any]) -> None:
    assert parse_workflow_run(run(input=value)).to_document()["spec"]["input"] == value


@given(st.sampled_from(["spec", "metadata"]), st.text(min_size=1, max_size=10), json_values)
def test_no_manifest_ends_in_another_error(part: str, field: str, value: Any) -> None:
    document = copy.deepcopy(run())
    document[part][field] = value
    with contextlib.suppress(ManifestError):
        parse_workflow_run(document)
