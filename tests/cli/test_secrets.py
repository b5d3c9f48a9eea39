"""A secret of the worker's environment, in the exception of a node that used it, is nobody else's to read."""

from __future__ import annotations

from pathlib import Path

import yaml
from tests.cli.command import Command

MARKER = "marker-secret-1234567890"
ADDRESS = f"rediss://:{MARKER}@cache.example:6380/0"
APP = """
import os
from flowcraft import App, NodeContext

app = App("leaky")

@app.node("leak")
async def leak(ctx: NodeContext) -> None:
    ctx.logger.warning("connecting", address=os.environ["FLOWCRAFT_REDIS_URL"])
    try:
        raise ConnectionError("cannot connect to " + os.environ["FLOWCRAFT_REDIS_URL"])
    except ConnectionError as error:
        raise RuntimeError(f"no cache: {error}; password was MARKER") from error

flow = app.flow("leaky", version="1")
flow.node("leak")
"""
RUN = {"metadata": {"name": "leaky"}, "spec": {"poolRef": {"name": "p"}, "blueprint": {"name": "leaky"}}}


def test_neither_output_nor_logs_nor_the_stored_run_tell_it(tmp_path: Path) -> None:
    folder, flowcraft = tmp_path, Command(tmp_path, tmp_path / "runs.db")
    (folder / "leaky.py").write_text(APP.replace("MARKER", MARKER))
    run = {"apiVersion": "flowcraft.io/v1alpha1", "kind": "WorkflowRun", **RUN}
    (folder / "run.yaml").write_text(yaml.safe_dump(run))
    env = {"FLOWCRAFT_REDIS_URL": ADDRESS}
    ended = flowcraft("run", "-f", "run.yaml", "--app", "leaky:app", env=env)
    assert ended.code == 1
    assert "no cache: cannot connect to [hidden]" in ended.out + ended.err
    stored = b"".join(path.read_bytes() for path in folder.rglob("*.db*"))
    assert b"no cache" in stored
    for text in (ended.out, ended.err, stored.decode("latin-1")):
        assert MARKER not in text
