"""Which voxels belong to each lesion, on the input's own pixels, touching lesions split."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from miliary_seg.detect.work_grid import THICK_MM, Spacing
from miliary_seg.domain.arrays import BoolArray, Float64Array, IndexArray, Int32Array
from miliary_seg.domain.grid import other_axes
from miliary_seg.domain.lesion import Candidate, Lesion
from miliary_seg.domain.volume import Volume

EXTENT_ANGLES = 24
"""Directions in which the longest in-plane extent is sought: at most 0.9 % too short. An even number, so that the
direction at right angles to each is among them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Measures of one label."""

    voxels: int
    volume_mm3: float
    equivalent_diameter_mm: float
    max_diameter_mm: float
    perpendicular_diameter_mm: float
    slices: tuple[int, ...]


def measure_labels(labels: Int32Array, volume: Volume, count: int) -> list[Size | None]:
    """Size of labels 1 to ``count``; None where a label has no voxel.

    A slice shows a lesion where at least one voxel of the lesion's region lies in it: there the slice reaches
    40 % of the lesion's peak contrast (``delineate.LEVEL``), which is the visibility rule of the per-slice counts.
    """
    boxes = ndi.find_objects(labels, max_label=count)
    return [None if box is None else measure(labels[box] == n + 1, box, volume) for n, box in enumerate(boxes)]


def measure(region: BoolArray, box: tuple[slice, ...], volume: Volume) -> Size:
    """Size of one lesion: its voxels within a box of the scan."""
    axis = volume.slice_axis
    voxels = int(np.count_nonzero(region))
    size = voxels * volume.grid.voxel_volume_mm3
    longest, perpendicular = _diameters(np.moveaxis(region, axis, 0), volume)
    shown = np.flatnonzero(region.any(axis=other_axes(axis)))
    return Size(
        voxels=voxels,
        volume_mm3=size,
        equivalent_diameter_mm=float((6 * size / np.pi) ** (1 / 3)),
        max_diameter_mm=longest,
        perpendicular_diameter_mm=perpendicular,
        slices=tuple(int(k) + box[axis].start for k in shown),
    )


def measured_lesion(candidate: Candidate, size: Size, number: int, n_slices: int, *, in_rim: bool) -> Lesion:
    """An accepted candidate with the measures of its voxels.

    Parameters
    ----------
    candidate
        Place, contrast, probability and polarity.
    size
        What ``measure_labels`` found for its label.
    number
        The lesion's id.
    n_slices
        Of the scan.
    in_rim
        Whether it lies at the edge of the brain mask.
    """
    flags = {"rim": in_rim, "scan_end": size.slices[0] == 0 or size.slices[-1] == n_slices - 1}
    return Lesion(
        id=number,
        centroid_ras_mm=candidate.centroid_ras_mm,
        centroid_ijk=candidate.centroid_ijk,
        volume_mm3=size.volume_mm3,
        equivalent_diameter_mm=size.equivalent_diameter_mm,
        contrast=candidate.contrast,
        probability=candidate.probability,
        polarity=candidate.polarity,
        slices=size.slices,
        max_diameter_mm=size.max_diameter_mm,
        perpendicular_diameter_mm=size.perpendicular_diameter_mm,
        candidate_id=candidate.id,
        flags=tuple(name for name, is_set in flags.items() if is_set),
    )


def _diameters(region: BoolArray, volume: Volume) -> tuple[float, float]:
    """Longest in-plane extent in mm over all slices and, on the same slice, that at right angles to it.

    One pixel is added for the edges: the extent of a single pixel is that pixel.
    """
    spacing = [volume.grid.spacing_mm[a] for a in volume.in_plane_axes]
    z, y, x = np.nonzero(region)
    angle = np.arange(EXTENT_ANGLES) * np.pi / EXTENT_ANGLES
    across = np.stack([np.cos(angle) * spacing[0], np.sin(angle) * spacing[1]])
    along = np.column_stack([y, x]) @ across
    starts = np.flatnonzero(np.r_[True, np.diff(z) > 0])
    extent = np.maximum.reduceat(along, starts) - np.minimum.reduceat(along, starts)
    shown, direction = np.unravel_index(int(extent.argmax()), extent.shape)
    beside = extent[shown, (direction + EXTENT_ANGLES // 2) % EXTENT_ANGLES]
    pixel = np.sqrt(spacing[0] * spacing[1])
    return float(extent[shown, direction] + pixel), float(beside + pixel)


LEVEL = 0.4
"""A voxel belongs to a lesion above this fraction of its peak contrast (docs/detection.md, "Outline")."""
CAP_RADII = 1.25
"""A lesion ends at this many radii from its centre: without a limit the region leaks along vessels."""
PSF_MM = 0.45
"""Blur of a scan (standard deviation in mm): at least this, and at least half an in-plane pixel."""
LEAST_SHRINK = 0.6
"""The blur never takes more than this off a radius."""
BACKGROUND_SHELL = (1.0, 2.5)
"""The background is the median between 1.3 radii plus these two distances in mm."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seeds:
    """The n lesions to delineate, the most probable first.

    ``index`` is the fractional position (n, 3) on the array to be labelled; ``sign`` is 1 for bright, -1 for dark.
    """

    index: Float64Array
    radius_mm: Float64Array
    sign: NDArray[np.int_]

    def __len__(self) -> int:
        return len(self.radius_mm)


