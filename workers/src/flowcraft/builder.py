"""The flow builder: a blueprint in a few lines of Python."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from json import dumps
from typing import TYPE_CHECKING, Any, Self, Unpack

from flowcraft.analysis import analyze_blueprint, reachable
from flowcraft.blueprint import Blueprint, EdgeDefinition, JoinStrategy, NodeConfig, NodeDefinition
from flowcraft.builder_options import BatchOptions, NodeOptions, SubflowOptions, WaitOptions, require_known
from flowcraft.durations import duration_s, duration_text
from flowcraft.errors import BlueprintError
from flowcraft.implementation import config_of
from flowcraft.json_values import NotJsonError, plain_json

if TYPE_CHECKING:
    from flowcraft.implementation import Registry
    from flowcraft.ui_graph import GraphRepresentation


class FlowBuilder:
    """Puts a blueprint together; every verb gives the builder back, so that calls chain."""

    def __init__(self, flow_id: str, *, version: str | None = None, registry: Registry | None = None) -> None:
        self.id = flow_id
        self.version = version
        self._registry = registry
        self._nodes: list[NodeDefinition] = []
        self._node_ids: set[str] = set()
        self._edges: list[EdgeDefinition] = []
        self._batches: list[str] = []
        self._loops: dict[str, tuple[str, str]] = {}
        self._entry_points: list[str] = []
        self._built: Blueprint | None = None

    def node(self, node_id: str, **options: Unpack[NodeOptions]) -> Self:
        """Add a node.

        Raises:
            AppError: a setting is unknown or out of range.
            BlueprintError: the flow has a node of this id, or an option is unknown.
        """
        require_known(options, NodeOptions, f"node {node_id}")
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

    def wait(self, node_id: str, **options: Unpack[WaitOptions]) -> Self:
        """Add a node that waits for a decision; the decision's output and action become its result."""
        return self._waiting(node_id, "wait", options)

    def webhook(self, node_id: str, **options: Unpack[WaitOptions]) -> Self:
        """Add a node that waits for a call from outside; what is called with becomes its output."""
        return self._waiting(node_id, "webhook", options)

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

    def subflow(
        self,
        node_id: str,
        blueprint_id: str,
        *,
        version: str | None = None,
        inputs: Mapping[str, str] | None = None,
        outputs: Mapping[str, str] | None = None,
        **options: Unpack[SubflowOptions],
    ) -> Self:
        """Add a node that runs another blueprint as a run of its own.

        Args:
            node_id: The node.
            blueprint_id: What it runs.
            version: Which version of it; the one added last by default.
            inputs: Sources here, by key of the child's input; by default the node's input is the child's.
            outputs: Sources in the child, by context key here; by default the child's output is the node's.
            **options: As of ``node``: ``config``, ``fallback``, ``join``.
        """
        require_known(options, SubflowOptions, f"subflow {node_id}")
        params = {
            "blueprintId": blueprint_id,
            "blueprintVersion": version,
            "inputs": inputs,
            "outputs": outputs,
        }
        given = {name: value for name, value in params.items() if value is not None}
        return self.node(node_id, uses="subflow", params=given, **options)

    def batch(self, batch_id: str, worker: str | Callable[..., Any], **options: Unpack[BatchOptions]) -> Self:
        """Add a batch: each item of a list is worked on by itself, and the results are gathered in order.

        Edges to and from ``batch_id`` are those of the whole batch, which is two nodes: ``<id>_scatter`` and
        ``<id>_gather``.

        Args:
            batch_id: The batch.
            worker: The implementation that runs an item: its name, or the decorated function itself.
            **options: Where the list comes from, where the results go, how many at a time, and what else.

        Raises:
            BlueprintError: the worker is code that is not registered, or an option is unknown.
        """
        require_known(options, BatchOptions, f"batch {batch_id}")
        scatter, gather = f"{batch_id}_scatter", f"{batch_id}_gather"
        output_key = options.get("output_key", batch_id)
        params = {
            "workerUsesKey": self._name_of(worker),
            "outputKey": output_key,
            "gatherNodeId": gather,
            "chunkSize": options.get("chunk_size"),
            "concurrency": options.get("concurrency"),
            "onError": options.get("on_error"),
            "params": options.get("params"),
            "config": config_of(options.get("config") or {}, f"batch {batch_id}").to_dict() or None,
        }
        given = {name: value for name, value in params.items() if value is not None}
        join = NodeConfig(join_strategy=options.get("join", "all"))
        inputs = options.get("inputs", options.get("input_key"))
        self._add(NodeDefinition(scatter, "batch-scatter", given, inputs, join))
        self._add(NodeDefinition(gather, "batch-gather", {"outputKey": output_key, "gatherNodeId": gather}))
        self._batches.append(batch_id)
        return self.edge(scatter, gather)

    def loop(
        self, loop_id: str, *, start: str, end: str, condition: str, max_iterations: int | None = None
    ) -> Self:
        """Add a loop around nodes of the flow: after ``end``, ``start`` runs again while the condition holds.

        Edges from ``loop_id`` are taken when it does not hold any more; they carry the output of ``end``.

        Args:
            loop_id: The loop; a node of its own, which decides.
            start: First node of a round; may be a batch.
            end: Last node of a round; may be a batch.
            condition: As of an edge.
            max_iterations: Rounds after which the loop fails; 10,000 by default.
        """
        params: dict[str, Any] = {"condition": condition}
        if max_iterations is not None:
            params["maxIterations"] = max_iterations
        self._add(NodeDefinition(loop_id, "loop-controller", params, config=NodeConfig(join_strategy="any")))
        self._loops[loop_id] = (start, end)
        self.edge(end, loop_id)
        return self.edge(loop_id, start, action="continue", transform=self._output_of(end))

    def set_cycle_entry_point(self, node_id: str) -> Self:
        """Say at which node a cycle begins that has several ways in."""
        self._entry_points.append(node_id)
        self._built = None
        return self

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
            metadata: dict[str, Any] = {} if self.version is None else {"version": self.version}
            nodes = tuple(self._with_defaults(node) for node in self._nodes)
            edges = tuple(map(self._wired, self._edges))
            if entries := self._entry_points or self._begun_by_loops(nodes, edges):
                metadata["cycleEntryPoints"] = entries
            drawn = Blueprint(self.id, nodes, edges, metadata)
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

    def _waiting(self, node_id: str, uses: str, options: WaitOptions) -> Self:
        """A node whose result somebody outside gives: there is nothing to retry, and nothing to time out."""
        require_known(options, WaitOptions, f"node {node_id}")
        config = NodeConfig(join_strategy=options.get("join", "all"))
        params, inputs = options.get("params") or {}, options.get("inputs")
        return self._add(NodeDefinition(node_id, uses, params, inputs, config))

    def _wired(self, edge: EdgeDefinition) -> EdgeDefinition:
        """An edge as drawn, with its ends at the nodes that a batch is, and as a loop's exit if it is one."""
        loop = self._loops.get(edge.source)
        if loop is not None and edge.action != "continue":
            action, transform = edge.action or "break", edge.transform or self._output_of(loop[1])
            edge = replace(edge, action=action, transform=transform)
        source = f"{edge.source}_gather" if edge.source in self._batches else edge.source
        target = f"{edge.target}_scatter" if edge.target in self._batches else edge.target
        return (
            edge
            if (source, target) == (edge.source, edge.target)
            else replace(edge, source=source, target=target)
        )

    def _begun_by_loops(
        self, nodes: tuple[NodeDefinition, ...], edges: tuple[EdgeDefinition, ...]
    ) -> list[str]:
        """Starts of loops that nothing leads into: the flow begins with them."""
        drawn = Blueprint(self.id, nodes, edges)
        reached = reachable(drawn, analyze_blueprint(drawn).start_node_ids)
        starts = {
            f"{start}_scatter" if start in self._batches else start for start, _ in self._loops.values()
        }
        ahead = {start: reachable(drawn, [start]) for start in sorted((starts & drawn.node_ids) - reached)}
        return [
            start for start in ahead if not any(start in ahead[other] for other in ahead if other != start)
        ]

    def _output_of(self, node_id: str) -> str:
        """The expression for a node's output, as the original writes it."""
        known = f"{node_id}_gather" if node_id in self._batches else node_id
        return f"context[{dumps(known)}]"

    def _name_of(self, worker: str | Callable[..., Any]) -> str:
        if isinstance(worker, str):
            return worker
        for name, implementation in (self._registry or {}).items():
            if implementation.code is worker:
                return name
        raise BlueprintError(f"flow {self.id}: {worker!r} is no node of the app; decorate it with @app.node")

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
