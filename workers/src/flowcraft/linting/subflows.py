"""Mistakes in the subflows of a blueprint, for the linter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from difflib import get_close_matches

from flowcraft.blueprint import Blueprint
from flowcraft.engine.subflows import Subflow, SubflowError, node_named
from flowcraft.linting.finding import Finding, Path, Words

Find = Callable[[str, str | None], Blueprint | None]
"""Gives the blueprint of an id and version, if it is known."""


def malformed_subflows(blueprint: Blueprint) -> Iterator[Finding]:
    """Subflows whose parameters can never mean anything."""
    for place, node in enumerate(blueprint.nodes):
        if node.uses == "subflow":
            try:
                Subflow.of(node)
            except SubflowError as error:
                code = "INVALID_SUBFLOW"
                if not isinstance(node.params.get("blueprintId"), str):
                    code = "INVALID_SUBFLOW_BLUEPRINT_ID"
                message = f"node {node.id} is a subflow, and {error}"
                yield Finding(code, message, node.id, path=("nodes", place, "params"))


def unknown_subflows(blueprint: Blueprint, find: Find, known: frozenset[str]) -> Iterator[Finding]:
    """Subflows of blueprints that there are not, and outputs that their blueprints do not have."""
    for place, node in enumerate(blueprint.nodes):
        if node.uses != "subflow":
            continue
        try:
            subflow = Subflow.of(node)
        except SubflowError:
            continue
        child = find(subflow.blueprint_id, subflow.version)
        if child is None:
            near = get_close_matches(subflow.blueprint_id, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near and near[0] != subflow.blueprint_id else ""
            message = f"node {node.id} runs blueprint {subflow.shown}, and there is none{hint}"
            where: Path = ("nodes", place, "params", "blueprintId")
            yield Finding("INVALID_SUBFLOW_BLUEPRINT_ID", message, node.id, path=where)
            continue
        words = Words(child.node_ids)
        for key, source in subflow.outputs.items():
            name = node_named(source)
            if name != source and name not in child.node_ids:
                message = f"node {node.id} takes the output of {name!r}, but blueprint {child.id} has no such"
                message += f" node{words.hint(name)}"
                where = ("nodes", place, "params", "outputs", key)
                yield Finding("UNKNOWN_SUBFLOW_OUTPUT", message, node.id, path=where, severity="warning")
