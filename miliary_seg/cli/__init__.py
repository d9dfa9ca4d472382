"""Command line: one module a verb; options become calls and errors become exit codes. No science.

Exit codes: 0 done, whatever the verdict; 1 some cases failed, the others are done; 2 usage; 3 unreadable or unsuitable
input; 4 geometry; 5 settings; 6 output. Results go to stdout, everything else to stderr.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from miliary_seg import __version__
from miliary_seg.cli import bench, bids, cohort, decide, demo, inspect, phantom, run, settings
from miliary_seg.cli.options import print_error
from miliary_seg.cli.space_separated import SpaceSeparated
from miliary_seg.errors import MiliaryError, OutputError

__all__ = ["app", "main"]

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Finds small brain lesions on MRI and CT, locates them, and tests the pattern against the proposed criteria "
    "of miliary brain metastasis (Bashour 2020). Research use only.",
)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False) -> None:
    if version:
        typer.echo(f"miliary-seg {__version__}")
        raise typer.Exit


for verb in (run.run, decide.decide, inspect.inspect, phantom.phantom, demo.demo, settings.settings):
    app.command()(verb)
app.command(name="schema")(settings.print_schema)
app.command(cls=SpaceSeparated)(bids.bids)
app.add_typer(bench.bench, name="bench")
app.add_typer(cohort.app, name="cohort")


def main() -> None:
    """Entry point: expected errors become one line on stderr and an exit code."""
    try:
        app()
    except MiliaryError as error:
        print_error(error)
        sys.exit(error.exit_code)
    except OSError as error:
        print_error(
            MiliaryError(f"the system refused ({error.strerror or type(error).__name__})", where=error.filename or "")
        )
        sys.exit(OutputError.exit_code)
