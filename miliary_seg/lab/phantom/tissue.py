"""White, grey and fluid of any head, and the local level of its white matter, from its own grey values.

Enhancement is told against the white matter of the scan near the lesion, so its level is needed at every point: on T1
as on T2, FLAIR or CT where white matter is the darker tissue, with the shading of the receive coil in it. Hosts that
know their regions (template, label maps) give white matter away; in a real scan it is found in two rounds: the level
that is most common deep in the brain, three classes around it, the level again locally, classes again.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import ndimage as ndi

from miliary_seg.detect.white_matter import DEEP_MM, WhiteLevel, class_means, local_mean, most_common
from miliary_seg.domain.arrays import BoolArray, Float32Array, Float64Array, UInt8Array
from miliary_seg.domain.grid import Grid
from miliary_seg.domain.sequence import Modality, Sequence
from miliary_seg.lab.phantom.head import Head
from miliary_seg.lab.phantom.place import depth_inside_mm
from miliary_seg.lab.phantom.spec import REGIONS
from miliary_seg.lab.phantom.template import SIGNALS

WHITE, GREY, FLUID = 1, 2, 3
LEAST_DEEP = 500
"""Fewer voxels deep in the brain do not tell what is common there."""
COARSE_MM = 3.0
SMOOTH_MM = {Modality.MR: 0.8, Modality.CT: 2.0}
"""Blur before voxels are put into classes: on CT noise is as large as the difference of grey and white matter."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tissue:
    """What a head is made of, on its own grid."""

    classes: UInt8Array
    """``WHITE``, ``GREY``, ``FLUID``; 0 outside the brain."""
    depth_mm: Float32Array
    """Distance to the surface of the brain mask, 0 outside."""
    level: WhiteLevel
    """Local level of white matter."""
    grid: Grid

    def white_at(self, points_ras_mm: Float64Array) -> Float64Array:
        """Local level of white matter, shape (n, 3) to (n,), in the scan's intensity unit."""
        return self.level.at(self.grid.to_ijk(points_ras_mm))

    def white(self) -> Float32Array:
        """The same at every voxel."""
        return _fine(self.level, self.grid.shape)


@lru_cache(maxsize=2)
def tissue_of(head: Head, sequence: Sequence) -> Tissue:
    """Tell the tissues of a head; the last two heads are kept, since one is often used for many phantoms.

    Parameters
    ----------
    head
        The host.
    sequence
        What it shows: says whether white matter is the brightest, middle or darkest tissue. Unknown counts as T1.
    """
    depth = depth_inside_mm(head)
    if head.regions is not None:
        classes = _known(head)
        level = _local_level(head, classes == WHITE)
        return Tissue(classes=classes, depth_mm=depth, level=level, grid=head.grid)
    blur = [SMOOTH_MM[head.modality] / s if s < 3 else 0.0 for s in head.grid.spacing_mm]
    smooth = ndi.gaussian_filter(head.voxels, blur, truncate=2.5)
    deep = smooth[head.brain & (depth > DEEP_MM[0]) & (depth < DEEP_MM[1])]
    white = most_common(deep if deep.size >= LEAST_DEEP else smooth[head.brain])
    typical = np.array(SIGNALS.get(sequence, SIGNALS[Sequence.T1])[:3], dtype=np.float64)
    offset = 0.0 if head.modality is Modality.MR else white - typical[0]
    means = typical / typical[0] * white if head.modality is Modality.MR else typical + offset
    classes = _classes(smooth, head.brain, means)
    level = _local_level(head, ndi.binary_erosion(classes == WHITE))
    evenness = white / np.maximum(_fine(level, head.grid.shape), 1e-6)
    if head.modality is Modality.MR:
        classes = _classes((smooth * evenness).astype(np.float32), head.brain, means)
        level = _local_level(head, _interior(classes == WHITE))
    return Tissue(classes=classes, depth_mm=depth, level=level, grid=head.grid)


def _known(head: Head) -> UInt8Array:
    """Classes of a head with regions: cerebellum and brain stem count as white where they look like white matter."""
    assert head.regions is not None  # noqa: S101 - the caller looked
    table = np.zeros(256, dtype=np.uint8)
    for code, name in enumerate(REGIONS, start=1):
        table[code] = WHITE if name == "white" else GREY
    classes = table[head.regions]
    classes[head.brain & (head.regions == 0)] = FLUID
    return classes


def _classes(values: Float32Array, brain: BoolArray, start: Float64Array) -> UInt8Array:
    """Nearest of three class means (white, grey, fluid), the means found by k-means from what is typical."""
    sample = values[brain]
    means = class_means(sample[:: max(1, sample.size // 200_000)], start)
    order = np.argsort(means)
    edges = (means[order][1:] + means[order][:-1]) / 2
    codes = (order + 1).astype(np.uint8)
    out = np.zeros(values.shape, dtype=np.uint8)
    out[brain] = codes[np.searchsorted(edges, values[brain])]
    return out


def _interior(white: BoolArray) -> BoolArray:
    """White matter without its rim of partial volume; the whole where nothing is left."""
    inner: BoolArray = ndi.binary_erosion(white)
    return inner if inner.sum() > 0.05 * white.sum() else white


def _local_level(head: Head, white: BoolArray) -> WhiteLevel:
    """Mean of white matter in a window about each point of a coarse lattice, robust against what is not white."""
    sites = white if white.any() else head.brain
    inside = head.voxels[sites]
    middle = float(np.median(inside))
    spread = 1.4826 * float(np.median(np.abs(inside - middle)))
    usable = sites & (np.abs(head.voxels - middle) <= 4 * max(spread, 1e-6))
    a, b, c = (max(1, round(COARSE_MM / s)) for s in head.grid.spacing_mm)
    steps = (a, b, c)
    total = _binned(np.where(usable, head.voxels, 0).astype(np.float32), steps)
    weight = _binned(usable.astype(np.float32), steps)
    level = local_mean(total, weight, middle, np.array(head.grid.spacing_mm) * steps)
    return WhiteLevel(level=level, steps=steps)


def _binned(values: Float32Array, steps: tuple[int, int, int]) -> Float32Array:
    """Means over blocks of voxels, zeros added at the far ends."""
    pads = [(0, -n % s) for n, s in zip(values.shape, steps, strict=True)]
    wide = np.pad(values, pads)
    i, j, k = (n // s for n, s in zip(wide.shape, steps, strict=True))
    out: Float32Array = wide.reshape(i, steps[0], j, steps[1], k, steps[2]).mean(axis=(1, 3, 5))
    return out


def _fine(white: WhiteLevel, shape: tuple[int, int, int]) -> Float32Array:
    scale = 1 / np.array(white.steps, dtype=np.float64)
    offset = -(np.array(white.steps) - 1) / 2 * scale
    out: Float32Array = ndi.affine_transform(
        white.level, scale, offset, output_shape=shape, order=1, mode="nearest", output=np.float32
    )
    return out
