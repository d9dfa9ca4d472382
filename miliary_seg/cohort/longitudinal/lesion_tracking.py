"""What became of each lesion between two scans: it persisted, is new, resolved, or that cannot be told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from miliary_seg.domain.arrays import BoolArray, Float64Array
from miliary_seg.domain.lesion import Lesion
from miliary_seg.domain.one_to_one import one_to_one
from miliary_seg.domain.result import SeriesResult
from miliary_seg.domain.sequence import Polarity
from miliary_seg.domain.sequence import Sequence as ScanSequence
from miliary_seg.domain.volume import Volume
from miliary_seg.locate import RigidAlignment

TOLERANCE_MM = 3.0
"""Two lesions this close are one: the size of the lesions sought, and more than aligning and centring err by
(docs/timeline.md)."""
PRESENT_RATIO = 0.75
ABSENT_RATIO = 0.6
"""Signal at the place in the other scan over the lesion's own: at least the first = it is there, at most the second =
it is not, between them it cannot be told (distributions in docs/timeline.md)."""
THIN_MM = 1.5
"""Thinner slices leave a lesion of 2 mm nearly as it is (docs/criteria.md); thicker ones are imitated in both scans."""
MIN_SIGNAL_TO_NOISE = 4.0
"""A lesion whose signal in the other scan would be weaker than this many standard errors could be missed there
(Rose 1948: 5 for certain, 3 at the limit)."""


GROWN_BY, SHRUNK_BY = 0.2, 0.3
"""Relative change of a diameter that RANO-BM calls progression and response (Lin 2015)."""
ALIKE_THICKNESS = 1.2
"""Thicker and thinner slices blur a lesion alike up to this ratio: their difference stays below a voxel."""


class SizeChange(StrEnum):
    """What became of the size of a lesion that both scans measured."""

    GROWN = "grown"
    STABLE = "stable"
    SHRUNK = "shrunk"


class Change(StrEnum):
    """What became of a lesion."""

    PERSISTING = "persisting"
    NEW = "new"
    RESOLVED = "resolved"
    UNCERTAIN = "uncertain"


@dataclass(frozen=True, slots=True, kw_only=True)
class LesionChange:
    """One lesion of an interval; at least one of the two ids is given."""

    fate: Change
    earlier_id: int | None
    later_id: int | None
    centroid_ras_mm: tuple[float, float, float]
    """In the scan of its id (the later one where both are given)."""
    distance_mm: float | None
    """Between both centroids, after aligning; None where only one was detected."""
    signal_ratio: float | None
    """Signal at the same place in the other scan over its own; None where it was detected in both or is out of view."""
    size_change: SizeChange | None = None
    """None where one of the scans did not measure it, or their sizes cannot be compared (``size_change``)."""
    why: str
    """``matched``, ``signal``, ``out_of_view``, ``too_faint``, ``between``, ``other_sequence``, ``sides_unknown`` or
    ``not_aligned``."""


def track_lesions(
    earlier: SeriesResult, later: SeriesResult, alignment: RigidAlignment, tolerance_mm: float = TOLERANCE_MM
) -> tuple[LesionChange, ...]:
    """What became of every lesion that was detected in either scan.

    Lesions detected in both within the tolerance persist. For every other one the scan in which it was not detected is
    measured at the same place: a detector that missed it must not make it new or resolved.

    Parameters
    ----------
    earlier, later
        Two analysed series of one head.
    alignment
        From ``miliary_seg.locate.rigid``.
    tolerance_mm
        Largest distance of two centroids that are one lesion.

    Returns
    -------
    tuple of LesionChange
        Earlier lesions first, in the order of their ids, then new ones and those uncertain only in the later scan.
    """
    if not (_sides_known(earlier) and _sides_known(later)):  # one may be the mirror image of the other
        return tuple(_unknown(earlier, later, "sides_unknown"))
    if not alignment.trusted:
        return tuple(_unknown(earlier, later, "not_aligned"))
    there = [_moved(lesion, alignment.matrix) for lesion in earlier.lesions]
    pairs, distances = match_one_to_one(there, [lesion.centroid_ras_mm for lesion in later.lesions], tolerance_mm)
    matched = {a: (b, d) for (a, b), d in zip(pairs, distances, strict=True)}
    taken = {b for _, b in pairs}
    missed = [i for i in range(len(earlier.lesions)) if i not in matched]
    extra = [i for i in range(len(later.lesions)) if i not in taken]
    resolved = iter(_judged(earlier, later, missed, alignment.matrix, Change.RESOLVED))
    fates = [
        _persisting(lesion, later.lesions[matched[i][0]], matched[i][1], (earlier, later))
        if i in matched
        else next(resolved)
        for i, lesion in enumerate(earlier.lesions)
    ]
    back = np.asarray(np.linalg.inv(alignment.matrix), dtype=np.float64)
    return (*fates, *_judged(later, earlier, extra, back, Change.NEW))


def match_one_to_one(
    first: Sequence[Sequence[float]], second: Sequence[Sequence[float]], tolerance_mm: float
) -> tuple[list[tuple[int, int]], list[float]]:
    """One-to-one pairs within a distance: as many as possible, then as near as possible.

    Parameters
    ----------
    first, second
        Points in mm in one frame.
    tolerance_mm
        Largest distance of a pair.

    Returns
    -------
    pairs, distances
        Indices into both, ascending in the first, and mm.

    Examples
    --------
    >>> match_one_to_one([(0, 0, 0), (2, 0, 0)], [(1.5, 0, 0), (-2.5, 0, 0)], 3.0)
    ([(0, 1), (1, 0)], [2.5, 0.5])
    """
    from scipy.spatial.distance import cdist

    if not len(first) or not len(second):
        return [], []
    distance = cdist(np.asarray(first, float), np.asarray(second, float))
    rows, columns = np.nonzero(distance <= tolerance_mm)
    worth = 2 * tolerance_mm - distance[rows, columns]
    most = 2 * tolerance_mm * min(distance.shape) + 1.0  # one more pair is worth any sum of distances
    pairs = sorted(zip(*(side.tolist() for side in one_to_one(rows, columns, worth, most)), strict=True))
    return pairs, [float(distance[pair]) for pair in pairs]


def same_sequence(first: SeriesResult, second: SeriesResult) -> bool:
    """Whether two series show the same contrast; unknown is never the same as anything."""
    one, other = (series.volume.sequence.sequence for series in (first, second))
    return one is other and one is not ScanSequence.UNKNOWN


def size_change(before: Lesion, now: Lesion, earlier: Volume, later: Volume) -> SizeChange | None:
    """Whether a lesion grew or shrank, by its equivalent diameter: by RANO-BM's share, and by a voxel's length.

    Parameters
    ----------
    before, now
        The lesion in either scan.
    earlier, later
        The scans.

    Returns
    -------
    SizeChange or None
        None where slices differ so much in thickness that they blur a small lesion differently.
    """
    thin, thick = sorted((earlier.thickness_mm, later.thickness_mm))
    if thick > max(THIN_MM, ALIKE_THICKNESS * thin):
        return None
    voxel_mm = max(*earlier.grid.spacing_mm, *later.grid.spacing_mm)
    old, new = before.equivalent_diameter_mm, now.equivalent_diameter_mm
    if new - old >= max(GROWN_BY * old, voxel_mm):
        return SizeChange.GROWN
    return SizeChange.SHRUNK if old - new >= max(SHRUNK_BY * old, voxel_mm) else SizeChange.STABLE


def _persisting(
    before: Lesion, now: Lesion, distance_mm: float, scans: tuple[SeriesResult, SeriesResult]
) -> LesionChange:
    return LesionChange(
        fate=Change.PERSISTING,
        earlier_id=before.id,
        later_id=now.id,
        centroid_ras_mm=now.centroid_ras_mm,
        distance_mm=distance_mm,
        signal_ratio=None,
        size_change=size_change(before, now, scans[0].volume, scans[1].volume) if same_sequence(*scans) else None,
        why="matched",
    )


def _judged(
    own: SeriesResult, other: SeriesResult, indices: Sequence[int], to_other: Float64Array, absent: Change
) -> list[LesionChange]:
    """Fates of lesions that only one scan's detector saw, from the signal in the other scan."""
    lesions = [own.lesions[i] for i in indices]
    same = same_sequence(own, other)
    if not same:
        return [_single(lesion, absent, Change.UNCERTAIN, "other_sequence", None) for lesion in lesions]
    if not lesions:
        return []
    ratios, faint = _signal_ratios(own, other, lesions, to_other)
    judged = [_fate(ratio, bool(weak), absent) for ratio, weak in zip(ratios, faint, strict=True)]
    return [
        _single(lesion, absent, fate, why, ratio)
        for lesion, (fate, why), ratio in zip(lesions, judged, ratios, strict=True)
    ]


