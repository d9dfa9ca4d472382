"""Places drawn at random from a brain mask: what lesions without any preference would look like."""

from __future__ import annotations

import numpy as np

from miliary_seg.domain.grid import Float64Array, Grid
from miliary_seg.domain.volume import BoolArray

SEED = 20201


def random_places(mask: BoolArray, grid: Grid, n: int, seed: int = SEED) -> Float64Array:
    """Draw places evenly over the volume of a mask.

    Parameters
    ----------
    mask
        Shape (i, j, k) on ``grid``.
    grid
        Where the voxels lie.
    n
        How many places.
    seed
        Equal seeds give equal places.

    Returns
    -------
    numpy.ndarray
        Shape (n, 3), RAS+ mm, spread within the voxels too; empty where the mask is.
    """
    inside = np.flatnonzero(mask)
    if not n or not inside.size:
        return np.empty((0, 3))
    rng = np.random.default_rng(seed)
    voxels = np.column_stack(np.unravel_index(rng.choice(inside, n), mask.shape))
    return grid.to_ras_mm(voxels + rng.random((n, 3)) - 0.5)
