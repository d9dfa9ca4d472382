"""Dilation and erosion of masks by balls in mm on anisotropic grids, by shifted logical operations.

Distance transforms give the same and take ten times as long on the small radii that masks need.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from miliary_seg.domain.grid import Float64Array
from miliary_seg.domain.volume import BoolArray

Offset = tuple[int, int, int]

STEP_MM = 2.6
"""Larger balls are made of repeated balls of at most this radius; slices further apart are treated one by one."""


def dilated(mask: BoolArray, radius_mm: float, spacing_mm: Float64Array) -> BoolArray:
    """All voxels within ``radius_mm`` of the mask.

    A ball is a bundle of lines: the mask drawn out along one axis is shifted once for each line, not for each voxel.
    """
    repeats = max(1, int(np.ceil(radius_mm / STEP_MM)))
    axis, lines = _lines_of_ball(radius_mm / repeats, spacing_mm)
    for _ in range(repeats):
        drawn = _drawn_out(mask, axis, max(lines.values()))
        grown = mask.copy()
        for offset, half_length in lines.items():
            to, source = _shifted(offset, mask.shape)
            grown[to] |= drawn[half_length][source]
        mask = grown
    return mask


def eroded(mask: BoolArray, radius_mm: float, spacing_mm: Float64Array) -> BoolArray:
    """All voxels of the mask further than ``radius_mm`` from its outside; beyond the array the mask goes on."""
    return ~dilated(~mask, radius_mm, spacing_mm)


def _lines_of_ball(radius_mm: float, spacing_mm: Float64Array) -> tuple[int, dict[Offset, int]]:
    """The axis along which lines run, and the half length in voxels of the line at each offset across it."""
    reach = [int(radius_mm / s) for s in spacing_mm]
    axis = int(np.argmax(reach))
    lines: dict[Offset, int] = {}
    for offset in product(*(range(-r, r + 1) if a != axis else (0,) for a, r in enumerate(reach))):
        left = radius_mm**2 - sum((step * s) ** 2 for step, s in zip(offset, spacing_mm, strict=True))
        if left >= 0:
            lines[(offset[0], offset[1], offset[2])] = int(np.sqrt(left) / spacing_mm[axis])
    return axis, lines


def _drawn_out(mask: BoolArray, axis: int, length: int) -> list[BoolArray]:
    """The mask drawn out by 0, 1, ... ``length`` voxels both ways along an axis."""
    drawn = [mask]
    for step in range(1, length + 1):
        longer = drawn[-1].copy()
        for sign in (-1, 1):
            to, source = _shifted(tuple(sign * step if a == axis else 0 for a in range(3)), mask.shape)
            longer[to] |= mask[source]
        drawn.append(longer)
    return drawn


def _shifted(offset: tuple[int, ...], shape: tuple[int, ...]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    to = tuple(slice(max(0, o), n + min(0, o)) for o, n in zip(offset, shape, strict=True))
    source = tuple(slice(max(0, -o), n + min(0, -o)) for o, n in zip(offset, shape, strict=True))
    return to, source
