"""The words of an expression. Only as much of CEL's grammar as reading an expression's names takes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["name", "text", "number", "sign"]

_TOKEN: Final = re.compile(
    r"""
    (?P<space>\s+|//[^\n]*)
  | (?P<raw>(?:[rR][bB]?|[bB][rR])(?:\"{3}.*?\"{3}|'{3}.*?'{3}|"[^"\n]*"|'[^'\n]*'))
  | (?P<block>[bB]?(?:\"{3}(?:\\.|[^\\])*?\"{3}|'{3}(?:\\.|[^\\])*?'{3}))
  | (?P<text>[bB]?(?:"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'))
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<number>(?:0[xX][0-9a-fA-F]+|(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?)[uU]?)
  | (?P<sign>===|!==|==|!=|<=|>=|&&|\|\||.)
    """,
    re.VERBOSE | re.DOTALL,
)

_KINDS: Final[dict[str, Kind]] = {
    "raw": "text",
    "block": "text",
    "text": "text",
    "name": "name",
    "number": "number",
    "sign": "sign",
}


@dataclass(frozen=True, slots=True)
class Token:
    """One word.

    Attributes:
        kind: A name, a text or number literal, or a sign.
        text: As written.
        position: Its first character in the expression, counted from 1.
    """

    kind: Kind
    text: str
    position: int

    def is_sign(self, sign: str) -> bool:
        """Whether it is this sign."""
        return self.kind == "sign" and self.text == sign

    @property
    def plain_text(self) -> str | None:
        """The value of a text literal without prefix and escapes; None for any other word."""
        if (
            self.kind != "text"
            or "\\" in self.text
            or self.text[0] not in "\"'"
            or self.text[:3] in {'"""', "'''"}
        ):
            return None
        return self.text[1:-1]


def tokens(expression: str) -> tuple[Token, ...]:
    """All words in order; nothing is refused here, a sign may be any character."""
    found: list[Token] = []
    for match in _TOKEN.finditer(expression):
        kind = _KINDS.get(match.lastgroup or "")
        if kind is not None:
            found.append(Token(kind, match.group(), match.start() + 1))
    return tuple(found)
