"""``miliary-seg bids``: a BIDS App, with the option names of MRIQC."""

from __future__ import annotations

import os
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from miliary_seg.cli.lesions import Detectors, LesionLabels, lesion_options, lesion_pattern
from miliary_seg.cli.options import Changes, Config, Force, print_version, resolved

if TYPE_CHECKING:
    from miliary_seg.bids import Dataset
    from miliary_seg.bids.participant import FoundSessions
    from miliary_seg.cohort import BatchOptions, CaseOutcome, RunPlan


class Level(StrEnum):
    """Levels of analysis of a BIDS App."""

    PARTICIPANT = "participant"
    GROUP = "group"


Labels = Annotated[
    list[str] | None,
    typer.Option(
        "--participant-label",
        "--participant_label",
        "--participant-labels",
        "--participant_labels",
        metavar="LABEL",
        help="Only these participants, with or without sub-.",
    ),
]
Sessions = Annotated[
    list[str] | None,
    typer.Option("--session-id", "--session_id", metavar="LABEL", help="Only these sessions, with or without ses-."),
]
Runs = Annotated[list[str] | None, typer.Option("--run-id", "--run_id", metavar="INDEX", help="Only these runs.")]
Modalities = Annotated[
    list[str] | None,
    typer.Option("--modalities", "-m", metavar="SUFFIX", help="Only T1w, T2w, FLAIR, PDw, T2starw, swi or ct."),
]
Processes = Annotated[
    int,
    typer.Option("--nprocs", "-j", "--n_procs", "--n-procs", "--n_cpus", "--n-cpus", min=1, help="Worker processes."),
]


def bids(  # noqa: PLR0913, PLR0917 - a verb's options are its interface
    bids_dir: Annotated[Path, typer.Argument(help="The BIDS dataset.", show_default=False)],
    output_dir: Annotated[Path, typer.Argument(help="Folder of the derivative dataset.", show_default=False)],
    levels: Annotated[
        list[Level], typer.Argument(help="participant, group, or both.", show_default=False, case_sensitive=False)
    ],
    participant_label: Labels = None,
    session_id: Sessions = None,
    run_id: Runs = None,
    modalities: Modalities = None,
    nprocs: Processes = 1,
    lesions: Annotated[
        str,
        typer.Option(
            "--lesions", metavar="PATTERN", help="Lesions that others found: auto = from the derivatives, or a pattern."
        ),
    ] = "",
    lesion_labels: LesionLabels = "",
    detector: Detectors = None,
    work_dir: Annotated[Path | None, typer.Option("--work-dir", "-w", help="Folder for temporary files.")] = None,
    timeout: Annotated[float | None, typer.Option(min=0.001, help="Seconds that one session may take.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be analysed; write nothing.")] = False,
    config: Config = None,
    changes: Changes = None,
    force: Force = False,
    verbose: Annotated[int, typer.Option("--verbose", "-v", count=True, help="Say more; may repeat.")] = 0,
    no_sub: Annotated[bool, typer.Option("--no-sub", hidden=True)] = False,  # MRIQC's; nothing is ever submitted
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=print_version, help="Print the version and stop.")
    ] = False,
) -> None:
    """Analyse a BIDS dataset; write BIDS derivatives, a page a participant, and (group) one table over all."""
    from miliary_seg.bids import Choice, Dataset
    from miliary_seg.bids.participant import find_cases, plan_lines, require_apart
    from miliary_seg.cohort import BatchOptions, RunPlan
    from miliary_seg.load.lesions.patterns import BIDS

    dataset = Dataset.open(bids_dir)
    require_apart(bids_dir, output_dir)
    choice = Choice(
        participants=tuple(participant_label or ()),
        sessions=tuple(session_id or ()),
        runs=tuple(run_id or ()),
        modalities=tuple(modalities or ()),
    )
    options = lesion_options(lesion_labels, split=False, frame="", rates=(None, None), detectors=detector)
    pattern = f"{BIDS}{bids_dir.absolute()}" if lesions == "auto" else lesion_pattern(lesions)
    plan = RunPlan(output=output_dir, settings=resolved(config, changes, options), force=force, lesions=pattern)
    if dry_run:
        for line in plan_lines(dataset.sessions(choice), verbose=verbose > 0):
            typer.echo(line)
        return
    _use_for_temporary_files(work_dir)
    if Level.PARTICIPANT in levels:
        found = find_cases(dataset, choice, plan.settings)
        _say_skipped(found, verbose)
        searched = (dataset.path,) if choice == Choice() else ()
        batch = BatchOptions(jobs=nprocs, timeout_s=timeout, inputs=searched)
        _participants(dataset, plan, batch, found, then=_group(levels, plan))
    elif Level.GROUP in levels:
        _say_group(output_dir)


def _group(levels: list[Level], plan: RunPlan) -> Path | None:
    """Where the group level is to run after the participants; None = not at all."""
    return plan.output if Level.GROUP in levels else None


def _participants(
    dataset: Dataset, plan: RunPlan, batch: BatchOptions, found: FoundSessions, then: Path | None
) -> None:
    """Run every session, write the pages and the description, and end with the exit code."""
    from miliary_seg.bids.description import write_description
    from miliary_seg.bids.pages import write_participant_pages
    from miliary_seg.bids.participant import WriteDerivatives
    from miliary_seg.cli.outcomes import OutcomePrinter, interruptible, watched
    from miliary_seg.cohort import CaseOutcome, run_cases
    from miliary_seg.cohort.run.batch import require_usable

    require_usable(plan)
    printer = OutcomePrinter(page=_page)
    for problem in found.problems:
        printer.add(CaseOutcome(case=problem.path.name, error=problem.error))
    work = WriteDerivatives(dataset=dataset.path)
    with interruptible(printer):
        try:
            if found.cases or found.problems:
                watched(run_cases(found.cases, plan, batch, work, problems=found.problems), len(found.cases), printer)
        finally:
            if plan.output.is_dir():
                write_description(dataset, plan.output, plan.settings)
                write_participant_pages(plan.output, {session.participant for session in found.sessions})
    if then is not None and printer.counts.total() > printer.counts["failed"]:
        _say_group(then)
    printer.end()


def _page(outcome: CaseOutcome, folder: Path) -> Path:
    """``sub-X.html`` in the output folder."""
    top = folder.parent if "_ses-" not in outcome.case else folder.parent.parent
    return top / f"{outcome.case.split('_')[0]}.html"


def _say_group(output: Path) -> None:
    from miliary_seg.bids.group import write_group

    typer.echo(f"group: {write_group(output)}")


def _say_skipped(found: FoundSessions, verbose: int) -> None:
    for session in found.sessions:
        if not session.images:
            typer.echo(f"miliary-seg: {session.id} has no image to analyse", err=True)
        if verbose:
            for image, why in session.skipped:
                typer.echo(f"miliary-seg: {image.name} is passed over: {why}", err=True)


def _use_for_temporary_files(folder: Path | None) -> None:
    """Temporary files of this process and of its workers go there; results never pass through it."""
    if folder is None:
        return
    from miliary_seg.errors import OutputError

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make this folder ({error.strerror})", where=folder, todo="another -w") from error
    os.environ["TMPDIR"] = str(folder.resolve())
    tempfile.tempdir = None
