"""Brightness of any point relative to its surroundings, whether or not a lesion was detected there."""

from __future__ import annotations

import numpy as np
from scipy import ndimage as ndi

from miliary_seg.domain.arrays import BoolArray, Float64Array
from miliary_seg.domain.volume import Volume

STEP_MM = 0.5
"""Lattice of the samples: finer than the in-plane pixels of clinical scans."""
SHELL_MM = (1.0, 2.5)
"""Distance of the surroundings from the lesion's surface: beyond its blur, before the next lesion."""
SMALLEST_RADIUS_MM = 0.8
"""A smaller core would be one voxel of a 1 mm scan."""
SLAB_SAMPLES = np.linspace(-0.4, 0.4, 5)
"""Midpoints of five equal parts of a slice."""
SHIFTS_MM = 0.75
"""The point is searched for within this distance, since heads deform a little between visits."""


def signal_at(
    volume: Volume,
    centres_ras_mm: Float64Array,
    diameters_mm: Float64Array,
    to_scan: Float64Array | None = None,
    slab_mm: Float64Array | None = None,
) -> Float64Array:
    """Mean of a ball minus the median of the shell around it, at 27 positions up to ``SHIFTS_MM`` apart.

    Parameters
    ----------
    volume
        The scan to measure in.
    centres_ras_mm
        Shape (n, 3).
    diameters_mm
        Shape (n,).
    to_scan
        Matrix (4, 4) from the world of the centres to that of the scan; None = the same world. The same points are
        sampled whatever the matrix, so that signals of two aligned scans may be compared.
    slab_mm
        Vector (3,) in the world of the centres: every sample is the mean along it, as thick slices across it would
        show; None = none.

    Returns
    -------
    array of shape (n, 27)
        In the scan's intensity unit, positive where brighter than the surroundings, for each shift (number 13 is
        unshifted); NaN where a sample lies outside of the scan.
    """
    matrix = np.eye(4) if to_scan is None else to_scan
    along = np.zeros((1, 3)) if slab_mm is None else SLAB_SAMPLES[:, None] * slab_mm
    shifts = np.stack(np.meshgrid(*[(-SHIFTS_MM, 0.0, SHIFTS_MM)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    signals = np.full((len(centres_ras_mm), len(shifts)), np.nan)
    for row, (centre, diameter) in enumerate(zip(centres_ras_mm, diameters_mm, strict=True)):
        core, shell = _ball_and_shell(max(diameter / 2, SMALLEST_RADIUS_MM))
        points = along[:, None, None] + np.concatenate([core, shell]) + shifts[:, None] + centre
        there = points.reshape(-1, 3) @ matrix[:3, :3].T + matrix[:3, 3]
        values = _sampled(volume, there).reshape(points.shape[:3]).mean(axis=0)
        signals[row] = values[:, : len(core)].mean(axis=1) - np.median(values[:, len(core) :], axis=1)
    return signals


def brain_spread(volume: Volume, mask: BoolArray) -> float:
    """Robust spread of the brain's intensities (90th less 10th percentile): the unit that two scans share."""
    brain = volume.voxels[mask]
    low, high = np.percentile(brain[np.isfinite(brain)], [10, 90])
    return float(high - low)


def _ball_and_shell(radius_mm: float) -> tuple[Float64Array, Float64Array]:
    """Offsets in mm, shape (n, 3), of a lattice in the ball and in the shell around it."""
    reach = radius_mm + SHELL_MM[1]
    line = np.arange(-np.ceil(reach / STEP_MM), np.ceil(reach / STEP_MM) + 1) * STEP_MM
    lattice = np.stack(np.meshgrid(line, line, line, indexing="ij"), axis=-1).reshape(-1, 3)
    distance = np.linalg.norm(lattice, axis=1)
    inner, outer = radius_mm + SHELL_MM[0], reach
    return lattice[distance <= radius_mm], lattice[(distance >= inner) & (distance <= outer)]


def _sampled(volume: Volume, points_ras_mm: Float64Array) -> Float64Array:
    ijk = volume.grid.to_ijk(points_ras_mm).T
    values: Float64Array = ndi.map_coordinates(volume.voxels, ijk, order=1, mode="constant", cval=np.nan)
    return values
