"""A ``Location`` small enough to be kept beside every result, and exact enough to decide again from it.

The brain mask is kept bit by bit. The two distance maps are smooth and matter near zero only: they are kept on every
second or third voxel, in quarters of a millimetre up to 31.75 mm, and read by linear interpolation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from miliary_seg.domain.arrays import BoolArray, Float32Array
from miliary_seg.domain.grid import Grid
from miliary_seg.domain.result import Location
from miliary_seg.errors import UnreadableFileError

STEP_MM = 0.25
"""Resolution of the kept distances; a lesion's mean over its voxels is finer."""
PITCH_MM = 2.5
"""The maps are kept on a grid no coarser than this: the surfaces bend by far less."""
FORMAT = 1


def pack(location: Location) -> dict[str, NDArray[Any]]:
    """Arrays to keep: the brain mask as bits, the distances as whole numbers on a coarser grid."""
    grid = location.compartments.grid
    steps = np.array([max(1, int(PITCH_MM / mm)) for mm in grid.spacing_mm])
    every = tuple(slice(None, None, int(step)) for step in steps)
    return {
        "format": np.array(FORMAT),
        "steps": steps,
        "brain": np.packbits(location.brain_mask),
        "midline": _quantised(location.midline_distance_mm[every]),
        "tentorium": _quantised(location.tentorium_distance_mm[every]),
    }


def _quantised(distance_mm: Float32Array) -> NDArray[np.int8]:
    return np.asarray(np.clip(np.rint(distance_mm / STEP_MM), -127, 127), dtype=np.int8)


def unpack(
    kept: Mapping[str, NDArray[Any]], grid: Grid, where: BoolArray
) -> tuple[BoolArray, Float32Array, Float32Array]:
    """Brain mask, and the distances to midline and tentorium where they are asked for.

    Parameters
    ----------
    kept
        What ``pack`` made.
    grid
        Of the scan.
    where
        Voxels whose distances are needed, shape (i, j, k): interpolating all of them would take a second.

    Returns
    -------
    tuple
        Arrays of shape (i, j, k); distances are 0 elsewhere.

    Raises
    ------
    UnreadableFileError
        If the arrays are of another format or another grid.
    """
    size = int(np.prod(grid.shape))
    if int(kept["format"]) != FORMAT or kept["brain"].size != -(-size // 8):
        raise UnreadableFileError("a location of another format or scan", todo="run the case again")
    brain = np.unpackbits(kept["brain"], count=size).view(bool).reshape(grid.shape)
    asked = np.flatnonzero(where)
    places = np.stack(np.unravel_index(asked, grid.shape)) / kept["steps"][:, None]
    maps = []
    for name in ("midline", "tentorium"):
        distance = np.zeros(grid.shape, dtype=np.float32)
        coarse = kept[name].astype(np.float32) * np.float32(STEP_MM)
        distance.reshape(-1)[asked] = ndi.map_coordinates(coarse, places, order=1, mode="nearest")
        maps.append(distance)
    return brain, maps[0], maps[1]
