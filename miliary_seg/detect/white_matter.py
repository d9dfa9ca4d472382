"""The local level of white matter in the scan's own grey values: the reference for a lesion's enhancement.

The most common level deep in the brain is a first guess. Three classes (white, grey, fluid) are then found near the
typical levels of the sequence. Finally white matter is averaged around every point, so that the level follows the bias
field of the coil. Works on blocks of about 2 mm, since a level needs no fine voxels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage as ndi

from miliary_seg.detect.work_grid import block_mean
from miliary_seg.domain.arrays import BoolArray, Box, Float32Array, Float64Array, Int32Array
from miliary_seg.domain.result import Detection
from miliary_seg.domain.sequence import Modality, Polarity, Sequence
from miliary_seg.domain.volume import Volume

TYPICAL = {
    Sequence.T1: (800.0, 560.0, 200.0),
    Sequence.T1C: (800.0, 580.0, 200.0),
    Sequence.T2: (300.0, 430.0, 950.0),
    Sequence.FLAIR: (420.0, 540.0, 110.0),
    Sequence.DWI: (400.0, 460.0, 90.0),
    Sequence.ADC: (700.0, 800.0, 2800.0),
    Sequence.SWI: (450.0, 500.0, 600.0),
    Sequence.T2STAR: (450.0, 500.0, 650.0),
    Sequence.PD: (650.0, 760.0, 700.0),
    Sequence.CT: (29.0, 37.0, 6.0),
    Sequence.CTC: (30.0, 40.0, 6.0),
}
"""Signal of white matter, grey matter and fluid: typical of clinical protocols (arbitrary unit), HU on CT; order and
ratios are what counts. The phantoms are drawn with the same values (docs/phantoms.md). Unknown counts as T1."""
BLOCK_MM = 2.0
DEEP_MM = (10.0, 22.0)
"""Depths in the brain at which most tissue is white matter: centrum semiovale and corona radiata."""
LOCAL_MM = 10.0
"""Standard deviation of the window in which white matter is local: wider than a gyrus, narrower than coil shading."""
PRIOR_SHARE = 0.02
"""Weight of the whole brain's level, which counts where no white matter is near: as if 2 % of the window had it."""
ROUNDS = 8
"""Of the search for the three class means; it settles in three to five."""
LARGEST_SHIFT = 0.35
"""Most that a class mean moves from what is typical of a sequence, over its distance to the neighbouring class."""
MIN_BLOCKS = 200
"""Blocks of brain, about 2 mL: less has too little white matter."""
SPIKE_PERCENTILES = (0.5, 99.5)
"""Of the brain's grey values: what lies beyond is clipped, so that one spike does not carry its block away."""
SAMPLES = 200_000
"""Voxels that these percentiles are taken of: they need no more."""
LESION_QUANTILE = 0.9
"""Of a lesion's voxels: the maximum would add the noise of a few voxels to every lesion."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WhiteLevel:
    """Level of white matter on a lattice of blocks, in the scan's intensity (HU on CT)."""

    level: Float32Array
    steps: tuple[int, int, int]
    """Voxels of the scan between points of the lattice."""

    def at(self, ijk: Float64Array) -> Float64Array:
        """Level at voxel indices, shape (n, 3) to (n,)."""
        steps = np.array(self.steps)
        index = (np.asarray(ijk, dtype=np.float64) - (steps - 1) / 2) / steps
        return np.asarray(ndi.map_coordinates(self.level, index.T, order=1, mode="nearest"), dtype=np.float64)


def white_level(volume: Volume, mask: BoolArray) -> WhiteLevel | None:
    """The local level of white matter of a scan; None if the mask is too small.

    Parameters
    ----------
    volume
        The scan; its sequence says whether white matter is the brightest, middle or darkest tissue.
    mask
        Brain, on the scan's grid.
    """
    blocks = tissue_blocks(volume, mask)
    if blocks is None:
        return None
    white, values = blocks.white, blocks.values
    total = np.where(white, values, 0).astype(np.float32)
    common = float(np.median(values[white]))
    level = local_mean(total, white.astype(np.float32), common, blocks.spacing_mm)
    return WhiteLevel(level=level, steps=blocks.steps)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TissueBlocks:
    """A scan as means over blocks of about ``BLOCK_MM``, in the order of its axes."""

    values: Float32Array
    """Mean grey value of the brain's voxels in each block; 0 where there are none."""
    brain: BoolArray
    white: BoolArray
    """White matter, without partial volume where enough is left."""
    steps: tuple[int, int, int]
    """Voxels of the scan in a block, along each axis."""
    spacing_mm: Float64Array
    """Of the blocks, shape (3,)."""


