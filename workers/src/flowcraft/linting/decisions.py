"""Decisions that cannot be meant: on nodes which no run has, with actions that no edge asks for."""

from __future__ import annotations

from typing import Final

from flowcraft.blueprint import Blueprint
from flowcraft.engine.keys import NodeKey
from flowcraft.linting.finding import Words

DECIDED: Final = frozenset({"wait", "webhook"})
"""Kinds of nodes that a decision answers."""


def unknown_decision(blueprint: Blueprint, node_key: str) -> str | None:
    """What is wrong with a decision on this node key; None if a run of the blueprint may wait there.

    What a node gives at run time is not known before, so a decision on a child is taken as it is; so is one
    on a node in a subflow, because the subflow's blueprint is not looked at here.
    """
    if _in_subflow(blueprint, node_key):
        return None
    key = NodeKey.parse(node_key)
    waiting = [node.id for node in blueprint.nodes if node.uses in DECIDED]
    if key.child is not None or key.node in waiting:
        return None
    node_id = key.node
    told = f"; nodes that wait are {', '.join(waiting)}" if 0 < len(waiting) <= 10 else ""
    if node_id in blueprint.node_ids:
        return f"node {node_id} of blueprint {blueprint.id} does not wait for a decision{told}"
    hint = Words(waiting or blueprint.node_ids).hint(node_id)
    return f"blueprint {blueprint.id} has no node {node_id!r}{hint or told}"


def misspelt_action(blueprint: Blueprint, node_key: str, action: str | None) -> str | None:
    """What is wrong with an action that is nearly one which an edge asks for; None if it may be meant."""
    asked = _asked(blueprint, node_key)
    if action is None or untaken(blueprint, node_key, action) is None:
        return None
    hint = Words([name for name in asked if name is not None]).hint(action)
    return f"no edge of {node_key} asks for action {action!r}{hint}" if hint else None


def untaken(blueprint: Blueprint, node_key: str, action: str | None) -> str | None:
    """What to tell whoever decides with an action that no edge asks for; None where an edge may be taken."""
    asked = _asked(blueprint, node_key)
    if not asked or None in asked or action in asked:
        return None
    given = "without an action" if action is None else f"with action {action!r}"
    known = ", ".join(sorted({name for name in asked if name is not None}))
    return f"{given}, no edge of {node_key} would be taken, and what follows skipped: edges ask for {known}"


def _asked(blueprint: Blueprint, node_key: str) -> list[str | None]:
    """The actions that edges of a node ask for; empty where that is not known here."""
    if _in_subflow(blueprint, node_key):
        return []
    node_id = NodeKey.parse(node_key).node
    return [edge.action for edge in blueprint.edges if edge.source == node_id]


def _in_subflow(blueprint: Blueprint, node_key: str) -> bool:
    heads = [node_key[:place] for place, letter in enumerate(node_key) if letter == "/"]
    subflows = {node.id for node in blueprint.nodes if node.uses == "subflow"}
    return any(NodeKey.parse(head).node in subflows for head in heads)
