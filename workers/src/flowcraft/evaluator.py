"""The evaluator of conditions and transforms that the engine uses: what an expression means where."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flowcraft.errors import EvaluationError
from flowcraft.expressions.compiled import Expression, compile_expression
from flowcraft.expressions.reads import Path
from flowcraft.json_values import NotJsonError, plain_json


def _holds(value: Any) -> bool:
    """JavaScript's truth, for bare paths: an empty list or object holds."""
    return bool(value) or isinstance(value, Mapping | list | tuple)


class ExpressionEvaluator:
    """The evaluator that the engine uses: pure functions of an expression and a scope."""

    def names(self, expression: str) -> frozenset[str]:
        """Top-level names that the expression reads.

        Raises:
            EvaluationError: it cannot be compiled.
        """
        return frozenset(compile_expression(expression).tree.children)

    def reads(self, expression: str) -> frozenset[Path]:
        """The paths that the expression reads, each from its top-level name on.

        Raises:
            EvaluationError: it cannot be compiled.
        """
        return compile_expression(expression).reads

    def condition(self, expression: str, scope: Mapping[str, Any]) -> bool:
        """Whether the condition holds.

        A bare path holds as upstream's does (null, false, 0 and "" do not); CEL must give true or false.

        Raises:
            EvaluationError: it cannot be compiled or evaluated, or is CEL and gives something else.
        """
        compiled = compile_expression(expression)
        value = compiled.evaluate(scope)
        if compiled.path is not None:
            return _holds(value)
        if value is True or value is False:
            return value
        raise EvaluationError(
            f"a condition gives true or false, not a {type(value).__name__}; compare it", expression
        )

    def transform(self, expression: str, scope: Mapping[str, Any]) -> Any:
        """The value the expression gives, as JSON.

        Raises:
            EvaluationError: it cannot be compiled or evaluated, or gives what JSON cannot say.
        """
        value = compile_expression(expression).evaluate(scope)
        try:
            return plain_json(value)
        except NotJsonError as error:
            raise EvaluationError(f"it gives no JSON: {error}", expression) from None


def check_condition(expression: str) -> None:
    """Refuse what can never be evaluated as a condition.

    Raises:
        EvaluationError: why.
    """
    _refuse_open_reads(compile_expression(expression), ("_outputs",))


def check_transform(expression: str) -> None:
    """Refuse what can never be evaluated as a transform.

    Raises:
        EvaluationError: why.
    """
    _refuse_open_reads(compile_expression(expression), ("_outputs", "context"))


def _refuse_open_reads(expression: Expression, names: tuple[str, ...]) -> None:
    for path in expression.reads:
        if len(path) == 1 and path[0] in names:
            raise EvaluationError(
                f'`{path[0]}` is not loaded whole; name what you need: {path[0]}.name or {path[0]}["a-name"]',
                expression.source,
                expression.reading.positions.get(path[0]),
            )
