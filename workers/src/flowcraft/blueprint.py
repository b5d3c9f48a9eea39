"""The blueprint: a workflow as data, in upstream's JSON.

Upstream writes camelCase, and delays and timeouts in milliseconds; here they are seconds and say so. Fields
that this version does not know are kept and written back. What is checked here is shape alone; whether edges
end at nodes and nodes have implementations is the linter's.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal, cast

import orjson
import yaml

from flowcraft.errors import BlueprintError
from flowcraft.json_values import NotJsonError, check_json

MAX_NODES: Final = 20_000
MAX_EDGES: Final = 100_000
MAX_ID_BYTES: Final = 255
"""Of UTF-8; an item id is at most 1,023 bytes, and escaping makes three of one."""
MAX_VALUES: Final = 1_000_000
"""JSON values in one blueprint."""
MAX_FILE_BYTES: Final = 16 * 1024 * 1024
"""What is read of a file; one that is longer is cut, so it does not parse."""

JoinStrategy = Literal["all", "any"]
_KEY_CHARACTERS: Final = frozenset("#[]")


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """How a node is tried, replaced and joined. None: the implementation's own setting, else the default.

    Attributes:
        max_retries: Attempts in all, the first included (upstream's word, upstream's meaning); default 1.
        retry_delay_s: Seconds before the second attempt; it doubles from there; default 0.
        timeout_s: Seconds an attempt may take; default: no limit.
        fallback: Id of the node (or name of the implementation) that runs as the last attempt.
        join_strategy: ``all`` or ``any`` of the incoming edges.
        extra: Fields of the JSON that this version does not know.
    """

    max_retries: int | None = None
    retry_delay_s: float | None = None
    timeout_s: float | None = None
    fallback: str | None = None
    join_strategy: JoinStrategy = "all"
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Upstream's JSON, without what is not set."""
        known = {
            "maxRetries": self.max_retries,
            "retryDelay": _milliseconds(self.retry_delay_s),
            "timeout": _milliseconds(self.timeout_s),
            "fallback": self.fallback,
            "joinStrategy": None if self.join_strategy == "all" else self.join_strategy,
        }
        return _without_none(known) | dict(self.extra)


@dataclass(frozen=True, slots=True)
class NodeDefinition:
    """One step.

    Attributes:
        id: Its place in the blueprint.
        uses: Name of its implementation.
        params: Static parameters, as JSON.
        inputs: Where its input comes from: one source, or sources by name; None: its taken edges.
        config: Retries, timeout, fallback, join.
        extra: Fields of the JSON that this version does not know.
    """

    id: str
    uses: str
    params: Mapping[str, Any] = field(default_factory=dict)
    inputs: str | Mapping[str, str] | None = None
    config: NodeConfig = field(default_factory=NodeConfig)
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Upstream's JSON, without what is not set."""
        inputs = dict(self.inputs) if isinstance(self.inputs, Mapping) else self.inputs
        known = {
            "id": self.id,
            "uses": self.uses,
            "params": dict(self.params) or None,
            "inputs": inputs,
            "config": self.config.to_dict() or None,
        }
        return _without_none(known) | dict(self.extra)


@dataclass(frozen=True, slots=True)
class EdgeDefinition:
    """A connection of two nodes.

    Attributes:
        source: Id of the node it leaves.
        target: Id of the node it enters.
        action: Taken only when the source's result has this action.
        condition: Taken only when this expression holds.
        transform: Expression for the value that the target gets.
        extra: Fields of the JSON that this version does not know.
    """

    source: str
    target: str
    action: str | None = None
    condition: str | None = None
    transform: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Upstream's JSON, without what is not set."""
        known = {
            "source": self.source,
            "target": self.target,
            "action": self.action,
            "condition": self.condition,
            "transform": self.transform,
        }
        return _without_none(known) | dict(self.extra)


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

    def __hash__(self) -> int:
        return hash(self.content_hash)

    @property
    def version(self) -> str | None:
        """``metadata.version``; None when the blueprint has none."""
        version = self.metadata.get("version")
        return None if version is None else str(version)

    @property
    def content_hash(self) -> str:
        """SHA-256 of the canonical JSON (sorted keys), in hex."""
        if not self._hash:
            canonical = orjson.dumps(self.to_dict(), option=orjson.OPT_SORT_KEYS)
            object.__setattr__(self, "_hash", hashlib.sha256(canonical).hexdigest())
        return self._hash

    @property
    def node_ids(self) -> frozenset[str]:
        """Ids of all nodes."""
        return frozenset(node.id for node in self.nodes)

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
        return _without_none(known) | dict(self.extra)

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
            raise BlueprintError(f"a blueprint is an object with id, nodes and edges, not {_kind(document)}")
        try:
            check_json(document, MAX_VALUES)
        except NotJsonError as error:
            raise BlueprintError(f"the blueprint is not JSON: {error}") from None
        return _Reader("the blueprint", document).blueprint()

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
        """Read a file of JSON, or of YAML when it is named ``.yaml`` or ``.yml``.

        Raises:
            BlueprintError: it cannot be read, or its shape is wrong; the message names the file.
        """
        path = Path(path)
        try:
            with path.open("rb") as file:
                text = file.read(MAX_FILE_BYTES)
            if path.suffix in {".yaml", ".yml"}:
                return cls.from_dict(yaml.safe_load(text))
            return cls.from_json(text)
        except OSError as error:
            raise BlueprintError(f"{path}: {error.strerror or error}") from None
        except (yaml.YAMLError, RecursionError) as error:
            raise BlueprintError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
        except BlueprintError as error:
            raise BlueprintError(f"{path}: {error}") from None


