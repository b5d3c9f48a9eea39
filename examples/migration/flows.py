"""A workflow that came from TypeScript: its blueprint as it is, its nodes written again under their names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flowcraft import App, NodeContext, NodeResult

app = App("loans")


@app.node("ReadApplication")
async def read_application(ctx: NodeContext) -> dict[str, Any]:
    return {"name": "ada", "asked": 0}


@app.node("AskBureau")
async def ask_bureau(ctx: NodeContext) -> dict[str, Any]:
    asked = ctx.input["asked"] + 1
    return {**ctx.input, "asked": asked, "pending": asked < 3, "score": 200 + asked * 170}


@app.node("Decide")
async def decide(ctx: NodeContext) -> NodeResult:
    return NodeResult(output=ctx.input, action="approve" if ctx.input["score"] >= 600 else "decline")


@app.node("WriteLetter")
async def write_letter(ctx: NodeContext) -> dict[str, Any]:
    return {"text": ctx.params["text"], "to": ctx.input["name"]}


app.add_blueprint(Path(__file__).with_name("blueprint.json"))
