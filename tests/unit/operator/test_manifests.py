from __future__ import annotations

from typing import Any

from flowcraft_api.backend import BackendSpec
from flowcraft_api.worker_pool import WorkerPoolSpec
from flowcraft_cli.settings import described
from flowcraft_operator.manifests.backend_sources import (
    COSMOS_CONNECTION_STRING,
    COSMOS_DATABASE,
    COSMOS_ENDPOINT,
    COSMOS_KEY,
    QUEUE_NAME,
    REDIS_URL,
    STORAGE_ACCOUNT_URL,
    STORAGE_CONNECTION_STRING,
    FromOperator,
    FromSecret,
    Plain,
    backend_sources,
)
from flowcraft_operator.manifests.identity import PoolIdentity
from flowcraft_operator.manifests.worker_deployment import (
    DRAIN_S,
    TERMINATION_GRACE_S,
    operator_secret,
    service_account,
    settings_hash,
    worker_deployment,
)

POOL = PoolIdentity("shop", "orders", "u1")
DEFAULTS = {
    STORAGE_CONNECTION_STRING: "AccountName=a;AccountKey=k",
    COSMOS_ENDPOINT: "https://c",
    COSMOS_KEY: "ck",
    COSMOS_DATABASE: "default-db",
    REDIS_URL: "redis://:p@r",
}


def spec(**fields: Any) -> WorkerPoolSpec:
    document = {"image": "example/shop:1", "app": "shop.flows:app", **fields}
    return WorkerPoolSpec.model_validate(document)


def sources(defaults: dict[str, str] | None = None, **backend: Any) -> Any:
    given = DEFAULTS if defaults is None else defaults
    return backend_sources("shop", "orders", spec(backend=backend), given)


class TestBackendSources:
    def test_a_pool_that_says_nothing_takes_the_operators_own(self) -> None:
        found = sources()
        assert found[QUEUE_NAME] == Plain("shop-orders")
        assert found[STORAGE_CONNECTION_STRING] == FromOperator(DEFAULTS[STORAGE_CONNECTION_STRING])
        assert found[COSMOS_ENDPOINT] == Plain("https://c")
        assert found[COSMOS_KEY] == FromOperator("ck")
        assert found[REDIS_URL] == FromOperator("redis://:p@r")

    def test_a_pools_own_way_in_takes_nothing_of_the_operators(self) -> None:
        reference = {"secretKeyRef": {"name": "azure", "key": "cosmos"}}
        found = sources(
            queue={"accountUrl": "https://q"}, cosmos={"connectionString": reference, "database": "own"}
        )
        assert found[STORAGE_ACCOUNT_URL] == Plain("https://q")
        assert STORAGE_CONNECTION_STRING not in found
        assert found[COSMOS_CONNECTION_STRING] == FromSecret("azure", "cosmos")
        assert COSMOS_ENDPOINT not in found
        assert COSMOS_KEY not in found
        assert found[COSMOS_DATABASE] == Plain("own")

    def test_an_endpoint_without_key_signs_in_with_the_identity(self) -> None:
        found = sources(cosmos={"endpoint": "https://own"})
        assert found[COSMOS_ENDPOINT] == Plain("https://own")
        assert COSMOS_KEY not in found

    def test_a_name_alone_keeps_the_operators_way_in(self) -> None:
        found = sources(queue={"name": "shop-queue"}, cosmos={"database": "own"})
        assert found[QUEUE_NAME] == Plain("shop-queue")
        assert STORAGE_CONNECTION_STRING in found
        assert found[COSMOS_DATABASE] == Plain("own")

    def test_redis_may_be_plain_or_secret(self) -> None:
        assert sources(redis={"url": {"value": "redis://r"}})[REDIS_URL] == Plain("redis://r")
        secret = {"secretKeyRef": {"name": "azure", "key": "redis"}}
        assert sources(redis={"url": secret})[REDIS_URL] == FromSecret("azure", "redis")

    def test_without_defaults_nothing_is_made_up(self) -> None:
        assert set(sources({})) == {QUEUE_NAME}

    def test_a_secret_is_not_shown(self) -> None:
        assert "ck" not in repr(sources())


def deployment(wanted: WorkerPoolSpec | None = None, **more: Any) -> dict[str, Any]:
    given = wanted or spec()
    found = backend_sources("shop", "orders", given, DEFAULTS)
    return worker_deployment(POOL, given, found, replicas=2, **more)


def pod(wanted: WorkerPoolSpec | None = None) -> dict[str, Any]:
    return dict(deployment(wanted)["spec"]["template"]["spec"])


def worker(wanted: WorkerPoolSpec | None = None) -> dict[str, Any]:
    return next(each for each in pod(wanted)["containers"] if each["name"] == "worker")


