"""Lesions from their own grid onto the scan's, by world coordinates; what had to be done to them is said."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from miliary_seg.domain.arrays import Float64Array, IndexArray, Int32Array, Int64Array
from miliary_seg.domain.grid import Grid
from miliary_seg.domain.reason import Reason
from miliary_seg.domain.volume import LabelMap
from miliary_seg.errors import GeometryError
from miliary_seg.load.lesions.instances import Instances, bounding_box, numbered

SAME_PLACE_MM = 0.1
"""Voxels that lie this close are the same voxels: rounding of headers, far below a voxel."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _VoxelMap:
    """From voxel indices of the lesions' grid to those of the scan."""

    matrix: Float64Array
    """4 x 4, exact."""
    turned: NDArray[np.int64] | None
    """3 x 3 signed permutation where one voxel falls on one voxel, else None."""
    offset: Float64Array
    """Of the permutation, in voxels of the scan; not whole where the grids are shifted."""

    @classmethod
    def of(cls, lesions: Grid, scan: Grid) -> _VoxelMap:
        matrix = np.linalg.inv(scan.affine) @ lesions.affine
        turned = np.rint(matrix[:3, :3]).astype(np.int64)
        middle = (np.array(lesions.shape) - 1) / 2
        offset = matrix[:3, :3] @ middle + matrix[:3, 3] - turned @ middle
        corners = np.array(list(np.ndindex(2, 2, 2))) * (np.array(lesions.shape) - 1)
        exact = corners @ matrix[:3, :3].T + matrix[:3, 3]
        apart = np.abs(exact - corners @ turned.T - offset) * scan.spacing_mm
        ones = np.abs(turned)
        one_to_one = ones.max() == 1 and bool((ones.sum(axis=0) == 1).all() and (ones.sum(axis=1) == 1).all())
        fits = one_to_one and float(apart.max()) < SAME_PLACE_MM
        return cls(matrix=matrix, turned=turned if fits else None, offset=offset)


def on_grid(found: Instances, scan: Grid, where: object = "") -> Instances:
    """Bring instances onto the grid of the scan.

    Voxels that coincide with the scan's are copied, whatever the order of the axes; a shift by a part of a voxel is
    rounded and said; on another grid every voxel of the scan takes the instance of the nearest voxel, and an instance
    too small to be met keeps the voxel at its centre.

    Parameters
    ----------
    found
        Instances on their own grid.
    scan
        Grid of the scan, in the same world.
    where
        The file, for messages.

    Raises
    ------
    GeometryError
        If nothing of them lies within the scan.
    """
    if not found.count:
        empty = np.zeros(scan.shape, dtype=np.int32)
        return Instances(labels=LabelMap(labels=empty, grid=scan), count=0, notes=found.notes)
    mapping = _VoxelMap.of(found.labels.grid, scan)
    if mapping.turned is not None:
        labels, notes = _copied(found, mapping, scan)
    else:
        labels, notes = _resampled(found, mapping, scan)
    if not labels.any():
        what = "the lesions lie outside of the scan: another patient's, or another frame of reference"
        raise GeometryError(what, where=where, todo="give lesions drawn on this scan, or register them to it")
    labels, kept = _closed_gaps(labels, found.count) if found.by_value else numbered(labels)
    count, lost = len(kept), found.count - len(kept)
    if lost:
        text = f"{found.count} lesions in the file, {count} within the scan: {lost} lie outside of it."
        notes = (*notes, Reason(code="given_outside_scan", text=text))
    labels.setflags(write=False)
    on_scan = LabelMap(labels=labels, grid=scan)
    notes = (*found.notes, *notes)
    return Instances(labels=on_scan, count=count, by_value=found.by_value, notes=notes, kept=tuple(kept.tolist()))


