"""Joins that the original fires early, twice, never, or with another branch's input."""

from __future__ import annotations

import pytest
from tests.defects.place import Code, Place, flow, until

pytestmark = pytest.mark.emulators

DIAMOND = flow("a>b a>c b>d c>d", c={"params": {"gate": "c"}})


async def test_a_doubled_message_neither_starts_a_join_early_nor_starts_it_again(
    place: Place, code: Code
) -> None:
    worker = await place.worker(DIAMOND, code)
    run_id = await place.start()
    await code.has_reached("c")
    await until_recorded(place, run_id, "b")
    before = worker.worker.handled if worker.worker else 0
    await place.signal(run_id, "b")
    await place.signal(run_id, "b", check=True)

    async def both_handled() -> bool:
        return worker.worker is not None and worker.worker.handled >= before + 2

    await until(both_handled)
    assert "d" not in code.executed
    code.gates["c"].set()
    await place.becomes(run_id, "completed")
    await place.signal(run_id, "b", check=True)
    await place.drained()
    assert code.executed.count("d") == 1
    assert code.inputs["d"] == {"b": "b!", "c": "c!"}


async def test_a_join_runs_although_one_of_its_branches_was_not_taken(place: Place, code: Code) -> None:
    await place.worker(flow("a>b:yes a>c:no b>d c>d", a={"params": {"action": "yes"}}), code)
    run_id = await place.start()
    await place.becomes(run_id, "completed")
    assert code.executed == ["a", "b", "d"]
    assert (await place.statuses(run_id))["c"] == "skipped"


async def test_branches_that_end_hours_apart_still_meet(place: Place, code: Code) -> None:
    await place.worker(DIAMOND, code)
    run_id = await place.start()
    await code.has_reached("c")
    await until_recorded(place, run_id, "b")
    await place.forget(run_id)  # what hours do to keys that expire
    code.gates["c"].set()
    await place.becomes(run_id, "completed")
    assert code.executed.count("d") == 1


async def test_the_third_branch_at_an_any_join_does_not_fail_the_run(place: Place, code: Code) -> None:
    branches = {name: {"params": {"gate": name}} for name in "bcd"}
    any_join = {"config": {"joinStrategy": "any"}}
    await place.worker(flow("a>b a>c a>d b>e c>e d>e e>f", e=any_join, **branches), code)
    run_id = await place.start()
    for name in "bcd":
        await code.has_reached(name)
    code.gates["b"].set()
    await code.has_reached("f")
    for name in "cd":
        code.gates[name].set()
    await place.becomes(run_id, "completed")
    assert code.executed.count("e") == code.executed.count("f") == 1


async def test_a_worker_killed_between_its_result_and_the_signals_loses_no_successor(
    place: Place, code: Code
) -> None:
    blueprint = flow("a>b a>c a>d b>e c>e d>e")
    first = Code()
    mortal = await place.mortal(blueprint, first)
    first.calls["a"] = place.relays[mortal]["queue"].cut  # the result is stored, no message can be sent
    run_id = await place.start()
    await until_recorded(place, run_id, "a")
    await place.kill(mortal)
    await place.worker(blueprint, code)
    await place.becomes(run_id, "completed")
    assert sorted(code.executed) == ["b", "c", "d", "e"]
    assert first.executed == ["a"]


async def test_a_run_with_branches_not_taken_completes_and_does_so_once(place: Place, code: Code) -> None:
    last = {name: {"params": {"gate": "last"}} for name in "de"}
    await place.worker(flow("a>b:go a>c:stop b>d b>e c>f", a={"params": {"action": "go"}}, **last), code)
    run_id = await place.start()
    await code.has_reached("d")
    await code.has_reached("e")
    code.gates["last"].set()  # both last nodes end at once
    header = await place.becomes(run_id, "completed")
    assert header["output"] == {"d": "d!", "e": "e!"}
    await place.drained()
    assert (await place.reconcile()).reconciled_runs == 0
    assert await place.client.header(run_id) == header


async def test_every_branch_hands_its_own_output_to_the_join(place: Place, code: Code) -> None:
    names = "bcdefghi"
    edges = " ".join(f"a>{name} {name}>z" for name in names)
    blueprint = flow(edges)
    for edge in blueprint["edges"]:
        if edge["target"] == "z":
            edge["transform"] = f"'{edge['source']}:' + input"
    await place.worker(blueprint, code)
    await place.becomes(await place.start(), "completed")
    assert code.inputs["z"] == {name: f"{name}:{name}!" for name in names}


async def test_parallel_branches_do_not_overwrite_each_others_outputs_and_keys(
    place: Place, code: Code
) -> None:
    names = "bcdefghi"
    writers = {name: {"params": {"gate": "all", "writes": {f"k_{name}": name}}} for name in names}
    await place.worker(flow(" ".join(f"a>{name} {name}>z" for name in names), **writers), code)
    run_id = await place.start()
    for name in names:
        await code.has_reached(name)
    code.gates["all"].set()
    await place.becomes(run_id, "completed")
    assert await place.client.outputs(run_id, list(names)) == {name: f"{name}!" for name in names}
    loaded = await place.idle.facts.load(run_id, context=[f"k_{name}" for name in names])
    assert loaded.context == {f"k_{n}": n for n in names}


async def until_recorded(place: Place, run_id: str, key: str) -> None:
    async def look() -> bool:
        return key in await place.statuses(run_id)

    await until(look)