def _fate(ratio: float | None, faint: bool, absent: Change) -> tuple[Change, str]:
    if ratio is None:
        return Change.UNCERTAIN, "out_of_view"
    if faint:
        return Change.UNCERTAIN, "too_faint"
    if ratio >= PRESENT_RATIO:
        return Change.PERSISTING, "signal"
    return (absent, "signal") if ratio <= ABSENT_RATIO else (Change.UNCERTAIN, "between")


def _signal_ratios(
    own: SeriesResult, other: SeriesResult, lesions: Sequence[Lesion], to_other: Float64Array
) -> tuple[list[float | None], BoolArray]:
    """Signal of the other scan over the own one for each lesion (None = out of view), and who is too faint there.

    The mean of two ratios: at the very place, which a neighbouring vessel disturbs least, and of the largest signals
    nearby, which a brain that deformed a little disturbs least.
    """
    from miliary_seg.detect import brain_spread, signal_at

    centres = np.array([lesion.centroid_ras_mm for lesion in lesions])
    diameters = np.array([lesion.equivalent_diameter_mm for lesion in lesions])
    unit, other_unit = (brain_spread(s.volume, s.location.brain_mask) for s in (own, other))
    slab = _slab(other.volume)
    back_turned = None if slab is None else to_other[:3, :3].T @ slab  # a rotation's inverse is its transpose
    mine = signal_at(own.volume, centres, diameters, slab_mm=back_turned) / unit
    there = signal_at(other.volume, centres, diameters, to_other, slab_mm=_slab(own.volume)) / other_unit
    sign = np.array([-1.0 if lesion.polarity is Polarity.DARK else 1.0 for lesion in lesions])[:, None]
    mine, there = sign * mine, sign * there  # dark lesions count downwards
    middle = mine.shape[1] // 2
    strongest = np.maximum(mine.max(axis=1), 1e-9)
    voxels_in_core = np.maximum(np.pi / 6 * diameters**3 / other.volume.grid.voxel_volume_mm3, 1.0)
    error = other.detection.noise_sigma / other_unit / np.sqrt(voxels_in_core)
    faint = ~(mine[:, middle] >= MIN_SIGNAL_TO_NOISE * error)
    centred = there[:, middle] / np.where(faint, np.inf, mine[:, middle])
    ratio = np.where(np.isfinite(there.min(axis=1)), (there.max(axis=1) / strongest + centred) / 2, np.nan)
    return [float(r) if np.isfinite(r) else None for r in ratio], faint


