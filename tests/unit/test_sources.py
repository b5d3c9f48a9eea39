"""Files of JSON and YAML: where a value stands, and what no file can make us do."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcraft.sources import Position, SourceError, read_documents, read_file

YAML = """\
# a comment
id: order
nodes:
- id: charge
  uses: charge
  params: {amount: 1}
-   id: ship
edges:
- {source: charge, target: ship, condition: "result.output.paid > 0"}
"""
JSON = """{
  "id": "order",
  "nodes": [
    {"id": "charge", "uses": "charge", "params": {"a]": []}},
    {"id": "ship"}
  ],
  "edges": [{"source": "charge", "condition": "result.output"}]
}"""


@pytest.mark.parametrize(
    ("text", "path", "line", "column"),
    [
        (YAML, [], 2, 1),
        (YAML, ["nodes", 0], 4, 3),
        (YAML, ["nodes", 0, "params", "amount"], 6, 20),
        (YAML, ["nodes", 1], 7, 5),
        (YAML, ["nodes", 1, "uses"], 7, 5),
        (YAML, ["nodes", 7], 4, 1),
        (YAML, ["edges", 0, "condition"], 9, 45),
        (JSON, [], 1, 1),
        (JSON, ["nodes", 0, "params", "a]"], 4, 57),
        (JSON, ["nodes", 1, "id"], 5, 12),
        (JSON, ["nodes", 1, "uses"], 5, 5),
        (JSON, ["edges", 0, "condition"], 7, 47),
    ],
)
def test_the_place_of_a_value_is_told_or_of_what_is_around_it(
    text: str, path: list[Any], line: int, column: int
) -> None:
    (document,) = read_documents(text.encode())
    assert document.position(path) == Position(line, column)


def test_a_character_of_a_text_is_found_where_it_is_written_as_it_is() -> None:
    (document,) = read_documents(YAML.encode())
    assert document.inside(["edges", 0, "condition"], 8) == Position(9, 53)
    (plain,) = read_documents(b"condition: result.output")
    assert plain.inside(["condition"], 8) == Position(1, 19)
    (escaped,) = read_documents(b'condition: "result\\n.output"')
    assert escaped.inside(["condition"], 9) == Position(1, 12)
    (json,) = read_documents(JSON.encode())
    assert json.inside(["edges", 0, "condition"], 1) == Position(7, 48)


def test_a_key_that_stands_twice_is_found() -> None:
    (yaml,) = read_documents(b"a: 1\nb: {c: 1,\n  c: 2}\n")
    assert [(each.key, str(each.position)) for each in yaml.repetitions()] == [("c", "3:3")]
    (json,) = read_documents(b'{"a": 1, "b": [{"a": 1}],\n "a": 2}')
    assert [(each.key, str(each.position)) for each in json.repetitions()] == [("a", "2:2")]


def test_aliases_and_merge_keys_may_be_used() -> None:
    (document,) = read_documents(b"base: &b {retries: 3}\nnode: {<<: *b, id: a}\nagain: *b\n")
    assert document.value["node"] == {"retries": 3, "id": "a"}
    assert document.position(["node", "retries"]) == Position(1, 20)


def laughs(merged: bool) -> str:
    lines = ["l0: &l0 {x: 1}"]
    for level in range(1, 40):
        again = f"*l{level - 1}"
        value = f"{{<<: [{again}, {again}]}}" if merged else f"{{a: {again}, b: {again}}}"
        lines.append(f"l{level}: &l{level} {value}")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (laughs(merged=False), "its aliases add more than 100000 values"),
        (laughs(merged=True), "its aliases add more than 100000 values"),
        ("a: &a [*a]", "an alias contains itself"),
        ("a: &a {<<: *a}", "an alias contains itself"),
        ("a: [1, &b {c: *b}]", "an alias contains itself"),
        ("a: " + "[" * 2_000_000, "it nests deeper than 100"),
        ("a: " + "{a: " * 500_000, "it nests deeper than 100"),
        ("[" * 2_000_000, "it is not JSON"),
        ("- " * 500_000 + "x", "it nests deeper than 100"),
        ("? " * 500_000 + "x", "it nests deeper than 100"),
        ("a: !!python/object/apply:os.system [id]", "could not determine a constructor for the tag"),
        ("a: *nowhere", "found undefined alias"),
        ("a: 1\n b: 2", "mapping values are not allowed"),
        ("\x00", "it is not YAML"),
    ],
    ids=range(14),
)
def test_a_document_that_is_a_trap_is_refused_soon(text: str, told: str) -> None:
    began = time.process_time()
    with pytest.raises(SourceError) as refused:
        read_documents(text.encode())
    assert told in str(refused.value)
    assert time.process_time() - began < 2


def test_what_is_no_text_or_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="not UTF-8: byte 1"):
        read_documents(b"a\xff")
    large = tmp_path / "large.yaml"
    with large.open("wb") as file:
        file.truncate(16 * 1024 * 1024 + 1)
    with pytest.raises(SourceError, match="longer than 16 MiB"):
        read_file(large)


def test_what_was_meant_to_be_json_is_told_as_json() -> None:
    with pytest.raises(SourceError, match="it is not JSON") as refused:
        read_documents(b'{\n  "a": 1\n  "b": 2\n}')
    assert refused.value.position == Position(3, 3)


def test_several_documents_and_none() -> None:
    assert [each.value for each in read_documents(b"a: 1\n---\n---\nb: 2\n")] == [{"a": 1}, {"b": 2}]
    assert read_documents(b"") == []


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


@given(json_values, st.booleans())
def test_every_value_of_any_json_has_its_place(value: Any, indented: bool) -> None:
    text = orjson.dumps({"it": value}, option=orjson.OPT_INDENT_2 if indented else None)
    (document,) = read_documents(text)
    assert document.value == {"it": value}
    lines = text.decode().split("\n")

    def look(path: list[Any], part: Any) -> None:
        position = document.position(path)
        rest = "\n".join([lines[position.line - 1][position.column - 1 :], *lines[position.line :]])
        begin = orjson.dumps(part, option=orjson.OPT_INDENT_2 if indented else None).decode()
        first = begin[:1] if isinstance(part, dict | list) else begin
        assert rest.startswith(first), (path, rest)
        children = (
            part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
        )
        for key, child in children:
            look([*path, key], child)

    look([], document.value)
