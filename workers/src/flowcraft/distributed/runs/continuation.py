"""Going on from another run's results: which node keys a new run takes over, and its header. Pure.

A retry, and a run again from a node, is a run of its own: what ended stays as it is. Its header fixes the
list of adopted keys before anything else happens, so that whoever goes on after a crash copies the same ones.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, cast

from flowcraft.distributed.runs.amendments import names_of
from flowcraft.distributed.runs.header import FORMAT, expired
from flowcraft.distributed.runs.verbs import RERUNS, NodeState, RefusedError, Verb, permits
from flowcraft.engine.children import Children, own_name, owner_of
from flowcraft.engine.keys import NodeKey
from flowcraft.engine.marks import exit_name, is_mark, over_name, round_name
from flowcraft.engine.plan import Plan
from flowcraft.records import NodeRecord
from flowcraft.times import iso, later, parse_time
from flowcraft_api.wire import ContinuesDocument, HeaderDocument, PatchDocument

_KEPT: Final = (
    "queue", "pool", "namespace", "name", "blueprintId", "blueprintVersion", "blueprintHash", "blueprint",
    "blueprintRef", "subflows", "input", "plainInput", "ttlAfterFinishedS",
)  # fmt: skip
"""What a continuing run has in common with the one it continues."""


@dataclass(frozen=True, slots=True)
class Continuation:
    """How a run goes on from another one.

    Attributes:
        run_id: Id of the new run.
        keys: Node keys whose records it takes over.
        nodes: The nodes from which it runs again; empty for a retry.
        keys_ref: Where the keys are stored, if not in the header.
        new_keys: Nodes that run again get idempotency keys of their own.
        whole: It runs again from its first nodes on.
        patch: Context keys that have another value in it.
        asked: The digest of the input and patch that were asked for.
    """

    run_id: str
    keys: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    keys_ref: str = ""
    new_keys: bool = False
    whole: bool = False
    patch: PatchDocument = field(default_factory=PatchDocument)
    asked: str = ""


def adoptable(
    plan: Plan,
    records: Mapping[str, NodeRecord],
    again: Collection[str] = (),
    marks: Collection[str] = (),
) -> tuple[str, ...]:
    """The node keys to take over: resolved well, and so is everything before them.

    An owner that still awaits its children is taken over as it is, so that children that are done are not
    done again. A context key holds one value, so a value that a node wrote which runs again has replaced
    those of the nodes before it. These then run again too, and write theirs.

    Args:
        plan: The plan of the pinned blueprint.
        records: All records of the run to go on from, by node key.
        again: Nodes (ids, or single node keys) that are to run again.
        marks: Which of ``exits_before`` the run has: an exit without one may still be taken.
    """
    foundations = _Foundations(plan, records, marks)
    kept = {
        key
        for key, record in records.items()
        if _stays(record) and key not in again and record.node not in again
    }
    gone = [key for key in records if key not in kept]
    while True:
        foundations.close(kept, gone)
        gone = [key for key in _overwritten(records, kept) if key in kept]
        if not gone:
            return tuple(key for key in records if key in kept)
        kept.difference_update(gone)


def _stays(record: NodeRecord) -> bool:
    return record.status in ("completed", "skipped") or (
        record.status == "awaiting" and record.kind == "children"
    )


_OPEN: Final = ""
"""Stands for what is not known yet; no node key is called so."""


def exits_before(plan: Plan, records: Iterable[str]) -> list[str]:
    """Names of the marks that tell of exits from loops which lead to these node keys."""
    if not plan.loops:
        return []
    return [
        exit_name(position, plan.hops[position].prefix(NodeKey.parse(key).rounds))
        for key in records
        if owner_of(key) is None
        for position in plan.incoming(key)
        if plan.hops[position].leaves
    ]


class _Foundations:
    """What each recorded node key follows from."""

    def __init__(self, plan: Plan, records: Mapping[str, NodeRecord], marks: Collection[str]) -> None:
        self._plan = plan
        self._marks = marks
        self._in_loop: dict[tuple[str, tuple[int, ...]], list[str]] = {}
        if plan.loops:
            self._sort(records)
        self._behind: dict[str, list[str]] = {}
        for key, record in records.items():
            for source in self._before(key, record):
                self._behind.setdefault(source, []).append(key)
        self._unknown = [source for source in self._behind if source not in records]

    def close(self, kept: set[str], gone: Iterable[str]) -> None:
        """Take out every key that follows from one that is not kept, or that has no record."""
        going = [*gone, *self._unknown]
        for source in going:  # grows
            for key in self._behind.get(source, ()):
                if key in kept:
                    kept.discard(key)
                    going.append(key)

    def _sort(self, records: Iterable[str]) -> None:
        for key in records:
            rounds = NodeKey.parse(key).rounds
            for depth, head in enumerate(self._plan.node(key).scope[: len(rounds)]):
                self._in_loop.setdefault((head, rounds[:depth]), []).append(key)

    def _before(self, key: str, record: NodeRecord) -> Iterator[str]:
        owner = owner_of(key)
        if owner is not None:
            yield owner
            return
        children = Children.of(record)
        if children is not None and record.resolved:  # what it is made of is no longer known: all or nothing
            yield from children.keys()
        for position in self._plan.incoming(key):
            if not self._plan.loops:
                yield self._plan.edges[position].source
                continue
            hop = self._plan.hops[position]
            prefix = hop.prefix(NodeKey.parse(key).rounds)
            if not hop.leaves:
                yield str(NodeKey(hop.source, prefix))
            elif exit_name(position, prefix) in self._marks:  # so says the whole loop
                yield from self._in_loop.get((hop.leaves[0], prefix), ())
            else:
                yield _OPEN


def closed_marks(plan: Plan, records: Iterable[str], adopted: Collection[str]) -> list[str]:
    """Names of the marks that may be taken over: of rounds, and of loops, of which every node key is.

    Args:
        plan: The plan.
        records: The node keys of the run to go on from.
        adopted: Those that are taken over.
    """
    first_open_in: dict[tuple[str, tuple[int, ...]], int] = {}
    rounds: dict[tuple[str, tuple[int, ...]], set[int]] = {}
    for key in records if plan.loops else ():
        place = NodeKey.parse(key)
        for depth, head in enumerate(plan.node(key).scope[: len(place.rounds)]):
            loop, number = (head, place.rounds[:depth]), place.rounds[depth]
            rounds.setdefault(loop, set()).add(number)
            if key not in adopted:
                first_open_in[loop] = min(number, first_open_in.get(loop, number))
    names: list[str] = []
    for (head, prefix), numbers in rounds.items():
        first_open = first_open_in.get((head, prefix))
        names += [
            round_name(head, (*prefix, number))
            for number in numbers
            if first_open is None or number < first_open
        ]
        if first_open is None:
            names.append(over_name(head, prefix))
            names += [exit_name(position, prefix) for position in plan.loops[head].open_exits]
    return names


def _overwritten(records: Mapping[str, NodeRecord], kept: Collection[str]) -> list[str]:
    """The keys that wrote a context key whose value is, or may be, that of a key that is not kept.

    The output of a made node is in its record, too, so that nothing of it is lost.
    """
    newest: dict[str, int] = {}
    for record in records.values():
        if record.key not in kept:
            newest.update(
                (name, max(newest.get(name, 0), record.seq)) for name in record.wrote if not is_mark(name)
            )
    return [
        record.key
        for record in records.values()
        if any(record.seq <= newest.get(name, -1) for name in record.wrote if name != own_name(record.key))
    ]


def owners(records: Iterable[NodeRecord]) -> dict[str, str]:
    """By context key: the node key whose value it has."""
    newest: dict[str, NodeRecord] = {}
    for record in records:
        for name in record.wrote:
            known = newest.get(name)
            if known is None or record.seq > known.seq:
                newest[name] = record
    return {name: record.key for name, record in newest.items()}


def require_continuable(verb: Verb, header: HeaderDocument, queue_name: str, now: datetime) -> None:
    """Refuse to go on from a run that is active, lives in another queue, or is being deleted.

    Raises:
        RefusedError: with what to do.
    """
    permits(verb, header)
    if verb is Verb.RETRY and "parent" in header:
        raise RefusedError(f"the run is a subflow of run {header['parent']['runId']}: retry that one")
    queue = header.get("queue")
    if queue and queue != queue_name:
        raise RefusedError(f"the run belongs to queue {queue}, not to {queue_name}: name its queue")
    if expired(header, now):
        raise RefusedError("the run is being deleted, its retention is over: start it anew")


def require_ran(records: Mapping[str, NodeRecord], nodes: Iterable[str]) -> None:
    """Refuse to run again from a node that has not run.

    Raises:
        RefusedError: it names the node.
    """
    for node in nodes:
        state = NodeState.NONE
        for record in records.values():
            if node in (record.key, record.node) and (record.status != "skipped" or state is NodeState.NONE):
                state = NodeState.of(record)
        RERUNS[state].permits(node=node)


def next_id(source: HeaderDocument) -> str:
    """The id of a run's retry: the same each time, so that asking twice is one run."""
    run_id = source["runId"]
    generation = source.get("continues", {}).get("generation", 0)
    if generation:
        run_id = run_id.removesuffix(f"-r{generation}")
    return f"{run_id}-r{generation + 1}"