def _slab(volume: Volume) -> Float64Array | None:
    """Vector across the slices, as long as they are thick, in RAS+ mm; None where they are thin."""
    return volume.slice_normal * volume.thickness_mm if volume.thickness_mm > THIN_MM else None


def _moved(lesion: Lesion, matrix: Float64Array) -> list[float]:
    return [float(x) for x in matrix[:3, :3] @ np.asarray(lesion.centroid_ras_mm) + matrix[:3, 3]]


def _single(lesion: Lesion, absent: Change, fate: Change, why: str, ratio: float | None) -> LesionChange:
    earlier = absent is Change.RESOLVED
    return LesionChange(
        fate=fate,
        earlier_id=lesion.id if earlier else None,
        later_id=None if earlier else lesion.id,
        centroid_ras_mm=lesion.centroid_ras_mm,
        distance_mm=None,
        signal_ratio=ratio,
        why=why,
    )


def _unknown(earlier: SeriesResult, later: SeriesResult, why: str) -> list[LesionChange]:
    sides = ((earlier, Change.RESOLVED), (later, Change.NEW))
    return [_single(x, absent, Change.UNCERTAIN, why, None) for series, absent in sides for x in series.lesions]


def _sides_known(series: SeriesResult) -> bool:
    fit = series.location.registration
    return series.volume.orientation_known and fit.orientation_known and not fit.reoriented
