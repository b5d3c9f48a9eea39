"""The entry point: the commands put together, and how errors leave."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowcraft_cli.commands import (
    again,
    decide,
    describe,
    diagram,
    get,
    lint,
    poison,
    provision,
    replay,
    run,
    start,
    verbs,
    watch,
    worker,
)
from flowcraft_cli.streams import escape_unknown
from flowcraft_cli.usage import INTERRUPTED, OK, REFUSED, note, report

if TYPE_CHECKING:
    from typer.exceptions import TyperException

_HELP = """Workflows on queue workers: on this machine, on Azure, on Kubernetes.

`flowcraft run` needs nothing but a file. The other commands work on the runs of a backend: a file of this
machine, or Queue Storage, Cosmos DB and Redis where their connections are set."""

COMMANDS: tuple[tuple[str, Callable[..., int], Sequence[str]], ...] = (
    ("run", run.run, run.EXAMPLES),
    ("worker", worker.worker, worker.EXAMPLES),
    ("start", start.start, start.EXAMPLES),
    ("get", get.get, get.EXAMPLES),
    ("describe", describe.describe, describe.EXAMPLES),
    ("watch", watch.watch, watch.EXAMPLES),
    ("cancel", verbs.cancel, verbs.CANCEL_EXAMPLES),
    ("suspend", verbs.suspend, verbs.SUSPEND_EXAMPLES),
    ("resume", verbs.resume, verbs.RESUME_EXAMPLES),
    ("decide", decide.decide, decide.EXAMPLES),
    ("retry", again.retry, again.RETRY_EXAMPLES),
    ("rerun", again.rerun, again.RERUN_EXAMPLES),
    ("replay", replay.replay, replay.EXAMPLES),
    ("delete", verbs.delete, verbs.DELETE_EXAMPLES),
    ("poison", poison.poison, poison.EXAMPLES),
    ("provision", provision.provision, provision.EXAMPLES),
    ("lint", lint.lint, lint.EXAMPLES),
    ("diagram", diagram.diagram, diagram.EXAMPLES),
)
"""Every command with its examples, in the order of the help."""


def build() -> typer.Typer:
    """The command line."""
    program = typer.Typer(
        name="flowcraft",
        help=_HELP,
        add_completion=False,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    program.callback()(_root)
    for name, command, examples in COMMANDS:
        program.command(name, epilog=_examples(examples))(command)
    return program


def main() -> None:
    """Run the command line and exit with its code."""
    for stream in (sys.stdout, sys.stderr):
        escape_unknown(stream)
    sys.exit(run_command(sys.argv[1:]))


def run_command(arguments: Sequence[str]) -> int:
    """Run one command; gives the exit code."""
    from typer.exceptions import Abort, TyperException

    try:
        code: Any = build()(args=list(arguments), prog_name="flowcraft", standalone_mode=False)
    except (KeyboardInterrupt, Abort):
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()  # whoever read the output has gone: nothing to tell, and nobody to tell it to
        return OK
    except SystemExit as error:  # typer catches a broken pipe itself, and would say that a run failed
        if isinstance(error.__context__, BrokenPipeError):
            return OK
        raise
    except TyperException as error:
        return _refuse(error)
    except Exception as error:
        return report(error, f"flowcraft {arguments[0]}" if arguments else "flowcraft")
    return code if isinstance(code, int) else OK


def _refuse(error: TyperException) -> int:
    """Say in one line what is wrong with the arguments, and where the help is."""
    if type(error).__name__ == "NoArgsIsHelpError":
        note(error.format_message())
        return REFUSED
    context = getattr(error, "ctx", None)
    place = context.command_path if context else "flowcraft"
    note(f"{place}: {error.format_message().rstrip('.')}; see `{place} --help`")
    return REFUSED


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version as version_of

        sys.stdout.write(f"flowcraft {version_of('flowcraft-runtime')}\n")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
) -> None:
    """What comes before every command; the help is that of the program."""


def _examples(lines: Sequence[str]) -> str:
    """The end of a command's help; the first character keeps the lines as they are."""
    return "\b\n" + "\n".join(["Examples:", *(f"  {line}" for line in lines)])