def continuing(source: HeaderDocument, how: Continuation, now: datetime) -> HeaderDocument:
    """The header of a run that goes on from an ended one."""
    before = source.get("continues", {})
    document: dict[str, Any] = {"id": how.run_id, "runId": how.run_id, "type": "header", "v": FORMAT}
    document.update((name, source[name]) for name in _KEPT if source.get(name) is not None)
    continues: ContinuesDocument = {
        "runId": source["runId"],
        "firstRunId": how.run_id if how.new_keys else before.get("firstRunId", source["runId"]),
        "nodes": list(how.nodes),
        "count": len(how.keys),
    }
    if not how.nodes and not how.whole:
        continues["generation"] = before.get("generation", 0) + 1
    if names_of(how.patch):
        continues["patch"] = how.patch
    if how.asked:
        continues["asked"] = how.asked
    if how.keys_ref:
        continues["keysRef"] = how.keys_ref
    else:
        document["adoptedKeys"] = list(how.keys)
    total = source.get("progress", {"total": len(how.keys)})["total"]
    document.update(status="running", createdAt=iso(now), lastUpdated=iso(now), continues=continues)
    if source.get("blueprintHash"):
        document.update(startedAt=iso(now), progress={"done": len(how.keys), "total": total})
    elif "patch" not in continues:
        continues["copied"] = True  # it ended before a worker took it: there is nothing to copy
    allowed_s = _allowed_s(source)
    if allowed_s is not None:
        document["deadlineAt"] = document["nextCheck"] = later(now, allowed_s)
    return cast("HeaderDocument", document)


