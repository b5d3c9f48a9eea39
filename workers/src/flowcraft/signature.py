"""What the function of a node asks for: its input as a type, the context, dependencies; and what it gives.

``async def charge(input: Order, ctx: NodeContext, bank: Bank) -> Receipt``: what stands before the context,
or is called ``input``, is the node's input; what stands behind it are dependencies. A function with one
parameter that says nothing gets the context.
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import TypeAdapter
from pydantic.errors import PydanticUserError

from flowcraft.annotations import Unresolved, annotations_of
from flowcraft.dependencies import Wanted
from flowcraft.errors import AppError
from flowcraft.node import BaseNode, NodeContext, NodeResult

_PHASES: Final[Mapping[str, int]] = {"prep": 1, "exec": 2, "post": 2, "fallback": 2, "recover": 2}
"""Methods of a class, and what each gets before its dependencies: the context is the last of that."""
_CONTEXT_NAMES: Final = frozenset({"ctx", "context"})
_ONE_BY_ONE: Final = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.KEYWORD_ONLY,
)


@dataclass(frozen=True, slots=True)
class Signature:
    """How a node's code is called.

    Attributes:
        input_type: What its input is validated as; None: it gets the JSON.
        output_type: What its output is validated as and turned to JSON by; None: it is JSON.
        exec_type: The same for what ``exec`` of a class hands to ``post``.
        input_name: The parameter that gets the input; None: it is in the context alone.
        context_name: The parameter that gets the context.
        wants: Parameters that are dependencies; of a class, those of all its methods.
        phase_wants: Of a class: the same by method.
        plain: It is called with nothing but the context.
    """

    input_type: TypeAdapter[Any] | None = None
    output_type: TypeAdapter[Any] | None = None
    exec_type: TypeAdapter[Any] | None = None
    input_name: str | None = None
    context_name: str | None = None
    wants: tuple[Wanted, ...] = ()
    phase_wants: Mapping[str, tuple[Wanted, ...]] = field(default_factory=dict)

    @property
    def plain(self) -> bool:
        """Whether it is called with nothing but the context."""
        return self.input_name is None and self.context_name is None


def signature_of_function(name: str, code: Callable[..., Any]) -> Signature:
    """Look at a node function.

    Raises:
        AppError: it cannot be called with what a node is given, or an annotation cannot be used.
    """
    try:
        parameters = list(inspect.signature(code).parameters.values())
    except (TypeError, ValueError):
        return Signature()  # a built-in without a signature: the call will tell
    known = annotations_of(code)
    output = _adapter(name, "output", _output_annotation(known.get("return")))
    asked = [each for each in parameters if each.kind in _ONE_BY_ONE]
    needed = [each for each in asked if each.default is inspect.Parameter.empty]
    context = _context_parameter(asked, needed, known)
    silent = context is None and not known and all(each.name != "input" for each in asked)
    if not asked or asked == [context] or silent:
        if needed[1:] or not parameters:
            raise AppError(
                f"node {name!r}: its function must take one argument, the node context, or say what each "
                "one is: (input: Order, ctx: NodeContext, bank: Bank)"
            )
        typed = _context_input(known.get(context.name)) if context is not None else None
        return Signature(_adapter(name, "input", typed), output)
    return _full(name, asked, context, known, output)


def signature_of_class(name: str, code: type[BaseNode]) -> Signature:
    """Look at a node class: its context as ``prep`` or ``exec`` has it, and what ``post`` or ``exec`` give.

    What stands behind the context of a method are dependencies, as in a function.

    Raises:
        AppError: an annotation cannot be used.
    """
    typed: Any = None
    begin: tuple[Callable[..., Any], ...] = (code.prep, code.exec)
    for method in begin:
        known = annotations_of(method)
        known.pop("return", None)
        found = [hint for hint in map(_context_input, known.values()) if hint is not None]
        typed = typed or next(iter(found), None)
    ends: tuple[Callable[..., Any], ...] = (code.post, code.exec)
    given, executed = (_output_annotation(annotations_of(method).get("return")) for method in ends)
    wants = {phase: _phase_wants(name, code, phase, before) for phase, before in _PHASES.items()}
    return Signature(
        _adapter(name, "input", typed),
        output_type=_adapter(name, "output", given),
        exec_type=_adapter(name, "output", executed),
        wants=tuple(dict.fromkeys(each for asked in wants.values() for each in asked)),
        phase_wants={phase: asked for phase, asked in wants.items() if asked},
    )


def _phase_wants(name: str, code: type[BaseNode], phase: str, before: int) -> tuple[Wanted, ...]:
    """What a method of a class asks for behind the context."""
    method = getattr(code, phase)
    itself = 0 if isinstance(inspect.getattr_static(code, phase), staticmethod | classmethod) else 1
    try:
        parameters = [*inspect.signature(method).parameters.values()][itself + before :]
    except (TypeError, ValueError):
        return ()
    known = annotations_of(method)
    return _wanted(name, [each for each in parameters if each.kind in _ONE_BY_ONE], known)


def _full(
    name: str,
    asked: list[inspect.Parameter],
    context: inspect.Parameter | None,
    known: dict[str, Any],
    output: TypeAdapter[Any] | None,
) -> Signature:
    """A function that takes more, or something else, than the context."""
    place = len(asked) if context is None else asked.index(context)
    by_name = next((each for each in asked if each.name == "input"), None)
    first = asked[0] if place > 0 else None
    given = by_name or first
    others = [each for each in asked if each is not given and each is not context]
    typed = known.get(given.name) if given is not None else None
    if given is None and context is not None:
        typed = _context_input(known.get(context.name))
    _refuse_positional(name, asked)
    return Signature(
        _adapter(name, "input", typed),
        output,
        input_name=given.name if given is not None else None,
        context_name=context.name if context is not None else None,
        wants=_wanted(name, others, known),
    )


def _wanted(name: str, others: list[inspect.Parameter], known: dict[str, Any]) -> tuple[Wanted, ...]:
    """Parameters that are neither input nor context, as dependencies."""
    _refuse_positional(name, others)
    for each in others:
        annotation = known.get(each.name)
        if isinstance(annotation, Unresolved):
            raise AppError(f"node {name!r}: {_unresolved(f'parameter {each.name}', annotation)}")
    return tuple(Wanted.of(each, known.get(each.name)) for each in others)


def _refuse_positional(name: str, parameters: list[inspect.Parameter]) -> None:
    for each in parameters:
        if each.kind is inspect.Parameter.POSITIONAL_ONLY:
            raise AppError(f"node {name!r}: parameter {each.name} is given by name; remove the `/` behind it")


def _context_parameter(
    asked: list[inspect.Parameter], needed: list[inspect.Parameter], known: dict[str, Any]
) -> inspect.Parameter | None:
    for each in asked:
        if _is_context(known.get(each.name)):
            return each
    silent = [each for each in asked if _says_nothing(known.get(each.name)) and each.name != "input"]
    named = [each for each in silent if each.name in _CONTEXT_NAMES]
    alone = needed or asked[:1]
    if not named and len(alone) == 1 and alone[0] in silent:
        return alone[0]
    return named[0] if named else None


def _says_nothing(annotation: Any) -> bool:
    return (
        annotation is None or annotation is Any or annotation is object or isinstance(annotation, Unresolved)
    )


def _is_context(annotation: Any) -> bool:
    if isinstance(annotation, Unresolved):
        return annotation.text.partition("[")[0].rpartition(".")[2] == NodeContext.__name__
    return annotation is NodeContext or typing.get_origin(annotation) is NodeContext


def _context_input(annotation: Any) -> Any:
    """What ``NodeContext[Order]`` says of the input."""
    if isinstance(annotation, Unresolved):
        return annotation if _is_context(annotation) and "[" in annotation.text else None
    arguments = typing.get_args(annotation) if typing.get_origin(annotation) is NodeContext else ()
    return arguments[0] if arguments else None


def _output_annotation(annotation: Any) -> Any:
    """What a function promises to give, where that names a model; other types are words to the reader."""
    if annotation is None or isinstance(annotation, Unresolved):
        return None
    parts = [part for part in typing.get_args(annotation) if part is not NodeResult]
    if NodeResult in typing.get_args(annotation):
        annotation = typing.Union[tuple(parts)] if parts else None  # noqa: UP007  made of parts
    return annotation if _names_model(annotation) else None


def _names_model(annotation: Any) -> bool:
    if inspect.isclass(annotation) and typing.get_origin(annotation) is None:
        is_model = hasattr(annotation, "__pydantic_validator__") or dataclasses.is_dataclass(annotation)
        return is_model and not issubclass(annotation, NodeResult)
    return any(_names_model(part) for part in typing.get_args(annotation))


def _adapter(name: str, what: str, annotation: Any) -> TypeAdapter[Any] | None:
    if isinstance(annotation, Unresolved):
        raise AppError(f"node {name!r}: {_unresolved(f'the type of its {what}', annotation)}")
    if (
        annotation is None
        or annotation is Any
        or annotation is object
        or isinstance(annotation, typing.TypeVar)
    ):
        return None
    try:
        return TypeAdapter(annotation)
    except PydanticUserError as error:
        raise AppError(f"node {name!r}: {annotation!r} cannot be the type of its {what}: {error}") from None


def _unresolved(what: str, annotation: Unresolved) -> str:
    return (
        f"{what} is written `{annotation.text}`, and {annotation.reason}; "
        "define or import it at the top of the module, not only for type checking"
    )
