"""A blueprint with its code looked up: what every run of it in memory shares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flowcraft.blueprint import Blueprint
from flowcraft.engine.inputs import Evaluator, Needs, needs
from flowcraft.engine.plan import Plan, PlannedNode
from flowcraft.implementation import BUILT_IN_USES, NodeImplementation, Registry, RetryPolicy
from flowcraft.linter import require_valid


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
    """

    planned: PlannedNode
    code: Code | None
    fallback: Code | None
    needs: Needs | None
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Program:
    """A plan and the step of each of its nodes.

    Attributes:
        plan: The compiled blueprint.
        steps: By node id.
        blocks: Some of its code is synchronous and runs in threads.
    """

    plan: Plan
    steps: Mapping[str, Step]
    blocks: bool

    @classmethod
    def of(cls, blueprint: Blueprint, registry: Registry, evaluator: Evaluator) -> Program:
        """Look everything up once.

        Raises:
            BlueprintError: the blueprint has mistakes, or uses code that is not registered.
        """
        require_valid(blueprint, registry)
        plan = Plan.of(blueprint)
        steps = {node.id: _step(plan, node, registry, evaluator) for node in plan.nodes.values()}
        codes = [code for step in steps.values() for code in (step.code, step.fallback) if code is not None]
        return cls(plan, steps, any(code.implementation.kind != "async" for code in codes))


def _step(plan: Plan, node: PlannedNode, registry: Registry, evaluator: Evaluator) -> Step:
    definition = node.definition
    code = fallback = None
    if definition.uses not in BUILT_IN_USES:
        own = registry[definition.uses]
        code = Code(node.id, own, own.policy(definition.config), definition.params)
        fallback = _fallback(plan.blueprint, node, registry)
    edges = [plan.edges[position] for position in node.outgoing]
    reads = definition.inputs is not None or any(edge.condition or edge.transform for edge in edges)
    return Step(
        planned=node,
        code=code,
        fallback=fallback,
        needs=needs(plan, node.id, evaluator) if reads else None,
        sources=tuple(dict.fromkeys(plan.edges[position].source for position in node.incoming)),
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
