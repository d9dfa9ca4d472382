"""Scans put together: every figure of the agreement with its interval."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from miliary_seg.domain.arrays import BoolArray, Float64Array
from miliary_seg.lab.bench.scoring.cases import CaseScore
from miliary_seg.lab.bench.scoring.froc import Froc, froc, sensitivity_at
from miliary_seg.lab.bench.scoring.intervals import Estimate, median_over_heads, ratio_over_heads
from miliary_seg.lab.bench.scoring.verdicts import VerdictTable, verdict_table

DIAMETER_EDGES_MM = (0.0, 1.5, 3.0, 5.0, 8.0, 12.0, np.inf)
"""Bins of docs/detection.md: below the pixel, 1.5-3 and 3-5 mm (miliary), 5-8, 8-12, and larger masses."""
CONTRAST_EDGES = (0.0, 3.0, 5.5, 10.0, 17.0, 30.0, np.inf)
"""In noise standard deviations: the bins of docs/detection.md."""
FALSE_PER_SCAN = (1.0, 5.0, 20.0, 100.0)
"""Rates at which the FROC is read out."""
DICE_FROM_MM = 4.0
"""Smaller lesions are a few voxels: their Dice says more about the grid than about the outline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BinRow:
    """Sensitivity for lesions of one size, contrast, or both."""

    diameter_mm: tuple[float, float] | None
    contrast: tuple[float, float] | None
    sensitivity: Estimate


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pooled:
    """All figures over some scans; definitions and units in docs/bench.md."""

    n_scans: int
    n_heads: int
    n_reference: int
    n_predicted: int
    figures: dict[str, Estimate]
    by_diameter: tuple[BinRow, ...]
    by_contrast: tuple[BinRow, ...]
    by_both: tuple[BinRow, ...]
    froc: Froc | None
    froc_points: dict[float, Estimate] = field(default_factory=dict)
    """False marks a scan -> sensitivity."""
    verdicts: VerdictTable | None = None


def pooled(scores: Sequence[CaseScore]) -> Pooled:
    """Put scans together."""
    heads = [score.head for score in scores]
    answered = [
        (s.given.verdict, s.given.truth_met)
        for s in scores
        if s.given.verdict is not None and s.given.truth_met is not None
    ]
    marked = [s for s in scores if s.marks is not None]
    marks = [s.marks for s in marked if s.marks is not None]
    curve = froc([s.head for s in marked], marks, [s.n_slices for s in marked]) if marks else None
    points = {rate: sensitivity_at([s.head for s in marked], marks, rate) for rate in FALSE_PER_SCAN} if curve else {}
    return Pooled(
        n_scans=len(scores),
        n_heads=len(set(heads)),
        n_reference=sum(len(s.hit) for s in scores),
        n_predicted=sum(len(s.false) for s in scores),
        figures=_figures(scores, heads),
        by_diameter=_bins(scores, _in_diameter, DIAMETER_EDGES_MM, "diameter_mm"),
        by_contrast=_bins(scores, _in_contrast, CONTRAST_EDGES, "contrast"),
        by_both=_both(scores),
        froc=curve,
        froc_points=points,
        verdicts=verdict_table(answered) if answered else None,
    )


def _figures(scores: Sequence[CaseScore], heads: list[str]) -> dict[str, Estimate]:
    with_slices = [s for s in scores if s.n_slices]
    with_sections = [s for s in with_slices if s.false_sections is not None]
    sliced = [(s.head, s.count_error) for s in scores if s.count_error is not None]
    errors = [error for _, error in sliced]
    where = [head for head, _ in sliced]
    slices = [error.size for error in errors]
    large = [s.dice[_reference_diameters(s) >= DICE_FROM_MM] if s.dice.size else s.dice for s in scores]
    return {
        "sensitivity": ratio_over_heads(heads, [s.hit.sum() for s in scores], [s.hit.size for s in scores]),
        "precision": ratio_over_heads(heads, [(~s.false).sum() for s in scores], [s.false.size for s in scores]),
        "false_per_scan": ratio_over_heads(heads, [s.false.sum() for s in scores], [1] * len(scores)),
        "false_per_slice": _rate(with_slices, lambda s: float(s.false.sum())),
        "false_sections_per_slice": _rate(with_sections, lambda s: float(s.false_sections or 0)),
        "repeats_per_scan": ratio_over_heads(heads, [s.repeats for s in scores], [1] * len(scores)),
        "merged_per_scan": ratio_over_heads(heads, [s.merged for s in scores], [1] * len(scores)),
        "count_error_mean_absolute": ratio_over_heads(where, [np.abs(e).sum() for e in errors], slices),
        "count_error_bias": ratio_over_heads(where, [e.sum() for e in errors], slices),
        "dice_median": median_over_heads(heads, [s.dice for s in scores]),
        "dice_median_from_4_mm": median_over_heads(heads, large),
        "volume_error_median": median_over_heads(heads, [s.volume_error for s in scores]),
        "volume_error_median_absolute": median_over_heads(heads, [np.abs(s.volume_error) for s in scores]),
    }


def _rate(scores: Sequence[CaseScore], number: Callable[[CaseScore], float]) -> Estimate:
    """Numbers a slice, over the scans whose slices are known."""
    heads = [s.head for s in scores]
    return ratio_over_heads(heads, [number(s) for s in scores], [s.n_slices for s in scores])


def _reference_diameters(score: CaseScore) -> Float64Array:
    diameters: Float64Array = score.given.reference.diameters_mm[score.matching.reference]
    return diameters


Chooser = Callable[[CaseScore, float, float], BoolArray]


def _in_diameter(score: CaseScore, low: float, high: float) -> BoolArray:
    size = score.given.reference.diameters_mm
    return np.asarray((size >= low) & (size < high))


def _in_contrast(score: CaseScore, low: float, high: float) -> BoolArray:
    contrast = score.given.reference.contrasts
    return np.asarray((contrast >= low) & (contrast < high))


def _bins(scores: Sequence[CaseScore], chosen: Chooser, edges: Sequence[float], name: str) -> tuple[BinRow, ...]:
    rows = []
    for low, high in pairwise(edges):
        found = _sensitivity(scores, [chosen(s, low, high) for s in scores])
        if found.n:
            ends: dict[str, Any] = {"diameter_mm": None, "contrast": None, name: (low, high)}
            rows.append(BinRow(sensitivity=found, **ends))
    return tuple(rows)


def _both(scores: Sequence[CaseScore]) -> tuple[BinRow, ...]:
    rows = []
    for low, high in pairwise(DIAMETER_EDGES_MM):
        for faint, bright in pairwise(CONTRAST_EDGES):
            chosen = [_in_diameter(s, low, high) & _in_contrast(s, faint, bright) for s in scores]
            found = _sensitivity(scores, chosen)
            if found.n:
                rows.append(BinRow(diameter_mm=(low, high), contrast=(faint, bright), sensitivity=found))
    return tuple(rows)


def _sensitivity(scores: Sequence[CaseScore], chosen: Sequence[BoolArray]) -> Estimate:
    found = [int((s.hit & mine).sum()) for s, mine in zip(scores, chosen, strict=True)]
    return ratio_over_heads([s.head for s in scores], found, [int(mine.sum()) for mine in chosen])
