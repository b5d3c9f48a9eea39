"""The expression library, without the interactive shell that its package loads with it.

`import cel` also imports `cel.cli`, a shell with line editing: half a second and 27 MB of every process
that evaluates one condition. While the package is imported, an empty module stands in for it; afterwards the
real one can be imported by whoever wants the shell.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import cel
else:

    def _load() -> ModuleType:
        if "cel" in sys.modules or "cel.cli" in sys.modules:
            return importlib.import_module("cel")
        sys.modules["cel.cli"] = ModuleType("cel.cli")
        try:
            return importlib.import_module("cel")
        finally:
            del sys.modules["cel.cli"]

    cel = _load()

__all__ = ["cel"]
