"""How far each place stands out of ordinary brain tissue, on blocks of about 2 mm: where masses are sought.

The level of white matter follows the coil's bias field. Heights are in *tissue spans*: from the median of the brain's
tissue (without fluid) to its 90th percentile, so that they do not depend on sequence, unit or contrast. The fitted
atlas gives the mirror place of every block: what has no twin on the other side is rarely ordinary.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage as ndi

from miliary_seg.detect.white_matter import TYPICAL, TissueBlocks, local_mean, tissue_blocks
from miliary_seg.detect.work_grid import THICK_MM
from miliary_seg.domain.arrays import BoolArray, Float32Array, Float64Array, IndexArray
from miliary_seg.domain.compartment import TemplateMap
from miliary_seg.domain.sequence import Modality, Sequence
from miliary_seg.domain.volume import Volume

BIAS_MM = 20.0
"""Standard deviation of the window in which white matter is local: a window of 10 mm would follow a mass."""
CLIP_AT = 1.0
"""Grey values are clipped one range of the brain above its upper percentile: a small bright mass keeps its height."""
TISSUE_PERCENTILES = (50.0, 90.0)
BLUR_MM = 1.7
"""In the plane, and across slices where they are thin: vessels fade, masses of 10 mm keep their height."""
MIRROR_MM, MIRROR_LOW_MM, MIRROR_SHAPE = 4.0, (-90.0, -126.0, -90.0), (45, 54, 50)
"""Pitch, lower corner (MNI mm) and shape of the lattice on which both sides are compared, even about x = 0."""
SEEN_SHARE = 0.02
"""A place of that lattice counts from this share of the fullest one's blocks on."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MassMap:
    """Blocks of the brain's box, slices first."""

    height: Float32Array
    """In tissue spans above the median of the tissue; 0 outside of the brain."""
    brain: BoolArray
    asymmetry: Float32Array
    """Height less that of the mirror place, both smoothed over about 10 mm and not below 0."""
    template_mm: Float32Array
    """MNI position, shape (3, z, y, x); 0 outside of the brain."""
    depth_mm: Float32Array
    """Distance to the edge of the brain."""
    spacing_mm: tuple[float, float, float]
    first: tuple[int, int, int]
    """Of the box, in blocks, in the order of the map's axes."""
    steps: tuple[int, int, int]
    """Voxels of the scan in a block, in the same order."""
    axes: tuple[int, int, int]
    """The scan's axis of each of the map's axes."""

    @property
    def thick(self) -> bool:
        """Whether shapes are closed, opened and grown in the plane of a slice only."""
        return self.spacing_mm[0] > THICK_MM


def mass_map(volume: Volume, mask: BoolArray, template: TemplateMap) -> MassMap | None:
    """The map of a scan; None where the brain is too small or flat.

    Parameters
    ----------
    volume
        The scan.
    mask
        Brain, on its grid.
    template
        Where each place lies in the atlas.
    """
    blocks = tissue_blocks(volume, mask, CLIP_AT)
    return None if blocks is None else map_of_blocks(volume, blocks, template)