class _Reader:
    """Takes known fields out of one object; what is left is ``extra``."""

    def __init__(self, where: str, document: Mapping[str, Any]) -> None:
        self.where = where
        self.rest = dict(document)

    def blueprint(self) -> Blueprint:
        blueprint_id = self.identifier("id", frozenset())
        nodes = tuple(reader.node() for reader in self.objects("nodes", MAX_NODES))
        edges = tuple(reader.edge() for reader in self.objects("edges", MAX_EDGES))
        metadata = self.mapping("metadata")
        version = metadata.get("version")
        if version is not None and not (isinstance(version, str) and version.strip()):
            raise BlueprintError(
                f'{self.where}: metadata.version must be a string such as "1", not {_kind(version)}'
            )
        return Blueprint(blueprint_id, nodes, edges, metadata, extra=self.rest)

    def node(self) -> NodeDefinition:
        node_id = self.identifier("id", _KEY_CHARACTERS)
        self.where = f"node {node_id}"
        uses = self.text("uses")
        if not uses:
            raise BlueprintError(f"{self.where}: `uses` must name the node's implementation")
        params = self.mapping("params")
        inputs = self._inputs()
        config = _Reader(f"{self.where}: config", self.mapping("config")).config()
        return NodeDefinition(node_id, uses, params, inputs, config, extra=self.rest)

    def edge(self) -> EdgeDefinition:
        source, target = self.text("source"), self.text("target")
        if not source or not target:
            raise BlueprintError(f"{self.where}: an edge needs the ids of its nodes as `source` and `target`")
        return EdgeDefinition(
            source,
            target,
            self.text("action"),
            self.text("condition"),
            self.text("transform"),
            extra=self.rest,
        )

    def config(self) -> NodeConfig:
        join = self.text("joinStrategy") or "all"
        if join not in {"all", "any"}:
            raise BlueprintError(f"{self.where}: joinStrategy must be `all` or `any`, not {join!r}")
        attempts = self.number("maxRetries", "attempts")
        if attempts is not None and attempts != int(attempts):
            raise BlueprintError(
                f"{self.where}: maxRetries must be a whole number of attempts, not {attempts}"
            )
        return NodeConfig(
            None if attempts is None else int(attempts),
            _seconds(self.number("retryDelay", "milliseconds")),
            _seconds(self.number("timeout", "milliseconds")) or None,
            self.text("fallback"),
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
            f"not {_kind(inputs)}"
        )

    def identifier(self, name: str, refused: frozenset[str]) -> str:
        value = self.rest.pop(name, None)
        if not isinstance(value, str) or not value:
            raise BlueprintError(
                f"{self.where}: `{name}` must be a string that is not empty, not {_kind(value)}"
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

    def text(self, name: str) -> str | None:
        value = self.rest.pop(name, None)
        if value is None or isinstance(value, str):
            return value or None
        raise BlueprintError(f"{self.where}: `{name}` must be a string, not {_kind(value)}")

    def number(self, name: str, unit: str) -> float | None:
        value = self.rest.pop(name, None)
        if value is None:
            return None
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not math.isfinite(value)
            or value < 0
        ):
            raise BlueprintError(f"{self.where}: {name} must be a number of {unit}, 0 or more, not {value!r}")
        return value

    def mapping(self, name: str) -> Mapping[str, Any]:
        value = self.rest.pop(name, None)
        if value is None:
            return {}
        if isinstance(value, Mapping):
            return dict(value)
        raise BlueprintError(f"{self.where}: `{name}` must be an object, not {_kind(value)}")

    def objects(self, name: str, limit: int) -> Iterator[_Reader]:
        value = self.rest.pop(name, None)
        if value is None and name == "edges":
            return
        if not isinstance(value, list | tuple):
            raise BlueprintError(f"{self.where}: `{name}` must be a list, not {_kind(value)}")
        if len(value) > limit:
            raise BlueprintError(
                f"{self.where}: {len(value)} {name} are more than {limit}; split it into several"
            )
        for position, item in enumerate(value):
            where = f"{name}[{position}]"
            if not isinstance(item, Mapping):
                raise BlueprintError(f"{where}: must be an object, not {_kind(item)}")
            yield _Reader(where, item)


def _kind(value: Any) -> str:
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


def _milliseconds(seconds: float | None) -> float | None:
    if seconds is None:
        return None
    exact = round(float(seconds) * 1000, 6)
    return int(exact) if exact.is_integer() else exact


def _without_none(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if value is not None}
