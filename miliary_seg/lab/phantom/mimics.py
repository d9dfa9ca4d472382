"""Look-alikes that are no lesions: vessels, venous sinuses, membranes, choroid plexus, perivascular dots."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage as ndi

from miliary_seg.domain.arrays import BoolArray, Float32Array, Float64Array, Int64Array
from miliary_seg.domain.sequence import Modality, Sequence
from miliary_seg.lab.phantom.head import Head
from miliary_seg.lab.phantom.place import value_at
from miliary_seg.lab.phantom.render import Optics, splat
from miliary_seg.lab.phantom.spec import REGIONS, MimicSpec
from miliary_seg.lab.phantom.truth import MimicTruth

STEP_MM = 0.4
"""Spacing of the pieces along a vessel."""
VESSEL_RADII_MM = (0.4, 0.6, 0.8, 1.0, 1.2)
"""Cortical and deep arteries and veins that a clinical scan resolves."""
VESSEL_LENGTH_MM = (15.0, 60.0)
SINUS_RADIUS_MM = 3.0
CT_ENHANCEMENT_HU = 100.0
"""What stands for "white matter signal" in the brightness of look-alikes on CT: contrast in a vessel."""
BRIGHT_VESSELS = (Sequence.T1C, Sequence.CTC, Sequence.CT)
"""Elsewhere flowing blood is dark."""
BRIGHT_DOTS = (*BRIGHT_VESSELS, Sequence.T2, Sequence.PD)
"""Elsewhere perivascular spaces and small veins are dark."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mimic:
    """One look-alike as a cloud of small pieces."""

    kind: str
    points_ras_mm: Float64Array
    mass_mm3: float
    """Tissue in each piece."""
    spread_mm: float
    """Standard deviation of each piece."""
    strength: float
    """Signal it adds, as a fraction of white matter; negative = darker."""

    def truth(self) -> MimicTruth:
        """Kind, middle and extent."""
        low, high = self.points_ras_mm.min(axis=0), self.points_ras_mm.max(axis=0)
        x, y, z = (round(float(v), 3) for v in self.points_ras_mm.mean(axis=0))
        extent = round(float(np.linalg.norm(high - low)), 3)
        return MimicTruth(kind=self.kind, centre_ras_mm=(x, y, z), extent_mm=extent)


def make_mimics(head: Head, spec: MimicSpec, sequence: Sequence, rng: np.random.Generator) -> list[Mimic]:
    """Draw all look-alikes of a specification. Kinds that the host has no room for are left out."""
    solid = head.brain if head.regions is None else head.regions > 0
    blurred = ndi.gaussian_filter(solid.astype(np.float32), [1.5 / s for s in head.grid.spacing_mm])
    near = ndi.binary_dilation(head.brain, iterations=max(1, round(2 / min(head.grid.spacing_mm))))
    found: list[Mimic] = []
    if spec.sinuses:
        found += [_sinus(path, sequence) for path in head.sinus_paths]
    found += _vessels(head, spec, sequence, blurred, near, rng)
    found += _sheets(head, spec, sequence, blurred, near, rng)
    found += _choroid(head, spec, sequence, rng)
    found += _dots(head, spec, sequence, rng)
    return found


def add_mimics(image: Float32Array, mimics: list[Mimic], optics: Optics, unit: float) -> None:
    """Add look-alikes to an image in place; ``unit`` is the signal of white matter."""
    groups: dict[tuple[float, bool], list[Mimic]] = {}
    for mimic in mimics:
        groups.setdefault((mimic.spread_mm, mimic.strength > 0), []).append(mimic)
    for (spread, bright), members in groups.items():
        points = np.concatenate([m.points_ras_mm for m in members])
        mass = np.concatenate([np.full(len(m.points_ras_mm), m.mass_mm3 * abs(m.strength)) for m in members])
        image += np.float32(unit if bright else -unit) * splat(optics, points, mass, spread)


def enhancement_unit(head: Head) -> float:
    """What a strength of 1 means in the head's intensity unit."""
    return CT_ENHANCEMENT_HU if head.modality is Modality.CT else head.white_level


def _signed(sequence: Sequence, value: float, bright_on: tuple[Sequence, ...] = BRIGHT_VESSELS) -> float:
    return value if sequence in bright_on else -0.7 * value


def _strength(spec: MimicSpec, rng: np.random.Generator) -> float:
    return float(rng.uniform(*spec.brightness))


def _sinus(path: Float64Array, sequence: Sequence) -> Mimic:
    length = float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum())
    mass = np.pi * SINUS_RADIUS_MM**2 * length / len(path)
    return Mimic(
        kind="sinus", points_ras_mm=path, mass_mm3=mass, spread_mm=SINUS_RADIUS_MM / 2, strength=_signed(sequence, 0.8)
    )


