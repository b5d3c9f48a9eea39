"""The package's face: what users import, loaded when used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import flowcraft


def test_every_name_it_promises_is_there() -> None:
    for name in flowcraft.__all__:
        assert getattr(flowcraft, name) is not None
        assert name in dir(flowcraft)
    promised = {
        "App",
        "NodeContext",
        "NodeResult",
        "BaseNode",
        "FlowRuntime",
        "analyze_blueprint",
        "Blueprint",
    }
    assert promised <= set(flowcraft.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = flowcraft.Nothing


def test_importing_it_loads_no_library() -> None:
    libraries = "('pydantic', 'cel', 'structlog', 'yaml')"
    code = f"import flowcraft, sys; print(*(name for name in {libraries} if name in sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == ""