def tissue_blocks(volume: Volume, mask: BoolArray, clip_at: float = 0.0) -> TissueBlocks | None:
    """Blocks of a scan and its white matter; None if the mask is too small.

    Parameters
    ----------
    volume
        The scan; its sequence says whether white matter is the brightest, middle or darkest tissue.
    mask
        Brain, on the scan's grid.
    clip_at
        How far above the upper of ``SPIKE_PERCENTILES`` grey values are clipped, in widths of the range between both.
    """
    i, j, k = (max(1, round(BLOCK_MM / s)) for s in volume.grid.spacing_mm)
    steps = (i, j, k)
    box, blocks = _box_of_blocks(mask, steps)
    if any(side.stop <= side.start for side in blocks):
        return None
    inside = mask[box] & np.isfinite(volume.voxels[box])
    share = block_mean(inside.astype(np.float32), steps)
    brain = np.zeros(tuple(n // step for n, step in zip(mask.shape, steps, strict=True)), dtype=np.bool_)
    brain[blocks] = share > 0.5
    if brain.sum() < MIN_BLOCKS:
        return None
    seen = volume.voxels[box][inside]
    low, high = np.percentile(seen[:: max(1, seen.size // SAMPLES)], SPIKE_PERCENTILES)
    clipped = np.zeros(inside.shape, dtype=np.float32)
    clipped[inside] = np.clip(seen, low, high + clip_at * (high - low))
    values = np.zeros(brain.shape, dtype=np.float32)
    values[blocks] = block_mean(clipped, steps) / np.maximum(share, 1e-6)
    spacing = np.array(volume.grid.spacing_mm) * steps
    white = white_blocks(values, brain, spacing, volume)
    return TissueBlocks(values=values, brain=brain, white=white, steps=steps, spacing_mm=spacing)


def _box_of_blocks(mask: BoolArray, steps: tuple[int, int, int]) -> tuple[Box, Box]:
    """Smallest box of whole blocks around a mask, in voxels and in blocks; both empty where the mask is."""
    found = ndi.find_objects(mask.astype(np.int8))
    if not found:
        return (slice(0, 0),) * 3, (slice(0, 0),) * 3
    box, blocks = [], []
    for side, step, n in zip(found[0], steps, mask.shape, strict=True):
        first, last = side.start // step, min(-(-side.stop // step), n // step)
        box.append(slice(first * step, max(last * step, side.stop)))
        blocks.append(slice(first, last))
    return tuple(box), tuple(blocks)


def local_mean(
    total: Float32Array, weight: Float32Array, common: float, spacing_mm: Float64Array, width_mm: float = LOCAL_MM
) -> Float32Array:
    """Mean in a Gaussian window about each block, drawn to the level of the whole brain where the window is empty.

    Parameters
    ----------
    total, weight
        Sum of the grey values that count in each block, and their number, in any unit of volume.
    common
        Level of the whole brain.
    spacing_mm
        Of the blocks, shape (3,).
    width_mm
        Standard deviation of the window.
    """
    sigma = width_mm / spacing_mm
    total, weight = (ndi.gaussian_filter(part, sigma, mode="constant") for part in (total, weight))
    level: Float32Array = ((total + PRIOR_SHARE * common) / (weight + PRIOR_SHARE)).astype(np.float32)
    return level


def white_blocks(values: Float32Array, brain: BoolArray, spacing: Float64Array, volume: Volume) -> BoolArray:
    """Blocks of white matter, without their rim of partial volume where enough is left, and without outliers."""
    box = ndi.find_objects(brain.astype(np.int8))[0]  # nothing beside it is nearer than what lies at its border
    depth = ndi.distance_transform_edt(np.pad(brain[box], 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
    deep = values[box][brain[box] & (depth > DEEP_MM[0]) & (depth < DEEP_MM[1])]
    common = most_common(deep if deep.size >= MIN_BLOCKS else values[brain])
    typical = np.array(TYPICAL.get(volume.sequence.sequence, TYPICAL[Sequence.T1]))
    start = typical + common - typical[0] if volume.modality is Modality.CT else typical / typical[0] * common
    means = class_means(values[brain], start)
    white = np.zeros(brain.shape, dtype=np.bool_)
    white[brain] = np.argmin(np.abs(values[brain][:, None] - means), axis=1) == 0
    inner = ndi.binary_erosion(white)
    chosen: BoolArray = inner if inner.sum() > 0.05 * white.sum() else white
    if not chosen.any():
        return brain
    middle = np.median(values[chosen])
    spread = 1.4826 * np.median(np.abs(values[chosen] - middle))
    kept: BoolArray = chosen & (np.abs(values - middle) <= 4 * max(float(spread), 1e-6))
    return kept


def most_common(values: Float32Array) -> float:
    """The most common grey value of some voxels: the peak of a smoothed histogram."""
    low, high = np.percentile(values, (1, 99))
    if high <= low:
        return float(low)
    counts, edges = np.histogram(values, bins=128, range=(low, high))
    peak = int(np.argmax(ndi.gaussian_filter1d(counts.astype(np.float64), 3)))
    return float((edges[peak] + edges[peak + 1]) / 2)


def class_means(values: Float32Array, start: Float64Array) -> Float64Array:
    """Mean grey values of white matter, grey matter and fluid, by k-means from what is typical.

    Parameters
    ----------
    values
        Grey values of the brain, shape (n,).
    start
        Typical mean of each class, shape (3,); no mean moves further from it than ``LARGEST_SHIFT``.
    """
    spread = np.array([np.abs(start[c] - np.delete(start, c)).min() for c in range(3)])
    means = start.copy()
    for _ in range(ROUNDS):
        before = means.copy()
        nearest = np.argmin(np.abs(values[:, None] - means), axis=1)
        for c in range(3):
            if (nearest == c).sum() > 20:
                reach = LARGEST_SHIFT * spread[c]
                means[c] = np.clip(float(np.median(values[nearest == c])), start[c] - reach, start[c] + reach)
        if np.array_equal(means, before):
            break  # settled: further rounds would change nothing
    return means


def enhancement(volume: Volume, labels: Int32Array, white: WhiteLevel | None, bright: BoolArray) -> list[float | None]:
    """How far each labelled lesion stands out from the local white matter.

    Parameters
    ----------
    volume
        The scan.
    labels
        Lesions 1 to n on its grid.
    white
        Of ``white_level``; None = not known.
    bright
        Whether each lesion is brighter than its surroundings, shape (n,).

    Returns
    -------
    list
        Fraction of the level of white matter (CT in HU: difference in HU), signed; None where that is not known.
    """
    boxes = ndi.find_objects(labels, max_label=len(bright))
    in_hu = volume.modality is Modality.CT
    found: list[float | None] = []
    for number, box in enumerate(boxes, start=1):
        if box is None or white is None:
            found.append(None)
            continue
        inside = labels[box] == number
        centre = np.argwhere(inside).mean(axis=0) + [s.start for s in box]
        level = float(white.at(centre[None])[0])
        quantile = LESION_QUANTILE if bright[number - 1] else 1 - LESION_QUANTILE
        difference = float(np.quantile(volume.voxels[box][inside], quantile)) - level
        found.append(difference if in_hu else difference / level if level > 0 else None)
    return found


def with_enhancement(detection: Detection, volume: Volume, mask: BoolArray) -> Detection:
    """Add to every lesion its enhancement over the local white matter."""
    if not detection.lesions:
        return detection
    bright = np.array([lesion.polarity is Polarity.BRIGHT for lesion in detection.lesions])
    measured = enhancement(volume, detection.lesion_labels.labels, white_level(volume, mask), bright)
    pairs = zip(detection.lesions, measured, strict=True)
    return replace(detection, lesions=tuple(replace(lesion, enhancement=value) for lesion, value in pairs))
