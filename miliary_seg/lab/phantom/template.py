"""A whole head from the shipped template: tissue of the brain, a drawn skull and scalp, bent into an individual.

The brain is the ICBM 2009a symmetric average at 1 mm (``atlas_data/``, with its notice). It has no skull, so the skull,
scalp, face and neck are drawn around it as layers of distance. Nothing outside the brain is anatomy to be measured.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy import ndimage as ndi

from miliary_seg.detect.white_matter import TYPICAL
from miliary_seg.domain.arrays import BoolArray, Float32Array, Float64Array, UInt8Array
from miliary_seg.domain.grid import Grid
from miliary_seg.domain.sequence import Modality, Sequence
from miliary_seg.lab.phantom.head import Head
from miliary_seg.lab.phantom.shell import TISSUES, draw_shell
from miliary_seg.lab.phantom.smooth_field import SmoothField
from miliary_seg.lab.phantom.spec import REGIONS

PAD = ((20, 20), (22, 22), (24, 20))
"""Room in mm around the template for skull, scalp and neck."""
CENTRE_MM = np.array([0.0, -18.0, 5.0])
"""About the middle of the template brain: scaling and bending leave it in place."""
MEAN_SCALE = 0.95
"""The average template is larger than a head: individual over template 0.93 +- 0.06 (docs/compartments.md)."""
SCALE_SD = 0.03
BEND_MM = 2.0
"""Standard deviation of each component of the bending displacement at anatomy = 1."""
TEXTURE = 0.02
"""Standard deviation of the texture of tissue as a fraction of its signal at anatomy = 1."""

SIGNALS: dict[Sequence, tuple[float, ...]] = {
    # white matter, grey matter and fluid as the program takes them, then bone marrow fat muscle skin eye air
    Sequence.T1: (*TYPICAL[Sequence.T1], 90, 520, 950, 380, 620, 220, 8),
    Sequence.T1C: (*TYPICAL[Sequence.T1C], 90, 560, 950, 430, 700, 230, 8),
    Sequence.T2: (*TYPICAL[Sequence.T2], 50, 300, 550, 160, 330, 1000, 8),
    Sequence.FLAIR: (*TYPICAL[Sequence.FLAIR], 50, 260, 480, 260, 350, 160, 8),
    Sequence.DWI: (*TYPICAL[Sequence.DWI], 15, 25, 50, 60, 50, 120, 8),
    Sequence.ADC: (*TYPICAL[Sequence.ADC], 30, 60, 60, 900, 200, 2500, 8),
    Sequence.SWI: (*TYPICAL[Sequence.SWI], 30, 160, 350, 330, 300, 600, 8),
    Sequence.T2STAR: (*TYPICAL[Sequence.T2STAR], 30, 160, 350, 330, 300, 650, 8),
    Sequence.PD: (*TYPICAL[Sequence.PD], 60, 400, 800, 450, 600, 700, 8),
    Sequence.CT: (*TYPICAL[Sequence.CT], 1100, 450, -90, 55, 35, 15, -1000),
    Sequence.CTC: (*TYPICAL[Sequence.CTC], 1100, 450, -90, 60, 45, 15, -1000),
}
"""Signal of each of ``TISSUES``: typical of clinical protocols (arbitrary unit), HU on CT."""

_DEEP_GREY_MM = (((11, -19, 7), (9, 13, 9)), ((13, 10, 8), (7, 12, 10)), ((25, 2, 1), (8, 15, 10)))
"""Thalamus, caudate and lentiform nucleus as ellipsoids in template mm: (centre, semi-axes), mirrored to both sides."""
_TRANSVERSE_MM = ((4, -104, -12), (20, -102, -16), (44, -86, -24), (58, -62, -32), (52, -46, -42), (42, -44, -56))
"""Course of the right transverse and sigmoid sinus in template mm."""


class Template(NamedTuple):
    """The template with its drawn shell, before any contrast or bending."""

    t1: Float32Array
    """0 to 1 where 1 is white matter."""
    mixture: Float32Array
    """Shares of white matter, grey matter and fluid, shape (3, i, j, k); 0 outside the brain."""
    tissue: UInt8Array
    """Position in ``TISSUES`` outside the brain."""
    regions: UInt8Array
    compartments: UInt8Array
    brain: BoolArray
    grid: Grid


@lru_cache(maxsize=1)
def load_template() -> Template:
    """Read the shipped template and derive what a phantom needs from it."""
    folder = files("miliary_seg") / "atlas_data"
    with (folder / "template_1mm.npz").open("rb") as stream, np.load(stream) as stored:
        t1, grey, white = (_padded(stored[key]) for key in ("t1", "gm", "wm"))
        affine = np.array(stored["affine"], dtype=np.float64)
    affine[:3, 3] -= affine[:3, :3] @ [low for low, _ in PAD]
    grid = Grid(shape=(t1.shape[0], t1.shape[1], t1.shape[2]), affine=affine)
    brain = t1 > 0
    level = t1[white > 0.9]
    below = _tentorium_distance(grid) > 0
    mixture: Float32Array = np.stack([white, grey, np.clip(1 - white - grey, 0, 1)]) * brain
    left = (affine[0, 0] * np.arange(grid.shape[0]) + affine[0, 3] < 0)[:, None, None]
    return Template(
        t1=t1 / np.float32(np.median(level)),
        mixture=mixture,
        tissue=draw_shell(brain, grid),
        regions=_regions(grid, white, grey, below) * brain,
        compartments=((np.where(left, 1, 2) + 2 * below) * brain).astype(np.uint8),
        brain=brain,
        grid=grid,
    )


def template_head(sequence: Sequence, rng: np.random.Generator, anatomy: float = 1.0, skull: bool = True) -> Head:
    """Make an individual head of a given contrast.

    Parameters
    ----------
    sequence
        Sets the signal of every tissue; ``UNKNOWN`` looks like T1.
    rng
        Source of the individual shape and texture.
    anatomy
        0 = the template itself.
    skull
        Whether skull, scalp, face and neck are drawn.
    """
    template = load_template()
    signals = SIGNALS.get(sequence, SIGNALS[Sequence.T1])
    voxels = _contrast(template, sequence, signals, skull)
    grid, regions, compartments, brain = template.grid, template.regions, template.compartments, template.brain
    fluid = template.brain & (template.mixture[2] > 0.6)
    paths: tuple[Float64Array, ...] = _sinus_paths(template)
    if anatomy > 0:
        bend = _Bend(grid, rng, anatomy)
        coordinates = bend.template_indices()
        nearest = np.rint(coordinates).astype(np.int32)
        flat = np.ravel_multi_index(tuple(nearest), grid.shape, mode="clip")
        voxels = ndi.map_coordinates(voxels, coordinates, order=1, mode="nearest", output=np.float32)
        regions, compartments, brain = (array.ravel()[flat] for array in (regions, compartments, brain))
        fluid = fluid.ravel()[flat]
        paths = tuple(bend.to_head(path) for path in paths)
        voxels += TEXTURE * anatomy * _texture(grid.shape, rng) * np.abs(voxels)
    is_ct = sequence in (Sequence.CT, Sequence.CTC)
    return Head(
        name="template",
        voxels=voxels,
        grid=grid,
        brain=brain,
        white_level=1.0 if is_ct else float(signals[0]),
        background=float(signals[-1]),
        regions=regions,
        compartments=compartments,
        fluid=fluid,
        modality=Modality.CT if is_ct else Modality.MR,
        sinus_paths=paths,
    )


def _padded(stored: UInt8Array) -> Float32Array:
    return np.pad(stored, PAD).astype(np.float32) / np.float32(255)


class _Bend:
    """Head to template: scaling and smooth displacement (both in mm; the lattice has 1 mm steps)."""

    def __init__(self, grid: Grid, rng: np.random.Generator, anatomy: float) -> None:
        self.grid = grid
        self.scale = np.exp(min(anatomy, 1.0) * np.log(MEAN_SCALE) + SCALE_SD * anatomy * rng.standard_normal(3))
        knots = (max(1, grid.shape[0] // 35), max(1, grid.shape[1] // 35), max(1, grid.shape[2] // 35))
        self.fields = [SmoothField.random(grid.shape, knots, rng) for _ in range(3)]
        self.size_mm = 2 * BEND_MM * anatomy
        self.centre = grid.to_ijk(CENTRE_MM)

    def template_indices(self) -> Float32Array:
        """Template index of every head voxel, shape (3, i, j, k)."""
        out = np.empty((3, *self.grid.shape), dtype=np.float32)
        for axis in range(3):
            line = (np.arange(self.grid.shape[axis]) - self.centre[axis]) / self.scale[axis] + self.centre[axis]
            out[axis] = line.reshape([-1 if a == axis else 1 for a in range(3)])
            out[axis] += self.size_mm * self.fields[axis].on_lattice()
        return out

    def to_head(self, points_mm: Float64Array) -> Float64Array:
        """Where template points lie in the head (fixed-point inverse)."""
        goal = self.grid.to_ijk(points_mm)
        at = goal.copy()
        for _ in range(8):
            shift = self.size_mm * np.stack([field.at(at) for field in self.fields], axis=1)
            at = (goal - shift - self.centre) * self.scale + self.centre
        return self.grid.to_ras_mm(at)


def _contrast(template: Template, sequence: Sequence, signals: tuple[float, ...], skull: bool) -> Float32Array:
    outside = np.array(signals, dtype=np.float32)[template.tissue] if skull else np.float32(signals[-1])
    if sequence in (Sequence.T1, Sequence.T1C, Sequence.UNKNOWN):
        inside = template.t1 * np.float32(signals[0])
    else:
        share = template.mixture
        total = np.maximum(share.sum(axis=0), 1e-3)
        inside = sum(np.float32(signals[t]) * share[t] for t in range(3)) / total
    return np.where(template.brain, inside, outside).astype(np.float32)


def _texture(shape: tuple[int, ...], rng: np.random.Generator) -> Float32Array:
    field: Float32Array = ndi.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), 1.2)
    field /= field.std()
    return field


def _tentorium_distance(grid: Grid) -> Float32Array:
    """Signed distance to the tentorium (positive below; only its sign is used) on the padded 1 mm lattice."""
    with (files("miliary_seg") / "atlas_data" / "compartments.npz").open("rb") as stream, np.load(stream) as stored:
        signed = stored["tentorium"].astype(np.float32)
        affine = np.array(stored["affine"], dtype=np.float64)
    matrix = np.linalg.inv(affine) @ grid.affine
    out: Float32Array = ndi.affine_transform(
        signed, matrix[:3, :3], matrix[:3, 3], output_shape=grid.shape, order=1, mode="nearest", output=np.float32
    )
    return out


def _regions(grid: Grid, white: Float32Array, grey: Float32Array, below: BoolArray) -> UInt8Array:
    axes = [grid.affine[a, a] * np.arange(grid.shape[a]) + grid.affine[a, 3] for a in range(3)]
    x, y, z = np.ix_(*axes)
    deep = np.zeros(grid.shape, dtype=bool)
    for (cx, cy, cz), (rx, ry, rz) in _DEEP_GREY_MM:
        deep |= ((np.abs(x) - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 + ((z - cz) / rz) ** 2 < 1
    tissue = white + grey > 0.5
    stem = below & (np.abs(x) < 17) & (y > -41 + 0.1 * (z + 35))
    names = np.select(
        [~tissue, stem, below, deep & (grey > 0.25), white > grey],
        [0, *(REGIONS.index(name) + 1 for name in ("brainstem", "cerebellum", "deep_grey", "white"))],
        REGIONS.index("cortex") + 1,
    )
    return names.astype(np.uint8)


def _sinus_paths(template: Template) -> tuple[Float64Array, ...]:
    """Superior sagittal sinus along the top of the midline, and both transverse sinuses, as points 1 mm apart."""
    grid = template.grid
    middle = round(float(grid.to_ijk([0.0, 0.0, 0.0])[0]))
    plane: BoolArray = np.any(template.brain[middle - 4 : middle + 5], axis=0)
    plane = ndi.binary_closing(plane, iterations=6)
    column = np.flatnonzero(plane.any(axis=1))[6:-6]
    top = plane.shape[1] - 1 - np.argmax(plane[column, ::-1], axis=1)
    sagittal = grid.to_ras_mm(np.stack([np.full(column.size, middle), column, top + 1.0], axis=1))
    half = np.array(_TRANSVERSE_MM, dtype=np.float64)
    right = np.concatenate([np.linspace(a, b, 25) for a, b in pairwise(half)])
    return sagittal[sagittal[:, 2] > -10], right, right * [-1.0, 1.0, 1.0]


__all__ = ["SIGNALS", "TISSUES", "Template", "load_template", "template_head"]
