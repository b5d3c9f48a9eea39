"""The operator's logs: one form for all that is told in its process."""

from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = """
import structlog
from flowcraft_operator.main import _set_up_logs
from flowcraft_operator.settings import OperatorSettings
_set_up_logs(OperatorSettings(log_format="json"))
structlog.get_logger().warning("a run failed", run_id="r", error="100%s")
structlog.get_logger().debug("not asked for")
"""


def test_what_the_runtime_tells_is_json_as_all_the_rest() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    (line,) = (done.stdout + done.stderr).splitlines()
    assert json.loads(line)["message"] == "a run failed (run_id=r, error=100%s)"
