"""What a worker knows: blueprints, implementations, dependencies; the seed's ``FlowRuntime``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flowcraft.blueprint import Blueprint
from flowcraft.dependencies import dependencies_of
from flowcraft.errors import AppError
from flowcraft.implementation import Registry

if TYPE_CHECKING:
    from flowcraft.memory.result import Decision, RunResult
    from flowcraft.memory.runner import MemoryRunner, RunOptions


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
    """

    blueprints: BlueprintCatalog
    registry: Registry
    dependencies: Mapping[str, Any] = field(default_factory=dict)
    name: str = "flowcraft"


class FlowRuntime:
    """Blueprints and implementations in one place, as the seed's worker puts them together."""

    def __init__(
        self,
        *,
        blueprints: Mapping[str, Blueprint | Mapping[str, Any]]
        | Iterable[Blueprint | Mapping[str, Any]] = (),
        registry: Mapping[str, Any] | None = None,
        dependencies: Mapping[str, Any] | None = None,
    ) -> None:
        """Take blueprints (values or upstream's JSON, in a list or by id) and node code by name.

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
            catalog, own, dependencies_of({} if dependencies is None else dependencies)
        )
        self._runner: MemoryRunner | None = None

    @property
    def options(self) -> RuntimeOptions:
        """What an adapter takes as ``runtime_options``."""
        return self._options

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
            options: Run id, concurrency, clock, randomness.

        Raises:
            AppError: no blueprint of this id was given.
            BlueprintError: the blueprint has mistakes, or uses code that is not registered.
            NotJsonError: the input is not JSON.
        """
        from flowcraft.memory.runner import RunOptions  # noqa: PLC0415  workers never need it

        return await self._in_memory().run(self._found(blueprint), input, options or RunOptions())

    async def resume(
        self, result: RunResult, decisions: Mapping[str, Decision], options: RunOptions | None = None
    ) -> RunResult:
        """Go on with a run in memory that awaits decisions, given for some or all of ``result.awaiting``.

        Raises:
            AppError: a node decided on does not wait.
            NotJsonError: a decision's output is not JSON.
        """
        from flowcraft.memory.runner import RunOptions  # noqa: PLC0415  workers never need it

        return await self._in_memory().resume(result, decisions, options or RunOptions())

    def _in_memory(self) -> MemoryRunner:
        if self._runner is None:
            from flowcraft.memory.runner import MemoryRunner  # noqa: PLC0415  workers never need it

            self._runner = MemoryRunner(self._options.registry, self._options.dependencies)
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
