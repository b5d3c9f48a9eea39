from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcraft_operator.manifests.overlay import OverlayError, laid_over

BASE: dict[str, Any] = {
    "serviceAccountName": "orders-workers",
    "containers": [
        {
            "name": "worker",
            "image": "example/shop:1",
            "env": [
                {"name": "A", "valueFrom": {"secretKeyRef": {"name": "azure", "key": "a"}}},
                {"name": "B", "value": "b"},
            ],
            "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
            "volumeMounts": [{"name": "tmp", "mountPath": "/data"}],
        }
    ],
    "volumes": [{"name": "tmp", "emptyDir": {}}],
}


def worker(**fields: Any) -> dict[str, Any]:
    return {"containers": [{"name": "worker", **fields}]}


def test_an_empty_overlay_changes_nothing() -> None:
    assert laid_over(BASE, {}) == BASE


def test_the_workers_container_is_found_by_its_name_and_merged_field_by_field() -> None:
    merged = laid_over(BASE, worker(resources={"limits": {"memory": "1Gi"}}))["containers"]
    assert len(merged) == 1
    assert merged[0]["image"] == "example/shop:1"
    assert merged[0]["resources"] == {
        "requests": {"cpu": "100m", "memory": "128Mi"},
        "limits": {"memory": "1Gi"},
    }


def test_a_variable_replaces_the_one_of_its_name_whole() -> None:
    env = laid_over(BASE, worker(env=[{"name": "A", "value": "a"}, {"name": "C", "value": "c"}]))
    assert env["containers"][0]["env"] == [
        {"name": "A", "value": "a"},
        {"name": "B", "value": "b"},
        {"name": "C", "value": "c"},
    ]


def test_another_container_and_another_volume_are_added() -> None:
    merged = laid_over(
        BASE,
        {
            "containers": [{"name": "sidecar", "image": "x"}],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "c"}}],
            "nodeSelector": {"pool": "shop"},
        },
    )
    assert [each["name"] for each in merged["containers"]] == ["worker", "sidecar"]
    assert [each["name"] for each in merged["volumes"]] == ["tmp", "data"]
    assert merged["nodeSelector"] == {"pool": "shop"}


def test_a_volume_of_another_kind_replaces_the_one_of_its_name() -> None:
    merged = laid_over(BASE, {"volumes": [{"name": "tmp", "hostPath": {"path": "/x"}}]})
    assert merged["volumes"] == [{"name": "tmp", "hostPath": {"path": "/x"}}]


def test_lists_without_keys_are_replaced_and_null_removes() -> None:
    base = {**BASE, "tolerations": [{"key": "a"}]}
    assert laid_over(base, {"tolerations": [{"key": "b"}]})["tolerations"] == [{"key": "b"}]
    assert "tolerations" not in laid_over(base, {"tolerations": None})


@pytest.mark.parametrize(
    ("overlay", "where"),
    [
        ({"containers": [{"image": "x"}]}, r"template\.spec\.containers\[0\] must have name"),
        ({"containers": {"name": "worker"}}, r"template\.spec\.containers must be a list"),
        ({"containers": ["worker"]}, r"containers\[0\] must be an object"),
        (worker(env=[{"value": "x"}]), r"containers\[0\]\.env\[0\] must have name"),
    ],
)
def test_what_cannot_be_merged_is_refused_with_its_place(overlay: dict[str, Any], where: str) -> None:
    with pytest.raises(OverlayError, match=where):
        laid_over(BASE, overlay)


leaves = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
trees = st.recursive(
    leaves, lambda inner: st.dictionaries(st.text("abc", max_size=2), inner, max_size=3), max_leaves=8
)


@given(base=st.dictionaries(st.text("abc", max_size=2), trees, max_size=4), overlay=trees)
def test_laying_the_same_overlay_again_changes_nothing_and_the_base_is_left_alone(
    base: dict[str, Any], overlay: Any
) -> None:
    if not isinstance(overlay, dict):
        overlay = {"a": overlay}
    before = repr(base)
    once = laid_over(base, overlay)
    assert laid_over(once, overlay) == once
    assert repr(base) == before
