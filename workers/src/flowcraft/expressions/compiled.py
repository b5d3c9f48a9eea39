"""Conditions and transforms: property paths as upstream's default evaluator reads them, and CEL.

Safe by construction: nothing but the scope can be reached, functions are those of CEL's standard library, and
length, nesting and the number of values are bounded before anything is evaluated. The bounds follow from
measurements of the library: ``map`` and ``filter`` copy their list at every step, and what is passed in is
converted whole, at about a microsecond a value.

A path that does not exist is null, in CEL as in a bare path; ``has(a.b)`` asks whether it exists. (Inside
``exists`` and its like that is not so: there CEL's own rule holds, and a missing field is an error.)
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from flowcraft.errors import EvaluationError
from flowcraft.expressions.library import cel
from flowcraft.expressions.reads import Path, Reading, read
from flowcraft.expressions.scope import ReadTree, count_values
from flowcraft.expressions.spelling import function_meant, meant_otherwise, refuse_spellings
from flowcraft.expressions.syntax import syntax_error
from flowcraft.expressions.tokens import Token, tokens

MAX_LENGTH: Final = 2000
"""Characters; the library's parser recurses, and a much longer one would exhaust the stack."""
MAX_NESTING: Final = 2
MAX_GROWTH: Final = 64
MAX_VALUES: Final = 100_000
MAX_STEPS: Final = 2_000_000
"""What a macro's body may be evaluated how often, list copies counted; about half a second."""
MAX_BUILT: Final = 1_000_000
"""Values that may go into what an expression makes, each as often as it is written."""
_COPIES_A_STEP: Final = 4
"""Values that are copied in the time of a step, measured; of those that are only compared, 100."""
_LOOKS_A_STEP: Final = 100

