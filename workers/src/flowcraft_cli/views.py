"""What commands print of runs: the table of `kubectl get`, the same object as JSON or YAML."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flowcraft_api.conditions import condition_of
from flowcraft_api.resources import API_VERSION
from flowcraft_api.run_status import reason_of, run_status
from flowcraft_api.table import RUN_COLUMNS, table_row
from flowcraft_api.timestamps import parse_instant, rfc3339, whole_seconds
from flowcraft_api.wire import HeaderDocument
from flowcraft_api.workflow_run import RunPhase, WorkflowRunStatus
from flowcraft_cli.options import OutputFormat
from flowcraft_cli.streams import takes_unicode

ANSWERED = frozenset({"wait", "webhook"})
"""Kinds of waiting that a decision ends."""
WIDE_COLUMNS = ("VERSION", "REASON", "RUN ID")


@dataclass(frozen=True, slots=True)
class RunView:
    """A run as users see it: its header, and the status that the operator would write."""

    header: HeaderDocument
    status: WorkflowRunStatus
    now: datetime

    @classmethod
    def of(cls, header: HeaderDocument, now: datetime) -> RunView:
        """What is seen of a header at this time."""
        return cls(header, _with_times(run_status(header, None, now=now), header), now)

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.header.get("runId") or self.header["id"]

    @property
    def name(self) -> str:
        """The name of its manifest; a run that was started without one goes by its id."""
        return self.header.get("name") or self.run_id

    @property
    def phase(self) -> RunPhase:
        """Its state in one word."""
        return self.status.phase

    @property
    def until(self) -> datetime:
        """Up to when anything can have happened in it: its end, else now."""
        return self.status.finished_at or self.now

    @property
    def failed(self) -> bool:
        """Whether it ended otherwise than well."""
        return self.phase in (RunPhase.FAILED, RunPhase.CANCELLED)

    @property
    def reason(self) -> str:
        """Why it is in its state, in one word."""
        return reason_of(self.status) or ""

    @property
    def message(self) -> str:
        """Why it is in its state, as a sentence."""
        summary = condition_of(self.status.conditions, "Succeeded")
        return summary.message if summary else ""

    @property
    def advice(self) -> str:
        """What a person can do about a run that does not go on by itself; empty if there is nothing."""
        if self.phase is RunPhase.SUSPENDED:
            return f"suspended; go on with `flowcraft resume {self.name}`"
        waiting = [entry.node_key for entry in self.status.awaiting if entry.kind in ANSWERED]
        if not waiting:
            runs = [entry.run_id for entry in self.status.awaiting if entry.run_id]
            return f"waits for {', '.join(runs)}; look with `flowcraft describe {runs[0]}`" if runs else ""
        actions = self._actions(waiting[0])
        action = f" --action {'|'.join(actions)}" if actions else ""
        return (
            f"waits at {', '.join(waiting)}; answer with `flowcraft decide {self.name} {waiting[0]}{action}`"
        )

    def _actions(self, node_key: str) -> list[str]:
        """The actions that the edges of a node ask for, where the header holds the blueprint."""
        edges = (self.header.get("blueprint") or {}).get("edges", [])
        node_id = re.split(r"[#[]", node_key, maxsplit=1)[0]
        return sorted({e["action"] for e in edges if e.get("source") == node_id and e.get("action")})

    def cells(self, *, wide: bool = False) -> list[str]:
        """Its row of the table."""
        created = parse_instant(self.header.get("createdAt"))
        row = table_row(
            self.name, self.header.get("pool") or "", self.status, created_at=created, now=self.now
        )
        version = self.status.blueprint.version if self.status.blueprint else None
        return [*row, version or "", self.reason, self.run_id] if wide else row

    def document(self) -> dict[str, Any]:
        """The run as a WorkflowRun, with its whole output, however large."""
        header = self.header
        created = parse_instant(header.get("createdAt"))
        metadata = {"name": self.name, "namespace": header.get("namespace"), "uid": self.run_id}
        if created:
            metadata["creationTimestamp"] = rfc3339(created)
        status = self.status.to_document()
        if header.get("output") is not None:
            status["output"] = header["output"]
        blueprint = {"name": header.get("blueprintId"), "version": header.get("blueprintVersion")}
        spec = {
            "poolRef": {"name": header["pool"]} if header.get("pool") else None,
            "blueprint": _without_none(blueprint),
            "input": header.get("input"),
        }
        return {
            "apiVersion": API_VERSION,
            "kind": "WorkflowRun",
            "metadata": _without_none(metadata),
            "spec": _without_none(spec),
            "status": status,
        }


def print_runs(views: Sequence[RunView], output: OutputFormat, *, single: bool = False) -> None:
    """Print runs to stdout; as data, one run alone is itself (``single``), several are a List."""
    if output in (OutputFormat.TABLE, OutputFormat.WIDE):
        wide = output is OutputFormat.WIDE
        columns = [*RUN_COLUMNS, *(WIDE_COLUMNS if wide else ())]
        from flowcraft_cli.tables import format_table

        put(format_table(columns, [view.cells(wide=wide) for view in views]))
        return
    documents = [view.document() for view in views]
    if single and len(documents) == 1:
        print_data(documents[0], output)
    else:
        print_data({"apiVersion": "v1", "kind": "List", "items": documents}, output)


def print_data(data: Any, output: OutputFormat) -> None:
    """Print a value as JSON or YAML; what stdout cannot encode is escaped as the format does it."""
    unicode = takes_unicode(sys.stdout)
    if output is OutputFormat.YAML:
        import yaml

        class Written(yaml.SafeDumper):
            """Writes a value out wherever it stands, instead of naming it once and pointing at it."""

            def ignore_aliases(self, _data: Any) -> bool:
                return True

        put(yaml.dump(data, Dumper=Written, sort_keys=False, allow_unicode=unicode).rstrip("\n"))
    else:
        put(json.dumps(data, indent=2, ensure_ascii=not unicode))


def put(text: str) -> None:
    """Write a text and a line end to stdout."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _with_times(status: WorkflowRunStatus, header: HeaderDocument) -> WorkflowRunStatus:
    """The status with the times at which its conditions came about, as far as the header knows them.

    The operator remembers them in the resource; here nothing but the header is there.
    """
    accepted = parse_instant(header.get("createdAt"))
    since = status.finished_at or status.started_at or accepted
    times = {"Accepted": accepted, "Succeeded": since, "Finished": since}
    conditions = [
        each.model_copy(update={"last_transition_time": whole_seconds(at)})
        if (at := times.get(each.type))
        else each
        for each in status.conditions
    ]
    return status.model_copy(update={"conditions": conditions})


def _without_none(document: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if value is not None}
