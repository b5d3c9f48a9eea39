"""Loops in distributed runs: marks as they are written, and looking up what a node key sees.

A loop whose round takes more than its turning node to end is closed round by round: whoever makes the last
arrival at a round's join writes that down before it arrives at the next one, so that nobody ever has to read
the rounds before. With the token of that write it sees every exit that was marked as taken until then.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any, Final

from flowcraft.engine.keys import NodeKey
from flowcraft.engine.lookup import Ask, Known, Lookup
from flowcraft.engine.marks import dead_marks, exit_marks, exit_name, round_marks, taken_exits
from flowcraft.engine.plan import Plan
from flowcraft.engine.resolution import JoinStates, Wave, round_over
from flowcraft.ports import Commit, ContextWrite, FactStore, Loaded
from flowcraft.records import NodeRecord

WRITES_PER_COMMIT: Final = 80
"""Marks of one commit that has nothing else in it; more would be packed."""


def mark_writes(plan: Plan, records: Sequence[NodeRecord]) -> list[ContextWrite]:
    """The marks that belong into one commit with these records."""
    if not plan.loops:
        return []
    return [
        ContextWrite(name, value)
        for record in records
        if record.status in ("completed", "skipped")
        for name, value in exit_marks(plan, record.key, record.taken).items()
    ]


async def write_marks(facts: FactStore, run_id: str, marks: Mapping[str, Any], session: str) -> str:
    """Write marks on their own; gives the token that has seen them, and all that was written before."""
    writes = [ContextWrite(name, value) for name, value in marks.items()]
    for start in range(0, len(writes), WRITES_PER_COMMIT):
        part = writes[start : start + WRITES_PER_COMMIT]
        session = await facts.commit(run_id, Commit(context=part), session)
    return session


async def close_round(
    facts: FactStore, run_id: str, plan: Plan, join: JoinStates, *, turned: bool, session: str
) -> tuple[Wave, str]:
    """Write down that a round is resolved, and tell what follows; may be done again without harm."""
    place = NodeKey.parse(join.round)
    loop, prefix = plan.loops[place.node], place.rounds[:-1]
    marks = round_marks(loop, place.rounds, turned=turned)
    session = await write_marks(facts, run_id, marks, session)
    taken: frozenset[int] = frozenset()
    if not turned and loop.open_exits:
        names = [exit_name(position, prefix) for position in loop.open_exits]
        loaded = await facts.load(run_id, context=names, session=session)
        taken = taken_exits(loop, prefix, loaded.context)
        session = await write_marks(
            facts, run_id, dead_marks(loop, prefix, place.rounds, taken), loaded.session or session
        )
    return round_over(plan, loop, place.rounds, turned=turned, taken_exits=taken), session


def answer(known: Known, ask: Ask, loaded: Loaded) -> None:
    """Learn what was loaded."""
    known.answer(ask, {key: stored.record for key, stored in loaded.records.items()}, loaded.context)


async def look_up(
    facts: FactStore,
    run_id: str,
    plan: Plan,
    names: Sequence[str],
    *,
    reader: NodeKey,
    records: MutableMapping[str, NodeRecord | None] | None = None,
    session: str = "",
) -> tuple[dict[str, NodeRecord], str]:
    """What nodes that a reader names mean to it: their records by id, and the token that has seen them."""
    known = Known() if records is None else Known(records)
    lookup = Lookup(plan, reader, names, known, edges=False)
    while (ask := lookup.ask()) is not None:
        loaded = await facts.load(run_id, nodes=ask.keys, context=ask.marks, session=session)
        session = loaded.session or session
        answer(known, ask, loaded)
    return lookup.seen.records, session
