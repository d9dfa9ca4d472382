"""Trust in a fit: independent quality figures, combined into one calibrated probability.

Figures and calibration: docs/compartments.md and docs/measurements/compartments.md, "Trust".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from miliary_seg.domain.arrays import BoolArray, Float32Array, Float64Array
from miliary_seg.domain.reason import Reason
from miliary_seg.locate.deform import Deformation, atlas_at_lattice, lattice
from miliary_seg.locate.mutual_information import unbiased_information
from miliary_seg.locate.pyramid import WorkingScan
from miliary_seg.locate.transform import apply

DEEP_MM = 6.0
"""Deeper below the brain's surface than this, edges of the head have no influence."""
NEAR_TENTORIUM_MM = 15.0


def inner_signs(scan: WorkingScan, matrix: Float64Array, deformation: Deformation) -> dict[str, float]:
    """Quality figures from the 2 mm scan and the fit; names as in docs/compartments.md."""
    grid = lattice()
    moved = grid.points.positions_mm + grid.field(deformation.coefficients)[:, grid.used]
    positions = apply(matrix, moved)
    inside = scan.contains(scan.to_ijk(positions))
    levels = scan.sample(positions)
    outside, tentorium = atlas_at_lattice()
    deep = inside & (outside < -DEEP_MM)
    near = inside & (outside < 0) & (np.abs(tentorium) < NEAR_TENTORIUM_MM)

    def information(which: BoolArray) -> float:
        return unbiased_information(levels[which], grid.points.classes[which], grid.points.n_tissues)

    return {
        "deep_mutual_information_nats": information(deep),
        "tentorium_mutual_information_nats": information(near),
        "mirror_correlation": _mirror_correlation(levels, deep, grid.used),
    }


def _mirror_correlation(levels: Float32Array, deep: BoolArray, used: BoolArray) -> float:
    """Correlation of grey levels at points that mirror each other across x = 0; the lattice is symmetric."""
    full = np.full(used.shape, np.nan, np.float32)
    full[used] = np.where(deep, levels, np.nan)
    half = used.shape[0] // 2
    left, right = full[:half].ravel(), full[::-1][:half].ravel()
    both = np.isfinite(left) & np.isfinite(right)
    if both.sum() < 200 or left[both].std() == 0 or right[both].std() == 0:
        return 0.0
    return float(np.corrcoef(left[both], right[both])[0, 1])


COEFFICIENTS = {
    "tentorium_mutual_information_nats": 0.90,
    "brain_mutual_information_nats": 2.42,
    "deep_mutual_information_nats": 2.02,
}
"""Slope of the log odds per natural logarithm of each information (fitted;
docs/measurements/compartments.md, "Trust")."""
INTERCEPT = 12.40
FLOOR_NATS = 0.01
RUNNER_UP_SLOPE = -3.45
"""As the runner-up ratio goes from ``RUNNER_UP_FROM`` to 1: a brain fits in one place, a ball in many."""
RUNNER_UP_FROM = 0.85
MAX_TILT_DEG = 50.0
"""Heads lie within this angle of how they usually lie (44 degrees at most in 47 simulated scans)."""
SCALES = (0.70, 1.20)
"""Brain against MNI152 along each axis: people range from .80 to 1.08; children and deformed heads need room."""
MAX_SCALE_RATIO = 1.21
"""Largest over smallest scale: honest headers reach 1.19 (64 scans); a slice spacing wrong by 1.45 gave 1.23 or more,
although each scale alone was plausible."""
PROPORTIONS = {"width_ratio": (0.86, 1.14), "length_ratio": (0.90, 1.20), "height_ratio": (0.86, 1.07)}
"""Scale along one axis over the geometric mean of the others: four standard deviations around people's
(docs/measurements/compartments.md, "Slice spacing that lies")."""
MIN_VIEW_OF_PROPORTIONS = 0.6
"""With less of the head in view, its height is not measured: the fit follows whatever spacing is stated."""
MIN_HEAD_MATCH = 1.077
"""Normalized mutual information of head and rings: right fits start at 1.081, enlarged or shrunk heads end at 1.04, and
a head upside down, found elsewhere than it lies, had 1.073 without another sign of it."""
MIN_SHARE_IN_VIEW = 0.34
"""Slabs with less were up to 95 % wrong without other signs of it, that head upside down had 0.31; clinical slabs of 55
mm start at 0.36."""
DOUBT = 0.1
"""Each finding that no good scan had multiplies the trust by this."""
NO_BRAIN_NATS = {
    "brain_mutual_information_nats": 0.13,
    "tentorium_mutual_information_nats": 0.10,
    "deep_mutual_information_nats": 0.07,
}
"""Below all of these, nothing in the scan resembles a brain: balls, shells, tubes, texture and noise stay below."""
NO_BRAIN_LOG_ODDS = -4.0
"""Below this probability of a right fit, nothing resembles a brain either."""

