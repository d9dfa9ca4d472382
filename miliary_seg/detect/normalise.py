"""From stored voxels to a clean work array: finite, dimensionless, noise known, no edge at the border of the mask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miliary_seg.detect.work_grid import WorkGrid, block_mean, is_thick
from miliary_seg.domain.arrays import BoolArray, Float32Array
from miliary_seg.domain.reason import Reason

CLIP_SPANS = 20.0
"""Voxels further than this many brain spans (1st to 99th percentile) from the median are spikes and are clipped."""
NOISE_FLOOR_SPANS = 0.004
"""Noise is never taken below this fraction of the brain's span: denoised scans (docs/detection.md, step 2)."""
SATURATED_FRACTION = 0.02
"""If a larger share of the brain has the largest value, the scan is saturated and bright lesions may be flat."""
NOISY_SPANS = 0.15
"""Noise above this fraction of the brain's span hides 3 mm lesions (docs/detection.md, doubts)."""
RIM_REACH_MM = 1.5
"""Lesions are also sought this far beyond the mask: masks err there, and lose what is brighter than cortex
(docs/measurements/detection.md, "The rim")."""
RIM_SPANS = 5.0
"""What lies beyond the mask and this many brain spans above its median is no tissue; a lesion 150 % above white matter
reaches about 3."""
FILL_MM = 2.0
"""Pitch of the grid on which the outside of the mask is filled."""
FILL_STEPS = 4
"""Growth steps of the filling, about 2 mm each: as far as the kernels of the fine scales reach."""


@dataclass(slots=True, kw_only=True, eq=False)
class WorkVolume:
    """A scan, ready for detection."""

    make: Callable[[], Float32Array]
    """Makes the voxels from the scan."""
    mask: BoolArray
    """Where lesions are sought: the brain, and bright voxels just beyond it."""
    brain: BoolArray
    grid: WorkGrid
    noise: float
    """Standard deviation of the noise in the unit of ``voxels``."""
    unit: float
    """The brain's span (1st to 99th percentile) in the scan's own unit."""
    doubts: tuple[Reason, ...] = ()
    _held: Float32Array | None = None

    @property
    def voxels(self) -> Float32Array:
        """Grey values in brain spans from the brain's median: dimensionless, finite, smooth across the mask's edge.

        Computed again after ``release``: the same numbers, in about a tenth of the time of detection.
        """
        if self._held is None:
            self._held = self.make()
        return self._held

    def release(self) -> Float32Array:
        """The voxels, which are no longer kept: saves one copy of the volume in the step that needs most memory."""
        voxels, self._held = self.voxels, None
        return voxels

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Spacing of the work arrays in mm."""
        return self.grid.spacing_mm

    @property
    def thick(self) -> bool:
        """Whether shape is measured in the plane of a slice only."""
        return is_thick(self.spacing_mm, len(self.mask))


def prepare(
    voxels: Float32Array, mask: BoolArray, grid: WorkGrid, reach_mm: float = RIM_REACH_MM
) -> WorkVolume | Reason:
    """Clean, normalise, resample and fill a scan; returns a reason if nothing can be detected.

    Parameters
    ----------
    voxels, mask
        On the input's grid (i, j, k); the mask is not empty.
    grid
        Work grid over the mask.
    reach_mm
        How far beyond the mask lesions are sought; 0 where bone lies there (CT).
    """
    brain = np.asarray(grid.cropped(voxels)[grid.cropped(mask)], dtype=np.float32)
    brain = brain[np.isfinite(brain)]
    if brain.size == 0:
        return Reason(code="no_finite_voxels", text="no voxel inside the brain mask has a finite value")
    median, unit = brain_span(brain)
    if unit == 0:
        return Reason(code="flat_brain", text="all voxels inside the brain mask have the same value")
    doubts, step = _saturation(brain), quantisation_step(brain) / unit
    del brain
    work, work_mask, work_brain = _clean(voxels, mask, grid, (median, unit), reach_mm)
    if not work_brain.any():
        return Reason(code="empty_mask", text="the brain mask is smaller than one work voxel")
    noise = max(noise_sigma(work, work_brain), NOISE_FLOOR_SPANS, step / np.sqrt(12.0))
    if noise > NOISY_SPANS:
        text = f"noise is {noise:.0%} of the brain's grey-value range: small lesions cannot be told from it"
        doubts = (*doubts, Reason(code="noise", text=text))
    return WorkVolume(
        make=lambda: _clean(voxels, mask, grid, (median, unit), reach_mm)[0],
        mask=work_mask,
        brain=work_brain,
        grid=grid,
        noise=float(noise),
        unit=unit,
        doubts=doubts,
        _held=work,
    )


def _clean(
    voxels: Float32Array, mask: BoolArray, grid: WorkGrid, span: tuple[float, float], reach_mm: float
) -> tuple[Float32Array, BoolArray, BoolArray]:
    """Voxels, where lesions are sought, and brain on the work grid; ``span`` is the brain's median and range."""
    values = np.array(grid.cropped(voxels), dtype=np.float32, order="C")
    inside = np.array(grid.cropped(mask), dtype=bool, order="C")
    finite = np.isfinite(values)
    inside &= finite
    values = normalise(values, finite, *span)
    tissue = finite & (values > 0) & (values < RIM_SPANS)
    sought = inside | (dilated(inside, grid.input_spacing_mm, reach_mm) & tissue)
    brain = block_mean(inside, grid.block) > 0.5
    work, work_mask = _on_work_grid(values, sought, grid.block)
    fill_outside(work, work_mask, brain, grid.spacing_mm)
    return work, work_mask, brain


