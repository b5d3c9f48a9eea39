"""Children of a node key: the items of a batch, or the nodes that a node made while it ran.

An owner is recorded as awaiting its children. They are node keys of their own, run side by side in *lanes*:
with ``P`` lanes, child ``i`` is ready when ``i < P``, or when child ``i - P`` is resolved. So whoever is done
with a child goes on with the next one of its lane, and no counter is needed. A resolved child arrives at the
join of all children; when that fires, the owner is woken and completes with its own result. Only then are its
edges taken.

Keys: ``scatter[17]``; in a loop ``scatter#2[17]``; a child's own children ``plan[a/b]``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, cast

from flowcraft.engine.derivation import Resolution, resolve
from flowcraft.engine.keys import NodeKey
from flowcraft.engine.plan import Plan
from flowcraft.engine.resolution import JoinStates, Wave
from flowcraft.records import NodeRecord

OnError = Literal["fail", "skip", "collect"]
"""What a failed child means: the run fails; it is left out; its error stands in its place."""
ON_ERROR: Final[tuple[OnError, ...]] = ("fail", "skip", "collect")
DEFAULT_LANES: Final = 1000
MAX_CHILDREN: Final = 100_000
MAX_DEPTH: Final = 8
"""Children of children, and so on: a node that makes itself again must come to an end."""
_JOIN: Final = "children:"
_AGAIN: Final = "again]"
"""The edge in whose name an owner lets its children arrive again; no child's id has a bracket."""


@dataclass(frozen=True, slots=True)
class Children:
    """The children of one owner.

    Attributes:
        owner: Its node key.
        count: How many children; never 0.
        lanes: How many of them run at a time.
        names: What tells each from the others in its key; None: its place, from 0.
        on_error: What a failed child means.
    """

    owner: str
    count: int
    lanes: int = DEFAULT_LANES
    names: tuple[str, ...] | None = None
    on_error: OnError = "fail"
    _head: str = field(default="", init=False, repr=False, compare=False)
    _places: dict[str, int] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        head = f"{self.owner[:-1]}/" if self.owner.endswith("]") else f"{self.owner}["
        object.__setattr__(self, "_head", head)
        if self.names is not None:
            self._places.update((name, place) for place, name in enumerate(self.names))

    @classmethod
    def of(cls, record: NodeRecord) -> Children | None:
        """The children that a record tells of."""
        told = record.children
        if told is None:
            return None
        names = told.get("names")
        return cls(
            record.key,
            told["count"],
            told["lanes"],
            None if names is None else tuple(names),
            cast("OnError", told.get("onError", "fail")),
        )

    def to_document(self) -> dict[str, Any]:
        """What the owner's record tells of them, for as long as there is one."""
        document: dict[str, Any] = {"count": self.count, "lanes": self.lanes}
        if self.names is not None:
            document["names"] = list(self.names)
        if self.on_error != "fail":
            document["onError"] = self.on_error
        return document

    @property
    def join(self) -> str:
        """Name of the join of all children."""
        return f"{_JOIN}{self.owner}"

    def key(self, place: int) -> str:
        """The node key of the child at a place, counted from 0."""
        name = place if self.names is None else self.names[place]
        return f"{self._head}{name}]"

    def keys(self) -> Iterator[str]:
        """The node keys of all children, in order."""
        return map(self.key, range(self.count))

    def place(self, key: str) -> int:
        """Where a child stands.

        Raises:
            KeyError: it is none of these children.
        """
        name = key[len(self._head) : -1] if key.startswith(self._head) else ""
        if self.names is not None:
            return self._places[name]
        if name.isascii() and name.isdigit() and str(int(name)) == name and int(name) < self.count:
            return int(name)
        raise KeyError(key)

    def first(self) -> tuple[str, ...]:
        """The children that are ready at once: the first of each lane."""
        return tuple(map(self.key, range(min(self.lanes, self.count))))

    def follow(self, key: str) -> Wave:
        """What follows from a resolved child: its arrival, and the next one of its lane."""
        place = self.place(key)
        following = place + self.lanes
        arrival = JoinStates(self.join, self.owner, {self._edge(place): True}, self.count, any_join=False)
        return Wave((self.key(following),) if following < self.count else (), (), (arrival,), ended=False)

    def arrived(self, records: Mapping[str, NodeRecord]) -> dict[str, bool]:
        """The edges into the join of all children that these records resolve; a failed one resolves none."""
        return {
            self._edge(place): True
            for place in range(self.count)
            if (record := records.get(self.key(place))) is not None and record.status == "completed"
        }

    def recover(self, records: Mapping[str, NodeRecord], ready: tuple[str, ...]) -> Wave:
        """What an owner signals again whose first delivery died: what is ready, and what is resolved already.

        They may never have arrived: who resolved them may have died with the owner's delivery.
        """
        states = self.arrived(records)
        joins = (JoinStates(self.join, self.owner, states, self.count, any_join=False, by=_AGAIN),)
        return Wave(ready, (), joins if states else (), ended=False)

    def _edge(self, place: int) -> str:
        return str(place) if self.names is None else self.names[place]


