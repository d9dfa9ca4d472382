"""Scans of heads made from label maps of people: any contrast, plane, pose and condition, with the labels as truth.

A label map is a NIfTI volume of a whole head (skull, face and neck included) in FreeSurfer's numbers for the brain and
SynthSeg's for the rest (24 fluid, 502-530 vessels, eyes, soft tissue, skin, marrow, bone). None is shipped here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage as ndi

LABELS = {
    "white": (2, 41, 7, 46, 77, 85, 251, 252, 253, 254, 255),
    "grey": (3, 42, 8, 47),
    "fluid": (4, 43, 5, 44, 14, 15, 24, 72),
    "deep": (10, 49, 11, 50, 12, 51, 13, 52, 17, 53, 18, 54, 26, 58, 25, 57, 136, 137, 163, 164),
    "stem": (16, 28, 60, 512),
    "vessel": (30, 62, 502),
    "eye": (506,),
    "soft": (507, 530, 508, 509),
    "skin": (511,),
    "marrow": (514, 516),
    "bone": (515,),
}
INTENSITIES = {
    "T1": (760, 560, 190, 620, 680, 450, 240, 700, 640, 560, 70),
    "T1c": (770, 570, 200, 640, 690, 1150, 260, 800, 700, 580, 70),
    "T2": (310, 420, 930, 340, 340, 110, 980, 540, 410, 340, 40),
    "FLAIR": (410, 530, 120, 480, 420, 140, 160, 500, 440, 340, 50),
    "PD": (520, 640, 700, 580, 540, 150, 720, 560, 500, 380, 50),
    "DWI": (390, 440, 100, 400, 390, 60, 70, 60, 50, 20, 15),
    "SWI": (450, 500, 590, 430, 440, 110, 590, 490, 440, 210, 30),
    "CT": (28, 37, 6, 37, 31, 45, 9, -15, 40, 340, 900),
    "CTc": (31, 41, 7, 41, 35, 150, 9, -10, 45, 340, 900),
}
"""Of the tissues in the order of ``LABELS``, typical values; each scan jitters them. CT in HU."""
LESION = {"T1": 440, "T1c": 1150, "T2": 800, "FLAIR": 820, "PD": 780, "DWI": 700, "SWI": 100, "CT": 55, "CTc": 95}
OEDEMA = {"T1": 460, "T1c": 460, "T2": 820, "FLAIR": 850, "PD": 760, "DWI": 520, "SWI": 580, "CT": 17, "CTc": 19}
BRAIN = tuple(n for part in ("white", "grey", "deep", "stem") for n in LABELS[part] if n != 512)
VENTRICLES = (4, 43, 5, 44, 14, 15, 72)
LEFT = (2, 3, 4, 5, 7, 8, 10, 11, 12, 13, 17, 18, 25, 26, 136, 137)
RIGHT = (41, 42, 43, 44, 46, 47, 49, 50, 51, 52, 53, 54, 57, 58, 163, 164)
BELOW = (7, 8, 46, 47, 16)
CONDITIONS = (
    "thin",
    "axial",
    "coronal",
    "sagittal",
    "oblique",
    "shifted",
    "slab",
    "lesions",
    "mass",
    "gantry tilt",
    "no skull",
    "child",
)
CONTRASTS = ("T1", "T1c", "T2", "FLAIR", "PD", "DWI", "SWI", "CT")
ALL_CONTRASTS = (*CONTRASTS, "CTc")
"""With CT after contrast medium: vessels beyond 80 HU."""


@dataclass(frozen=True, kw_only=True)
class Simulated:
    """A scan and its labels on one grid, shape (i, j, k)."""

    voxels: np.ndarray
    labels: np.ndarray
    affine: np.ndarray
    contrast: str
    facts: dict[str, float] = field(default_factory=dict)


def simulate(label_map: Path, contrast: str, condition: str, seed: int) -> Simulated:
    """One scan; equal arguments give equal voxels."""
    rng = np.random.default_rng([seed, CONTRASTS.index(contrast), CONDITIONS.index(condition)])
    labels, affine = head(label_map)
    facts: dict[str, float] = {}
    marks = np.zeros(labels.shape, np.uint8)
    if condition == "mass":
        labels, marks, facts = grown(labels, rng)
    elif condition == "lesions":
        marks = spots(labels, rng)
    if condition == "child":
        size = rng.uniform(0.80, 0.95) * rng.uniform(0.97, 1.03, 3)
        affine = np.diag([*size, 1.0]) @ affine
        facts["size"] = float(np.cbrt(np.prod(size)))
    scene = painted(labels, marks, contrast, rng, skull=condition != "no skull")
    place = placed(labels, affine, condition, rng)
    facts |= {"turn_deg": float(np.abs(place.turn_deg).max())}
    image, shown = imaged(scene, labels, place, background(contrast))
    image = noisy(image, contrast, rng, skull=condition != "no skull")
    return Simulated(voxels=image, labels=shown, affine=place.world, contrast=contrast, facts=facts)


@lru_cache(maxsize=2)
def head(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Labels cut to the head, RAS+, and their affine."""
    image = nib.as_closest_canonical(nib.load(path))
    labels = np.asarray(image.dataobj).astype(np.int16)
    box = ndi.find_objects((labels > 0).astype(np.int8))[0]
    affine = image.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ [s.start for s in box]
    return labels[box], affine