def dilated(mask: BoolArray, spacing_mm: tuple[float, float, float], reach_mm: float) -> BoolArray:
    """The voxels (slice, row, column) whose centres lie within a distance of those of a mask."""
    import cv2

    planes = mask.view(np.uint8)
    result = planes.copy()
    for step in range(-int(reach_mm / spacing_mm[0]), int(reach_mm / spacing_mm[0]) + 1):
        reach = np.sqrt(reach_mm**2 - (step * spacing_mm[0]) ** 2)
        rows, columns = (int(reach / q) for q in spacing_mm[1:])
        y, x = np.mgrid[-rows : rows + 1, -columns : columns + 1]
        near = (y * spacing_mm[1]) ** 2 + (x * spacing_mm[2]) ** 2 <= reach**2
        for z in range(max(0, -step), min(len(mask), len(mask) - step)):
            result[z + step] |= cv2.dilate(planes[z], near.astype(np.uint8))
    return result.view(np.bool_)


def brain_span(values: Float32Array) -> tuple[float, float]:
    """Median, and the range that holds 98 % of the brain (the full range if that is 0), in float64."""
    sample = values[:: max(1, values.size // 500_000)].astype(np.float64)
    low, median, high = np.percentile(sample, [1, 50, 99])
    span = high - low
    if span == 0:
        span = float(values.max()) - float(values.min())
    return float(median), float(span)


def normalise(values: Float32Array, finite: BoolArray, median: float, unit: float) -> Float32Array:
    """Brain spans from the median, clipped; not finite ones become the median. ``values`` may be overwritten."""
    with np.errstate(over="ignore", invalid="ignore"):
        if 1e-20 < unit < 1e20 and abs(median) < 1e4 * unit:
            result = np.subtract(values, np.float32(median), out=values)
            result /= np.float32(unit)
        else:  # float32 would overflow, or lose the contrast beside the offset
            result = ((values.astype(np.float64) - median) / unit).astype(np.float32)
    result[~finite] = 0
    return np.clip(result, -CLIP_SPANS, CLIP_SPANS, out=result)


def _on_work_grid(
    values: Float32Array, inside: BoolArray, block: tuple[int, int, int]
) -> tuple[Float32Array, BoolArray]:
    """Work voxels and mask: means over the voxels inside the mask, so that bone does not mix into the brain's edge."""
    if block == (1, 1, 1):
        return values, inside
    fraction = block_mean(inside, block)
    mean = block_mean(np.where(inside, values, np.float32(0)), block)
    return np.divide(mean, fraction, out=mean, where=fraction > 0), fraction > 0.5


def quantisation_step(values: Float32Array) -> float:
    """Grey-value step of integer data, 0 for data that are not integers."""
    sample = values[:: max(1, values.size // 20_000)]
    if not np.array_equal(sample, np.rint(sample)):
        return 0.0
    steps = np.diff(np.unique(sample.astype(np.float64)))
    return float(steps.min()) if steps.size else 0.0


def _saturation(values: Float32Array) -> tuple[Reason, ...]:
    top = values.max()
    share = float(np.count_nonzero(values == top)) / values.size
    if share <= SATURATED_FRACTION or top == values.min():
        return ()
    text = f"{share:.0%} of the brain has the largest value of the scan: bright lesions may be cut off"
    return (Reason(code="saturated", text=text),)


def noise_sigma(work: Float32Array, mask: BoolArray) -> float:
    """Noise standard deviation from the in-plane mixed second difference, which slopes and straight edges leave alone.

    The difference has gain 2 for white noise. The median absolute deviation ignores the folds. Reads about 40 slices.
    """
    if min(work.shape[1:]) < 2:
        return 0.0
    every = max(1, work.shape[0] // 40)
    x, m = work[::every], mask[::every]
    mixed = x[:, 1:, 1:] - x[:, 1:, :-1] - x[:, :-1, 1:] + x[:, :-1, :-1]
    values = mixed[m[:, 1:, 1:] & m[:, :-1, :-1] & m[:, 1:, :-1] & m[:, :-1, 1:]]
    if values.size == 0:
        return 0.0
    return float(1.4826 * np.median(np.abs(values - np.median(values))) / 2)


def fill_outside(work: Float32Array, mask: BoolArray, brain: BoolArray, spacing_mm: tuple[float, float, float]) -> None:
    """Replace what lies outside of the mask by a smooth continuation of the brain (normalised convolution), in place.

    Without it the edge of the mask, or a bright skull, would respond like a blob.
    """
    if mask.all() or not brain.any():
        return
    block = tuple(max(1, round(FILL_MM / q)) for q in spacing_mm)
    weight = _block_sum(brain, block)
    total = _block_sum(np.where(brain, work, np.float32(0)), block)
    fill = np.full(weight.shape, np.float32(total.sum() / weight.sum()))
    done = np.zeros(weight.shape, dtype=bool)
    for _ in range(FILL_STEPS):
        for axis, (size, mm) in enumerate(zip(block, spacing_mm, strict=True)):
            if size * mm < 2 * FILL_MM:
                total, weight = _three_sum(total, axis), _three_sum(weight, axis)
        new = (weight > 1e-3 * np.prod(block)) & ~done
        fill[new] = total[new] / weight[new]
        done |= new
    for z in range(work.shape[0]):
        plane = fill[z // block[0]].repeat(block[1], 0)[: work.shape[1]].repeat(block[2], 1)[:, : work.shape[2]]
        np.copyto(work[z], plane, where=~mask[z])


def _block_sum(array: NDArray[Any], block: tuple[int, ...]) -> Float32Array:
    """Sum over blocks; the last block of an axis may be incomplete."""
    total = array
    for axis, size in enumerate(block):
        parts = [np.moveaxis(total, axis, 0)[start::size] for start in range(size)]
        acc = np.array(parts[0], dtype=np.float32)
        for part in parts[1:]:
            acc[: len(part)] += part
        total = np.moveaxis(acc, 0, axis)
    return np.asarray(total, dtype=np.float32)


def _three_sum(array: Float32Array, axis: int) -> Float32Array:
    """Running sum over three neighbours; beyond the border counts as the border."""
    moved = np.moveaxis(array, axis, 0)
    padded = np.concatenate([moved[:1], moved, moved[-1:]])
    return np.moveaxis(padded[:-2] + padded[1:-1] + padded[2:], 0, axis)
