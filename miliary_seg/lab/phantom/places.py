"""Where in any head lesions lie that replace tissue: places named as in reports, found from tissue classes.

``junction``
    Supratentorial white matter and cortex within a voxel or so of each other.
``cortex``
    Supratentorial grey matter outside the core of the brain.
``deep``
    The core: basal ganglia, thalamus, deep and periventricular white matter.
``infratentorial``
    Cerebellum and brain stem.
``vessel``
    Brain that touches a bright tube, with the lesion's surface on the tube.
``sulcal``
    The outermost tissue beside fluid or the surface of the brain: subpial lesions, which stand out into the sulcus.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import ndimage as ndi

from miliary_seg.domain.arrays import BoolArray, Float32Array, Int64Array
from miliary_seg.domain.compartment import Compartment, Level
from miliary_seg.domain.sequence import Sequence
from miliary_seg.lab.phantom.head import Head
from miliary_seg.lab.phantom.spec import REGIONS
from miliary_seg.lab.phantom.tissue import FLUID, GREY, WHITE, Tissue, tissue_of

Pools = dict[str, Int64Array]

CORE_SHARE = 0.42
"""The core of the brain starts at this share of its greatest depth: 25 of 60 mm in an adult, inside of the insula."""
SULCUS_SHARE = 0.25
"""Fluid nearer to the surface than this share of the greatest depth is that of sulci, not of ventricles."""
NEAR_MM = 1.0
"""Cortex and white matter this near to each other are their junction."""
TUBE_SIGMA_MM = 1.0
"""Scale of the second derivatives: tubes of about 1-3 mm, the vessels that a scan resolves."""
TUBE_BRIGHTER = 1.12
"""A vessel exceeds local white matter by at least this factor."""
TUBE_STRENGTH = 0.04
"""Least curvature across a vessel, times the squared scale, over the level of white matter."""
TUBE_ROUND, TUBE_LONG = 0.4, 0.4
"""Least ratio of the curvatures across (a tube, no sheet); most of the one along over those across (no blob)."""
TUBE_DEPTH_MM = 2.0
"""Nearer to the surface of the mask bright tubes are dural sinuses and the edge itself."""
THICK_MM = 2.5
"""Slices thicker than this show vessels as lines within a slice only."""
VESSELS_BRIGHT = (Sequence.T1C, Sequence.CTC, Sequence.T1, Sequence.UNKNOWN)
"""Elsewhere flowing blood is dark, and what is bright and long are sulci."""


@lru_cache(maxsize=2)
def pools_of(head: Head, sequence: Sequence) -> Pools:
    """Voxels of every place, as flat indices into the head's grid; places that it lacks are empty.

    For ``vessel`` these are voxels of the vessels themselves: the lesion goes beside them.
    """
    tissue = tissue_of(head, sequence)
    solid = (tissue.classes == WHITE) | (tissue.classes == GREY)
    below = _infratentorial(head)
    deepest = float(tissue.depth_mm.max())
    core = tissue.depth_mm > CORE_SHARE * deepest
    if head.regions is not None:
        core = head.regions == REGIONS.index("deep_grey") + 1
    outer = solid & ~below & ~core
    reach = [max(1, round(NEAR_MM / s)) if s <= THICK_MM else 0 for s in head.grid.spacing_mm]
    box = np.ones([2 * r + 1 for r in reach], dtype=bool)
    white, grey = (outer & (tissue.classes == c) for c in (WHITE, GREY))
    one = np.ones([3 if s <= THICK_MM else 1 for s in head.grid.spacing_mm], dtype=bool)
    beside = ~head.brain | ((tissue.classes == FLUID) & (tissue.depth_mm < SULCUS_SHARE * deepest))
    masks = {
        "junction": ndi.binary_dilation(white, box) & ndi.binary_dilation(grey, box) & outer,
        "cortex": grey,
        "deep": solid & ~below & core,
        "infratentorial": solid & below,
        "vessel": _tubes(head, tissue, sequence),
        "sulcal": ndi.binary_dilation(beside, one) & solid & (below | outer),
    }
    return {name: np.flatnonzero(mask) for name, mask in masks.items()}


def _infratentorial(head: Head) -> BoolArray:
    if head.compartments is not None:
        below: BoolArray = np.isin(head.compartments, [int(c) for c in Compartment if c.level is Level.INFRATENTORIAL])
        return below
    if head.regions is not None:
        hind: BoolArray = np.isin(head.regions, [REGIONS.index(name) + 1 for name in ("cerebellum", "brainstem")])
        return hind
    return np.zeros(head.grid.shape, dtype=bool)


def _tubes(head: Head, tissue: Tissue, sequence: Sequence) -> BoolArray:
    """Bright tubes inside the brain: curved across, straight along (Frangi 1998, MICCAI, LNCS 1496:130-137)."""
    found = np.zeros(head.grid.shape, dtype=bool)
    if sequence not in VESSELS_BRIGHT:
        return found
    level = tissue.white()
    bright = (head.voxels > TUBE_BRIGHTER * level) & head.brain & (tissue.depth_mm > TUBE_DEPTH_MM)
    where = np.flatnonzero(bright)
    if not where.size:
        return found
    curvature = np.linalg.eigvalsh(_hessians(head, where))
    first, second = curvature[:, 0], curvature[:, 1]
    strong = second if curvature.shape[1] == 3 else first
    tube = -strong * TUBE_SIGMA_MM**2 > TUBE_STRENGTH * level.ravel()[where]
    if curvature.shape[1] == 3:
        tube &= second < TUBE_ROUND * first
    tube &= np.abs(curvature[:, -1]) < TUBE_LONG * np.abs(strong)
    found.ravel()[where[tube]] = True
    return found


def _hessians(head: Head, where: Int64Array) -> Float32Array:
    """Second derivatives per mm2 at some voxels, over the axes that resolve vessels, shape (n, axes, axes)."""
    axes = [a for a, s in enumerate(head.grid.spacing_mm) if s <= THICK_MM]
    axes = axes if len(axes) >= 2 else list(np.argsort(head.grid.spacing_mm)[:2])
    sigma = [TUBE_SIGMA_MM / s if a in axes else 0.0 for a, s in enumerate(head.grid.spacing_mm)]
    box = ndi.find_objects(head.brain.astype(np.uint8))[0]
    inner = np.stack(np.unravel_index(where, head.grid.shape)) - np.array([s.start for s in box])[:, None]
    out = np.empty((where.size, len(axes), len(axes)), dtype=np.float32)
    for a, first in enumerate(axes):
        for b, second in enumerate(axes[a:], start=a):
            order = [int(axis == first) + int(axis == second) for axis in range(3)]
            bent = ndi.gaussian_filter(head.voxels[box], sigma, order=order, truncate=3.0)
            scale = head.grid.spacing_mm[first] * head.grid.spacing_mm[second]
            out[:, a, b] = out[:, b, a] = bent[tuple(inner)] / scale
    return out