def true_radius_mm(radius_mm: Float64Array, pixel_mm: float) -> Float64Array:
    """Radius without the blur of the scan: r^2 - 2 psf^2, checked on phantoms (docs/detection.md, "Outline")."""
    psf = max(PSF_MM, 0.5 * pixel_mm)
    floor = (LEAST_SHRINK * radius_mm) ** 2
    result: Float64Array = np.sqrt(np.maximum(radius_mm**2 - 2 * psf**2, floor))
    return result


def label_lesions(values: NDArray[np.generic], spacing_mm: Spacing, seeds: Seeds, labels: Int32Array) -> None:
    """Write each lesion's number (1, 2 ...) into ``labels``, in place.

    A lesion is the 6-connected region around its seed above ``LEVEL`` of its contrast, within ``CAP_RADII``. A voxel
    that two lesions claim goes to the one whose ball it lies deeper in (power distance).

    Parameters
    ----------
    values
        Grey values (slice, row, column) at the input's pixels.
    spacing_mm
        Their spacing.
    seeds
        Lesions.
    labels
        Zeros of the same shape.
    """
    size = np.array(spacing_mm)
    radius = true_radius_mm(seeds.radius_mm, spacing_mm[1])
    power = np.concatenate([[0.0], radius**2])
    centres = np.concatenate([np.zeros((1, 3)), seeds.index])
    count = np.zeros(len(seeds) + 1, dtype=np.intp)
    for n in range(len(seeds)):
        box, patch, offset = _box(values, size, seeds, n)
        squared = _squared_mm(offset, size)
        region = _region(patch, squared, offset, (size, float(seeds.radius_mm[n]), float(radius[n])))
        owner = labels[box]
        z, y, x = np.nonzero(region & (owner > 0))
        if len(z):
            other = owner[z, y, x]
            place = np.column_stack([z, y, x]) + [s.start for s in box]
            theirs = (((place - centres[other]) * size) ** 2).sum(axis=1) - power[other]
            region[z, y, x] = squared[z, y, x] - power[n + 1] < theirs
        np.subtract.at(count, owner[region], 1)
        count[n + 1] = np.count_nonzero(region)
        owner[region] = n + 1
    _keep_seeds(labels, seeds, count)


def _keep_seeds(labels: Int32Array, seeds: Seeds, count: IndexArray) -> None:
    """A lesion that lost all voxels to others keeps that of its seed, unless it is the only voxel of another lesion.

    ``count`` holds the voxels of each label.
    """
    place = np.clip(np.rint(seeds.index).astype(int), 0, np.array(labels.shape) - 1)
    for n in np.flatnonzero(count[1:] == 0):
        owner = labels[tuple(place[n])]
        if owner == 0 or count[owner] > 1:
            count[owner] -= 1
            labels[tuple(place[n])] = n + 1


def _box(
    values: NDArray[np.generic], size: Float64Array, seeds: Seeds, n: int
) -> tuple[tuple[slice, ...], Float64Array, list[Float64Array]]:
    """Slices of a box around a seed, its smoothed signed values, offsets from the seed along each axis in voxels."""
    thick = bool(size[0] > THICK_MM)
    reach = 1.3 * seeds.radius_mm[n] + BACKGROUND_SHELL[1] + (size[0] / 2 if thick else 0)
    low = np.maximum(0, np.floor(seeds.index[n] - reach / size)).astype(int)
    high = np.minimum(values.shape, np.ceil(seeds.index[n] + reach / size).astype(int) + 1)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    patch = seeds.sign[n] * np.asarray(values[box], dtype=np.float64)
    finite = np.isfinite(patch)
    if not finite.all():
        patch[~finite] = np.median(patch[finite]) if finite.any() else 0.0
    blur = [0.0 if thick else 0.5 * size.min() / size[0], 0.5, 0.5]
    patch = ndi.gaussian_filter(patch, blur, truncate=2, mode="nearest")
    offset = [np.arange(a, b) - c for a, b, c in zip(low, high, seeds.index[n], strict=True)]
    return box, patch, offset


def _squared_mm(offset: list[Float64Array], size: Float64Array) -> Float64Array:
    z, y, x = ((o * mm) ** 2 for o, mm in zip(offset, size, strict=True))
    total: Float64Array = z[:, None, None] + y[None, :, None] + x[None, None, :]
    return total


