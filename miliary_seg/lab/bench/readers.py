"""Two detectors, or a reader and the program, over a cohort: verdicts, lesions and counts of both.

Either one folder of results whose cases hold comparisons (``--detector a --detector b``, or ``--lesions`` beside a
detector), or two folders of results of the same cases.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from miliary_seg.domain.comparison import matched
from miliary_seg.errors import GeometryError, InputError, UnreadableFileError
from miliary_seg.lab.bench.scoring.kappa import Kappa, cohens_kappa
from miliary_seg.lab.bench.sections import Section

RESULT = "result.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadTwice:
    """One series, read by both."""

    case: str
    series: str
    verdict_first: str
    verdict_second: str
    n_both: int
    n_only_first: int
    n_only_second: int
    count_difference_mean: float
    """Of the slices where either sees a lesion: second less first."""
    count_difference_largest: int
    """Of any slice, without its sign."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readers:
    """A cohort, read by both."""

    first: str
    second: str
    series: tuple[ReadTwice, ...]
    verdicts: Kappa

    @property
    def lesion_agreement(self) -> float | None:
        """Lesions of both over the mean number of the two (Dice of lesions); None without lesions."""
        both, first, second = (
            sum(getattr(s, name) for s in self.series) for name in ("n_both", "n_only_first", "n_only_second")
        )
        return 2 * both / (2 * both + first + second) if both + first + second else None


def read_twice(first: Path, second: Path | None = None) -> Readers:
    """Compare two readers over every case of a cohort.

    Parameters
    ----------
    first
        Output folder of a run. Without ``second``, its cases must hold comparisons.
    second
        Output folder of another run over the same scans.

    Raises
    ------
    InputError
        If there is nothing to compare.
    UnreadableFileError
        If a result cannot be read.
    GeometryError
        If the two results of a case are of different scans.
    """
    rows = list(_held(first) if second is None else _paired(first, second))
    if not rows:
        what = "no case of it holds a comparison" if second is None else "the two folders share no case"
        todo = "run with two --detector, or with --lesions and --detector; or give two output folders"
        raise InputError(what, where=first, todo=todo)
    names = {(a, b) for a, b, _ in rows}
    if len(names) > 1:
        listed = "; ".join(f"{a} against {b}" for a, b in sorted(names))
        raise InputError(f"different readers ({listed})", where=first, todo="compare one pair at a time")
    series = tuple(row for _, _, row in rows)
    ((one, other),) = names
    verdicts = cohens_kappa([s.verdict_first for s in series], [s.verdict_second for s in series])
    return Readers(first=one, second=other, series=series, verdicts=verdicts)


def _documents(folder: Path) -> dict[str, tuple[Path, dict[str, Any]]]:
    """Case -> its folder and result."""
    found = {}
    for path in sorted(folder.glob(f"*/{RESULT}")):
        try:
            document = json.loads(path.read_text("utf-8"))
            found[str(document["case"])] = (path.parent, document)
        except (OSError, ValueError, KeyError, TypeError) as error:
            what = f"the result cannot be read ({type(error).__name__})"
            raise UnreadableFileError(what, where=path, todo="run the case again") from error
    return found


def _held(folder: Path) -> Iterator[tuple[str, str, ReadTwice]]:
    for case, (_, document) in _documents(folder).items():
        for series in document["series"]:
            for other in series.get("comparisons", ()):
                counts = (other["slice_counts_first"], other["slice_counts_second"])
                shared = (other["n_both"], other["n_only_first"], other["n_only_second"])
                verdicts = (other["verdict_first"], other["verdict_second"])
                row = _row((case, series["id"]), verdicts, shared, counts)
                yield other["first"]["text"], other["second"]["text"], row


def _paired(first: Path, second: Path) -> Iterator[tuple[str, str, ReadTwice]]:
    ours, theirs = _documents(first), _documents(second)
    for case in sorted(set(ours) & set(theirs)):
        others = {series["id"]: series for series in theirs[case][1]["series"]}
        for series in ours[case][1]["series"]:
            other = others.get(series["id"])
            if other is None:
                continue
            shared = _shared(ours[case][0], series, theirs[case][0], other)
            counts = tuple([row["n_lesions"] for row in one["slices"]] for one in (series, other))
            verdicts = (series["decision"]["verdict"], other["decision"]["verdict"])
            row = _row((case, series["id"]), verdicts, shared, (counts[0], counts[1]))
            yield _source(series), _source(other), row


def _source(series: Mapping[str, Any]) -> str:
    return str(series["detection"].get("source", {}).get("text", "the detector miliary-seg"))


def _shared(ours: Path, one: Mapping[str, Any], theirs: Path, other: Mapping[str, Any]) -> tuple[int, int, int]:
    """Lesions of both, of the first alone, of the second alone."""
    from miliary_seg.load import read_label_map

    maps = [read_label_map(f / s["files"]["lesion_map"]).labels for f, s in ((ours, one), (theirs, other))]
    if not maps[0].grid.same_as(maps[1].grid):
        what = "the two results are of different scans"
        raise GeometryError(what, where=theirs, todo="compare runs over the same scans")
    both = len(matched(*maps))
    return both, len(one["lesions"]) - both, len(other["lesions"]) - both


def _row(
    name: tuple[str, str], verdicts: tuple[str, str], shared: tuple[int, int, int], counts: tuple[list[int], list[int]]
) -> ReadTwice:
    first, second = (np.array(c, dtype=np.int64) for c in counts)
    apart = (second - first)[(first > 0) | (second > 0)]
    return ReadTwice(
        case=name[0],
        series=name[1],
        verdict_first=verdicts[0],
        verdict_second=verdicts[1],
        n_both=shared[0],
        n_only_first=shared[1],
        n_only_second=shared[2],
        count_difference_mean=float(apart.mean()) if apart.size else 0.0,
        count_difference_largest=int(np.abs(apart).max(initial=0)),
    )


def readers_document(readers: Readers) -> dict[str, Any]:
    """Plain values for JSON."""
    return {
        "first": readers.first,
        "second": readers.second,
        "n_series": len(readers.series),
        "kappa": asdict(readers.verdicts),
        "lesion_agreement": readers.lesion_agreement,
        "series": [asdict(row) for row in readers.series],
    }


def readers_sections(readers: Readers) -> Sequence[Section]:
    """Tables for people."""
    kappa = readers.verdicts
    said = "not defined (one answer throughout)" if kappa.value is None else f"{kappa.value:.2f}"
    if kappa.low is not None and kappa.high is not None:
        said += f" ({kappa.low:.2f} to {kappa.high:.2f})"
    shown = [
        ("Series", str(kappa.n)),
        ("Equal verdicts", f"{100 * (kappa.observed or 0):.0f} %"),
        ("Cohen's kappa (95 % interval)", said),
        ("Lesion agreement", "-" if readers.lesion_agreement is None else f"{readers.lesion_agreement:.2f}"),
    ]
    rows = [
        (r.case, r.series, r.verdict_first, r.verdict_second, str(r.n_both), str(r.n_only_first), str(r.n_only_second))
        for r in readers.series
    ]
    names = ("Case", "Series", "First", "Second", "Lesions of both", "First alone", "Second alone")
    title = f"{readers.first} (first) and {readers.second} (second)"
    return (
        Section(title=title, header=("Figure", "Value"), rows=tuple(shown)),
        Section(title="Series by series", header=names, rows=tuple(rows)),
    )
