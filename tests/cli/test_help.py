"""Help and version: of every command, with examples, without loading what it works with."""

from __future__ import annotations

import signal

import pytest
from tests.cli.command import Command

from flowcraft_cli.main import COMMANDS, run_command

PROMISED = (
    "run worker start get describe watch cancel suspend resume decide retry rerun replay delete poison "  # noqa: SIM905
    "provision lint diagram".split()
)


def test_every_promised_command_is_there() -> None:
    assert [name for name, _, _ in COMMANDS] == PROMISED


@pytest.mark.parametrize("name", PROMISED)
def test_help_tells_what_it_does_with_examples(capsys: pytest.CaptureFixture[str], name: str) -> None:
    code = run_command([name, "--help"])
    out, err = capsys.readouterr()

    assert (code, err) == (0, "")
    assert out.startswith(f"Usage: flowcraft {name}")
    examples = out.partition("  Examples:\n")[2].splitlines()
    assert examples
    assert all(f"flowcraft {name}" in line for line in examples)


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    code = run_command([])

    assert code == 2
    assert "Commands:" in capsys.readouterr().err


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["--version"]) == 0
    assert capsys.readouterr().out.startswith("flowcraft 0.")


def test_ctrl_c_while_watching_is_quiet(shop: Command) -> None:
    shop("start", "order", "--run-id", "one")
    process = shop.begin("watch", "one")
    try:
        assert process.stdout is not None
        while "Running" not in (line := process.stdout.readline()):
            assert line, "it ended"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    finally:
        process.kill()

    assert (process.returncode, err) == (130, "")