def is_ct(contrast: str) -> bool:
    return contrast.startswith("CT")


def background(contrast: str) -> float:
    return -1000.0 if is_ct(contrast) else 0.0


def painted(labels: np.ndarray, marks: np.ndarray, contrast: str, rng: np.random.Generator, skull: bool) -> np.ndarray:
    """Intensities on the label map's grid: a value a tissue, texture, lesions; 0.6 mm blur."""
    table = np.full(600, background(contrast), np.float32)
    rough = np.zeros(600, np.float32)
    for numbers, value in zip(LABELS.values(), INTENSITIES[contrast], strict=True):
        jitter = rng.normal(0, 1.5) if is_ct(contrast) else rng.normal(0, 0.06 * value)
        table[list(numbers)] = value + jitter
        rough[list(numbers)] = (4 if abs(value) < 100 else 0.2 * value) if is_ct(contrast) else 0.06 * value
    if not skull:
        keep = np.isin(np.arange(600), (*BRAIN, *VENTRICLES))
        table[~keep], rough[~keep] = background(contrast), 0
    texture = ndi.gaussian_filter(rng.standard_normal(labels.shape, dtype=np.float32), 1.0)
    scene = table[labels] + texture / texture.std() * rough[labels]
    scene[marks == 1] = OEDEMA[contrast]
    scene[marks == 2] = LESION[contrast]
    return ndi.gaussian_filter(scene, 0.6)


def ball(shape: tuple[int, ...], centre: np.ndarray, radius: float) -> tuple[tuple[slice, ...], np.ndarray]:
    """A box and the distance to the centre within it."""
    box = tuple(slice(max(0, int(c - radius)), min(n, int(c + radius) + 2)) for c, n in zip(centre, shape, strict=True))
    grid = np.ogrid[box]
    return box, np.sqrt(sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)))


