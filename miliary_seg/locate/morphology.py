"""Dilation and erosion of masks by balls in mm on anisotropic grids, by shifted logical operations.

Distance transforms give the same and take ten times as long on the small radii that masks need.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from miliary_seg.domain.grid import Float64Array
from miliary_seg.domain.volume import BoolArray

STEP_MM = 2.6
"""Larger balls are made of repeated balls of at most this radius; slices further apart are treated one by one."""


def dilated(mask: BoolArray, radius_mm: float, spacing_mm: Float64Array) -> BoolArray:
    """All voxels within ``radius_mm`` of the mask."""
    repeats = max(1, int(np.ceil(radius_mm / STEP_MM)))
    offsets = _ball(radius_mm / repeats, spacing_mm)
    for _ in range(repeats):
        grown = mask.copy()
        for offset in offsets:
            to, source = _shifted(offset, mask.shape)
            grown[to] |= mask[source]
        mask = grown
    return mask


def eroded(mask: BoolArray, radius_mm: float, spacing_mm: Float64Array) -> BoolArray:
    """All voxels of the mask further than ``radius_mm`` from its outside; beyond the array the mask goes on."""
    return ~dilated(~mask, radius_mm, spacing_mm)


def _ball(radius_mm: float, spacing_mm: Float64Array) -> list[tuple[int, int, int]]:
    reach = [int(radius_mm / s) for s in spacing_mm]
    return [
        (i, j, k)
        for i, j, k in product(*(range(-r, r + 1) for r in reach))
        if (i, j, k) != (0, 0, 0)
        and (i * spacing_mm[0]) ** 2 + (j * spacing_mm[1]) ** 2 + (k * spacing_mm[2]) ** 2 <= radius_mm**2
    ]


def _shifted(offset: tuple[int, int, int], shape: tuple[int, ...]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    to = tuple(slice(max(0, o), n + min(0, o)) for o, n in zip(offset, shape, strict=True))
    source = tuple(slice(max(0, -o), n + min(0, -o)) for o, n in zip(offset, shape, strict=True))
    return to, source
