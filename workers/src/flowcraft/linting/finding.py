"""A mistake that the linter found, and where in the blueprint's document it stands."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from typing import Final, Literal

from flowcraft.blueprint import Blueprint

Severity = Literal["error", "warning"]
Path = tuple[str | int, ...]
MAX_QUESTIONS: Final = 100
MAX_COMPARED: Final = 500


@dataclass(frozen=True, slots=True)
class Finding:
    """One mistake.

    Attributes:
        code: What kind, for programs.
        message: What is wrong and what to do, for people.
        node: The node id it is about; None for an edge or the whole.
        edge: Source and target of the edge it is about.
        severity: An ``error`` keeps the blueprint from running.
        path: Keys and positions from the blueprint to what is wrong, where more is known than node or edge.
        character: Character in the text there, counted from 1.
    """

    code: str
    message: str
    node: str | None = None
    edge: tuple[str, str] | None = None
    severity: Severity = "error"
    path: Path = ()
    character: int | None = None


class Paths:
    """The paths of findings in a blueprint's document."""

    def __init__(self, blueprint: Blueprint) -> None:
        self._nodes = {node.id: place for place, node in reversed(list(enumerate(blueprint.nodes)))}
        self._edges = {
            (edge.source, edge.target): place for place, edge in reversed(list(enumerate(blueprint.edges)))
        }

    def of(self, finding: Finding) -> Path:
        """The path of what the finding is about; empty for the whole."""
        if finding.path:
            return finding.path
        if finding.edge is not None and finding.edge in self._edges:
            return ("edges", self._edges[finding.edge])
        if finding.node is not None and finding.node in self._nodes:
            return ("nodes", self._nodes[finding.node])
        return ()


class Words:
    """Known words, for telling what somebody may have meant; bounded, so that a large file stays cheap."""

    def __init__(self, known: Iterable[str]) -> None:
        self._known = frozenset(known)
        self._meant: dict[str, str | None] = {}

    def __contains__(self, word: str) -> bool:
        return word in self._known

    def meant(self, word: str) -> str | None:
        """The known word that is most like this one; None if none is, or after many questions."""
        if word not in self._meant:
            if len(self._meant) >= MAX_QUESTIONS:
                return None
            alike = (each for each in self._known if abs(len(each) - len(word)) <= 2 and _share(each, word))
            found = get_close_matches(word, list(islice(alike, MAX_COMPARED)), 1, 0.75)
            self._meant[word] = found[0] if found else None
        return self._meant[word]

    def hint(self, word: str) -> str:
        """The end of a message that offers the word which is meant; empty if none is like it."""
        found = self.meant(word)
        return "" if found is None else f"; did you mean {found!r}?"


def _share(one: str, other: str) -> bool:
    """Whether two words begin or end alike, as a word with one mistake in it does."""
    return one[:2] == other[:2] or one[-2:] == other[-2:]
