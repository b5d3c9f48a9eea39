"""Input that nobody meant: each is refused with one line that names the place, before anything begins."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flowcraft_cli.blueprints import in_files
from flowcraft_cli.json_arguments import parse_json, parse_object, parse_values
from flowcraft_cli.manifests import read_runs
from flowcraft_cli.usage import UsageError

LONG = 2**70 + 1
DIGITS = "1" * 6000


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    return value


def manifest(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "flowcraft.io/v1alpha1",
        "kind": "WorkflowRun",
        "metadata": {"name": "one"},
        "spec": {"poolRef": {"name": "p"}, "blueprint": {"name": "order"}, **spec},
    }


def refused(file: Path, text: str) -> str:
    """Why a file is refused: by `run`, and in the same words by `lint`."""
    file.write_text(text)
    with pytest.raises(UsageError) as running:
        read_runs([file])
    with pytest.raises(UsageError) as linting:
        list(in_files([file]))
    assert str(running.value) == str(linting.value)
    return str(running.value).replace(str(file), file.name)


@pytest.mark.parametrize("number", [2**53, -LONG, LONG])
def test_an_integer_that_would_lose_digits_is_refused_where_it_stands(tmp_path: Path, number: int) -> None:
    told = "spec.input: `.lines[1].price` is an integer above 53 bits, which would lose digits; use a string"
    given = manifest(input={"lines": [{"price": 1}, {"price": number}]})
    text = json.dumps(given)
    column = text.index(str(number)) + 1

    assert refused(tmp_path / "run.json", text) == f"run.json:1:{column}: {told}"
    assert refused(tmp_path / "run.yaml", f"# a flow in YAML\n{text}") == f"run.yaml:2:{column}: {told}"


def test_also_in_answers_and_blueprints_of_a_list(tmp_path: Path) -> None:
    answers = [{"nodeKey": "a", "output": LONG}]
    inline = {"id": "x", "nodes": [{"id": "a", "uses": "b", "params": {"n": LONG}}], "edges": []}

    assert "spec.decisions: `[0].output`" in refused(
        tmp_path / "a.json", json.dumps(manifest(decisions=answers))
    )
    assert "spec.blueprint.inline: `.nodes[0].params.n`" in refused(
        tmp_path / "b.json", json.dumps(manifest(blueprint={"inline": inline}))
    )
    of_list = tmp_path / "list.json"
    of_list.write_text(json.dumps({"kind": "List", "items": [manifest(), manifest(input={"n": LONG})]}))
    with pytest.raises(UsageError, match=r"items\.1\.spec\.input: `\.n`"):
        read_runs([of_list])


@pytest.mark.parametrize("depth", [101, 300, 980, 3000])
def test_a_manifest_that_nests_deep_is_refused_in_a_short_line(tmp_path: Path, depth: int) -> None:
    text = json.dumps(manifest(input={"long": LONG, "n": "deep"})).replace(
        '"deep"', '{"a":' * depth + "1" + "}" * depth
    )
    for name in ("run.json", "run.yaml"):
        told = refused(tmp_path / name, text)
        assert "deep" in told or "depth" in told
        assert len(told) < 300


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (json.dumps({"n": [0, LONG]}), "--input: `.n[1]` is an integer above 53 bits"),
        ('{"n": ' + DIGITS + "}", "an integer of 6000 digits would lose most of them; use a string"),
        ('{"n": 1e999}', "--input: `.n` is inf, which JSON cannot say"),
        (json.dumps(nested(150)), "nests deeper than 100"),
        ("[" * 100_000, "--input is no JSON (it nests too deeply)"),
    ],
)
def test_an_input_that_could_not_be_kept(text: str, told: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_object(text, "--input")
    assert told in str(error.value)
    assert len(str(error.value)) < 250


def test_a_long_number_is_refused_rather_than_becoming_a_text() -> None:
    with pytest.raises(UsageError, match="--set id: the value is an integer above 53 bits"):
        parse_values([f"id={LONG}"], "--set")
    assert parse_values([f'id="{LONG}"'], "--set") == {"id": str(LONG)}


def test_files_that_hold_no_json(tmp_path: Path) -> None:
    empty, wrong, marked = (tmp_path / name for name in ("empty.json", "wrong.json", "marked.json"))
    empty.touch()
    wrong.write_bytes(b'{"a": "\xff"}')
    marked.write_bytes(b'\xef\xbb\xbf{"a": 1}')
    for file, told in [
        (empty, "is empty"),
        (wrong, "it is not UTF-8: byte 7"),
        (tmp_path, "cannot be read (Is a directory)"),
        (tmp_path / "nowhere", "cannot be read (No such file or directory)"),
    ]:
        with pytest.raises(UsageError) as error:
            parse_json(f"@{file}", "--input")
        assert told in str(error.value)
    assert parse_json(f"@{marked}", "--input") == {"a": 1}
