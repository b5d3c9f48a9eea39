"""A scanned letter: its pages are read one by one, beside each other, then put together and filed."""

from __future__ import annotations

import hashlib
from typing import Any

from flowcraft import App, NodeContext, NonRetryableError

app = App("documents")


@app.node("split")
async def split(ctx: NodeContext) -> list[dict[str, Any]]:
    """A page for each image; the list is what the batch works on."""
    return [{"number": number, "image": image} for number, image in enumerate(ctx.input["scans"], start=1)]


@app.node("recognise", retries=1, retry_delay_s=0.1, timeout_s=30)
def recognise(ctx: NodeContext) -> dict[str, Any]:
    """Stands for OCR. It is not async: such work blocks, so it runs in a thread."""
    image = str(ctx.input["image"])
    if not image.strip():
        raise NonRetryableError(f"page {ctx.input['number']} is blank")
    words = [word.strip(".,;:").lower() for word in image.split()]
    return {"number": ctx.input["number"], "text": " ".join(image.split()), "words": len(words)}


@app.node("assemble")
async def assemble(ctx: NodeContext) -> dict[str, Any]:
    """The pages in their order; one that could not be read says why in its place."""
    pages = [page for page in ctx.input if "error" not in page]
    text = "\n".join(page["text"] for page in pages)
    return {
        "text": text,
        "words": sum(page["words"] for page in pages),
        "unreadable": len(ctx.input) - len(pages),
    }


@app.node("file")
async def file(ctx: NodeContext) -> dict[str, Any]:
    return {"id": hashlib.sha256(ctx.input["text"].encode()).hexdigest()[:12], **ctx.input}


flow = app.flow("letter", version="1")
flow.node("split").batch("pages", "recognise", concurrency=4, on_error="collect").node("assemble").node(
    "file"
)
flow.edge("split", "pages").edge("pages", "assemble").edge("assemble", "file")
