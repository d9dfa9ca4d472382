"""Participant level: every session is a case of a batch run; its files get BIDS derivative names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

from miliary_seg.bids.dataset import Choice, Dataset, Session
from miliary_seg.bids.derivatives import write_session
from miliary_seg.cohort import CaseProduct, Finalize, RunPlan, analyzed
from miliary_seg.cohort.run.manifest import NAME as MARK
from miliary_seg.errors import UsageError
from miliary_seg.load import CaseInfo, Problem, find_session
from miliary_seg.report import case_rows
from miliary_seg.report.write import install_folder
from miliary_seg.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteDerivatives:
    """The work of ``miliary-seg bids``: ``OUTPUT/sub-X/[ses-Y/]`` with the files of ``derivatives``."""

    dataset: Path

    def folder(self, case: str) -> str:
        """Folder of a session below the output folder.

        Examples
        --------
        >>> WriteDerivatives(dataset=Path("d")).folder("sub-01_ses-1")
        'sub-01/ses-1'
        """
        return case.replace("_ses-", "/ses-")

    def __call__(self, case: CaseInfo, plan: RunPlan, seal: Finalize) -> CaseProduct:
        """Load, analyse and write."""
        result, timings = analyzed(case, plan)
        start = perf_counter()
        folder = self.folder(case.id)
        verdict = str(result.decision.verdict)
        rows = tuple({**row, "folder": folder} for row in case_rows(result))
        # what may be replaced was decided before the analysis
        with install_folder(plan.output / folder, MARK, force=True) as draft:
            write_session(result, draft, self.dataset)
            seal(draft, verdict, rows)
        timings = {**timings, "report": perf_counter() - start}
        return CaseProduct(folder=plan.output / folder, verdict=verdict, rows=rows, timings_s=timings)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundSessions:
    """What a run on a dataset would do."""

    sessions: tuple[Session, ...]
    cases: tuple[CaseInfo, ...]
    problems: tuple[Problem, ...] = ()


def find_cases(dataset: Dataset, choice: Choice, settings: Settings) -> FoundSessions:
    """Every session that is asked for, as a case; image headers only.

    Raises
    ------
    NoImageError
        If there is nothing to analyse.
    """
    sessions = tuple(dataset.sessions(choice))
    cases: list[CaseInfo] = []
    problems: list[Problem] = []
    for session in sessions:
        if session.images:
            found = find_session(session.images, session.images[0].parent.parent, settings)
            cases += [replace(case, below=dataset.path) for case in found.cases]
            problems += [replace(problem, below=dataset.path) for problem in found.problems]
    return FoundSessions(sessions=sessions, cases=tuple(cases), problems=tuple(problems))


def require_apart(dataset: Path, output: Path) -> None:
    """Refuse to write results among the raw data.

    Raises
    ------
    UsageError
        If the output is the dataset, or within it but not below ``derivatives``.
    """
    inner, outer = output.resolve(), dataset.resolve()
    if inner == outer or (inner.is_relative_to(outer) and inner.relative_to(outer).parts[0] != "derivatives"):
        what = "the results would lie among the raw data"
        raise UsageError(what, where=output, todo=f"write to {dataset / 'derivatives' / 'miliary-seg'}, or elsewhere")


def plan_lines(sessions: Iterable[Session], *, verbose: bool) -> Iterator[str]:
    """What ``--dry-run`` prints: the images of every session, and with ``verbose`` why others are passed over."""
    for session in sessions:
        yield f"{session.id}: {len(session.images)} image(s)"
        yield from (f"  use  {image.name}" for image in session.images)
        if verbose:
            yield from (f"  skip {image.name}: {why}" for image, why in session.skipped)
