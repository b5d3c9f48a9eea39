"""What keeps a pool's workers from running, read off their pods. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

_PULL: Final = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"}
)
_CONFIGURATION: Final = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
_CRASHES_BEFORE_TOLD: Final = 2


@dataclass(frozen=True, slots=True)
class WorkerProblem:
    """Why workers do not run: a stable reason, and a sentence that names pod and cause."""

    reason: str
    message: str


def worker_problem(pods: Iterable[Mapping[str, Any]]) -> WorkerProblem | None:
    """The most telling problem of the pods, or None; pods that are being deleted tell nothing."""
    found = [
        (rank, problem)
        for pod in pods
        if not (pod.get("metadata") or {}).get("deletionTimestamp")
        for rank, problem in _problems(pod)
    ]
    return min(found, key=lambda each: (each[0], each[1].message))[1] if found else None


def _problems(pod: Mapping[str, Any]) -> Iterable[tuple[int, WorkerProblem]]:
    name = (pod.get("metadata") or {}).get("name", "?")
    status = pod.get("status") or {}
    for container in _containers(status):
        yield from _container_problems(name, container)
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            message = f"pod {name} cannot be scheduled: {condition.get('message', '')}"
            yield 3, WorkerProblem("WorkersUnschedulable", message)


def _containers(status: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def _container_problems(pod: str, container: Mapping[str, Any]) -> Iterable[tuple[int, WorkerProblem]]:
    waiting = (container.get("state") or {}).get("waiting") or {}
    reason, said = waiting.get("reason", ""), waiting.get("message", "")
    if reason in _PULL:
        message = f"the image {container.get('image')} cannot be pulled ({reason}): {said}"
        yield 0, WorkerProblem("ImagePullFailed", message)
    elif reason in _CONFIGURATION:
        yield 1, WorkerProblem("WorkerConfigurationFailed", f"pod {pod}: {reason}: {said}")
    elif reason == "CrashLoopBackOff" or (
        not container.get("ready") and container.get("restartCount", 0) >= _CRASHES_BEFORE_TOLD
    ):
        yield 2, WorkerProblem("WorkersCrashing", f"pod {pod} ends again and again: {_last_words(container)}")


def _last_words(container: Mapping[str, Any]) -> str:
    for state in ("lastState", "state"):
        ended = (container.get(state) or {}).get("terminated")
        if ended:
            text = str(ended.get("message") or ended.get("reason") or "").strip()
            return f"exit code {ended.get('exitCode')}; {text[-500:]}"
    return "see its log"
