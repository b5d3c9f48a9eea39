"""A blueprint with its code looked up: what every run of it in memory shares."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

from pydantic import TypeAdapter

from flowcraft.blueprint import Blueprint
from flowcraft.engine.choice import choose_edges
from flowcraft.engine.inputs import LOOP_CONTROLLER, Evaluator, Facts, Needs, needs
from flowcraft.engine.keys import NodeKey
from flowcraft.engine.making import code_of
from flowcraft.engine.plan import Plan, PlannedNode
from flowcraft.engine.resolution import Wave, follow
from flowcraft.engine.subflows import sources_of
from flowcraft.evaluators import lintable
from flowcraft.implementation import BUILT_IN_USES, NodeImplementation, Registry, RetryPolicy
from flowcraft.linter import require_valid
from flowcraft.node import NodeContext, NodeResult

MAX_WAVES: Final = 100_000


@dataclass(frozen=True, slots=True)
class Code:
    """An implementation as one node uses it.

    Attributes:
        node_id: The node whose code it is: the node itself, or its fallback.
        implementation: The code.
        policy: How it is tried.
        params: Its static parameters.
    """

    node_id: str
    implementation: NodeImplementation
    policy: RetryPolicy
    params: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """A node as runs act on it.

    Attributes:
        planned: Its place in the plan.
        code: What it runs; None for a kind that the engine acts on itself.
        fallback: What runs as its last attempt.
        needs: What its inputs and expressions name; None if it reads nothing but its taken edges.
        sources: Ids of the nodes before it.
        nests: It runs another blueprint.
        plain: The edges taken when there is no action, where no expression has a say in it; else None.
    """

    planned: PlannedNode
    code: Code | None
    fallback: Code | None
    needs: Needs | None
    sources: tuple[str, ...]
    plain: tuple[int, ...] | None
    nests: bool = False


@dataclass(slots=True)
class Straight:
    """A node outside of loops whose code is one async function, and which reads nothing but its taken edges.

    All that its turn needs is in one place: a graph of ten thousand nodes is larger than a processor's cache.

    Attributes:
        function: Its code, called with the context.
        output_type: What its output is turned to JSON by; None: it is JSON.
        params: Static parameters.
        sources: Ids of the nodes before it.
        edge: Position of the one edge that enters it; None where there are more, or none.
        taken: The edges taken where there is no action.
        wave: What follows then, once somebody has asked.
        step: The node as any other.
    """

    function: Callable[[NodeContext], Awaitable[Any]]
    output_type: TypeAdapter[Any] | None
    params: Mapping[str, Any]
    sources: tuple[str, ...]
    edge: int | None
    taken: tuple[int, ...]
    step: Step
    wave: Wave | None = None

    @classmethod
    def of(cls, plan: Plan, step: Step) -> Straight | None:
        """The node as such, if it is one."""
        code, incoming = step.code, step.planned.incoming
        if plan.loops or code is None or step.plain is None or step.needs is not None:
            return None
        own, signature = code.implementation, code.implementation.signature
        asks = not signature.plain or signature.input_type is not None
        if own.kind != "async" or asks or code.policy.timeout_s is not None:
            return None
        function = cast("Callable[[NodeContext], Awaitable[Any]]", own.code)
        edge = incoming[0] if len(incoming) == 1 else None
        return cls(function, signature.output_type, code.params, step.sources, edge, step.plain, step)


@dataclass(frozen=True, slots=True)
class Program:
    """A plan and the step of each of its nodes.

    Attributes:
        plan: The compiled blueprint.
        steps: By node id.
        straight: Those of them that take straight turns, by node id.
        terminal: Ids of the nodes whose outputs make the run's output.
        blocks: Some of its code is synchronous and runs in threads.
        registry: Where code is looked up.
        evaluator: Conditions and transforms.
    """

    plan: Plan
    steps: Mapping[str, Step]
    straight: Mapping[str, Straight]
    terminal: tuple[str, ...]
    blocks: bool
    registry: Registry
    evaluator: Evaluator
    _waves: dict[tuple[str, tuple[int, ...]], Wave] = field(default_factory=dict)

    @classmethod
    def of(cls, blueprint: Blueprint, registry: Registry, evaluator: Evaluator) -> Program:
        """Look everything up once.

        Raises:
            BlueprintError: the blueprint has mistakes, or uses code that is not registered.
        """
        require_valid(lintable(blueprint, evaluator), registry)
        plan = Plan.of(blueprint)
        steps = {node.id: _step(plan, node, registry, evaluator) for node in plan.nodes.values()}
        codes = [code for step in steps.values() for code in (step.code, step.fallback) if code is not None]
        used = [code.implementation for code in codes]
        used += [registry[name] for node in blueprint.nodes for name in code_of(node)[1:] if name in registry]
        blocks = any(implementation.kind != "async" for implementation in used)
        straight = {name: found for name, step in steps.items() if (found := Straight.of(plan, step))}
        return cls(plan, steps, straight, plan.terminal_nodes, blocks, registry, evaluator)

    def child(self, node: PlannedNode) -> Step:
        """The step of a node that is not in the blueprint, because another one made it."""
        code = fallback = None
        if node.definition.uses not in BUILT_IN_USES:
            own = self.registry[node.definition.uses]
            code = Code(node.id, own, own.policy(node.definition.config), node.definition.params)
            fallback = _fallback(self.plan.blueprint, node, self.registry)
        nests = node.definition.uses == "subflow"
        return Step(node, code, fallback, needs=None, sources=(), plain=(), nests=nests)

    def step(self, key: str) -> Step:
        """The step of a node key.

        Raises:
            KeyError: the blueprint has no such node.
        """
        found = self.steps.get(key)  # a key outside of loops is the node's id
        return found if found is not None else self.steps[NodeKey.parse(key).node]

    def follow(self, key: str, taken: tuple[int, ...]) -> Wave:
        """The engine's ``follow``, whose answers are kept: another run will ask the same."""
        wave = self._waves.get((key, taken))
        if wave is None:
            if len(self._waves) > MAX_WAVES:
                self._waves.clear()
            wave = self._waves[key, taken] = follow(self.plan, key, taken)
        return wave

    def onward(self, straight: Straight) -> Wave:
        """What follows from a node that takes a straight turn."""
        if straight.wave is None:
            straight.wave = follow(self.plan, straight.step.planned.id, straight.taken)
        return straight.wave


