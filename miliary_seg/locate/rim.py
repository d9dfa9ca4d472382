"""The rim of the brain mask: a small network decides which voxels near the mask's surface are brain.

The outermost cortex shares its voxels with fluid, and is lost where one level parts tissue from fluid. How bright a
voxel is against the tissue below it, what lies inward and outward of it, and how the mask and the fitted surface run
there tell more. Fitted on scans simulated from label maps of people (``tests/benchmarks/rim_fit.py``); figures:
docs/measurements/compartments.md, "The rim".
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from scipy import ndimage as ndi

from miliary_seg.domain.arrays import BoolArray, Box, Float32Array, Float64Array, Int32Array
from miliary_seg.locate.pyramid import BlockMeans

FEATURES = (
    "grey value",
    "around",
    "outward 2",
    "outward 4",
    "outward 7",
    "inward 2",
    "next outward i",
    "next inward i",
    "next outward j",
    "next inward j",
    "next outward k",
    "next inward k",
    "mask around",
    "outside mm",
    "thickness",
    "thickness along the normal",
    "dark of the rim",
    "bright of the rim",
    "white matter",
    "tissue below",
)
"""The network's input for a voxel. Grey values are shares of the tissue below it (``TISSUE_MM``). Outward and inward
are along the normal of the fitted surface, in mm; "next" is the next voxel along an axis; "thickness" is the logarithm
of slice over pixel. That, "dark of the rim", "bright of the rim" and "white matter" are one figure for a whole scan."""
COARSE_MM = 2.0
"""Surroundings are looked up in block means of this size."""
AROUND_MM = 2.0
"""Gaussian of the surroundings, of grey values and of the mask."""
SHARE_OF_MASK = (0.2, 0.85)
"""Voxels whose surroundings are mask to this share are looked at: about 2 mm to either side of its surface. Looking
twice as far gained nothing and let in pieces of skull base."""
FURTHEST_MM = 3.5
"""Nothing further outside the fitted surface is looked at."""
PROFILE_MM = (2.0, 4.0, 7.0, -2.0)
"""Outward along the normal of the fitted surface."""
CORE_MM, TISSUE_MM, RIM_MM = 4.0, 3.5, (1.0, 8.0)
"""Depth in the fitted brain from which the scan's own tissue, and that below each voxel, is taken; and the layer whose
dark (3rd percentile: fluid of the folds) and bright (97th) grey values are inputs of the network."""
TISSUE_STEP_MM, TISSUE_SIGMA_MM = 4.0, 8.0
"""Block size and Gaussian of the tissue below."""
NORMAL_SIGMA_MM = 3.0
GREY_LIMITS = (-0.5, 4.0)
INPUT_LIMIT = 5.0
"""Features beyond so many standard deviations of those fitted on count as this many."""
JOINS, LEAVES = -1.5, -4.0
"""Log odds above which a voxel joins the mask, and below which one leaves it: what the mask holds is given up only
where the network is surer, since lesions are rare in what it was fitted on."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NearScan:
    """The surroundings of the brain in a scan, shape (i, j, k)."""

    signal: Float32Array
    """Grey values over the zero level, bias field corrected."""
    outside_mm: Float32Array
    """Distance outside the fitted brain surface, negative inside."""
    spacing_mm: Float64Array
    white: float
    """Median of white matter, as signal."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Network:
    mean: Float32Array
    scale: Float32Array
    weights: tuple[Float32Array, ...]
    biases: tuple[Float32Array, ...]

    def log_odds(self, features: Float32Array) -> Float32Array:
        """Log odds (n,) of features (len(FEATURES), n)."""
        x = (features - self.mean[:, None]) / self.scale[:, None]
        np.clip(x, -INPUT_LIMIT, INPUT_LIMIT, out=x)
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = weight @ x + bias[:, None]
            if layer < len(self.weights) - 1:
                np.maximum(x, 0, out=x)
        result: Float32Array = x[0]
        return result


@cache
def _network() -> _Network:
    with np.load(str(files("miliary_seg.locate") / "rim.npz"), allow_pickle=False) as file:
        layers = range(sum(name.startswith("weight") for name in file.files))
        return _Network(
            mean=file["mean"],
            scale=file["scale"],
            weights=tuple(file[f"weight{n}"] for n in layers),
            biases=tuple(file[f"bias{n}"] for n in layers),
        )


def whole_blocks(box: Box, spacing_mm: Float64Array, shape: tuple[int, ...]) -> Box:
    """A box grown to whole blocks counted from the scan's corner: a voxel more or less must not shift all blocks."""
    steps = _steps(spacing_mm, COARSE_MM)
    wide = [s * w for s, w in zip(steps, _steps(spacing_mm * steps, TISSUE_STEP_MM), strict=True)]
    return tuple(
        slice(part.start // n * n, min(-(-part.stop // n) * n, size))
        for part, n, size in zip(box, wide, shape, strict=True)
    )


def _steps(spacing_mm: Float64Array, block_mm: float) -> tuple[int, ...]:
    """Voxels of a block along each axis."""
    return tuple(max(1, round(block_mm / s)) for s in spacing_mm.tolist())


def with_rim(mask: BoolArray, scan: NearScan) -> BoolArray:
    """The mask with its rim decided voxel by voxel; unchanged where the fitted brain is hardly in view."""
    seen = rim_features(mask, scan)
    if seen is None:
        return mask
    at, features = seen
    odds = _network().log_odds(features)
    decided = mask.copy()
    flat = decided.reshape(-1)
    flat[at] = odds > np.where(flat[at], np.float32(LEAVES), np.float32(JOINS))
    return decided


def rim_features(mask: BoolArray, scan: NearScan) -> tuple[Int32Array, Float32Array] | None:
    """Flat indices (n,) of the voxels to decide on, and their features (len(FEATURES), n); None if there are none."""
    coarse = _Coarse.of(mask, scan)
    if coarse is None:
        return None
    near = coarse.band()
    for axis, step in enumerate(coarse.steps):
        near = np.repeat(near, step, axis=axis) if step > 1 else near
    wide = np.zeros(mask.shape, bool)
    wide[tuple(slice(0, n) for n in near.shape)] = near[tuple(slice(0, n) for n in mask.shape)]
    places = [axis.astype(np.int32) for axis in np.nonzero(wide)]
    if not places[0].size:
        return None
    return _flat(places, mask.shape), _FeatureTable(coarse=coarse, scan=scan, places=places).features()


def _flat(places: list[Int32Array], shape: tuple[int, ...]) -> Int32Array:
    i, j, k = places
    flat: Int32Array = (i * np.int32(shape[1]) + j) * np.int32(shape[2]) + k
    return flat


def _blocks(array: Float32Array, spacing_mm: Float64Array, step_mm: float) -> Float32Array:
    return BlockMeans(voxels=array, affine=np.diag([*spacing_mm, 1.0])).coarser(step_mm).voxels


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Coarse:
    """Block means of a scan and its mask."""

    shares: Float32Array
    """Signal over the brain's median."""
    mask: Float32Array
    outside_mm: Float32Array
    mask_around: Float32Array
    spacing_mm: Float64Array
    steps: tuple[int, ...]
    median: float

    @classmethod
    def of(cls, mask: BoolArray, scan: NearScan) -> _Coarse | None:
        spacing = scan.spacing_mm
        share, outside, signal = (
            _blocks(part, spacing, COARSE_MM) for part in (mask.astype(np.float32), scan.outside_mm, scan.signal)
        )
        steps = _steps(spacing, COARSE_MM)
        core = (outside < -CORE_MM) & (share > 0.99)
        median = float(np.median(signal[core])) if core.any() else 0.0
        if median <= 0:
            return None
        wide_mm = spacing * steps
        return cls(
            shares=np.clip(signal * np.float32(1 / median), *GREY_LIMITS),
            mask=share,
            outside_mm=outside,
            mask_around=ndi.gaussian_filter(share, AROUND_MM / wide_mm, truncate=2.5),
            spacing_mm=wide_mm,
            steps=steps,
            median=median,
        )

    def band(self) -> BoolArray:
        """Blocks at the mask's surface."""
        low, high = SHARE_OF_MASK
        return (self.mask_around > low) & (self.mask_around < high) & (self.outside_mm < FURTHEST_MM)

    def tissue_below(self) -> tuple[Float32Array, tuple[int, ...]]:
        """Mean share of the tissue near each larger block, and the size of those in blocks."""
        tissue = ((self.outside_mm < -TISSUE_MM) & (self.mask > 0.9)).astype(np.float32)
        wide = _steps(self.spacing_mm, TISSUE_STEP_MM)
        sigma = TISSUE_SIGMA_MM / (self.spacing_mm * wide)
        total, count = (
            ndi.gaussian_filter(_blocks(part, self.spacing_mm, TISSUE_STEP_MM), sigma, truncate=3.0)
            for part in (tissue * np.clip(self.shares, 0.3, 2.0), tissue)
        )
        return (total + np.float32(1e-3)) / (count + np.float32(1e-3)), wide

    def rim_levels(self) -> tuple[float, float]:
        """Dark and bright shares in the outer layer of the mask."""
        layer = (self.mask > 0.5) & (self.outside_mm < -RIM_MM[0]) & (self.outside_mm > -RIM_MM[1])
        if not layer.any():
            return 0.0, 1.0
        dark, bright = np.percentile(self.shares[layer], [3, 97])
        return float(dark), float(bright)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _FeatureTable:
    """Looks up the features of voxels at ``places``, three arrays (n,) of indices."""

    coarse: _Coarse
    scan: NearScan
    places: list[Int32Array]

    def features(self) -> Float32Array:
        """Shape (len(FEATURES), n)."""
        coarse, scan = self.coarse, self.scan
        table = np.empty((len(FEATURES), self.places[0].size), np.float32)
        wide, size = coarse.tissue_below()
        below = self._looked_up(wide, [s * w for s, w in zip(coarse.steps, size, strict=True)])
        block = self._blocks(coarse.shares.shape, coarse.steps)
        normal = self._normals(block)
        self._grey_values(table, normal, block)
        table[:12] /= below
        table[12] = coarse.mask_around.reshape(-1)[block]
        table[13] = scan.outside_mm.reshape(-1)[_flat(self.places, scan.outside_mm.shape)]
        thick = int(np.argmax(scan.spacing_mm))
        ratio = scan.spacing_mm[thick] / scan.spacing_mm.min() if scan.spacing_mm[thick] > COARSE_MM else 1.0
        table[14] = np.log(ratio)
        table[15] = np.abs(normal[thick]) * table[14]
        table[16], table[17] = coarse.rim_levels()
        table[18] = scan.white / coarse.median
        table[19] = below
        return table

    def _grey_values(self, table: Float32Array, normal: Float32Array, block: Int32Array) -> None:
        """At the voxel, around it, along the normal, and in the next voxels along each axis."""
        coarse, signal = self.coarse, self.scan.signal
        shape, per_median = signal.shape, np.float32(1 / coarse.median)
        table[1] = ndi.gaussian_filter(coarse.shares, AROUND_MM / coarse.spacing_mm, truncate=2.0).reshape(-1)[block]
        flat = signal.reshape(-1)
        table[0] = flat[_flat(self.places, shape)] * per_median
        for row, distance in enumerate(PROFILE_MM, start=2):
            table[row] = self._along(normal, distance)
        row = 2 + len(PROFILE_MM)
        for axis in range(3):
            outward = np.where(normal[axis] >= 0, np.int32(1), np.int32(-1))
            for step in (outward, -outward):
                moved = list(self.places)
                moved[axis] = np.clip(moved[axis] + step, 0, shape[axis] - 1)
                table[row] = flat[_flat(moved, shape)] * per_median
                row += 1
        np.clip(table[:row], *GREY_LIMITS, out=table[:row])

    def _along(self, normal: Float32Array, distance_mm: float) -> Float32Array:
        """Block means so far outward."""
        coarse = self.coarse
        moved = []
        for axis, place in enumerate(self.places):
            step = coarse.steps[axis]
            shift = normal[axis] * np.float32(distance_mm / coarse.spacing_mm[axis])
            at = np.floor((place + np.float32(0.5)) * np.float32(1 / step) + shift).astype(np.int32)
            moved.append(np.clip(at, 0, coarse.shares.shape[axis] - 1, out=at))
        found: Float32Array = coarse.shares.reshape(-1)[_flat(moved, coarse.shares.shape)]
        return found

    def _normals(self, block: Int32Array) -> Float32Array:
        """Outward unit normals of the fitted surface, shape (3, n)."""
        coarse = self.coarse
        smooth = ndi.gaussian_filter(coarse.outside_mm, NORMAL_SIGMA_MM / coarse.spacing_mm, truncate=2.0)
        normal = np.stack([_slope(smooth, axis, s).reshape(-1)[block] for axis, s in enumerate(coarse.spacing_mm)])
        normal /= np.sqrt((normal**2).sum(axis=0)) + np.float32(1e-6)
        return normal

    def _blocks(self, shape: tuple[int, ...], steps: tuple[int, ...] | list[int]) -> Int32Array:
        """Flat index of the block that holds each voxel."""
        inside = [np.minimum(p // s, n - 1) for p, s, n in zip(self.places, steps, shape, strict=True)]
        return _flat(inside, shape)

    def _looked_up(self, blocks: Float32Array, steps: list[int]) -> Float32Array:
        found: Float32Array = blocks.reshape(-1)[self._blocks(blocks.shape, steps)]
        return found


def _slope(samples: Float32Array, axis: int, step_mm: float) -> Float32Array:
    if samples.shape[axis] < 2:
        return np.zeros_like(samples)
    slope: Float32Array = np.gradient(samples, step_mm, axis=axis)
    return slope
