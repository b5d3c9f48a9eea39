"""What a story has to have for a bug to show in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from tests.simulation.faults import CallFault
from tests.simulation.story import Story, Verb

from flowcraft.engine.plan import Plan

CRASHES: Final[tuple[CallFault, ...]] = ("crash before", "crash after")


def kills(story: Story) -> bool:
    """A node ends its worker each time."""
    return story.kills


def late(story: Story) -> bool:
    """There is no worker for hours."""
    return bool(story.late_s)


def decided(story: Story) -> bool:
    """Somebody decides."""
    return bool(story.decisions) and not story.acts


def acting(verb: Verb) -> Callable[[Story], bool]:
    """Somebody does this."""
    return lambda story: any(act.verb == verb for act in story.acts)


def waits_past_deadline(story: Story) -> bool:
    """A deadline, and a node for which nobody decides."""
    return story.deadline_s is not None and story.status == "awaiting"


def sleeps(story: Story) -> bool:
    """A node sleeps."""
    return any(node.uses == "sleep" for node in story.blueprint.nodes)


def long_retry(story: Story) -> bool:
    """A node is tried again after a delay that is an alarm."""
    retried = [node for node in story.blueprint.nodes if _params(node).get("fails")]
    return any(
        (node.config.retry_delay_s or 0) > 2 and story.told[node.id].state == "ran" for node in retried
    )


def long_retries(story: Story) -> bool:
    """The same, twice."""
    return long_retry(story) and any(_params(node).get("fails") == 2 for node in story.blueprint.nodes)


def fickle(story: Story) -> bool:
    """A node gives another output each time."""
    return any(_params(node).get("fickle") for node in story.blueprint.nodes)


def shared_key(story: Story) -> bool:
    """A condition reads the key that every node writes."""
    return any("last ==" in (edge.condition or "") for edge in story.blueprint.edges)


def joins(story: Story) -> bool:
    """Several edges enter a node."""
    return any(len(node.incoming) > 1 for node in Plan.of(story.blueprint).nodes.values())


def any_joins(story: Story) -> bool:
    """Several edges enter a node that the first one starts."""
    plan = Plan.of(story.blueprint)
    return any(node.any_join and len(node.incoming) > 1 for node in plan.nodes.values())


def dead_end(story: Story) -> bool:
    """Several terminal nodes, and none of them runs."""
    plan = Plan.of(story.blueprint)
    states = {story.told[key].state for key, node in plan.nodes.items() if node.arrives_at_end}
    return states == {"skipped"} and len(plan.end_sources) > 1


def dead_join(story: Story) -> bool:
    """A node that several edges enter is skipped, and a node before it ran."""
    plan = Plan.of(story.blueprint)
    for key, node in plan.nodes.items():
        before = {story.told[plan.edges[position].source].state for position in node.incoming}
        if len(node.incoming) > 1 and story.told[key].state == "skipped" and "ran" in before:
            return True
    return False


def _params(node: Any) -> dict[str, Any]:
    return dict(node.params)
