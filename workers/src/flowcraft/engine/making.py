"""What children are made of: a batch's items, or the definitions of nodes that a node gave back.

The owner's awaiting record holds it as its ``output`` until the owner completes: one fact, which whoever runs
a child has read once.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, cast

from flowcraft.definition_reader import DefinitionReader, kind_of
from flowcraft.definitions import NodeConfig, NodeDefinition
from flowcraft.engine.children import (
    DEFAULT_LANES,
    MAX_CHILDREN,
    MAX_DEPTH,
    ON_ERROR,
    Children,
    OnError,
    depth,
    names_of,
)
from flowcraft.engine.inputs import Evaluator, Facts, Needs, needs, node_input
from flowcraft.engine.keys import NodeKey
from flowcraft.engine.plan import Plan, PlannedNode
from flowcraft.errors import BlueprintError, InputError, OutputError
from flowcraft.json_values import NotJsonError, plain_json
from flowcraft.node import NodeResult, check_key
from flowcraft.records import NodeRecord

SCATTER: Final = "batch-scatter"
GATHER: Final = "batch-gather"


@dataclass(frozen=True, slots=True)
class Settings:
    """A batch's parameters, of the node that scatters it.

    Attributes:
        worker: Name of the implementation that runs each item.
        gather: Id of the node that gathers.
        lanes: How many items are worked on at a time.
        on_error: What a failed item means.
        params: Static parameters of the worker.
        config: Retries, timeout and fallback of the worker.
    """

    worker: str
    gather: str
    lanes: int
    on_error: OnError
    params: Mapping[str, Any]
    config: NodeConfig

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Settings:
        """Read the parameters of a ``batch-scatter`` node.

        Raises:
            BlueprintError: one is missing or out of range.
        """
        on_error = params.get("onError") or "fail"
        if on_error not in ON_ERROR:
            raise BlueprintError(f"`params.onError` is fail, skip or collect, not {on_error!r}")
        config = _object(params, "config")
        return cls(
            worker=_name(params, "workerUsesKey", "the implementation that runs each item"),
            gather=_name(params, "gatherNodeId", "the node that gathers the results"),
            lanes=_lanes(params, "concurrency") or _lanes(params, "chunkSize") or DEFAULT_LANES,
            on_error=cast("OnError", on_error),
            params=_object(params, "params"),
            config=DefinitionReader("`params.config`", config).config(),
        )


def _name(params: Mapping[str, Any], name: str, meaning: str) -> str:
    value = params.get(name)
    if not isinstance(value, str) or not value:
        raise BlueprintError(f"`params.{name}` must name {meaning}, and is {kind_of(value)}")
    return value


def _lanes(params: Mapping[str, Any], name: str) -> int | None:
    value = params.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 1 or value != int(value):
        raise BlueprintError(f"`params.{name}` must be a whole number from 1 on, not {value!r}")
    return int(value)


def _object(params: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = params.get(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise BlueprintError(f"`params.{name}` must be an object, not {kind_of(value)}")
    return value


@dataclass(frozen=True, slots=True)
class Made:
    """Children that an owner is about to have.

    Attributes:
        children: Which.
        material: What they are made of: what the owner's record holds while it awaits them.
        action: The action that the owner will complete with.
    """

    children: Children
    material: Any
    action: str | None = None


def scattered(key: str, definition: NodeDefinition, value: Any) -> Made | None:
    """The children of a batch over this input; None if it is empty.

    Raises:
        InputError: the input is not a list (nothing at all is an empty one, as in the original).
        BlueprintError: the node's parameters are not a batch's.
    """
    settings = Settings.of(definition.params)
    if value is None:
        value = []
    if not isinstance(value, list):
        raise InputError(f"the input of batch {key} must be a list of items, not {kind_of(value)}")
    if len(value) > MAX_CHILDREN:
        raise InputError(
            f"batch {key} has {len(value)} items, more than {MAX_CHILDREN}: scatter parts of them"
        )
    if not value:
        return None
    worker = NodeDefinition(definition.id, settings.worker, settings.params, config=settings.config)
    children = Children(key, len(value), settings.lanes, on_error=settings.on_error)
    return Made(children, _material(scatter_result(definition).output, [worker]) | {"items": value})


def _material(output: Any, nodes: Sequence[NodeDefinition]) -> dict[str, Any]:
    return {"output": output, "nodes": [node.to_dict() for node in nodes]}


def gathered_ids(plan: Plan, key: str) -> dict[str, str]:
    """The nodes whose children a ``batch-gather`` node gathers, each with its key in the same rounds.

    They are the nodes that scatter and name it; if none does, the nodes before it.
    """
    place = NodeKey.parse(key)
    ids = [
        node.id
        for node in plan.nodes.values()
        if node.definition.uses == SCATTER and node.definition.params.get("gatherNodeId") == place.node
    ] or [plan.edges[position].source for position in plan.incoming(key)]
    return {node_id: str(NodeKey(node_id, place.rounds[: len(plan.nodes[node_id].scope)])) for node_id in ids}


def code_of(definition: NodeDefinition) -> tuple[str, ...]:
    """Names of the implementations that a node asks for: its own, and that of the items it scatters."""
    worker = definition.params.get("workerUsesKey") if definition.uses == SCATTER else None
    return (definition.uses, worker) if isinstance(worker, str) else (definition.uses,)


def scatter_result(definition: NodeDefinition) -> NodeResult:
    """What a ``batch-scatter`` node gives, as in the original."""
    return NodeResult({"gatherNodeId": definition.params.get("gatherNodeId"), "hasMore": False})


def made_by(key: str, result: NodeResult, implements: Callable[[str], bool]) -> Made:
    """The children that a node's result asks for; ``implements`` tells of a ``uses`` whether it can run.

    Raises:
        OutputError: there is no code for one of them, or nodes made by nodes go too deep.
    """
    nodes = cast("Sequence[NodeDefinition]", result.dynamic_nodes)
    if depth(key) >= MAX_DEPTH:
        raise OutputError(f"nodes that make nodes go deeper than {MAX_DEPTH} here")
    for node in nodes:
        if not implements(node.uses):
            raise OutputError(f"dynamic node {node.id} uses {node.uses!r}, which is not registered")
    children = Children(key, len(nodes), names=names_of([node.id for node in nodes]))
    material = _material(result.output, nodes)
    if result.fallback_executed:
        material["fallback"] = True
    return Made(children, material, result.action)


def read_dynamic_nodes(nodes: Any) -> tuple[NodeDefinition, ...]:
    """The nodes of a result, given as definitions or as upstream's JSON.

    Raises:
        OutputError: they are not a list of nodes with ids of their own.
    """
    if not isinstance(nodes, list | tuple):
        raise OutputError(f"a result's dynamic_nodes must be a list of nodes, not {kind_of(nodes)}")
    if len(nodes) > MAX_CHILDREN:
        raise OutputError(f"a result has {len(nodes)} dynamic nodes, more than {MAX_CHILDREN}")
    read: dict[str, NodeDefinition] = {}
    for place, node in enumerate(nodes):
        where = f"dynamic_nodes[{place}]"
        document = node.to_dict() if isinstance(node, NodeDefinition) else node
        if not isinstance(document, Mapping):
            raise OutputError(f"{where} must be a node, not {kind_of(node)}")
        try:
            definition = DefinitionReader(where, plain_json(document)).node()
        except NotJsonError as error:
            raise OutputError(f"{where} cannot be stored: {error}") from None
        except BlueprintError as error:
            raise OutputError(str(error)) from None
        if definition.id in read:
            raise OutputError(f"{where} has the id {definition.id!r} of another one; ids tell them apart")
        read[definition.id] = definition
    return tuple(read.values())


@dataclass(frozen=True, slots=True)
class Owned:
    """Children with what they are made of, as whoever runs them knows them.

    Attributes:
        children: Which.
        result: What the owner completes with once they are resolved.
        seq: Logical time of the children.
        items: Input of each child, of a batch.
        nodes: The node of each child; of a batch, one for all.
    """

    children: Children
    result: NodeResult
    seq: int
    items: Sequence[Any] | None
    nodes: Sequence[PlannedNode]

    @classmethod
    def of(cls, record: NodeRecord) -> Owned:
        """Read an awaiting record.

        Raises:
            ValueError: the record does not await children.
        """
        children = Children.of(record)
        if children is None or record.resolved:
            raise ValueError(f"{record.key} does not await children")
        material = record.output
        nodes = [_planned(DefinitionReader("child", node).node()) for node in material["nodes"]]
        result = NodeResult(material["output"], record.action, material.get("fallback", False))
        return cls(children, result, record.seq + 1, material.get("items"), nodes)

    def node(self, key: str) -> PlannedNode:
        """The node that a child is a place of: it has no edges.

        Raises:
            KeyError: there is no such child.
        """
        place = self.children.place(key)
        return self.nodes[0 if self.items is not None else place]

    def plan(self, plan: Plan, key: str) -> Plan:
        """The plan of the run with one child in it, under its key."""
        return replace(
            plan, nodes=ChainMap({key: self.node(key)}, cast("dict[str, PlannedNode]", plan.nodes))
        )

    def told(self, plan: Plan, key: str, output: Any) -> dict[str, Any]:
        """The context key that a made node's output is: its id, by which nodes behind its maker name it.

        None of an item's of a batch, of a name that a node of the blueprint has, and of one that no context
        key can have.
        """
        name = "" if self.items is not None else self.node(key).id
        return {name: output} if name and name not in plan.nodes and _is_key(name) else {}

    def needs(self, plan: Plan, key: str, evaluator: Evaluator) -> Needs:
        """What a child's turn reads, besides its owner's record."""
        if self.items is not None or self.node(key).definition.inputs is None:
            return _NOTHING
        return needs(self.plan(plan, key), key, evaluator)

    def input(self, plan: Plan, key: str, facts: Facts) -> Any:
        """A child's input: its item, or what its ``inputs`` name, if it has any."""
        if self.items is not None:
            return self.items[self.children.place(key)]
        if self.node(key).definition.inputs is None:
            return None
        return node_input(self.plan(plan, key), key, facts)


def _is_key(name: str) -> bool:
    try:
        check_key(name)
    except ValueError:
        return False
    return True


def _planned(definition: NodeDefinition) -> PlannedNode:
    return PlannedNode(definition.id, definition, (), (), any_join=False, arrives_at_end=False)


_NOTHING: Final = Needs(frozenset(), frozenset())