def spots(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """5 to 20 lesions of 3 to 18 mm radius anywhere in the brain: oedema (1) around a core (2)."""
    marks = np.zeros(labels.shape, np.uint8)
    tissue = np.argwhere(np.isin(labels, BRAIN))
    for centre in tissue[rng.choice(len(tissue), rng.integers(5, 21))]:
        radius = rng.uniform(3, 18)
        box, distance = ball(labels.shape, centre, radius)
        inside = np.isin(labels[box], BRAIN)
        marks[box][inside & (distance < radius)] = 1
        marks[box][inside & (distance < 0.5 * radius)] = 2
    return marks


def grown(labels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
    """A mass of 20 to 50 mm that pushes the brain aside, 5 to 15 mm at its edge, less and less to the skull.

    Every fifth lies below the tentorium (at most 35 mm). Midline structures shift as far as the push reaches them.
    """
    below = rng.random() < 0.2
    wanted = (7, 46) if below else (2, 41)
    tissue = np.argwhere(np.isin(labels, wanted))
    centre = tissue[rng.integers(len(tissue))].astype(float)
    radius = rng.uniform(10, 17.5 if below else 25)
    push = rng.uniform(5, 8 if below else 15)
    push = min(push, 0.8 * radius)
    inner = np.isin(labels, (*BRAIN, *VENTRICLES, 24, 30, 62))
    depth = ndi.distance_transform_edt(inner)
    grid = np.indices(labels.shape, dtype=np.float32)
    away = grid - centre[:, None, None, None].astype(np.float32)
    distance = np.sqrt((away**2).sum(axis=0)) + 1e-3
    reach = np.where(distance < radius, distance / radius, np.exp(-(distance - radius) / 35.0))
    shift = push * reach * np.clip(depth / 12.0, 0, 1)
    source = grid - away / distance * shift
    moved = ndi.map_coordinates(labels, source, order=0, mode="nearest")
    brain = np.isin(moved, (*BRAIN, *VENTRICLES))
    marks = np.zeros(labels.shape, np.uint8)
    ragged = ndi.gaussian_filter(rng.standard_normal(labels.shape, dtype=np.float32), 5.0)
    edge = distance + 4 * ragged / ragged.std()
    marks[np.isin(moved, LABELS["white"]) & (edge < radius + rng.uniform(5, 20))] = 1
    marks[brain & (edge < radius)] = 2
    middle = np.isin(labels, (14, 251, 252, 253, 254, 255)) & (depth > 5)
    sideways = np.abs((away[0] / distance * shift)[middle]).max() if middle.any() else 0.0
    return moved, marks, {"mass_mm": 2 * radius, "push_mm": push, "midline_shift_mm": float(sideways)}


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the scan's grid lies: in the label map's voxels, and in the world that the header states."""

    to_labels: np.ndarray
    world: np.ndarray
    shape: tuple[int, int, int]
    turn_deg: np.ndarray


def rotation(degrees: np.ndarray) -> np.ndarray:
    """About x, then y, then z."""
    matrix = np.eye(3)
    for axis, angle in enumerate(np.radians(degrees)):
        a, b = [n for n in range(3) if n != axis]
        turn = np.eye(3)
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        matrix = matrix @ turn
    return matrix


def placed(labels: np.ndarray, affine: np.ndarray, condition: str, rng: np.random.Generator) -> Place:
    """Pose of the head, plane, spacing and extent of the scan."""
    oblique = condition == "oblique"
    turn = rng.uniform(-30, 30, 3) * (1, 0.7, 1) if oblique else rng.normal(0, 7, 3)
    turned = rotation(turn)
    brain = np.argwhere(np.isin(labels, BRAIN))[::37] @ affine[:3, :3].T + affine[:3, 3]
    whole = np.argwhere(labels > 0)[::499] @ affine[:3, :3].T + affine[:3, 3]
    centre = (brain.min(axis=0) + brain.max(axis=0)) / 2
    brain, whole = (brain - centre) @ turned.T, (whole - centre) @ turned.T
    low, high = np.maximum(whole.min(axis=0) - 6, brain.min(axis=0) - 40), whole.max(axis=0) + 6
    high[1] = min(high[1], brain[:, 1].max() + 45)
    thick = {"coronal": 1, "sagittal": 0}.get(condition, 2)
    step = np.full(3, 0.9)
    if condition in ("thin", "mass", "child") or (oblique and rng.random() < 0.3):
        step[:] = 1.1
    else:
        step[thick] = rng.uniform(3.5, 6.5)
        low[thick], high[thick] = (
            brain[:, thick].min() - rng.uniform(-4, 12),
            brain[:, thick].max() + rng.uniform(0, 10),
        )
    if condition == "slab":
        length = rng.uniform(55, 85)
        low[2] += rng.uniform(0, max(1.0, high[2] - low[2] - length))
        high[2] = low[2] + length
    grid = np.diag([*step, 1.0])
    grid[:3, 3] = low
    if condition == "gantry tilt":
        tilt = np.radians(rng.uniform(10, 25) * rng.choice([-1, 1]))
        grid[2, 1] = np.sin(tilt) * step[1]
        grid[1, 1] = np.cos(tilt) * step[1]
        grid[2, 3] -= np.sin(tilt) * (high[1] - low[1]) / 2
    shape = tuple(int(n) for n in np.ceil((high - low) / step))
    to_subject = np.eye(4)
    to_subject[:3, :3], to_subject[:3, 3] = turned.T, centre
    world = grid.copy()
    world[:3, 3] += rng.uniform(-1, 1, 3) * (200 if condition == "shifted" else 40)
    return Place(to_labels=np.linalg.inv(affine) @ to_subject @ grid, world=world, shape=shape, turn_deg=turn)  # type: ignore[arg-type]


def imaged(scene: np.ndarray, labels: np.ndarray, place: Place, outside: float) -> tuple[np.ndarray, np.ndarray]:
    """Slices as thick as their distance, and the labels at voxel centres."""
    matrix, offset = place.to_labels[:3, :3], place.to_labels[:3, 3]
    extent = np.sqrt((matrix**2).sum(axis=0))
    thick = int(np.argmax(extent))
    parts = 5 if extent[thick] > 2 else 1
    image = np.zeros(place.shape, np.float32)
    for part in range(parts):
        within = np.zeros(3)
        within[thick] = (part + 0.5) / parts - 0.5
        image += ndi.affine_transform(scene, matrix, offset + matrix @ within, place.shape, order=1, cval=outside)
    shown = ndi.affine_transform(labels, matrix, offset, place.shape, order=0)
    return image / parts, shown


def noisy(image: np.ndarray, contrast: str, rng: np.random.Generator, skull: bool) -> np.ndarray:
    """Shading and Rician noise on MR, Gaussian noise of 5 HU on CT; a removed skull leaves exact background."""
    empty = image <= background(contrast) + 1
    if is_ct(contrast):
        out = np.clip(image + rng.normal(0, 5, image.shape), -1024, 3000)
    else:
        coarse = rng.normal(0, 0.15, (3, 3, 3))
        field_ = ndi.zoom(coarse, np.array(image.shape) / 3, order=2)[tuple(slice(0, n) for n in image.shape)]
        sigma = rng.uniform(10, 35)
        real = image * np.exp(field_) + rng.normal(0, sigma, image.shape)
        out = np.hypot(real, rng.normal(0, sigma, image.shape))
    if not skull:
        out[empty] = background(contrast)
    return out.astype(np.float32)
