"""A finished phantom: the volume with its digest, the head as it is imaged, and what both kinds of lesions share."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace

import numpy as np

from miliary_seg.domain.arrays import BoolArray, Float32Array, Float64Array
from miliary_seg.domain.sequence import Modality, Sequence, SequenceEvidence
from miliary_seg.domain.volume import LabelMap, Source, Volume
from miliary_seg.lab.phantom.head import Head
from miliary_seg.lab.phantom.place import Placed
from miliary_seg.lab.phantom.render import Optics
from miliary_seg.lab.phantom.shell import wrap_shell
from miliary_seg.lab.phantom.spec import PhantomSpec
from miliary_seg.lab.phantom.template import SIGNALS
from miliary_seg.lab.phantom.truth import Truth

SURROUNDINGS_MM = 8.0
"""Radius of the ball in which the local standard deviation is taken: a reader's region of interest, lesion left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Phantom:
    """A scan whose every lesion is known."""

    volume: Volume
    truth: Truth
    labels: LabelMap
    """n = lesion id n, where the lesion's coverage of the voxel is at least half of its own largest."""
    brain_mask: BoolArray = field(compare=False)
    compartments: LabelMap | None = None
    """Values of ``Compartment`` on the scan's grid, where the host knows them."""


def local_sd(
    bare: Float32Array,
    brain: BoolArray,
    lesion: Placed,
    optics: Optics,
    sigma: tuple[float, float],
    every_mm: float = 0.0,
) -> float:
    """Robust standard deviation of brain around the site, lesion left out.

    Parameters
    ----------
    bare, brain, lesion, optics
        The scan without lesions, its brain, the lesion and the scanner.
    sigma
        Answer where there is too little brain, and the noise to come.
    every_mm
        Distance of the voxels looked at; 0 = all.
    """
    grid, (fallback, extra) = optics.grid, sigma
    centre = np.array(nearest_voxel(optics, lesion.centre_ras_mm))
    radius = SURROUNDINGS_MM + lesion.reach_mm
    reach = np.ceil(radius / np.array(grid.spacing_mm)).astype(int)
    steps = [max(1, int(every_mm / s)) for s in grid.spacing_mm]
    where = tuple(slice(max(0, c - r), c + r + 1, n) for c, r, n in zip(centre, reach, steps, strict=True))
    index = np.stack(np.meshgrid(*[np.arange(bare.shape[a])[where[a]] for a in range(3)], indexing="ij"), axis=-1)
    distance = np.linalg.norm(grid.to_ras_mm(index) - lesion.centre_ras_mm, axis=-1)
    values = bare[where][(distance < radius) & (distance > lesion.reach_mm + 1.0) & brain[where]]
    if values.size < 10:
        return fallback
    return float(np.hypot(1.4826 * np.median(np.abs(values - np.median(values))), extra))


def nearest_voxel(optics: Optics, point_ras_mm: Float64Array) -> tuple[int, int, int]:
    """Index of the voxel nearest to a point, within the scan."""
    index = np.rint(optics.grid.to_ijk(point_ras_mm)).astype(int)
    i, j, k = np.clip(index, 0, np.array(optics.grid.shape) - 1)
    return int(i), int(j), int(k)


def in_view(head: Head, optics: Optics) -> BoolArray:
    """Head voxels whose centre lies within the outermost slice planes and columns of the scan."""
    matrix = np.linalg.inv(optics.grid.affine) @ head.grid.affine
    lines = [np.arange(n, dtype=np.float32) for n in head.grid.shape]
    inside = np.ones(head.grid.shape, dtype=bool)
    for axis in range(3):
        i, j, k = (np.float32(matrix[axis, b]) * lines[b] for b in range(3))
        index = i[:, None, None] + j[:, None] + k + np.float32(matrix[axis, 3])
        inside &= (index >= -0.01) & (index <= optics.grid.shape[axis] - 0.99)
    return inside


def with_skull(head: Head, spec: PhantomSpec) -> Head:
    """Draw the vault around a brain-only real host that is imaged anew; other hosts stay as they are."""
    stripped = head.volume is not None and float(np.median(head.voxels[~head.brain])) == head.background
    if not (spec.skull and stripped and not spec.scanner.on_host_grid):
        return head
    signals = np.array(SIGNALS.get(spec.sequence, SIGNALS[Sequence.T1]), dtype=np.float64)
    if head.modality is Modality.MR:
        signals *= head.white_level / signals[0]
    drawn = wrap_shell(head.brain, head.grid, tuple(signals.tolist()), head.background)
    return replace(head, voxels=np.where(head.brain, head.voxels, drawn))


def volume_of(image: Float32Array, head: Head, optics: Optics, spec: PhantomSpec, seed: int) -> Volume:
    """The scan, with a digest of its voxels and of what it was made of."""
    image = np.ascontiguousarray(image, dtype=np.float32)
    digest = hashlib.sha256(image.tobytes())
    digest.update(json.dumps(spec.as_dict(), sort_keys=True).encode())
    digest.update(optics.grid.affine.tobytes())
    evidence = SequenceEvidence(sequence=spec.sequence, confidence="user", evidence=("stated for the phantom",))
    return Volume(
        voxels=image,
        grid=optics.grid,
        id=f"phantom-{spec.name}-{seed}",
        modality=head.modality,
        sequence=evidence,
        slice_axis=optics.slice_axis,
        slice_thickness_mm=optics.thickness_mm,
        source=Source(format="phantom", sha256=digest.hexdigest(), orientation_source="stated by the user"),
    )
