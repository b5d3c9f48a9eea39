"""How CEL writes what people who come from JavaScript or Python write otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from flowcraft.errors import EvaluationError
from flowcraft.expressions.tokens import Token

_SIGNS: Final[Mapping[str, str]] = {"===": "==", "!==": "!="}
_VALUES: Final[Mapping[str, str]] = {"undefined": "null", "None": "null", "True": "true", "False": "false"}
"""To CEL they are names, of nothing: such a condition would be read, and never hold."""
_WORDS: Final[Mapping[str, str]] = {"and": "&&", "or": "||", "not": "!", "is": "=="}
"""Names, too; so they are told only where the expression cannot be parsed."""
_FUNCTIONS: Final[Mapping[str, str]] = {
    "len": "size",
    "length": "size",
    "str": "string",
    "float": "double",
    "includes": "contains",
}


def refuse_spellings(source: str, words: Sequence[Token]) -> None:
    """Refuse what is read otherwise than it was meant.

    Raises:
        EvaluationError: there is such a word; the message has CEL's.
    """
    for word in words:
        if word.kind != "sign":
            continue
        if word.text in _SIGNS:
            raise _written(word, _SIGNS[word.text], source)
        if word.text == "=":
            raise EvaluationError("`=` is no comparison; write `==`", source, word.position)
    for word in _names(words):
        if word.text in _VALUES:
            raise _written(word, _VALUES[word.text], source)


def meant_otherwise(source: str, words: Sequence[Token]) -> EvaluationError | None:
    """Why an expression cannot be parsed, if it has words of another language."""
    return next(
        (_written(word, _WORDS[word.text], source) for word in _names(words) if word.text in _WORDS), None
    )


def function_meant(name: str) -> str:
    """The end of a message about a function that there is not; empty if nobody knows what is meant."""
    return f"; write `{_FUNCTIONS[name]}`" if name in _FUNCTIONS else ""


def _names(words: Sequence[Token]) -> Iterator[Token]:
    """Names that stand for themselves, not for the field of something."""
    for place, word in enumerate(words):
        if word.kind == "name" and not (place and words[place - 1].is_sign(".")):
            yield word


def _written(word: Token, here: str, source: str) -> EvaluationError:
    return EvaluationError(f"`{word.text}` is written `{here}` here (CEL)", source, word.position)
