"""The guide is true: its files are written as they stand there, and its commands run."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml
from tests.cli.command import CLONE, Command

GUIDE = CLONE / "docs" / "guide.md"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture
def guided(tmp_path: Path) -> Command:
    """The command in a folder with the guide's files."""
    folder = tmp_path / "guide"
    folder.mkdir()
    for kind, text in BLOCK.findall(GUIDE.read_text()):
        if kind in ("python", "yaml"):
            (folder / text.splitlines()[0].removeprefix("# ")).write_text(text)
    return Command(folder, folder / ".flowcraft" / "runs.db")


def test_the_commands_of_the_guide_run_in_their_order(guided: Command) -> None:
    blocks = [text for kind, text in BLOCK.findall(GUIDE.read_text()) if kind == "console"]
    commands = [
        shlex.split(line.removeprefix("$ flowcraft")) for text in blocks for line in text.splitlines()
    ]

    said = {" ".join(arguments[:2]): guided(*arguments) for arguments in commands}

    assert {ended.code for ended in said.values()} == {0}, [ended.err for ended in said.values()]
    assert said["run -f"].rows["ada"][2] == "Awaiting"
    nodes = {node["key"]: node for node in yaml.safe_load(said["describe ada"].out)["nodes"]}
    assert nodes["review"]["decision"]["action"] == "accepted"


def test_the_guide_decides_the_same_on_a_cluster_as_on_this_machine() -> None:
    text = GUIDE.read_text()
    patched = re.search(r"-p '(.*)'", text)
    answered = re.search(r"flowcraft decide ada review --action (\w+) --output '(.*)'", text)

    assert patched is not None
    assert answered is not None
    (decision,) = json.loads(patched[1])["spec"]["decisions"]
    assert decision == {"nodeKey": "review", "action": answered[1], "output": json.loads(answered[2])}


def test_the_decided_run_of_the_guide_goes_on_to_its_end(guided: Command) -> None:
    guided("run", "-f", "run.yaml", "--app", "flows:app", "--run-id", "ada-1")
    guided("decide", "ada", "review", "--action", "accepted", "--output", '{"email": "ada@example.org"}')

    ended = guided("run", "-f", "run.yaml", "--app", "flows:app", "--run-id", "ada-1", "-o", "json")

    assert ended.data["status"]["output"]["create"]["account"] == "ada@example.org"
    assert ended.code == 0
