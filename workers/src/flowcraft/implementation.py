"""A node implementation: a node's code, looked at once, with the settings its author gave it."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, TypedDict

from pydantic import TypeAdapter

from flowcraft.blueprint import NodeConfig
from flowcraft.dependencies import dependencies_of
from flowcraft.errors import AppError
from flowcraft.node import BaseNode, NodeCode
from flowcraft.signature import Signature, signature_of_class, signature_of_function

Kind = Literal["async", "sync", "class"]
DEFAULT_MAX_RETRY_DELAY_S: Final = 300.0
BUILT_IN_USES: Final = frozenset(
    {"wait", "webhook", "sleep", "subflow", "batch-scatter", "batch-gather", "loop-controller"}
)
"""Names of the node kinds that the engine itself acts on."""

_NOTHING_SAID: Final = NodeConfig()


class NodeSettings(TypedDict, total=False):
    """What may be said where an implementation is registered, and again where a flow uses it.

    Attributes:
        retries: Attempts after the first one (``maxRetries`` of the JSON counts the first, too).
        retry_delay_s: Seconds before the second attempt; doubles from there.
        timeout_s: Seconds an attempt may take.
    """

    retries: int
    retry_delay_s: float
    timeout_s: float | None


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How one node is tried.

    Attributes:
        max_attempts: The first included; the fallback comes after them.
        retry_delay_s: Seconds before the second attempt.
        max_retry_delay_s: Where doubling the delay stops.
        timeout_s: Seconds an attempt may take; None: no limit.
    """

    max_attempts: int = 1
    retry_delay_s: float = 0.0
    max_retry_delay_s: float = DEFAULT_MAX_RETRY_DELAY_S
    timeout_s: float | None = None


def retry_policy(config: NodeConfig, own: NodeConfig = _NOTHING_SAID) -> RetryPolicy:
    """The policy of a node so configured; what it does not say, ``own`` says, else the default."""
    attempts = config.max_retries if config.max_retries is not None else own.max_retries
    delay_s = config.retry_delay_s if config.retry_delay_s is not None else own.retry_delay_s
    return RetryPolicy(
        max_attempts=max(1, attempts or 1),
        retry_delay_s=delay_s or 0.0,
        max_retry_delay_s=max(DEFAULT_MAX_RETRY_DELAY_S, delay_s or 0.0),
        timeout_s=config.timeout_s or own.timeout_s,
    )


@dataclass(frozen=True, slots=True)
class NodeImplementation:
    """Code that nodes use, by name.

    Attributes:
        name: What ``uses`` says.
        code: The function or class.
        kind: How it is called: awaited, in a thread, or as a class.
        config: Its author's settings; a blueprint's own win over them.
        signature: What it asks for and gives, as its annotations say.
    """

    name: str
    code: NodeCode
    kind: Kind
    config: NodeConfig = field(default_factory=NodeConfig)
    signature: Signature = field(default_factory=Signature)

    def policy(self, config: NodeConfig) -> RetryPolicy:
        """The policy of a node so configured: the blueprint's word, else the author's, else the default."""
        return retry_policy(config, self.config)

    @classmethod
    def of(
        cls, name: str, code: Any, *, config: NodeConfig | None = None, input_type: Any = None
    ) -> NodeImplementation:
        """Look at a node's code.

        Raises:
            AppError: it cannot be called with what a node is given, or its name belongs to the engine.
        """
        if isinstance(code, NodeImplementation):
            return code
        if not isinstance(name, str) or not name:
            raise AppError(f"a node implementation's name is a string that is not empty, not {name!r}")
        if name in BUILT_IN_USES:
            raise AppError(f"{name!r} is a node kind of the engine; give your implementation another name")
        kind = _kind(name, code)
        look = signature_of_class if kind == "class" else signature_of_function
        signature = look(name, code)
        if input_type is not None:
            signature = replace(signature, input_type=TypeAdapter(input_type))
        return cls(name, code, kind, config or NodeConfig(), signature)


