"""``miliary-seg run``: analyse every study found and write its results."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from miliary_seg.cli.options import AsJson, Changes, Config, Force, Inputs, Output, resolved, say
from miliary_seg.errors import UsageError

if TYPE_CHECKING:
    from miliary_seg.cohort import CaseOutcome, RunPlan
    from miliary_seg.load import FoundCase
    from miliary_seg.settings import Settings


def run(  # noqa: PLR0913, PLR0917 - a verb's options are its interface
    inputs: Inputs,
    output: Output,
    case: Annotated[str, typer.Option(help="Name of the case (one case only).")] = "",
    sequence: Annotated[
        str, typer.Option(help="auto, t1c, t1, t2, flair, dwi, adc, swi, t2star, pd, ct, ctc.")
    ] = "auto",
    series: Annotated[str, typer.Option(help="Only the series whose identifier starts so.")] = "",
    volume: Annotated[int, typer.Option(min=-1, help="Which volume of a 4-D file, from 0.")] = -1,
    resample: Annotated[
        bool, typer.Option("--resample", help="Resample uneven slices instead of refusing them.")
    ] = False,
    mask: Annotated[Path | None, typer.Option(help="Your own brain mask (NIfTI on the scan's grid).")] = None,
    sensitivity: Annotated[str, typer.Option(help="Operating point: high, balanced or specific.")] = "",
    config: Config = None,
    changes: Changes = None,
    jobs: Annotated[int, typer.Option(min=1, help="Worker processes.")] = 1,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Analyse every study found and write its results."""
    from miliary_seg.cohort import RunPlan

    options = {"load.sequence": sequence, "load.series": series, "detect.sensitivity": sensitivity}
    options |= {"load.volume": str(volume)} if volume >= 0 else {}
    options |= {"load.resample": "true"} if resample else {}
    settings = resolved(config, changes, options)
    plan = RunPlan(output=output, settings=settings, force=force, mask=mask)
    finish(outcomes_of(inputs, plan, jobs, case), output, as_json)


def outcomes_of(inputs: list[Path], plan: RunPlan, jobs: int = 1, name: str = "") -> list[CaseOutcome]:
    """Find the cases and run them behind a progress bar."""
    from miliary_seg.cohort import require_writable, run_cases

    require_writable(plan.output)
    cases, outcomes = _found(inputs, plan.settings)
    return outcomes + _watched(run_cases(_named(cases, name), plan, jobs), len(cases))


def finish(outcomes: Sequence[CaseOutcome], output: Path, as_json: bool = False) -> None:
    """Say how the cases ended, write cases.csv, and end with the exit code."""
    from miliary_seg.report import write_cases_table

    summarise(outcomes, as_json)
    rows = [row for outcome in outcomes for row in outcome.rows]
    if rows:
        write_cases_table(rows, output)
    exit_after(outcomes)


def _found(inputs: list[Path], settings: Settings) -> tuple[list[FoundCase], list[CaseOutcome]]:
    from miliary_seg.cli.progress import counting_files
    from miliary_seg.cohort import CaseOutcome
    from miliary_seg.load import find_cases

    with counting_files() as seen:
        found = find_cases(inputs, settings, progress=seen)
    problems = [CaseOutcome(case=problem.path.name, error=problem.error) for problem in found.problems]
    return list(found.cases), problems


def _named(cases: list[FoundCase], name: str) -> list[FoundCase]:
    if not name:
        return cases
    if len(cases) > 1:
        raise UsageError(f"--case names one case, but {len(cases)} were found", todo="leave --case out")
    if not name.isascii() or not name.replace("-", "").replace("_", "").replace(".", "").isalnum() or name[0] == ".":
        raise UsageError(f"{name!r} cannot name a folder", todo="letters, digits, dot, dash and underscore only")
    return [replace(case, id=name) for case in cases]


def _watched(outcomes: Iterable[CaseOutcome], total: int) -> list[CaseOutcome]:
    """Collect outcomes behind a progress bar (stderr, silent when not a terminal)."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    silent = not console.is_terminal
    return list(track(outcomes, "cases", total=total, console=console, disable=silent, transient=True))


def summarise(outcomes: Sequence[CaseOutcome], as_json: bool) -> None:
    """Verdicts and reports to stdout, errors and figures to stderr."""
    for outcome in outcomes:
        if outcome.error is not None:
            say(outcome.error)
        elif outcome.folder is not None and not as_json:
            typer.echo(f"{outcome.case}: {outcome.verdict}  {outcome.folder / 'report.html'}")
            stages = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in outcome.timings_s.items())
            memory = f"{outcome.peak_memory_mb:.0f} MB"
            typer.echo(f"{outcome.case}: {outcome.seconds:.1f} s ({stages}), {memory}", err=True)
    if as_json:
        done = [json.loads((o.folder / "result.json").read_text("utf-8")) for o in outcomes if o.folder is not None]
        failed = [{"case": o.case, "code": o.error.code, "message": str(o.error)} for o in outcomes if o.error]
        typer.echo(json.dumps({"cases": done, "failed": failed}, indent=2))


def exit_after(outcomes: Sequence[CaseOutcome]) -> None:
    """0 all done; 1 some failed; where nothing was done, the code of the first error."""
    errors = [outcome.error for outcome in outcomes if outcome.error is not None]
    if errors:
        raise typer.Exit(1 if len(errors) < len(outcomes) else errors[0].exit_code)
