"""Kinds of node that wait for something: what each does at its first turn, and when it is woken.

A kind is one module with one value of ``WaitingKind``, named here twice: by the ``uses`` that begins it, and
by the ``kind`` of the awaiting record that it left. What is in neither table is a node with code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from flowcraft.distributed.jobs.kinds.alarm import SLEEP
from flowcraft.distributed.jobs.kinds.children import AWAITED, GATHER, SCATTER
from flowcraft.distributed.jobs.kinds.contract import Act, Acting, WaitingKind
from flowcraft.distributed.jobs.kinds.looping import CONTROLLER
from flowcraft.distributed.jobs.kinds.person import WAIT, WEBHOOK
from flowcraft.distributed.jobs.kinds.subflow import SUBFLOW
from flowcraft.records import AwaitKind

__all__ = ["BEGUN_BY", "WOKEN", "Act", "Acting", "WaitingKind"]

BEGUN_BY: Final[Mapping[str, WaitingKind]] = {
    "wait": WAIT,
    "webhook": WEBHOOK,
    "sleep": SLEEP,
    "subflow": SUBFLOW,
    "batch-scatter": SCATTER,
    "batch-gather": GATHER,
    "loop-controller": CONTROLLER,
}
"""What acts on a node at its first turn, by its ``uses``."""
WOKEN: Final[Mapping[AwaitKind, WaitingKind]] = {
    "wait": WAIT,
    "webhook": WEBHOOK,
    "sleep": SLEEP,
    "run": SUBFLOW,
    "children": AWAITED,
}
"""What acts on a node key that waits, by the kind of its awaiting record; after ``retry`` it begins again."""
