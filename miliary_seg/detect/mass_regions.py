"""Regions of a mass map that may be a mass, at several heights, and what is measured of each.

A mass is bright, or has a bright rim: what is higher than a level is closed over small gaps, its holes are filled slice
by slice (necrosis, cysts), and opened, so that vessels and sheets of dura go. What is left grows back over the bright
tissue around it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from miliary_seg.detect.delineate import LEVEL
from miliary_seg.detect.mass_map import MassMap
from miliary_seg.domain.arrays import BoolArray, Box, Float64Array

LEVELS = (0.7, 1.0, 1.4, 2.0, 2.8, 4.0)
"""In tissue spans. Low ones hold faint masses whole, high ones part bright masses from what they touch."""
CLOSE_MM, OPEN_MM, OUTLINE_MM = 3.5, 3.0, 5.0
"""Gaps in a rim that are closed; half the width of what is taken away; gaps in the outline."""
LARGEST_HOLE_MM2 = 2800.0
"""Of a slice: the core of a ring of 60 mm. Larger holes are what a ring of cortex or dura encloses."""
CORE_MM, LARGEST_MM = 7.0, 90.0
"""Equivalent diameters of what opening leaves."""
GROW_LEVEL, GROW_MM = 0.6, 5.0
"""A region grows over what is higher than this share of its level, at most so far."""
SURROUNDINGS_MM = (2.0, 5.0)
"""A rim of partial volume is left out; then follows the shell that a region is compared with."""
EDGE_MM = 4.0
"""What lies this near the edge of the brain may be dura, a sinus or fluid."""
MIDLINE_MM = 5.0
CENTRAL_MM, SKULL_BASE_MM = 20.0, -10.0
"""Unit of diameters; below this MNI height lie the floor of the skull and its sinuses."""
IN_PLANE = np.zeros((3, 3, 3), dtype=bool)
IN_PLANE[1] = ndi.generate_binary_structure(2, 1)
IN_SPACE = ndi.generate_binary_structure(3, 1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MassRegion:
    """A connected region of a mass map."""

    level: float
    """In tissue spans."""
    box: Box
    """Where it lies in the map."""
    region: BoolArray
    """In the box; filled."""

    def diameter_mm(self, spacing_mm: tuple[float, float, float]) -> float:
        """Of the ball of the same volume."""
        return _diameter_mm(int(self.region.sum()), spacing_mm)


def mass_regions(scene: MassMap) -> list[MassRegion]:
    """All regions of a map that are wide enough, at every level; those of different levels overlap."""
    near, wide = (_ball(scene.spacing_mm, mm) for mm in (CLOSE_MM, OPEN_MM))
    found = []
    for level in LEVELS:
        high = scene.height > level
        if not high.any():
            break
        whole = _filled(ndi.binary_closing(high, near), scene.spacing_mm) & scene.brain
        cores, _ = ndi.label(ndi.binary_opening(whole, wide))
        sizes = np.bincount(cores.ravel())
        for number, box in enumerate(ndi.find_objects(cores), start=1):
            if CORE_MM <= _diameter_mm(int(sizes[number]), scene.spacing_mm) <= LARGEST_MM:
                found.append(_grown(scene, level, whole, cores, (number, box)))
    return found


def _grown(scene: MassMap, level: float, whole: BoolArray, cores: NDArray[Any], core: tuple[int, Box]) -> MassRegion:
    """A core with the bright tissue around it, without gaps and holes."""
    number, tight = core
    pad = [int(np.ceil(2 * OUTLINE_MM / s)) for s in scene.spacing_mm]
    box = tuple(slice(max(0, s.start - p), min(n, s.stop + p)) for s, p, n in zip(tight, pad, cores.shape, strict=True))
    brain, inner = scene.brain[box], cores[box] == number
    allowed = ((scene.height[box] > GROW_LEVEL * level) | whole[box]) & brain
    steps = max(1, round(GROW_MM / scene.spacing_mm[1]))
    grown = ndi.binary_dilation(inner, _step(scene), iterations=steps, mask=allowed)
    closed = _filled(ndi.binary_closing(grown, _ball(scene.spacing_mm, OUTLINE_MM)), scene.spacing_mm) & brain
    parts, _ = ndi.label(closed)
    return MassRegion(level=level, box=box, region=parts == np.bincount(parts[inner]).argmax())


def _step(scene: MassMap) -> BoolArray:
    return IN_PLANE if scene.thick else IN_SPACE


def _diameter_mm(blocks: int, spacing_mm: tuple[float, float, float]) -> float:
    return float((6 / np.pi * blocks * np.prod(spacing_mm)) ** (1 / 3))


def _ball(spacing_mm: tuple[float, float, float], radius_mm: float) -> BoolArray:
    """Blocks within a radius of the middle one."""
    axes = [np.arange(-int(radius_mm // s), int(radius_mm // s) + 1) * s for s in spacing_mm]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    inside: BoolArray = z**2 + y**2 + x**2 <= radius_mm**2 + 1e-6
    return inside


def _filled(region: BoolArray, spacing_mm: tuple[float, float, float]) -> BoolArray:
    """With the holes of every slice that are not too large."""
    filled = region.copy()
    pixel = spacing_mm[1] * spacing_mm[2]
    for z in np.flatnonzero(region.any(axis=(1, 2))):
        gaps, _ = ndi.label(~region[z])
        small = np.bincount(gaps.ravel()) * pixel <= LARGEST_HOLE_MM2
        small[0] = False
        for border in (gaps[0], gaps[-1], gaps[:, 0], gaps[:, -1]):
            small[border] = False  # open to the outside: no hole
        filled[z] |= small[gaps]
    return filled


def outlined(scene: MassMap, found: MassRegion) -> MassRegion:
    """A region cut to what is higher than ``delineate.LEVEL`` of its own contrast, without gaps and holes."""
    height, brain, step = scene.height[found.box], scene.brain[found.box], _step(scene)
    rim = ndi.binary_dilation(found.region, step)
    shell = ndi.binary_dilation(rim, step, iterations=2) & ~rim & brain
    base = float(np.median(height[shell])) if shell.any() else 0.0
    top = float(np.percentile(height[found.region], 75))
    cut = found.region & (height > base + LEVEL * (top - base))
    for gap_mm in (CLOSE_MM, OUTLINE_MM):
        ball = _ball(scene.spacing_mm, gap_mm)
        pad = max(ball.shape) // 2
        closed = ndi.binary_closing(np.pad(cut, pad), ball)[(slice(pad, -pad),) * 3]
        cut = _filled(closed, scene.spacing_mm) & found.region
    parts, count = ndi.label(cut)
    if not count:
        return found
    return replace(found, region=parts == np.bincount(parts.ravel())[1:].argmax() + 1)


FEATURES = (
    "size",
    "size_squared",
    "contrast",
    "peak_contrast",
    "asymmetry",
    "edge_share",
    "depth",
    "length",
    "bright_share",
    "midline_share",
    "leak",
    "skull_base",
)
"""Columns of ``measured``: logarithm of the diameter over 20 mm, and its square; median and upper quartile of what is
bright less those of the surroundings, in tissue spans; mean asymmetry; share of the surface near the brain's edge; the
greatest distance to that edge in cm; longest extent along an axis over diameter; share that is bright; share near the
midline; share of the blocks just outside that are higher than the level; how far below the skull base, in 20 mm."""


def measured(scene: MassMap, found: MassRegion) -> Float64Array:
    """What is measured of a region: shape (len(FEATURES),)."""
    box, region = found.box, found.region
    height, brain, depth = scene.height[box], scene.brain[box], scene.depth_mm[box]
    bright = region & (height > GROW_LEVEL * found.level)
    bright = bright if bright.any() else region
    step = _step(scene)
    inner, outer = (max(1, round(mm / scene.spacing_mm[1])) for mm in SURROUNDINGS_MM)
    rim = ndi.binary_dilation(region, step, iterations=inner)
    shell = ndi.binary_dilation(rim, step, iterations=max(2, outer)) & ~rim & brain
    around = height[shell] if shell.any() else np.zeros(1)
    just_outside = ndi.binary_dilation(region, step) & ~region & brain
    surface = region & ~ndi.binary_erosion(region, step, border_value=1)
    x, _, z = scene.template_mm[(slice(None), *box)][:, region]
    diameter = found.diameter_mm(scene.spacing_mm)
    extent = (np.ptp(np.argwhere(region), axis=0) + 1) * scene.spacing_mm
    size = np.log(diameter / CENTRAL_MM)
    return np.array(
        [
            size,
            size**2,
            np.clip(np.median(height[bright]) - np.median(around), -1, 6),
            np.clip(np.percentile(height[bright], 75) - np.percentile(around, 75), -1, 8),
            np.clip(scene.asymmetry[box][region].mean(), -2, 3),
            (depth[surface] < EDGE_MM).mean() if surface.any() else 1.0,
            depth[region].max() / 10,
            extent.max() / diameter,
            bright.sum() / region.sum(),
            (np.abs(x) < MIDLINE_MM).mean(),
            (height[just_outside] > found.level).mean() if just_outside.any() else 0.0,
            max(0.0, SKULL_BASE_MM - float(z.mean())) / CENTRAL_MM,
        ]
    )