def _step(plan: Plan, node: PlannedNode, registry: Registry, evaluator: Evaluator) -> Step:
    definition = node.definition
    code = fallback = None
    if definition.uses not in BUILT_IN_USES:
        own = registry[definition.uses]
        code = Code(node.id, own, own.policy(definition.config), definition.params)
        fallback = _fallback(plan.blueprint, node, registry)
    elif definition.uses == "subflow":
        fallback = _fallback(plan.blueprint, node, registry)
    edges = [plan.edges[position] for position in node.outgoing]
    decides = any(edge.condition or edge.transform for edge in edges)
    decides = decides or not plan.stand_in.isdisjoint(node.outgoing)
    reads = (
        decides
        or definition.inputs is not None
        or definition.uses == LOOP_CONTROLLER
        or bool(sources_of(definition))
    )
    plain = None
    if not decides:
        plain, _ = choose_edges(plan, node.id, NodeResult(), Facts({}, {}, None), evaluator)
    return Step(
        planned=node,
        code=code,
        fallback=fallback,
        needs=needs(plan, node.id, evaluator) if reads else None,
        sources=tuple(dict.fromkeys(plan.edges[position].source for position in node.incoming)),
        plain=plain,
        nests=definition.uses == "subflow",
    )


def _fallback(blueprint: Blueprint, node: PlannedNode, registry: Registry) -> Code | None:
    """The fallback that a node names: a node of the blueprint, else an implementation by its name."""
    name = node.definition.config.fallback
    if name is None:
        return None
    try:
        stands_in = blueprint.node(name)
    except KeyError:
        own = registry[name]
        return Code(name, own, own.policy(node.definition.config), node.definition.params)
    own = registry[stands_in.uses]
    return Code(name, own, own.policy(stands_in.config), stands_in.params)
