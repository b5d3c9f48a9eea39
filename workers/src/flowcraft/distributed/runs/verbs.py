"""Every verb in every state of a run and of a node: what it does, or why not. Pure, and the only place.

The tables in ``docs/reference/verbs.md`` are written from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Final

from flowcraft.records import NodeRecord
from flowcraft_api.wire import TERMINAL_STATUSES, HeaderDocument


class RefusedError(Exception):
    """A verb that the run's state does not allow.

    Attributes:
        retryable: It may be allowed later without anybody doing anything.
    """

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable


class Verb(StrEnum):
    """What people, the operator, or the clock ask of a run."""

    START = "start"
    CANCEL = "cancel"
    SUSPEND = "suspend"
    RESUME = "resume"
    DECIDE = "decide"
    RETRY = "retry"
    RERUN = "rerun"
    DEADLINE = "deadline"
    EXPIRE = "expire"
    DELETE = "delete"


class RunState(StrEnum):
    """The state of a run, as far as verbs tell states apart."""

    UNKNOWN = "unknown"
    """There is no such run, or it was deleted."""
    PENDING = "pending"
    """Accepted; no worker has pinned its blueprint yet."""
    RUNNING = "running"
    AWAITING = "awaiting"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @classmethod
    def of(cls, header: HeaderDocument | None) -> RunState:
        """The state that a header says; None is no header."""
        if header is None:
            return cls.UNKNOWN
        status = header.get("status", "")
        if status in _TOLD:
            return cls(status)
        return cls.RUNNING if header.get("blueprintHash") else cls.PENDING

    @property
    def ended(self) -> bool:
        """Whether it is final."""
        return self in TERMINAL_STATUSES


_TOLD: Final = TERMINAL_STATUSES | {"awaiting", "paused"}
"""Statuses that are states; whatever else a hand-written header says is a run that is to be moved."""


class NodeState(StrEnum):
    """The state of a node key, as far as verbs tell states apart."""

    NONE = "no record"
    WAITING = "awaiting an answer"
    ANSWERED = "answered"
    """Somebody decided, whether the node has gone on since or not."""
    BUSY = "awaiting something else"
    """A time, its next attempt, its children, or a child run."""
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"

    @classmethod
    def of(cls, record: NodeRecord | None) -> NodeState:
        """The state that a record says; None is no record."""
        if record is None:
            return cls.NONE
        if record.decision is not None:
            return cls.ANSWERED
        if record.status == "awaiting":
            return cls.WAITING if record.kind in ANSWERABLE else cls.BUSY
        return cls(record.status)


ANSWERABLE: Final = frozenset({"wait", "webhook"})
"""What an awaiting record's kind must be for a decision."""


