"""What may be said of nodes, batches, waits and subflows in the builder, by name."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Literal, TypedDict

from flowcraft.blueprint import JoinStrategy, NodeConfig
from flowcraft.errors import BlueprintError
from flowcraft.implementation import NodeSettings


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


class WaitOptions(TypedDict, total=False):
    """What may be said of a node that waits for somebody.

    Attributes:
        params: For people and tools that show what a run waits for, JSON.
        inputs: A source, or sources by name; its taken edges by default.
        join: ``all`` (default) or ``any`` of the incoming edges.
    """

    params: Mapping[str, Any]
    inputs: str | Mapping[str, str]
    join: JoinStrategy


class SubflowOptions(TypedDict, total=False):
    """What may be said of a subflow, as of any node.

    Attributes:
        config: Settings of its attempts.
        fallback: Id of the node, or name of the implementation, that runs as the last attempt.
        join: ``all`` (default) or ``any`` of the incoming edges.
    """

    config: NodeConfig | NodeSettings
    fallback: str
    join: JoinStrategy


class BatchOptions(TypedDict, total=False):
    """What may be said of a batch.

    Attributes:
        inputs: Where the list comes from; the value of its taken edge by default.
        input_key: The original's word for ``inputs``.
        output_key: The context key that gets the list of results; the batch's id by default.
        concurrency: How many items are worked on at a time; 1,000 by default.
        chunk_size: The original's word for ``concurrency``.
        on_error: What a failed item means: ``fail`` the run (default), ``skip`` it, or ``collect`` its error.
        params: Static parameters of the worker.
        config: Retries, delay and timeout of an item.
        join: ``all`` (default) or ``any`` of the incoming edges.
    """

    inputs: str
    input_key: str
    output_key: str
    concurrency: int
    chunk_size: int
    on_error: Literal["fail", "skip", "collect"]
    params: Mapping[str, Any]
    config: NodeSettings
    join: JoinStrategy


def require_known(options: Mapping[str, Any], form: type, where: str) -> None:
    """Refuse options that nothing reads; without a type checker they would change nothing, silently.

    Args:
        options: As given.
        form: The ``TypedDict`` of those that there are.
        where: What they are of, for the message.

    Raises:
        BlueprintError: one is unknown; the message says what was probably meant.
    """
    known = list(form.__annotations__)
    for name in options:
        if name in known:
            continue
        if name in NodeSettings.__annotations__ and "config" in known:
            told = f"write config={{{name!r}: …}}"
        elif near := get_close_matches(name, known, n=1):
            told = f"did you mean {near[0]!r}?"
        else:
            told = f"there are {', '.join(known)}"
        raise BlueprintError(f"{where}: there is no option {name!r}; {told}")