TOO_MANY_FINDINGS = 3
"""A limb can match the brain by chance, but then turned, without a skull around it and half outside of the scan. None
of the development scans of heads has even one of these findings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Trust (0 to 1), whether there is a brain at all, and the findings against the fit."""

    figure: float
    brain_found: bool
    reasons: tuple[Reason, ...] = ()


def assess_trust(figures: dict[str, float]) -> Trust:
    """Probability that fewer than 2 % of the brain's voxels get a wrong compartment, from the quality figures."""
    odds = log_odds(figures)
    match = float(1 / (1 + np.exp(-odds)))
    findings = _findings(figures)
    figure = match * DOUBT ** len(findings)
    resembles = odds > NO_BRAIN_LOG_ODDS and any(figures[name] >= least for name, least in NO_BRAIN_NATS.items())
    brain_found = resembles and len(findings) < TOO_MANY_FINDINGS
    reasons = list(findings)
    if not brain_found:
        text = "nothing in the scan matches a brain; if it shows one, check orientation and spacing in the header"
        reasons.insert(0, Reason(code="no_brain", text=text))
    elif match < 0.5:
        text = f"the atlas matches poorly ({figures['brain_mutual_information_nats']:.2f} nats within the brain)"
        reasons.insert(0, Reason(code="weak_match", text=text))
    return Trust(figure=figure, brain_found=brain_found, reasons=tuple(reasons))


def log_odds(figures: dict[str, float]) -> float:
    """Log odds that the fit is right, from how well and how uniquely it matches."""
    match = sum(slope * np.log(max(figures[name], FLOOR_NATS)) for name, slope in COEFFICIENTS.items())
    rival = np.clip((figures["runner_up_ratio"] - RUNNER_UP_FROM) / (1 - RUNNER_UP_FROM), 0, 1)
    return float(INTERCEPT + match + RUNNER_UP_SLOPE * rival)


def _findings(figures: dict[str, float]) -> list[Reason]:
    found = []
    if figures["tilt_deg"] > MAX_TILT_DEG:
        text = (
            f"the head seems turned by {figures['tilt_deg']:.0f} degrees against the header's axes: orientation wrong?"
        )
        found.append(Reason(code="odd_orientation", text=text))
    ratio = figures["largest_scale"] / figures["smallest_scale"]
    if figures["smallest_scale"] < SCALES[0] or figures["largest_scale"] > SCALES[1]:
        text = (
            f"the brain's size is implausible ({figures['smallest_scale']:.2f} to {figures['largest_scale']:.2f} of the"
            " template): spacing wrong?"
        )
        found.append(Reason(code="implausible_size", text=text))
    elif ratio > MAX_SCALE_RATIO:
        text = (
            f"the brain is stretched to {ratio:.2f} along one axis against another: slice spacing wrong in the header?"
        )
        found.append(Reason(code="uneven_size", text=text))
    elif odd := _out_of_proportion(figures):
        text = (
            f"the brain's {odd.removesuffix('_ratio')} against its other two dimensions is {figures[odd]:.2f} of the"
            f" template's, people's {PROPORTIONS[odd][0]:.2f} to {PROPORTIONS[odd][1]:.2f}: slice spacing wrong in the"
            " header?"
        )
        found.append(Reason(code="uneven_size", text=text))
    if figures["head_normalized_mutual_information"] < MIN_HEAD_MATCH:
        text = "skull and scalp are not where the atlas expects them: spacing wrong, or little of the head in view?"
        found.append(Reason(code="weak_head_match", text=text))
    if figures["share_in_view"] < MIN_SHARE_IN_VIEW:
        text = f"only {100 * figures['share_in_view']:.0f} % of the head is in view"
        found.append(Reason(code="small_field_of_view", text=text))
    return found


def _out_of_proportion(figures: dict[str, float]) -> str:
    """The dimension that no person has, or an empty string."""
    if figures["share_in_view"] < MIN_VIEW_OF_PROPORTIONS:
        return ""
    return next((name for name, (low, high) in PROPORTIONS.items() if not low <= figures[name] <= high), "")
