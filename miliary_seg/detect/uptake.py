"""What takes up contrast agent: the scan before it, matched in grey values to the one after it, and subtracted.

Both scans are divided by the local level of white matter (CT in HU stays as it is). What a grey value before contrast
agent becomes after it, where nothing is taken up, is the median over the brain: two protocols that show grey and white
matter differently can be compared. docs/detection.md, "The pair", and docs/measurements/pair.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage as ndi

from miliary_seg.detect.white_matter import TissueBlocks, WhiteLevel, local_mean, tissue_blocks
from miliary_seg.domain.arrays import BoolArray, Float32Array, Float64Array, IndexArray
from miliary_seg.domain.pair import Enhances, Uptake
from miliary_seg.domain.reason import Reason
from miliary_seg.domain.result import Detection
from miliary_seg.domain.sequence import Modality, Polarity
from miliary_seg.domain.volume import Volume

SAMPLES = 60_000
"""Voxels of the brain that grey values are matched on: 1500 in each of ``LEVELS``."""
LEVELS = 40
LEAST_EXPLAINED = 0.4
"""Of the spread of grey values that the scan before must explain (docs/measurements/pair.md: 0.67 and more of one
person's two T1, 0.13 and 0.17 of two people's, 0.02 of T1 and T2)."""
UNLIKE = "another person, movement, or another kind of scan."
TAKEN_UP = 0.25
"""A voxel that gained so much over white matter (CT: ``TAKEN_UP_HU``) holds agent: a vessel, dura, choroid plexus."""
TAKEN_UP_HU = 12.0
LEAST_TAKEN_UP = 0.0005
"""Share of the brain's voxels that gains so much after an agent (docs/measurements/pair.md)."""
GAINED_OVER_LOST = 2.0
"""So many times as many gain as lose: movement and another brain move grey values both ways."""
RADIUS_HU_MM, BALLS = 2.0, 8_000
"""On CT noise is as large as the step from grey to white matter: there means over so many balls are matched and
compared, not voxels."""
PLACES = 1500
"""Places of the brain that the noise is measured at."""
RADII_MM = (1.0, 2.0, 4.0)
"""Radii that the noise is measured at: a larger lesion averages more voxels."""
MOST_VOXELS = 2000
"""Of one lesion: its mean needs no more."""
LEAST_UPTAKE = 0.1
LEAST_UPTAKE_HU = 5.0
"""What counts as bright at least, in the rule below: half of the faintest enhancement that is asked of lesions (20 % of
white matter), as in the truth of phantoms; on CT one standard deviation of a usual scan's noise."""
SURELY, HARDLY = 3.0, 2.0
"""Standard deviations above which a lesion enhances, and below half of its brightness from which on it does not."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MatchedScan:
    """A scan before contrast agent that lies on the one after it."""

    after: Volume
    before: Volume
    to_before: Float64Array
    """RAS+ mm of ``after`` to RAS+ mm of ``before``, shape (4, 4)."""
    white_after: WhiteLevel | None
    white_before: WhiteLevel | None
    """Both on the lattice of ``after``; None on CT in HU."""
    curve: tuple[Float64Array, Float64Array]
    """Grey values before, ascending, and what they become where nothing is taken up."""
    explained_fraction: float
    noise: tuple[float, float, float]
    """Standard deviation of a ball's uptake where there is none, for ``RADII_MM``."""

    def difference(self, ijk: Float64Array) -> Float64Array:
        """After minus matched before at voxel indices of ``after``, (n, 3) to (n,), over white matter or in HU."""
        after, before = self._levels(ijk)
        return after - become(before, self.curve)

    def _mean_levels(self, ijk: Float64Array, radius_mm: float) -> tuple[Float64Array, Float64Array]:
        """As ``_levels``, means over balls."""
        points = balls(ijk, radius_mm, self.after)
        grey, earlier = self._levels(points.reshape(-1, 3))
        return grey.reshape(len(ijk), -1).mean(axis=1), earlier.reshape(len(ijk), -1).mean(axis=1)

    def _levels(self, ijk: Float64Array) -> tuple[Float64Array, Float64Array]:
        after = sampled(self.after, ijk)
        before = sampled_across(self.before, self.after, self.to_before, ijk)
        if self.white_after is None or self.white_before is None:
            return after, before
        return after / self.white_after.at(ijk), before / self.white_before.at(ijk)


def sampled(volume: Volume, ijk: Float64Array) -> Float64Array:
    """Linear interpolation at voxel indices, shape (n, 3) to (n,); edges continue."""
    return np.asarray(ndi.map_coordinates(volume.voxels, ijk.T, order=1, mode="nearest"), dtype=np.float64)


