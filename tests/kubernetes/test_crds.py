"""A real API server accepts the custom resource definitions, and refuses what they are meant to refuse.

`kubectl` and `helm` are taken from the path and the cluster from KUBECONFIG: `tests/cluster/cluster exec`
sets both.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "flowcraft-operator"


class Refused(Exception):  # noqa: N818 - an answer that tests expect, not an error of this program
    """The API server said no; the text is its answer."""


class Kubernetes:
    """One namespace of a real cluster, through kubectl."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def run(self, *arguments: str, document: Any = None) -> str:
        completed = subprocess.run(
            ["kubectl", "--namespace", self.namespace, *arguments],
            input=None if document is None else json.dumps(document),
            capture_output=True,
            text=True,
            check=False,
            timeout=50,
        )
        if completed.returncode:
            raise Refused(completed.stderr)
        return completed.stdout

    def apply(self, document: dict[str, Any]) -> dict[str, Any]:
        return dict(json.loads(self.run("apply", "-f", "-", "-o", "json", document=document)))

    def patch(self, kind: str, name: str, spec: dict[str, Any], *options: str) -> dict[str, Any]:
        patch = json.dumps({"spec": spec})
        return dict(
            json.loads(self.run("patch", kind, name, "--type=merge", "-p", patch, "-o", "json", *options))
        )


def manifest(kind: str, name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "flowcraft.io/v1alpha1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec,
    }


def pool(name: str, **spec: Any) -> dict[str, Any]:
    return manifest("FlowcraftWorkerPool", name, image="localhost/none:1", app="none.flows:app", **spec)


def order(name: str, **spec: Any) -> dict[str, Any]:
    wanted = {"poolRef": {"name": "nobody"}, "blueprint": {"name": "order"}, "input": {"amount": 42}}
    return manifest("WorkflowRun", name, **(wanted | spec))


@pytest.fixture(scope="module")
def kubernetes() -> Iterator[Kubernetes]:
    if not (os.environ.get("KUBECONFIG") and shutil.which("kubectl")):
        pytest.skip("no cluster: run through `tests/cluster/cluster exec`")
    cluster = Kubernetes(f"crds-{uuid.uuid4().hex[:8]}")
    files = str(ROOT / "crds")
    # Definitions that a chart has installed belong to its release: they are looked at, never touched.
    own = not cluster.run("get", "--ignore-not-found", "-o", "name", "-f", files)
    if own:
        cluster.run("create", "-f", files)
    cluster.run("wait", "--for=condition=Established", "--timeout=30s", "-f", files)
    cluster.run("create", "namespace", cluster.namespace)
    yield cluster
    if own:
        cluster.run("delete", "-f", files, "--timeout=40s")
    cluster.run("delete", "namespace", cluster.namespace, "--wait=false")


