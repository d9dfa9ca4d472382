"""Features of a blob, measured on spheres around it; ``feature_table`` says what each of them means."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import ndimage as ndi

from miliary_seg.detect.blur import ScaleSpace, over_jobs
from miliary_seg.detect.candidates import Blobs, GridLevel
from miliary_seg.detect.feature_table import FEATURES
from miliary_seg.detect.normalise import WorkVolume
from miliary_seg.detect.refine import radius_mm, response_at
from miliary_seg.domain.arrays import Float32Array, Float64Array, IndexArray

Features = dict[str, Float64Array]

SHELLS = ((0.5, 0.0), (1.0, 0.0), (1.0, 1.0), (1.0, 2.0), (1.0, 3.0), (1.0, 4.0), (1.0, 6.0))
"""Shells on which a blob is sampled: radius of each = factor x blob radius + mm. The third is that of ``isolation``:
outside the blur of a lesion, inside the next structure."""
HALF, RIM, NEAR, MIDDLE, FAR, LAST, WIDE = range(7)
LIMIT = 5.0
"""Ratios to the contrast are clipped here: a ventricle or a vessel may be any number of lesion contrasts away."""
DIRECTIONS_3D = 42
DIRECTIONS_2D = 16
BEND_DEG = 50.0
"""A vessel that bends by up to this angle is still a tube."""
BEND_2D_DEG = 35.0
SHARPER_SCALES = 2
"""Blob and shells are sampled this many scales finer than the blob was found at: less blur between them."""
CHUNK = 1024
"""Blobs sampled at a time: their samples stay in cache, and memory does not grow with their number."""
SLICE_REACH_MM = 3.0
"""``persistence`` is measured in the next slice, or at this distance where slices are closer."""


def _sphere(count: int) -> Float64Array:
    """Unit vectors spread evenly over a sphere (Fibonacci lattice on half of it, and their opposites)."""
    i = np.arange(count) + 0.5
    polar, turn = np.arccos(1 - 2 * i / count), np.pi * (1 + 5**0.5) * i
    points = np.stack([np.cos(polar), np.sin(polar) * np.sin(turn), np.sin(polar) * np.cos(turn)], axis=1)
    half = points[points[:, 0] > 0][: count // 2]
    return np.concatenate([half, -half])


def _circle(count: int) -> Float64Array:
    """Unit vectors in the plane of the slice."""
    angle = np.arange(count) * 2 * np.pi / count
    return np.stack([0 * angle, np.sin(angle), np.cos(angle)], axis=1)


def clear_of_noise(grid_level: GridLevel, blobs: Blobs, least: float, sign: int) -> Blobs:
    """The blobs whose centre stands out from the shell around them by more than ``least``; only these are measured."""
    space = grid_level.space
    keep = np.zeros(len(blobs), dtype=bool)

    def look(job: tuple[int, IndexArray]) -> None:
        level, chosen = job
        keep[chosen] = _Shells(space, level, blobs.where(chosen), sign, (SHELLS[NEAR],)).contrast > least

    over_jobs(look, _jobs(blobs))
    return blobs.where(keep)


def _jobs(blobs: Blobs) -> list[tuple[int, IndexArray]]:
    """Chunks of blobs that are sampled from one scale, with that scale."""
    sharper = np.maximum(blobs.scale - SHARPER_SCALES, 0)
    levels = [(int(level), np.flatnonzero(sharper == level)) for level in np.unique(sharper)]
    return [(level, rows[n : n + CHUNK]) for level, rows in levels for n in range(0, len(rows), CHUNK)]


def measure_features(grid_level: GridLevel, blobs: Blobs, work: WorkVolume, sign: int) -> Features:
    """The features of blobs that come from samples around them and from scale space.

    Parameters
    ----------
    grid_level
        The grid that the blobs were found on.
    blobs
        n maxima.
    work
        The scan: noise and mask.
    sign
        1 bright, -1 dark.

    Returns
    -------
    dict of float64 arrays of length n
        Keys as in ``FEATURES``.
    """
    space = grid_level.space
    out: Features = {name: np.zeros(len(blobs)) for name in FEATURES}
    out["eigen_ratio"] = blobs.eigen_ratio
    out["log_radius"] = np.log(radius_mm(blobs.sigma_mm, space.thick))
    out["response_mads"] = blobs.response / np.array(grid_level.spread)[blobs.scale]
    out |= _scale_profile(grid_level, blobs, sign)

    def measure(job: tuple[int, IndexArray]) -> None:
        level, chosen = job
        shells = _Shells(space, level, blobs.where(chosen), sign)
        for name, values in shells.features().items():
            out[name][chosen] = values

    over_jobs(measure, _jobs(blobs))
    out["contrast_to_noise"] = out["contrast"] / work.noise
    return out


def _scale_profile(grid_level: GridLevel, blobs: Blobs, sign: int) -> Features:
    """Response at the same position at other widths, over the blob's own: a lesion on a fold responds at two."""
    space, top = grid_level.space, len(grid_level.space.sigmas_mm) - 1
    profile = {}
    for name, step in (("finer_response", -1), ("coarser_response", 1), ("coarsest_response", 2)):
        level = np.clip(blobs.scale + step, 0, top)
        response = sign * response_at(space, level, blobs.voxel)
        profile[name] = np.clip(response / np.maximum(blobs.response, 1e-9), -LIMIT, LIMIT)
    return profile


