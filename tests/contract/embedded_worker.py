"""What the tests of several processes start: a writer, a consumer or a sender on a shared file.

Every line it prints is a promise that it was given: the key of an acknowledged commit, or a body it took.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys

from flowcraft.embedded import EmbeddedBackend, open_embedded
from flowcraft.ports import Claim, ClaimRequest, Commit, ContextWrite, Discharge
from flowcraft.ports.errors import ConflictError
from flowcraft.records import NodeRecord


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


async def write(backend: EmbeddedBackend, name: str) -> None:
    """Commit until killed, eight runs at a time."""

    async def run(number: int) -> None:
        run_id = f"{name}-{number}"
        for step in itertools.count():
            key = f"{run_id}.{step}"
            await backend.coordination.claim(ClaimRequest(run_id, key, key, 60.0))
            await backend.queue.send(key)
            record = NodeRecord(key=key, node=key, status="completed", output={"text": key * 20})
            await backend.facts.commit(run_id, Commit(create=[record], context=[ContextWrite(key, step)]))
            say(key)

    await asyncio.gather(*(run(number) for number in range(8)))


async def consume(backend: EmbeddedBackend, name: str) -> None:
    """Take messages until "stop"; record each body under a claim, as a worker does."""
    while True:
        for delivery in await backend.queue.receive(1, 30.0):
            if delivery.body == "stop":
                return
            key, token = delivery.body, f"{name}-{delivery.receipt}"
            if await backend.coordination.claim(ClaimRequest("run", key, token, 30.0)) is Claim.CLAIMED:
                try:
                    record = NodeRecord(key=key, node=key, status="completed", worker=name)
                    await backend.facts.commit("run", Commit(create=[record]))
                    say(key)
                except ConflictError:
                    say(f"twice {key}")
            await backend.queue.delete(delivery)
            await backend.coordination.discharge(Discharge("run", token, done=[key], progress=1))
        await backend.queue.wait(5.0)


async def send(backend: EmbeddedBackend, name: str) -> None:
    """Send a message and publish a text at each line of the input."""
    say("ready")
    while line := await asyncio.to_thread(sys.stdin.readline):
        await backend.queue.send(line.strip())
        await backend.coordination.notify(name, line.strip())


async def main(verb: str, path: str, name: str) -> None:
    async with open_embedded(path, "orders") as backend:
        await {"write": write, "consume": consume, "send": send}[verb](backend, name)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
