"""The form of ``params`` of the engine's own kinds of nodes, as models: part of the published JSON Schema.

What they must be is decided where they are read (``engine``, ``durations``) and told by the linter; a test
holds the three together. Parameters of your own implementations are free.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from flowcraft.definition_reader import MAX_ATTEMPTS, MAX_MILLISECONDS
from flowcraft.expressions.compiled import MAX_LENGTH

Text = Annotated[str, StringConstraints(min_length=1)]
Milliseconds = Annotated[float, Field(ge=0, le=MAX_MILLISECONDS)]
_Count = Annotated[int, Field(ge=1)]
_Duration = Annotated[str, StringConstraints(pattern=r"^([0-9]{1,15}(ms|[dhms])){1,5}$")]


class Part(BaseModel):
    """A part of a blueprint; unknown fields are kept, as the original keeps them."""

    model_config = ConfigDict(extra="allow", alias_generator=to_camel, strict=True)


class ConfigForm(Part):
    """How a node is tried, replaced and joined."""

    max_retries: Annotated[int, Field(ge=0, le=MAX_ATTEMPTS)] | None = Field(
        None, description="Attempts in all, the first included; without it, the implementation's own, else 1."
    )
    retry_delay: Milliseconds | None = Field(
        None, description="Milliseconds before the second attempt; doubles from there."
    )
    timeout: Milliseconds | None = Field(
        None, description="Milliseconds an attempt may take; 0 or nothing: no limit."
    )
    fallback: str | None = Field(
        None,
        description="Id of the node, or name of the implementation, that runs as the last attempt. Where a "
        "node that no edge enters stands in, its edges are taken, too.",
    )
    join_strategy: Literal["all", "any"] | None = Field(
        None,
        description="`all` (default) waits for every incoming edge, `any` runs at the first taken one.",
    )


class WaitParams(Part):
    """Parameters of `wait`: free, for people and tools that show what a run waits for."""


class WebhookParams(Part):
    """Parameters of `webhook`: free, for people and tools that show what a run waits for."""


class SleepParams(Part):
    """Parameters of `sleep`: how long it lets pass."""

    duration: _Duration | Milliseconds = Field(
        description='Such as "30s", "10m", "1h30m" or "2d"; a number is milliseconds.'
    )


class SubflowParams(Part):
    """Parameters of `subflow`: which blueprint runs, and what goes in and out."""

    blueprint_id: Text = Field(description="Id of the blueprint that it runs.")
    blueprint_version: str | None = Field(
        None, description="Which version of it; without it, the one that the worker's app added last."
    )
    inputs: dict[str, Text] | None = Field(
        None,
        description="Sources here (a node, a context key, a path), by key of the child's input; without it, "
        "the node's input is the child's.",
    )
    outputs: dict[str, Text] | None = Field(
        None, description="Sources in the child (a node, a context key), by context key here."
    )


class ScatterParams(Part):
    """Parameters of `batch-scatter`: what runs each item of a list, and how many at a time."""

    worker_uses_key: Text = Field(description="Name of the implementation that runs each item.")
    gather_node_id: Text = Field(description="Id of the node that gathers the results.")
    output_key: str | None = Field(
        None, description="Context key of the results, as the gather node says it."
    )
    concurrency: _Count | None = Field(
        None, description="How many items are worked on at a time; 1,000 by default."
    )
    chunk_size: _Count | None = Field(None, description="The original's word for `concurrency`.")
    on_error: Literal["fail", "skip", "collect"] | None = Field(
        None,
        description="What a failed item means: `fail` (default) fails the run, `skip` leaves it out of the "
        "results, `collect` puts its error in its place.",
    )
    params: dict[str, Any] | None = Field(None, description="Static parameters of the items' implementation.")
    config: ConfigForm | None = Field(None, description="Retries, timeout and fallback of each item.")


class GatherParams(Part):
    """Parameters of `batch-gather`: where the results go, which are its output, too."""

    output_key: str | None = Field(None, description="Context key that gets the list of results.")
    gather_node_id: str | None = Field(None, description="Its own id; the original writes it.")
    worker_uses_key: Text | None = Field(None, description="As the scatter node says it.")


class ControllerParams(Part):
    """Parameters of `loop-controller`: whether the loop goes on."""

    condition: Annotated[str, StringConstraints(min_length=1, max_length=MAX_LENGTH, pattern=r"\S")] = Field(
        description="Another round while this holds: a path such as result.output.more, or CEL."
    )
    max_iterations: _Count | None = Field(
        None, description="Rounds after which the loop fails; 10,000 by default."
    )


PARAMS: Final[Mapping[str, type[Part]]] = {
    "wait": WaitParams,
    "webhook": WebhookParams,
    "sleep": SleepParams,
    "subflow": SubflowParams,
    "batch-scatter": ScatterParams,
    "batch-gather": GatherParams,
    "loop-controller": ControllerParams,
}
"""The form of ``params`` by what a node uses."""
