"""Steering a run in memory from outside while it goes: pause it, cancel it, stop it before a node."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

_NOWHERE: Final[frozenset[str]] = frozenset()


class RunControl:
    """The switch of a run, given in its options; for one run at a time.

    A paused run lets executing nodes end and starts no other; its result can be resumed. A cancelled run
    tells executing nodes and ends.

    Attributes:
        pausing: A pause was asked for.
        cancelling: Cancellation was asked for.
    """

    def __init__(self, *, pause_before: Collection[str] = _NOWHERE) -> None:
        """Args: node ids or keys before which the run pauses; other branches go on."""
        self._pause_before = frozenset(pause_before)
        self._heard: list[Callable[[], None]] = []
        self.pausing = False
        self.cancelling = False

    def pause(self) -> None:
        """Ask for a pause. Effective once: what is resumed later has a control of its own."""
        self.pausing = True
        self._tell()

    def cancel(self) -> None:
        """Ask for the run's end."""
        self.cancelling = True
        self._tell()

    def admits(self, key: str, node_id: str) -> bool:
        """Whether this node key may begin now."""
        return not (self.pausing or key in self._pause_before or node_id in self._pause_before)

    def inside(self) -> RunControl:
        """What steers the child runs of the run: the same, unless it is about node keys of the run itself."""
        return self

    def listen(self, heard: Callable[[], None]) -> Callable[[], None]:
        """Call this when something is asked for; gives what ends that."""
        self._heard.append(heard)
        return lambda: self._heard.remove(heard)

    def _tell(self) -> None:
        for heard in tuple(self._heard):
            heard()


class StepControl(RunControl):
    """Lets a run go one step: exactly these node keys begin."""

    def __init__(self, keys: Collection[str]) -> None:
        super().__init__()
        self._keys = frozenset(keys)

    def admits(self, key: str, node_id: str) -> bool:
        """Whether this node key belongs to the step."""
        return key in self._keys and super().admits(key, node_id)

    def inside(self) -> RunControl:
        """A child run belongs to the step of its node, whole."""
        return _Inside(self)


class _Inside(RunControl):
    """Hands on what is asked of the run above."""

    def __init__(self, above: RunControl) -> None:
        super().__init__()
        self._above = above

    def listen(self, heard: Callable[[], None]) -> Callable[[], None]:
        def told() -> None:
            self.pausing, self.cancelling = self._above.pausing, self._above.cancelling
            heard()

        self.pausing, self.cancelling = self._above.pausing, self._above.cancelling
        return self._above.listen(told)