def _kind(name: str, code: Any) -> Kind:
    if inspect.isclass(code):
        if not issubclass(code, BaseNode):
            raise AppError(
                f"node {name!r}: the class {code.__name__} must be a subclass of flowcraft.BaseNode"
            )
        if inspect.isabstract(code):
            raise AppError(f"node {name!r}: the class {code.__name__} lacks an `exec` method")
        return "class"
    if not callable(code):
        raise AppError(f"node {name!r}: {code!r} is neither a function nor a BaseNode class")
    plain = code
    while isinstance(plain, functools.partial):
        plain = plain.func
    if inspect.isasyncgenfunction(plain) or inspect.isgeneratorfunction(plain):
        raise AppError(
            f"node {name!r}: a generator cannot be a node; return the result instead of yielding it"
        )
    is_async = inspect.iscoroutinefunction(plain) or inspect.iscoroutinefunction(type(plain).__call__)
    return "async" if is_async else "sync"


def config_of(settings: NodeSettings | Mapping[str, Any], where: str) -> NodeConfig:
    """Settings as a blueprint's configuration.

    Raises:
        AppError: a setting is unknown or out of range.
    """
    if unknown := sorted(set(settings) - {"retries", "retry_delay_s", "timeout_s"}):
        raise AppError(
            f"{where}: unknown setting {unknown[0]!r}; there are retries, retry_delay_s and timeout_s"
        )
    retries = settings.get("retries")
    if retries is not None and (isinstance(retries, bool) or not isinstance(retries, int) or retries < 0):
        raise AppError(f"{where}: retries must be a whole number, 0 or more, not {retries!r}")
    for name in ("retry_delay_s", "timeout_s"):
        value = settings.get(name)
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, int | float) or not _usable(value)
        ):
            raise AppError(f"{where}: {name} must be a number of seconds, 0 or more, not {value!r}")
    return NodeConfig(
        max_retries=None if retries is None else retries + 1,
        retry_delay_s=settings.get("retry_delay_s"),
        timeout_s=settings.get("timeout_s") or None,
    )


def _usable(value: float) -> bool:
    return math.isfinite(value) and value >= 0


class Registry(Mapping[str, NodeImplementation]):
    """Implementations by the name that ``uses`` says."""

    def __init__(self, implementations: Mapping[str, Any] | None = None) -> None:
        """Take code by name, as the seed's ``registry`` has it, or implementations.

        Raises:
            AppError: something in it cannot be a node.
        """
        self._implementations = {
            name: NodeImplementation.of(name, code) for name, code in (implementations or {}).items()
        }

    def add(self, implementation: NodeImplementation) -> None:
        """Add one.

        Raises:
            AppError: the name is taken by other code.
        """
        known = self._implementations.get(implementation.name)
        if known is not None and known.code is not implementation.code:
            raise AppError(f"node implementation {implementation.name!r} is registered twice; rename one")
        self._implementations[implementation.name] = implementation

    def require_dependencies(self, given: Mapping[str, Any]) -> None:
        """Look whether there is something for each parameter of each node.

        Raises:
            AppError: there is nothing for one, or too much; the message names node and parameter.
        """
        for told in self.missing_dependencies(given):
            raise AppError(told)

    def missing_dependencies(self, given: Mapping[str, Any]) -> Iterator[str]:
        """What is wrong with the dependencies of each node: there is nothing for a parameter, or too much."""
        known = dependencies_of(given)
        for implementation in self._implementations.values():
            try:
                lacking = known.lack(implementation.signature.wants)
            except AppError as error:
                yield str(error)
                continue
            if lacking:
                yield (
                    f"node {implementation.name!r} asks for `{lacking}`, and there is no such dependency; "
                    "add it with @app.dependency, or to app.dependencies under that name"
                )

    def __getitem__(self, name: str) -> NodeImplementation:
        return self._implementations[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._implementations)

    def __len__(self) -> int:
        return len(self._implementations)

    def implements(self, uses: str) -> bool:
        """Whether a node of this kind can run: the engine acts on it, or there is code for it."""
        return uses in BUILT_IN_USES or uses in self._implementations
