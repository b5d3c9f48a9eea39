"""What goes wrong, and when: nothing, one fault at one call, or a storm until some time."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Final, Literal, cast

CallFault = Literal["crash before", "crash after", "no answer", "not done", "frozen before", "frozen after"]
"""At one call of a port: its process dies before or after it takes effect; the caller learns nothing of it,
or it never happened; its process stands still so long that what it holds runs out."""
WorldFault = Literal[
    "coordination forgets",
    "coordination away",
    "facts away",
    "queue away",
    "visibility runs out",
    "message twice",
    "message lost",
    "arrival lost",
    "claim lost",
    "hints lost",
]
"""Between two calls: the services themselves."""

CALL_FAULTS: Final[tuple[CallFault, ...]] = (
    "crash before",
    "crash after",
    "no answer",
    "not done",
    "frozen before",
    "frozen after",
)
WORLD_FAULTS: Final[tuple[WorldFault, ...]] = (
    "coordination forgets",
    "coordination away",
    "facts away",
    "queue away",
    "visibility runs out",
    "message twice",
    "arrival lost",
    "claim lost",
    "hints lost",
    "message lost",
)
NEEDS_RECONCILER: Final = frozenset({"message lost", "arrival lost"})
"""Single faults after which a run may stand still until it is reconciled."""
FROZEN_S: Final = 150.0
AWAY_S: Final = 40.0


@dataclass(frozen=True)
class At:
    """One fault at the call of this number (all calls of all processes are counted from 1)."""

    call: int
    fault: CallFault | WorldFault


@dataclass
class Plan:
    """Which faults a simulation has.

    Attributes:
        single: Faults at numbered calls; the storm has no others at those.
        storm_s: Until when faults of all kinds happen at random; 0 is never.
        rate: Share of calls that something happens to during the storm; with 0 it is a time only, before
            which nobody is expected to be done.
        lag_s: How stale reads may be, all the time.
        skew_s: How far the processes' clocks are apart at most.
        repairs: The reconciler takes part, needed or not.
        inline_bytes: Values over this size leave their facts; 0 is never.
    """

    single: tuple[At, ...] = ()
    storm_s: float = 0.0
    rate: float = 0.0
    lag_s: float = 0.0
    skew_s: float = 0.0
    repairs: bool = False
    inline_bytes: int = 0
    _at: dict[int, CallFault | WorldFault] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._at = {at.call: at.fault for at in self.single}

    @property
    def calm(self) -> bool:
        """Nothing at all goes wrong."""
        return not self.single and not self.storm_s and not self.lag_s

    @property
    def reconciled(self) -> bool:
        """Whether the reconciler is needed, so that it takes part."""
        return self.repairs or bool(self.storm_s) or any(at.fault in NEEDS_RECONCILER for at in self.single)

    @property
    def text(self) -> str:
        """The plan on a command line; ``parsed`` reads it."""
        faults = ",".join(f"{at.call}:{at.fault}" for at in self.single)
        numbers = (("storm", self.storm_s), ("rate", self.rate), ("lag", self.lag_s), ("skew", self.skew_s))
        said = [f"{name}={value:g}" for name, value in (*numbers, ("inline", self.inline_bytes)) if value]
        said += ["repairs"] if self.repairs else []
        return ";".join([*said, *([f"at={faults}"] if faults else [])]) or "calm"

    @classmethod
    def parsed(cls, text: str) -> Plan:
        """The plan that ``text`` was said of.

        Raises:
            ValueError: it is no plan.
        """
        parts = [part.partition("=") for part in text.split(";")]
        said = {name: value for name, _, value in parts}
        faults = [part.partition(":")[::2] for part in said.pop("at", "").split(",") if part]
        unknown = [name for _, name in faults if name not in (*CALL_FAULTS, *WORLD_FAULTS)]
        unknown += said.keys() - {"calm", "storm", "rate", "lag", "skew", "repairs", "inline"}
        if unknown:
            raise ValueError(f"unknown in a plan: {', '.join(unknown)}")
        return cls(
            single=tuple(At(int(call), cast("CallFault | WorldFault", name)) for call, name in faults),
            storm_s=float(said.get("storm", 0)),
            rate=float(said.get("rate", 0)),
            lag_s=float(said.get("lag", 0)),
            skew_s=float(said.get("skew", 0)),
            repairs="repairs" in said,
            inline_bytes=int(said.get("inline", 0)),
        )

    def strike(self, call: int, now_s: float, rng: random.Random) -> CallFault | WorldFault | None:
        """What happens at this call."""
        if call in self._at:
            return self._at[call]
        if self.rate and now_s < self.storm_s and rng.random() < self.rate:
            weights = [2, 2, 6, 6, 1, 1, 1, 1, 1, 1, 3, 3, 1, 1, 1, 0.5]
            return rng.choices([*CALL_FAULTS, *WORLD_FAULTS], weights)[0]
        return None


def storm(seed: int) -> Plan:
    """Many faults of all kinds at the beginning, stale reads and clocks that differ; as the seed says."""
    rng = random.Random(f"storm {seed}")  # noqa: S311
    return Plan(
        storm_s=rng.choice([5.0, 60.0, 300.0]),
        rate=rng.choice([0.01, 0.03, 0.1]),
        lag_s=rng.choice([0.0, 0.0, 0.05, 1.0]),
        skew_s=rng.choice([0.0, 2.0]),
    )