def owner_of(key: str) -> str | None:
    """The owner of a child's key; None of any other key."""
    if not key.endswith("]"):
        return None
    head, bracket, inside = key[:-1].rpartition("[")
    if not (bracket and head and inside):
        return None
    above, nested, _ = inside.rpartition("/")
    return f"{head}[{above}]" if nested else head


def depth(key: str) -> int:
    """How many owners are above a key: 0 of a node's own key."""
    if not key.endswith("]"):
        return 0
    return 1 + key[:-1].rpartition("[")[2].count("/")


def names_of(ids: Sequence[str]) -> tuple[str, ...]:
    """Ids as they stand in keys, where ``/`` separates children from their own children."""
    return tuple(node_id.replace("%", "%25").replace("/", "%2F") for node_id in ids)


def own_name(key: str) -> str:
    """The id of a made node, from its key: the context key that its output is written to.

    Empty of any other key, and of one that may as well be an item's of a batch.
    """
    child = NodeKey.parse(key).child if key.endswith("]") else None
    name = "" if child is None else child.rpartition("/")[2].replace("%2F", "/").replace("%25", "%")
    return "" if name.isdigit() else name


def is_children_join(join: str) -> bool:
    """Whether a join is that of an owner's children."""
    return join.startswith(_JOIN)


def seq_after(record: NodeRecord) -> int:
    """The logical time at which an owner completes: after its children, and theirs, before its own owner."""
    return record.seq + 2 * (MAX_DEPTH + 1 - depth(record.key))


@dataclass(frozen=True, slots=True)
class Derivation:
    """What all records of a run say about children.

    Attributes:
        ready: Children that may run and have no record.
        woken: Owners that await children all of which are resolved.
        failed: Children that failed.
        waiting: Children that wait for something themselves, other than for their own children.
        owners: Owners that await children.
        resolved: How many children are resolved.
        total: How many children there are.
    """

    ready: tuple[str, ...] = ()
    woken: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    owners: frozenset[str] = frozenset()
    resolved: int = 0
    total: int = 0


_NOTHING: Final = Derivation()


def derive(records: Mapping[str, NodeRecord]) -> Derivation:
    """Everything that records imply about children, of all owners among them; linear in the children."""
    owned = [record for record in records.values() if record.children is not None]
    if not owned:
        return _NOTHING
    ready: list[str] = []
    woken: list[str] = []
    failed: list[str] = []
    waiting: list[str] = []
    owners: set[str] = set()
    resolved = total = 0
    for record in owned:
        children = Children.of(record)
        assert children is not None  # noqa: S101  told above
        states = [records.get(key) for key in children.keys()]  # noqa: SIM118  not a mapping
        total += children.count
        settled = [state is not None and state.resolved for state in states]
        resolved += sum(settled)
        if record.resolved:
            continue
        owners.add(record.key)
        for place, state in enumerate(states):
            if state is None:
                if place < children.lanes or settled[place - children.lanes]:
                    ready.append(children.key(place))
            elif state.status == "failed":
                failed.append(state.key)
            elif not state.resolved and state.children is None:
                waiting.append(state.key)
        if all(settled):
            woken.append(record.key)
    return Derivation(
        tuple(ready), tuple(woken), tuple(failed), tuple(waiting), frozenset(owners), resolved, total
    )


def resolve_all(plan: Plan, records: Mapping[str, NodeRecord]) -> Resolution:
    """What all facts of a run imply, children included; linear in what there is."""
    resolution, found = resolve(plan, records), derive(records)
    if not found.total:
        return resolution
    return replace(
        resolution,
        ready=(*resolution.ready, *found.ready),
        woken=found.woken,
        awaiting=(*(key for key in resolution.awaiting if key not in found.owners), *found.waiting),
        failed=(*resolution.failed, *found.failed),
        resolved=resolution.resolved + found.resolved,
        total=resolution.total + found.total,
    )


def gathered(children: Children, records: Mapping[str, NodeRecord]) -> list[Any]:
    """The outputs of completed children, in order; of failed ones what their owner's policy says.

    Raises:
        KeyError: a child has no record here.
    """
    found = (records[key] for key in children.keys())  # noqa: SIM118  not a mapping
    if children.on_error == "skip":
        return [record.output for record in found if record.error is None]
    return [record.output if record.error is None else {"error": dict(record.error)} for record in found]