class Outcome(Enum):
    """What comes of a verb."""

    DONE = "done"
    NOTHING = "nothing to do"
    REFUSED = "refused"
    NOT_YET = "refused for now"
    NO_RUN = "no such run"


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a verb does in a state.

    Attributes:
        outcome: Whether it does anything.
        becomes: The run's state afterwards, where it changes.
        note: What it does besides, or why it is refused; ``{status}`` and ``{node}`` are filled in.
    """

    outcome: Outcome
    becomes: RunState | None = None
    note: str = ""

    def permits(self, **names: str) -> bool:
        """True: do it. False: it is so already.

        Raises:
            RefusedError: the state does not allow it.
        """
        if self.outcome in (Outcome.REFUSED, Outcome.NOT_YET):
            raise RefusedError(self.note.format(**names), retryable=self.outcome is Outcome.NOT_YET)
        return self.outcome is Outcome.DONE


ACTIVE: Final = (RunState.PENDING, RunState.RUNNING, RunState.AWAITING, RunState.PAUSED)
ENDED: Final = (RunState.COMPLETED, RunState.FAILED, RunState.CANCELLED)
_NO_RUN: Final = Ruling(Outcome.NO_RUN)
_SO_ALREADY: Final = Ruling(Outcome.NOTHING)
_ENDED: Final = "the run is already {status}; it cannot be %s"


def _done(becomes: RunState | None = None, note: str = "") -> Ruling:
    return Ruling(Outcome.DONE, becomes, note)


def _refused(note: str) -> Ruling:
    return Ruling(Outcome.REFUSED, None, note)


def _not_yet(note: str) -> Ruling:
    return Ruling(Outcome.NOT_YET, None, note)


def _row(
    active: Ruling, ended: Ruling, unknown: Ruling = _NO_RUN, but: Mapping[RunState, Ruling] | None = None
) -> Mapping[RunState, Ruling]:
    row = {RunState.UNKNOWN: unknown} | dict.fromkeys(ACTIVE, active) | dict.fromkeys(ENDED, ended)
    return row | dict(but or {})


_STILL: Final = "the run is still {status}: cancel it, or wait for its end"
NEW_RUN: Final = _done(
    None, "as a new run, with another input or context if asked for; this one stays as it is"
)

RUNS: Final[Mapping[Verb, Mapping[RunState, Ruling]]] = {
    Verb.START: _row(
        _SO_ALREADY,
        _SO_ALREADY,
        _done(RunState.PENDING, "paused if it is started so; running if its blueprint comes with it"),
        dict.fromkeys(
            (RunState.PENDING, RunState.RUNNING),
            Ruling(Outcome.NOTHING, None, "signalled again if no worker has looked at it yet"),
        ),
    ),
    Verb.CANCEL: _row(
        _done(RunState.CANCELLED, "nodes that run are told"),
        _refused(_ENDED % "cancelled"),
        but={RunState.CANCELLED: _SO_ALREADY},
    ),
    Verb.SUSPEND: _row(
        _done(RunState.PAUSED, "what runs ends, nothing else begins"),
        _refused(_ENDED % "suspended"),
        but={RunState.PAUSED: _SO_ALREADY},
    ),
    Verb.RESUME: _row(
        Ruling(Outcome.NOTHING, None, "what is ready and lost its signal is signalled"),
        _refused(_ENDED % "resumed"),
        but={
            RunState.PAUSED: _done(
                RunState.RUNNING, "pending or awaiting, if it was; what is ready is signalled"
            )
        },
    ),
    Verb.RETRY: _row(
        _not_yet(_STILL),
        NEW_RUN,
        but={
            RunState.COMPLETED: _refused(
                "the run has completed: run it again from a node (rerun), or start anew"
            )
        },
    ),
    Verb.RERUN: _row(_not_yet(_STILL), NEW_RUN),
    Verb.DEADLINE: _row(_done(RunState.FAILED, "DeadlineExceeded"), _SO_ALREADY),
    Verb.EXPIRE: _row(_SO_ALREADY, _done(RunState.UNKNOWN, "purged")),
    Verb.DELETE: _row(_not_yet(_STILL), _done(RunState.UNKNOWN, "purged"), _SO_ALREADY),
}
"""By verb and state of the run. ``decide`` depends on the node as well: ``DECISIONS``."""

_NOT_WAITING: Final = "node {node} does not wait: it is {status}"
_NOT_WAITING_YET: Final = _not_yet("node {node} is not waiting yet; decide again once it is")
_OVER: Final = _refused("the run is already {run}; nothing waits in it")

DECISIONS: Final[Mapping[NodeState, tuple[Ruling, Ruling]]] = {
    NodeState.NONE: (_NOT_WAITING_YET, _OVER),
    NodeState.WAITING: (_done(None, "the decision is recorded, then the node is signalled"), _OVER),
    NodeState.ANSWERED: (
        Ruling(Outcome.NOTHING, None, "signalled again; another answer is refused"),
        Ruling(Outcome.NOTHING, None, "another answer is refused"),
    ),
    NodeState.BUSY: (_NOT_WAITING_YET, _OVER),
    NodeState.COMPLETED: (_refused(_NOT_WAITING), _refused(_NOT_WAITING)),
    NodeState.FAILED: (_refused(_NOT_WAITING), _refused(_NOT_WAITING)),
    NodeState.SKIPPED: (_refused(_NOT_WAITING), _refused(_NOT_WAITING)),
}
"""``decide`` by state of the node: in a run that is active, in one that has ended."""

_NEVER_RAN: Final = _refused("node {node} did not run in this run; run it again from a node that did")

RERUNS: Final[Mapping[NodeState, Ruling]] = dict.fromkeys(NodeState, NEW_RUN) | {
    NodeState.NONE: _NEVER_RAN,
    NodeState.SKIPPED: _NEVER_RAN,
}
"""``rerun --from`` by state of the node, in a run that has ended."""


def ruling(verb: Verb, run: RunState) -> Ruling:
    """What a verb other than ``decide`` does to a run in this state."""
    return RUNS[verb][run]


def permits(verb: Verb, header: HeaderDocument) -> bool:
    """Whether the verb is to be done to this run (True), or is done already (False).

    Raises:
        RefusedError: the run's state does not allow it.
    """
    return ruling(verb, RunState.of(header)).permits(status=header.get("status", "running"))


def permits_decision(header: HeaderDocument, node: str, record: NodeRecord | None) -> bool:
    """Whether a decision is to be recorded (True), or one was made before (False).

    Raises:
        RefusedError: the node does not wait for one.
    """
    state = RunState.of(header)
    found = DECISIONS[NodeState.of(record)][state.ended]
    return found.permits(node=node, run=str(state), status=record.status if record else "")
