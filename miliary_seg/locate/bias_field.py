"""Bias field of MR coils within the brain, estimated after the affine fit has told which tissue lies where.

Before the fit, the bias field can only be estimated from the head as a whole (``pyramid``). After it, each voxel of the
brain has a tissue class, and differences within a class across the brain are bias field.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
from scipy import ndimage as ndi

from miliary_seg.domain.arrays import BoolArray, Float32Array, Float64Array, IndexArray
from miliary_seg.locate.atlas import grid_points, load_atlas, tissue_classes
from miliary_seg.locate.pyramid import N_BINS, BlockMeans, WorkingScan, resampled, shading_gain
from miliary_seg.locate.transform import inverse

BRAIN_SHADING_MM = 20.0
"""Width of the Gaussian (docs/measurements/compartments.md, "Constants and where they come from")."""
DEPTH_MM = 3.0
"""Only tissue deeper than this counts: at the surface an affine fit mixes fluid and bone with cortex."""
N_CLASSES, CLASS_RANGE = 12, (0.3, 0.95)
"""Steps of the template's T1 intensity, as coarse as the fit."""
RATIOS = (0.5, 2.0)
"""A voxel's ratio to its class is clipped to these: a bright lesion is not bias field."""
PRIOR_SHARE = 0.02
"""If the share of brain nearby is less than this, the gain goes to one."""
BRAIN_PERCENTILES = (3.0, 97.0)
"""The brain's grey levels are spread over these, which leaves a tenth of the range on either side."""
MIN_VOXELS = 100


def bias_corrected(fine: WorkingScan, medium: WorkingScan, matrix: Float64Array) -> WorkingScan:
    """The fine MR scan with the brain's bias field removed and its levels spread over the brain's own range.

    ``medium`` is the same scan at about 4 mm, ``matrix`` carries MNI mm to scan mm. The brain's range is that of fine
    voxels, with their noise, one in each of 4 mm.
    """
    classes = _classes(medium, matrix)
    levels = medium.inside_levels
    inside = (classes >= 0) & (levels > 1)
    if inside.sum() < MIN_VOXELS:
        return fine
    gain = _gain(levels, classes, inside, medium)
    low, high = np.percentile(_thinned_to(fine, medium)[inside] * gain.voxels[inside], BRAIN_PERCENTILES)
    spare = 0.1 * (high - low)
    if not spare > 0:
        return fine
    ours = BlockMeans(voxels=fine.inside_levels, affine=fine.affine)
    spread = ours.voxels * resampled(gain, ours) - np.float32(low - spare)
    spread *= np.float32((N_BINS - 1) / (high - low + 2 * spare))
    np.clip(spread, 0, N_BINS - 1, out=spread)
    pad = [(0, m - n) for m, n in zip(fine.levels.shape, fine.shape, strict=True)]
    return replace(fine, levels=np.ascontiguousarray(np.pad(spread, pad, mode="edge")))


def _thinned_to(fine: WorkingScan, medium: WorkingScan) -> Float32Array:
    """One fine voxel of each block of ``medium``, of its shape."""
    steps = np.rint(medium.spacing_mm / fine.spacing_mm).astype(int)
    every = tuple(slice(0, n * step, step) for n, step in zip(medium.shape, steps.tolist(), strict=True))
    return fine.inside_levels[every]


def _classes(scan: WorkingScan, matrix: Float64Array) -> IndexArray:
    """Tissue class of each voxel of the scan, -1 outside of the brain's inside, shape as ``scan.shape``."""
    template = _template_classes()
    atlas = load_atlas()
    to_atlas = inverse(atlas.affine) @ inverse(matrix) @ scan.affine
    places = np.rint(grid_points(scan.shape, to_atlas)).astype(np.intp)
    inside = ((places >= 0) & (places < np.array(template.shape)[:, None])).all(axis=0)
    classes = np.full(inside.size, -1, np.intp)
    i, j, k = places[:, inside]
    classes[inside] = template[i, j, k]
    return classes.reshape(scan.shape)


@lru_cache(maxsize=1)
def _template_classes() -> IndexArray:
    atlas = load_atlas()
    classes = tissue_classes(ndi.gaussian_filter(atlas.t1, 0.8), N_CLASSES, CLASS_RANGE)
    classes[atlas.outside_mm > -DEPTH_MM] = -1
    return classes


def _gain(levels: Float32Array, classes: IndexArray, inside: BoolArray, scan: WorkingScan) -> BlockMeans:
    """Factor that corrects the bias field: one over the smoothed ratio of each voxel to the mean of its class."""
    counts = np.bincount(classes[inside], minlength=N_CLASSES)
    mean = np.bincount(classes[inside], levels[inside], N_CLASSES) / np.maximum(counts, 1)
    ratio = np.zeros(levels.shape, np.float32)
    ratio[inside] = np.clip(levels[inside] / np.maximum(mean[classes[inside]], 0.5), *RATIOS)
    sigma = BRAIN_SHADING_MM / scan.spacing_mm
    return BlockMeans(voxels=shading_gain(ratio, inside, 1.0, sigma, PRIOR_SHARE), affine=scan.affine)
