"""Many cases, unattended: one call over any number of them, on this machine or on many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from miliary_seg.cohort.run.case import AnalyzeAndWrite, CaseCall, versions
from miliary_seg.cohort.run.earlier import EarlierNames
from miliary_seg.cohort.run.log import Ledger, said
from miliary_seg.cohort.run.manifest import place_of, require_same_settings
from miliary_seg.cohort.run.plan import BatchOptions, CaseOutcome, CaseWork, RunPlan
from miliary_seg.cohort.run.unanswered import FINISHED
from miliary_seg.errors import DiskFullError, OutputError
from miliary_seg.report.atomic_folder import ATTEMPTS, sweep_drafts, temp_name

if TYPE_CHECKING:
    from miliary_seg.load import CaseInfo, Problem


def run_cases(
    cases: Sequence[CaseInfo],
    plan: RunPlan,
    options: BatchOptions | None = None,
    work: CaseWork | None = None,
    *,
    problems: Sequence[Problem] = (),
) -> Generator[CaseOutcome, None, None]:
    """Run every case that is not finished yet, and yield each outcome as it ends.

    Parameters
    ----------
    cases
        What ``miliary_seg.load.find_cases`` found.
    plan
        Output folder and settings: the same for every case.
    options
        Workers, time limit, scheduler, records. Default: one case after the other.
    work
        What is done with each case; default: ``AnalyzeAndWrite``, as ``miliary-seg run`` does.
    problems
        What ``find_cases`` could not read, for the ledger.

    Returns
    -------
    Generator
        One outcome a case, in the order in which they end. A case that raises, hangs or dies is a failed outcome;
        one that was finished before, with the same input, settings and version, is ``kept``.

    Raises
    ------
    OutputError
        At once, if the output folder cannot be written or holds results of other settings.
    DiskFullError
        While iterating, when no space is left: what is finished stays, the other cases are not begun.

    Examples
    --------
    Over a folder of scans, two at a time, none longer than ten minutes::

        found = ms.load.find_cases(["scans"])
        plan = RunPlan(output=Path("results"), settings=ms.Settings())
        for outcome in run_cases(found.cases, plan, BatchOptions(jobs=2, timeout_s=600)):
            print(outcome.case, outcome.status, outcome.verdict)
    """
    options = options or BatchOptions()
    work = work or AnalyzeAndWrite()
    require_usable(plan)
    plan = replace(plan, output=plan.output.absolute())
    earlier = EarlierNames.of(plan.output, cases)
    cases = [earlier.of_place(case) for case in cases]
    call = CaseCall(plan=plan, work=work, records=options.records, earlier=earlier)
    return _recorded(cases, call, options, problems)


def require_usable(plan: RunPlan) -> None:
    """Refuse an output folder that cannot be written, or that holds results of other settings, before any work.

    Raises
    ------
    OutputError
        If it is one of these.
    """
    require_writable(plan.output)
    require_same_settings(plan.output, plan.settings, force=plan.force)


def require_writable(folder: Path) -> None:
    """Try a write in the output folder, or where it would be made, and leave nothing behind.

    Many runs may start at once: what is tried has a name of its own, and no folder is made or removed that another
    could use.

    Raises
    ------
    OutputError
        If the folder cannot be made, is a file, or refuses a new file.
    """
    for attempts_left in reversed(range(ATTEMPTS)):
        there = next((place for place in (folder, *folder.absolute().parents) if place.exists()), folder)
        probe = there / temp_name("write-test", "draft")
        try:
            if there == folder:
                probe.touch()
                probe.unlink()
            else:
                probe.mkdir()
                probe.rmdir()
        except OSError as error:
            if isinstance(error, FileNotFoundError) and attempts_left:  # a folder above went meanwhile
                continue
            what = f"cannot write here ({error.strerror or type(error).__name__})"
            raise OutputError(what, where=folder, todo="choose another --output") from error
        return


def _begin(
    ledger: Ledger, cases: Sequence[CaseInfo], call: CaseCall, options: BatchOptions, problems: Sequence[Problem]
) -> None:
    """Write the first lines of a run's ledger: how it was called, and what could not be read."""
    facts: dict[str, Any] = {"jobs": options.jobs, "timeout_s": options.timeout_s, "scheduler": options.scheduler}
    facts["inputs"] = [place_of(path.absolute()) for path in options.inputs]
    digest = call.plan.settings.digest
    ledger.append("begin", n_cases=len(cases), settings_digest=digest, software=dict(versions()), **facts)
    for problem in problems:
        places = {"place": place_of(problem.path.absolute()), "input": place_of(problem.below.absolute())}
        ledger.append("unreadable", case=problem.case, **places, **said(problem.error))


def _recorded(
    cases: Sequence[CaseInfo], call: CaseCall, options: BatchOptions, problems: Sequence[Problem]
) -> Generator[CaseOutcome, None, None]:
    """Run the cases, enter each outcome into the ledger, and stop where nothing more can be written."""
    below = {case.id: place_of(case.below.absolute()) for case in cases}
    folders = [call.plan.output / call.work.folder(case.id) for case in cases]
    counts: Counter[str] = Counter()
    full, interrupted = False, True
    ledger = Ledger(call.plan.output) if options.records else None
    try:
        if ledger is not None:
            _begin(ledger, cases, call, options, problems)
        sweep_drafts(folders)
        with closing(_engine(cases, call, options)) as outcomes:
            for outcome in outcomes:
                counts[outcome.status] += 1
                if ledger is not None:
                    ledger.append_outcome(outcome, below.get(outcome.case, ""))
                yield outcome
                full = isinstance(outcome.error, DiskFullError)
                if full:
                    break
        interrupted = False
    finally:
        if ledger is not None:
            finished = sum(counts[status] for status in FINISHED)
            ledger.append("end", n_not_finished=len(cases) - finished, interrupted=interrupted, **counts)
        sweep_drafts(folders)
    if full:
        what = f"no space is left: {len(cases) - counts.total()} more cases were not finished"
        raise DiskFullError(what, where=call.plan.output, todo="free some space and run the same command again")


def _engine(cases: Sequence[CaseInfo], call: CaseCall, options: BatchOptions) -> Generator[CaseOutcome, None, None]:
    """The cases on what the options ask for: Dask, child processes, or here where there is one case alone."""
    if options.scheduler:
        from miliary_seg.cohort.run.dask_pool import run_on_dask

        return run_on_dask(cases, call, options)
    if len(cases) <= 1 and options.timeout_s is None:
        return (call(case) for case in cases)
    from miliary_seg.cohort.run.pool import run_on_processes

    return run_on_processes(cases, call, min(options.jobs, len(cases)), options.timeout_s)