_POSITION: Final = re.compile(r"0|[1-9][0-9]{0,8}")
_PATH: Final = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*(?:\.[A-Za-z0-9_$]+)*")
_LITERALS: Final = frozenset({"true", "false", "null"})
_PLACE: Final = re.compile(r"<input>:(\d+):(\d+): (?:Syntax error: )?([^\n]*)")
_UNDEFINED: Final = re.compile(r"Undefined variable or function: '([^']+)'")
_CONVERSIONS: Final = ("string", "int", "uint", "double", "bytes", "timestamp", "duration", "type", "dyn")
_TIME_FIELDS: Final = (
    "getFullYear",
    "getMonth",
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getHours",
    "getMinutes",
    "getSeconds",
    "getMilliseconds",
)
_FUNCTIONS: Final = frozenset(
    {"has", "size", "contains", "startsWith", "endsWith", "matches", *_CONVERSIONS, *_TIME_FIELDS}
)


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression, compiled.

    Attributes:
        source: As written.
        path: Its segments if it is a bare path; None if it is CEL.
        program: The compiled CEL; None if it is a bare path.
        reading: What it reads and may cost.
        tree: The same, for taking the part of a scope.
    """

    source: str
    path: Path | None
    program: cel.Program | None
    reading: Reading
    tree: ReadTree

    @property
    def reads(self) -> frozenset[Path]:
        """The paths it reads; the first segment of each is the name in the scope."""
        return frozenset(self.reading.paths + self.reading.tested)

    def evaluate(self, scope: Mapping[str, Any]) -> Any:
        """Its value; the scope holds JSON, and may hold more than it reads at no cost.

        Raises:
            EvaluationError: the operands do not fit, or there is more to read than the bounds allow.
        """
        if self.program is None:
            return _property(scope, self.path or ())
        seen: dict[str, Any] = {name: tree.part(scope.get(name)) for name, tree in self.tree.children.items()}
        self._bound(seen)
        try:
            return self.program.execute(seen)
        except Exception as error:
            raise EvaluationError(_reason(error), self.source, self._position(error)) from None
        except BaseException as error:
            if type(error).__name__ == "PanicException":  # of the extension; derives from BaseException
                raise EvaluationError("the expression library failed on it", self.source) from None
            raise

    def _bound(self, seen: Mapping[str, Any]) -> None:
        limit = self.reading.max_values(MAX_STEPS, MAX_VALUES)
        if count_values(seen.values(), limit) * self.reading.growth > limit:
            raise EvaluationError(
                f"it would walk more than {limit} values, the bound for such an expression; do it in a node",
                self.source,
            )
        reading = self.reading
        if reading.builds and self._count(seen, reading.paths, MAX_BUILT) > MAX_BUILT:
            raise EvaluationError(
                f"it would make something of more than {MAX_BUILT} values, the bound; do it in a node",
                self.source,
            )
        if reading.copied or reading.looked_at:
            rounds = (self._count(seen, reading.walked, limit) + reading.written) * reading.growth
            copies = self._count(seen, reading.copied, MAX_STEPS) // _COPIES_A_STEP
            looks = self._count(seen, reading.looked_at, MAX_STEPS * 100) // _LOOKS_A_STEP
            if rounds**reading.degree * (copies + looks) > MAX_STEPS:
                raise EvaluationError(
                    "it would walk large values again for each item of a list; do it in a node", self.source
                )

    def _count(self, seen: Mapping[str, Any], paths: Sequence[Path], limit: int) -> int:
        """Values that these paths read, at any depth; counting stops above ``limit``."""
        return count_values((_read(seen, path) for path in paths), limit)

    def _position(self, error: Exception) -> int | None:
        unknown = _UNDEFINED.search(str(error))
        return self.reading.positions.get(unknown.group(1)) if unknown else None


def compile_expression(source: str) -> Expression:
    """Compile an expression; the last few thousand are kept.

    Raises:
        EvaluationError: it cannot be parsed, or its form is over the bounds; with the position where known.
    """
    if not isinstance(source, str) or not source.strip():
        raise EvaluationError("it is empty; leave the field out instead", str(source))
    if len(source) > MAX_LENGTH:
        raise EvaluationError(f"it is longer than {MAX_LENGTH} characters; do it in a node", source)
    return _compile(source.strip())


@lru_cache(maxsize=4096)
def _compile(source: str) -> Expression:
    words = tokens(source)
    refuse_spellings(source, words)
    if _PATH.fullmatch(source) and source not in _LITERALS:
        path = tuple(source.split("."))
        reading = Reading((path,), (), {path[0]: 1}, degree=0, searches=False, nesting=0, growth=1)
        return Expression(source, path, None, reading, ReadTree.of([path], []))
    try:
        program = cel.compile(source)
    except ValueError as error:
        raise meant_otherwise(source, words) or _parse_error(source, str(error), words) from None
    reading = read(words)
    _refuse_form(source, program, reading, words)
    return Expression(source, None, program, reading, ReadTree.of(reading.paths, reading.tested))


def _refuse_form(source: str, program: cel.Program, reading: Reading, words: tuple[Token, ...]) -> None:
    if reading.nesting > MAX_NESTING:
        raise EvaluationError(f"it nests more than {MAX_NESTING} of map, filter, all and exists", source)
    if reading.growth > MAX_GROWTH:
        raise EvaluationError(f"its maps could repeat their input more than {MAX_GROWTH} times", source)
    for function in program.functions():
        if function.isidentifier() and function not in _FUNCTIONS:
            position = next((word.position for word in words if word.text == function), None)
            meant = function_meant(function)
            raise EvaluationError(f"there is no function `{function}`{meant}", source, position)
    if unseen := set(program.variables()) - {word.text for word in words if word.kind == "name"}:
        raise EvaluationError(
            f"the name {sorted(unseen)[0]!r} cannot be read; write it without a dot before it", source
        )


def _parse_error(source: str, text: str, words: tuple[Token, ...]) -> EvaluationError:
    if "Recursion limit" in text:
        return EvaluationError("it nests too deeply", source)
    found = _PLACE.search(text)
    if found is None:
        return EvaluationError("it cannot be parsed", source)
    line, column, reason = int(found.group(1)), int(found.group(2)), found.group(3)
    before = source.split("\n")[: line - 1]
    return syntax_error(reason, source, words, sum(len(text) + 1 for text in before) + column)


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"there is no field {error.args[0]!r}; ask with has(…) first"
    if str(error).startswith("No such overload"):
        return (
            "its operands do not fit each other: is one null (ask with `!= null` first), a text, or an "
            "integer in arithmetic with a decimal number (convert with double(…))?"
        )
    return str(error)


def _property(scope: Any, path: Path) -> Any:
    """Upstream's reading of a path: fields, positions, lengths; null once something is missing."""
    value = scope
    for segment in path:
        if isinstance(value, Mapping):
            value = value.get(segment)
        elif isinstance(value, list | tuple | str) and _POSITION.fullmatch(segment):
            value = value[int(segment)] if int(segment) < len(value) else None
        elif isinstance(value, list | tuple | str) and segment == "length":
            value = len(value)
        else:
            return None
    return value


def _read(seen: Mapping[str, Any], path: Path) -> Any:
    value: Any = seen
    for segment in path:
        value = value.get(segment) if isinstance(value, Mapping) else None
    return value
