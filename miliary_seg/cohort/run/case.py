"""One case of a run, alone: decide whether it must be done, do it, and turn whatever happens into an outcome."""

from __future__ import annotations

import faulthandler
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from miliary_seg.cohort.run.case_errors import located, memory_advice
from miliary_seg.cohort.run.earlier import EarlierNames, free_name
from miliary_seg.cohort.run.log import CaseLog, log_path
from miliary_seg.cohort.run.manifest import (
    Manifest,
    Origin,
    files_of,
    finished,
    is_another_scan,
    origin_of,
    plain_rows,
    read_manifest,
)
from miliary_seg.cohort.run.plan import CaseOutcome, CaseProduct, CaseWork, Finalize, Rows, RunPlan
from miliary_seg.domain.progress import report_progress
from miliary_seg.errors import (
    InputError,
    MiliaryError,
    OutputError,
    PartialOutputError,
    UnreadableFileError,
)

if TYPE_CHECKING:
    from miliary_seg.domain.arrays import BoolArray
    from miliary_seg.domain.result import CaseResult
    from miliary_seg.domain.volume import Study
    from miliary_seg.load import CaseInfo
    from miliary_seg.load.lesions import LesionFiles


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalyzeAndWrite:
    """The work of ``miliary-seg run``: ``OUTPUT/<case>/`` with ``result.json``, the report, tables and label maps."""

    def folder(self, case: str) -> str:
        """Folder of a case below the output folder."""
        from miliary_seg.report.file_names import case_folder

        return case_folder(case)

    def __call__(self, case: CaseInfo, plan: RunPlan, seal: Finalize) -> CaseProduct:
        """Load, analyse and write."""
        from miliary_seg.report import case_rows, write_case
        from miliary_seg.report.file_names import THUMBNAIL
        from miliary_seg.report.html.pictures import thumbnail

        result, timings = analyzed(case, plan)
        start = perf_counter()
        report_progress("report")
        verdict, rows = str(result.decision.verdict), tuple(case_rows(result))
        partial: PartialOutputError | None = None

        def end(draft: Path, missing: str) -> None:
            (draft / THUMBNAIL).write_bytes(thumbnail(result))
            seal(draft, verdict, rows, missing)

        try:
            folder = write_case(result, plan.output, force=True, seal=end)
        except PartialOutputError as error:
            folder, partial = Path(error.where), error
        timings = {**timings, "report": perf_counter() - start}
        return CaseProduct(folder=folder, verdict=verdict, rows=rows, timings_s=timings, error=partial)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseCall:
    """``call(case)`` runs one case and never raises what a case can cause; pickles, for workers anywhere."""

    plan: RunPlan
    work: CaseWork
    records: bool = True
    earlier: EarlierNames = field(default_factory=EarlierNames)

    def folder(self, name: str) -> Path:
        """Folder of a case by its name."""
        return self.plan.output / self.work.folder(name)

    def log_path(self, case: CaseInfo) -> Path | None:
        """Where the log of a case is kept."""
        return log_path(self.plan.output, self.work.folder(case.id)) if self.records else None

    def __call__(self, case: CaseInfo) -> CaseOutcome:
        """Run one case; an error becomes part of the outcome."""
        start = perf_counter()
        with CaseLog(self.log_path(case)) as log:
            with _crash_noted(log):
                outcome = _outcome(self, case, log)
            outcome = replace(outcome, seconds=perf_counter() - start, peak_memory_mb=peak_memory_mb())
            _log_end(log, outcome)
        return outcome


def analyzed(case: CaseInfo, plan: RunPlan) -> tuple[CaseResult, dict[str, float]]:
    """Load and analyse one case of a plan; the result, and seconds by stage.

    Raises
    ------
    MiliaryError
        If it cannot be loaded or analysed.
    """
    from miliary_seg.load import load_case
    from miliary_seg.pipeline import analyze

    start = perf_counter()
    report_progress("load")
    study = load_case(case, plan.settings)
    loaded = perf_counter()
    result = analyze(study, plan.settings, mask=_mask(plan, study), lesions=lesion_files(case, plan))
    return result, {"load": loaded - start, **result.timings_s}


def lesion_files(case: CaseInfo, plan: RunPlan) -> LesionFiles | None:
    """Files of given lesions by series; None where lesions are detected.

    Raises
    ------
    MiliaryError
        If the pattern of the plan names no file, or several, for this case.
    """
    if not plan.lesions:
        return None
    from miliary_seg.load.lesions import resolve

    return resolve(plan.lesions, case)


def versions() -> tuple[tuple[str, str], ...]:
    """Versions that results depend on, of this process."""
    from miliary_seg.software import software

    return tuple(sorted(software().items()))


def peak_memory_mb() -> float:
    """Largest resident size of this process so far; 0 where the system does not tell (no ``resource`` module)."""
    try:
        import resource
    except ImportError:
        return 0.0
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes / (1024 if sys.platform != "darwin" else 1024 * 1024)


