"""What is measured of each blob: the columns of candidates.csv, with units and meaning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi
from scipy.spatial import cKDTree

from miliary_seg.detect.candidates import Blobs, Octave, is_thick, radius_mm
from miliary_seg.detect.intensity import WorkVolume
from miliary_seg.detect.scale_space import Float32Array, Spacing
from miliary_seg.domain.volume import BoolArray

Float64Array = NDArray[np.float64]
Features = dict[str, Float64Array]

SHELL_MM = 1.0
"""The shell lies this far outside of the blob's radius: beyond the blur of a lesion, before the next structure."""
WIDE_SHELL_MM = 3.0
"""A second, wider shell: the wider surroundings."""
DIRECTIONS_3D = 42
DIRECTIONS_2D = 16
BEND_DEG = 50.0
"""A vessel that bends by up to this angle is still a tube."""
BEND_2D_DEG = 35.0
SHARPER_SCALES = 2
"""The blob and its shell are sampled this many scales finer than it was found, so that the blur does not join them."""
EDGE_LIMIT_MM = 20.0
"""Distances to the mask edge are not followed further."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One column: its unit and meaning."""

    unit: str
    meaning: str


FEATURES: Mapping[str, Feature] = MappingProxyType(
    {
        "isolation": Feature(
            unit="1",
            meaning="(centre - brightest shell sample) / (centre - median of the shell), -2 to 1; the shell lies 1 mm "
            "outside of the blob. 1: stands alone; 0 or less: something as bright touches it",
        ),
        "tube_isolation": Feature(
            unit="1",
            meaning="the same against the best pair of roughly opposite shell samples: low for a vessel that passes "
            "through, also where it bends by up to 50 degrees",
        ),
        "eigen_ratio": Feature(unit="1", meaning="smallest / largest curvature: 1 for a ball, 0 for a line or sheet"),
        "log_radius": Feature(unit="ln mm", meaning="natural logarithm of the radius that answers most strongly"),
        "contrast_to_noise": Feature(unit="noise sd", meaning="(centre - median of the shell) / noise"),
        "response_mads": Feature(
            unit="1", meaning="Laplacian response / spread of that scale's responses in this brain"
        ),
        "wide_isolation": Feature(unit="1", meaning="isolation against a shell 3 mm outside of the blob"),
        "wide_tube_isolation": Feature(unit="1", meaning="tube isolation against a shell 3 mm outside of the blob"),
        "shell_spread": Feature(unit="1", meaning="standard deviation over the shell / (centre - median of the shell)"),
        "wide_spread": Feature(unit="1", meaning="standard deviation over the wide shell / (centre - its median)"),
        "centre_value": Feature(
            unit="brain spans", meaning="grey value at the centre from the brain's median, in units of its 1-99 % range"
        ),
        "surround_value": Feature(unit="brain spans", meaning="median grey value of the shell, likewise"),
        "darkest_surround": Feature(
            unit="brain spans", meaning="least (dark lesions: largest) value of the wide shell"
        ),
        "edge_mm": Feature(unit="mm", meaning="distance from the centre to the edge of the brain mask, at most 20"),
        "persistence": Feature(
            unit="1",
            meaning="persistence into the neighbouring slice where it is stronger: (largest value within 2 mm there - "
            "median of the shell) / (centre - median of the shell)",
        ),
        "through": Feature(unit="1", meaning="the same in the neighbouring slice where it is weaker: high for vessels"),
    }
)


