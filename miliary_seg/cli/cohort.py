"""``miliary-seg cohort``: patient-level tables and statistics over finished cases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from miliary_seg.cli.options import AsJson, Changes, Config, Force, Output, need_extra, print_error, resolved
from miliary_seg.errors import MiliaryError, UsageError

app = typer.Typer(no_args_is_help=True, help="Patient-level tables and statistics over finished cases.")


@app.command()
def tables(
    run: Annotated[Path, typer.Argument(help="Output folder of run.")],
) -> None:
    """Write cases.csv and index.html of an output folder anew, after runs with --no-tables."""
    from miliary_seg.cli.outcomes import OutcomePrinter
    from miliary_seg.cohort import write_tables
    from miliary_seg.errors import NoImageError

    collected = write_tables(run)
    if not collected.n_cases:
        raise NoImageError("no finished case is here", where=run, todo="give the --output of miliary-seg run")
    typer.echo(f"{collected.n_cases} cases  {run / 'index.html'}")
    OutcomePrinter().print_collected(collected)


@app.command()
def summary(  # noqa: PLR0913, PLR0917 - a verb's options are its interface
    runs: Annotated[list[Path], typer.Argument(help="Output folders of run (or their cases.csv).")],
    output: Output,
    participants: Annotated[Path | None, typer.Option(help="participants.tsv (BIDS).")] = None,
    owners: Annotated[Path | None, typer.Option(help="Table of case and participant_id, tab-separated.")] = None,
    finding: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN", help="Yes/no column: its share among patients with MET.")
    ] = None,
    group: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN", help="Column whose values are compared; may repeat.")
    ] = None,
    time: Annotated[str, typer.Option(metavar="COLUMN", help="Follow-up time.")] = "",
    event: Annotated[str, typer.Option(metavar="COLUMN", help="0 censored, 1 event, 2 competing event.")] = "",
    by: Annotated[str, typer.Option(metavar="COLUMN", help="Arms of the curves: a column, or verdict.")] = "",
    among: Annotated[str, typer.Option(help="Whose survival: met or all.")] = "met",
    competing: Annotated[bool, typer.Option("--competing", help="Cumulative incidence: event 2 competes.")] = False,
    time_unit: Annotated[str, typer.Option(help="Unit of the time column, for the figures.")] = "months",
    seed: Annotated[int, typer.Option(min=0, help="Of the Monte Carlo test of several groups.")] = 0,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Incidence per patient, findings, groups and survival: tables, figures, a page and a text of methods."""
    need_extra("statsmodels", "matplotlib", extra="cohort")
    from miliary_seg.cohort import SummaryPlan, summarise, write_cohort_summary

    plan = SummaryPlan(
        runs=tuple(runs),
        participants=participants,
        owners=owners,
        findings=tuple(finding or ()),
        groups=tuple(group or ()),
        time=time,
        event=event,
        by=by,
        among=among.lower(),
        competing=competing,
        time_unit=time_unit,
        seed=seed,
    )
    document = summarise(plan)
    folder = write_cohort_summary(document, output, force)
    if as_json:
        typer.echo(json.dumps(document, indent=1))
        return
    found = document["incidence"]
    share = found["screened"]
    interval = f"{100 * share['low']:.2f}-{100 * share['high']:.2f}"
    typer.echo(
        f"{found['n_met']} of {found['n_patients']} patients meet the proposed criteria: "
        f"{100 * share['estimate']:.1f} % (Wilson 95 % {interval}); {found['n_indeterminate']} indeterminate  "
        f"{folder / 'cohort.html'}"
    )


@app.command()
def timeline(  # noqa: PLR0913, PLR0917 - a verb's options are its interface
    scans: Annotated[Path, typer.Argument(help="Table of scans: participant_id, date, path (tab-separated).")],
    output: Output,
    participants: Annotated[Path | None, typer.Option(help="participants.tsv, for --earlier-metastases.")] = None,
    earlier_metastases: Annotated[
        str, typer.Option(metavar="COLUMN", help="Yes/no column: brain metastases before the miliary pattern.")
    ] = "",
    tolerance_mm: Annotated[float, typer.Option(min=0.5, max=20, help="Lesions this close are one.")] = 3.0,
    config: Config = None,
    changes: Changes = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Analyse the scans of each patient in the order of their dates: new, persisting and resolved lesions."""
    from miliary_seg.cohort import TIMELINE, TimelinePlan, read_scans, timelines, write_timelines
    from miliary_seg.cohort.pages.crops import without_pictures
    from miliary_seg.report import require_free

    require_free(output / "timeline", TIMELINE, force)
    known = _yes_or_no(participants, earlier_metastases) if earlier_metastases else None
    settings = resolved(config, changes)
    plan = TimelinePlan(
        output=output, settings=settings, tolerance_mm=tolerance_mm, earlier_metastases=known, force=force
    )
    patients = list(timelines(read_scans(scans), plan))
    folder = write_timelines(patients, output / "timeline", force)
    failed = [visit for patient in patients for visit in patient["visits"] if visit["error"] is not None]
    for visit in failed:
        what = "not analysed" if visit["verdict"] is None else "analysed, but not every file was written"
        print_error(MiliaryError(f"{what} ({visit['error']})", where=visit["case"], todo="run it alone to see why"))
    if as_json:
        typer.echo(json.dumps({"patients": [without_pictures(patient) for patient in patients]}, indent=1))
    else:
        for patient in patients:
            met = f", first on {patient['first_met']}" if patient["first_met"] else ""
            course = patient["course"].replace("_", " ")
            typer.echo(f"{patient['participant']}: {len(patient['visits'])} scans, {course}{met}")
        typer.echo(folder / "timeline.html")
    if failed:
        raise typer.Exit(1)


def _yes_or_no(participants: Path | None, column: str) -> dict[str, bool]:
    from miliary_seg.cohort import read_participants
    from miliary_seg.cohort.statistics.proportions import truth

    if participants is None:
        raise UsageError("--earlier-metastases needs --participants", todo="give participants.tsv")
    return read_participants(participants).parsed(column, truth)
