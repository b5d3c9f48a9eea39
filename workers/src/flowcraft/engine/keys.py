"""Node keys: a node's place in a run, as a value and as the text that records, messages and claims have.

A node id alone is the key of a node that is in no loop. In a loop one counter for each loop around the node
is added, outermost first, counted from 1; the child of a batch, or of a node that made nodes while it ran,
adds its index or id: ``charge``, ``charge#2.1``, ``resize[17]``, ``resize#2[17]``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

KEPT: Final = 65_536
"""Parsed keys kept; a worker meets the keys of a few runs again and again."""


@dataclass(frozen=True, slots=True)
class NodeKey:
    """A node's place in a run.

    Attributes:
        node: The node id; of a child: the id of the node that it is a child of.
        rounds: The round of each loop around the node, outermost first, from 1; empty outside of loops.
        child: A child's index or id; no brackets in it.
    """

    node: str
    rounds: tuple[int, ...] = ()
    child: str | None = None

    def __str__(self) -> str:
        if not self.rounds and self.child is None:
            return self.node
        text = self.node
        if self.rounds:
            text = f"{text}#{'.'.join(map(str, self.rounds))}"
        return text if self.child is None else f"{text}[{self.child}]"

    @property
    def owner(self) -> NodeKey:
        """The same place without the child: a child's owner if both have the same node id."""
        return self if self.child is None else replace(self, child=None)

    def of_child(self, child: str | int) -> NodeKey:
        """The key of a child here.

        Raises:
            ValueError: the child's id is empty or has brackets in it, so no text could tell it.
        """
        text = str(child)
        if not text or "[" in text or "]" in text:
            raise ValueError(f"{text!r} cannot name a child: it is empty, or has brackets in it")
        return replace(self, child=text)

    @classmethod
    def parse(cls, text: str) -> NodeKey:
        """Read a key's text; every text is a key, what has no rounds and no child in it is a node id."""
        return _parsed(text)


def ambiguous_id(node_id: str) -> bool:
    """Whether a node id reads like a key with rounds or a child in it: keys could not be told apart."""
    return not node_id or NodeKey.parse(node_id).node != node_id or node_id.endswith("]")


@lru_cache(maxsize=KEPT)
def _parsed(text: str) -> NodeKey:
    rest, child = text, None
    if text.endswith("]"):
        head, bracket, inside = text[:-1].rpartition("[")
        if bracket and head and inside and "]" not in inside:
            rest, child = head, inside
    if "#" in rest:
        node, _, counters = rest.rpartition("#")
        rounds = _rounds(counters)
        if node and rounds:
            return NodeKey(node, rounds, child)
    return NodeKey(rest, (), child)


def _rounds(counters: str) -> tuple[int, ...]:
    """The counters in their one spelling; empty for any other text."""
    parts = counters.split(".")
    if all(part.isascii() and part.isdigit() and part[0] != "0" for part in parts):
        return tuple(map(int, parts))
    return ()
