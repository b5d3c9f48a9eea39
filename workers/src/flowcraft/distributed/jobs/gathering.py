"""Loading the facts that a node key's turn reads, and seeing that they are there."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Sequence
from typing import Any

from flowcraft.distributed.jobs.known_runs import Run, Runs
from flowcraft.distributed.jobs.owners import ChildLoader, NoSuchChildError
from flowcraft.distributed.runs.looping import answer
from flowcraft.distributed.services import Services
from flowcraft.distributed.staleness import STALE_DELAYS_S
from flowcraft.engine.children import owner_of
from flowcraft.engine.inputs import Facts
from flowcraft.engine.keys import NodeKey
from flowcraft.engine.lookup import Ask, Known, Lookup, Seen
from flowcraft.engine.making import Owned
from flowcraft.engine.resolution import Join, join_state
from flowcraft.ports import StoredRecord
from flowcraft.ports.errors import StaleReadError
from flowcraft.records import NodeRecord


class NotReadyError(Exception):
    """The facts say that this node key will not run: a message of no meaning."""


class NoCodeError(Exception):
    """A child's implementation is not this worker's: another version of the app made it."""


class Gatherer:
    """Loads facts for the turns of one delivery.

    Attributes:
        session: Token of what its reads must have seen.
        owned: Of a child that was loaded last: what it is made of.
    """

    def __init__(self, services: Services, runs: Runs, run: Run, session: str) -> None:
        self._services = services
        self._runs = runs
        self._run = run
        self._last: dict[str, NodeRecord] = {}
        self._seen = Seen()
        self.session = session
        self.owned: Owned | None = None

    def committed(self, record: NodeRecord) -> None:
        """The next node may be behind this record, and it may be too large to remember for long."""
        self._last = {record.key: record}

    async def load(self, key: str, *, look: bool, proven: bool) -> tuple[StoredRecord | None, Facts]:
        """The node key's own record, if it may have one and has, and what its turn reads.

        Args:
            key: The node key.
            look: It may have a record already.
            proven: It has one; not seeing it is a stale read.

        Raises:
            StaleReadError: facts that must exist are not visible here yet.
            NotReadyError: the facts say that it is not to run.
        """
        self.owned = None
        owner = owner_of(key)
        if owner is not None:
            return await self._load_child(key, owner, look=look, proven=proven)
        for delay_s in (*STALE_DELAYS_S, None):
            own, facts = await self._load_once(key, look=look)
            seen = own is not None or (not proven and self._ready(key, facts))
            if seen and (self._run.known_input or delay_s is None):
                self._accept_input()
                return own, facts
            if delay_s is None:
                break
            await self._services.clock.sleep(delay_s)
        raise StaleReadError(
            f"facts that node {key} of run {self._run.run_id} follows from are not visible yet"
        )

    async def own(self, key: str) -> StoredRecord | None:
        """The node key's own record alone, if it has one."""
        self.owned = None
        owner = owner_of(key)
        if owner is not None:
            return (await self._load_child(key, owner, look=True, proven=False))[0]
        loaded = await self._services.facts.load(self._run.run_id, nodes=[key], session=self.session)
        return loaded.records.get(key)

    async def require_ready(self, key: str) -> None:
        """See that the facts let a node key run, without loading what its inputs hold.

        Raises:
            StaleReadError: they do not, as far as can be seen here.
            NotReadyError: they say that it is not to run.
        """
        if owner_of(key) is not None:
            return  # its owner's record, which was loaded for its own, made it ready
        run = self._run
        if run.plan.loops:
            _, facts = await self._load_in_loops(key, look=False)
            if not self._ready(key, facts):
                raise StaleReadError(f"nothing that node {key} of run {run.run_id} follows from is visible")
            return
        names = list(self._runs.needs(run.plan, key).records)
        records = await self._services.facts.resolved(run.run_id, names, self.session) if names else {}
        if not self._ready(key, Facts(records, {}, None)):
            raise StaleReadError(f"nothing that node {key} of run {run.run_id} follows from is visible")

    async def _load_child(
        self, key: str, owner: str, *, look: bool, proven: bool
    ) -> tuple[StoredRecord | None, Facts]:
        loader = ChildLoader(self._services, self._run)
        try:
            child = await loader.load(key, owner, self.session, look=look, proven=proven)
        except NoSuchChildError as error:
            raise NotReadyError(str(error)) from None
        self.session, self.owned = child.session, child.owned
        return child.own, child.facts

    async def _load_in_loops(self, key: str, *, look: bool) -> tuple[StoredRecord | None, Facts]:
        """As ``_load_once``, where which records to load may depend on marks that were loaded before."""
        run = self._run
        needs = self._runs.needs(run.plan, key)
        fresh = bool(needs.context) and (len(run.plan.incoming(key)) > 1 or not self.session)
        known = Known() if fresh else self._known()
        lookup = Lookup(run.plan, NodeKey.parse(key), needs.named, known)
        ask, own, requests = lookup.ask(), None, 0
        context: dict[str, Any] = {}
        deleted: frozenset[str] = frozenset()
        while ask is not None or not requests:
            asked = ask or Ask()
            nodes = [*asked.keys, *([key] if look and not requests else [])]
            names = [*asked.marks, *(() if requests else sorted(needs.context))]
            wants_input = not run.known_input
            requests += 1
            if nodes or names or wants_input:
                loaded = await self._services.facts.load(
                    run.run_id, nodes=nodes, context=names, with_input=wants_input, session=self.session
                )
                self.session = loaded.session or self.session
                if wants_input and loaded.input is not None:
                    run.learn_input(loaded.input, self._services.catalog.extensions.serializer)
                own = loaded.records.get(key, own)
                context.update((name, loaded.context[name]) for name in needs.context & loaded.context.keys())
                deleted |= needs.context & loaded.deleted
                answer(known, asked, loaded)
            ask = lookup.ask()
        if fresh and requests > 1:  # with what the records have seen
            again = await self._services.facts.load(
                run.run_id, context=sorted(needs.context), session=self.session
            )
            context, self.session = dict(again.context), again.session or self.session
            deleted = again.deleted
        self._seen = seen = lookup.seen
        for record in (*seen.sources, *seen.records.values()):
            run.keep(record)
        behind = {record.node: record for record in seen.edges.values()}
        return own, Facts({**behind, **seen.records}, context, run.input, seen.edges, deleted)

    def _known(self) -> Known:
        remembered: list[dict[str, Any]] = [{}, self._last, self._run.records]
        return Known(ChainMap(*remembered), ChainMap({}, self._run.marks))

    def sources(self, key: str, facts: Facts) -> Sequence[NodeRecord]:
        """The resolved records whose edges enter a node key that was just loaded."""
        plan = self._run.plan
        if plan.loops:
            return self._seen.sources
        names = dict.fromkeys(plan.edges[position].source for position in plan.node(key).incoming)
        found = [facts.records[name] for name in names if name in facts.records]
        return [record for record in found if record.resolved]

    async def _load_once(self, key: str, *, look: bool) -> tuple[StoredRecord | None, Facts]:
        run = self._run
        if run.plan.loops:
            return await self._load_in_loops(key, look=look)
        node = run.plan.node(key)
        # Not merged: a run may be known by thousands of records, and this is done for each node.
        known = run.records if self._last.keys() <= run.records.keys() else ChainMap(self._last, run.records)
        needs = self._runs.needs(run.plan, key)
        # Context must be read with what the records have seen: where the session does not prove them (at a
        # join, and for a message without one), in the same request as the records.
        fresh = bool(needs.context) and (len(node.incoming) > 1 or not self.session)
        nodes = [name for name in needs.records if fresh or name not in known]
        if look:
            nodes.append(key)
        wants_input = not run.known_input
        wanted = {name: known[name] for name in needs.records if name in known and not fresh}
        if not nodes and not needs.context and not wants_input:
            return None, Facts(wanted, {}, run.input)
        loaded = await self._services.facts.load(
            run.run_id,
            nodes=nodes,
            context=sorted(needs.context),
            with_input=wants_input,
            session=self.session,
        )
        self.session = loaded.session or self.session
        if wants_input and loaded.input is not None:
            run.learn_input(loaded.input, self._services.catalog.extensions.serializer)
        own = loaded.records.get(key)
        found = {name: stored.record for name, stored in loaded.records.items() if name != key}
        for record in found.values():
            if record.resolved:
                run.keep(record)
        return own, Facts({**wanted, **found}, loaded.context, run.input, deleted=loaded.deleted)

    def _accept_input(self) -> None:
        """An input that does not show itself: only a hand-written client may start a run without one.

        Raises:
            StaleReadError: the run has one, as an item of its own.
        """
        run = self._run
        if not run.known_input:
            if run.stored.document.get("v"):
                raise StaleReadError(f"the input of run {run.run_id} is not visible yet")
            run.input, run.known_input = {}, True

    def _ready(self, key: str, facts: Facts) -> bool:
        plan = self._run.plan
        node, incoming = plan.node(key), plan.incoming(key)
        if not incoming:
            return True
        states = self._seen.states
        if not plan.loops:
            states = {
                str(position): record.took(position)
                for position in incoming
                if (record := facts.records.get(plan.edges[position].source)) is not None and record.resolved
            }
        state = join_state(states, len(incoming), any_join=node.any_join)
        if state is Join.DEAD:
            raise NotReadyError(f"all edges into node {key} are dead")
        return state is Join.READY
