"""A blueprint's mistakes, found before anything runs. Codes that upstream has keep upstream's names."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, Final

from flowcraft.analysis import (
    BlueprintAnalysis,
    analyze_blueprint,
    fallback_only_ids,
    goes_forward,
    kinds,
    reachable,
)
from flowcraft.batch_mistakes import batch_mistakes
from flowcraft.blueprint import Blueprint, NodeDefinition
from flowcraft.durations import duration_s
from flowcraft.engine.loops import entry_points
from flowcraft.errors import BlueprintError, EvaluationError
from flowcraft.evaluator import check_condition, check_transform
from flowcraft.implementation import BUILT_IN_USES
from flowcraft.linting.fields import misspelt_fields
from flowcraft.linting.finding import Finding, Path, Severity, Words
from flowcraft.linting.loops import loop_mistakes
from flowcraft.linting.names import unknown_names
from flowcraft.linting.reach import dead_ends
from flowcraft.linting.subflows import malformed_subflows, unknown_subflows

if TYPE_CHECKING:
    from flowcraft.runtime import BlueprintCatalog

__all__ = ["Finding", "Severity", "lint", "require_valid"]

MAX_CHAIN: Final = 100
"""Fallbacks of fallbacks that are looked through for a cycle."""
MAX_TOLD: Final = 20
"""Findings in the text of one error; ``lint`` gives all of them."""


def lint(
    blueprint: Blueprint,
    registry: Collection[str] | None = None,
    *,
    context_keys: Collection[str] = (),
    blueprints: BlueprintCatalog | None = None,
) -> list[Finding]:
    """Find a blueprint's mistakes.

    Args:
        blueprint: What to look at.
        registry: Names of the implementations there are; None: whether nodes have one is not looked at.
        context_keys: Context keys known to be written by nodes; what reads nearly one of them is told.
        blueprints: Those that subflows may run; None: whether there is one is not looked at.
    """
    findings = _errors(blueprint, registry)
    if blueprints is not None:
        findings += unknown_subflows(blueprint, blueprints.find, frozenset(blueprints))
    findings += unknown_names(blueprint, context_keys)
    findings += misspelt_fields(blueprint)
    entries = blueprint.metadata.get("cycleEntryPoints")
    starts = [*analyze_blueprint(blueprint).start_node_ids, *(entries if isinstance(entries, list) else ())]
    findings += dead_ends(blueprint, starts)
    return findings


def _errors(blueprint: Blueprint, registry: Collection[str] | None) -> list[Finding]:
    """What may keep the blueprint from running."""
    analysis = analyze_blueprint(blueprint)
    findings = [*_duplicates(blueprint), *_kinds(blueprint, registry), *_edges(blueprint)]
    findings += _shape(blueprint, analysis)
    findings += _fallbacks(blueprint, registry)
    findings += [Finding(*mistake) for mistake in batch_mistakes(blueprint, registry)]
    findings += malformed_subflows(blueprint)
    return findings


def require_valid(blueprint: Blueprint, registry: Collection[str] | None = None) -> None:
    """Refuse a blueprint with mistakes.

    Raises:
        BlueprintError: it has some; the message lists them.
    """
    errors = [finding for finding in _errors(blueprint, registry) if finding.severity == "error"]
    if errors:
        told = "; ".join(f"{finding.code}: {finding.message}" for finding in errors[:MAX_TOLD])
        more = f"; and {len(errors) - MAX_TOLD} more" if len(errors) > MAX_TOLD else ""
        raise BlueprintError(f"blueprint {blueprint.id} cannot run: {told}{more}")


def _duplicates(blueprint: Blueprint) -> Iterator[Finding]:
    if len(blueprint.node_ids) == len(blueprint.nodes):
        return
    seen: set[str] = set()
    told: set[str] = set()
    for place, node in enumerate(blueprint.nodes):
        if node.id in seen and node.id not in told:
            told.add(node.id)
            message = f"several nodes have the id {node.id!r}; rename all but one"
            yield Finding("DUPLICATE_NODE_ID", message, node.id, path=("nodes", place, "id"))
        seen.add(node.id)


def _kinds(blueprint: Blueprint, registry: Collection[str] | None) -> Iterator[Finding]:
    used = kinds(blueprint)
    if "sleep" not in used and (registry is None or all(u in BUILT_IN_USES or u in registry for u in used)):
        return
    for node in blueprint.nodes:
        if node.uses == "sleep":
            try:
                duration_s(node.params.get("duration"))
            except ValueError as error:
                message = f"node {node.id} sleeps by `params.duration`, and {error}"
                yield Finding("INVALID_SLEEP_DURATION", message, node.id)
        elif node.uses not in BUILT_IN_USES and registry is not None and node.uses not in registry:
            message = (
                f"node {node.id} uses {node.uses!r}, which is not registered; add @app.node({node.uses!r})"
            )
            yield Finding("MISSING_NODE_IMPLEMENTATION", message, node.id)


def _edges(blueprint: Blueprint) -> Iterator[Finding]:
    if not _ends_are_sound(blueprint):
        yield from _ends(blueprint)
    for place, edge in enumerate(blueprint.edges):
        if edge.condition is not None:
            path: Path = ("edges", place, "condition")
            ends = (edge.source, edge.target)
            yield from _expression(edge.condition, "INVALID_CONDITION", check_condition, ends, path)
        if edge.transform is not None:
            path = ("edges", place, "transform")
            ends = (edge.source, edge.target)
            yield from _expression(edge.transform, "INVALID_TRANSFORM", check_transform, ends, path)


def _ends_are_sound(blueprint: Blueprint) -> bool:
    """Whether every edge begins and ends at a node, and none is there twice: soon seen for all at once."""
    distinct = {(edge.source, edge.target, edge.action, edge.condition) for edge in blueprint.edges}
    if len(distinct) < len(blueprint.edges):
        return False
    if goes_forward(blueprint):
        return True
    return blueprint.node_ids.issuperset([end for ends in distinct for end in ends[:2]])


def _ends(blueprint: Blueprint) -> Iterator[Finding]:
    ids = blueprint.node_ids
    words = Words(ids)
    seen: set[tuple[str, str, str | None, str | None]] = set()
    for place, edge in enumerate(blueprint.edges):
        ends = (edge.source, edge.target)
        if edge.source not in ids:
            message = f"edge {edge.source} -> {edge.target} leaves {edge.source!r}, but there is no such node"
            message += words.hint(edge.source)
            yield Finding("INVALID_EDGE_SOURCE", message, edge=ends, path=("edges", place, "source"))
        if edge.target not in ids:
            message = f"edge {edge.source} -> {edge.target} enters {edge.target!r}, but there is no such node"
            message += words.hint(edge.target)
            yield Finding("INVALID_EDGE_TARGET", message, edge=ends, path=("edges", place, "target"))
        same = (*ends, edge.action, edge.condition)
        if same in seen:
            message = f"edge {edge.source} -> {edge.target} is there twice with the same action and condition"
            path: Path = ("edges", place)
            yield Finding("DUPLICATE_EDGE", message, edge=ends, severity="warning", path=path)
        seen.add(same)


def _expression(
    expression: str, code: str, check: Callable[[str], None], ends: tuple[str, str], path: Path
) -> Iterator[Finding]:
    try:
        check(expression)
    except EvaluationError as error:
        message = f"edge {ends[0]} -> {ends[1]}: {error}"
        yield Finding(code, message, edge=ends, path=path, character=error.position)


def _shape(blueprint: Blueprint, analysis: BlueprintAnalysis) -> Iterator[Finding]:
    if not blueprint.nodes:
        yield Finding("NO_NODES", "it has no nodes; add one")
        return
    yield from loop_mistakes(blueprint, cyclic=not analysis.is_dag)
    if goes_forward(blueprint) and not fallback_only_ids(blueprint):
        return  # without cycles, some way leads to each node from one that no edge enters
    reached = reachable(blueprint, [*analysis.start_node_ids, *entry_points(blueprint.metadata)])
    closed = {node_id for cycle in analysis.cycles if reached.isdisjoint(cycle) for node_id in cycle}
    if closed:  # that it has no entry is told; what is behind it need not be
        reached |= reachable(blueprint, closed)
    spare = fallback_only_ids(blueprint)
    for node in blueprint.nodes:
        if node.id not in reached and node.id not in spare:
            yield Finding("ORPHAN_NODE", f"no way leads from a start node to node {node.id}", node.id)


def _fallbacks(blueprint: Blueprint, registry: Collection[str] | None) -> Iterator[Finding]:
    if not any(node.config.fallback for node in blueprint.nodes):
        return
    nodes = {node.id: node for node in blueprint.nodes}
    known = Words([*nodes, *(registry or ())])
    for node in blueprint.nodes:
        fallback = node.config.fallback
        if fallback is None:
            continue
        if fallback not in nodes:
            if registry is not None and fallback not in registry:
                message = (
                    f"the fallback {fallback!r} of node {node.id} is neither a node nor an implementation"
                    f"{known.hint(fallback)}"
                )
                yield Finding("UNKNOWN_FALLBACK", message, node.id)
            continue
        if nodes[fallback].uses in BUILT_IN_USES:
            message = f"the fallback {fallback!r} of node {node.id} waits, which a last attempt cannot"
            yield Finding("INVALID_FALLBACK", message, node.id)
        if _comes_back(node, nodes):
            message = f"node {node.id} is, over its fallback {fallback!r}, its own fallback"
            yield Finding("FALLBACK_CYCLE", message, node.id)
        elif nodes[fallback].config.fallback is not None:
            message = f"the fallback of {fallback!r} is not run when it stands in for node {node.id}"
            yield Finding("FALLBACK_CHAIN", message, node.id, severity="warning")
    yield from _fallback_edges(blueprint)


def _fallback_edges(blueprint: Blueprint) -> Iterator[Finding]:
    """Edges of a node that is only a fallback, where nobody can tell when they are taken."""
    spare = fallback_only_ids(blueprint)
    for node_id in sorted(spare & {edge.source for edge in blueprint.edges}):
        owners = [node.id for node in blueprint.nodes if node.config.fallback == node_id]
        if len(owners) > 1:
            message = (
                f"node {node_id} is only a fallback, of {' and '.join(owners)}, and has edges of its own, "
                "which can lead on from one of them only: give each a fallback of its own, or draw the edges "
                "from these nodes themselves"
            )
            yield Finding("FALLBACK_WITH_EDGES", message, node_id)
        elif owners[0] in spare:
            message = f"node {node_id} is the fallback of a fallback, which is not run: remove its edges"
            yield Finding("FALLBACK_WITH_EDGES", message, node_id)


def _comes_back(node: NodeDefinition, nodes: dict[str, NodeDefinition]) -> bool:
    """Whether following fallbacks from a node leads to it; chains are walked to their first repetition."""
    seen: set[str] = set()
    following = node.config.fallback
    while following in nodes and following not in seen and len(seen) < MAX_CHAIN:
        if following == node.id:
            return True
        seen.add(following)
        following = nodes[following].config.fallback
    return False