def sampled_across(before: Volume, after: Volume, to_before: Float64Array, ijk: Float64Array) -> Float64Array:
    """The scan before at voxel indices of the one after, averaged over the thickness of its slices.

    Where the scan before has thinner slices, several lie in a slice of the other; shape (n, 3) to (n,).
    """
    parts = max(1, round(after.thickness_mm / min(before.grid.spacing_mm)))
    shares = (np.arange(parts) + 0.5) / parts - 0.5
    total = np.zeros(len(ijk))
    for share in shares:
        ras = after.grid.to_ras_mm(ijk) + share * after.thickness_mm * after.slice_normal * (parts > 1)
        total += sampled(before, before.grid.to_ijk(ras @ to_before[:3, :3].T + to_before[:3, 3]))
    return total / parts


def match(after: Volume, mask: BoolArray, before: Volume, to_before: Float64Array) -> MatchedScan | Reason:
    """Match the grey values of a scan before contrast agent to those of the one after it.

    Parameters
    ----------
    after, before
        Two scans of one person.
    mask
        Brain on the grid of ``after``, shape (i, j, k).
    to_before
        RAS+ mm of ``after`` to RAS+ mm of ``before``, shape (4, 4).

    Returns
    -------
    MatchedScan or Reason
        The reason where the two do not show the same brain, or nothing took up agent between them.
    """
    blocks = tissue_blocks(after, mask)
    if blocks is None:
        return Reason(code="pair_too_little_brain", text="There is too little brain to compare grey values.")
    in_hu = after.modality is Modality.CT
    white_after, white_before = (None, None) if in_hu else _white_levels(after, before, to_before, blocks)
    start = MatchedScan(
        after=after,
        before=before,
        to_before=to_before,
        white_after=white_after,
        white_before=white_before,
        curve=(np.zeros(1), np.zeros(1)),
        explained_fraction=0.0,
        noise=(0.0, 0.0, 0.0),
    )
    found = np.flatnonzero(_clear_of_bone(mask, after) if in_hu else mask)
    ijk = np.stack(np.unravel_index(found[:: max(1, found.size // SAMPLES)], mask.shape), axis=1).astype(np.float64)
    if in_hu:
        ijk = ijk[:: max(1, len(ijk) // BALLS)]
        grey, earlier = start._mean_levels(ijk, RADIUS_HU_MM)
    else:
        grey, earlier = start._levels(ijk)
    known = np.isfinite(grey) & np.isfinite(earlier)
    ijk, grey, earlier = ijk[known], grey[known], earlier[known]
    curve = _curve(earlier, grey)
    rest = grey - become(earlier, curve)
    explained = 1 - _spread(rest) / max(_spread(grey), 1e-9)
    if explained < LEAST_EXPLAINED:
        text = f"The scan before contrast agent explains {100 * max(explained, 0):.0f} % of the grey values after it: "
        return Reason(code="pair_unlike", text=text + UNLIKE)
    bar = TAKEN_UP_HU if in_hu else TAKEN_UP
    gained, lost = float((rest > bar).mean()), float((rest < -bar).mean())
    if gained < LEAST_TAKEN_UP:
        text = "Nothing took up contrast agent from the first to the second scan, not even vessels."
        return Reason(code="pair_no_agent", text=text)
    if gained < GAINED_OVER_LOST * lost:
        text = "From the first to the second scan as much of the brain became darker as brighter: "
        return Reason(code="pair_unlike", text=text + UNLIKE)
    matched = replace(start, curve=curve, explained_fraction=explained)
    low, middle, high = (_noise(matched, ijk, radius) for radius in RADII_MM)
    return replace(matched, noise=(low, middle, high))


def _clear_of_bone(mask: BoolArray, volume: Volume) -> BoolArray:
    """Brain so deep that no ball reaches the skull: an edge of 1000 HU, a little displaced, looks like agent."""
    depth = ndi.distance_transform_edt(mask, sampling=volume.grid.spacing_mm)
    return np.asarray(depth > RADIUS_HU_MM + max(volume.grid.spacing_mm))


def _white_levels(
    after: Volume, before: Volume, to_before: Float64Array, blocks: TissueBlocks
) -> tuple[WhiteLevel, WhiteLevel]:
    """Local level of white matter of both scans, on the blocks of the one after."""
    return _level(blocks.values, blocks), white_level_across(before, after, to_before, blocks)


def white_level_across(before: Volume, after: Volume, to_before: Float64Array, blocks: TissueBlocks) -> WhiteLevel:
    """Local level of white matter of another scan, where ``blocks`` of the scan ``after`` are white matter."""
    steps = np.array(blocks.steps)
    places = np.argwhere(blocks.white) * steps + (steps - 1) / 2
    values = np.zeros(blocks.white.shape, dtype=np.float32)
    values[blocks.white] = sampled_across(before, after, to_before, places)
    return _level(values, blocks)


def _level(values: Float32Array, blocks: TissueBlocks) -> WhiteLevel:
    white = blocks.white
    total, common = np.where(white, values, 0).astype(np.float32), float(np.median(values[white]))
    mean = local_mean(total, white.astype(np.float32), common, blocks.spacing_mm)
    return WhiteLevel(level=np.maximum(mean, np.float32(1e-6)), steps=blocks.steps)


def _curve(earlier: Float64Array, grey: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Median grey value after, for each of ``LEVELS`` equally frequent grey values before; it never falls."""
    groups = np.array_split(np.argsort(earlier, kind="stable"), LEVELS)
    at = np.array([np.median(earlier[group]) for group in groups if group.size])
    becomes = np.array([np.median(grey[group]) for group in groups if group.size])
    return at, np.maximum.accumulate(becomes)


def become(earlier: Float64Array, curve: tuple[Float64Array, Float64Array]) -> Float64Array:
    """Grey values after, of grey values before; beyond both ends of the curve one rises as the other does."""
    at, becomes = curve
    beyond = np.maximum(earlier - at[-1], 0) - np.maximum(at[0] - earlier, 0)
    return np.asarray(np.interp(earlier, at, becomes) + beyond, dtype=np.float64)


def _spread(values: Float64Array) -> float:
    """Median distance from the median: a vessel's gain does not count."""
    return float(np.median(np.abs(values - np.median(values)))) if values.size else 0.0


def _noise(matched: MatchedScan, ijk: Float64Array, radius_mm: float) -> float:
    """Half of the range of the middle 68 % of uptake in balls all over the brain: few of them hold agent."""
    places = ijk[:: max(1, len(ijk) // PLACES)]
    points = balls(places, radius_mm, matched.after)
    gains = matched.difference(points.reshape(-1, 3)).reshape(len(places), -1).mean(axis=1)
    low, high = np.quantile(gains, (0.16, 0.84))
    return float(high - low) / 2


def balls(ijk: Float64Array, radius_mm: float, volume: Volume) -> Float64Array:
    """Voxel indices (n, points, 3) of points in balls around voxel indices (n, 3)."""
    points = ijk[:, None] + ball_points()[None] * radius_mm / np.array(volume.grid.spacing_mm)
    return np.asarray(points, dtype=np.float64)


def ball_points() -> Float64Array:
    """Points (n, 3) that stand for the unit ball: its middle, and towards all neighbours, half and most of the way."""
    directions = np.array([(i, j, k) for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1)], dtype=np.float64)
    length = np.linalg.norm(directions, axis=1)
    unit = directions[length > 0] / length[length > 0, None]
    return np.concatenate([np.zeros((1, 3)), 0.5 * unit[::2], 0.85 * unit])


def with_uptake(detection: Detection, matched: MatchedScan) -> Detection:
    """Add to every bright lesion what it took up."""
    lesions = tuple(
        replace(lesion, uptake=_uptake(matched, ijk, lesion.enhancement))
        if lesion.polarity is Polarity.BRIGHT and len(ijk)
        else lesion
        for lesion, ijk in zip(detection.lesions, voxels_of(detection), strict=True)
    )
    return replace(detection, lesions=lesions)


def voxels_of(detection: Detection) -> list[IndexArray]:
    """Voxel indices (n, 3) of every lesion, at most ``MOST_VOXELS`` each."""
    labels = detection.lesion_labels.labels
    found = []
    for number, box in enumerate(ndi.find_objects(labels, max_label=len(detection.lesions)), start=1):
        inside = np.zeros((0, 3), dtype=np.intp)
        if box is not None:
            inside = np.argwhere(labels[box] == number) + [side.start for side in box]
        found.append(inside[:: max(1, len(inside) // MOST_VOXELS)])
    return found


def _uptake(matched: MatchedScan, ijk: IndexArray, enhancement: float | None) -> Uptake:
    volume_mm3 = len(ijk) * matched.after.grid.voxel_volume_mm3
    value = float(matched.difference(ijk.astype(np.float64)).mean())
    sd = float(np.interp(np.cbrt(3 * volume_mm3 / (4 * np.pi)), RADII_MM, matched.noise))
    in_hu = matched.white_after is None
    least = LEAST_UPTAKE_HU if in_hu else LEAST_UPTAKE
    half = max(least, enhancement or 0.0) / 2
    said = enhances(value, sd, half)
    if in_hu and said is Enhances.NO and value >= SURELY * sd:
        said = Enhances.CANNOT_TELL  # noise of single voxels raises the brightness that half is taken of
    return Uptake(value=value, sd=sd, enhances=said)


def enhances(value: float, sd: float, half: float) -> Enhances:
    """Whether contrast agent made a lesion bright.

    Parameters
    ----------
    value, sd
        Its uptake and the noise of that.
    half
        Half of its brightness above white matter after contrast agent, in the same unit.

    Returns
    -------
    Enhances
        Yes: it gained at least that, and more than noise can. No: less than that, by more than noise can hide.

    Examples
    --------
    >>> str(enhances(0.4, 0.05, 0.25)), str(enhances(0.02, 0.05, 0.25)), str(enhances(0.2, 0.05, 0.25))
    ('yes', 'no', 'cannot tell')
    """
    if value >= half and value >= SURELY * sd:
        return Enhances.YES
    return Enhances.NO if value + HARDLY * sd < half else Enhances.CANNOT_TELL
