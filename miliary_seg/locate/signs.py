"""Signs of a good fit that the fit did not maximise: deep in the brain, near the tentorium, left against right.

Whatever has an edge of the right size matches the template's edge. Only a brain matches inside.
"""

from __future__ import annotations

import numpy as np

from miliary_seg.domain.grid import Float64Array
from miliary_seg.domain.volume import BoolArray, Float32Array
from miliary_seg.locate.deform import Deformation, atlas_at_lattice, lattice
from miliary_seg.locate.mutual_information import unbiased_information
from miliary_seg.locate.transform import apply
from miliary_seg.locate.working_scan import WorkingScan

DEEP_MM = 6.0
"""Deeper below the brain's surface than this, edges of the head play no part."""
NEAR_TENTORIUM_MM = 15.0


def inner_signs(scan: WorkingScan, matrix: Float64Array, deformation: Deformation) -> dict[str, float]:
    """Quality figures from the 2 mm scan and the fit; names as in docs/compartments.md."""
    grid = lattice()
    moved = grid.points.positions_mm + grid.field(deformation.coefficients)[:, grid.used]
    positions = apply(matrix, moved)
    inside = scan.contains(scan.to_ijk(positions))
    levels = scan.sample(positions)
    outside, tentorium = atlas_at_lattice()
    deep = inside & (outside < -DEEP_MM)
    near = inside & (outside < 0) & (np.abs(tentorium) < NEAR_TENTORIUM_MM)

    def information(which: BoolArray) -> float:
        return unbiased_information(levels[which], grid.points.classes[which], grid.points.n_tissues)

    return {
        "deep_mutual_information_nats": information(deep),
        "tentorium_mutual_information_nats": information(near),
        "mirror_correlation": _mirror_correlation(levels, deep, grid.used),
    }


def _mirror_correlation(levels: Float32Array, deep: BoolArray, used: BoolArray) -> float:
    """Correlation of grey levels at points that mirror each other across x = 0; the lattice is symmetric."""
    full = np.full(used.shape, np.nan, np.float32)
    full[used] = np.where(deep, levels, np.nan)
    half = used.shape[0] // 2
    left, right = full[:half].ravel(), full[::-1][:half].ravel()
    both = np.isfinite(left) & np.isfinite(right)
    if both.sum() < 200 or left[both].std() == 0 or right[both].std() == 0:
        return 0.0
    return float(np.corrcoef(left[both], right[both])[0, 1])
