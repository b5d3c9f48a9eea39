"""What waiting costs: a node that runs for hours, a sleep of up to a month, a wait of weeks.

Virtual time makes it a matter of seconds (`benchmarks/virtual_pool.py`). Waiting is constant where an hour of
it costs the same however long it is, and nothing where nothing is to be done.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog
from tabulate import tabulate
from tests.simulation.virtual_time import run

from benchmarks.virtual_pool import COOLDOWN_S, DAY_S, FLOW, RUN, Pool
from flowcraft import App, NodeContext
from flowcraft.distributed.client import Client

MINUTE_S: Final = 60.0
HOUR_S: Final = 3600.0
FIRST_S: Final = 30.0
SERVICES: Final = {"queue": "queue", "facts": "Cosmos DB", "coordination": "Redis"}


@dataclass(frozen=True, slots=True)
class Lasted:
    """What a run cost that lasted so long.

    Attributes:
        seconds: How long its node ran, slept or waited.
        requests: By call, those of the client and the worker, from the start to the end.
        meanwhile: By call, those of them while the node ran, or while nothing was to be done.
        looked: By call, those of the reconciler for this run.
        grown: How many more objects the process holds at a node's end than half a minute after it began.
    """

    seconds: float
    requests: Counter[str]
    meanwhile: Counter[str]
    looked: Counter[str]
    grown: int | None = None

    @property
    def looks(self) -> int:
        """How often the reconciler looked at the run."""
        return self.looked["facts.read_header"]

    def per_hour(self) -> float:
        """Requests an hour while it lasted."""
        return self.meanwhile.total() / self.seconds * HOUR_S

    def by_service(self) -> dict[str, int]:
        """All requests of client and worker, by service."""
        found = dict.fromkeys(SERVICES.values(), 0)
        for name, count in self.requests.items():
            found[SERVICES[name.split(".", maxsplit=1)[0]]] += count
        return found


def runs_for(seconds: float, *, reconciled: bool = True) -> Lasted:
    """A node that runs for so long, from half a minute on."""
    meanwhile: Counter[str] = Counter()
    held: list[int] = []

    async def works(ctx: NodeContext) -> None:
        pool: Pool = ctx.dependencies["pool"]
        before = pool.working.requests.copy()
        await pool.clock.sleep(FIRST_S)
        held.append(pool.objects())
        await pool.clock.sleep(seconds - FIRST_S)
        meanwhile.update(pool.working.requests - before)
        held.append(pool.objects())

    def flow(app: App) -> None:
        app.node("works")(works)
        app.flow(FLOW, version="1").node("works")

    pool = _lived(flow, reconciled=reconciled)
    return Lasted(seconds, pool.working.requests, meanwhile, pool.looking.requests, held[1] - held[0])


def sleeps_for(seconds: float, *, reconciled: bool = True) -> Lasted:
    """A sleep of so long: its message is its alarm clock, hidden for seven days at most, again and again."""

    def flow(app: App) -> None:
        app.flow(FLOW, version="1").sleep("nap", timedelta(seconds=seconds))

    pool = _lived(flow, reconciled=reconciled)
    return Lasted(seconds, pool.working.requests, Counter(), pool.looking.requests)


def waits_for(seconds: float, *, reconciled: bool = True) -> Lasted:
    """A node that waits so long for somebody's decision."""
    meanwhile: Counter[str] = Counter()

    def flow(app: App) -> None:
        app.flow(FLOW, version="1").wait("approve")

    async def answer(pool: Pool, client: Client) -> None:
        await pool.clock.sleep(COOLDOWN_S)
        before = pool.working.requests.copy()
        await pool.clock.sleep(seconds - COOLDOWN_S)
        meanwhile.update(pool.working.requests - before)
        await client.decide(RUN, "approve", action=None, output=True)

    pool = _lived(flow, answer, reconciled=reconciled)
    return Lasted(seconds, pool.working.requests, meanwhile, pool.looking.requests)


def _lived(
    flow: Callable[[App], object],
    answer: Callable[[Pool, Client], Awaitable[None]] | None = None,
    *,
    reconciled: bool,
) -> Pool:
    """A pool whose one run has ended."""

    async def live() -> Pool:
        pool = Pool(flow, reconciled=reconciled)
        await pool.live(answer)
        return pool

    with structlog.testing.capture_logs():
        return run(live())


@dataclass(frozen=True, slots=True)
class Kind:
    """A way to last.

    Attributes:
        title: What it is called in the table.
        measure: A run that lasts so many seconds.
        times: How long each is measured, as people say it, in seconds.
    """

    title: str
    measure: Callable[[float], Lasted]
    times: Mapping[str, float]


RUNNING: Final = {"1 minute": MINUTE_S, "10 minutes": 10 * MINUTE_S, "1 hour": HOUR_S, "6 hours": 6 * HOUR_S}
IDLE: Final = {"1 hour": HOUR_S, "1 day": DAY_S, "7 days": 7 * DAY_S, "30 days": 30 * DAY_S}
NODE: Final = Kind("a node runs", runs_for, RUNNING)
SLEEP: Final = Kind("a sleep", sleeps_for, IDLE)
WAIT: Final = Kind("a wait", waits_for, IDLE)
KINDS: Final[Sequence[Kind]] = (NODE, SLEEP, WAIT)


def measure() -> dict[str, dict[str, Lasted]]:
    """Each kind, each time."""
    return {kind.title: {name: kind.measure(s) for name, s in kind.times.items()} for kind in KINDS}


def table(found: Mapping[str, Mapping[str, Lasted]]) -> str:
    """One line a kind and time."""
    rows = [
        (
            title,
            name,
            *lasted.by_service().values(),
            lasted.meanwhile.total(),
            lasted.looks,
            lasted.looked.total() / lasted.looks if lasted.looks else None,
            lasted.grown,
        )
        for title, times in found.items()
        for name, lasted in times.items()
    ]
    headings = ("one node", "for", *SERVICES.values(), "meanwhile", "looks", "each", "objects more")
    return tabulate(rows, headings, floatfmt=("", "", "", "", "", "", "", ".0f", ".0f"))


def curves(found: Mapping[str, Mapping[str, Lasted]]) -> str:
    """Requests an hour while a node runs, and requests in all of what sleeps and waits, as Mermaid charts."""
    hourly = [f"{lasted.per_hour():.0f}" for lasted in found[NODE.title].values()]
    in_all = [[str(one.requests.total()) for one in found[kind.title].values()] for kind in (SLEEP, WAIT)]
    return "\n\n".join(
        [
            _chart("Requests an hour while a node runs", RUNNING, 2000, [hourly]),
            _chart("Requests in all: a sleep, a wait", IDLE, 80, in_all),
        ]
    )


def _chart(title: str, names: Iterable[str], highest: int, lines: Sequence[Sequence[str]]) -> str:
    axis = ", ".join(f'"{name}"' for name in names)
    return "\n".join(
        [
            "```mermaid",
            "xychart-beta",
            f'  title "{title}"',
            f"  x-axis [{axis}]",
            f'  y-axis "all services" 0 --> {highest}',
            *(f"  line [{', '.join(line)}]" for line in lines),
            "```",
        ]
    )
