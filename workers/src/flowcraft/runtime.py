"""What a worker knows: blueprints, implementations, dependencies; the seed's ``FlowRuntime``."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

from flowcraft.blueprint import Blueprint
from flowcraft.dependencies import Hold, dependencies_of
from flowcraft.errors import AppError
from flowcraft.extensions import Extensions
from flowcraft.implementation import Registry

if TYPE_CHECKING:
    from flowcraft.events import Event
    from flowcraft.memory.options import RunOptions
    from flowcraft.memory.result import Decision, RunResult
    from flowcraft.memory.runner import MemoryRunner


class BlueprintCatalog(Mapping[str, Blueprint]):
    """Blueprints by id, and by id and version; by id alone, the one added last."""

    def __init__(self, blueprints: Iterable[Blueprint] = ()) -> None:
        self._latest: dict[str, Blueprint] = {}
        self._versions: dict[tuple[str, str | None], Blueprint] = {}
        for blueprint in blueprints:
            self.add(blueprint)

    def add(self, blueprint: Blueprint) -> None:
        """Add one.

        Raises:
            AppError: another blueprint has its id and version.
        """
        place = (blueprint.id, blueprint.version)
        known = self._versions.get(place)
        if known is not None and known.content_hash != blueprint.content_hash:
            version = "without version" if blueprint.version is None else f"version {blueprint.version}"
            raise AppError(
                f"two different blueprints are {blueprint.id!r} {version}; give the changed one a new version"
            )
        self._versions[place] = blueprint
        self._latest[blueprint.id] = blueprint

    def find(self, blueprint_id: str, version: str | None = None) -> Blueprint | None:
        """The blueprint of this id and version; without version, the one added last; None if unknown."""
        if version is None:
            return self._latest.get(blueprint_id)
        return self._versions.get((blueprint_id, version))

    def versions(self, blueprint_id: str) -> tuple[str | None, ...]:
        """Known versions of an id, in the order added."""
        return tuple(version for known, version in self._versions if known == blueprint_id)

    def __getitem__(self, blueprint_id: str) -> Blueprint:
        return self._latest[blueprint_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._latest)

    def __len__(self) -> int:
        return len(self._latest)


@dataclass(frozen=True, slots=True)
class RuntimeOptions:
    """What adapters and workers take: everything they need to know of the user's code.

    Attributes:
        blueprints: Blueprints by id and version.
        registry: Implementations by the name that ``uses`` says.
        dependencies: Handed to every node as ``ctx.dependencies``.
        name: For logs.
        extensions: Middleware, events, serializer, evaluator, logger, tracing.
    """

    blueprints: BlueprintCatalog
    registry: Registry
    dependencies: Mapping[str, Any] = field(default_factory=dict)
    name: str = "flowcraft"
    extensions: Extensions = field(default_factory=Extensions)


class FlowRuntime:
    """Blueprints and implementations in one place, as the seed's worker puts them together."""

    def __init__(
        self,
        *,
        blueprints: Mapping[str, Blueprint | Mapping[str, Any]]
        | Iterable[Blueprint | Mapping[str, Any]] = (),
        registry: Mapping[str, Any] | None = None,
        dependencies: Mapping[str, Any] | None = None,
        extensions: Extensions | None = None,
        strict: bool = False,
    ) -> None:
        """Take blueprints (values or upstream's JSON, in a list or by id) and node code by name.

        Args:
            blueprints: What can be run by its id.
            registry: Node code by the name that ``uses`` says.
            dependencies: Handed to every node.
            extensions: Middleware, events, serializer, evaluator, logger, tracing.
            strict: Refuse blueprints with cycles in every run in memory.

        Raises:
            AppError: a blueprint stands under an id that is not its own, or code cannot be a node.
            BlueprintError: a blueprint's shape is wrong.
        """
        catalog = BlueprintCatalog()
        for name, source in _named(blueprints):
            blueprint = source if isinstance(source, Blueprint) else Blueprint.from_dict(source)
            if name is not None and name != blueprint.id:
                raise AppError(f"the blueprint under {name!r} has the id {blueprint.id!r}; use its id")
            catalog.add(blueprint)
        own = registry if isinstance(registry, Registry) else Registry(registry)
        self._options = RuntimeOptions(
            catalog,
            own,
            dependencies_of({} if dependencies is None else dependencies),
            extensions=extensions or Extensions(),
        )
        self._strict = strict
        self._runner: MemoryRunner | None = None
        self._hold: Hold | None = None

    @property
    def options(self) -> RuntimeOptions:
        """What an adapter takes as ``runtime_options``."""
        return self._options

    async def __aenter__(self) -> Self:
        self._hold = self._hold or dependencies_of(self._options.dependencies).hold()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the dependencies that runs in memory have opened, unless somebody else holds them.

        Without it they are closed when the event loop ends (``asyncio.run`` does that).
        """
        hold = self._hold or dependencies_of(self._options.dependencies).hold()
        self._hold = None
        await hold.end()

    async def run(
        self,
        blueprint: Blueprint | Mapping[str, Any] | str,
        input: Any = None,  # noqa: A002  the word that users write
        options: RunOptions | None = None,
    ) -> RunResult:
        """Run in memory, in this process: nothing is stored, and nothing but the result remains.

        Args:
            blueprint: A value, upstream's JSON, or the id of one that this runtime was given.
            input: JSON; the start nodes' input and the first layer of the run's context.
            options: Run id, concurrency, targets, inputs of nodes, control, clock, and so on.

        Raises:
            AppError: no blueprint of this id was given, or there is no node of a name in the options.
            BlueprintError: the blueprint has mistakes, uses code that is not registered, or has a cycle where
                that is refused.
            NotJsonError: the input cannot be kept as JSON.
        """
        runner = self._in_memory()
        given = options or runner.usual
        if self._strict and not given.strict:
            given = replace(given, strict=True)
        return await runner.run(self._found(blueprint), input, given)

    async def resume(
        self,
        result: RunResult,
        decisions: Mapping[str, Decision] | None = None,
        options: RunOptions | None = None,
    ) -> RunResult:
        """Go on with a run in memory that awaits decisions or was paused.

        Args:
            result: What it has come to; it stays as it is.
            decisions: For some or all of ``result.awaiting``.
            options: How it is carried out from here on.

        Raises:
            AppError: a node decided on does not wait.
            NotJsonError: a decision's output is not JSON.
        """
        runner = self._in_memory()
        return await runner.resume(result, decisions or {}, options or runner.usual)

    async def rerun(self, result: RunResult, node: str, options: RunOptions | None = None) -> RunResult:
        """Run a node and all behind it again, with what the nodes before it have left.

        Args:
            result: A run in memory, or a replayed one, whatever its status; it stays as it is.
            node: A node that was ready in it.
            options: How it is carried out; ``inputs`` gives nodes another input.

        Raises:
            AppError: there is no such node, or the run never came to it.
        """
        from flowcraft.memory.revision import before  # noqa: PLC0415  workers never need it

        runner = self._in_memory()
        return await runner.resume(before(result, node), {}, options or runner.usual)

    def rollback(self, result: RunResult, node: str) -> RunResult:
        """The run as it was before a node was acted on, to be patched and resumed.

        Raises:
            AppError: there is no such node, or the run never came to it.
        """
        from flowcraft.memory.revision import before  # noqa: PLC0415  workers never need it

        return before(result, node)

    async def complete(
        self, result: RunResult, results: Mapping[str, Decision], options: RunOptions | None = None
    ) -> RunResult:
        """Take these results for node keys, failed ones for example, and go on behind them.

        In a loop, ``draft#1`` is the first round of ``draft``; the rounds after it run again.

        Raises:
            AppError: there is no such node, or the run never came to it.
            NotJsonError: an output cannot be kept as JSON.
        """
        from flowcraft.engine.keys import NodeKey  # noqa: PLC0415  workers never need it
        from flowcraft.memory.revision import before  # noqa: PLC0415

        for key in results:
            result = before(result, NodeKey.parse(key).node)
        runner = self._in_memory()
        return await runner.complete(result, results, options or runner.usual)

    def patch_context(
        self, result: RunResult, values: Mapping[str, Any] | None = None, *, delete: Collection[str] = ()
    ) -> RunResult:
        """The same run with other context keys, to be resumed or run again from a node.

        Raises:
            NotJsonError: a value cannot be kept as JSON.
        """
        from flowcraft.memory.revision import patched  # noqa: PLC0415  workers never need it

        serializer = self._options.extensions.serializer
        plain = {name: serializer.encode(value) for name, value in (values or {}).items()}
        return patched(result, plain, delete)

    def replay(
        self, blueprint: Blueprint | Mapping[str, Any] | str, events: Iterable[Event], run_id: str = ""
    ) -> RunResult:
        """What a recorded run came to, or had come to at the last of these events; executes nothing.

        Args:
            blueprint: What was run.
            events: Its events in order, from an event store; those of other runs are ignored.
            run_id: The run; by default the one of the first event.

        Raises:
            AppError: there is no event of the run, or the events are of another blueprint.
        """
        from flowcraft.memory.replay import replay  # noqa: PLC0415  workers never need it

        return replay(self._found(blueprint), events, run_id)

    def _in_memory(self) -> MemoryRunner:
        if self._runner is None:
            from flowcraft.memory.runner import MemoryRunner  # noqa: PLC0415  workers never need it

            options = self._options
            self._runner = MemoryRunner(
                options.registry, options.dependencies, options.extensions, options.blueprints.find
            )
        return self._runner

    def _found(self, blueprint: Blueprint | Mapping[str, Any] | str) -> Blueprint:
        if isinstance(blueprint, Blueprint):
            return blueprint
        if not isinstance(blueprint, str):
            return Blueprint.from_dict(blueprint)
        known = self._options.blueprints.find(blueprint)
        if known is None:
            raise AppError(f"no blueprint {blueprint!r} is known to this runtime; give it to FlowRuntime")
        return known


def _named(
    blueprints: Mapping[str, Blueprint | Mapping[str, Any]] | Iterable[Blueprint | Mapping[str, Any]],
) -> Iterator[tuple[str | None, Blueprint | Mapping[str, Any]]]:
    if isinstance(blueprints, Mapping):
        yield from blueprints.items()
    else:
        for blueprint in blueprints:
            yield None, blueprint
