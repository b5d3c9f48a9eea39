"""Owners of children, as one worker knows those of a run; and loading what a child's turn reads."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from flowcraft.distributed.runs.looping import look_up
from flowcraft.distributed.services import Services
from flowcraft.distributed.staleness import STALE_DELAYS_S
from flowcraft.engine.children import Children, owner_of
from flowcraft.engine.inputs import Facts
from flowcraft.engine.keys import NodeKey
from flowcraft.engine.making import Owned
from flowcraft.engine.resolution import JoinStates
from flowcraft.ports import StoredRecord
from flowcraft.ports.errors import StaleReadError
from flowcraft.records import NodeRecord

if TYPE_CHECKING:
    from flowcraft.distributed.jobs.known_runs import Run

MAX_OWNED: Final = 16
"""Owners of a run whose children's material is kept: megabytes, where there are many items."""
MAX_FAMILIES: Final = 4096


class NoSuchChildError(Exception):
    """A key of a child that its owner does not have: a message of no meaning."""


class Owners:
    """The owners that a worker has met in one run; those least recently met are forgotten."""

    __slots__ = ("_families", "_owned")

    def __init__(self) -> None:
        self._owned: OrderedDict[str, tuple[Owned, str]] = OrderedDict()
        self._families: OrderedDict[str, Children] = OrderedDict()

    def learn(self, record: NodeRecord, session: str) -> Children | None:
        """Remember what an owner's record says of its children; session is the token that has seen it."""
        children = Children.of(record)
        if children is None:
            return None
        self._families[record.key] = children
        if record.resolved:
            self._owned.pop(record.key, None)
        else:
            self._owned[record.key] = Owned.of(record), session
        while len(self._owned) > MAX_OWNED:
            self._owned.popitem(last=False)
        while len(self._families) > MAX_FAMILIES:
            self._families.popitem(last=False)
        return children

    def owned(self, owner: str) -> tuple[Owned, str] | None:
        """An owner's children with what they are made of, and the token that has seen it."""
        found = self._owned.get(owner)
        if found is not None:
            self._owned.move_to_end(owner)
        return found

    def family(self, owner: str) -> Children | None:
        """An owner's children."""
        return self._families.get(owner)

    def of_child(self, key: str) -> Children | None:
        """The children that a child is one of, once it was loaded here; None for any other key."""
        owner = owner_of(key)
        return None if owner is None else self._families[owner]

    def sources(self, join: JoinStates) -> Sequence[str]:
        """The node keys that arrive at the join of an owner's children."""
        return tuple(self._families[join.node].keys())

    def arrived(self, join: JoinStates, records: Mapping[str, NodeRecord]) -> dict[str, bool]:
        """The edges into such a join that these records resolve."""
        return self._families[join.node].arrived(records)


@dataclass(frozen=True, slots=True)
class Child:
    """What was loaded for a child's turn.

    Attributes:
        own: Its record, if it has one.
        facts: What its inputs name.
        owned: What it is made of; None if its owner is resolved, and then it has a record.
        session: Token of what was seen.
    """

    own: StoredRecord | None
    facts: Facts
    owned: Owned | None
    session: str


class ChildLoader:
    """Loads children of one run; the owner's record is read once a worker, each other thing as needed."""

    def __init__(self, services: Services, run: Run) -> None:
        self._services = services
        self._run = run

    async def load(self, key: str, owner: str, session: str, *, look: bool, proven: bool) -> Child:
        """Load a child's own record if it may have one, and what its turn reads.

        Raises:
            StaleReadError: its owner's record, the input, or with ``proven`` its own record are not visible
                here yet.
            NoSuchChildError: the owner has no such child.
        """
        for delay_s in (0.0, *STALE_DELAYS_S):
            if delay_s:
                await self._services.clock.sleep(delay_s)
            child = await self._load_once(key, owner, session, look=look or proven)
            if child is not None and (child.own is not None or not proven):
                return child
        raise StaleReadError(f"what child {key} of run {self._run.run_id} follows from is not visible yet")

    async def _load_once(self, key: str, owner: str, session: str, *, look: bool) -> Child | None:
        run, own = self._run, None
        if run.owners.owned(owner) is None:
            loaded = await self._services.facts.load(run.run_id, nodes=[owner, key], session=session)
            above, own = loaded.records.get(owner), loaded.records.get(key)
            if above is None:
                return None
            run.owners.learn(above.record, loaded.session)
            if above.record.resolved:
                self._check(key, owner)
                return None if own is None else Child(own, Facts({}, {}, None), None, loaded.session)
            look = False
        found = run.owners.owned(owner)
        if found is None:
            raise NoSuchChildError(f"{owner} has no children")
        self._check(key, owner)
        owned, seen = found
        session = session or seen
        needs = owned.needs(run.plan, key, self._services.evaluator)
        named = () if run.plan.loops else needs.records
        nodes = [*named, *([key] if look else [])]
        if not nodes and not needs.context and not needs.records and run.known_input:
            return Child(own, Facts({}, {}, run.input), owned, session)
        loaded = await self._services.facts.load(
            run.run_id,
            nodes=nodes,
            context=sorted(needs.context),
            with_input=not run.known_input,
            session=session,
        )
        if not run.known_input:
            if loaded.input is None and run.stored.document.get("v"):
                return None  # an item of its own, not visible yet
            run.learn_input(loaded.input or {}, self._services.catalog.extensions.serializer)
        own = loaded.records.get(key, own)
        records = {name: stored.record for name, stored in loaded.records.items() if name != key}
        session = loaded.session or session
        if run.plan.loops and needs.records:  # a name means another record in each round
            facts, reader = self._services.facts, NodeKey.parse(key)
            records, session = await look_up(
                facts, run.run_id, run.plan, tuple(needs.records), reader=reader, session=session
            )
        return Child(own, Facts(records, loaded.context, run.input, deleted=loaded.deleted), owned, session)

    def _check(self, key: str, owner: str) -> None:
        children = self._run.owners.family(owner)
        try:
            if children is not None:
                children.place(key)
        except KeyError:
            raise NoSuchChildError(f"{owner} has no child {key}") from None
