"""The node keys of a run as people look at them: what is recorded, what runs now, what is queued."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from flowcraft.engine.keys import NodeKey
from flowcraft_api.timestamps import parse_instant

if TYPE_CHECKING:
    from flowcraft.blueprint import Blueprint
    from flowcraft.records import NodeRecord
    from flowcraft_api.wire import HeaderDocument
    from flowcraft_cli.backend import Backend

AT_ONCE: Final = 90
"""Records with their outputs that are read in one request."""
MOST_INPUTS: Final = 1000
"""Node keys whose inputs are made again; a run may have many more."""
WAITING: Final = frozenset({"wait", "webhook", "sleep", "subflow"})
"""What nodes use that only wait, so that the whole time they took was waiting."""
LEFT: Final = {"cancelled": "cancelled", "failed": "unfinished"}
"""What became of node keys that had not ended when their run did, by the run's status."""
SHOWN_ALIKE: Final = 8
"""Children of one node, or rounds of one loop, from which on they are shown as one row."""


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node key at one moment.

    Attributes:
        key: The node key.
        node: The node id.
        status: A record's status, else ``running`` or ``queued``; where its run has ended before it,
            ``cancelled``, or ``unfinished`` if the run failed.
        record: What is recorded of it.
        progress: What its code said of its progress: done, and of how much.
        count: How many node keys this stands for.
        waits: It executes no code of its own, but waits: for a time, a person, a call, or another run.
    """

    key: str
    node: str
    status: str
    record: NodeRecord | None = None
    progress: tuple[float, float] | None = None
    count: int = 1
    waits: bool = False

    @property
    def started(self) -> datetime | None:
        """When its first attempt began."""
        return parse_instant(self.record.started_at or None) if self.record else None

    @property
    def finished(self) -> datetime | None:
        """When it was resolved, or began to wait."""
        return parse_instant(self.record.finished_at or None) if self.record else None

    @property
    def said(self) -> str:
        """Its progress as text."""
        if self.progress is None:
            return ""
        done, total = self.progress
        return f"{done:g}/{total:g} ({100 * done / total:.0f} %)" if total else ""


@dataclass(frozen=True, slots=True)
class RunNodes:
    """All node keys of a run.

    Attributes:
        nodes: In the order of what happened; then what runs, then what is queued.
        blueprint: What the run is pinned to; None as long as no worker has begun it.
    """

    nodes: tuple[NodeView, ...]
    blueprint: Blueprint | None


async def read_nodes(backend: Backend, header: HeaderDocument) -> RunNodes:
    """Look at a run's records, and at what is ready, claimed and reported beside them.

    Raises:
        PortError: the backend refuses or is away.
    """
    from flowcraft_api.wire import TERMINAL_STATUSES
    from flowcraft_cli.pinned import pinned_blueprint

    records = await backend.client.records(header["id"])
    blueprint = await pinned_blueprint(backend, header)
    waiting = {node.id for node in blueprint.nodes if node.uses in WAITING} if blueprint is not None else ()
    found = [NodeView(r.key, r.node, r.status, r, waits=r.node in waiting) for r in in_order(records)]
    status = header.get("status", "")
    if left := LEFT.get(status):
        found = [replace(view, status=left) if view.status == "awaiting" else view for view in found]
    if blueprint is not None and left:
        ready = _ready(blueprint, records)
        found += [NodeView(key, NodeKey.parse(key).node, left) for key in ready]
    elif blueprint is not None and status not in TERMINAL_STATUSES:
        found += await _moving(backend, header["id"], _ready(blueprint, records))
    return RunNodes(tuple(found), blueprint)


def _ready(blueprint: Blueprint, records: Mapping[str, NodeRecord]) -> list[str]:
    """The node keys that were handed to workers and have no record yet."""
    from flowcraft.engine.children import resolve_all
    from flowcraft.engine.plan import Plan

    return list(resolve_all(Plan.of(blueprint), records).ready)


async def _moving(backend: Backend, run_id: str, ready: Sequence[str]) -> list[NodeView]:
    from flowcraft.distributed.reports import reported
    from flowcraft.ports.errors import BackendUnavailableError

    if not ready:
        return []
    try:
        held = await backend.coordination.held(run_id, ready)
    except BackendUnavailableError:
        held = frozenset()
    said = await reported(backend.coordination, run_id) if held else {}
    views = [
        NodeView(key, NodeKey.parse(key).node, "running" if key in held else "queued", progress=said.get(key))
        for key in ready
    ]
    return sorted(views, key=lambda view: view.status == "queued")


def in_order(records: Mapping[str, NodeRecord]) -> list[NodeRecord]:
    """Records in the order of what happened; children that a number tells apart together, by that number."""
    first: dict[NodeKey, tuple[str, bool, int]] = {}
    keys = {record.key: NodeKey.parse(record.key) for record in records.values()}
    numbered = {key: number for key, each in keys.items() if (number := _number(each.child)) is not None}
    for key in numbered:
        owner, when = keys[key].owner, _when(records[key])
        first[owner] = min(first.get(owner, when), when)

    def place(record: NodeRecord) -> tuple[tuple[str, bool, int], str, int]:
        number = numbered.get(record.key)
        if number is None:
            return _when(record), "", 0
        owner = keys[record.key].owner
        return first[owner], str(owner), number

    return sorted(records.values(), key=place)


def _number(child: str | None) -> int | None:
    """The index that a child goes by; None for a name, which may have any number of digits."""
    return (
        int(child)
        if child is not None and child.isascii() and child.isdecimal() and len(child) < 10
        else None
    )


def _when(record: NodeRecord) -> tuple[str, bool, int]:
    """The order of what happened; what was skipped stands behind what caused it."""
    return record.finished_at or record.started_at, record.status == "skipped", record.seq


def folded(nodes: Sequence[NodeView]) -> list[NodeView]:
    """Children and rounds as one row a node and status, where there are many; the last one stands for all."""
    alike: dict[tuple[str, bool, str], list[NodeView]] = {}
    many: dict[tuple[str, bool], int] = {}
    for view in nodes:
        key = NodeKey.parse(view.key)
        place = (view.node, key.child is not None)
        many[place] = many.get(place, 0) + 1
        alike.setdefault((*place, view.status), []).append(view)
    rows: list[NodeView] = []
    told: set[tuple[str, bool, str]] = set()
    for view in nodes:
        place = (view.node, NodeKey.parse(view.key).child is not None)
        group = (*place, view.status)
        if many[place] <= SHOWN_ALIKE or view.status == "failed":
            rows.append(view)
        elif group not in told:
            told.add(group)
            same = alike[group]
            what = "children" if place[1] else "rounds"
            rows.append(replace(same[-1], key=f"{view.node} ({len(same)} {what})", count=len(same)))
    return rows


async def with_outputs(backend: Backend, run_id: str, nodes: Sequence[NodeView]) -> list[NodeView]:
    """The same with the outputs of their records, which are read for it.

    Raises:
        PortError: the backend refuses or is away.
    """
    keys = [view.key for view in nodes if view.record is not None and view.status != "skipped"]
    found: dict[str, NodeRecord] = {}
    for first in range(0, len(keys), AT_ONCE):
        loaded = await backend.facts.load(run_id, nodes=keys[first : first + AT_ONCE])
        found.update((key, stored.record) for key, stored in loaded.records.items())
    return [replace(view, record=found.get(view.key, view.record)) for view in nodes]


class NodeInputs:
    """What node keys were called with, made again of what is recorded; context keys are those of now."""

    def __init__(self, backend: Backend, header: HeaderDocument, blueprint: Blueprint) -> None:
        """Args: where the run lives; the run, with its input; what it is pinned to."""
        from flowcraft.engine.lookup import Known
        from flowcraft.engine.plan import Plan
        from flowcraft.evaluator import ExpressionEvaluator

        self._facts = backend.facts
        self._run_id = header["id"]
        self._input = header.get("input")
        self._plan = Plan.of(blueprint)
        self._evaluator = ExpressionEvaluator()
        self._known = Known()
        self._context: dict[str, Any] = {}
        self._deleted: frozenset[str] = frozenset()

    async def of(self, nodes: Sequence[NodeView], every: Sequence[NodeView]) -> dict[str, Any]:
        """The inputs of some of a run's node keys, by key; ``every`` has the outputs of all of them.

        Raises:
            PortError: the backend refuses or is away.
        """
        self._known.records.update((view.key, view.record) for view in every)
        found: dict[str, Any] = {}
        for view in nodes:
            shown = view.status != "skipped" and NodeKey.parse(view.key).child is None
            if shown and self._plan.knows(view.key) and len(found) < MOST_INPUTS:
                found[view.key] = await self._one(view.key)
        return found

    async def _one(self, key: str) -> Any:
        from flowcraft.engine.inputs import Facts, needs, node_input
        from flowcraft.engine.lookup import Lookup

        wanted = needs(self._plan, key, self._evaluator)
        lacking = sorted(wanted.context - self._context.keys())
        if lacking:
            loaded = await self._facts.load(self._run_id, context=lacking)
            self._context.update({name: loaded.context.get(name) for name in lacking})
            self._deleted |= loaded.deleted
        context = {name: self._context[name] for name in wanted.context if self._context[name] is not None}
        if not self._plan.loops:
            known = {name: self._known.records.get(name) for name in wanted.records}
            records = {name: record for name, record in known.items() if record is not None}
            return node_input(self._plan, key, Facts(records, context, self._input, None, self._deleted))
        lookup = Lookup(self._plan, NodeKey.parse(key), wanted.named, self._known)
        while (ask := lookup.ask()) is not None:
            marks = (await self._facts.load(self._run_id, context=ask.marks)).context if ask.marks else {}
            recorded = {each: record for each in ask.keys if (record := self._known.records.get(each))}
            self._known.answer(ask, recorded, marks)
        seen = lookup.seen
        facts = Facts(seen.records, context, self._input, seen.edges, self._deleted)
        return node_input(self._plan, key, facts)
