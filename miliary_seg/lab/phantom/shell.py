"""Skull, scalp, face and neck, drawn as layers of distance around a brain that has none."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from miliary_seg.domain.arrays import BoolArray, Float32Array, UInt8Array
from miliary_seg.domain.grid import Grid

TISSUES = ("white", "grey", "fluid", "bone", "marrow", "fat", "muscle", "skin", "eye", "air")

LAYERS_MM = (
    (2.0, "fluid"),
    (3.6, "bone"),
    (6.0, "marrow"),
    (7.6, "bone"),
    (8.4, "muscle"),
    (11.4, "fat"),
    (13.0, "skin"),
)
"""Outer edge of each layer over the vault: an adult skull of about 5.6 mm and a scalp of about 5.4 mm."""
BASE_MM = ((2.0, "fluid"), (5.0, "bone"))
"""The same below the base of the skull."""
CLOSING_MM = 12.0
"""The inner table bridges sulci and fissures up to about twice this wide."""


def draw_shell(brain: BoolArray, grid: Grid) -> UInt8Array:
    """Tissue of every voxel outside the brain of the template (positions in ``TISSUES``; air elsewhere).

    Parameters
    ----------
    brain
        Mask, shape (i, j, k).
    grid
        In template coordinates (RAS mm), axes parallel to the world's.
    """
    outside = distance_outside(brain, grid)
    axes = [grid.affine[a, a] * np.arange(grid.shape[a]) + grid.affine[a, 3] for a in range(3)]
    x, y, z = np.ix_(*axes)
    base = z < np.where(y > -20, -24.0, -24.0 + 0.30 * (y + 20))
    tissue = np.full(grid.shape, TISSUES.index("air"), dtype=np.uint8)
    body = ((np.abs(x) / 62) ** 2.5 + (np.abs(y + 8) / 90) ** 2.5 < 1) & base
    filled = (body | (outside < LAYERS_MM[-1][0]))[::2, ::2, ::2]
    depth = _refined(ndi.distance_transform_edt(filled, sampling=2 * np.array(grid.spacing_mm)), grid.shape)
    soft = base & (depth > 0)
    for edge, name in ((1e9, "muscle"), (5.0, "fat"), (1.6, "skin")):
        tissue[soft & (depth < edge)] = TISSUES.index(name)
    _draw_face(tissue, soft & (depth > 4), x, y, z)
    for layers, where in ((LAYERS_MM, ~base), (BASE_MM, base)):
        for edge, name in reversed(layers):
            tissue[where & (outside < edge)] = TISSUES.index(name)
    return tissue


def wrap_shell(brain: BoolArray, grid: Grid, signals: tuple[float, ...], background: float) -> Float32Array:
    """Signal of vault layers around the brain of any host, background beyond (no face: its pose is not known)."""
    outside = distance_outside(brain, grid)
    signal = np.full(grid.shape, background, dtype=np.float32)
    for edge, name in reversed(LAYERS_MM):
        signal[outside < edge] = signals[TISSUES.index(name)]
    return signal


def distance_outside(brain: BoolArray, grid: Grid) -> Float32Array:
    """Smooth distance in mm from the closed brain (0 inside), worked out on every second voxel."""
    spacing = [2 * s for s in grid.spacing_mm]
    coarse = brain[::2, ::2, ::2]
    pad = [int(np.ceil(CLOSING_MM / s)) + 1 for s in spacing]
    wide = np.pad(coarse, [(p, p) for p in pad])
    grown = ndi.distance_transform_edt(~wide, sampling=spacing) < CLOSING_MM
    closed = ndi.distance_transform_edt(grown, sampling=spacing) > CLOSING_MM
    distance = ndi.distance_transform_edt(~(closed | wide), sampling=spacing)
    smooth = ndi.gaussian_filter(distance.astype(np.float32), [2.0 / s for s in spacing])
    inner = tuple(slice(p, p + n) for p, n in zip(pad, coarse.shape, strict=True))
    out: Float32Array = np.where(brain, 0, _refined(smooth[inner], brain.shape)).astype(np.float32)
    return out


def _refined(coarse: NDArray[np.floating], shape: tuple[int, ...]) -> Float32Array:
    """Values on every second voxel, interpolated to all of them."""
    half = np.full(3, 0.5)
    fine: Float32Array = ndi.affine_transform(
        coarse.astype(np.float32), half, output_shape=shape, order=1, mode="nearest", output=np.float32
    )
    return fine


def _draw_face(tissue: UInt8Array, inside: BoolArray, x: Float32Array, y: Float32Array, z: Float32Array) -> None:
    """Orbits, nasal and paranasal air, marrow of the base, a canal for the cord: enough to look like a head."""
    pieces = (
        ("fat", (32, 52, -34), (17, 24, 17)),
        ("eye", (32, 62, -34), (12, 12, 12)),
        ("air", (6, 52, -48), (5, 26, 18)),
        ("air", (24, 46, -58), (11, 14, 10)),
        ("marrow", (0, -12, -50), (12, 16, 12)),
        ("bone", (42, -28, -48), (16, 12, 10)),
        ("air", (54, -36, -50), (6, 6, 8)),
    )
    for name, (cx, cy, cz), (rx, ry, rz) in pieces:
        blob = ((np.abs(x) - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 + ((z - cz) / rz) ** 2 < 1
        tissue[inside & blob] = TISSUES.index(name)
    low = z < -66
    for name, radius in (("bone", 16.0), ("fluid", 10.0), ("white", 6.0)):
        tissue[inside & low & (np.hypot(x, y + 47) < radius)] = TISSUES.index(name)
