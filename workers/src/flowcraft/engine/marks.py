"""Marks: what a run writes down beside its records, so that nobody has to look through the rounds of a loop.

How often a loop turned is known only from all its records. Whoever stands outside of it (a join behind an
exit, a node that reads an output from the inside) must not have to read them all, so the record that takes an
exit, or finds it dead, says so under a name that can be told without knowing the round. Marks are context
keys that users do not see; written again they say the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from flowcraft.engine.keys import NodeKey
from flowcraft.engine.loop_plan import PlannedLoop
from flowcraft.engine.plan import Plan

PREFIX: Final = "_loop."
"""All marks begin with it; users' context keys must not."""


@dataclass(frozen=True, slots=True)
class ExitMark:
    """What became of an exit.

    Attributes:
        taken: It was taken; otherwise it is dead, for good.
        rounds: The rounds of its source that say so, outermost first.
    """

    taken: bool
    rounds: tuple[int, ...]

    @classmethod
    def read(cls, value: Any) -> ExitMark | None:
        """The mark as it was written; None if there is none."""
        if not isinstance(value, Mapping):
            return None
        return cls(bool(value["taken"]), tuple(cast("Sequence[int]", value["rounds"])))

    def to_json(self) -> dict[str, Any]:
        """As it is written."""
        return {"taken": self.taken, "rounds": list(self.rounds)}


def is_mark(name: str) -> bool:
    """Whether a context key is a mark."""
    return name.startswith(PREFIX)


def exit_name(position: int, prefix: tuple[int, ...]) -> str:
    """Name of the mark of an exit; the prefix are the rounds of the loops that it does not leave."""
    return f"{PREFIX}exit.{NodeKey(str(position), prefix)}"


def over_name(head: str, prefix: tuple[int, ...]) -> str:
    """Name of the mark that a loop is over; its value is the number of the last round."""
    return f"{PREFIX}over.{NodeKey(head, prefix)}"


def round_name(head: str, rounds: tuple[int, ...]) -> str:
    """Name of the mark that all of a loop's round is resolved, and all rounds before it."""
    return f"{PREFIX}round.{NodeKey(head, rounds)}"


def exit_marks(plan: Plan, key: str, taken: Sequence[int]) -> dict[str, Any]:
    """The marks that belong into one commit with the record of a node key (skipped: it took nothing)."""
    if not plan.loops:
        return {}
    place = NodeKey.parse(key)
    node = plan.nodes[place.node]
    if not node.scope or place.child is not None:
        return {}
    hops = [plan.hops[position] for position in node.outgoing if plan.hops[position].leaves]
    turned = node.turns and plan.loops[node.scope[-1]].turned_by(taken)
    return {
        exit_name(hop.position, place.rounds[: hop.shared]): ExitMark(
            hop.position in taken, place.rounds
        ).to_json()
        for hop in hops
        if hop.position in taken or (hop.at_once and not turned)
    }


def round_marks(loop: PlannedLoop, rounds: tuple[int, ...], *, turned: bool) -> dict[str, Any]:
    """The marks of a round of which everything is resolved."""
    marks: dict[str, Any] = {round_name(loop.head, rounds): turned}
    if not turned:
        marks[over_name(loop.head, rounds[:-1])] = rounds[-1]
    return marks


def taken_exits(loop: PlannedLoop, prefix: tuple[int, ...], marks: Mapping[str, Any]) -> frozenset[int]:
    """The open exits of a loop that are marked as taken."""
    found = {position: ExitMark.read(marks.get(exit_name(position, prefix))) for position in loop.open_exits}
    return frozenset(position for position, mark in found.items() if mark is not None and mark.taken)


def dead_marks(
    loop: PlannedLoop, prefix: tuple[int, ...], rounds: tuple[int, ...], taken: frozenset[int]
) -> dict[str, Any]:
    """The marks of the open exits that no round of a loop took, once it is over."""
    return {
        exit_name(position, prefix): ExitMark(False, rounds).to_json()
        for position in loop.open_exits
        if position not in taken
    }
