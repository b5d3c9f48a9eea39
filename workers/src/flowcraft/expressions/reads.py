"""What an expression reads, path by path, and how its cost grows with what it reads.

CEL values are converted whole, so that ``result.output.amount`` would convert every output of the node. The
paths found here let the evaluator hand over just their ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from flowcraft.expressions.tokens import Token

Path = tuple[str, ...]
_WORDS: Final = frozenset({"true", "false", "null", "in"})
_QUANTIFIERS: Final = frozenset({"all", "exists", "exists_one", "existsOne"})
_BUILDERS: Final = frozenset({"map", "filter"})
_MACROS: Final = _QUANTIFIERS | _BUILDERS
_OPENING: Final = {"(": ")", "[": "]", "{": "}"}


@dataclass(frozen=True, slots=True)
class Macro:
    """A call that walks a list, such as ``items.exists(item, item.price > 1)``.

    Attributes:
        name: ``map``, ``filter``, ``all``, ``exists`` or ``exists_one``.
        variable: The name it binds.
        start: Position among the tokens of its opening parenthesis.
        end: Of its closing one.
        mentions: How often its body says the variable.
    """

    name: str
    variable: str
    start: int
    end: int
    mentions: int


@dataclass(frozen=True, slots=True)
class Reading:
    """What an expression reads and what it may cost.

    Attributes:
        paths: What it reads, each path as often as it is written; the first segment is the name.
        tested: Paths inside ``has(…)``; a missing one stays missing instead of becoming null.
        positions: Where each name first stands, counted from 1.
        degree: The steps grow with the number of values read to the power of this.
        searches: A step inside a macro walks values itself: ``in``, ``contains``, joining with ``+``.
        nesting: Macros within each other.
        growth: How many times a ``map`` over a ``map`` may repeat what it was given.
        walked: What is not only said again in each step of a macro, each path once.
        copied: Paths that each step of a macro copies into something new, each as often as it is written.
        looked_at: Other paths that each step of a macro may walk, to compare them for example.
        written: Items of lists that stand in the expression.
        builds: It makes something new of what it reads: a list, an object, a text joined with ``+``.
    """

    paths: tuple[Path, ...]
    tested: tuple[Path, ...]
    positions: Mapping[str, int]
    degree: int
    searches: bool
    nesting: int
    growth: int
    walked: tuple[Path, ...] = ()
    copied: tuple[Path, ...] = ()
    looked_at: tuple[Path, ...] = ()
    written: int = 0
    builds: bool = False

    def max_values(self, max_steps: int, max_values: int) -> int:
        """How many values it may read so that it takes at most so many steps; a search is a hundredth."""
        if self.degree == 0:
            return max_values
        steps, degree = (max_steps * 100, self.degree + 1) if self.searches else (max_steps, self.degree)
        return min(max_values, int(steps ** (1 / degree)))


@dataclass(slots=True)
class _Found:
    paths: list[Path] = field(default_factory=list)
    tested: list[Path] = field(default_factory=list)
    positions: dict[str, int] = field(default_factory=dict)
    walked: dict[Path, None] = field(default_factory=dict)
    copied: list[Path] = field(default_factory=list)
    looked_at: list[Path] = field(default_factory=list)


def read(words: tuple[Token, ...]) -> Reading:
    """Read an expression whose brackets are balanced (the compiler has accepted it)."""
    closing = _closing(words)
    macros = _macros(words, closing)
    has_ranges = [
        (place + 1, closing[place + 1])
        for place, word in enumerate(words[:-1])
        if word.kind == "name"
        and word.text == "has"
        and place + 1 in closing
        and not _is_member(words, place)
    ]
    found = _Found()
    for place, word in enumerate(words):
        if word.kind != "name" or word.text in _WORDS or _is_member(words, place) or _is_call(words, place):
            continue
        if any(macro.variable == word.text and macro.start < place < macro.end for macro in macros):
            continue
        path = _chain(words, place)
        inside_has = any(start < place < end for start, end in has_ranges)
        (found.tested if inside_has else found.paths).append(path)
        found.positions.setdefault(word.text, word.position)
        around = [macro for macro in macros if macro.start < place < macro.end]
        if not around or _is_walked(words, place):
            found.walked[path] = None
        elif any(macro.name == "map" or _builds(words, macro.start + 1, macro.end) for macro in around):
            found.copied.append(path)
        else:
            found.looked_at.append(path)
    growth = 1
    for macro in macros:
        growth *= max(1, macro.mentions) if macro.name == "map" else 1
    return Reading(
        paths=tuple(found.paths),
        tested=tuple(found.tested),
        positions=found.positions,
        degree=_degree(words, macros, -1, len(words)),
        searches=any(_searches(words, place) for macro in macros for place in range(macro.start, macro.end)),
        nesting=max((sum(o.start < m.start < o.end for o in macros) + 1 for m in macros), default=0),
        growth=growth,
        walked=tuple(found.walked),
        copied=tuple(found.copied),
        looked_at=tuple(found.looked_at),
        written=sum(word.is_sign(",") for word in words),
        builds=_builds(words, 0, len(words)),
    )


def _builds(words: tuple[Token, ...], start: int, end: int) -> bool:
    """Whether a list, an object or a joined text is made between two places."""
    return any(
        words[place].is_sign("+")
        or words[place].is_sign("{")
        or (words[place].is_sign("[") and not _is_index(words, place))
        for place in range(start, end)
    )


def _is_index(words: tuple[Token, ...], place: int) -> bool:
    before = words[place - 1] if place else None
    return before is not None and (
        before.kind == "text"
        or (before.kind == "name" and before.text != "in")
        or before.text in {")", "]", "}"}
    )


def _is_walked(words: tuple[Token, ...], place: int) -> bool:
    """Whether the path from here is what a macro walks, as in ``items.exists(…)``."""
    place += 1
    while place < len(words) and (words[place].is_sign(".") or words[place].is_sign("[")):
        if words[place].is_sign("["):
            if place + 2 >= len(words) or not words[place + 2].is_sign("]"):
                return False
            place += 3
        elif _is_call(words, place + 1):
            return words[place + 1].text in _MACROS
        else:
            place += 2
    return False


def _closing(words: tuple[Token, ...]) -> dict[int, int]:
    """Places of opening brackets, each with the place of the one that closes it."""
    closing: dict[int, int] = {}
    stack: list[int] = []
    for place, word in enumerate(words):
        if word.kind != "sign":
            continue
        if word.text in _OPENING:
            stack.append(place)
        elif word.text in ")]}" and stack:
            closing[stack.pop()] = place
    return closing


def _macros(words: tuple[Token, ...], closing: Mapping[int, int]) -> list[Macro]:
    macros = []
    for place, word in enumerate(words):
        opening = place + 1
        if word.kind != "name" or word.text not in _MACROS or opening not in closing:
            continue
        if not _is_member(words, place) or opening + 1 >= len(words):
            continue
        end, variable = closing[opening], words[opening + 1].text
        mentions = sum(
            words[inner].text == variable and not _is_member(words, inner)
            for inner in range(opening + 2, end)
        )
        macros.append(Macro(word.text, variable, opening, end, mentions))
    return macros


def _degree(words: tuple[Token, ...], macros: list[Macro], start: int, end: int) -> int:
    """How steps grow between two places: list builders copy at each one, patterns are compiled."""
    inside = [macro for macro in macros if start < macro.start and macro.end < end]
    degree = 1 if any(words[place].text == "matches" for place in range(max(start, 0), end)) else 0
    for macro in inside:
        if any(outer.start < macro.start and macro.end < outer.end for outer in inside):
            continue
        body = _degree(words, inside, macro.start, macro.end)
        degree = max(degree, 1 + body, 2 if macro.name in _BUILDERS else 1)
    return degree


def _searches(words: tuple[Token, ...], place: int) -> bool:
    word = words[place]
    if word.kind == "name" and word.text == "in":
        return not words[place + 1].is_sign("[")  # a list written there is short
    return word.is_sign("+") or (word.kind == "name" and word.text == "contains")


def _is_member(words: tuple[Token, ...], place: int) -> bool:
    return place >= 2 and words[place - 1].is_sign(".")


def _is_call(words: tuple[Token, ...], place: int) -> bool:
    return place + 1 < len(words) and words[place + 1].is_sign("(")


def _chain(words: tuple[Token, ...], place: int) -> Path:
    """The longest path of fixed names from here, as ``a.b["c"]``; no method, index or computed key."""
    path = [words[place].text]
    place += 1
    while place < len(words):
        following = words[place + 1] if place + 1 < len(words) else None
        if words[place].is_sign(".") and following is not None and following.kind == "name":
            if _is_call(words, place + 1):
                break
            path.append(following.text)
            place += 2
        elif words[place].is_sign("[") and place + 2 < len(words) and words[place + 2].is_sign("]"):
            key = following.plain_text if following is not None else None
            if key is None:
                break
            path.append(key)
            place += 3
        else:
            break
    return tuple(path)
