"""The verbs put together, and what becomes of an error, Ctrl-C or a reader that has enough."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from miliary_seg.cli import INTERRUPTED, bench, bids, cohort, decide, demo, inspect, phantom, run, settings
from miliary_seg.cli.options import HELP, print_error, print_version, say
from miliary_seg.cli.space_separated import SpaceSeparated
from miliary_seg.errors import MiliaryError, OutputError


class Verbs(TyperGroup):
    """The command line; Ctrl-C and a closed pipe end it without a traceback."""

    def make_context(self, *args: Any, **more: Any) -> Any:
        """Read the options; help and version are printed here."""
        try:
            return super().make_context(*args, **more)
        except BrokenPipeError as gone:
            say("")
            raise typer.Exit from gone

    def invoke(self, ctx: Any) -> Any:
        """Run the verb."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except KeyboardInterrupt as stop:
            say("miliary-seg: interrupted\n", err=True)
            raise typer.Exit(INTERRUPTED) from stop
        except BrokenPipeError as gone:
            say("")  # whoever read the results has enough (``| head``): nothing more is said to them
            raise typer.Exit from gone
        return result


app = typer.Typer(
    cls=Verbs,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings=HELP,
    help="Finds small brain lesions on MRI and CT, locates them, and tests the pattern against the proposed criteria "
    "of miliary brain metastasis (Bashour 2020). Research use only.",
)


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", "-V", is_eager=True, callback=print_version, help="Print the version and stop."),
    ] = False,
) -> None:
    """Options of the program itself."""


app.command(short_help="Analyse every study and write its results.", context_settings=HELP)(run.run)
app.command(short_help="Decide again with corrected lesions.", context_settings=HELP)(decide.decide)
app.command(short_help="Show what is there and what would be used.", context_settings=HELP)(inspect.inspect)
app.command(short_help="Make a head with known lesions.", context_settings=HELP)(phantom.phantom)
app.command(short_help="Analyse the sample scans.", context_settings=HELP)(demo.demo)
app.command(short_help="Print the resolved settings as TOML.", context_settings=HELP)(settings.settings)
app.command(name="schema", short_help="Print the JSON Schema of a document.", context_settings=HELP)(
    settings.print_schema
)
app.command(cls=SpaceSeparated, short_help="Analyse a BIDS dataset (BIDS App).", context_settings=HELP)(bids.bids)
app.add_typer(bench.bench, name="bench", short_help="Score masks against references.", context_settings=HELP)
app.add_typer(cohort.app, name="cohort", short_help="Tables and statistics per patient.", context_settings=HELP)


def answered() -> int:
    """Run the command line; the exit code."""
    try:
        app()
    except MiliaryError as error:
        print_error(error)
        return error.exit_code
    except OSError as error:
        what = f"the system refused ({error.strerror or type(error).__name__})"
        print_error(MiliaryError(what, where=error.filename or "", todo="check the path, space and permissions"))
        return OutputError.exit_code
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    return 0
