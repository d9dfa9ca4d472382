"""Candidates that are one object: a lesion answers at several widths, and its uneven top at several places."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Float64Array = NDArray[np.float64]

OVERLAP_RADII = 0.7
"""Of two candidates closer than this times the larger radius, the weaker one is the same object."""
OVERLAP_MM = 1.0
"""... and always when closer than this, or within the ball of the stronger one."""


def same_object(index_mm: Float64Array, radius: Float64Array) -> NDArray[np.intp]:
    """The stronger candidate whose object each candidate is part of; itself where it stands for its own.

    Among likely candidates the one with the largest scale-normalised response fits its object best in place and width,
    whatever their probabilities: a ball answers most strongly at its centre and its own radius.

    Parameters
    ----------
    index_mm
        Positions (n, 3) in mm, the strongest response first.
    radius
        Radii (n,) in mm.
    """
    owner = np.arange(len(radius))
    if len(radius) < 2:
        return owner
    reach = np.maximum(OVERLAP_MM, OVERLAP_RADII * radius)
    pairs = cKDTree(index_mm).query_pairs(float(max(reach.max(), radius.max())), output_type="ndarray")
    apart = np.linalg.norm(index_mm[pairs[:, 0]] - index_mm[pairs[:, 1]], axis=1)
    stronger, weaker = pairs.T
    pairs = pairs[apart < np.maximum(np.maximum(reach[stronger], radius[stronger]), reach[weaker])]
    for one, other in pairs[np.lexsort(pairs.T[::-1])]:
        if owner[one] == one and owner[other] == other:
            owner[other] = one
    return owner
