"""A hyperparameter sweep: 200 trials, some of which diverge, and the best of them trained once more."""

from __future__ import annotations

import math
import random
from typing import Any

from pydantic import BaseModel

from flowcraft import App, NodeContext, NonRetryableError

app = App("sweep")
TRIALS = 200


class Setting(BaseModel):
    """What a trial tries."""

    rate: float
    momentum: float
    steps: int = 40


class Score(BaseModel):
    """What came of it."""

    setting: Setting
    loss: float


def train(setting: Setting) -> float:
    """Gradient descent with momentum on a narrow valley: small, and as touchy as the real thing."""
    x, y, speed_x, speed_y = 2.0, 1.5, 0.0, 0.0
    for _ in range(setting.steps):
        speed_x = setting.momentum * speed_x - setting.rate * x
        speed_y = setting.momentum * speed_y - setting.rate * 20 * y
        x, y = x + speed_x, y + speed_y
        if abs(x) + abs(y) > 1e6:
            raise NonRetryableError(f"diverged at rate {setting.rate:.3f}")
    return math.log10(x * x / 2 + 10 * y * y + 1e-12)


@app.node("draw")
async def draw(ctx: NodeContext) -> list[Setting]:
    """Random settings; of one seed always the same, so that a node that runs again draws them again."""
    chance = random.Random(ctx.input.get("seed", 1))  # noqa: S311  no secrets
    return [
        Setting(rate=10 ** chance.uniform(-3, -0.6), momentum=chance.uniform(0, 0.95)) for _ in range(TRIALS)
    ]


@app.node("trial", timeout_s=60)
def trial(setting: Setting) -> Score:
    return Score(setting=setting, loss=train(setting))


@app.node("choose")
async def choose(ctx: NodeContext) -> dict[str, Any]:
    """The best of those that came to an end; the others were skipped."""
    scores = sorted(ctx.input, key=lambda score: score["loss"])
    return {"best": scores[0], "trials": len(scores), "diverged": TRIALS - len(scores)}


@app.node("refine", timeout_s=600)
def refine(setting: Setting) -> Score:
    longer = setting.model_copy(update={"steps": setting.steps * 5})
    return Score(setting=longer, loss=train(longer))


flow = app.flow("sweep", version="1")
flow.node("draw").batch("trials", trial, concurrency=50, on_error="skip").node("choose").node("refine")
flow.edge("draw", "trials").edge("trials", "choose")
flow.edge("choose", "refine", transform="input.best.setting")
