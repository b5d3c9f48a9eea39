"""Stories of two runs and more: nodes that start runs of another blueprint, and what must come of both."""

from __future__ import annotations

import random
from typing import Any, Final

from tests.simulation.story import DECISION, FOREVER, RUN_INPUT, Act, Story, Told, Verb, digest

from flowcraft.blueprint import Blueprint

FATES: Final = (
    "quick",
    "wide",
    "slow",
    "asks",
    "asks",
    "asks nobody",
    "fails",
    "fails twice",
    "spared",
    "nested",
)
"""What becomes of a child run."""
VERBS: Final[tuple[Verb, ...]] = ("cancel", "suspend", "stop a worker", "start again")


def draw_family(seed: int) -> Story:
    """A run with one or two subflows, its people, and what must come of it."""
    rng = random.Random(f"family {seed}")  # noqa: S311
    fates = [rng.choice(FATES) for _ in range(rng.choice([1, 1, 2]))]
    told = {"a": Told("ran", f"a-{digest(RUN_INPUT)}")}
    nodes: list[dict[str, Any]] = [_work(rng, "a")]
    decisions: dict[str, str | None] = {}
    outputs: dict[str, Any] = {}
    for number, fate in enumerate(fates):
        name = f"sub{number}"
        params = {"blueprintId": fate, "outputs": {f"got{number}": "k_c2"}}
        nodes.append({"id": name, "uses": "subflow", "params": params})
        if fate == "fails twice":
            nodes[-1]["config"] = {"maxRetries": 2, "retryDelay": rng.choice([0, 100])}
        told[name] = _fate(fate, told["a"].output)
        outputs[name] = told[name].output
        if fate in ("asks", "nested"):
            decisions[f"{name}/ask" if fate == "asks" else f"{name}/inner/ask"] = None
    states = {told[f"sub{number}"].state for number in range(len(fates))}
    nodes.append(_work(rng, "z"))
    given = outputs["sub0"] if len(outputs) == 1 else outputs
    if rng.random() < 0.5:
        nodes[-1]["inputs"] = {f"s{number}": f"got{number}" for number in range(len(fates))}
        given = {f"s{number}": outputs[f"sub{number}"] for number in range(len(fates))}
    told["z"] = Told("ran", f"z-{digest(given)}") if states == {"ran"} else Told("unreached")
    edges = [{"source": "a", "target": name} for name in outputs]
    edges += [{"source": name, "target": "z"} for name in outputs]
    acts = []
    if rng.random() < 0.4:
        # What a drain cuts short is not listed until somebody reconciles, and nothing else happens there.
        verb = rng.choice(VERBS if "asks nobody" not in fates else VERBS[:2])
        acts.append(Act(verb, rng.choice([0.1, 1.0, 5.0, 30.0]), rng.choice([1.0, 20.0])))
    return Story(
        f"family of {' and '.join(fates)}, {acts}",
        Blueprint.from_dict({"id": "story", "nodes": nodes, "edges": edges}),
        told,
        decisions,
        tuple(acts),
        deadline_s=20.0 if "asks nobody" in fates and not acts and rng.random() < 0.8 else None,
        subflows=tuple(_child(rng, fate) for fate in dict.fromkeys([*FATES])),
    )


def _work(rng: random.Random, name: str, **params: Any) -> dict[str, Any]:
    takes_s = rng.choices([0.0, 0.1, 1.0, 20.0], [6, 3, 3, 0.5])[0]
    return {"id": name, "uses": "work", "params": {"takes_s": takes_s, **params}}


def _fate(fate: str, given: Any) -> Told:
    """What becomes of the node whose child run this is."""
    first = f"c1-{digest(given)}"
    if fate in ("fails", "fails twice"):
        return Told("failed")
    if fate == "asks nobody":
        return Told("unreached")
    if fate in ("asks", "nested"):
        return Told("ran", f"c2-{digest(DECISION)}")
    if fate == "wide":
        sides = {f"w{number}": f"w{number}-{digest(first)}" for number in range(3)}
        return Told("ran", f"c2-{digest(sides)}")
    return Told("ran", "c2~" if fate == "spared" else f"c2-{digest(first)}")


def _child(rng: random.Random, fate: str) -> Blueprint:
    ways = "c1>c2"
    nodes: dict[str, dict[str, Any]] = {"c1": _work(rng, "c1"), "c2": _work(rng, "c2")}
    if fate == "wide":
        ways = "c1>w0 c1>w1 c1>w2 w0>c2 w1>c2 w2>c2"
        nodes |= {name: _work(rng, name) for name in ("w0", "w1", "w2")}
    elif fate == "slow":
        ways = "c1>nap nap>c2"
        nodes["nap"] = {"id": "nap", "uses": "sleep", "params": {"duration": f"{rng.choice([1, 45])}s"}}
    elif fate in ("asks", "asks nobody"):
        ways = "c1>ask ask>c2"
        nodes["ask"] = {"id": "ask", "uses": "wait"}
    elif fate in ("fails", "fails twice", "spared"):
        nodes["c2"] = _work(rng, "c2", fails=FOREVER)
        if fate == "spared":
            nodes["c2"]["config"] = {"fallback": "spare"}
    elif fate == "nested":
        ways = ""
        nodes = {
            "inner": {
                "id": "inner",
                "uses": "subflow",
                "params": {"blueprintId": "asks", "outputs": {"k_c2": "c2"}},
            }
        }
    edges = [dict(zip(("source", "target"), way.split(">"), strict=True)) for way in ways.split()]
    return Blueprint.from_dict({"id": fate, "nodes": list(nodes.values()), "edges": edges})
