"""What a run in memory takes from its process."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import field
from random import Random
from typing import Any

from flowcraft.engine.inputs import Evaluator
from flowcraft.extensions import Extensions
from flowcraft.memory.control import RunControl
from flowcraft.memory.stamps import Stamps
from flowcraft.memory.subflows import Subflows
from flowcraft.ports.clock import Clock
from flowcraft.values import value_class


@value_class
class Surround:
    """What a run takes from its process.

    Attributes:
        clock: Time.
        random: Jitter.
        evaluator: Conditions and transforms.
        dependencies: Handed to every node.
        concurrency: Nodes that execute at a time.
        threads: Where synchronous nodes run; None: the loop's own pool.
        extensions: What the app brought along.
        stamps: The clock's time as records have it.
        control: Pauses and cancels the run from outside.
        inputs: Inputs of nodes, by id or key, instead of those that the blueprint gives them.
        subflows: Carries child runs on.
    """

    clock: Clock
    random: Random
    evaluator: Evaluator
    dependencies: Mapping[str, Any]
    concurrency: int
    threads: Executor | None
    extensions: Extensions
    stamps: Stamps
    control: RunControl | None = None
    inputs: Mapping[str, Any] = field(default_factory=dict)
    subflows: Subflows | None = None
