"""What a worker remembers of its runs: header, plan, small records; never needed for correctness."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from flowcraft.distributed.jobs.owners import Owners
from flowcraft.distributed.runs.progress import Growth
from flowcraft.engine.inputs import Evaluator, Needs, needs
from flowcraft.engine.marks import is_mark
from flowcraft.engine.plan import Plan
from flowcraft.ports import ContextWrite, Stored
from flowcraft.records import NodeRecord
from flowcraft.serializer import Serializer
from flowcraft_api.wire import HeaderDocument

MAX_RECORDS: Final = 4096
SMALL: Final = 2048
"""Outputs of about so many characters are kept; larger ones are read when they are needed."""


@dataclass(slots=True)
class Run:
    """A run as this worker knows it.

    Attributes:
        stored: The newest header seen.
        plan: The plan of its pinned snapshot.
        read_at: Monotonic time at which the header was read or written.
        stale: A hint said that the header changed.
        records: Resolved records seen here, those with small outputs; they never change.
        busy: Node keys that a job of this worker acts on and whose arrivals are not all answered yet.
        session: Token of this worker's latest commit to the run.
        input: The run's input once it is known; ``known_input`` tells.
        owners: Owners of children, and what these are made of.
        marks: Marks of exits that this worker wrote.
        growth: Node keys that it has more than when it began.
    """

    stored: Stored
    plan: Plan
    read_at: float
    stale: bool = False
    records: dict[str, NodeRecord] = field(default_factory=dict)
    busy: set[str] = field(default_factory=set)
    session: str = ""
    input: Any = None
    known_input: bool = False
    owners: Owners = field(default_factory=Owners)
    marks: dict[str, Any] = field(default_factory=dict)
    growth: Growth = field(default_factory=Growth)

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.stored.document["runId"]

    def learn_input(self, value: Any, serializer: Serializer) -> None:
        """Know the run's input as nodes get it; what people wrote themselves means what it says."""
        header = self.stored.document
        self.input = serializer.encode(value) if header.get("plainInput") or not header.get("v") else value
        self.known_input = True

    def keep(self, record: NodeRecord) -> None:
        """Remember a resolved record if it is small; those of children are read by who gathers them alone."""
        if record.key.endswith("]"):
            return
        if _small(record.output, SMALL) > 0:
            if len(self.records) >= MAX_RECORDS:
                if not self.plan.loops:
                    return
                del self.records[next(iter(self.records))]  # of a round long past, most likely
            self.records[record.key] = record

    def keep_marks(self, writes: Iterable[ContextWrite]) -> None:
        """Remember marks of exits, which never change once nothing is going on in their loop."""
        for write in writes:
            if is_mark(write.key) and not write.deleted:
                if len(self.marks) >= MAX_RECORDS:
                    del self.marks[next(iter(self.marks))]
                self.marks[write.key] = write.value


class Runs:
    """The runs a worker knows; the least recently used ones are dropped."""

    def __init__(self, evaluator: Evaluator, size: int = 512) -> None:
        self._evaluator = evaluator
        self._size = size
        self._runs: OrderedDict[str, Run] = OrderedDict()
        self._over: OrderedDict[str, HeaderDocument] = OrderedDict()
        self._needs: dict[tuple[str, str], Needs] = {}

    def get(self, run_id: str) -> Run | None:
        """The run if it is remembered."""
        run = self._runs.get(run_id)
        if run is not None:
            self._runs.move_to_end(run_id)
        return run

    def put(self, run: Run) -> Run:
        """Remember a run."""
        self._runs[run.run_id] = run
        self._runs.move_to_end(run.run_id)
        while len(self._runs) > self._size:
            self._runs.popitem(last=False)
        return run

    def drop(self, run_id: str) -> None:
        """Forget a run, because it ended."""
        self._runs.pop(run_id, None)

    def over(self, header: HeaderDocument) -> None:
        """Remember the end of a run that has a parent or children: these may not have been told."""
        if "parent" in header or header.get("subflows"):
            self._over[header["runId"]] = header
            if len(self._over) > self._size:
                self._over.popitem(last=False)

    def ended(self, run_id: str) -> HeaderDocument | None:
        """The end of a run that was remembered, once."""
        return self._over.pop(run_id, None)

    def changed(self, run_id: str) -> None:
        """Its header changed: read it again before the next decision."""
        run = self._runs.get(run_id)
        if run is not None:
            run.stale = True

    def needs(self, plan: Plan, node_key: str) -> Needs:
        """What a node's turn reads; computed once a blueprint."""
        node_id = plan.node(node_key).id if plan.loops else node_key
        key = (plan.blueprint.content_hash, node_id)
        found = self._needs.get(key)
        if found is None:
            if len(self._needs) > 50_000:
                self._needs.clear()
            found = self._needs[key] = needs(plan, node_id, self._evaluator)
        return found


def _small(value: Any, budget: int) -> int:
    """What is left of the budget after the value; not positive if the value is larger."""
    if isinstance(value, str):
        return budget - len(value)
    if isinstance(value, Mapping):
        for key, item in value.items():
            budget = _small(item, budget - len(key) - 4)
            if budget <= 0:
                return 0
        return budget
    if isinstance(value, list):
        for item in value:
            budget = _small(item, budget - 2)
            if budget <= 0:
                return 0
        return budget
    return budget - 8