def _allowed_s(source: HeaderDocument) -> float | None:
    """How long the run had from its acceptance to its deadline; a run that continues it has as long."""
    accepted, deadline = parse_time(source.get("createdAt")), parse_time(source.get("deadlineAt"))
    return (deadline - accepted).total_seconds() if accepted and deadline else None


def is_copying(header: HeaderDocument) -> bool:
    """Whether the run is still to take over what it continues: nothing of it may be signalled before."""
    return "continues" in header and not header["continues"].get("copied")


def copied(header: HeaderDocument, now: datetime) -> HeaderDocument:
    """The header of a run that has taken over everything."""
    continues: ContinuesDocument = {**header["continues"], "copied": True}
    return {**header, "continues": continues, "lastUpdated": iso(now)}


def first_run_id(header: HeaderDocument) -> str:
    """The run whose id is in the idempotency keys of its nodes."""
    return header.get("continues", {}).get("firstRunId") or header["runId"]


def require_as_asked(header: HeaderDocument, how: Continuation) -> None:
    """Refuse to take a run that was made before for one that was to have another input or patch.

    Raises:
        RefusedError: it names that run.
    """
    if header.get("continues", {}).get("asked", "") != how.asked:
        raise RefusedError(
            f"run {how.run_id} was made before, with another input or context: retry or rerun that one"
        )


def chunks(keys: Sequence[str], size: int) -> Iterable[Sequence[str]]:
    """The keys in pieces."""
    return (keys[start : start + size] for start in range(0, len(keys), size))
