"""What a name means that a node's code reads from the context. Pure.

What was done to the key last counts: the value written, or its absence where it was deleted. Where nobody did
anything to it, the name of a node means that node's output, once it has completed; any other name is a field
of the run's input. ``_outputs.<node>`` is always the node's output.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from flowcraft.engine.inputs import Facts
from flowcraft.engine.plan import Plan
from flowcraft.node import MISSING
from flowcraft.records import NodeRecord

_OUTPUTS: Final = "_outputs."


def key_of(name: str) -> str:
    """The key that a name looks for: of ``_outputs.a``, ``a``."""
    return name.removeprefix(_OUTPUTS)


def is_node(plan: Plan, name: str) -> bool:
    """Whether nothing but a node's output is meant, whatever the context has."""
    return name.startswith(_OUTPUTS) and key_of(name) in plan.nodes


def meant(plan: Plan, name: str, facts: Facts, record: NodeRecord | None) -> Any:
    """What a name means; ``MISSING`` where it means nothing.

    Args:
        plan: The plan.
        name: A key, or ``_outputs.`` and a node.
        facts: The run's input, and of the context at least that key.
        record: What the reader sees of the node of that name.
    """
    key = key_of(name)
    if key in facts.context and not is_node(plan, name):
        return facts.context[key]
    if key is name and key in facts.deleted:
        return MISSING
    if record is not None and record.status == "completed":
        return record.output
    given = facts.run_input
    return given.get(key, MISSING) if key is name and isinstance(given, Mapping) else MISSING