def _vessels(
    head: Head, spec: MimicSpec, sequence: Sequence, blurred: Float32Array, near: BoolArray, rng: np.random.Generator
) -> list[Mimic]:
    """Persistent random walks, drawn towards fluid where the host knows it, all at once."""
    if not spec.vessels:
        return []
    wet = near & ~head.brain if head.fluid is None else head.fluid
    starts = np.argwhere(wet if wet.any() else head.brain)
    starts = starts[rng.integers(len(starts), size=spec.vessels)]
    at = head.grid.to_ras_mm(starts + rng.uniform(-0.5, 0.5, starts.shape))
    heading = rng.standard_normal((spec.vessels, 3))
    track = [at]
    for _ in range(int(VESSEL_LENGTH_MM[1] / STEP_MM)):
        heading = heading / np.linalg.norm(heading, axis=1, keepdims=True)
        pull = _slope_at(head, blurred, at)
        outside = ~value_at(head, near, at).astype(bool)
        inward = head.grid.to_ras_mm((np.array(head.grid.shape) - 1) / 2) - at
        inward /= np.linalg.norm(inward, axis=1, keepdims=True) + 1e-9
        heading = heading + 0.18 * rng.standard_normal(at.shape) - 1.2 * pull + 0.8 * inward * outside[:, None]
        at = at + STEP_MM * heading / np.linalg.norm(heading, axis=1, keepdims=True)
        track.append(at)
    tracks = np.stack(track, axis=1)
    vessels = []
    for course in tracks:
        steps = int(rng.uniform(*VESSEL_LENGTH_MM) / STEP_MM)
        radius = float(VESSEL_RADII_MM[int(rng.integers(len(VESSEL_RADII_MM)))])
        strength = _signed(sequence, _strength(spec, rng))
        mass = np.pi * radius**2 * STEP_MM
        vessels.append(
            Mimic(kind="vessel", points_ras_mm=course[:steps], mass_mm3=mass, spread_mm=radius / 2, strength=strength)
        )
    return vessels


def _slope_at(head: Head, field: Float32Array, points: Float64Array) -> Float64Array:
    """Change per mm along x, y, z at each point, shape (n, 3)."""
    slope = np.empty_like(points)
    for axis, step in enumerate(np.eye(3)):
        ahead, behind = (value_at(head, field, points + sign * step).astype(np.float64) for sign in (1, -1))
        slope[:, axis] = (ahead - behind) / 2
    return slope


def _sheets(
    head: Head, spec: MimicSpec, sequence: Sequence, blurred: Float32Array, near: BoolArray, rng: np.random.Generator
) -> list[Mimic]:
    """Patches of the surface between brain and fluid, about half a millimetre thick."""
    surface = np.argwhere((np.abs(blurred - 0.5) < 0.12) & near)
    if not len(surface):
        return []
    points = head.grid.to_ras_mm(surface)
    sheets = []
    for _ in range(spec.sheets):
        middle = points[int(rng.integers(len(points)))]
        patch = points[np.linalg.norm(points - middle, axis=1) < rng.uniform(5, 12)]
        mass = 0.45 * head.grid.voxel_volume_mm3
        strength = _signed(sequence, _strength(spec, rng))
        sheets.append(Mimic(kind="sheet", points_ras_mm=patch, mass_mm3=mass, spread_mm=0.4, strength=strength))
    return sheets


def _choroid(head: Head, spec: MimicSpec, sequence: Sequence, rng: np.random.Generator) -> list[Mimic]:
    """Irregular clumps inside the ventricles."""
    if head.fluid is None or not spec.choroid:
        return []
    inside = head.grid.to_ras_mm(_deeper_than(25.0, head, head.fluid))
    clumps = []
    for _ in range(spec.choroid if len(inside) else 0):
        middle = inside[int(rng.integers(len(inside)))]
        cloud = middle + rng.standard_normal((80, 3)) * rng.uniform(1.0, 2.5, 3)
        cloud = cloud[value_at(head, head.fluid, cloud).astype(bool)]
        if len(cloud):
            strength = _signed(sequence, _strength(spec, rng))
            clumps.append(Mimic(kind="choroid", points_ras_mm=cloud, mass_mm3=0.8, spread_mm=0.6, strength=strength))
    return clumps


def _deeper_than(depth_mm: float, head: Head, where: BoolArray) -> Int64Array:
    """Indices of every third voxel of ``where`` that lies deeper in the brain, shape (n, 3)."""
    coarse = (slice(None, None, 3),) * 3
    depth = ndi.distance_transform_edt(head.brain[coarse], sampling=[3 * s for s in head.grid.spacing_mm])
    return 3 * np.argwhere(where[coarse] & (depth > depth_mm))


def _dots(head: Head, spec: MimicSpec, sequence: Sequence, rng: np.random.Generator) -> list[Mimic]:
    """Short thin straight tubes in white and deep grey matter."""
    if not spec.dots:
        return []
    if head.regions is None:
        pool = _deeper_than(15.0, head, head.brain)
    else:
        pool = np.argwhere(np.isin(head.regions, [REGIONS.index("white") + 1, REGIONS.index("deep_grey") + 1]))
    dots = []
    for _ in range(spec.dots if len(pool) else 0):
        start = head.grid.to_ras_mm(pool[int(rng.integers(len(pool)))] + rng.uniform(-0.5, 0.5, 3))
        line = rng.standard_normal(3)
        along = np.arange(0, rng.uniform(2, 7), STEP_MM)[:, None]
        radius = float(rng.choice([0.3, 0.45, 0.6]))
        strength = _signed(sequence, _strength(spec, rng), BRIGHT_DOTS)
        dots.append(
            Mimic(
                kind="dot",
                points_ras_mm=start + along * line / np.linalg.norm(line),
                mass_mm3=np.pi * radius**2 * STEP_MM,
                spread_mm=radius / 2,
                strength=strength,
            )
        )
    return dots
