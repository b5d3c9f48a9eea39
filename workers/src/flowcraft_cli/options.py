"""Options that several commands share, each with one meaning everywhere."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class OutputFormat(StrEnum):
    """How a command prints what it found."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"


class BackendName(StrEnum):
    """Where runs live."""

    EMBEDDED = "embedded"
    AZURE = "azure"


Output = Annotated[
    OutputFormat, typer.Option("-o", "--output", help="How to print: wide adds run id, version and reason.")
]
Backend = Annotated[
    BackendName | None,
    typer.Option(
        "--backend",
        help="Where runs live (FLOWCRAFT_BACKEND); by default azure where an Azure connection is set.",
        show_default=False,
    ),
]
Db = Annotated[
    Path | None,
    typer.Option(
        "--db",
        metavar="FILE",
        help="File of the embedded backend (FLOWCRAFT_DB); by default .flowcraft/runs.db.",
        show_default=False,
    ),
]
Queue = Annotated[
    str | None,
    typer.Option(
        "--queue",
        metavar="NAME",
        help="Queue of the runs (FLOWCRAFT_QUEUE); by default flowcraft.",
        show_default=False,
    ),
]
App = Annotated[
    str | None,
    typer.Option(
        "--app",
        metavar="MODULE:ATTRIBUTE",
        help="The application, for example shop.flows:app; looked for in this folder too (FLOWCRAFT_APP).",
        show_default=False,
    ),
]
Run = Annotated[
    str,
    typer.Argument(
        metavar="RUN", help="A run's id, or its name: then the newest run of that name.", show_default=False
    ),
]
Files = Annotated[
    list[Path],
    typer.Option("-f", "--file", metavar="FILE", help="A manifest; `-` reads standard input. Repeatable."),
]
