"""The blueprint: a workflow as data, in upstream's JSON.

Upstream writes camelCase, and delays and timeouts in milliseconds; here they are seconds and say so. Fields
that this version does not know are kept and written back. What is checked here is shape alone; whether edges
end at nodes and nodes have implementations is the linter's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import orjson

from flowcraft.definition_reader import MAX_EDGES, MAX_NODES, DefinitionReader, kind_of
from flowcraft.definitions import EdgeDefinition, JoinStrategy, NodeConfig, NodeDefinition, without_none
from flowcraft.errors import BlueprintError
from flowcraft.json_values import NotJsonError, check_json, path_to, with_integers
from flowcraft.sources import SourceDocument, SourceError, read_file

__all__ = [
    "MAX_EDGES",
    "MAX_NODES",
    "Blueprint",
    "EdgeDefinition",
    "JoinStrategy",
    "NodeConfig",
    "NodeDefinition",
]

T = TypeVar("T")
MAX_VALUES: Final = 1_000_000
"""JSON values in one blueprint."""


@dataclass(frozen=True, slots=True)
class Blueprint:
    """A workflow: nodes, the edges between them, and metadata. A value: it never changes after reading.

    Attributes:
        id: Its name.
        nodes: In the order written.
        edges: In the order written; records name edges by position here.
        metadata: Free JSON; ``version`` and ``cycleEntryPoints`` have a meaning.
        extra: Fields of the JSON that this version does not know.
    """

    id: str
    nodes: tuple[NodeDefinition, ...] = ()
    edges: tuple[EdgeDefinition, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    _hash: str = field(default="", init=False, repr=False, compare=False)
    _index: Mapping[str, NodeDefinition] = field(default_factory=dict, init=False, repr=False, compare=False)
    _ids: frozenset[str] | None = field(default=None, init=False, repr=False, compare=False)
    _kept: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __hash__(self) -> int:
        return hash(self.content_hash)

    @property
    def version(self) -> str | None:
        """``metadata.version``; None when the blueprint has none."""
        version = self.metadata.get("version")
        return None if version is None else str(version)

    @property
    def content_hash(self) -> str:
        """SHA-256 of the canonical JSON, in hex: sorted keys, whole numbers as integers.

        A store whose numbers are all doubles (Cosmos DB) gives 3 where 3.0 was written.
        """
        if not self._hash:
            canonical = orjson.dumps(self.to_dict(), option=orjson.OPT_SORT_KEYS)
            if b".0" in canonical:
                canonical = orjson.dumps(with_integers(self.to_dict()), option=orjson.OPT_SORT_KEYS)
            object.__setattr__(self, "_hash", hashlib.sha256(canonical).hexdigest())
        return self._hash

    @property
    def node_ids(self) -> frozenset[str]:
        """Ids of all nodes."""
        if self._ids is None:
            object.__setattr__(self, "_ids", frozenset([node.id for node in self.nodes]))
        assert self._ids is not None  # noqa: S101  just set
        return self._ids

    def derived(self, name: str, derive: Callable[[Blueprint], T]) -> T:
        """What is derived of it, kept with it: it never changes."""
        if name not in self._kept:
            self._kept[name] = derive(self)
        return cast("T", self._kept[name])

    def node(self, node_id: str) -> NodeDefinition:
        """The node of this id.

        Raises:
            KeyError: there is none.
        """
        if not self._index and self.nodes:
            object.__setattr__(self, "_index", {node.id: node for node in self.nodes})
        return self._index[node_id]

    def with_version(self, version: str) -> Blueprint:
        """The same blueprint under another version."""
        return replace(self, metadata={**self.metadata, "version": version})

    def to_dict(self) -> dict[str, Any]:
        """Upstream's JSON; ``Blueprint.from_dict`` reads it back to an equal blueprint."""
        known = {
            "id": self.id,
            "nodes": [node.to_dict() for node in self.nodes],
            "edges": [edge.to_dict() for edge in self.edges],
            "metadata": dict(self.metadata) or None,
        }
        return without_none(known) | dict(self.extra)

    def to_json(self) -> str:
        """``to_dict`` as indented JSON text."""
        return orjson.dumps(self.to_dict(), option=orjson.OPT_INDENT_2).decode()

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Blueprint:
        """Read upstream's JSON, parsed.

        Raises:
            BlueprintError: its shape is wrong; one sentence says where and what to do.
        """
        if not isinstance(document, Mapping):
            raise BlueprintError(
                f"a blueprint is an object with id, nodes and edges, not {kind_of(document)}"
            )
        try:
            check_json(document, MAX_VALUES)
        except NotJsonError as error:
            refused = BlueprintError(f"the blueprint is not JSON: {error}")
            refused.path = path_to(error.place, document)
            raise refused from None
        parts = DefinitionReader("the blueprint", document).blueprint()
        return cls(parts.id, parts.nodes, parts.edges, parts.metadata, parts.extra)

    @classmethod
    def from_json(cls, text: str | bytes) -> Blueprint:
        """Read upstream's JSON text.

        Raises:
            BlueprintError: it is no JSON, or its shape is wrong.
        """
        try:
            return cls.from_dict(orjson.loads(text))
        except orjson.JSONDecodeError as error:
            raise BlueprintError(f"the blueprint is not JSON: {error}") from None

    @classmethod
    def load(cls, path: str | Path) -> Blueprint:
        """Read a file of JSON or YAML, whatever its name.

        Raises:
            BlueprintError: it cannot be read, or its shape is wrong; the message names the file.
        """
        try:
            documents = read_file(path)
            return cls.from_dict(documents[0].value if len(documents) == 1 else _one(documents))
        except SourceError as error:
            where = f"{path}:{error.position}" if error.position else str(path)
            raise BlueprintError(f"{where}: {error}") from None
        except BlueprintError as error:
            raise BlueprintError(f"{path}: {error}") from None


def _one(documents: Sequence[SourceDocument]) -> Mapping[str, Any]:
    found = f"{len(documents)} documents" if documents else "nothing"
    raise BlueprintError(f"the file holds {found}; a blueprint is an object with id, nodes and edges")
