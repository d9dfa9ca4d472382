"""What a run would do with each case, without doing it."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from miliary_seg.cohort.run.case import AnalyzeAndWrite, CaseCall, origin_and_name
from miliary_seg.cohort.run.earlier import EarlierNames
from miliary_seg.cohort.run.manifest import finished
from miliary_seg.cohort.run.plan import CaseWork, RunPlan
from miliary_seg.errors import MiliaryError

if TYPE_CHECKING:
    from miliary_seg.load import CaseInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class CasePreview:
    """What would become of one case."""

    case: str
    path: Path
    """Where it was found."""
    folder: Path
    """Where its results are or would be."""
    action: str
    """``run``, ``run again``, ``keep`` or ``refuse``."""
    why: str


def preview(
    cases: Sequence[CaseInfo], plan: RunPlan, work: CaseWork | None = None
) -> Generator[CasePreview, None, None]:
    """Say of each case whether it would be run, kept or refused. Reads its files, writes nothing.

    Parameters
    ----------
    cases
        What ``miliary_seg.load.find_cases`` found.
    plan, work
        As for ``run_cases``.
    """
    earlier = EarlierNames.of(plan.output, cases)
    call = CaseCall(plan=plan, work=work or AnalyzeAndWrite(), records=False, earlier=earlier)
    for case in cases:
        yield _preview(call, earlier.of_place(case))


def _preview(call: CaseCall, case: CaseInfo) -> CasePreview:
    folder = call.folder(case.id)
    try:
        if not case.eligible:
            raise next((series.error for series in case.series if series.error), MiliaryError("no series to analyse"))
        case, origin = origin_and_name(call, case)
        folder = call.folder(case.id)
        mark = finished(folder, origin, call.plan)
    except MiliaryError as error:
        said = "; ".join(part for part in (error.what, error.todo) if part)
        return CasePreview(case=case.id, path=case.path, folder=folder, action="refuse", why=said)
    if mark is not None:
        action, why = "keep", f"finished: {mark.verdict}"
    elif folder.exists() and any(folder.iterdir()):
        action, why = "run again", "--force" if call.plan.force else "its input, choices or versions changed"
    else:
        action, why = "run", "new"
    return CasePreview(case=case.id, path=case.path, folder=folder, action=action, why=why)
