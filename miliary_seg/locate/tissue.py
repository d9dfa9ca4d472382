"""What grey and white matter and fluid look like in this scan, read where the fitted template says they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage as ndi

from miliary_seg.domain.grid import Float64Array
from miliary_seg.domain.volume import Float32Array
from miliary_seg.locate.deform import Deformation, atlas_at_lattice, lattice
from miliary_seg.locate.transform import apply, inverse

FLUID_CLASSES, GREY_CLASSES, WHITE_CLASSES = (0, 3), (8, 9), (12, 13)
"""Steps of the template's T1 intensity (``deform.N_TISSUE_CLASSES``): ventricles, cortex and nuclei, white matter."""
FLUID_DEPTH_MM, TISSUE_DEPTH_MM = 10.0, 4.0
"""Read only so deep below the brain's surface: ventricles rather than sulci, cortex without the fluid around it."""
MIN_POINTS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class TissueValues:
    """Median intensities in the scan's own unit."""

    grey: float
    white: float
    fluid: float


def tissue_values(
    voxels: Float32Array, affine: Float64Array, matrix: Float64Array, deformation: Deformation
) -> TissueValues | None:
    """Medians over the template's points; None where too little of one kind is in view."""
    grid = lattice()
    moved = grid.points.positions_mm + grid.field(deformation.coefficients)[:, grid.used]
    ijk = apply(inverse(affine) @ matrix, moved)
    upper = np.array(voxels.shape)[:, None] - 0.5
    inside = ((ijk > -0.5) & (ijk < upper)).all(axis=0)
    outside_mm, _ = atlas_at_lattice()
    classes = grid.points.classes
    medians = []
    kinds = ((GREY_CLASSES, TISSUE_DEPTH_MM), (WHITE_CLASSES, TISSUE_DEPTH_MM), (FLUID_CLASSES, FLUID_DEPTH_MM))
    for (first, last), depth_mm in kinds:
        which = inside & (classes >= first) & (classes <= last) & (outside_mm < -depth_mm)
        if which.sum() < MIN_POINTS:
            return None
        medians.append(float(np.median(ndi.map_coordinates(voxels, ijk[:, which], order=1, mode="nearest"))))
    grey, white, fluid = medians
    return TissueValues(grey=grey, white=white, fluid=fluid)
