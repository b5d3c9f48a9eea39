"""What becomes of output that a stream cannot take."""

from __future__ import annotations

import io
import json
import os
import sys

import pytest
import yaml

from flowcraft_cli.main import run_command
from flowcraft_cli.options import OutputFormat
from flowcraft_cli.streams import escape_unknown
from flowcraft_cli.views import print_data, put


def ascii_only(monkeypatch: pytest.MonkeyPatch) -> io.BytesIO:
    """Where stdout goes from now on, in ASCII."""
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    escape_unknown(sys.stdout)
    return written


def test_text_is_escaped_where_a_terminal_has_no_such_character(monkeypatch: pytest.MonkeyPatch) -> None:
    written = ascii_only(monkeypatch)
    put("Jürgen → 1")
    assert written.getvalue() == b"J\\xfcrgen \\u2192 1\n"


def test_data_stays_the_same_data(monkeypatch: pytest.MonkeyPatch) -> None:
    written = ascii_only(monkeypatch)
    data = {"who": "Jürgen 😀"}
    print_data(data, OutputFormat.JSON)
    print_data(data, OutputFormat.YAML)
    as_json, as_yaml = written.getvalue().split(b"}\n")
    assert json.loads(as_json + b"}") == yaml.safe_load(as_yaml) == data


@pytest.mark.parametrize("argument", ["--version", "--help"])
def test_a_reader_that_has_gone_is_no_failure(monkeypatch: pytest.MonkeyPatch, argument: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb", buffering=0) as pipe:
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(pipe, write_through=True))
        monkeypatch.setattr(sys, "stderr", io.StringIO())
        assert run_command([argument]) == 0
