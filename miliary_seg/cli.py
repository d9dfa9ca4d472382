"""Command line: verbs that turn options into calls and errors into exit codes. No science.

Exit codes: 0 done, whatever the verdict; 1 some cases failed, the others are done; 2 usage; 3 unreadable or unsuitable
input; 4 geometry; 5 settings; 6 output. Results go to stdout, everything else to stderr.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from miliary_seg import __version__
from miliary_seg.errors import MiliaryError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from miliary_seg.cohort import CaseOutcome
    from miliary_seg.load import FoundCase
    from miliary_seg.settings import Settings

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Finds small brain lesions on MRI and CT, locates them, and tests the pattern against the proposed criteria "
    "of miliary brain metastasis (Bashour 2020). Research use only.",
)

Inputs = Annotated[list[Path], typer.Argument(help="Files or folders: DICOM, NIfTI, or mixed and nested.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder for the results; each case gets a folder in it.")]
Config = Annotated[Path | None, typer.Option(help="Settings as a TOML file.")]
Set = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one setting; may repeat.")]
SequenceOption = Annotated[str, typer.Option(help="What the scan shows: auto, t1c, t1, t2, flair, dwi, swi, ct ...")]
Force = Annotated[bool, typer.Option("--force", help="Replace existing results.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout.")]


def main() -> None:
    """Entry point: expected errors become one line on stderr and an exit code."""
    try:
        app()
    except MiliaryError as error:
        _stop(error)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False) -> None:
    if version:
        typer.echo(f"miliary-seg {__version__}")
        raise typer.Exit


@app.command()
def run(  # noqa: PLR0913, PLR0917 - a verb's options are its interface
    inputs: Inputs,
    output: Output,
    case: Annotated[str, typer.Option(help="Name of the case (one case only).")] = "",
    sequence: SequenceOption = "auto",
    series: Annotated[str, typer.Option(help="Only the series whose identifier starts so.")] = "",
    mask: Annotated[Path | None, typer.Option(help="Your own brain mask (NIfTI on the scan's grid).")] = None,
    sensitivity: Annotated[str, typer.Option(help="Operating point: high, balanced or specific.")] = "",
    config: Config = None,
    set_: Set = None,
    jobs: Annotated[int, typer.Option(min=1, help="Worker processes.")] = 1,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Analyse every study found and write its results."""
    from miliary_seg.cohort import RunPlan, run_cases
    from miliary_seg.errors import UsageError
    from miliary_seg.report import write_cases_table

    options = {"load.sequence": sequence, "load.series": series, "detect.sensitivity": sensitivity}
    settings = _settings(config, set_, options)
    cases, problems = _found(inputs, settings)
    if case and len(cases) > 1:
        raise UsageError(f"--case names one case, but {len(cases)} were found", todo="leave --case out")
    if case:
        cases = [cases[0].renamed(case)] if cases else []
    plan = RunPlan(output=output, settings=settings, force=force, mask=mask)
    outcomes = [*problems, *_watched(run_cases(cases, plan, jobs), len(cases))]
    rows = [row for outcome in outcomes for row in outcome.rows]
    if rows:
        write_cases_table(rows, output)
    _summarise(outcomes, as_json)
    _exit_after(outcomes)


@app.command()
def inspect(
    inputs: Inputs,
    config: Config = None,
    set_: Set = None,
    as_json: AsJson = False,
) -> None:
    """Show what is there, which series would be used and why; write nothing."""
    from miliary_seg.load import inspect as inspect_inputs

    inventory = inspect_inputs(inputs, _settings(config, set_, {}))
    if as_json:
        typer.echo(json.dumps(inventory.as_dict(), indent=2))
    else:
        _print_tree(inventory.as_dict())


@app.command()
def settings(config: Config = None, set_: Set = None) -> None:
    """Print the resolved settings as TOML."""
    typer.echo(_settings(config, set_, {}).to_toml(), nl=False)


def _settings(config: Path | None, pairs: list[str] | None, options: dict[str, str]) -> Settings:
    from miliary_seg.settings import Settings

    base = Settings.from_toml(config) if config else Settings()
    chosen = {key: value for key, value in options.items() if value not in ("", "auto")}
    return base.with_options(pairs or []).updated(chosen)


def _found(inputs: list[Path], settings: Settings) -> tuple[list[FoundCase], list[CaseOutcome]]:
    from miliary_seg.cohort import CaseOutcome
    from miliary_seg.load import find_cases

    found = find_cases(inputs, settings)
    problems = [CaseOutcome(case=problem.path.name, error=problem.error) for problem in found.problems]
    return list(found.cases), problems


def _watched(outcomes: Any, total: int) -> list[CaseOutcome]:
    """Collect outcomes behind a progress bar (stderr, silent when not a terminal)."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    bar = track(outcomes, "cases", total=total, console=console, disable=not console.is_terminal, transient=True)
    return list(bar)


def _summarise(outcomes: Sequence[CaseOutcome], as_json: bool) -> None:
    for outcome in outcomes:
        if outcome.error is not None:
            _say(outcome.error)
        elif not as_json:
            typer.echo(f"{outcome.case}: {outcome.verdict}  {outcome.folder / 'report.html'}")  # type: ignore[operator]
            stages = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in outcome.timings_s.items())
            memory = f"{outcome.peak_memory_mb:.0f} MB"
            typer.echo(f"{outcome.case}: {outcome.seconds:.1f} s ({stages}), {memory}", err=True)
    if as_json:
        done = [json.loads((o.folder / "result.json").read_text("utf-8")) for o in outcomes if o.folder is not None]
        failed = [{"case": o.case, "code": o.error.code, "message": str(o.error)} for o in outcomes if o.error]
        typer.echo(json.dumps({"cases": done, "failed": failed}, indent=2))


def _exit_after(outcomes: Sequence[CaseOutcome]) -> None:
    """0 all done; 1 some failed; where nothing was done, the code of the (first) error."""
    errors = [outcome.error for outcome in outcomes if outcome.error is not None]
    if errors:
        raise typer.Exit(1 if len(errors) < len(outcomes) else errors[0].exit_code)


def _say(error: MiliaryError) -> None:
    line = " ".join("".join(c if c.isprintable() else " " for c in str(error)).split())
    typer.echo(f"miliary-seg: {error.code}: {line}", err=True)


def _stop(error: MiliaryError) -> NoReturn:
    _say(error)
    sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
