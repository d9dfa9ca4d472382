"""Runs cases one by one or side by side; a case that fails stops alone."""

from __future__ import annotations

import multiprocessing
import resource
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from miliary_seg.errors import InputError, MiliaryError, NoBrainError, OutputError
from miliary_seg.settings import Settings

if TYPE_CHECKING:
    from miliary_seg.domain.result import CaseResult
    from miliary_seg.domain.volume import BoolArray, Study
    from miliary_seg.load import FoundCase


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """What is the same for every case of one run."""

    output: Path
    settings: Settings
    force: bool = False
    mask: Path | None = None
    """A brain mask (NIfTI) for a run of one case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseOutcome:
    """How one case ended."""

    case: str
    folder: Path | None = None
    """Where its files are; None where it failed."""
    verdict: str = ""
    rows: tuple[dict[str, Any], ...] = ()
    """Its rows of cases.csv."""
    error: MiliaryError | None = None
    seconds: float = 0.0
    timings_s: dict[str, float] = field(default_factory=dict)
    peak_memory_mb: float = 0.0
    """Largest resident size of the process so far (not of this case alone where one process runs several)."""


def run_cases(cases: Sequence[FoundCase], plan: RunPlan, jobs: int = 1) -> Iterator[CaseOutcome]:
    """Run every case and yield each outcome as it ends.

    Parameters
    ----------
    cases
        What ``miliary_seg.load.find_cases`` found.
    plan
        Output folder and settings.
    jobs
        Worker processes; 1 runs in this process.
    """
    if jobs <= 1 or len(cases) <= 1:
        yield from (run_case(case, plan) for case in cases)
        return
    with ProcessPoolExecutor(min(jobs, len(cases)), mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = {pool.submit(run_case, case, plan): case for case in cases}
        for future in as_completed(futures):
            try:
                yield future.result()
            except Exception as error:  # a broken worker must not stop the other cases
                what = f"the worker process ended ({type(error).__name__}); out of memory?"
                yield CaseOutcome(case=futures[future].id, error=MiliaryError(what, todo="run it alone with --jobs 1"))


def run_case(case: FoundCase, plan: RunPlan) -> CaseOutcome:
    """Load, analyse and write one case; an error becomes part of the outcome."""
    start = perf_counter()
    try:
        require_absent(plan.output / case.id, plan.force)
        folder, result, timings = _analyzed_and_written(case, plan)
        from miliary_seg.report import case_rows

        outcome = CaseOutcome(
            case=case.id,
            folder=folder,
            verdict=str(result.decision.verdict),
            rows=tuple(case_rows(result)),
            timings_s=timings,
        )
    except MiliaryError as error:
        outcome = CaseOutcome(case=case.id, error=error)
    except MemoryError:
        what = "not enough memory for this case"
        outcome = CaseOutcome(case=case.id, error=MiliaryError(what, where=case.id, todo="fewer --jobs"))
    except Exception as error:  # an unforeseen error stops this case alone, and is named
        what = f"unforeseen {type(error).__name__} in {_raised_in(error)}"
        outcome = CaseOutcome(case=case.id, error=MiliaryError(what, where=case.id, todo="please report it"))
    return _measured(outcome, start)


def require_writable(folder: Path) -> None:
    """Make the output folder and try a write in it.

    Raises
    ------
    OutputError
        If the folder cannot be made, is a file, or refuses a new file.
    """
    probe = folder / ".miliary-seg-write-test"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        what = f"cannot write here ({error.strerror or type(error).__name__})"
        raise OutputError(what, where=folder, todo="choose another --output") from error


def require_absent(folder: Path, force: bool) -> None:
    """Refuse an existing result before any work is spent on it.

    Raises
    ------
    OutputError
        If the folder exists and ``force`` is not set.
    """
    if folder.exists() and not force:
        raise OutputError("a result is here already", where=folder, todo="add --force to replace it")


def _analyzed_and_written(case: FoundCase, plan: RunPlan) -> tuple[Path, CaseResult, dict[str, float]]:
    from miliary_seg.load import load_case
    from miliary_seg.pipeline import analyze

    start = perf_counter()
    study = load_case(case, plan.settings)
    loaded = perf_counter()
    try:
        result = analyze(study, plan.settings, mask=_mask(plan, study))
    except NoBrainError as error:
        raise NoBrainError(error.what, where=case.path, todo=error.todo) from error
    analyzed = perf_counter()
    folder = result.write(plan.output, force=plan.force)
    return folder, result, {"load": loaded - start, **result.timings_s, "report": perf_counter() - analyzed}


def _mask(plan: RunPlan, study: Study) -> BoolArray | None:
    if plan.mask is None:
        return None
    from miliary_seg.load import read_mask

    if len(study.volumes) != 1:
        raise InputError("--mask needs exactly one series", where=plan.mask, todo="choose it with --series")
    return read_mask(plan.mask, study.volumes[0].grid)


def _measured(outcome: CaseOutcome, start: float) -> CaseOutcome:
    from dataclasses import replace

    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    per_mb = 1024 if sys.platform != "darwin" else 1024 * 1024
    return replace(outcome, seconds=perf_counter() - start, peak_memory_mb=kilobytes / per_mb)


def _raised_in(error: BaseException) -> str:
    """Module and line where an unforeseen error arose (no values: they could identify a patient)."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    if frame is None:
        return "an unknown place"
    return f"{Path(frame.tb_frame.f_code.co_filename).name}:{frame.tb_lineno}"
