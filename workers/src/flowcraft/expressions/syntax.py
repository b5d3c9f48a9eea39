"""Why an expression cannot be parsed, in a sentence for its author: the parser speaks of its grammar."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from flowcraft.errors import EvaluationError
from flowcraft.expressions.tokens import Token

_GRAMMAR: Final = re.compile(
    r"mismatched input|extraneous input|missing '|no viable alternative|token recognition|Incomplete `"
)
"""How the parser's sentences begin that tell of its grammar; others are for people already."""
_CLOSING: Final = {"(": ")", "[": "]", "{": "}"}


def syntax_error(reason: str, source: str, words: Sequence[Token], position: int) -> EvaluationError:
    """What to tell of a syntax error.

    Args:
        reason: The parser's sentence.
        source: The expression.
        words: Its words.
        position: The character that the parser stopped at, counted from 1; at the end, the one behind it.
    """
    if not _GRAMMAR.match(reason):
        return EvaluationError(reason, source, position)
    if reason.startswith("token recognition"):
        return EvaluationError(_unreadable(source, position), source, position)
    if "_?_:_" in reason:
        asks = next((word.position for word in words if word.is_sign("?")), position)
        return EvaluationError("`?` needs two values, with a `:` between them", source, asks)
    if position > len(source) or reason.startswith("Incomplete"):
        return _unfinished(source, words, position)
    here = next((word for word in words if word.position >= position), None)
    return EvaluationError(_misplaced(here, words), source, here.position if here else position)


def _unfinished(source: str, words: Sequence[Token], position: int) -> EvaluationError:
    open_one, last = _unclosed(words), words[-1] if words else None
    if last is not None and (_is_operator(last) or last == open_one):
        told = f"it ends after `{last.text}`; a value is missing there"
        return EvaluationError(told, source, len(source) + 1)
    if open_one is not None:
        told = f"`{open_one.text}` is not closed; `{_CLOSING[open_one.text]}` is missing"
        return EvaluationError(told, source, open_one.position)
    return EvaluationError("it ends too early", source, position)


def _misplaced(here: Token | None, words: Sequence[Token]) -> str:
    if here is None:
        return "it cannot be parsed from here on"
    place = words.index(here)
    before = words[place - 1] if place else None
    if _is_operator(here) and (before is None or _is_operator(before) or before.text in _CLOSING):
        return f"`{here.text}` cannot stand here; a value is missing before it"
    if here.kind == "sign":
        opened = _unclosed(words[:place])
        if here.text in _CLOSING.values() and opened is None:
            return f"`{here.text}` closes nothing"
        if here.text in _CLOSING.values() and before is not None and _is_operator(before):
            return f"`{before.text}` is followed by `{here.text}`; a value is missing between them"
        return f"`{here.text}` cannot stand here"
    return (
        f"`{here.text}` cannot stand here; is an operator (such as `==` or `&&`) or a `,` missing before it?"
    )


def _unreadable(source: str, position: int) -> str:
    found = source[position - 1 : position]
    if found in {"'", '"'}:
        return "the text that begins here is not closed, or has a `\\` that means nothing (write `\\\\`)"
    if found in {"&", "|"}:
        return f"`{found}` is written `{found * 2}` here (CEL)"
    return f"`{found}` means nothing in an expression"


def _is_operator(word: Token) -> bool:
    """Whether a value must follow."""
    if word.kind == "name":
        return word.text == "in"
    return word.kind == "sign" and word.text not in {*_CLOSING, *_CLOSING.values()}


def _unclosed(words: Sequence[Token]) -> Token | None:
    """The innermost bracket that nothing closes."""
    stack: list[Token] = []
    for word in words:
        if word.kind == "sign" and word.text in _CLOSING:
            stack.append(word)
        elif word.kind == "sign" and stack and word.text == _CLOSING[stack[-1].text]:
            stack.pop()
    return stack[-1] if stack else None
