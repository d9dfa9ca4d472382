"""The images of one BIDS session as one case: what cannot be read of it stays in view of the decision."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from miliary_seg.domain.reason import Reason
from miliary_seg.domain.sequence import SequenceEvidence
from miliary_seg.load.cases import find_together
from miliary_seg.load.found import FoundCase, FoundCases, FoundSeries, Problem, safe_name, unique_names
from miliary_seg.load.label_maps import stem
from miliary_seg.settings import Settings


def find_session(files: Iterable[str | Path], folder: str | Path, settings: Settings | None = None) -> FoundCases:
    """The images of one BIDS session, chosen by the caller, as one case; headers only.

    A file that cannot be read is a problem, and a series of the case with its error too: no study may be negative while
    one of its series is unseen.

    Parameters
    ----------
    files
        Images with BIDS names of one participant and session.
    folder
        The folder that they come from, for messages.
    settings
        As in ``find_cases``.
    """
    found = find_together(files, Path(folder), (settings or Settings()).load)
    if len(found.cases) != 1 or not found.problems:
        return found
    return replace(found, cases=(_with_unread(found.cases[0], found.problems),))


def _with_unread(case: FoundCase, problems: Iterable[Problem]) -> FoundCase:
    unread = [_unread(problem) for problem in problems]
    ids = unique_names([series.id for series in (*case.series, *unread)])
    caveats = [
        Reason(code="series_not_readable", text=f"Series {series.id} is not analysed: {series.why}.")
        for series in unread
    ]
    every = tuple(replace(series, id=name) for series, name in zip((*case.series, *unread), ids, strict=True))
    return replace(case, series=every, caveats=(*case.caveats, *caveats))


def _unread(problem: Problem) -> FoundSeries:
    return FoundSeries(
        id=safe_name(stem(problem.path), "volume"),
        format="NIfTI",
        modality=None,
        sequence=SequenceEvidence(),
        eligible=False,
        why=problem.error.what,
        error=problem.error,
        paths=(problem.path,),
    )
