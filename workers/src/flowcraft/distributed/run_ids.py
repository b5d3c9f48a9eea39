"""Which texts can be the id of a run: those that every backend keeps and finds again."""

from __future__ import annotations

import re
from typing import Final

LONGEST: Final = 255
"""Characters; with them go names of items, blobs and keys that are made of a run's id."""
_UNFIT: Final = re.compile(r"[/\\?#\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""No Unicode text, or in no id of Cosmos DB: learn.microsoft.com, "azure-cosmos-db-service-quotas"."""


def run_id_problem(run_id: str) -> str:
    """Why the text cannot be the id of a run, as the end of a sentence; empty if it can."""
    if not 0 < len(run_id) <= LONGEST:
        return f"has {len(run_id)} characters; give one of 1 to {LONGEST}"
    if found := _UNFIT.search(run_id):
        return f"has {found[0]!r} in it; give one without slashes, question marks, # and control characters"
    if run_id != run_id.strip():
        return "begins or ends with a space"
    if not run_id.strip("."):
        return "is of dots only"
    return ""
