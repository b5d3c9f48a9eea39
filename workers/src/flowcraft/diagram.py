"""A blueprint, or a run of it, as Mermaid."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from flowcraft.analysis import analyze_blueprint
from flowcraft.blueprint import Blueprint, EdgeDefinition, NodeDefinition
from flowcraft.implementation import BUILT_IN_USES

MAX_LABEL: Final = 60
KINDS: Final = BUILT_IN_USES
"""Node kinds of the engine; they have a shape of their own."""
_STYLES: Final[Mapping[str, str]] = {
    "completed": "fill:#d9f2e0,stroke:#2e8b57",
    "failed": "fill:#fbd9d9,stroke:#c0392b",
    "awaiting": "fill:#fff3cd,stroke:#b8860b",
    "running": "fill:#d6e6ff,stroke:#1f6feb",
    "queued": "fill:#eef4ff,stroke:#8fb3e8,stroke-dasharray:4 3",
    "skipped": "fill:#eeeeee,stroke:#999999,color:#777777,stroke-dasharray:4 3",
}


def mermaid(
    blueprint: Blueprint,
    *,
    statuses: Mapping[str, str] | None = None,
    taken: Collection[int] | None = None,
    notes: Mapping[str, str] | None = None,
) -> str:
    """A flowchart, for Markdown and mermaid.live.

    Args:
        blueprint: What to draw.
        statuses: Of a run: ``completed``, ``failed``, ``awaiting``, ``running``, ``queued`` or ``skipped`` by
            node id.
        taken: Of a run: positions of the edges that were taken; they are drawn bold.
        notes: A further line of text in the shapes of nodes, by node id.
    """
    names = {node.id: f"n{place}" for place, node in enumerate(blueprint.nodes)}
    ends = set(analyze_blueprint(blueprint).terminal_node_ids)
    lines = ["flowchart TD"]
    more = notes or {}
    lines += [
        f"    {names[node.id]}{_shape(node, node.id in ends, more.get(node.id, ''))}"
        for node in blueprint.nodes
    ]
    drawn = 0
    for position, edge in enumerate(blueprint.edges):
        if edge.source not in names or edge.target not in names:
            continue
        lines.append(f"    {names[edge.source]} -->{_label(edge)} {names[edge.target]}")
        if taken is not None and position in taken:
            lines.append(f"    linkStyle {drawn} stroke:#1f6feb,stroke-width:3px")
        drawn += 1
    for node in blueprint.nodes:
        if node.config.fallback in names:
            lines.append(f"    {names[node.id]} -. fallback .-> {names[node.config.fallback]}")
    lines += _styling(names, statuses or {})
    return "\n".join(lines) + "\n"


def _shape(node: NodeDefinition, is_end: bool, note: str) -> str:
    label = _text(node.id)
    if node.uses != node.id:
        label = f"{label}<br/>{_text(node.uses)}"
    if note:
        label = f"{label}<br/>{_text(note)}"
    if node.uses in KINDS:
        return f'{{{{"{label}"}}}}'
    return f'(["{label}"])' if is_end else f'["{label}"]'


def _label(edge: EdgeDefinition) -> str:
    parts = [edge.action, edge.condition, edge.transform and f"⇒ {edge.transform}"]
    text = " · ".join(_text(part) for part in parts if part)
    return f'|"{text}"|' if text else ""


def _styling(names: Mapping[str, str], statuses: Mapping[str, str]) -> list[str]:
    lines = []
    for status, style in _STYLES.items():
        drawn = [
            names[node_id] for node_id, known in statuses.items() if known == status and node_id in names
        ]
        if drawn:
            lines += [f"    classDef {status} {style}", f"    class {','.join(drawn)} {status}"]
    return lines


def _text(text: str) -> str:
    """Text that Mermaid takes for nothing but text."""
    short = text if len(text) <= MAX_LABEL else text[: MAX_LABEL - 1] + "…"
    named = {"&": "&amp;", '"': "&quot;", "<": "&lt;", ">": "&gt;", "#": "&#35;", "`": "&#96;", "\n": " "}
    return "".join(named.get(character, character) for character in short)