def origin_and_name(call: CaseCall, case: CaseInfo) -> tuple[CaseInfo, Origin]:
    """A case by the name that it has or gets in the output folder, and where its result comes from."""
    origin = _origin(case, call.plan)
    return free_name(call.earlier.of_input(case, origin), origin, call.folder), origin


def _outcome(call: CaseCall, case: CaseInfo, log: CaseLog) -> CaseOutcome:
    try:
        _require_versions(call.plan)
        case, origin = origin_and_name(call, case)
        return _kept_or_done(call, case, origin, log)
    except MiliaryError as error:
        return CaseOutcome(case=case.id, error=located(error, case))
    except MemoryError:
        short = MiliaryError("not enough memory for this case", todo=memory_advice(case))
        return CaseOutcome(case=case.id, error=located(short, case))
    except Exception as error:  # an unforeseen error stops this case alone, and is named
        what = f"unforeseen {type(error).__name__} in {_raised_in(error)}"
        unforeseen = MiliaryError(what, todo="please report it, with the log of the case")
        return CaseOutcome(case=case.id, error=located(unforeseen, case))


def _kept_or_done(call: CaseCall, case: CaseInfo, origin: Origin, log: CaseLog) -> CaseOutcome:
    log.write(
        f"case {case.id}: {origin.software}, settings {origin.settings_digest[:8]}, input {origin.input_digest[:8]}"
    )
    folder = call.folder(case.id)
    mark = finished(folder, origin, call.plan)
    if mark is not None:
        return _kept(mark, folder)

    def seal(draft: Path, verdict: str, rows: Rows, missing: str = "") -> None:
        _require_same_scan(folder, origin, call.plan)
        Manifest(
            case=case.id,
            verdict=verdict,
            origin=origin,
            rows=plain_rows(rows),
            files=files_of(draft),
            missing=missing,
        ).write(draft)

    product = call.work(case, call.plan, seal)
    return CaseOutcome(
        case=case.id,
        folder=product.folder,
        verdict=product.verdict,
        rows=product.rows,
        timings_s=product.timings_s,
        error=product.error,
    )


def _require_same_scan(folder: Path, origin: Origin, plan: RunPlan) -> None:
    """Another run may have finished another scan of this name meanwhile: it is not replaced."""
    mark = None if plan.force else read_manifest(folder)
    if mark is not None and is_another_scan(mark.origin, origin):
        what = "another run finished another scan of this name meanwhile"
        raise OutputError(what, where=folder, todo="run the same command again, or name it with --case")


def _kept(mark: Manifest, folder: Path) -> CaseOutcome:
    error = (
        PartialOutputError(mark.missing, where=folder, todo="as before: the input is the same")
        if mark.missing
        else None
    )
    return CaseOutcome(case=mark.case, folder=folder, verdict=mark.verdict, rows=mark.rows, kept=True, error=error)


def _origin(case: CaseInfo, plan: RunPlan) -> Origin:
    software = dict(plan.software or versions())
    try:
        return origin_of(case, plan, software)
    except OSError as error:
        what = f"a file of this case cannot be read ({error.strerror or type(error).__name__})"
        raise UnreadableFileError(what, where=case.path, todo="copy it again") from error


def _require_versions(plan: RunPlan) -> None:
    """Results of workers with other versions would not be equal to the bit."""
    here = versions() if plan.software else ()
    wrong = [
        f"{name} {dict(here).get(name)} not {wanted}" for name, wanted in plan.software if (name, wanted) not in here
    ]
    if wrong:
        what = f"this worker runs other versions ({', '.join(wrong)})"
        raise MiliaryError(what, todo="install the same environment everywhere")


def _mask(plan: RunPlan, study: Study) -> BoolArray | None:
    if plan.mask is None:
        return None
    from miliary_seg.load import read_mask

    if len(study.volumes) != 1:
        raise InputError("--mask needs exactly one series", where=plan.mask, todo="choose it with --series")
    return read_mask(plan.mask, study.volumes[0].grid)


@contextmanager
def _crash_noted(log: CaseLog) -> Iterator[None]:
    """While a case runs, a crash of a native library leaves its place in the case's log (functions and lines only)."""
    if log.file is None or faulthandler.is_enabled():
        yield
        return
    faulthandler.enable(log.file)
    try:
        yield
    finally:
        faulthandler.disable()


def _log_end(log: CaseLog, outcome: CaseOutcome) -> None:
    stages = ", ".join(f"{stage} {seconds:.2f} s" for stage, seconds in outcome.timings_s.items())
    said = f"{outcome.error.code}: {outcome.error.what}; {outcome.error.todo}" if outcome.error else outcome.verdict
    log.write(
        f"{outcome.status} {said} ({stages or 'no stage'}; {outcome.seconds:.2f} s, {outcome.peak_memory_mb:.0f} MB)"
    )


def _raised_in(error: BaseException) -> str:
    """Module and line where an unforeseen error arose (no values: they could identify a patient)."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    if frame is None:
        return "an unknown place"
    return f"{Path(frame.tb_frame.f_code.co_filename).name}:{frame.tb_lineno}"
