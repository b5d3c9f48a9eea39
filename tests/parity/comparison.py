"""Comparing a run of ours with the original's: everything that no rule explains."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.parity.outcome import Outcome, same
from tests.parity.programs import Program, own_key
from tests.parity.rules import FAIL_FAST, FALLBACK_STATUS, Touch, Touched


@dataclass(frozen=True)
class Verdict:
    """What comparing came to.

    Attributes:
        unexplained: Differences that no rule explains, in words.
        rules: Names of the rules that the run met.
        nodes: How many nodes there are.
        ran: Of how many it was compared whether they ran, and how often.
        got: Of how many it was compared what they got.
        gave: Of how many it was compared what they gave.
    """

    unexplained: tuple[str, ...]
    rules: frozenset[str]
    nodes: int
    ran: int
    got: int
    gave: int


def compare(program: Program, ours: Outcome, theirs: Outcome) -> Verdict:
    """Compare a run of a program here with the original's."""
    touched = Touch(program, ours).all()
    rules = set(touched.rules)
    if ours.status == "failed":
        rules.add(FAIL_FAST)
    if theirs.status == "completed" and theirs.failed:
        rules.add(FALLBACK_STATUS)
    found = [*_status(ours, theirs, touched)]
    stand_ins = set(ours.stood_in.values())
    for node_id in (*program.order, *sorted(stand_ins)):
        if node_id not in touched.runs:
            found += _calls(node_id, ours, theirs, touched)
    for node_id in program.order:
        if node_id not in touched.runs:
            found += _results(node_id, ours, theirs, touched)
    if not touched.runs and ours.status == "completed":
        extra = theirs.calls.keys() - ours.calls.keys()
        found += [f"{node_id} ran there alone" for node_id in sorted(extra)]
    sure = [node_id for node_id in program.order if node_id not in touched.runs]
    return Verdict(
        tuple(found),
        frozenset(rules),
        nodes=len(program.order),
        ran=len(sure) if ours.status == "completed" else sum(node_id in ours.calls for node_id in sure),
        got=sum(node_id in ours.calls and node_id not in touched.gets for node_id in sure),
        gave=sum(node_id in ours.outputs and node_id not in touched.gives for node_id in sure),
    )


def _status(ours: Outcome, theirs: Outcome, touched: Touched) -> Iterator[str]:
    certain_there = [node_id for node_id in theirs.failed if node_id not in touched.runs]
    for node_id in ours.failed:
        name = ours.stood_in.get(node_id, node_id)
        if node_id in touched.runs or name in touched.runs:
            continue
        if name not in theirs.failed:
            yield f"{name} failed here alone"
        elif theirs.status != "failed" and not _fell_back(theirs):
            yield f"the run failed here and is {theirs.status} there"
    if ours.status == "completed":
        yield from (f"{node_id} failed there alone" for node_id in certain_there)
        if not theirs.failed and theirs.status != "completed":
            yield f"the run completed here and is {theirs.status} there"


def _fell_back(theirs: Outcome) -> bool:
    return any(node_id.startswith("f") for node_id in theirs.calls)


def _calls(node_id: str, ours: Outcome, theirs: Outcome, touched: Touched) -> Iterator[str]:
    here, there = ours.calls.get(node_id, []), theirs.calls.get(node_id, [])
    if not here:
        if there and ours.status == "completed":
            yield f"{node_id} ran there alone"
        return
    if not there:
        yield f"{node_id} ran here alone"
        return
    # A run that failed here may have been stopped between the attempts of another node.
    stopped = ours.status == "failed" and node_id not in ours.failed and node_id not in ours.outputs
    if len(here) > len(there) or (len(here) < len(there) and node_id not in touched.often and not stopped):
        yield f"{node_id} was called {len(here)} times here, {len(there)} times there"
    if node_id not in touched.gets:
        for value in there:
            if not same(here[0], value):
                yield f"{node_id} got {here[0]!r} here, {value!r} there"


def _results(node_id: str, ours: Outcome, theirs: Outcome, touched: Touched) -> Iterator[str]:
    name = ours.stood_in.get(node_id, node_id)
    if name in touched.runs or node_id not in ours.outputs:
        return
    if name not in theirs.outputs:
        yield f"{name} completed here alone"
    elif node_id not in touched.gives and not same(ours.outputs[node_id], theirs.outputs[name]):
        yield f"{name} gave {ours.outputs[node_id]!r} here, {theirs.outputs[name]!r} there"
    key = own_key(name)
    if not same(ours.keys.get(key), theirs.keys.get(key)):
        yield f"context key {key} is {ours.keys.get(key)!r} here, {theirs.keys.get(key)!r} there"
