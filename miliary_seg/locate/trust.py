"""Whether a fit may be used: signs that do not depend on each other, joined into one calibrated figure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from miliary_seg.domain.reason import Reason

INTERCEPT = 0.0
MIN_BRAIN_INFORMATION_NATS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """The figure (0 to 1), whether there is a brain at all, and what speaks against the fit."""

    figure: float
    brain_found: bool
    reasons: tuple[Reason, ...] = ()


def judge(figures: dict[str, float]) -> Trust:
    """Probability that fewer than 2 % of the brain's voxels get a wrong compartment, from the quality figures."""
    brain = figures["brain_mutual_information_nats"]
    reasons = []
    if brain < 0.085:
        reasons.append(Reason(code="weak_match", text=f"brain match {brain:.3f} nats is below 0.085"))
    if figures["head_normalized_mutual_information"] < 1.085:
        reasons.append(Reason(code="weak_match", text="the head hardly matches the template"))
    if figures["share_in_view"] < 0.28:
        reasons.append(Reason(code="small_field_of_view", text=f"{100 * figures['share_in_view']:.0f} % in view"))
    if figures["tilt_deg"] > 50:
        reasons.append(Reason(code="odd_orientation", text=f"head tilted by {figures['tilt_deg']:.0f} degrees"))
    if figures["smallest_scale"] < 0.72 or figures["largest_scale"] > 1.15:
        reasons.append(Reason(code="implausible_size", text="the brain's size is implausible"))
    figure = float(1 / (1 + np.exp(-(brain - 0.1) * 60))) * (0.3 if reasons else 1.0)
    return Trust(figure=figure, brain_found=brain >= MIN_BRAIN_INFORMATION_NATS, reasons=tuple(reasons))
