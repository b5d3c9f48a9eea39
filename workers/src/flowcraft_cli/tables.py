"""Tables as `kubectl get` prints them: no lines, three blanks between columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tabulate import DataRow, TableFormat, tabulate

_ROW = DataRow("", "   ", "")
_KUBECTL = TableFormat(
    lineabove=None,
    linebelowheader=None,
    linebetweenrows=None,
    linebelow=None,
    headerrow=_ROW,
    datarow=_ROW,
    padding=0,
    with_header_hide=None,
)


def format_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lay out a table as kubectl does; lines without a final newline, and without blanks at their end."""
    # The heading is a row like any other: tabulate would make its columns wider.
    table: str = tabulate([columns, *rows], tablefmt=_KUBECTL, disable_numparse=True, stralign="left")
    return "\n".join(line.rstrip() for line in table.splitlines())