def _copied(found: Instances, mapping: _VoxelMap, scan: Grid) -> tuple[Int32Array, tuple[Reason, ...]]:
    labels = np.zeros(scan.shape, dtype=np.int32)
    source = found.labels.labels
    ijk = np.stack(np.unravel_index(np.flatnonzero(source), source.shape))
    turned = np.eye(3, dtype=np.int64) if mapping.turned is None else mapping.turned
    whole = np.floor(mapping.offset + 0.5).astype(np.int64)
    there = turned @ ijk + whole[:, None]
    inside = ((there >= 0) & (there < np.array(scan.shape)[:, None])).all(axis=0)
    labels[tuple(there[:, inside])] = source[tuple(ijk[:, inside])]
    off_mm = np.abs(mapping.offset - whole) * scan.spacing_mm
    if off_mm.max() < SAME_PLACE_MM:
        return labels, ()
    shown = ", ".join(f"{mm:.2f}" for mm in off_mm)
    text = (
        f"The voxels of the lesion file lie ({shown}) mm off the scan's along its axes: its header and the scan's "
        "disagree by a part of a voxel; every voxel went to the nearest one."
    )
    return labels, (Reason(code="given_shifted", text=text),)


def _resampled(found: Instances, mapping: _VoxelMap, scan: Grid) -> tuple[Int32Array, tuple[Reason, ...]]:
    labels = np.zeros(scan.shape, dtype=np.int32)
    source = found.labels.labels
    box = bounding_box(source)
    if box is not None:
        corners = np.array(list(np.ndindex(2, 2, 2))) * [s.stop - s.start for s in box] + [s.start - 0.5 for s in box]
        there = corners @ mapping.matrix[:3, :3].T + mapping.matrix[:3, 3]
        low = np.clip(np.floor(there.min(axis=0)), 0, scan.shape).astype(int)
        high = np.clip(np.ceil(there.max(axis=0)) + 1, 0, scan.shape).astype(int)
        back = np.linalg.inv(mapping.matrix)
        target = labels[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
        if target.size:
            offset = back[:3, :3] @ low + back[:3, 3]
            ndi.affine_transform(source, back[:3, :3], offset, output=target, order=0, mode="constant")
    kept = _keep_small(labels, found, mapping)
    text = (
        f"The lesions lie on another grid of the same frame ({'x'.join(map(str, found.labels.grid.shape))} voxels): "
        f"{found.count} lesions were resampled by label, {len(np.unique(labels[labels > 0]))} are on the scan's grid"
    )
    text += f", {kept} of them as the one voxel at their centre." if kept else "."
    return labels, (Reason(code="given_resampled", text=text),)


def _keep_small(labels: Int32Array, found: Instances, mapping: _VoxelMap) -> int:
    """Put instances that no voxel of the scan met at the voxel of their centre, where that is free."""
    present = np.zeros(found.count + 1, dtype=bool)
    present[np.unique(labels)] = True
    missing = np.flatnonzero(~present[1:]) + 1
    if not missing.size:
        return 0
    source = found.labels.labels
    centres = np.array(ndi.center_of_mass(source > 0, source, missing))
    kept = 0
    for number, place in zip(missing, _rounded(centres, mapping), strict=True):
        inside = bool(((place >= 0) & (place < labels.shape)).all())
        if inside and labels[tuple(place)] == 0:
            labels[tuple(place)] = number
            kept += 1
    return kept


def _rounded(ijk: Float64Array, mapping: _VoxelMap) -> Int64Array:
    there = ijk @ mapping.matrix[:3, :3].T + mapping.matrix[:3, 3]
    return np.floor(there + 0.5).astype(np.int64)


def _closed_gaps(labels: Int32Array, count: int) -> tuple[Int32Array, IndexArray]:
    """Labels without gaps, and which of them are left (from 0)."""
    present = np.zeros(count + 1, dtype=bool)
    present[labels[labels > 0]] = True
    left = np.flatnonzero(present[1:])
    if left.size == count:
        return labels, left
    rank = np.where(present, np.cumsum(present), 0).astype(np.int32)
    return rank[labels], left
