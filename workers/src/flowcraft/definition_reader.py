"""Reads the parts of a blueprint from upstream's JSON, and says in one sentence what is wrong with it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

from flowcraft.definitions import EdgeDefinition, JoinStrategy, NodeConfig, NodeDefinition
from flowcraft.durations import MAX_DURATION_S
from flowcraft.errors import BlueprintError
from flowcraft.json_values import MAX_INTEGER

T = TypeVar("T")
MAX_NODES: Final = 20_000
MAX_EDGES: Final = 100_000
MAX_ID_BYTES: Final = 255
"""Of UTF-8; an item id is at most 1,023 bytes, and escaping makes three of one."""
MAX_ATTEMPTS: Final = MAX_INTEGER
"""What somebody writes who means "for ever"; a larger number is no integer in every store."""
MAX_MILLISECONDS: Final = MAX_DURATION_S * 1000
_KEY_CHARACTERS: Final = frozenset("#[]")


@dataclass(frozen=True, slots=True)
class Parts:
    """A blueprint's fields as read."""

    id: str
    nodes: tuple[NodeDefinition, ...]
    edges: tuple[EdgeDefinition, ...]
    metadata: Mapping[str, Any]
    extra: Mapping[str, Any]


class DefinitionReader:
    """Takes known fields out of one object; what is left is ``extra``."""

    def __init__(self, where: str, document: Mapping[str, Any]) -> None:
        self.where = where
        self.rest = dict(document)

    def blueprint(self) -> Parts:
        """What a blueprint is made of."""
        blueprint_id = self._identifier("id", frozenset())
        nodes = tuple(self._placed("nodes", DefinitionReader.node, MAX_NODES))
        edges = tuple(self._placed("edges", DefinitionReader.edge, MAX_EDGES))
        metadata = self._mapping("metadata")
        version = metadata.get("version")
        if version is not None and not (isinstance(version, str) and version.strip()):
            raise BlueprintError(
                f'{self.where}: metadata.version must be a string such as "1", not {kind_of(version)}'
            )
        return Parts(blueprint_id, nodes, edges, metadata, self.rest)

    def _placed(self, name: str, read: Callable[[DefinitionReader], T], limit: int) -> Iterator[T]:
        """Read the objects of a list; an error says which one it is about."""
        for place, reader in enumerate(self._objects(name, limit)):
            try:
                yield read(reader)
            except BlueprintError as error:
                error.path = (name, place, *error.path)
                raise

    def node(self) -> NodeDefinition:
        """The object as a node."""
        node_id = self._identifier("id", _KEY_CHARACTERS)
        self.where = f"node {node_id}"
        uses = self._text("uses")
        if not uses:
            raise BlueprintError(f"{self.where}: `uses` must name the node's implementation")
        params = self._mapping("params")
        inputs = self._inputs()
        try:
            config = DefinitionReader(f"{self.where}: config", self._mapping("config")).config()
        except BlueprintError as error:
            error.path = ("config", *error.path)
            raise
        return NodeDefinition(node_id, uses, params, inputs, config, extra=self.rest)

    def edge(self) -> EdgeDefinition:
        """The object as an edge."""
        source, target = self._text("source"), self._text("target")
        if not source or not target:
            raise BlueprintError(f"{self.where}: an edge needs the ids of its nodes as `source` and `target`")
        return EdgeDefinition(
            source,
            target,
            self._text("action"),
            self._text("condition"),
            self._text("transform"),
            extra=self.rest,
        )

    def config(self) -> NodeConfig:
        """The object as a node's configuration."""
        join = self._text("joinStrategy") or "all"
        if join not in {"all", "any"}:
            raise self._wrong("joinStrategy", f"must be `all` or `any`, not {join!r}")
        attempts = self._number("maxRetries", "attempts", MAX_ATTEMPTS, "2^53 - 1")
        if attempts is not None and attempts != int(attempts):
            raise self._wrong("maxRetries", f"must be a whole number of attempts, not {attempts}")
        return NodeConfig(
            None if attempts is None else int(attempts),
            _seconds(self._milliseconds("retryDelay")),
            _seconds(self._milliseconds("timeout")) or None,
            self._text("fallback"),
            cast("JoinStrategy", join),
            extra=self.rest,
        )

    def _inputs(self) -> str | Mapping[str, str] | None:
        inputs = self.rest.pop("inputs", None)
        if inputs is None or isinstance(inputs, str):
            return inputs or None
        if isinstance(inputs, Mapping) and all(isinstance(source, str) for source in inputs.values()):
            return dict(inputs)
        raise BlueprintError(
            f'{self.where}: inputs must be a source such as "charge.paid", or an object of them, '
            f"not {kind_of(inputs)}"
        )

    def _identifier(self, name: str, refused: frozenset[str]) -> str:
        value = self.rest.pop(name, None)
        if not isinstance(value, str) or not value:
            raise BlueprintError(
                f"{self.where}: `{name}` must be a string that is not empty, not {kind_of(value)}"
            )
        if len(value.encode()) > MAX_ID_BYTES:
            raise BlueprintError(f"{self.where}: the id {value[:40]!r}… is longer than {MAX_ID_BYTES} bytes")
        if value != value.strip() or not value.isprintable():
            raise BlueprintError(
                f"{self.where}: the id {value!r} has white space at an end or unprintable characters"
            )
        if bad := sorted(refused & set(value)):
            raise BlueprintError(
                f"{self.where}: the id {value!r} contains {' '.join(bad)}, "
                "which mark rounds and children in node keys; rename it"
            )
        return value

    def _text(self, name: str) -> str | None:
        value = self.rest.pop(name, None)
        if value is None or isinstance(value, str):
            return value or None
        raise BlueprintError(f"{self.where}: `{name}` must be a string, not {kind_of(value)}")

    def _milliseconds(self, name: str) -> float | None:
        return self._number(name, "milliseconds", MAX_MILLISECONDS, "100 years")

    def _number(self, name: str, unit: str, most: float, most_shown: str) -> float | None:
        value = self.rest.pop(name, None)
        if value is None:
            return None
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not math.isfinite(value)
            or value < 0
        ):
            raise self._wrong(name, f"must be a number of {unit}, 0 or more, not {value!r}")
        if value > most:
            raise self._wrong(name, f"is {value!r} {unit}, and the most is {most_shown}")
        return value

    def _wrong(self, name: str, told: str) -> BlueprintError:
        """The error about one field, which knows its place."""
        error = BlueprintError(f"{self.where}: {name} {told}")
        error.path = (name,)
        return error

    def _mapping(self, name: str) -> Mapping[str, Any]:
        value = self.rest.pop(name, None)
        if value is None:
            return {}
        if isinstance(value, Mapping):
            return dict(value)
        raise BlueprintError(f"{self.where}: `{name}` must be an object, not {kind_of(value)}")

    def _objects(self, name: str, limit: int) -> Iterator[DefinitionReader]:
        value = self.rest.pop(name, None)
        if value is None and name == "edges":
            return
        if not isinstance(value, list | tuple):
            raise BlueprintError(f"{self.where}: `{name}` must be a list, not {kind_of(value)}")
        if len(value) > limit:
            raise BlueprintError(
                f"{self.where}: {len(value)} {name} are more than {limit}; split it into several"
            )
        for position, item in enumerate(value):
            where = f"{name}[{position}]"
            if not isinstance(item, Mapping):
                raise BlueprintError(f"{where}: must be an object, not {kind_of(item)}")
            yield DefinitionReader(where, item)


def kind_of(value: Any) -> str:
    """What a value is, in the words of an error."""
    if value is None:
        return "nothing"
    names = {
        bool: "a boolean",
        str: "a string",
        int: "a number",
        float: "a number",
        list: "a list",
        dict: "an object",
    }
    shown = f" ({value!r})" if isinstance(value, str | int | float) and len(repr(value)) <= 40 else ""
    return names.get(type(value), type(value).__name__) + shown


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000