def _region(
    patch: Float64Array, squared: Float64Array, offset: list[Float64Array], sizes: tuple[Float64Array, float, float]
) -> BoolArray:
    """Capped half-maximum region of one lesion in its box; never empty."""
    size, seen, radius = sizes
    thick = bool(size[0] > THICK_MM)
    seed = tuple(int(np.argmin(np.abs(o))) for o in offset)
    inner, outer = (1.3 * seen + mm for mm in BACKGROUND_SHELL)
    shell = (squared > inner**2) & (squared <= outer**2)
    if thick:
        shell[: seed[0]] = shell[seed[0] + 1 :] = False
    background = float(np.median(patch[shell])) if shell.any() else float(np.median(patch))
    core = squared <= max(0.5 * seen, 0.6 * size[1]) ** 2
    core[seed] = True
    peak = float(patch[core].max())
    cap = max(CAP_RADII * radius, 0.9 * size[1]) + (size[0] / 2 if thick else 0.0)
    region = (patch > background + LEVEL * (peak - background)) & (squared <= cap**2)
    if region.any():
        seed = tuple(int(i) for i in np.unravel_index(int(np.argmin(np.where(region, squared, np.inf))), region.shape))
    else:
        region[seed] = True
    parts, _ = ndi.label(region)
    result: BoolArray = parts == parts[seed]
    return result


DEEPEST_SADDLE = 0.4
"""Two regions that touch are pieces of one lesion if the valley between them is at most this share of the fainter one's
contrast deep: arcs of a ring, lobes of an irregular lesion. Lesions 2 mm apart have a deeper valley."""
PEAK_QUANTILE = 0.9
"""Of a piece's voxels, for its peak: the maximum would add the noise of a few voxels."""


def join_pieces(
    values: NDArray[np.generic], labels: Int32Array, contrast: Float64Array, sign: NDArray[np.integer]
) -> None:
    """Give pieces of one lesion the number of the first of them, in place; numbers of the others are left out.

    Parameters
    ----------
    values
        Grey values (slice, row, column).
    labels
        Regions 1 to n on the same grid, the most probable first.
    contrast
        Of each region, in the unit of the values, shape (n,), positive.
    sign
        1 for a bright, -1 for a dark region, shape (n,).
    """
    from scipy.sparse import coo_array  # a tenth of a second that deciding again does not need
    from scipy.sparse.csgraph import connected_components

    first, second, saddle = _contacts(values, labels, sign)
    if not first.size:
        return
    touching = np.unique(np.concatenate([first, second]))
    boxes = ndi.find_objects(labels, max_label=int(touching.max()))
    peak = np.full(len(contrast) + 1, np.nan)
    for n in touching:
        inside = np.asarray(values[boxes[n - 1]][labels[boxes[n - 1]] == n], dtype=np.float64)
        peak[n] = np.quantile(sign[n - 1] * inside, PEAK_QUANTILE)
    fainter = np.where(peak[first] < peak[second], first, second)
    alike = sign[first - 1] == sign[second - 1]
    one = alike & (peak[fainter] - saddle <= DEEPEST_SADDLE * contrast[fainter - 1])
    n_labels = len(contrast) + 1
    graph = coo_array((np.ones(one.sum()), (first[one], second[one])), shape=(n_labels, n_labels))
    _, piece = connected_components(graph, directed=False)
    leader = np.full(piece.max() + 1, n_labels)
    np.minimum.at(leader, piece, np.arange(n_labels))
    table = leader[piece].astype(np.int32)
    table[0] = 0
    labels[...] = table[labels]


def _contacts(
    values: NDArray[np.generic], labels: Int32Array, sign: NDArray[np.integer]
) -> tuple[IndexArray, IndexArray, Float64Array]:
    """Pairs of regions that share a face, and the highest (of dark ones lowest) grey value on the way between them."""
    pairs, passes = [], []
    place = np.stack(np.nonzero(labels))
    for axis in range(3):
        here = place[:, place[axis] < labels.shape[axis] - 1]
        there = here.copy()
        there[axis] += 1
        one, other = labels[tuple(here)], labels[tuple(there)]
        met = (other > 0) & (one != other)
        one, other = one[met].astype(np.int64), other[met].astype(np.int64)
        lows = [np.asarray(values[tuple(side[:, met])], dtype=np.float64) * sign[one - 1] for side in (here, there)]
        pairs.append(np.column_stack([np.minimum(one, other), np.maximum(one, other)]))
        passes.append(np.minimum(*lows))
    found, owner = np.unique(np.concatenate(pairs), axis=0, return_inverse=True)
    saddle = np.full(len(found), -np.inf)
    np.maximum.at(saddle, owner.ravel(), np.concatenate(passes))
    return found[:, 0].astype(np.intp), found[:, 1].astype(np.intp), saddle
