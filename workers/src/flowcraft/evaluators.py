"""Evaluators beside the default one, and what is checked of expressions in a language of the app's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from flowcraft.blueprint import Blueprint
from flowcraft.engine.inputs import Evaluator
from flowcraft.errors import EvaluationError
from flowcraft.evaluator import ExpressionEvaluator
from flowcraft.expressions.compiled import compile_expression


class PropertyEvaluator(ExpressionEvaluator):
    """Reads property paths and nothing else, as the original's default evaluator does.

    An expression that is more than a path fails its node; the original gives undefined for it, silently.
    """

    def condition(self, expression: str, scope: Mapping[str, Any]) -> bool:
        """Whether there is something at the path.

        Raises:
            EvaluationError: it is no path.
        """
        _require_path(expression)
        return super().condition(expression, scope)

    def transform(self, expression: str, scope: Mapping[str, Any]) -> Any:
        """What is at the path.

        Raises:
            EvaluationError: it is no path.
        """
        _require_path(expression)
        return super().transform(expression, scope)


def _require_path(expression: str) -> None:
    if compile_expression(expression).path is None:
        raise EvaluationError(
            "it is more than a property path, and this app's evaluator reads only those", expression
        )


def lintable(blueprint: Blueprint, evaluator: Evaluator) -> Blueprint:
    """The blueprint as the linter can look at it: without expressions in a language of the app's own."""
    if isinstance(evaluator, ExpressionEvaluator):
        return blueprint
    return replace(
        blueprint,
        edges=tuple(replace(edge, condition=None, transform=None) for edge in blueprint.edges),
    )
