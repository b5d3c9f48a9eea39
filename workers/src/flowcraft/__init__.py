"""Flowcraft: workflows as blueprints, run by workers. Each name is loaded when first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowcraft.analysis import BlueprintAnalysis as BlueprintAnalysis
    from flowcraft.analysis import analyze_blueprint as analyze_blueprint
    from flowcraft.app import App as App
    from flowcraft.app import load_app as load_app
    from flowcraft.blueprint import Blueprint as Blueprint
    from flowcraft.blueprint import EdgeDefinition as EdgeDefinition
    from flowcraft.blueprint import NodeConfig as NodeConfig
    from flowcraft.blueprint import NodeDefinition as NodeDefinition
    from flowcraft.builder import FlowBuilder as FlowBuilder
    from flowcraft.errors import AppError as AppError
    from flowcraft.errors import BlueprintError as BlueprintError
    from flowcraft.errors import EvaluationError as EvaluationError
    from flowcraft.errors import FatalError as FatalError
    from flowcraft.errors import FlowcraftError as FlowcraftError
    from flowcraft.errors import InputError as InputError
    from flowcraft.errors import NodeTimeoutError as NodeTimeoutError
    from flowcraft.errors import NonRetryableError as NonRetryableError
    from flowcraft.errors import OutputError as OutputError
    from flowcraft.event_bus import EventBus as EventBus
    from flowcraft.events import Event as Event
    from flowcraft.extensions import Extensions as Extensions
    from flowcraft.linter import Finding as Finding
    from flowcraft.linter import lint as lint
    from flowcraft.linter import require_valid as require_valid
    from flowcraft.memory.control import RunControl as RunControl
    from flowcraft.memory.options import RunOptions as RunOptions
    from flowcraft.memory.result import Decision as Decision
    from flowcraft.memory.result import RunResult as RunResult
    from flowcraft.middleware import Middleware as Middleware
    from flowcraft.node import BaseNode as BaseNode
    from flowcraft.node import NodeContext as NodeContext
    from flowcraft.node import NodeResult as NodeResult
    from flowcraft.node import RunContext as RunContext
    from flowcraft.runtime import FlowRuntime as FlowRuntime
    from flowcraft.runtime import RuntimeOptions as RuntimeOptions
    from flowcraft.serializer import JsonSerializer as JsonSerializer

_PLACES = {
    "analysis": ("BlueprintAnalysis", "analyze_blueprint"),
    "app": ("App", "load_app"),
    "blueprint": ("Blueprint", "EdgeDefinition", "NodeConfig", "NodeDefinition"),
    "builder": ("FlowBuilder",),
    "errors": (
        "AppError",
        "BlueprintError",
        "EvaluationError",
        "FatalError",
        "FlowcraftError",
        "InputError",
        "NodeTimeoutError",
        "NonRetryableError",
        "OutputError",
    ),
    "event_bus": ("EventBus",),
    "events": ("Event",),
    "extensions": ("Extensions",),
    "linter": ("Finding", "lint", "require_valid"),
    "memory.control": ("RunControl",),
    "memory.options": ("RunOptions",),
    "memory.result": ("Decision", "RunResult"),
    "middleware": ("Middleware",),
    "node": ("BaseNode", "NodeContext", "NodeResult", "RunContext"),
    "runtime": ("FlowRuntime", "RuntimeOptions"),
    "serializer": ("JsonSerializer",),
}
_MODULE_OF = {name: module for module, names in _PLACES.items() for name in names}

__all__ = sorted(_MODULE_OF)  # noqa: PLE0605  a list of strings, made from the table above


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF})