class TestDeployment:
    def test_it_runs_the_pools_application(self) -> None:
        made = worker(spec(concurrency=4, poison={"maxDeliveries": 9}))
        assert made["image"] == "example/shop:1"
        assert [*made["command"], *made["args"]] == [
            "flowcraft",
            "worker",
            "--app",
            "shop.flows:app",
            "--backend",
            "azure",
        ]
        given = {each["name"]: each.get("value") for each in made["env"]}
        assert given["FLOWCRAFT_CONCURRENCY"] == "4"
        assert given["FLOWCRAFT_MAX_DELIVERIES"] == "9"
        assert given["FLOWCRAFT_QUEUE"] == "shop-orders"

    def test_every_variable_is_one_that_a_worker_reads(self) -> None:
        known = {each.variable for each in described()} | set(DEFAULTS) | {"FLOWCRAFT_IDENTITY_CLIENT_ID"}
        identity = spec(backend={"identity": {"clientId": "123"}})
        assert {each["name"] for each in worker(identity)["env"]} <= known

    def test_no_secret_stands_in_it(self) -> None:
        text = repr(deployment())
        assert "AccountKey" not in text
        assert "redis://" not in text

    def test_it_meets_the_restricted_standard_and_may_do_nothing_in_the_cluster(self) -> None:
        context = worker()["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert pod()["securityContext"]["runAsNonRoot"] is True
        assert pod()["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod()["automountServiceAccountToken"] is False
        assert service_account(POOL, spec())["automountServiceAccountToken"] is False

    def test_a_worker_has_time_to_drain(self) -> None:
        assert pod()["terminationGracePeriodSeconds"] == TERMINATION_GRACE_S > DRAIN_S + 10

    def test_probes_ask_the_workers_health_port(self) -> None:
        made = worker()
        assert made["livenessProbe"]["httpGet"] == {"path": "/livez", "port": "health"}
        assert made["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "health"}
        assert made["ports"][0]["name"] == "health"

    def test_it_goes_when_the_pool_goes(self) -> None:
        owner = deployment()["metadata"]["ownerReferences"][0]
        assert (owner["kind"], owner["name"], owner["uid"]) == ("FlowcraftWorkerPool", "orders", "u1")
        assert POOL.owns(deployment())
        assert not PoolIdentity("shop", "orders", "u2").owns(deployment())

    def test_the_overlay_lies_on_top_but_cannot_take_the_pods_from_their_deployment(self) -> None:
        template = {
            "metadata": {
                "labels": {"team": "shop", "flowcraft.io/pool": "other"},
                "annotations": {"note": "x"},
            },
            "spec": {
                "containers": [{"name": "worker", "resources": {"limits": {"memory": "2Gi"}}}],
                "nodeSelector": {"pool": "shop"},
            },
        }
        made = deployment(spec(template=template), settings_hash="h")["spec"]
        labels = made["template"]["metadata"]["labels"]
        assert labels["team"] == "shop"
        assert made["selector"]["matchLabels"].items() <= labels.items()
        assert made["template"]["metadata"]["annotations"] == {
            "note": "x",
            "flowcraft.io/settings-hash": "h",
        }
        assert made["template"]["spec"]["nodeSelector"] == {"pool": "shop"}
        limits = made["template"]["spec"]["containers"][0]["resources"]
        assert limits["limits"]["memory"] == "2Gi"
        assert limits["requests"]

    def test_an_identity_needs_no_secret(self) -> None:
        backend = {
            "queue": {"accountUrl": "https://q"},
            "cosmos": {"endpoint": "https://c"},
            "redis": {"url": {"value": "redis://r"}},
            "identity": {"clientId": "123"},
        }
        wanted = spec(backend=backend)
        found = backend_sources("shop", "orders", wanted, DEFAULTS)
        assert operator_secret(POOL, found) is None
        labels = deployment(wanted)["spec"]["template"]["metadata"]["labels"]
        assert labels["azure.workload.identity/use"] == "true"
        annotations = service_account(POOL, wanted)["metadata"]["annotations"]
        assert annotations == {"azure.workload.identity/client-id": "123"}


def test_the_operators_secrets_reach_the_workers_in_a_secret_of_the_pools() -> None:
    found = backend_sources("shop", "orders", spec(), DEFAULTS)
    secret = operator_secret(POOL, found)
    assert secret is not None
    assert secret["stringData"] == {
        STORAGE_CONNECTION_STRING: DEFAULTS[STORAGE_CONNECTION_STRING],
        COSMOS_KEY: "ck",
        REDIS_URL: "redis://:p@r",
    }
    assert secret["metadata"]["name"] == "orders-workers"


def test_the_hash_of_the_settings_changes_with_each_and_is_no_help_to_guess_them() -> None:
    one = settings_hash(POOL, {"A": "1", "B": "2"})
    assert one == settings_hash(POOL, {"B": "2", "A": "1"})
    assert one != settings_hash(POOL, {"A": "1", "B": "3"})
    assert one != settings_hash(PoolIdentity("shop", "orders", "u2"), {"A": "1", "B": "2"})


def test_a_backend_that_is_not_given_is_the_default_one() -> None:
    assert spec().backend == BackendSpec()
