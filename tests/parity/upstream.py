"""The original runtime in a process of its own, one for all cases."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

HERE = Path(__file__).parent
INSTALLED = HERE / "node_modules" / "flowcraft"


class Upstream:
    """Runs cases with npm's ``flowcraft``; the process starts with the first one."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def run(
        self,
        blueprint: Mapping[str, Any],
        run_input: Mapping[str, Any],
        subflows: Sequence[Mapping[str, Any]] = (),
        answer: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """The result of one case, as ``runner.mjs`` gives it; what waits gets the answer, if there is one.

        Raises:
            RuntimeError: Node or the package is not there, or the process ended.
        """
        if self._process is None:
            self._process = self._started()
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        case: dict[str, Any] = {"blueprint": blueprint, "input": run_input, "subflows": list(subflows)}
        if answer is not None:
            case["answer"] = dict(answer)
        process.stdin.write(json.dumps(case) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"the original's process ended with code {process.wait()}")
        result: dict[str, Any] = json.loads(line)
        return result

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.communicate(timeout=20)
            self._process = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _started(self) -> subprocess.Popen[str]:
        node = shutil.which("node")
        if node is None or not INSTALLED.is_dir():
            raise RuntimeError("the original is not installed: npm ci --prefix tests/parity")
        return subprocess.Popen(
            [node, "runner.mjs"],
            cwd=HERE,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
