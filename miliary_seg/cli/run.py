"""``miliary-seg run``: analyse every study found and write its results."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from miliary_seg.cli.lesions import (
    Detectors,
    FalsePositives,
    LesionFrame,
    LesionLabels,
    Lesions,
    LesionSensitivity,
    Split,
    lesion_options,
    lesion_pattern,
    require_lesions_for_each,
)
from miliary_seg.cli.options import (
    AsJson,
    Changes,
    Config,
    Force,
    Inputs,
    Jobs,
    Output,
    Quiet,
    Verbose,
    resolved,
)
from miliary_seg.errors import DiskFullError, UsageError

if TYPE_CHECKING:
    from miliary_seg.cli.outcomes import OutcomePrinter
    from miliary_seg.cohort import BatchOptions, RunPlan
    from miliary_seg.load import CaseInfo, CaseInventory
    from miliary_seg.settings import Settings


def run(  # noqa: PLR0913, PLR0917 - a verb's options are its interface
    inputs: Inputs,
    output: Output,
    case: Annotated[str, typer.Option(help="Name of the case (one case only).")] = "",
    sequence: Annotated[
        str, typer.Option(help="auto, t1c, t1, t2, flair, dwi, adc, swi, t2star, pd, ct, ctc.")
    ] = "auto",
    series: Annotated[str, typer.Option(help="Only the series whose identifier starts so.")] = "",
    all_series: Annotated[
        bool, typer.Option("--all-series", help="Every series, not only the best of each kind that can decide.")
    ] = False,
    volume: Annotated[int, typer.Option(min=-1, help="Which volume of a 4-D file, from 0.")] = -1,
    resample: Annotated[
        bool, typer.Option("--resample", help="Resample uneven slices instead of refusing them.")
    ] = False,
    mask: Annotated[Path | None, typer.Option(help="Your own brain mask (NIfTI on the scan's grid).")] = None,
    lesions: Lesions = "",
    lesion_labels: LesionLabels = "",
    split: Split = False,
    lesion_frame: LesionFrame = "",
    lesion_sensitivity: LesionSensitivity = None,
    false_positives: FalsePositives = None,
    detector: Detectors = None,
    sensitivity: Annotated[str, typer.Option(help="Operating point: high, balanced or specific.")] = "",
    dicom: Annotated[bool, typer.Option("--dicom", help="Write SEG and SR for input other than DICOM too.")] = False,
    seg: Annotated[str, typer.Option(help="DICOM segmentation: binary or labelmap.")] = "",
    rtstruct: Annotated[bool, typer.Option("--rtstruct", help="Write an RT Structure Set of the lesions.")] = False,
    editable: Annotated[bool, typer.Option("--editable", help="Write lesions for 3D Slicer and ITK-SNAP.")] = False,
    all_candidates: Annotated[
        bool, typer.Option("--all-candidates", help="List candidates of any probability (candidates.csv, page).")
    ] = False,
    identified: Annotated[
        bool, typer.Option("--identified", help="Keep names, dates and paths that identify the patient.")
    ] = False,
    config: Config = None,
    changes: Changes = None,
    jobs: Jobs = 1,
    timeout: Annotated[float | None, typer.Option(min=0.001, help="Seconds that one case may take.")] = None,
    scheduler: Annotated[str, typer.Option(help="Dask: tcp://HOST:PORT, or local. Needs miliary-seg[dask].")] = "",
    tables: Annotated[bool, typer.Option(help="Write cases.csv and index.html when all is done.")] = True,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be run, kept and refused; write nothing.")
    ] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Analyse every study found and write its results; what is finished already is kept."""
    from miliary_seg.cli.outcomes import OutcomePrinter
    from miliary_seg.cohort import BatchOptions, RunPlan

    options = {"load.sequence": sequence.lower(), "load.series": series, "detect.sensitivity": sensitivity.lower()}
    options |= {"load.volume": str(volume)} if volume >= 0 else {}
    flags = (
        ("load.resample", resample),
        ("load.all_series", all_series),
        ("report.rtstruct", rtstruct),
        ("report.identified", identified),
        ("report.editable", editable),
        ("report.all_candidates", all_candidates),
    )
    options |= {name: "true" for name, on in flags if on}
    options |= {"report.seg": seg.lower()} | ({"report.dicom": "always"} if dicom else {})
    options |= lesion_options(lesion_labels, split, lesion_frame, (lesion_sensitivity, false_positives), detector)
    settings = resolved(config, changes, options)
    plan = RunPlan(output=output, settings=settings, force=force, mask=mask, lesions=lesion_pattern(lesions))
    batch = BatchOptions(jobs=jobs, timeout_s=timeout, scheduler=scheduler)
    if dry_run:
        from miliary_seg.cli.dry_run import show_plan

        show_plan(inputs, plan, name=case, as_json=as_json)
        return
    printer = OutcomePrinter(as_json=as_json, quiet=quiet, verbose=verbose)
    run_inputs(inputs, plan, batch, name=case, printer=printer, tables=tables)


def run_inputs(
    inputs: list[Path],
    plan: RunPlan,
    batch: BatchOptions,
    *,
    printer: OutcomePrinter,
    name: str = "",
    tables: bool = True,
) -> None:
    """Find the cases, run them behind a progress bar, print how each ended, and end with the exit code."""
    from miliary_seg.cli.outcomes import interruptible, watched
    from miliary_seg.cohort import CaseOutcome, run_cases, write_tables
    from miliary_seg.cohort.run.batch import require_usable

    with interruptible(printer):
        require_usable(plan)
        found = found_cases(inputs, plan.settings, quiet=printer.is_quiet)
        cases = named(list(found.cases), name)
        require_lesions_for_each(plan.lesions, len(cases))
        printer.of_cases(case.id for case in cases)
        for problem in found.problems:
            printer.add(CaseOutcome(case=problem.path.name, error=problem.error))
        records = len(cases) + len(found.problems) > 1 or _is_used(plan.output)
        try:
            if cases or records:
                batch = replace(batch, records=records, inputs=tuple(inputs), waiting=printer.waiting)
                outcomes = run_cases(cases, plan, batch, problems=found.problems)
                watched(outcomes, len(cases), printer)
        finally:
            with suppress(DiskFullError):  # then the run has said so already
                if tables and plan.output.is_dir():
                    printer.print_collected(write_tables(plan.output, plan.settings))
    printer.end()


def found_cases(inputs: list[Path], settings: Settings, *, quiet: bool = False) -> CaseInventory:
    """The cases below some paths, behind a counter of files."""
    from miliary_seg.cli.progress import counting_files
    from miliary_seg.load import find_cases

    with counting_files(quiet=quiet) as seen:
        return find_cases(inputs, settings, progress=seen)


def _is_used(output: Path) -> bool:
    """Whether a run of one case must leave a record: tables over what is there must know if it has no answer.

    Else it leaves none: the terminal says all.
    """
    return output.is_dir() and any(output.iterdir())


def named(cases: list[CaseInfo], name: str) -> list[CaseInfo]:
    """The cases, with the name that the user gave: for one case only."""
    if not name:
        return cases
    if len(cases) > 1:
        raise UsageError(f"--case names one case, but {len(cases)} were found", todo="leave --case out")
    from miliary_seg.report.sanitise import safe_name

    if safe_name(name) != name:
        what = f"{name!r} cannot name a folder"
        raise UsageError(what, todo="letters, digits, dot, dash and underscore only, at most 64, no dash or dot first")
    return [replace(case, id=name, longer_names=()) for case in cases]
