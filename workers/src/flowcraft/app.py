"""The app: what a worker imports. Node implementations and flows of one program."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, cast, overload

from flowcraft.blueprint import Blueprint
from flowcraft.builder import FlowBuilder
from flowcraft.dependencies import Dependencies
from flowcraft.errors import AppError
from flowcraft.extensions import Extensions
from flowcraft.implementation import NodeImplementation, NodeSettings, Registry, config_of
from flowcraft.runtime import BlueprintCatalog, RuntimeOptions

if TYPE_CHECKING:
    from flowcraft.events import Event
    from flowcraft.middleware import Middleware

Code = TypeVar("Code")


class App:
    """Node implementations and flows, registered by decorating and building."""

    def __init__(
        self,
        name: str,
        *,
        dependencies: Mapping[str, Any] | None = None,
        extensions: Extensions | None = None,
    ) -> None:
        """Start an empty app.

        Args:
            name: For logs and errors.
            dependencies: Handed to every node as ``ctx.dependencies``, and to parameters by name or type.
            extensions: Middleware, events, serializer, evaluator, logger, tracing.
        """
        self.name = name
        self.registry = Registry()
        self.dependencies = Dependencies(dependencies)
        self.extensions = extensions or Extensions()
        self._sources: list[FlowBuilder | Blueprint] = []

    @overload
    def node(
        self,
        name: str | None = None,
        /,
        *,
        input: Any = None,
        **settings: Unpack[NodeSettings],
    ) -> Callable[[Code], Code]: ...

    @overload
    def node(self, name: Code, /) -> Code: ...

    def node(
        self,
        name: Any = None,
        /,
        *,
        input: Any = None,  # noqa: A002  reads as what it is: the type of the node's input
        **settings: Unpack[NodeSettings],
    ) -> Any:
        """Register the decorated function or ``BaseNode`` class; by default under its own name.

        Args:
            name: What ``uses`` says.
            input: A pydantic model or any type that pydantic validates: the node then gets its input as
                that, and an input that does not fit fails the node without retries.
            **settings: ``retries`` (after the first attempt), ``retry_delay_s``, ``timeout_s``.

        Raises:
            AppError: the code cannot be a node, the name is taken, or a setting is out of range.
        """
        if name is not None and not isinstance(name, str):
            return self.node()(name)  # used as @app.node, without parentheses

        def register(code: Code) -> Code:
            own_name = str(name) if name else getattr(code, "__name__", "")
            config = config_of(settings, f"node {own_name!r}")
            self.registry.add(NodeImplementation.of(own_name, code, config=config, input_type=input))
            return code

        return register

    @overload
    def dependency(self, name: str | None = None, /) -> Callable[[Code], Code]: ...

    @overload
    def dependency(self, name: Code, /) -> Code: ...

    def dependency(self, name: Any = None, /) -> Any:
        """Register the decorated function as what makes a dependency, when a node first asks for it.

        A node asks by a parameter behind its context, of the type that the function returns or of its name.
        The function may be async, and may ask for dependencies itself. What it makes is kept by the worker.

        Raises:
            AppError: it cannot make one, or the name is taken.
        """
        if name is not None and not isinstance(name, str):
            return self.dependency()(name)  # used as @app.dependency, without parentheses

        def register(code: Code) -> Code:
            self.dependencies.add_factory(cast("Callable[..., Any]", code), name)
            return code

        return register

    def use(self, middleware: Middleware) -> None:
        """Wrap middleware around each execution of a node's code, inside of what was added before."""
        self.extensions.use(middleware)

    def on(self, *kinds: type[Event] | str) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
        """Call the decorated function, plain or async, for events of some kinds; for all without any."""
        return self.extensions.on(*kinds)

    def flow(self, flow_id: str, version: str | None = None) -> FlowBuilder:
        """Begin a flow; it belongs to the app from here on.

        Raises:
            AppError: the app has a flow of this id and version.
        """
        if any((known.id, known.version) == (flow_id, version) for known in self._sources):
            raise AppError(
                f"app {self.name}: flow {flow_id!r} version {version} exists already; give it a new version"
            )
        flow = FlowBuilder(flow_id, version=version, registry=self.registry)
        self._sources.append(flow)
        return flow

    def add_blueprint(self, source: Blueprint | Mapping[str, Any] | str | Path) -> Blueprint:
        """Add a blueprint: a value, upstream's JSON parsed or as text, or the path of a JSON or YAML file.

        Raises:
            BlueprintError: it cannot be read, or its shape is wrong.
        """
        if isinstance(source, Blueprint):
            blueprint = source
        elif isinstance(source, Mapping):
            blueprint = Blueprint.from_dict(source)
        elif isinstance(source, str) and source.lstrip().startswith("{"):
            blueprint = Blueprint.from_json(source)
        else:
            blueprint = Blueprint.load(source)
        self._sources.append(blueprint)
        return blueprint

    @property
    def blueprints(self) -> BlueprintCatalog:
        """All blueprints, flows as they stand now.

        Raises:
            AppError: two different ones have the same id and version.
            BlueprintError: a flow is not a blueprint yet.
        """
        return BlueprintCatalog(
            source if isinstance(source, Blueprint) else source.to_blueprint() for source in self._sources
        )

    @property
    def options(self) -> RuntimeOptions:
        """What an adapter takes as ``runtime_options``; take it once, it looks at every flow.

        Raises:
            AppError: a node asks for a dependency that the app does not have.
        """
        self.registry.require_dependencies(self.dependencies)
        return RuntimeOptions(self.blueprints, self.registry, self.dependencies, self.name, self.extensions)


def load_app(spec: str, *, search_path: str | Path | None = None) -> App:
    """Import an app.

    Args:
        spec: ``module.path:attribute``, as in ``shop.flows:app``.
        search_path: Folder put in front of the import path; the working directory by default.

    Raises:
        AppError: the spec, the module, the attribute or what it holds is wrong; the message says which.
    """
    module_name, colon, attribute = spec.partition(":")
    if not colon or not module_name or not attribute or not module_name.replace(".", "").isidentifier():
        raise AppError(f"{spec!r} names no app; write module.path:attribute, for example shop.flows:app")
    folder = str(Path(search_path or ".").resolve())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(error.name + ".")):
            if module_name.endswith(".py"):
                meant = f"{module_name.removesuffix('.py')}:{attribute}"
                raise AppError(f"{spec!r} names a file, not a module; write {meant}") from None
            raise AppError(
                f"there is no module {error.name!r}; install it, or run from the folder that contains it"
            ) from None
        raise AppError(f"module {module_name!r} cannot be imported: {error}") from error
    except Exception as error:
        raise AppError(
            f"module {module_name!r} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    found: Any = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise AppError(f"module {module_name!r} has no attribute {attribute!r}{_apps_in(module)}")
        found = getattr(found, part)
    if not isinstance(found, App):
        raise AppError(f"{spec!r} is a {type(found).__name__}, not a flowcraft.App")
    return found


def _apps_in(module: ModuleType) -> str:
    """What a module has for whoever misspelt it, as the end of a message."""
    names = sorted(name for name, value in vars(module).items() if isinstance(value, App))
    return f"; it has {', '.join(names)}" if names else "; it has no flowcraft.App"
