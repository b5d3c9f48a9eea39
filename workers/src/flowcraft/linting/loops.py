"""Mistakes in loops: cycles that begin nowhere, or in several places; controllers that turn none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from flowcraft.analysis import kinds
from flowcraft.blueprint import Blueprint, NodeDefinition
from flowcraft.engine.inputs import LOOP_CONTROLLER
from flowcraft.engine.keys import ambiguous_id
from flowcraft.engine.loops import Loop, Unclear, entry_points, find_loops
from flowcraft.errors import EvaluationError
from flowcraft.evaluator import check_condition
from flowcraft.linting.finding import Finding

MAX_SHOWN: Final = 6
"""Node ids told of one cycle."""


def loop_mistakes(blueprint: Blueprint, *, cyclic: bool) -> Iterator[Finding]:
    """What is wrong with loops, and with ids that would be mistaken for keys of nodes in loops.

    Args:
        blueprint: What to look at.
        cyclic: It has cycles.
    """
    for place, node in enumerate(blueprint.nodes):
        if (node.id[-1:] == "]" or "#" in node.id) and ambiguous_id(node.id):
            message = (
                f"the id {node.id!r} reads like a node in a round of a loop (`#2`) or a child (`[2]`); "
                "end it otherwise"
            )
            yield Finding("AMBIGUOUS_NODE_ID", message, node.id, path=("nodes", place, "id"))
    yield from _controllers(blueprint)
    if not cyclic:
        return
    ids = blueprint.node_ids
    edges = [edge for edge in blueprint.edges if edge.source in ids and edge.target in ids]
    found = find_loops(
        list(dict.fromkeys(n.id for n in blueprint.nodes)), edges, entry_points(blueprint.metadata)
    )
    for unclear in found.unclear:
        yield _unclear(unclear)
    if not found.unclear:
        for loop in found.by_head.values():
            yield from _endless(loop, blueprint)


def _controllers(blueprint: Blueprint) -> Iterator[Finding]:
    if LOOP_CONTROLLER not in kinds(blueprint):
        return
    turning = {edge.source for edge in blueprint.edges if edge.action == "continue"}
    for place, node in enumerate(blueprint.nodes):
        if node.uses != LOOP_CONTROLLER:
            continue
        if node.id not in turning:
            message = (
                f"loop controller {node.id} has no edge with the action `continue` to the start of its loop"
            )
            yield Finding("INVALID_LOOP", message, node.id, path=("nodes", place))
        yield from _condition(node, place)
        most = node.params.get("maxIterations")
        if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 1):
            message = f"`params.maxIterations` of {node.id} must be a whole number, 1 or more, not {most!r}"
            yield Finding("INVALID_LOOP", message, node.id, path=("nodes", place, "params", "maxIterations"))


def _condition(node: NodeDefinition, place: int) -> Iterator[Finding]:
    condition = node.params.get("condition")
    if not isinstance(condition, str) or not condition.strip():
        message = f"loop controller {node.id} needs `params.condition`: an expression that is true to go on"
        yield Finding("INVALID_LOOP_CONDITION", message, node.id, path=("nodes", place, "params"))
        return
    try:
        check_condition(condition)
    except EvaluationError as error:
        yield Finding(
            "INVALID_LOOP_CONDITION",
            f"loop controller {node.id}: {error}",
            node.id,
            path=("nodes", place, "params", "condition"),
            character=error.position,
        )


def _unclear(unclear: Unclear) -> Finding:
    shown = ", ".join(unclear.candidates[:MAX_SHOWN])
    more = ", …" if len(unclear.candidates) > MAX_SHOWN else ""
    first = unclear.candidates[0]
    if unclear.why == "no entry":
        message = (
            f"no way leads into the cycle of {shown}{more}; add an edge from a start node, "
            "or name the node to begin with in `metadata.cycleEntryPoints`"
        )
        return Finding("CYCLE_WITHOUT_ENTRY", message, first)
    if unclear.why == "several entries":
        message = (
            f"edges lead into the same cycle at {shown}{more}; lead them to one node, "
            "or name the one at which its rounds begin in `metadata.cycleEntryPoints`"
        )
        return Finding("CYCLE_WITH_SEVERAL_ENTRIES", message, first)
    return Finding("LOOPS_TOO_DEEP", f"the loop at {shown} is within too many other loops", first)


def _endless(loop: Loop, blueprint: Blueprint) -> Iterator[Finding]:
    """A loop that nothing follows: only a warning, since it may end all the same, and the run with it."""
    leading = {edge.source for edge in blueprint.edges if edge.source in loop.nodes}
    leaves = any(edge.source in loop.nodes and edge.target not in loop.nodes for edge in blueprint.edges)
    if not leaves and len(leading) == len(loop.nodes):
        message = f"no edge leads out of the loop at {loop.head}: nothing can come after it"
        yield Finding("LOOP_WITHOUT_EXIT", message, loop.head, severity="warning")
