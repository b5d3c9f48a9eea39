"""`kubectl explain` is the manual that every user has at hand."""

from __future__ import annotations

import pytest
from tests.kubernetes.e2e.scene import Scene

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(60)]


def words(text: str) -> str:
    return " ".join(text.split())


def test_explain_of_a_run_tells_each_field(scene: Scene) -> None:
    told = words(scene.kubectl("explain", "workflowrun.spec"))

    assert "KIND: WorkflowRun" in told
    for field in (
        "poolRef <Object> -required-",
        "deadline <string>",
        "suspend <boolean>",
        "decisions <[]Object>",
    ):
        assert field in told
    assert "How long the run may take, counted from its acceptance" in told
    assert "The answers to waiting nodes, one for each node key." in told


def test_explain_of_a_pool_tells_defaults_and_choices(scene: Scene) -> None:
    told = words(scene.kubectl("explain", "fwp.spec.scaling"))

    assert "How often the depth of the queue is measured." in told
    assert "With 0 an idle pool costs nothing." in told


def test_every_field_of_the_spec_has_a_text(scene: Scene) -> None:
    for resource in ("workflowrun.spec", "flowcraftworkerpool.spec"):
        assert "<no description>" not in scene.kubectl("explain", resource, "--recursive=false")
