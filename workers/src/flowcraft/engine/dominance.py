"""Which nodes every way passes: the tree of post-dominators of a graph, by Cooper, Harvey and Kennedy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence


class Passages:
    """For nodes of a graph, the nodes that all their ways to an end have in common."""

    def __init__(self, following: Mapping[str, Sequence[str]], end: str) -> None:
        """Args: the targets of each node's edges; the end, which no edge leaves."""
        leading: dict[str, list[str]] = {}
        for node_id, targets in following.items():
            for target in targets:
                leading.setdefault(target, []).append(node_id)
        self._place = _places(leading, end)
        self._next: dict[str, str] = {end: end}
        changed = True
        while changed:
            changed = False
            for node_id in self._place:
                if node_id == end:
                    continue
                found = self.common(following[node_id])
                if found is not None and self._next.get(node_id) != found:
                    self._next[node_id] = found
                    changed = True

    def __contains__(self, node_id: str) -> bool:
        """Whether some way leads from a node to the end."""
        return node_id in self._place

    def common(self, node_ids: Iterable[str]) -> str | None:
        """The first node that ways from all of these have in common; None if none leads to the end."""
        found: str | None = None
        for node_id in node_ids:
            if node_id in self._next:
                found = node_id if found is None else self._meet(found, node_id)
        return found

    def chain(self, node_id: str) -> list[str]:
        """The nodes that all ways from a node to the end have in common, both included."""
        found = [node_id]
        while (following := self._next.get(found[-1], found[-1])) != found[-1]:
            found.append(following)
        return found

    def _meet(self, one: str, other: str) -> str:
        while one != other:
            while self._place[one] > self._place[other]:
                one = self._next[one]
            while self._place[other] > self._place[one]:
                other = self._next[other]
        return one


def _places(leading: Mapping[str, Sequence[str]], end: str) -> dict[str, int]:
    """The nodes that lead to the end, numbered in reverse postorder of a walk back from it."""
    seen = {end}
    finished: list[str] = []
    path = [(end, iter(leading.get(end, ())))]
    while path:
        node_id, sources = path[-1]
        source = next(sources, None)
        if source is None:
            path.pop()
            finished.append(node_id)
        elif source not in seen:
            seen.add(source)
            path.append((source, iter(leading.get(source, ()))))
    return {node_id: place for place, node_id in enumerate(reversed(finished))}
