"""Nodes that wait for a decision: of a person, or of a service that calls back."""

from __future__ import annotations

from typing import Final

from flowcraft.distributed.callbacks import webhook_address
from flowcraft.distributed.jobs.kinds.contract import Act, Acting, WaitingKind
from flowcraft.distributed.jobs.recording import Turned
from flowcraft.node import NodeResult
from flowcraft.records import NodeRecord


class _Wait:
    """The decision's output and action become its result."""

    async def begin(self, turn: Acting, act: Act) -> Turned | None:
        return await turn.wait(act, "wait")

    async def go_on(self, turn: Acting, act: Act, record: NodeRecord) -> Turned | None:
        if record.decision is None or not act.proven:
            return turn.still(record, due=record.decision is not None)
        return await turn.complete(
            act, NodeResult(record.decision.get("output"), record.decision.get("action"))
        )


class _Webhook(_Wait):
    """Waits for a decision too, and has an address for whoever is to call back.

    The address is in the record, so nobody knows it before the node waits; its token tells a caller who was
    given it from one who guesses.
    """

    async def begin(self, turn: Acting, act: Act) -> Turned | None:
        token = turn.services.new_token()
        address = webhook_address(turn.services.settings.webhook_url, turn.run.run_id, act.key, token)
        return await turn.wait(act, "webhook", waits_for={"token": token, "address": address})


WAIT: Final[WaitingKind] = _Wait()
WEBHOOK: Final[WaitingKind] = _Webhook()
