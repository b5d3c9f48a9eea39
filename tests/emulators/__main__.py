"""The stand-ins by hand: `python -m tests.emulators up | down | env | run`.

The state folder (option `--state`, variable FLOWCRAFT_EMULATORS_STATE, default `.emulators` in the working
directory) holds `env`, which a shell can source, and `state.json` with the process ids. Each clone has its
own, so several sets run side by side. `up` twice keeps the running set; `run` stays in the foreground until
SIGTERM or SIGINT and writes no state.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
from tests.emulators.server_process import POLL_INTERVAL_S, STOP_TIMEOUT_S, StandInError
from tests.emulators.stand_ins import Addresses, RunningStandIns, StandIns

STATE_VARIABLE = "FLOWCRAFT_EMULATORS_STATE"


class Background:
    """One set of stand-ins that outlives this program, described in a state folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._state = folder / "state.json"
        self.env = folder / "env"

    def up(self, addresses: Addresses) -> StandIns:
        """Start a set, or return the running one.

        Raises:
            StandInError: It cannot start, or one with other addresses is running.
        """
        state = self._read()
        if state is not None and len(_living(state)) == len(state["processes"]):
            if state["addresses"] != dataclasses.asdict(addresses):
                raise StandInError("Stand-ins with other addresses are running; end them first with `down`.")
            return StandIns(**state["connections"])
        self.down()
        running = RunningStandIns(addresses, detached=True)
        self._write(running, addresses)
        return running.connections

    def down(self) -> None:
        """End the processes of the set, if any, and remove its data and state."""
        state = self._read()
        if state is not None:
            for process in _living(state):
                process.terminate()
            deadline = time.monotonic() + STOP_TIMEOUT_S
            while (stubborn := _living(state)) and time.monotonic() < deadline:
                time.sleep(POLL_INTERVAL_S)
            for process in stubborn:
                process.kill()
            shutil.rmtree(state["data"], ignore_errors=True)
        self._state.unlink(missing_ok=True)
        self.env.unlink(missing_ok=True)

    def _read(self) -> dict[str, Any] | None:
        try:
            state: dict[str, Any] = json.loads(self._state.read_text())
        except FileNotFoundError:
            return None
        return state

    def _write(self, running: RunningStandIns, addresses: Addresses) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        processes = [
            {"name": server.name, "pid": server.process.pid, "created": _created(server.process.pid)}
            for server in running.processes
        ]
        state = {
            "addresses": dataclasses.asdict(addresses),
            "connections": dataclasses.asdict(running.connections),
            "data": str(running.folder),
            "processes": processes,
        }
        self._state.write_text(json.dumps(state, indent=2) + "\n")
        self.env.write_text(running.connections.shell_exports())


def _created(pid: int) -> float:
    return psutil.Process(pid).create_time()


def _living(state: dict[str, Any]) -> list[psutil.Process]:
    """Return the set's processes that still run.

    An id that now belongs to another program does not count, nor does an ended process not yet waited for.
    """
    living = []
    for entry in state["processes"]:
        try:
            process = psutil.Process(entry["pid"])
            ours = abs(process.create_time() - entry["created"]) < 1
            if ours and process.status() != psutil.STATUS_ZOMBIE:
                living.append(process)
        except psutil.NoSuchProcess:
            continue
    return living


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.emulators", description=__doc__)
    parser.add_argument("action", choices=["up", "down", "env", "run"])
    default_state = Path(os.environ.get(STATE_VARIABLE) or ".emulators")
    parser.add_argument(
        "--state", type=Path, default=default_state, help="state folder (default: %(default)s)"
    )
    parser.add_argument("--bind", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--advertise", help="host in the connection strings (default: the bind address)")
    for service in ("queue", "blob", "cosmos", "redis"):
        parser.add_argument(f"--{service}-port", type=int, default=0, help="default: a free port")
    parser.add_argument("--cosmos-scheme", choices=["http", "https"], default="https")
    return parser


def _addresses(options: argparse.Namespace) -> Addresses:
    return Addresses(
        bind_host=options.bind,
        advertised_host=options.advertise or options.bind,
        queue_port=options.queue_port,
        blob_port=options.blob_port,
        cosmos_port=options.cosmos_port,
        redis_port=options.redis_port,
        cosmos_scheme=options.cosmos_scheme,
    )


def _run_until_signalled(addresses: Addresses) -> None:
    # A handler, not a mask: the servers would inherit a mask and never see their own SIGTERM.
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: ended.set())
    running = RunningStandIns(addresses)
    try:
        sys.stdout.write(running.connections.shell_exports())
        sys.stdout.flush()
        ended.wait()
    finally:
        running.stop()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one action; return the exit status."""
    options = _parser().parse_args(arguments)
    background = Background(options.state)
    if options.action == "down":
        background.down()
        return 0
    try:
        if options.action == "run":
            _run_until_signalled(_addresses(options))
            return 0
        if options.action == "up":
            background.up(_addresses(options))
    except StandInError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if not background.env.exists():
        sys.stderr.write("No stand-ins are running; start them with `up`.\n")
        return 1
    sys.stdout.write(background.env.read_text())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
