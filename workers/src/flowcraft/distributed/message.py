"""Queue messages: what a signal says, as value and as text."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from flowcraft.distributed.run_ids import run_id_problem

MAX_BODY_BYTES: Final = 48 * 1024
"""A message carries references only; this leaves room for base64 within the service's 64 KiB."""

MAX_TRACE: Final = 256
"""Characters; a ``traceparent`` of W3C's version 00 has 55."""


class MessageError(Exception):
    """A message body that no redelivery will make readable; it belongs to the poison queue."""


@dataclass(frozen=True, slots=True)
class Message:
    """The obligation to act on one node key of a run.

    Attributes:
        run_id: The run.
        blueprint_id: As the sender names it; the pinned one counts.
        node_key: Where to act; empty is "start this run".
        session: Token of the sender's view: the receiver's reads see at least that.
        alarm: The node key has an ``awaiting`` record that this message is the alarm of.
        check: The node key may have a record already: look before executing.
        woken: The node key awaits children, all of which are resolved.
        base: Deliveries that were no attempts (give-backs, alarms): subtracted from the delivery count.
        not_before: ISO-8601 UTC time until which the message was delayed on purpose.
        trace: W3C ``traceparent`` of whatever caused it; empty where there is no trace.
    """

    run_id: str
    blueprint_id: str = ""
    node_key: str = ""
    session: str = ""
    alarm: bool = False
    check: bool = False
    woken: bool = False
    base: int = 0
    not_before: str = ""
    trace: str = ""

    @property
    def is_start(self) -> bool:
        """It starts the run instead of acting on one node key."""
        return not self.node_key

    @property
    def claim(self) -> str:
        """What is claimed to act on it; see ``claim_name``."""
        return claim_name(self.node_key, woken=self.woken, alarm=self.alarm)

    def to_body(self) -> str:
        """JSON with upstream's names; what is at its default is left out."""
        document: dict[str, Any] = {"runId": self.run_id}
        for name, value in (
            ("blueprintId", self.blueprint_id),
            ("nodeId", self.node_key),
            ("session", self.session),
            ("alarm", self.alarm),
            ("check", self.check),
            ("woken", self.woken),
            ("base", self.base),
            ("notBefore", self.not_before),
            ("traceparent", self.trace),
        ):
            if value:
                document[name] = value
        return orjson.dumps(document).decode()

    def at(self, node_key: str, session: str) -> Message:
        """The same obligation, moved on to another node key."""
        return replace(self, node_key=node_key, session=session, alarm=False, check=False, woken=False)

    @classmethod
    def parse(cls, body: str) -> Message:
        """Read plain or base64 JSON, as this project and as hand-written clients send it.

        Raises:
            MessageError: it is neither, or a field has the wrong type; the text says which.
        """
        document = _json(body)
        if not isinstance(document, dict):
            raise MessageError("the message is not a JSON object")
        run_id = _text(document, "runId")
        if not run_id:
            raise MessageError("the message has no runId")
        if problem := run_id_problem(run_id):
            raise MessageError(f"the runId of the message {problem}")
        base = document.get("base", 0)
        if not isinstance(base, int) or isinstance(base, bool):
            raise MessageError("base of the message is not a whole number")
        if base < 0:  # it would count deliveries that never were, and fail the node as poison
            raise MessageError("base of the message is less than 0")
        return cls(
            run_id=run_id,
            blueprint_id=_text(document, "blueprintId"),
            node_key=_text(document, "nodeId"),
            session=_text(document, "session"),
            alarm=document.get("alarm") is True,
            check=document.get("check") is True,
            woken=document.get("woken") is True,
            base=base,
            not_before=_text(document, "notBefore"),
            trace=_trace(document),
        )


def _trace(document: dict[str, Any]) -> str:
    """Whatever is no ``traceparent`` is left out: a message is worth more than its trace."""
    value = document.get("traceparent")
    return value if isinstance(value, str) and len(value) <= MAX_TRACE else ""


def _json(body: str) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass
    try:
        return orjson.loads(base64.b64decode(body, validate=True))
    except (binascii.Error, ValueError):
        raise MessageError("the message is neither JSON nor base64 of JSON") from None


def _text(document: dict[str, Any], name: str) -> str:
    value = document.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > 1024:
        raise MessageError(f"{name} of the message is not a text of at most 1024 characters")
    return value


def claim_name(key: str, *, woken: bool = False, alarm: bool = False) -> str:
    """What is claimed to act on a node key: of one that has awaited something, another thing than at first.

    Its first obligation is discharged once its children are signalled, or once its alarm is set, so that a
    doubled message finds it done.
    """
    return f"children:{key}" if woken else f"alarm:{key}" if alarm else key


def poison_body(body: str, reason: str, deliveries: int) -> str:
    """What the poison queue keeps: the original body and why it is there."""
    kept = body if len(body) <= MAX_BODY_BYTES // 2 else body[: MAX_BODY_BYTES // 2]
    return orjson.dumps({"reason": reason, "deliveries": deliveries, "body": kept}).decode()
