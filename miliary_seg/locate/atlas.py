"""The atlas: compartments, brain surface and tentorium in MNI space, and template points for registration.

Where it comes from and its terms: ``miliary_seg/atlas_data/SOURCES.md``. World is MNI mm, RAS+.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from io import BytesIO

import numpy as np
from scipy import ndimage as ndi

from miliary_seg.domain.arrays import BoolArray, Float32Array, Float64Array, IndexArray, UInt8Array

N_TISSUE_CLASSES = 14
"""Grey levels of the template's brain (docs/measurements/compartments.md, "Constants and where they come from")."""
TISSUE_RANGE = (0.25, 0.95)
"""Template intensity (0 to 1) spanned by the tissue classes."""
RING_STARTS_MM = (0.0, 2.5, 6.0, 14.0, 18.0)
"""Distance outside the brain where each ring starts: fluid, skull, scalp, mixed, air (as above)."""
RIM_MM = 4.0
"""Below the skull base, and in the deformable step, only this much around the brain is used."""
OUTER_RING_SHARE = 0.4
"""Share of the points of the air ring that is kept; all of them would outnumber the others."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Atlas:
    """Maps of one grid, shape (i, j, k), 2 mm.

    ``outside_mm`` is the signed distance to the brain's surface (+ outside), ``tentorium_mm`` that to the
    tentorium (+ below), ``t1`` the T1 intensity from 0 to 1 (0 outside the brain).
    """

    t1: Float32Array
    labels: UInt8Array
    outside_mm: Float32Array
    tentorium_mm: Float32Array
    affine: Float64Array

    @property
    def brain(self) -> BoolArray:
        """Voxels of the brain, shape (i, j, k)."""
        brain: BoolArray = self.labels > 0
        return brain

    @property
    def spacing_mm(self) -> float:
        """Edge of a voxel."""
        return float(self.affine[0, 0])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TemplatePoints:
    """Points of the template, each with its tissue class or ring.

    Classes below ``n_tissues`` are grey levels of the brain; the others are rings around it.
    """

    positions_mm: Float64Array
    """Shape (3, n)."""
    classes: IndexArray
    """Shape (n,)."""
    n_tissues: int
    n_classes: int
    weights: Float64Array | None = None
    """Shape (n,), weight of each point; None = all equal."""

    @property
    def in_brain(self) -> BoolArray:
        """Which points lie in the brain, shape (n,)."""
        inside: BoolArray = self.classes < self.n_tissues
        return inside

    def only(self, keep: BoolArray) -> TemplatePoints:
        """The points where ``keep``, shape (n,), is true."""
        return TemplatePoints(
            positions_mm=self.positions_mm[:, keep],
            classes=self.classes[keep],
            n_tissues=self.n_tissues,
            n_classes=self.n_classes,
            weights=None if self.weights is None else self.weights[keep],
        )


@lru_cache(maxsize=1)
def load_atlas() -> Atlas:
    """Read the atlas that the package ships (once a process)."""
    with np.load(BytesIO((files("miliary_seg") / "atlas_data" / "compartments.npz").read_bytes())) as stored:
        tentorium_step, outside_step = (float(step) for step in stored["steps_mm"])
        return Atlas(
            t1=stored["t1"].astype(np.float32) / np.float32(255),
            labels=stored["labels"],
            outside_mm=stored["outside"].astype(np.float32) * np.float32(outside_step),
            tentorium_mm=stored["tentorium"].astype(np.float32) * np.float32(tentorium_step),
            affine=stored["affine"].astype(np.float64),
        )


def grid_points(shape: tuple[int, ...], affine: Float64Array) -> Float64Array:
    """World positions of all voxel centres of a grid, shape (3, n), in C order."""
    indices = np.indices(shape, dtype=np.float64).reshape(3, -1)
    positions: Float64Array = affine[:3, :3] @ indices + affine[:3, 3:4]
    return positions


@lru_cache(maxsize=4)
def template_points(step_mm: int, share: float = 1.0) -> TemplatePoints:
    """Points on a lattice of ``step_mm`` (a multiple of 2 mm): the brain and the rings of the head around it.

    The template ends at the brain, yet most scans show the whole head. Distance from the brain stands in for what lies
    there: fluid, skull, scalp, air. Rings are used only above a sloped skull base, since faces and necks
    differ too much; below it a narrow rim remains. ``share`` keeps a fixed random part of the points.
    """
    atlas = load_atlas()
    every = max(1, round(step_mm / atlas.spacing_mm))
    lattice = (slice(0, None, every),) * 3
    t1 = (ndi.gaussian_filter(atlas.t1, 0.4 * every) if every > 1 else atlas.t1)[lattice].ravel()
    outside = atlas.outside_mm[lattice].ravel()
    positions = grid_points(atlas.labels[lattice].shape, atlas.affine @ np.diag([every, every, every, 1.0]))
    in_brain = atlas.brain[lattice].ravel()
    classes = tissue_classes(t1, N_TISSUE_CLASSES, TISSUE_RANGE)
    for ring, start in enumerate(RING_STARTS_MM):
        classes[~in_brain & (outside > start)] = N_TISSUE_CLASSES + ring
    base = np.where(positions[1] > 20, -5.0, np.where(positions[1] < -60, -35.0, -20.0))
    keep = in_brain | (outside <= RIM_MM) | ((positions[2] > base) & (outside < 30))
    random = np.random.default_rng(9)
    keep &= (outside <= RING_STARTS_MM[-1]) | (random.random(outside.size) < OUTER_RING_SHARE)
    keep &= random.random(outside.size) < share
    n_classes = N_TISSUE_CLASSES + len(RING_STARTS_MM)
    return TemplatePoints(
        positions_mm=positions, classes=classes, n_tissues=N_TISSUE_CLASSES, n_classes=n_classes
    ).only(keep)


def tissue_classes(t1: Float32Array, n: int, span: tuple[float, float]) -> IndexArray:
    """Class of each template intensity: ``n`` equal steps over ``span``, clipped."""
    scaled = (t1 - span[0]) / (span[1] - span[0]) * n
    return np.clip(scaled.astype(np.intp), 0, n - 1)
