"""The steps that a plan of a run may name; each is one request that may be repeated."""

from __future__ import annotations

from dataclasses import dataclass

from flowcraft_api.workflow_run import Decision


@dataclass(frozen=True, slots=True)
class AddFinalizer:
    """Set the operator's finalizer, before anything is started that a deletion must end."""


@dataclass(frozen=True, slots=True)
class RemoveFinalizer:
    """Let the resource go."""


@dataclass(frozen=True, slots=True)
class ReadHeader:
    """Look the header up in the backend."""


@dataclass(frozen=True, slots=True)
class Start:
    """Take the run into the backend; a run that is there already stays as it is."""


@dataclass(frozen=True, slots=True)
class Cancel:
    """End the run as cancelled."""


@dataclass(frozen=True, slots=True)
class Suspend:
    """Pause the run."""


@dataclass(frozen=True, slots=True)
class Resume:
    """Let the run go on."""


@dataclass(frozen=True, slots=True)
class Decide:
    """Answer a waiting node."""

    decision: Decision


Step = AddFinalizer | RemoveFinalizer | ReadHeader | Start | Cancel | Suspend | Resume | Decide
