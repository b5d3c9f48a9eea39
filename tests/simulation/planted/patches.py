"""What planting a bug replaces, and how it is put back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal
from unittest import mock

from tests.simulation.faults import CallFault, WorldFault
from tests.simulation.story import Story


class Patches:
    """Replaces attributes of the product's classes and modules until it is left."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def put(self, owner: Any, name: str, value: Any) -> None:
        """Replace an attribute; one that does not exist is an error: the product has changed."""
        self._stack.enter_context(mock.patch.object(owner, name, value))

    def wrap(self, owner: Any, name: str, around: Callable[[Any], Any]) -> None:
        """Replace a function or method by what ``around`` makes of the original."""
        self.put(owner, name, around(getattr(owner, name)))

    def afterwards(self, call: Callable[[], Any]) -> None:
        """Do something when the bug is taken out again."""
        self._stack.callback(call)


@dataclass(frozen=True)
class Where:
    """In which simulations a bug is looked for: those that have what it takes are few in a campaign.

    Attributes:
        mode: ``mixed`` is a campaign's schedules; the others are its modes.
        faults: Of single faults: which; of pairs: the first.
        then: Of pairs: the second, soon after the first.
        calls: Of single faults: among how many calls; 0 is all.
        told: What the stories have to have, in words.
        story: The same, as a test of a story.
        lag_s: How stale reads may be besides.
        family: Of which family the stories are.
    """

    mode: Literal["mixed", "calm", "lag", "single", "pair", "storm"] = "mixed"
    faults: tuple[WorldFault | CallFault, ...] = ()
    told: str = ""
    story: Callable[[Story], bool] = lambda _story: True
    lag_s: float = 0.0
    family: str = "graph"
    then: tuple[WorldFault | CallFault, ...] = ()
    calls: int = 0

    def __str__(self) -> str:
        some = " or ".join(self.faults)
        modes = {"mixed": "", "single": some or "one fault", "pair": f"{some}, then {' or '.join(self.then)}"}
        faults = modes.get(self.mode, self.mode)
        stale = "stale reads" if self.lag_s else ""
        return "; ".join(part for part in (faults, stale, self.told) if part) or "any"


@dataclass(frozen=True)
class Bug:
    """A rule that is left out.

    Attributes:
        name: Short name.
        instead: What the code does instead, in words.
        rule: The rule of the execution model that says otherwise.
        marked: The rule was found by the model check (``[m]``).
        plant: Puts it into the product.
        where: Where it is looked for.
    """

    name: str
    instead: str
    rule: str
    marked: bool
    plant: Callable[[Patches], None]
    where: Where = Where()

    @contextmanager
    def planted(self) -> Iterator[None]:
        """The product has this bug meanwhile."""
        with ExitStack() as stack:
            self.plant(Patches(stack))
            yield


BUGS: Final[dict[str, Bug]] = {}


def bug(
    name: str, *, instead: str, rule: str, marked: bool = False, where: Where | None = None
) -> Callable[[Callable[[Patches], None]], Callable[[Patches], None]]:
    """Register what plants a bug."""

    def register(plant: Callable[[Patches], None]) -> Callable[[Patches], None]:
        BUGS[name] = Bug(name, instead, rule, marked, plant, where or Where())
        return plant

    return register
