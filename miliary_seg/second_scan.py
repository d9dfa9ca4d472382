"""A second scan of the same study, laid on the one that is analysed: may it be used, and where does it lie.

The headers are asked first, then registration (``locate.refine_rigid``). Whatever speaks against it is a coded reason.
``contrast_pair`` uses it for the scan before contrast agent, ``flair_signal`` for the FLAIR.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeVar

import numpy as np

from miliary_seg.domain.arrays import BoolArray, Float64Array
from miliary_seg.domain.pair import SecondScan
from miliary_seg.domain.reason import Reason
from miliary_seg.domain.volume import Volume
from miliary_seg.locate import RigidAlignment, refine_rigid

Pair = TypeVar("Pair", bound=SecondScan)

MOST_HOURS = 2.0
"""From one scan to the other: both are of one sitting, in which a lesion does not change."""
FARTHEST_MM = 20.0
"""Registration starts from the headers and finds its way from 15 mm off (docs/measurements/pair.md)."""
AGREEMENT_MM = 0.3
"""Two fits to halves of the brain agree within 0.04 mm on one person's T1 and within 0.11 mm on T1 and FLAIR, and not
within 0.4 on two people's (docs/measurements/pair.md)."""
LEAST_IN_VIEW = 0.95
"""Share of the brain that the second scan must show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """How the two scans are called in reasons."""

    code: str
    """Prefix of the codes."""
    both: str
    """Both scans, as the subject of a sentence."""
    second: str
    """The second scan, as the subject of a sentence."""


def lay(scan: Volume, mask: BoolArray, second: Volume, pair: Pair, wording: Wording) -> tuple[Pair, Float64Array]:
    """Register a second scan to one that is analysed.

    Parameters
    ----------
    scan
        The scan that is analysed.
    mask
        Its brain, shape (i, j, k).
    second
        The other scan.
    pair
        What is said of both so far.
    wording
        How they are called in reasons.

    Returns
    -------
    Pair
        With the figures of the registration and what they say against it.
    array
        RAS+ mm of ``scan`` to RAS+ mm of ``second``, shape (4, 4).
    """
    fit = refine_rigid(scan, mask, second)
    moved = _moved_mm(fit.matrix, scan, mask)
    said = replace(
        pair,
        moved_mm=moved,
        agreement_mm=fit.agreement_mm if np.isfinite(fit.agreement_mm) else None,
        in_view_fraction=fit.in_view_fraction,
        reasons=_registration_reasons(fit, moved, wording),
    )
    return said, fit.matrix


def unlikeness(scan: Volume, other: Volume) -> tuple[object, ...]:
    """Sort key: the plane, then the thickness of slices, then the pixels."""
    thickness = abs(np.log(other.thickness_mm / scan.thickness_mm))
    pixels = np.abs(np.log(np.sort(other.grid.spacing_mm) / np.sort(scan.grid.spacing_mm))).sum()
    return other.plane != scan.plane, round(float(thickness), 2), round(float(pixels), 2), other.id


def header_reasons(scan: Volume, second: Volume, wording: Wording) -> tuple[Reason, ...]:
    """What the headers say against comparing two scans."""
    reasons = []
    apart = hours_apart(second, scan)
    if apart is not None and abs(apart) > MOST_HOURS:
        text = f"{wording.both} were made {abs(apart):.0f} hours apart."
        reasons.append(Reason(code=f"{wording.code}_hours", text=text))
    if not (scan.orientation_known and second.orientation_known):
        text = f"{wording.both} do not both state an orientation."
        reasons.append(Reason(code=f"{wording.code}_orientation", text=text))
    return tuple(reasons)


def hours_apart(before: Volume, after: Volume) -> float | None:
    """Hours from one scan to the other; None where a header does not state both date and time."""
    moments = []
    for stated in (before.source.acquired, after.source.acquired):
        try:
            moments.append(datetime.strptime(stated[:14], "%Y%m%d%H%M%S"))
        except ValueError:
            return None
    return (moments[1] - moments[0]) / timedelta(hours=1)


def _registration_reasons(fit: RigidAlignment, moved_mm: float, wording: Wording) -> tuple[Reason, ...]:
    """What a registration says against comparing two scans."""
    if fit.mirrored:
        text = f"{wording.both} seem to be mirror images of each other: the header of one swaps left and right."
        return (Reason(code=f"{wording.code}_mirrored", text=text),)
    if not np.isfinite(fit.agreement_mm):
        return (Reason(code=f"{wording.code}_no_overlap", text=f"{wording.both} hardly overlap."),)
    reasons = []
    if fit.in_view_fraction < LEAST_IN_VIEW:
        text = f"{wording.second} shows only {100 * fit.in_view_fraction:.0f} % of the brain."
        reasons.append(Reason(code=f"{wording.code}_partial_view", text=text))
    if fit.agreement_mm > AGREEMENT_MM:
        text = f"{wording.both} do not fit: two halves of the brain are laid {fit.agreement_mm:.1f} mm apart."
        reasons.append(Reason(code=f"{wording.code}_registration", text=text))
    if fit.two_people:
        text = f"{wording.both} fit hardly better than mirror images would: they may be two people's."
        reasons.append(Reason(code=f"{wording.code}_person", text=text))
    if moved_mm > FARTHEST_MM:
        text = f"{wording.second} lies {moved_mm:.0f} mm from where its header places it."
        reasons.append(Reason(code=f"{wording.code}_moved", text=text))
    return tuple(reasons)


def _moved_mm(matrix: Float64Array, scan: Volume, mask: BoolArray) -> float:
    """Farthest that a matrix moves a point of the brain's box."""
    inside = [np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    if not all(side.size for side in inside):
        return 0.0
    corners = np.array(np.meshgrid(*[(side[0], side[-1]) for side in inside])).reshape(3, -1).T
    ras = scan.grid.to_ras_mm(corners)
    return float(np.linalg.norm(ras @ matrix[:3, :3].T + matrix[:3, 3] - ras, axis=1).max())


def finite(volume: Volume) -> Volume:
    """The scan with its least value where it holds none that is finite."""
    known = np.isfinite(volume.voxels)
    if known.all():
        return volume
    least = float(volume.voxels[known].min()) if known.any() else 0.0
    return replace(volume, voxels=np.where(known, volume.voxels, np.float32(least)))
