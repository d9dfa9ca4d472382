"""``miliary-seg cohort``: patient-level tables and statistics over finished cases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from miliary_seg.cli.options import AsJson, Force, Output, need_extra

app = typer.Typer(no_args_is_help=True, help="Patient-level tables and statistics over finished cases.")


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
    from miliary_seg.cohort import SummaryPlan, summarise
    from miliary_seg.report import write_cohort_summary

    plan = SummaryPlan(
        runs=tuple(runs),
        participants=participants,
        owners=owners,
        findings=tuple(finding or ()),
        groups=tuple(group or ()),
        time=time,
        event=event,
        by=by,
        among=among,
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