def map_of_blocks(volume: Volume, blocks: TissueBlocks, template: TemplateMap) -> MassMap | None:
    """As ``mass_map``, of blocks that were made before."""
    index = np.argwhere(blocks.brain)
    low, high = index.min(axis=0), index.max(axis=0) + 1
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    seen = replace(blocks, values=blocks.values[box], brain=blocks.brain[box], white=blocks.white[box])
    height = _height(volume, seen)
    if height is None:
        return None
    axes = _axes(volume.slice_axis)
    spacing = [float(blocks.spacing_mm[a]) for a in axes]
    brain = np.ascontiguousarray(seen.brain.transpose(axes))
    height = _smoothed(np.ascontiguousarray(height.transpose(axes)), brain, spacing)
    where = np.zeros((3, *blocks.brain.shape), dtype=np.float32)
    where[:, blocks.brain] = _template_mm(volume, blocks, index, template).T
    where = np.ascontiguousarray(where[(slice(None), *box)].transpose(0, *(a + 1 for a in axes)))
    depth = ndi.distance_transform_edt(np.pad(brain, 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
    return MassMap(
        height=height,
        brain=brain,
        asymmetry=_asymmetry(height, brain, where),
        template_mm=where,
        depth_mm=depth.astype(np.float32),
        spacing_mm=(spacing[0], spacing[1], spacing[2]),
        first=(int(low[axes[0]]), int(low[axes[1]]), int(low[axes[2]])),
        steps=(blocks.steps[axes[0]], blocks.steps[axes[1]], blocks.steps[axes[2]]),
        axes=axes,
    )


def _axes(slice_axis: int) -> tuple[int, int, int]:
    one, other = (a for a in range(3) if a != slice_axis)
    return slice_axis, one, other


def _height(volume: Volume, blocks: TissueBlocks) -> Float32Array | None:
    """Tissue spans above the median of the tissue, 0 outside of the brain; None where the tissue is flat."""
    white, values = blocks.white, blocks.values
    common = float(np.median(values[white]))
    total = np.where(white, values, 0).astype(np.float32)
    level = local_mean(total, white.astype(np.float32), common, blocks.spacing_mm, BIAS_MM)
    is_ct = volume.modality is Modality.CT
    above = values - level if is_ct else values / np.maximum(level, 1e-6) - 1
    typical = np.array(TYPICAL.get(volume.sequence.sequence, TYPICAL[Sequence.CT if is_ct else Sequence.T1]))
    classes = typical - typical[0] if is_ct else typical / typical[0] - 1
    inside = above[blocks.brain]
    tissue = inside[np.abs(inside[:, None] - classes).argmin(axis=1) != 2]
    if tissue.size < 2:
        return None
    median, top = np.percentile(tissue, TISSUE_PERCENTILES)
    if not top - median > 1e-6:
        return None
    height: Float32Array = np.where(blocks.brain, (above - median) / (top - median), 0).astype(np.float32)
    return height


def _smoothed(height: Float32Array, brain: BoolArray, spacing_mm: list[float]) -> Float32Array:
    """Blurred within the brain."""
    sigma = [0.0 if s > THICK_MM else BLUR_MM / s for s in spacing_mm]
    weight = ndi.gaussian_filter(brain.astype(np.float32), sigma)
    blurred: Float32Array = np.where(brain, ndi.gaussian_filter(height, sigma) / np.maximum(weight, 1e-3), 0)
    return blurred.astype(np.float32)


def _template_mm(volume: Volume, blocks: TissueBlocks, index: IndexArray, template: TemplateMap) -> Float64Array:
    """MNI position of blocks, shape (n, 3)."""
    steps = np.array(blocks.steps)
    ras = volume.grid.to_ras_mm(index * steps + (steps - 1) / 2)
    inverse = np.linalg.inv(template.affine)
    place = (ras @ inverse[:3, :3].T + inverse[:3, 3]).T
    at = [ndi.map_coordinates(part, place, order=1, mode="nearest") for part in template.positions_mm]
    return np.stack(at, axis=1)


def _asymmetry(height: Float32Array, brain: BoolArray, template_mm: Float32Array) -> Float32Array:
    """Both sides are averaged on one lattice of the atlas, which is mirrored there; what is dark counts as ordinary."""
    place = (template_mm[:, brain] - np.array(MIRROR_LOW_MM)[:, None]) / MIRROR_MM
    cell = np.clip(np.floor(place).astype(np.intp), 0, np.array(MIRROR_SHAPE)[:, None] - 1)
    flat = np.ravel_multi_index(tuple(cell), MIRROR_SHAPE)
    size = int(np.prod(MIRROR_SHAPE))
    total, count = (
        ndi.gaussian_filter(np.bincount(flat, weights, size).reshape(MIRROR_SHAPE), 1.0)
        for weights in (np.maximum(height[brain], 0).astype(np.float64), np.ones(flat.size))
    )
    seen = count > SEEN_SHARE * count.max()
    mean = np.where(seen, total / np.maximum(count, 1e-6), 0)
    difference = np.where(seen & seen[::-1], mean - mean[::-1], 0)
    result = np.zeros(brain.shape, dtype=np.float32)
    result[brain] = ndi.map_coordinates(difference, place - 0.5, order=1, mode="nearest")
    return result
