"""Batches: what scatters a list to children, what waits for children of any kind, and what gathers them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from flowcraft.distributed.jobs.kinds.contract import Act, Acting, WaitingKind
from flowcraft.distributed.jobs.recording import Turned
from flowcraft.distributed.staleness import STALE_DELAYS_S
from flowcraft.engine.children import Children, derive, gathered
from flowcraft.engine.making import Owned, gathered_ids, scatter_result, scattered
from flowcraft.engine.resolution import Wave
from flowcraft.errors import BlueprintError, InputError
from flowcraft.failures import ErrorDetail
from flowcraft.node import NodeResult
from flowcraft.ports.errors import StaleReadError
from flowcraft.records import NodeRecord

CHUNK: Final = 500
"""Children whose outputs are read at once."""


async def signalled_again(turn: Acting, record: NodeRecord) -> Turned:
    """What an owner signals whose first message is there again: whatever of its children may be missing."""
    turn.run.owners.learn(record, turn.session)
    children = Owned.of(record).children
    keys = list(children.keys())
    records = dict(await turn.services.facts.resolved(turn.run.run_id, keys, turn.session))
    found = derive({**records, record.key: record})
    if found.failed:  # whoever recorded that may have died before it failed the run
        loaded = await turn.services.facts.load(turn.run.run_id, nodes=found.failed[:1], session=turn.session)
        return Turned(loaded.records[found.failed[0]].record, None, adopted=True)
    if found.woken:  # whoever was told so may have died before it woke the owner
        return Turned(record, Wave((record.key,), (), (), ended=False), adopted=True)
    return Turned(record, children.recover(records, found.ready), adopted=True)


class _Awaited:
    """Waits for its children; then it completes with the result that it had before them."""

    async def begin(self, turn: Acting, act: Act) -> Turned | None:
        raise AssertionError(f"{act.key} awaits children by its record alone")

    async def go_on(self, turn: Acting, act: Act, record: NodeRecord) -> Turned | None:
        if not act.woken:  # an earlier delivery of its first message died while it signalled them
            return await signalled_again(turn, record)
        return await turn.complete(act, Owned.of(record).result, attempts=record.attempt)


class _Scatter(_Awaited):
    """Runs ``params.workerUsesKey`` on each item of its input."""

    async def begin(self, turn: Acting, act: Act) -> Turned | None:
        try:
            made = scattered(act.key, act.definition, turn.input(act))
        except (InputError, BlueprintError) as error:
            return await turn.fail(act, ErrorDetail.of(error))
        if made is None:
            return await turn.complete(act, scatter_result(act.definition))
        return await turn.own(act, made)


class _Gather:
    """Gives the outputs of a batch's children, in order, and writes them to ``params.outputKey``."""

    async def begin(self, turn: Acting, act: Act) -> Turned | None:
        found: list[Any] = []
        for owner in await self._owners(turn, act):
            children = Children.of(owner)
            if children is not None:
                found += await self._outputs(turn, children)
        output_key = act.definition.params.get("outputKey")
        writes = {output_key: found} if isinstance(output_key, str) and output_key else {}
        return await turn.complete(act, NodeResult(found), writes)

    async def go_on(self, turn: Acting, act: Act, _record: NodeRecord) -> Turned | None:
        return await self.begin(turn, act)

    async def _owners(self, turn: Acting, act: Act) -> Sequence[NodeRecord]:
        ids = gathered_ids(turn.run.plan, act.key)
        known = act.facts.records
        missing = [key for node_id, key in ids.items() if node_id not in known]
        if not missing:
            return [known[node_id] for node_id in ids]
        loaded = await turn.services.facts.load(turn.run.run_id, nodes=missing, session=turn.session)
        found = {key: stored.record for key, stored in loaded.records.items() if stored.record.resolved}
        return [
            record
            for node_id, key in ids.items()
            if (record := known.get(node_id) or found.get(key)) is not None
        ]

    async def _outputs(self, turn: Acting, children: Children) -> list[Any]:
        records: dict[str, NodeRecord] = {}
        for keys in _chunks(list(children.keys())):
            records |= await self._read(turn, keys)
        return gathered(children, records)

    async def _read(self, turn: Acting, keys: Sequence[str]) -> dict[str, NodeRecord]:
        for delay_s in (0.0, *STALE_DELAYS_S):
            if delay_s:
                await turn.services.clock.sleep(delay_s)
            loaded = await turn.services.facts.load(turn.run.run_id, nodes=keys, session=turn.session)
            found = {key: stored.record for key, stored in loaded.records.items() if stored.record.resolved}
            if len(found) == len(keys):
                return found
        raise StaleReadError(f"children of run {turn.run.run_id} have records that are not visible yet")


def _chunks(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    return (keys[start : start + CHUNK] for start in range(0, len(keys), CHUNK))


AWAITED: Final[WaitingKind] = _Awaited()
SCATTER: Final[WaitingKind] = _Scatter()
GATHER: Final[WaitingKind] = _Gather()
