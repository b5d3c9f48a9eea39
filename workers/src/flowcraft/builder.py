"""The flow builder: a blueprint in a few lines of Python."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self, TypedDict, Unpack

from flowcraft.blueprint import Blueprint, EdgeDefinition, JoinStrategy, NodeConfig, NodeDefinition
from flowcraft.durations import duration_s, duration_text
from flowcraft.errors import BlueprintError
from flowcraft.implementation import NodeSettings, config_of
from flowcraft.json_values import NotJsonError, plain_json

if TYPE_CHECKING:
    from flowcraft.implementation import Registry
    from flowcraft.ui_graph import GraphRepresentation


class NodeOptions(TypedDict, total=False):
    """What may be said of a node, besides its id.

    Attributes:
        uses: Name of the implementation; the node's id by default.
        params: Static parameters, JSON.
        inputs: A source, or sources by name; its taken edges by default.
        config: Settings that win over the implementation's own; a ``NodeConfig`` stands as it is.
        fallback: Id of the node, or name of the implementation, that runs as the last attempt.
        join: ``all`` (default) or ``any`` of the incoming edges.
    """

    uses: str
    params: Mapping[str, Any]
    inputs: str | Mapping[str, str]
    config: NodeConfig | NodeSettings
    fallback: str
    join: JoinStrategy


class FlowBuilder:
    """Puts a blueprint together; every verb gives the builder back, so that calls chain."""

    def __init__(self, flow_id: str, *, version: str | None = None, registry: Registry | None = None) -> None:
        self.id = flow_id
        self.version = version
        self._registry = registry
        self._nodes: list[NodeDefinition] = []
        self._node_ids: set[str] = set()
        self._edges: list[EdgeDefinition] = []
        self._built: Blueprint | None = None

    def node(self, node_id: str, **options: Unpack[NodeOptions]) -> Self:
        """Add a node.

        Raises:
            AppError: a setting is unknown or out of range.
            BlueprintError: the flow has a node of this id.
        """
        given = options.get("config")
        config = given if isinstance(given, NodeConfig) else config_of(given or {}, f"node {node_id}")
        if fallback := options.get("fallback"):
            config = replace(config, fallback=fallback)
        if join := options.get("join"):
            config = replace(config, join_strategy=join)
        uses = options.get("uses", node_id)
        return self._add(
            NodeDefinition(node_id, uses, options.get("params") or {}, options.get("inputs"), config)
        )

    def wait(
        self,
        node_id: str,
        *,
        params: Mapping[str, Any] | None = None,
        inputs: str | Mapping[str, str] | None = None,
        join: JoinStrategy = "all",
    ) -> Self:
        """Add a node that waits for a decision; the decision's output and action become its result."""
        return self._add(
            NodeDefinition(node_id, "wait", params or {}, inputs, NodeConfig(join_strategy=join))
        )

    def sleep(self, node_id: str, duration: str | timedelta, *, join: JoinStrategy = "all") -> Self:
        """Add a node that lets time pass: ``"30s"``, ``"10m"``, ``"1h30m"``, ``"2d"`` or a ``timedelta``.

        Raises:
            BlueprintError: it is no duration.
        """
        if not isinstance(duration, str | timedelta):
            raise BlueprintError(
                f'node {node_id}: a duration is text such as "10m" or a timedelta, not {duration!r}'
            )
        try:
            duration_s(duration)
        except ValueError as error:
            raise BlueprintError(f"node {node_id}: {error}") from None
        text = duration if isinstance(duration, str) else duration_text(duration)
        config = NodeConfig(join_strategy=join)
        return self._add(NodeDefinition(node_id, "sleep", {"duration": text}, config=config))

    def edge(
        self,
        source: str,
        target: str,
        *,
        action: str | None = None,
        condition: str | None = None,
        transform: str | None = None,
    ) -> Self:
        """Connect two nodes; they may be added later."""
        self._edges.append(EdgeDefinition(source, target, action, condition, transform))
        self._built = None
        return self

    def to_blueprint(self) -> Blueprint:
        """The blueprint as it stands now; settings of the implementations are written into it.

        Raises:
            BlueprintError: there is no node, or something said of one is not a blueprint's.
        """
        if self._built is None:
            if not self._nodes:
                raise BlueprintError(f"flow {self.id}: it has no nodes; add one with .node(…)")
            metadata = {} if self.version is None else {"version": self.version}
            nodes = tuple(self._with_defaults(node) for node in self._nodes)
            drawn = Blueprint(self.id, nodes, tuple(self._edges), metadata)
            try:
                self._built = Blueprint.from_dict(plain_json(drawn.to_dict()))
            except (NotJsonError, BlueprintError) as error:
                raise BlueprintError(f"flow {self.id}: {error}") from None
        return self._built

    def to_graph_representation(self) -> GraphRepresentation:
        """The flow as user interfaces draw it: a batch is one node, a loop an edge that goes back.

        Raises:
            BlueprintError: the flow is not a blueprint yet.
        """
        from flowcraft.ui_graph import to_graph_representation  # noqa: PLC0415  for tools alone

        return to_graph_representation(self.to_blueprint())

    def _add(self, node: NodeDefinition) -> Self:
        if node.id in self._node_ids:
            raise BlueprintError(
                f"flow {self.id}: it has a node {node.id!r} already; give this one another id"
            )
        self._nodes.append(node)
        self._node_ids.add(node.id)
        self._built = None
        return self

    def _with_defaults(self, node: NodeDefinition) -> NodeDefinition:
        implementation = None if self._registry is None else self._registry.get(node.uses)
        if implementation is None:
            return node
        own, config = implementation.config, node.config
        merged = replace(
            config,
            max_retries=own.max_retries if config.max_retries is None else config.max_retries,
            retry_delay_s=own.retry_delay_s if config.retry_delay_s is None else config.retry_delay_s,
            timeout_s=own.timeout_s if config.timeout_s is None else config.timeout_s,
        )
        return replace(node, config=merged)
