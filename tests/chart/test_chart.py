"""The chart: what it makes of its values, and what it refuses."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import pytest
import yaml
from tests.chart.rendering import CHART, RefusedError, helm, of_kind, render

from flowcraft_operator.kube import resources
from flowcraft_operator.kube.resources import Resource
from flowcraft_operator.manifests.backend_sources import BACKEND_SETTINGS
from flowcraft_operator.settings import OperatorSettings

pytestmark = [
    pytest.mark.cluster,  # where helm is: `make e2e` builds it with the cluster
    pytest.mark.skipif(
        helm() is None, reason="no helm: `make cluster` builds it once; or set FLOWCRAFT_HELM"
    ),
]

BACKEND: dict[str, Any] = {
    "queue": {"connectionString": "AccountName=a;AccountKey=secret-one"},
    "cosmos": {
        "endpoint": "https://shop.documents.azure.com",
        "key": "secret-two",
        "database": "orders",
        "contextContainer": "c",
        "statusContainer": "s",
    },
    "redis": {"url": "rediss://:secret-three@host:6380/0"},
}


def container(documents: list[dict[str, Any]], kind: str = "Deployment") -> dict[str, Any]:
    found: dict[str, Any] = of_kind(documents, kind)[0]["spec"]["template"]["spec"]["containers"][0]
    return found


def environment(documents: list[dict[str, Any]]) -> dict[str, Any]:
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container(documents)["env"]}


def test_helm_finds_no_fault() -> None:
    done = subprocess.run(
        [str(helm()), "lint", "--strict", str(CHART)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_every_value_that_the_schema_knows_is_in_values_yaml_with_its_meaning() -> None:
    text = (CHART / "values.yaml").read_text()
    schema = yaml.safe_load((CHART / "values.schema.json").read_text())

    def check(known: dict[str, Any], values: dict[str, Any], place: str) -> None:
        assert known.keys() - {"global"} == values.keys(), place
        for name, each in known.items():
            if "properties" in each:
                assert each["additionalProperties"] is False, f"{place}{name}"
                check(each["properties"], values[name], f"{place}{name}.")

    check(schema["properties"], yaml.safe_load(text), "")
    undocumented = re.findall(r"\n(?! *#)[^\n]*\n( *[a-zA-Z]+: (?!\{\}$).+)$", text, re.M)
    assert [line for line in undocumented if "cpu" not in line and "memory" not in line] == []


@pytest.mark.parametrize(
    "values",
    [
        {"imagee": {}},
        {"image": {"tagg": "1"}},
        {"backend": {"queue": {"connectionstring": "x"}}},
        {"watchNamespaces": ["Not A Name"]},
        {"logging": {"level": "loud"}},
        {"image": {"digest": "latest"}},
        {"image": {"tag": "1.0 "}},
        {"fullnameOverride": "My_Name"},
        {"serviceAccount": {"name": "no name"}},
        {"extraEnv": [{"value": "of nothing"}]},
        {"backend": {"cosmos": {"database": "a/b"}}},
        {"backend": None},
        {"backend": {"redis": None}},
    ],
)
def test_misspelt_and_impossible_values_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(RefusedError, match="values don't meet the specifications"):
        render(values)


def test_names_of_digits_and_words_that_yaml_reads_otherwise_stay_text() -> None:
    values = {
        "watchNamespaces": ["2024", "true", "1e3"],
        "serviceAccount": {"name": "77"},
        "priorityClassName": "77",
        "nameOverride": "77",
        "backend": {"existingSecret": "77", "redis": {"url": 'redis://:a"b\\c\n{{ d }}@h:1/0'}},
        "metrics": {"podMonitor": {"enabled": True}},
    }
    for fullname in ("", "77"):
        documents = render(values | {"fullnameOverride": fullname}, release="42", namespace="2024")
        for document in documents:
            metadata = document["metadata"]
            pod = document.get("spec", {}).get("template", {})
            texts = [
                metadata["name"],
                metadata.get("namespace", ""),
                *metadata.get("labels", {}).values(),
                *pod.get("metadata", {}).get("labels", {}).values(),
                *(pod.get("spec", {}).get(name, "") for name in ("serviceAccountName", "priorityClassName")),
                *(value for each in document.get("subjects", ()) for value in each.values()),
                *document.get("roleRef", {}).values(),
            ]
            assert [text for text in texts if not isinstance(text, str)] == [], document["kind"]
        assert container(documents)["envFrom"] == [{"secretRef": {"name": "77"}}]
        secret = of_kind(documents, "Secret")[0]["stringData"]["FLOWCRAFT_REDIS_URL"]
        assert secret == values["backend"]["redis"]["url"]  # type: ignore[index]


def test_a_release_with_a_dot_makes_names_that_a_service_may_have() -> None:
    assert of_kind(render(release="shop.v2"), "Service")[0]["metadata"]["name"].startswith("shop-v2-")


def test_the_account_of_all_pods_is_never_given_the_operators_rights() -> None:
    with pytest.raises(RefusedError, match=r"serviceAccount.name is needed"):
        render({"serviceAccount": {"create": False}})
    documents = render({"serviceAccount": {"create": False, "name": "own"}})
    assert {each["subjects"][0]["name"] for each in of_kind(documents, "ClusterRoleBinding")} == {"own"}


def test_annotations_of_ones_own_do_not_hide_that_secrets_changed() -> None:
    given = {"podAnnotations": {"checksum/backend": "mine", "other": "yes"}}
    template = of_kind(render(given), "Deployment")[0]["spec"]["template"]
    assert template["metadata"]["annotations"]["checksum/backend"] != "mine"
    assert template["metadata"]["annotations"]["other"] == "yes"


def test_pods_meet_the_restricted_standard() -> None:
    documents = render()
    for kind in ("Deployment", "Job"):
        pod = of_kind(documents, kind)[0]["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        context = container(documents, kind)["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["readOnlyRootFilesystem"] is True
        assert container(documents, kind)["resources"]["limits"]["memory"]


def test_one_operator_at_a_time_with_probes() -> None:
    deployment = of_kind(render(), "Deployment")[0]["spec"]
    assert (deployment["replicas"], deployment["strategy"]) == (1, {"type": "Recreate"})
    probes = container(render())
    assert probes["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert probes["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_secrets_of_the_values_go_into_a_secret_only() -> None:
    documents = render({"backend": BACKEND})
    secret = of_kind(documents, "Secret")[0]
    assert secret["stringData"] == {
        "FLOWCRAFT_QUEUE_CONNECTION_STRING": "AccountName=a;AccountKey=secret-one",
        "FLOWCRAFT_COSMOS_KEY": "secret-two",
        "FLOWCRAFT_REDIS_URL": "rediss://:secret-three@host:6380/0",
    }
    others = yaml.safe_dump_all([each for each in documents if each["kind"] != "Secret"])
    assert "secret-" not in others
    given = environment(documents)
    assert given["FLOWCRAFT_REDIS_URL"] == {
        "secretKeyRef": {"name": secret["metadata"]["name"], "key": "FLOWCRAFT_REDIS_URL"}
    }
    assert given["FLOWCRAFT_COSMOS_DATABASE"] == "orders"
    assert set(given) & set(BACKEND_SETTINGS) == set(BACKEND_SETTINGS) - {
        "FLOWCRAFT_QUEUE_ACCOUNT_URL",
        "FLOWCRAFT_COSMOS_CONNECTION_STRING",
    }


def test_the_pod_changes_with_its_secrets() -> None:
    def annotation(values: dict[str, Any]) -> str:
        template = of_kind(render(values), "Deployment")[0]["spec"]["template"]
        return str(template["metadata"]["annotations"]["checksum/backend"])

    assert annotation({}) != annotation({"backend": BACKEND})


def test_a_secret_of_ones_own_is_taken_whole() -> None:
    documents = render({"backend": {"existingSecret": "azure"}})
    assert not of_kind(documents, "Secret")
    assert container(documents)["envFrom"] == [{"secretRef": {"name": "azure"}}]


def test_the_operator_understands_the_environment_that_it_is_given() -> None:
    values = {
        "backend": BACKEND,
        "watchNamespaces": ["a", "b"],
        "logging": {"level": "debug", "format": "text"},
    }
    given = {
        name: value if isinstance(value, str) else "AccountName=a;AccountKey=k"
        for name, value in environment(render(values)).items()
    }
    settings = OperatorSettings.from_environment(given)
    assert settings.watch_namespaces == ("a", "b")
    assert (settings.log_level, settings.log_format) == ("DEBUG", "text")
    assert settings.backend_defaults["FLOWCRAFT_COSMOS_ENDPOINT"] == "https://shop.documents.azure.com"


USED: dict[Resource, set[str]] = {
    resources.WORKFLOW_RUNS: {"get", "list", "watch", "patch"},
    resources.WORKER_POOLS: {"get", "list", "watch", "patch"},
    resources.DEPLOYMENTS: {"get", "create", "patch"},
    resources.SERVICE_ACCOUNTS: {"create", "patch"},
    resources.SECRETS: {"get", "create", "patch"},
    resources.CONFIG_MAPS: {"get"},
    resources.PODS: {"list"},
    resources.EVENTS: {"get", "create", "patch"},
}
"""What the operator does to each resource."""


def rules(role: dict[str, Any]) -> dict[tuple[str, str], set[str]]:
    allowed: dict[tuple[str, str], set[str]] = {}
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                allowed.setdefault((group, resource), set()).update(rule["verbs"])
    return allowed


@pytest.mark.parametrize("values", [{}, {"watchNamespaces": ["a"]}])
def test_the_operator_may_do_what_it_does_and_roles_have_no_wildcard(values: dict[str, Any]) -> None:
    documents = render(values)
    roles = [*of_kind(documents, "Role"), *of_kind(documents, "ClusterRole")]
    for role in roles:
        assert "*" not in yaml.safe_dump(role["rules"])
    own = next(role for role in roles if ("flowcraft.io", "workflowruns/status") in rules(role))
    for resource, verbs in USED.items():
        assert verbs <= rules(own)[resource.group, resource.plural], resource.plural


def test_with_namespaces_given_there_is_no_right_beyond_them() -> None:
    documents = render({"watchNamespaces": ["a", "b"], "rbac": {"aggregate": False}})
    assert not of_kind(documents, "ClusterRole")
    assert not of_kind(documents, "ClusterRoleBinding")
    own = [role for role in of_kind(documents, "Role") if not role["metadata"]["name"].endswith("-uninstall")]
    assert [role["metadata"]["namespace"] for role in own] == ["a", "b"]
    assert environment(documents)["FLOWCRAFT_WATCH_NAMESPACES"] == "a,b"


def test_people_get_their_rights_through_view_and_edit() -> None:
    roles = {role["metadata"]["name"]: role for role in of_kind(render(), "ClusterRole")}
    view = next(role for name, role in roles.items() if name.endswith("-view"))
    edit = next(role for name, role in roles.items() if name.endswith("-edit"))
    assert view["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-view"] == "true"
    assert "rbac.authorization.k8s.io/aggregate-to-view" not in edit["metadata"]["labels"]
    assert rules(view)["flowcraft.io", "workflowruns"] == {"get", "list", "watch"}
    assert "delete" in rules(edit)["flowcraft.io", "workflowruns"]


def test_the_definitions_upgrade_with_the_chart_and_stay_on_uninstall() -> None:
    definitions = of_kind(render(), "CustomResourceDefinition")
    assert len(definitions) == 2
    for definition in definitions:
        assert definition["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert not of_kind(render({"crds": {"install": False}}), "CustomResourceDefinition")


def test_before_uninstalling_the_operator_is_stopped_and_finalizers_are_taken_off() -> None:
    job = of_kind(render(), "Job")[0]
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-delete"
    name = of_kind(render(), "Deployment")[0]["metadata"]["name"]
    assert container(render(), "Job")["args"] == ["--stop", f"flowcraft-system/{name}"]
    hook = next(role for role in of_kind(render(), "Role") if role["metadata"]["name"].endswith("-uninstall"))
    assert hook["rules"][0]["resourceNames"] == [name]
    assert not of_kind(render({"uninstallHook": {"enabled": False}}), "Job")


def test_an_image_by_digest_wins_over_the_tag() -> None:
    digest = "sha256:" + "0" * 64
    assert container(render({"image": {"repository": "r", "tag": "1"}}))["image"] == "r:1"
    assert (
        container(render({"image": {"repository": "r", "tag": "1", "digest": digest}}))["image"]
        == f"r@{digest}"
    )


def test_workload_identity_needs_no_secret() -> None:
    values = {
        "workloadIdentity": {"enabled": True},
        "serviceAccount": {"annotations": {"azure.workload.identity/client-id": "123"}},
        "backend": {"queue": {"accountUrl": "https://shop.queue.core.windows.net"}},
    }
    documents = render(values)
    assert not of_kind(documents, "Secret")
    labels = of_kind(documents, "Deployment")[0]["spec"]["template"]["metadata"]["labels"]
    assert labels["azure.workload.identity/use"] == "true"
    assert of_kind(documents, "ServiceAccount")[0]["metadata"]["annotations"]
