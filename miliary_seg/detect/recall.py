"""The share of lesions that is found, by diameter, enhancement and slice thickness, as measured on implanted lesions.

Lesions that replace their tissue (1.5-8 mm, 20-150 % above local white matter, a quarter without a sharp edge, rings
from 4 mm on, in the places of metastases) were put into heads, thin and re-imaged at 3 and 5 mm, or acquired at 6.5 mm,
and the program was run at the balanced operating point with weights that have not seen the person: 143 000 lesions in
ten persons on T1, 65 000 in four on FLAIR. The share found follows a logistic curve in the logarithms of diameter and
enhancement. Tables, by place too: docs/measurements/detection.md and decision.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log

from miliary_seg.domain.sequence import Sequence

TYPICAL_ENHANCEMENT = 0.5
"""Enhancement of the lesion whose diameters are stated: half above local white matter, as in small metastases."""
REFERENCE_MM = 3.0
SMALLEST_MM, LARGEST_MM = 1.5, 8.0
"""Smallest and largest diameter of the implanted lesions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecallCurve:
    """Log odds of being found = level + size x ln(diameter / 3 mm) + contrast x ln(enhancement / 0.5)."""

    up_to_mm: float
    """Slice thickness up to which this was measured."""
    level: float
    size: float
    contrast: float

    def share_found(self, diameter_mm: float, enhancement: float) -> float:
        """Share of such lesions that is found, 0 to 1."""
        odds = self.level + self.size * log(diameter_mm / REFERENCE_MM)
        return 1 / (1 + exp(-odds - self.contrast * log(enhancement / TYPICAL_ENHANCEMENT)))

    def diameter_mm(self, share: float, enhancement: float) -> float:
        """Diameter from which on this share of lesions is found."""
        odds = log(share / (1 - share)) - self.level - self.contrast * log(enhancement / TYPICAL_ENHANCEMENT)
        return REFERENCE_MM * exp(odds / self.size)


T1_CURVES = (
    RecallCurve(up_to_mm=2.25, level=2.35, size=4.20, contrast=2.32),
    RecallCurve(up_to_mm=4.0, level=0.87, size=5.17, contrast=2.21),
    RecallCurve(up_to_mm=5.75, level=-0.44, size=4.81, contrast=2.37),
    RecallCurve(up_to_mm=7.0, level=-1.35, size=3.50, contrast=1.82),
)
FLAIR_CURVES = (
    RecallCurve(up_to_mm=2.25, level=-1.25, size=2.83, contrast=5.09),
    RecallCurve(up_to_mm=4.0, level=-2.64, size=4.62, contrast=4.68),
    RecallCurve(up_to_mm=5.75, level=-3.78, size=4.64, contrast=4.42),
)
CURVES = {Sequence.T1C: T1_CURVES, Sequence.T1: T1_CURVES, Sequence.FLAIR: FLAIR_CURVES}
"""Fitted by ``scripts/fit-decision`` (docs/measurements/detection.md)."""
T1_HEADS = "ten persons, T1 (seven scanned after contrast, three without)"
FLAIR_HEADS = "four persons, FLAIR (two scanned, two painted from label maps)"
HEADS = {Sequence.T1C: T1_HEADS, Sequence.T1: T1_HEADS, Sequence.FLAIR: FLAIR_HEADS}
"""In whom it was measured."""


def population(sequence: Sequence) -> str:
    """On what the diameters of a sequence were measured: printed wherever they are; empty where none was."""
    if sequence not in HEADS:
        return ""
    lesions = f"implanted lesions of {SMALLEST_MM:g} to {LARGEST_MM:g} mm that replace their tissue"
    what = f"diameters are those of lesions {TYPICAL_ENHANCEMENT:.0%} above local white matter"
    return f"{lesions}, in {HEADS[sequence]}; {what}"


def recall_curve(thickness_mm: float, sequence: Sequence) -> RecallCurve | None:
    """The curve measured on such slices; None if none was measured (another sequence, or thicker slices).

    Examples
    --------
    >>> thin, thick = recall_curve(1.0, Sequence.T1C), recall_curve(5.0, Sequence.T1C)
    >>> round(thin.share_found(3.0, 0.5), 2), round(thick.share_found(3.0, 0.5), 2)
    (0.91, 0.39)
    """
    return next((curve for curve in CURVES.get(sequence, ()) if thickness_mm <= curve.up_to_mm), None)


def found_diameter_mm(share: float, thickness_mm: float, sequence: Sequence) -> float | None:
    """Diameter from which on a share of typical lesions is found on such slices; None where that was not measured.

    Parameters
    ----------
    share
        For instance 0.5 or 0.9.
    thickness_mm
        Of the slices as acquired, not of an interpolated grid.
    sequence
        What the scan shows.
    """
    curve = recall_curve(thickness_mm, sequence)
    if curve is None:
        return None
    return round(max(curve.diameter_mm(share, TYPICAL_ENHANCEMENT), SMALLEST_MM), 1)