def sample(grey: Float32Array, index: Float64Array) -> Float32Array:
    """Trilinear values at fractional indices (..., 3); the border is repeated outwards."""
    flat = index.reshape(-1, 3).T
    values: Float32Array = ndi.map_coordinates(grey, flat, order=1, mode="nearest", prefilter=False, output=np.float32)
    return values.reshape(index.shape[:-1])


class _Shells:
    """Signed grey values of n blobs: at the centre, on spheres (thick slices: circles) around it, in next slices."""

    def __init__(
        self,
        space: ScaleSpace,
        level: int,
        blobs: Blobs,
        sign: int,
        shells: tuple[tuple[float, float], ...] = SHELLS,
    ) -> None:
        grey = self.grey = space.gaussians[level]
        self.index, self.spacing, self.sign, thick = blobs.index, space.spacing_mm, sign, space.thick
        self.directions = _circle(DIRECTIONS_2D) if thick else _sphere(DIRECTIONS_3D)
        bend = np.radians(BEND_2D_DEG if thick else BEND_DEG)
        self.cone = (self.directions @ self.directions.T) < -np.cos(bend)
        radius = radius_mm(blobs.sigma_mm, thick)
        self.radii = np.stack([factor * radius + mm for factor, mm in shells], axis=1)
        steps = self.directions / np.array(self.spacing)
        self.shells = np.stack([self._at(self.radii[:, n, None, None] * steps) for n in range(len(shells))], axis=1)
        self.ordered = np.sort(self.shells, axis=2)
        nearest = self.sign * grey[tuple(blobs.voxel.T)]
        self.centre = np.maximum(self._at(np.zeros((1, 1, 3)))[:, 0], nearest)
        self.level = self._quantile(0.5)[:, shells.index(SHELLS[NEAR])]
        self.contrast = np.maximum(self.centre - self.level, 1e-9)

    def _at(self, steps: Float64Array) -> Float32Array:
        """Signed values at steps (n or 1, m, 3) in voxels from each blob."""
        values: Float32Array = self.sign * sample(self.grey, self.index[:, None] + steps)
        return values

    def _quantile(self, fraction: float) -> Float32Array:
        """Quantile of each shell (n, shells): the nearest sample; for the median the mean of the two in the middle."""
        count = self.ordered.shape[2]
        if fraction == 0.5:
            middle: Float32Array = self.ordered[:, :, count // 2 - 1 : count // 2 + 1].mean(axis=2)
            return middle
        return self.ordered[:, :, round(fraction * (count - 1))]

    def isolation(self, shell: int) -> Float32Array:
        """Height of the centre over the brightest sample of a shell, in units of the contrast."""
        return self._relative(self.ordered[:, shell, -1])

    def tube_isolation(self, shell: int) -> Float32Array:
        """The same over the brightest sample whose roughly opposite sample is as bright."""
        values = self.shells[:, shell]
        opposite = np.stack([values[:, row].max(axis=1) for row in self.cone], axis=1)
        return self._relative(np.minimum(values, opposite).max(axis=1))

    def _relative(self, rival: Float32Array) -> Float32Array:
        result: Float32Array = np.clip((self.centre - rival) / self.contrast, -2, 1)
        return result

    def features(self) -> Mapping[str, Float32Array | Float64Array]:
        """All features that come from the samples."""
        spread = np.minimum(self.shells.std(axis=2) / self.contrast[:, None], LIMIT)
        profile = np.clip((self._quantile(0.5) - self.level[:, None]) / self.contrast[:, None], -LIMIT, 2)
        darkest = (self.centre - self.ordered[:, FAR, 0]) / self.contrast
        leak, elongation = self._half_maximum()
        through, persistence = self._next_door()
        return {
            "isolation": self.isolation(NEAR),
            "tube_isolation": self.tube_isolation(NEAR),
            "contrast": self.contrast,
            "soft_isolation": self._relative(self._quantile(0.9)[:, NEAR]),
            "middle_isolation": self.isolation(MIDDLE),
            "far_isolation": self.isolation(FAR),
            "far_tube_isolation": self.tube_isolation(FAR),
            "shell_spread": spread[:, NEAR],
            "far_spread": spread[:, LAST],
            "rim_spread": spread[:, RIM],
            "profile_half": profile[:, HALF],
            "profile_rim": profile[:, RIM],
            "profile_far": profile[:, LAST],
            "leak": leak,
            "elongation": elongation,
            "darkest_surround": np.minimum(darkest, 20),
            "centre_value": self.centre,
            "surround_value": self.level,
            "persistence": persistence,
            "through": through,
            "quarter_isolation": self._relative(self._quantile(0.75)[:, NEAR]),
            "low_quarter": np.minimum((self.centre - self._quantile(0.25)[:, NEAR]) / self.contrast, LIMIT),
            "far_soft_isolation": self._relative(self._quantile(0.9)[:, FAR]),
            "last_tube_isolation": self.tube_isolation(LAST),
            "profile_wide": profile[:, WIDE],
            "wide_spread": spread[:, WIDE],
            **self._moments(),
        }

    def _moments(self) -> Features:
        """Slope, ridge and groove of three shells: their first and second moments over direction."""
        out: Features = {}
        traceless = self.directions[:, :, None] * self.directions[:, None] - np.cov(self.directions.T, bias=True)
        in_use = self.directions.any(axis=0)
        for name, shell in (("rim", RIM), ("near", NEAR), ("far", FAR)):
            values = (self.shells[:, shell] - self.shells[:, shell].mean(axis=1, keepdims=True)) / self.contrast[
                :, None
            ]
            slope = np.linalg.norm(values @ self.directions, axis=1) / len(self.directions)
            second = np.tensordot(values, traceless[:, in_use][:, :, in_use], 1) / len(self.directions)
            bend = np.linalg.eigvalsh(second)
            out[f"{name}_slope"] = np.minimum(slope, LIMIT)
            out[f"{name}_ridge"], out[f"{name}_groove"] = np.minimum(bend[:, -1], LIMIT), np.maximum(bend[:, 0], -LIMIT)
        return out

    def _half_maximum(self) -> tuple[Float64Array, Float64Array]:
        """Fraction of directions without a fall to half contrast up to ``MIDDLE``, and the spread of the falls."""
        half = (self.level + 0.5 * self.contrast)[:, None, None]
        below = self.shells < half
        leak = 1 - below[:, : MIDDLE + 1].any(axis=1).mean(axis=1)
        first = np.where(below.any(axis=1), below.argmax(axis=1), below.shape[1] - 1)
        distance = np.sort(np.take_along_axis(self.radii, first, axis=1), axis=1)
        count = distance.shape[1]
        return leak, distance[:, round(0.9 * (count - 1))] / distance[:, count // 2]

    def _next_door(self) -> tuple[Float32Array, Float32Array]:
        """Contrast that remains in the next slice, within 2 mm of the axis: on the weaker and on the stronger side."""
        ring = np.concatenate([_circle(1) * 0.0, _circle(8) * 1.0, _circle(8) * 2.0]) / np.array(self.spacing)
        reach = max(1.0, SLICE_REACH_MM / self.spacing[0])
        sides = []
        for step in (-reach, reach):
            best = self._at((ring + np.array([step, 0.0, 0.0]))[None]).max(axis=1)
            place = self.index[:, 0] + step
            seen = (place > -0.5) & (place < len(self.grey) - 0.5)
            sides.append(np.where(seen, np.clip((best - self.level) / self.contrast, -1, 2), 0))
        return np.minimum(*sides), np.maximum(*sides)
