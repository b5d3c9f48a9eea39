"""What chaos runs: an app whose nodes tell of each execution, and a table of kinds of run.

A run's input holds a ``variant``; with it, every node's output, action and context writes are determined, so
the same blueprint run in memory, in peace, says what must come of it.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from flowcraft import App, NodeContext, NodeResult

LOG_VARIABLE: Final = "CHAOS_LOG"
VARIANTS: Final = 4
"""Inputs of each kind."""

app = App("chaos")


@dataclass(frozen=True)
class Kind:
    """A kind of run.

    Attributes:
        blueprint: Its blueprint.
        decisions: By waiting node: the action of each variant's decision.
        cancelled: Somebody cancels it while it runs.
        weight: How often it is drawn.
        also: Blueprints that it needs beside its own.
    """

    blueprint: dict[str, Any]
    decisions: Mapping[str, Sequence[str]] = field(default_factory=dict)
    cancelled: bool = False
    weight: int = 2
    also: tuple[dict[str, Any], ...] = ()


def _tell(ctx: NodeContext) -> None:
    path = os.environ.get(LOG_VARIABLE)
    if not path:
        return
    line = orjson.dumps([ctx.run_id, ctx.node_key, ctx.attempt, os.getpid(), ctx.idempotency_key]) + b"\n"
    log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(log, line)
    finally:
        os.close(log)


def _digest(value: Any) -> str:
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


async def _variant(ctx: NodeContext) -> int:
    return int(await ctx.context.get("variant", 0))


@app.node("step")
async def step(ctx: NodeContext) -> NodeResult:
    """Digest the input and the keys read, write keys of its own, choose an action; or fail as told."""
    params = ctx.params
    _tell(ctx)
    await asyncio.sleep(params.get("takes_s", 0.0))
    if ctx.attempt <= params.get("fails", 0):
        raise ValueError(f"attempt {ctx.attempt} fails on purpose")
    seen = {key: await ctx.context.get(key) for key in params.get("reads", ())}
    output: dict[str, Any] = {"of": ctx.node_key, "saw": _digest([ctx.input, seen])}
    if size := params.get("bytes"):
        output["text"] = "x" * size
    if params.get("counts"):
        await ctx.context.set("n", 1 + await ctx.context.get("n", 0))
    if params.get("traced"):
        trace = await ctx.context.get("trace", [])
        await ctx.context.set("trace", [*trace, ctx.node_key])
    await ctx.context.set(f"mark.{ctx.node_key}", output["saw"])
    for number in range(params.get("keys", 0)):
        await ctx.context.set(f"{ctx.node_key}/{number}", number)
    actions = params.get("actions")
    return NodeResult(output, actions[await _variant(ctx) % len(actions)] if actions else None)


@app.node("thread")
def thread(ctx: NodeContext) -> dict[str, str]:
    """The same as a plain function, in a thread."""
    _tell(ctx)
    threading.Event().wait(ctx.params.get("takes_s", 0.0))
    saw = _digest([ctx.input, ctx.context.blocking.get("variant")])
    ctx.context.blocking.set(f"mark.{ctx.node_key}", saw)
    return {"of": ctx.node_key, "saw": saw}


@app.node("spare")
async def spare(ctx: NodeContext) -> dict[str, str]:
    """A fallback."""
    _tell(ctx)
    return {"spared": ctx.node_key}


@app.node("items")
async def items(ctx: NodeContext) -> list[int]:
    """What a batch is over: more of them in each variant."""
    _tell(ctx)
    return list(range(4 + 4 * await _variant(ctx)))


@app.node("maker")
async def maker(ctx: NodeContext) -> NodeResult:
    """Makes nodes while it runs."""
    _tell(ctx)
    names = "pqrs"[: 1 + await _variant(ctx)]
    made = [{"id": name, "uses": "step", "params": {"takes_s": 0.1}} for name in names]
    return NodeResult({"of": ctx.node_key}, dynamic_nodes=made)


def blueprint(name: str, edges: str, **nodes: Mapping[str, Any]) -> dict[str, Any]:
    """``a>b a>c:action a>d?condition``, and by node id what differs from a plain ``step``."""
    arrows, ids = [], dict.fromkeys(nodes)
    for text in edges.split():
        source, _, rest = text.partition(">")
        rest, _, condition = rest.partition("?")
        target, _, action = rest.partition(":")
        ids.update({source: None, target: None})
        edge = {"source": source, "target": target, "action": action, "condition": condition}
        arrows.append({key: value for key, value in edge.items() if value})
    return {
        "id": name,
        "metadata": {"version": "1"},
        "nodes": [{"id": node, "uses": "step", **nodes.get(node, {})} for node in ids],
        "edges": arrows,
    }


def _steps(names: str, **params: Any) -> dict[str, dict[str, Any]]:
    return {name: {"params": params} for name in names}


def _while(condition: str) -> dict[str, Any]:
    return {
        "uses": "loop-controller",
        "params": {"condition": condition},
        "config": {"joinStrategy": "any"},
    }


_FAN = " ".join(f"a>{name} {name}>z" for name in "bcdefghi")
_TRACED = {"traced": True, "reads": ["trace", "variant"]}

KINDS: Final[dict[str, Kind]] = {
    "linear": Kind(blueprint("linear", "a>b b>c c>d d>e e>f", **_steps("abcdef", **_TRACED)), weight=4),
    "threads": Kind(
        blueprint("threads", "a>b b>c", **{n: {"uses": "thread", "params": {"takes_s": 0.05}} for n in "abc"})
    ),
    "fan": Kind(blueprint("fan", _FAN, **_steps("bdfh", takes_s=0.2)), weight=4),
    "two stages": Kind(
        blueprint("two-stages", "a>b a>c a>d b>e c>e d>e e>f e>g f>h g>h", h={"params": {"traced": True}})
    ),
    "conditions": Kind(
        blueprint(
            "conditions",
            "a>b:left a>c:right b>d c>d d>e?variant>1 d>f?variant<2 e>g f>g g>h",
            a={"params": {"actions": ["left", "right"]}},
        ),
        weight=3,
    ),
    "any": Kind(
        blueprint(
            "any",
            "a>b:left a>c:right a>d:none b>e c>e d>e e>f",
            a={"params": {"actions": ["left", "right"]}},
            e={"config": {"joinStrategy": "any"}},
        )
    ),
    "retries": Kind(
        blueprint(
            "retries",
            "a>b b>c c>d",
            b={"params": {"fails": 2}, "config": {"maxRetries": 3, "retryDelay": 50}},
            c={"params": {"fails": 1}, "config": {"maxRetries": 2, "retryDelay": 2500}},
        )
    ),
    "fallback": Kind(
        blueprint(
            "fallback",
            "a>b b>c",
            b={"params": {"fails": 9}, "config": {"maxRetries": 2, "fallback": "s"}},
            s={"uses": "spare"},
        )
    ),
    "timeout": Kind(
        blueprint(
            "timeout",
            "a>b b>c",
            b={"params": {"takes_s": 30}, "config": {"timeout": 300, "fallback": "s"}},
            s={"uses": "spare"},
        ),
        weight=1,
    ),
    "decision": Kind(
        blueprint("decision", "a>w w>b:yes w>c:no b>d c>d", w={"uses": "wait"}),
        decisions={"w": ["yes", "no"]},
        weight=3,
    ),
    "two decisions": Kind(
        blueprint(
            "two-decisions",
            "v>b:yes v>c:no w>d:yes w>e:no b>z c>z d>z e>z",
            v={"uses": "wait"},
            w={"uses": "wait"},
        ),
        decisions={"v": ["yes", "no"], "w": ["yes", "yes", "no", "no"]},
    ),
    "sleep": Kind(blueprint("sleep", "a>s a>b s>c b>c", s={"uses": "sleep", "params": {"duration": "2s"}})),
    "failure": Kind(
        blueprint("failure", "a>b b>c c>d", c={"params": {"fails": 9}, "config": {"maxRetries": 2}})
    ),
    "failing branch": Kind(
        blueprint("failing-branch", "a>b a>c a>d b>e c>e d>e", c={"params": {"fails": 9, "takes_s": 0.1}})
    ),
    "cancelled": Kind(
        blueprint("cancelled", "a>b b>c c>d a>e e>f f>d", **_steps("bcef", takes_s=0.5)), cancelled=True
    ),
    "batch": Kind(
        blueprint(
            "batch",
            "a>s s>g g>z",
            a={"uses": "items"},
            s={
                "uses": "batch-scatter",
                "inputs": "a",
                "params": {"workerUsesKey": "step", "gatherNodeId": "g", "outputKey": "all", "chunkSize": 5},
            },
            g={"uses": "batch-gather", "params": {"outputKey": "all"}},
            z={"params": {"reads": ["all"]}},
        ),
        weight=3,
    ),
    "made nodes": Kind(blueprint("made-nodes", "a>m m>z", m={"uses": "maker"})),
    "subflow": Kind(
        blueprint(
            "subflow",
            "a>s a>b s>c b>c",
            s={"uses": "subflow", "params": {"blueprintId": "inner", "inputs": {"variant": "variant"}}},
        ),
        also=(blueprint("inner", "x>y x>z y>v z>v", y={"params": {"takes_s": 0.5}}),),
        weight=3,
    ),
    "failing subflow": Kind(
        blueprint("failing-subflow", "a>s s>b", s={"uses": "subflow", "params": {"blueprintId": "broken"}}),
        also=(blueprint("broken", "x>y", y={"params": {"fails": 9}}),),
        weight=1,
    ),
    "cancelled subflow": Kind(
        blueprint("cancelled-subflow", "a>s s>b", s={"uses": "subflow", "params": {"blueprintId": "long"}}),
        also=(blueprint("long", "x>y y>z", **_steps("xyz", takes_s=0.7)),),
        cancelled=True,
        weight=1,
    ),
    "loop": Kind(
        blueprint(
            "loop",
            "a>b b>c c>l l>b:continue l>z:break",
            b={"params": {"counts": True}},
            c={"params": _TRACED},
            l=_while("n < 2 + variant"),
        ),
        weight=4,
    ),
    "loop of branches": Kind(
        blueprint(
            "loop-of-branches",
            "a>b b>c b>d?n>1 c>e d>e e>l l>b:continue l>z:break",
            b={"params": {"counts": True}},
            e={"params": {"takes_s": 0.1}},
            l=_while("n < 3"),
        ),
        weight=2,
    ),
    "loop of batches": Kind(
        blueprint(
            "loop-of-batches",
            "a>c c>s s>g g>l l>c:continue l>z:break",
            a={"uses": "items"},
            c={"params": {"counts": True}},
            s={
                "uses": "batch-scatter",
                "inputs": "a",
                "params": {"workerUsesKey": "step", "gatherNodeId": "g", "outputKey": "all"},
            },
            g={"uses": "batch-gather", "params": {"outputKey": "all"}},
            l=_while("n < 2"),
        ),
        weight=1,
    ),
    "webhook": Kind(
        blueprint("webhook", "a>w w>b:yes w>c:no", w={"uses": "webhook"}), decisions={"w": ["yes", "no"]}
    ),
    "large": Kind(
        blueprint("large", "a>b a>c b>d c>d", **_steps("ab", bytes=300_000), c={"params": {"bytes": 100_000}})
    ),
    "slow": Kind(blueprint("slow", "a>b b>c", b={"params": {"takes_s": 3.0, **_TRACED}}), weight=1),
    "many keys": Kind(
        blueprint("many-keys", "a>b b>c", a={"params": {"keys": 120}}, b={"params": {"keys": 30}}), weight=1
    ),
}
"""By name; a kind that is added here is run, started, decided and audited without further ado."""

for _kind in KINDS.values():
    for _blueprint in (_kind.blueprint, *_kind.also):
        app.add_blueprint(_blueprint)