def _sphere(count: int) -> Float64Array:
    """Unit vectors spread evenly over a sphere (Fibonacci lattice on half of it, and their opposites)."""
    i = np.arange(count) + 0.5
    polar, turn = np.arccos(1 - i / count), np.pi * (1 + 5**0.5) * i
    points = np.stack([np.cos(polar), np.sin(polar) * np.sin(turn), np.sin(polar) * np.cos(turn)], axis=1)
    half = points[points[:, 0] > 0][: count // 2]
    return np.concatenate([half, -half])


def _circle(count: int) -> Float64Array:
    """Unit vectors in the plane of the slice."""
    angle = np.arange(count) * 2 * np.pi / count
    return np.stack([0 * angle, np.sin(angle), np.cos(angle)], axis=1)


def measure_features(octave: Octave, blobs: Blobs, work: WorkVolume, sign: int) -> Features:
    """All features of blobs.

    Parameters
    ----------
    octave
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
    space = octave.space
    thick = is_thick(space.spacing_mm, len(space.gaussians[0]))
    radius = radius_mm(blobs.sigma_mm, thick)
    directions = _circle(DIRECTIONS_2D) if thick else _sphere(DIRECTIONS_3D)
    out: Features = {name: np.zeros(len(blobs)) for name in FEATURES}
    out["eigen_ratio"] = blobs.eigen_ratio
    out["log_radius"] = np.log(radius)
    out["response_mads"] = blobs.response / np.array(octave.spread)[blobs.scale]
    sharper = np.maximum(blobs.scale - SHARPER_SCALES, 0)
    for level in np.unique(sharper):
        chosen = np.flatnonzero(sharper == level)
        grey = space.gaussians[level]
        some = blobs.where(sharper == level)
        centre = _centre_value(grey, some, sign)
        how = (directions, space.spacing_mm, sign, thick)
        near, opposite = _shell(grey, some.index, radius[chosen] + SHELL_MM, how)
        far, far_pair = _shell(grey, some.index, radius[chosen] + WIDE_SHELL_MM, how)
        columns = _shell_features(centre, near, opposite)
        wide = _shell_features(centre, far, far_pair)
        columns.update(
            wide_isolation=wide["isolation"],
            wide_tube_isolation=wide["tube_isolation"],
            wide_spread=wide["shell_spread"],
            centre_value=sign * centre,
            darkest_surround=sign * far.min(axis=1),
        )
        columns["surround_value"] = sign * columns["surround_value"]
        levels = (centre, np.median(near, axis=1))
        columns["persistence"], columns["through"] = _continuity(grey, some, levels, space.spacing_mm, sign)
        columns["contrast_to_noise"] /= work.noise
        for name, values in columns.items():
            out[name][chosen] = values
    return out


def _centre_value(grey: Float32Array, blobs: Blobs, sign: int) -> Float64Array:
    """Signed grey value at the blob: the larger of the interpolated and the nearest voxel's."""
    nearest = sign * grey[tuple(blobs.voxel.T)].astype(np.float64)
    best: Float64Array = np.maximum(sign * sample(grey, blobs.index), nearest)
    return best


def sample(grey: Float32Array, index: Float64Array) -> Float64Array:
    """Trilinear values at fractional indices (..., 3); beyond the border counts as the border."""
    flat = index.reshape(-1, 3).T
    values: Float64Array = ndi.map_coordinates(grey, flat, order=1, mode="nearest", prefilter=False, output=np.float64)
    return values.reshape(index.shape[:-1])


def _shell(
    grey: Float32Array, index: Float64Array, radius: Float64Array, how: tuple[Float64Array, Spacing, int, bool]
) -> tuple[Float64Array, Float64Array]:
    """Signed samples on a shell (n, directions), and for each the best sample roughly opposite to it."""
    directions, spacing, sign, thick = how
    points = index[:, None] + radius[:, None, None] * directions[None] / np.array(spacing)
    values = sign * sample(grey, points)
    bend = np.radians(BEND_2D_DEG if thick else BEND_DEG)
    cone = (directions @ directions.T) < -np.cos(bend)
    opposite = np.stack([values[:, row].max(axis=1) for row in cone], axis=1)
    return values, opposite


def _shell_features(centre: Float64Array, shell: Float64Array, opposite: Float64Array) -> Features:
    median = np.median(shell, axis=1)
    contrast = np.maximum(centre - median, 1e-9)
    return {
        "isolation": np.clip((centre - shell.max(axis=1)) / contrast, -2, 1),
        "tube_isolation": np.clip((centre - np.minimum(shell, opposite).max(axis=1)) / contrast, -2, 1),
        "shell_spread": np.clip(shell.std(axis=1) / contrast, 0, 5),
        "surround_value": median,
        "contrast_to_noise": contrast,
    }


def _continuity(
    grey: Float32Array, blobs: Blobs, level: tuple[Float64Array, Float64Array], spacing: Spacing, sign: int
) -> tuple[Float64Array, Float64Array]:
    """How much of the blob's contrast is still there one slice up and down: the stronger and the weaker side."""
    centre, background = level
    contrast = np.maximum(centre - background, 1e-9)
    ring = np.concatenate([np.zeros((1, 3)), _circle(8) * 1.0, _circle(8) * 2.0]) / np.array(spacing)
    reach = max(1.0, 3.0 / spacing[0])
    sides = []
    for step in (-reach, reach):
        points = blobs.index[:, None] + ring[None] + np.array([step, 0.0, 0.0])
        sides.append((sign * sample(grey, points)).max(axis=1))
    values = np.clip((np.array(sides) - background) / contrast, -1, 2)
    return values.max(axis=0), values.min(axis=0)


def edge_distance_mm(mask: BoolArray, spacing_mm: Spacing, index: Float64Array) -> Float64Array:
    """Distance in mm from positions to the edge of the mask; where the scan ends the mask has no edge."""
    inner = mask.copy()
    for axis in range(3):
        ahead: list[slice] = [slice(None)] * 3
        behind: list[slice] = [slice(None)] * 3
        ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
        inner[tuple(behind)] &= mask[tuple(ahead)]
        inner[tuple(ahead)] &= mask[tuple(behind)]
    rim = np.argwhere(mask & ~inner)
    if len(rim) == 0 or len(index) == 0:
        return np.full(len(index), EDGE_LIMIT_MM)
    spacing = np.array(spacing_mm)
    distance, _ = cKDTree(rim * spacing).query(index * spacing, distance_upper_bound=EDGE_LIMIT_MM, workers=-1)
    return np.minimum(distance, EDGE_LIMIT_MM)
