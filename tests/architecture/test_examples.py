"""Examples: every application has clean blueprints, every manifest is accepted and runs what it names."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml
from tests.architecture.test_names import CLONE

from flowcraft.app import App, load_app
from flowcraft.linter import lint
from flowcraft_api.manifest import parse_worker_pool, parse_workflow_run

EXAMPLES = sorted(path.parent.parent for path in (CLONE / "examples").glob("*/*/flows.py"))


@pytest.fixture
def app(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> App:
    example: Path = request.param
    monkeypatch.setattr(sys, "path", list(sys.path))
    module = next(example.glob("*/flows.py")).parent.name
    return load_app(f"{module}.flows:app", search_path=example)


def test_there_are_examples() -> None:
    assert CLONE / "examples" / "shop" in EXAMPLES


@pytest.mark.parametrize("app", EXAMPLES, indirect=True, ids=lambda path: path.name)
def test_blueprints_have_no_mistakes(app: App) -> None:
    assert len(app.blueprints) > 0
    for blueprint in app.blueprints.values():
        assert lint(blueprint, app.registry) == []


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_manifests_are_accepted_and_fit_each_other(example: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    module = next(example.glob("*/flows.py")).parent.name
    app = load_app(f"{module}.flows:app", search_path=example)
    pools, runs = set(), []
    for file in sorted(example.glob("*.yaml")):
        for document in yaml.safe_load_all(file.read_text()):
            if document["kind"] == "FlowcraftWorkerPool":
                pool = parse_worker_pool(document)
                assert pool.spec.app == f"{module}.flows:app"
                pools.add(pool.metadata.name)
            else:
                runs.append(parse_workflow_run(document))
    for run in runs:
        source = run.spec.blueprint
        assert run.spec.pool_ref.name in pools
        assert source.name is None or app.blueprints.find(source.name, source.version) is not None
