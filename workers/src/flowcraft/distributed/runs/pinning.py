"""Pinning: the blueprint snapshot that a run follows to its end, and the plan made of it."""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime
from functools import lru_cache
from typing import Final

import orjson

from flowcraft.blueprint import Blueprint
from flowcraft.distributed.runs import header as headers
from flowcraft.engine.inputs import Evaluator
from flowcraft.engine.plan import Plan
from flowcraft.evaluators import lintable
from flowcraft.implementation import Registry
from flowcraft.linter import require_valid
from flowcraft.ports import FactStore
from flowcraft_api.wire import HeaderDocument

INLINE_BYTES: Final = 32 * 1024
"""Blueprint snapshots and inputs up to this size live in the header."""


async def pin(
    facts: FactStore, document: HeaderDocument, blueprint: Blueprint, now: datetime, queue: str
) -> HeaderDocument:
    """The header with the blueprint pinned; a large snapshot is written as an item of its own first."""
    snapshot_ref = ""
    if _is_large(blueprint):
        snapshot_ref = await facts.write_snapshot(
            document["runId"], blueprint.content_hash, blueprint.to_dict()
        )
    return headers.pinned(document, blueprint, now, queue=queue, snapshot_ref=snapshot_ref)


async def pinned_blueprint(facts: FactStore, header: HeaderDocument) -> Blueprint:
    """The blueprint of a pinned run; a large one is read from its own item.

    Raises:
        StaleReadError: the snapshot is not visible yet.
    """
    snapshot = header.get("blueprint")
    if snapshot is None:
        snapshot = dict(await facts.read_snapshot(header["runId"], header.get("blueprintRef") or ""))
    return Blueprint.from_dict(snapshot)


@lru_cache(maxsize=256)
def _is_large(blueprint: Blueprint) -> bool:
    return len(orjson.dumps(blueprint.to_dict())) > INLINE_BYTES


class Plans:
    """Plans of pinned snapshots by content hash; the least recently used ones are dropped."""

    def __init__(self, size: int = 128, evaluator: Evaluator | None = None) -> None:
        """Args: how many plans are kept; whose expressions blueprints have, the default one's by default."""
        self._evaluator = evaluator
        self._size = size
        self._valid: set[str] = set()
        self._plans: OrderedDict[str, Plan] = OrderedDict()

    async def of(self, facts: FactStore, header: HeaderDocument) -> Plan:
        """The plan of a pinned run; costs a read only for a large snapshot not seen before.

        Raises:
            StaleReadError: the snapshot is not visible yet.
        """
        content_hash = header.get("blueprintHash") or ""
        plan = self._plans.get(content_hash)
        if plan is None:
            plan = self._plans[content_hash] = Plan.of(await pinned_blueprint(facts, header))
            if len(self._plans) > self._size:
                self._plans.popitem(last=False)
        self._plans.move_to_end(content_hash)
        return plan

    def require_valid(self, blueprint: Blueprint, registry: Registry) -> None:
        """Refuse a blueprint with mistakes; one that was found valid is not looked at again.

        Raises:
            BlueprintError: it has mistakes, or a node without implementation.
        """
        if blueprint.content_hash not in self._valid:
            seen = blueprint if self._evaluator is None else lintable(blueprint, self._evaluator)
            require_valid(seen, registry)
            self._valid.add(blueprint.content_hash)

    def keep(self, blueprint: Blueprint) -> Plan:
        """The plan of a blueprint that was just pinned."""
        plan = self._plans[blueprint.content_hash] = Plan.of(blueprint)
        return plan
