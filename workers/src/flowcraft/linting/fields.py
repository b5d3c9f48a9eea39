"""Fields of the JSON that nothing reads, and that look like ones which are read."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from flowcraft.blueprint import Blueprint, NodeDefinition
from flowcraft.blueprint_schema import BlueprintForm, EdgeForm, NodeForm, fields_of
from flowcraft.linting.finding import Finding, Path, Words
from flowcraft.parameter_forms import PARAMS, ConfigForm

NODE_FIELDS: Final = fields_of(NodeForm)
CONFIG_FIELDS: Final = fields_of(ConfigForm)
EDGE_FIELDS: Final = fields_of(EdgeForm)
BLUEPRINT_FIELDS: Final = fields_of(BlueprintForm)
PARAM_FIELDS: Final = {uses: fields_of(form) for uses, form in PARAMS.items()}
_MEANT: Final[Mapping[str, str]] = {
    "retries": "maxRetries",
    "retry": "maxRetries",
    "join": "joinStrategy",
    "when": "condition",
    "if": "condition",
    "from": "source",
    "to": "target",
    "type": "uses",
}
"""What other tools call a field, by what it is called here."""


def misspelt_fields(blueprint: Blueprint) -> Iterator[Finding]:
    """Fields that were probably meant to be others; free ones are allowed and kept."""
    yield from _unread(blueprint.extra, BLUEPRINT_FIELDS, (), "the blueprint")
    for place, node in enumerate(blueprint.nodes):
        if node.extra:
            where = f"node {node.id}"
            yield from _unread(node.extra, NODE_FIELDS, ("nodes", place), where, node.id)
            for name in node.extra:
                if (told := _of_config(name)) is not None:
                    yield _finding(f"{where}: {told}", ("nodes", place, name), node.id)
        if node.config.extra:
            path: Path = ("nodes", place, "config")
            yield from _unread(node.config.extra, CONFIG_FIELDS, path, f"node {node.id}: config", node.id)
        if node.uses in PARAM_FIELDS:
            yield from _params(node, ("nodes", place, "params"))
    for place, edge in enumerate(blueprint.edges):
        if edge.extra:
            where = f"edge {edge.source} -> {edge.target}"
            for finding in _unread(edge.extra, EDGE_FIELDS, ("edges", place), where):
                yield Finding(
                    finding.code,
                    finding.message,
                    edge=(edge.source, edge.target),
                    severity="warning",
                    path=finding.path,
                )


def _params(node: NodeDefinition, path: Path) -> Iterator[Finding]:
    """Parameters of the engine's own kinds; those of an implementation are its own business."""
    yield from _unread_of(node.params, PARAM_FIELDS[node.uses], path, f"node {node.id}: params", node.id)
    config = node.params.get("config")
    if node.uses == "batch-scatter" and isinstance(config, Mapping):
        where = f"node {node.id}: params.config"
        yield from _unread_of(config, CONFIG_FIELDS, (*path, "config"), where, node.id)


def _unread_of(
    fields: Mapping[str, Any], known: Collection[str], path: Path, where: str, node: str
) -> Iterator[Finding]:
    extra = {name: value for name, value in fields.items() if name not in known}
    yield from _unread(extra, known, path, where, node)


def _of_config(name: str) -> str | None:
    """What to tell of a field of a node that belongs into its ``config``; None if it does not."""
    if name in CONFIG_FIELDS:
        return f"{name!r} is read in `config` alone; move it there"
    meant = _MEANT.get(name) or Words(CONFIG_FIELDS).meant(name)
    if meant in CONFIG_FIELDS and Words(NODE_FIELDS).meant(name) is None:
        return f"nothing reads {name!r}; did you mean {meant!r}, in `config`?"
    return None


def _unread(
    extra: Mapping[str, Any], known: Collection[str], path: Path, where: str, node: str | None = None
) -> Iterator[Finding]:
    for name in extra:
        if name.startswith("_"):
            continue  # the original's own, such as _sourceLocation
        meant = _MEANT.get(name) or Words(known).meant(name)
        if meant in known:
            message = f"{where}: nothing reads {name!r}; did you mean {meant!r}?"
            yield _finding(message, (*path, name), node)


def _finding(message: str, path: Path, node: str | None) -> Finding:
    return Finding("MISSPELT_FIELD", message, node, severity="warning", path=path)
