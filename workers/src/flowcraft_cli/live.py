"""A run with its nodes as it goes on: drawn anew on a terminal, a line for each change elsewhere."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from typing import Final

from flowcraft_api.table import RUN_COLUMNS
from flowcraft_cli.backend import Backend
from flowcraft_cli.changes import Changes
from flowcraft_cli.node_rows import COLUMNS, note_of, rows, took
from flowcraft_cli.run_nodes import NodeView, folded, read_nodes
from flowcraft_cli.tables import format_table
from flowcraft_cli.views import WIDE_COLUMNS, RunView, put

LOOK_EVERY_S: Final = 1.0
"""How often the nodes are read when no hint tells of a change: one that reports its progress sends none."""
LOOK_AT_MOST_EVERY_S: Final = 0.25


class LiveNodes:
    """Shows one run until it ends."""

    def __init__(self, backend: Backend, *, wide: bool) -> None:
        self._backend = backend
        self._wide = wide
        self._moving = sys.stdout.isatty()
        self._drawn = 0
        self._told: dict[str, str] = {}

    async def follow(self, run_id: str) -> RunView:
        """Show the run and its nodes until its end; gives how it ended.

        Raises:
            PortError: the backend refuses or is away.
        """
        async with Changes(self._backend) as changes:
            while True:
                header = await self._backend.client.header(run_id)
                view = RunView.of(header, self._backend.clock.now())
                found = await read_nodes(self._backend, header)
                if self._moving:
                    self._draw(view, folded(found.nodes))
                else:
                    self._tell(view, found.nodes)
                if view.phase.is_final:
                    return view
                await changes.wait(LOOK_EVERY_S)
                await self._backend.clock.sleep(LOOK_AT_MOST_EVERY_S)

    def _draw(self, view: RunView, nodes: Sequence[NodeView]) -> None:
        """Draw the run's row and as many of the latest nodes as the terminal has lines for."""
        size = shutil.get_terminal_size()
        columns = [*RUN_COLUMNS, *(WIDE_COLUMNS if self._wide else ())]
        lines = format_table(columns, [view.cells(wide=self._wide)]).splitlines()
        room = max(3, size.lines - len(lines) - 4)
        table = format_table(COLUMNS, list(rows(nodes, view.until))[-room:]).splitlines()
        lines += ["", *table] if nodes else []
        lines = [line[: size.columns - 1] for line in lines]
        if self._drawn:
            sys.stdout.write(f"\x1b[{self._drawn}A\x1b[J")
        self._drawn = len(lines)
        put("\n".join(lines))

    def _tell(self, view: RunView, nodes: Sequence[NodeView]) -> None:
        """Say what is new: a line for each node key that changed, then one for the run if it did."""
        for node in nodes:
            said = " ".join(part for part in (node.status, took(node), note_of(node)) if part)
            if self._told.get(node.key) != said:
                self._told[node.key] = said
                put(f"{view.name}/{node.key}: {said}")
        run = f"{view.phase.value} {view.status.progress or ''}".strip()
        if self._told.get("") != run:
            self._told[""] = run
            put(f"{view.name}: {run}")
