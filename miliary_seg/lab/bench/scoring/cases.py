"""One scan against its reference."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from miliary_seg.domain.arrays import BoolArray, Float64Array, Int64Array
from miliary_seg.domain.decision import Verdict
from miliary_seg.lab.bench.scoring.findings import Findings
from miliary_seg.lab.bench.scoring.froc import Marks, marks_of
from miliary_seg.lab.bench.scoring.matching import Matching, MatchRule, match


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CaseInput:
    """What is known of one scan before it is scored."""

    case: str
    predicted: Findings
    reference: Findings
    head: str = ""
    """Whose head it is: scans of one head are resampled together. Empty = the case itself."""
    group: str = ""
    """Free label that tables are split by (for instance the slice thickness)."""
    n_slices: int | None = None
    """Slices that rates and count errors are over; None = not known."""
    slices: tuple[int, ...] | None = None
    """Which slices those are (the ones that show brain); None = all."""
    candidates: Findings | None = None
    """Places with a score for the FROC, accepted or not; None = the predicted lesions, where they have scores."""
    verdict: Verdict | None = None
    probability: float | None = None
    """Predicted P(criteria met)."""
    truth_met: bool | None = None
    """Whether the reference meets the criteria."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CaseScore:
    """One scan, scored."""

    given: CaseInput
    rule: str
    """``overlap`` or ``distance``."""
    matching: Matching
    hit: BoolArray
    """Shape (reference lesions,): whether each was found."""
    false: BoolArray
    """Shape (predicted lesions,): whether each has no reference lesion."""
    repeats: int
    """False ones that touch a reference lesion which another one found: a lesion split in two."""
    merged: int
    """Missed lesions that touch a predicted one which found another: two lesions taken for one."""
    count_error: Int64Array | None
    """Predicted minus reference count of each slice; None where slices are not known."""
    false_sections: int | None
    """False lesions counted once for every slice that shows them."""
    dice: Float64Array
    """Of each pair with voxels on one grid."""
    volume_error: Float64Array
    """(predicted - reference) / reference volume of each pair of known diameters."""
    marks: Marks | None = field(default=None)

    @property
    def head(self) -> str:
        """The unit of resampling."""
        return self.given.head or self.given.case

    @property
    def n_slices(self) -> int:
        """Slices that rates are over; 0 where not known."""
        return len(self.given.slices) if self.given.slices is not None else self.given.n_slices or 0


def score_case(given: CaseInput, rule: MatchRule) -> CaseScore:
    """Score one scan.

    Raises
    ------
    GeometryError
        If overlap is asked for and both sides do not lie on one grid.
    UsageError
        If a lesion lies on a slice that does not exist.
    """
    predicted, reference = given.predicted, given.reference
    matching = match(predicted, reference, rule)
    hit = np.zeros(len(reference), dtype=np.bool_)
    false = np.ones(len(predicted), dtype=np.bool_)
    hit[matching.reference], false[matching.predicted] = True, False
    edges = matching.edges
    repeats = np.unique(edges.predicted[false[edges.predicted] & hit[edges.reference]]).size
    merged = np.unique(edges.reference[~hit[edges.reference] & ~false[edges.predicted]]).size
    candidates = given.candidates if given.candidates is not None else predicted
    scored = bool(np.isfinite(candidates.scores).all()) and (len(candidates) > 0 or given.candidates is not None)
    return CaseScore(
        given=given,
        rule=rule.resolved(predicted, reference),
        matching=matching,
        hit=hit,
        false=false,
        repeats=int(repeats),
        merged=int(merged),
        count_error=_count_error(given),
        false_sections=_sections(predicted, false),
        dice=_dice(predicted, reference, matching),
        volume_error=_volume_error(predicted, reference, matching),
        marks=marks_of(candidates, reference, rule) if scored else None,
    )


def _count_error(given: CaseInput) -> Int64Array | None:
    if given.n_slices is None:
        return None
    counts = [side.slice_counts(given.n_slices) for side in (given.predicted, given.reference)]
    if counts[0] is None or counts[1] is None:
        return None
    error: Int64Array = counts[0] - counts[1]
    return error if given.slices is None else error[list(given.slices)]


def _sections(predicted: Findings, false: BoolArray) -> int | None:
    if predicted.slices is None:
        return None
    return sum(len(set(predicted.slices[row])) for row in np.flatnonzero(false))


def _dice(predicted: Findings, reference: Findings, matching: Matching) -> Float64Array:
    """2 |A and B| / (|A| + |B|) of each pair, 0 where they do not touch; empty where there are no voxels to compare."""
    a, b = predicted.labels, reference.labels
    if a is None or b is None or not a.grid.same_as(b.grid, atol_mm=0.1):
        return np.zeros(0)
    first, second = np.asarray(a.labels), np.asarray(b.labels)
    of_reference = np.zeros(len(predicted) + 1, dtype=np.int64)
    of_reference[matching.predicted + 1] = matching.reference + 1
    same = (first > 0) & (second > 0) & (of_reference[first] == second)
    shared = np.bincount(second[same].astype(np.int64), minlength=len(reference) + 1)[matching.reference + 1]
    sizes_a = np.bincount(first.ravel(), minlength=len(predicted) + 1)[matching.predicted + 1]
    sizes_b = np.bincount(second.ravel(), minlength=len(reference) + 1)[matching.reference + 1]
    dice: Float64Array = 2 * shared / np.maximum(sizes_a + sizes_b, 1)
    return dice


def _volume_error(predicted: Findings, reference: Findings, matching: Matching) -> Float64Array:
    ratio = predicted.diameters_mm[matching.predicted] / reference.diameters_mm[matching.reference]
    error: Float64Array = ratio[np.isfinite(ratio)] ** 3 - 1
    return error
