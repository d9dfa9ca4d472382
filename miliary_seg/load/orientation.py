"""Which axis is across the slices, and an affine for files that state no orientation."""

from __future__ import annotations

import numpy as np

from miliary_seg.domain.grid import Grid
from miliary_seg.errors import SettingsError
from miliary_seg.load.nifti_header import Float64Array, NiftiHeader

UNKNOWN_ORIENTATION = "unknown"
"""What a user sets to analyse a file that states no orientation, without left and right."""

ISOTROPIC_FRACTION = 0.05
"""Spacings within 5 % count as equal: a 3-D sequence is prescribed with such differences (0.86 and 0.90 mm)."""


def slice_axis_of(header: NiftiHeader) -> tuple[int, str]:
    """Voxel axis across the slices and how it is known.

    The axis of the largest spacing; among equal ones the one that dim_info names, else the one nearest to
    superior-inferior, because the published count was made on axial slices.
    """
    grid = Grid(shape=header.shape, affine=header.affine)
    spacing = np.array(grid.spacing_mm)
    largest = np.flatnonzero(spacing >= spacing.max() / (1 + ISOTROPIC_FRACTION))
    if len(largest) == 1:
        return int(largest[0]), "the axis of the largest spacing"
    if header.dim_info_slice is not None and header.dim_info_slice in largest:
        return int(header.dim_info_slice), "dim_info names it"
    axial = grid.world_axes.index(2)
    axis = axial if axial in largest else int(largest[0])
    return axis, "spacing is equal along several axes: the one nearest to superior-inferior is taken"


def assumed_affine(header: NiftiHeader, code: str) -> Float64Array:
    """Affine for a file without orientation, from a code such as ``RAS`` or ``LPS`` that the user states.

    Raises
    ------
    SettingsError
        If the code is not one letter each of R/L, A/P, S/I.
    """
    letters = code.upper()
    pairs = ("LR", "PA", "IS")
    axes = [next((n for n, pair in enumerate(pairs) if letter in pair), -1) for letter in letters]
    if sorted(axes) != [0, 1, 2]:
        raise SettingsError(f"load.assume_orientation cannot be {code!r}", todo="three letters such as RAS or LPS")
    spacing = Grid(shape=header.shape, affine=header.affine).spacing_mm
    affine = np.eye(4)
    affine[:3, :3] = 0
    for voxel_axis, (letter, world) in enumerate(zip(letters, axes, strict=True)):
        affine[world, voxel_axis] = spacing[voxel_axis] * (1 if letter == pairs[world][1] else -1)
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(header.shape) - 1) / 2)
    return affine