@pytest.fixture(scope="module")
def policy(kubernetes: Kubernetes) -> Iterator[None]:
    """The chart's admission policy, in effect."""
    if not shutil.which("helm"):
        pytest.skip("no helm: run through `tests/cluster/cluster exec`")
    rendered = subprocess.run(
        [
            "helm",
            "template",
            kubernetes.namespace,
            str(CHART),
            "--show-only",
            "templates/admission-policy.yaml",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    policies = {"apiVersion": "v1", "kind": "List", "items": list(yaml.safe_load_all(rendered))}
    kubernetes.run("apply", "-f", "-", document=policies)
    kubernetes.apply(order("probe"))
    # A policy is in effect a moment after it is stored, and nothing in the API tells when.
    ends = time.monotonic() + 30
    while time.monotonic() < ends:
        try:
            kubernetes.patch("wfr", "probe", {"input": {"amount": None, "x": 1}}, "--dry-run=server")
        except Refused:
            break
    else:
        pytest.fail("the policy was not in effect after 30 s")
    yield
    kubernetes.run("delete", "-f", "-", document=policies)


def test_the_examples_are_accepted_twice_as_the_same_objects(kubernetes: Kubernetes) -> None:
    for name in ("pool.yaml", "pool-secrets.yaml", "pool-identity.yaml", "run.yaml", "runs.yaml"):
        file = str(ROOT / "examples" / "shop" / name)
        kubernetes.run("create", "--dry-run=server", "-f", file)
    first = kubernetes.apply(order("twice"))
    second = kubernetes.apply(order("twice"))
    assert first["metadata"]["uid"] == second["metadata"]["uid"]
    assert first["metadata"]["generation"] == second["metadata"]["generation"] == 1


def test_defaults_are_filled_in(kubernetes: Kubernetes) -> None:
    spec = kubernetes.apply(pool("defaults", scaling={"maxReplicas": 5}))["spec"]
    assert spec["concurrency"] == 16
    assert spec["scaling"] == {"minReplicas": 0, "maxReplicas": 5, "pollInterval": "2s", "cooldown": "60s"}
    assert spec["retention"] == {"ttlAfterFinished": "168h"}
    run = kubernetes.apply(
        manifest("WorkflowRun", "defaults", poolRef={"name": "x"}, blueprint={"name": "y"})
    )
    assert (run["spec"]["input"], run["spec"]["suspend"], run["spec"]["cancel"]) == ({}, False, False)


@pytest.mark.parametrize(
    ("document", "answer"),
    [
        (
            pool("bad", scaling={"minReplicas": 5, "maxReplicas": 3}),
            "minReplicas must not be more than maxReplicas",
        ),
        (pool("bad", scaling={"minReplicas": 21}), "minReplicas must not be more than maxReplicas"),
        (pool("bad", scaling={"pollInterval": "0s"}), "must be longer than zero"),
        (pool("bad", scaling={"pollInterval": "2 s"}), "spec.scaling.pollInterval"),
        (pool("bad", scalling={}), 'unknown field "spec.scalling"'),
        (pool("bad", backend={"redis": {"url": {}}}), "give exactly one of value and secretKeyRef"),
        (pool("bad", concurrency=0), "should be greater than or equal to 1"),
        (pool("a" * 48), "a pool's name has at most 47 characters"),
        (pool("a.b"), "a pool's name has at most 47 characters"),
        (order("bad", blueprint={}), "give exactly one of name, inline and configMapRef"),
        (
            order("bad", blueprint={"name": "a", "inline": {}}),
            "give exactly one of name, inline and configMapRef",
        ),
        (order("bad", blueprint={"inline": {}, "version": "1"}), "version belongs to name"),
        (order("bad", input=[1]), "spec.input"),
        (order("bad", deadline="0s"), "must be longer than zero"),
        (order("bad", decisions=[{"nodeKey": "a"}, {"nodeKey": "a"}]), "Duplicate value"),
        (order("bad", inputs={}), 'unknown field "spec.inputs"'),
    ],
)
def test_a_wrong_manifest_is_refused(kubernetes: Kubernetes, document: dict[str, Any], answer: str) -> None:
    with pytest.raises(Refused, match=answer):
        kubernetes.apply(document)


def test_what_a_run_is_cannot_be_changed(kubernetes: Kubernetes) -> None:
    kubernetes.apply(order("fixed"))
    for change in ({"poolRef": {"name": "b"}}, {"blueprint": {"version": "2"}}, {"input": {"amount": 43}}):
        with pytest.raises(Refused, match="is immutable: delete the run and apply it again"):
            kubernetes.patch("wfr", "fixed", change)
    changed = kubernetes.patch("wfr", "fixed", {"suspend": True, "deadline": "2h", "cancel": True})
    assert changed["spec"]["suspend"] is True
    assert kubernetes.patch("wfr", "fixed", {"cancel": False})["spec"]["cancel"] is False


def test_a_decision_is_added_but_not_changed(kubernetes: Kubernetes) -> None:
    kubernetes.apply(order("decided"))
    ada = {"nodeKey": "approve", "action": "approved", "output": {"by": "ada"}}
    kubernetes.patch("wfr", "decided", {"decisions": [ada]})
    kubernetes.patch("wfr", "decided", {"decisions": [{"nodeKey": "pack"}, ada]})
    with pytest.raises(Refused, match="a decision that was given cannot be changed"):
        kubernetes.patch("wfr", "decided", {"decisions": [{"nodeKey": "pack"}, ada | {"action": "denied"}]})
    kubernetes.patch("wfr", "decided", {"decisions": []})


def test_the_floor_of_a_pool_is_what_scale_sets(kubernetes: Kubernetes) -> None:
    kubernetes.apply(pool("scaled", scaling={"maxReplicas": 5}))
    kubernetes.run("scale", "fwp", "scaled", "--replicas=3")
    spec = json.loads(kubernetes.run("get", "fwp", "scaled", "-o", "json"))["spec"]
    assert spec["scaling"]["minReplicas"] == 3
    with pytest.raises(Refused, match="minReplicas must not be more than maxReplicas"):
        kubernetes.run("scale", "fwp", "scaled", "--replicas=6")


def test_tables_have_the_promised_columns(kubernetes: Kubernetes) -> None:
    kubernetes.apply(pool("shown"))
    kubernetes.apply(order("shown"))
    runs = kubernetes.run("get", "workflowruns").splitlines()[0].split()
    pools = kubernetes.run("get", "flowcraftworkerpools").splitlines()[0].split()
    assert runs == ["NAME", "POOL", "BLUEPRINT", "STATUS", "PROGRESS", "DURATION", "AGE"]
    assert pools == ["NAME", "READY", "REPLICAS", "DESIRED", "QUEUE", "RUNNING", "AGE"]
    both = kubernetes.run("get", "flowcraft", "-o", "name")
    assert {"flowcraftworkerpool.flowcraft.io/shown", "workflowrun.flowcraft.io/shown"} <= set(both.split())
    selected = kubernetes.run("get", "wfr", "--field-selector", "spec.poolRef.name=other", "-o", "name")
    assert selected == ""


def test_explain_reads_well(kubernetes: Kubernetes) -> None:
    text = " ".join(kubernetes.run("explain", "workflowrun.spec").split())
    assert "How long the run may take, counted from its acceptance, for example 1h." in text
    pool_text = " ".join(kubernetes.run("explain", "fwp.spec.scaling.minReplicas").split())
    assert "This is what `kubectl scale` sets." in pool_text


@pytest.mark.usefixtures("policy")
def test_the_policy_sees_what_the_definitions_cannot(kubernetes: Kubernetes) -> None:
    kubernetes.apply(order("pinned"))
    renamed = {"input": {"amount": None, "amounts": 42}}
    with pytest.raises(Refused, match=r"ValidatingAdmissionPolicy .* spec\.input is immutable"):
        kubernetes.patch("wfr", "pinned", renamed)
    kubernetes.apply(order("inline", blueprint={"inline": {"id": "a", "nodes": []}}))
    with pytest.raises(Refused, match=r"ValidatingAdmissionPolicy .* spec\.blueprint\.inline is immutable"):
        kubernetes.patch("wfr", "inline", {"blueprint": {"inline": {"nodes": None, "node": []}}})
    changed = kubernetes.patch("wfr", "pinned", {"suspend": True})
    assert changed["spec"]["input"] == {"amount": 42}
    decided = {"decisions": [{"nodeKey": "a", "output": {"by": "ada"}}]}
    kubernetes.patch("wfr", "pinned", decided)
    with pytest.raises(Refused, match="a decision that was given cannot be changed"):
        kubernetes.patch("wfr", "pinned", {"decisions": [{"nodeKey": "a", "output": {"yb": "ada"}}]})
