"""The blueprint that a run is pinned to, wherever it lies."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flowcraft.blueprint import Blueprint
    from flowcraft_api.wire import HeaderDocument
    from flowcraft_cli.backend import Backend


async def pinned_blueprint(backend: Backend, header: HeaderDocument) -> Blueprint | None:
    """The blueprint of a run; None as long as no worker has begun it.

    Raises:
        PortError: the backend refuses or is away.
    """
    from flowcraft.blueprint import Blueprint

    snapshot = header.get("blueprint")
    reference = header.get("blueprintRef")
    if snapshot is None and reference:
        snapshot = dict(await backend.facts.read_snapshot(header["id"], reference))
    return None if snapshot is None else Blueprint.from_dict(snapshot)
