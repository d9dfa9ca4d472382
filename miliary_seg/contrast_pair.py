"""The scan before contrast agent beside the one after it: may the pair be used, and what took up agent.

The headers are asked first (frame of reference, time, slices), then registration (``locate.refine_rigid``), then the
grey values (``detect.match``). Whatever speaks against the pair is a coded reason, and the pair is not used.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from miliary_seg.detect import MatchedScan, match
from miliary_seg.domain.arrays import BoolArray, Float64Array
from miliary_seg.domain.pair import BEFORE, ContrastPair
from miliary_seg.domain.reason import Reason
from miliary_seg.domain.volume import Volume
from miliary_seg.locate import RigidAlignment, refine_rigid

MOST_HOURS = 2.0
"""From one scan to the other: both are of one sitting, in which a lesion does not change."""
THICKER = 1.5
"""Slices of the scan before that are so many times thicker hide what the other one shows."""
FARTHEST_MM = 20.0
"""Registration starts from the headers and finds its way from 15 mm off (docs/measurements/pair.md)."""
AGREEMENT_MM = 0.3
"""Two fits to halves of the brain agree within 0.04 mm on one person's scans, and not within 0.5 on two people's
(docs/measurements/pair.md)."""
LEAST_IN_VIEW = 0.95
"""Share of the brain that the scan before must show."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PairedScan:
    """What is said of a pair, and the matched scan where it may be used."""

    pair: ContrastPair
    matched: MatchedScan | None = None


def paired(after: Volume, mask: BoolArray, others: Iterable[Volume]) -> PairedScan | None:
    """Lay the scan before contrast agent on the one after it; None where the study holds none, or this is not one.

    Parameters
    ----------
    after
        The scan that is analysed.
    mask
        Its brain, shape (i, j, k).
    others
        The other scans of the study; of several before contrast agent the one most like ``after`` is taken.
    """
    wanted = BEFORE.get(after.sequence.sequence)
    found = [other for other in others if wanted is not None and other.sequence.sequence is wanted]
    if not found:
        return None
    before = min(found, key=lambda one: _unlikeness(after, one))
    pair = ContrastPair(before=before.id)
    against = header_reasons(after, before)
    if against:
        return PairedScan(pair=replace(pair, reasons=against))
    after, before = _finite(after), _finite(before)
    fit = refine_rigid(after, mask, before)
    moved = _moved_mm(fit.matrix, after, mask)
    pair = replace(pair, moved_mm=moved, agreement_mm=_known(fit.agreement_mm), in_view_fraction=fit.in_view_fraction)
    against = registration_reasons(fit, moved)
    if against:
        return PairedScan(pair=replace(pair, reasons=against))
    with threadpool_limits(limits=1):  # sums must not depend on the number of threads
        matched = match(after, mask, before, fit.matrix)
    if isinstance(matched, Reason):
        return PairedScan(pair=replace(pair, reasons=(matched,)))
    return PairedScan(pair=replace(pair, explained_fraction=matched.explained_fraction), matched=matched)


def _unlikeness(after: Volume, before: Volume) -> tuple[object, ...]:
    """Sort key: the plane, then the thickness of slices, then the pixels."""
    thickness = abs(np.log(before.thickness_mm / after.thickness_mm))
    pixels = np.abs(np.log(np.sort(before.grid.spacing_mm) / np.sort(after.grid.spacing_mm))).sum()
    return before.plane != after.plane, round(float(thickness), 2), round(float(pixels), 2), before.id


def header_reasons(after: Volume, before: Volume) -> tuple[Reason, ...]:
    """What the headers say against comparing two scans."""
    reasons = []
    frames = {after.source.frame_of_reference_uid, before.source.frame_of_reference_uid} - {""}
    if len(frames) > 1:
        text = "The scans before and after contrast agent state different frames of reference."
        reasons.append(Reason(code="pair_frames", text=text))
    apart = _hours(before.source.acquired, after.source.acquired)
    if apart is not None and apart > MOST_HOURS:
        text = f"The scans before and after contrast agent were made {apart:.0f} hours apart."
        reasons.append(Reason(code="pair_hours", text=text))
    if apart is not None and apart < 0:
        text = "The scan that is read as before contrast agent was made after the other one."
        reasons.append(Reason(code="pair_order", text=text))
    if before.thickness_mm > THICKER * after.thickness_mm:
        text = f"The slices before contrast agent are thicker ({before.thickness_mm:.1f} mm) than those after it."
        reasons.append(Reason(code="pair_thickness", text=text))
    if not (after.orientation_known and before.orientation_known):
        text = "One of the scans before and after contrast agent states no orientation."
        reasons.append(Reason(code="pair_orientation", text=text))
    return tuple(reasons)


def _hours(before: str, after: str) -> float | None:
    """Hours from one time to the other; None where a header does not state both date and time."""
    moments = []
    for stated in (before, after):
        try:
            moments.append(datetime.strptime(stated[:14], "%Y%m%d%H%M%S"))
        except ValueError:
            return None
    return (moments[1] - moments[0]) / timedelta(hours=1)


def registration_reasons(fit: RigidAlignment, moved_mm: float) -> tuple[Reason, ...]:
    """What a registration says against comparing two scans."""
    if not np.isfinite(fit.agreement_mm):
        return (Reason(code="pair_no_overlap", text="The scans before and after contrast agent hardly overlap."),)
    reasons = []
    if fit.in_view_fraction < LEAST_IN_VIEW:
        text = f"The scan before contrast agent shows only {100 * fit.in_view_fraction:.0f} % of the brain."
        reasons.append(Reason(code="pair_partial_view", text=text))
    if fit.agreement_mm > AGREEMENT_MM:
        text = f"Two halves of the brain are laid {fit.agreement_mm:.1f} mm apart on the scan before contrast agent."
        reasons.append(Reason(code="pair_registration", text=text))
    if moved_mm > FARTHEST_MM:
        text = f"The head lies {moved_mm:.0f} mm from where the header places it before contrast agent."
        reasons.append(Reason(code="pair_moved", text=text))
    return tuple(reasons)


def _moved_mm(matrix: Float64Array, after: Volume, mask: BoolArray) -> float:
    """Farthest that a matrix moves a point of the brain's box."""
    inside = [np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    if not all(side.size for side in inside):
        return 0.0
    corners = np.array(np.meshgrid(*[(side[0], side[-1]) for side in inside])).reshape(3, -1).T
    ras = after.grid.to_ras_mm(corners)
    return float(np.linalg.norm(ras @ matrix[:3, :3].T + matrix[:3, 3] - ras, axis=1).max())


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _finite(volume: Volume) -> Volume:
    """The scan with its least value where it holds none that is finite."""
    known = np.isfinite(volume.voxels)
    if known.all():
        return volume
    least = float(volume.voxels[known].min()) if known.any() else 0.0
    return replace(volume, voxels=np.where(known, volume.voxels, np.float32(least)))
