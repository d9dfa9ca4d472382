"""People who do not exist: label maps bent, stretched and cut anew, and scans of them that mix all conditions.

The eight label maps at hand were measured on so often that they no longer tell how a stranger fares. Here every
person is one of them under a strong smooth warp, mostly alike on both sides, with a scale of its own along each axis.
Each scan draws contrast, plane, thickness, pose, coverage, age and pathology independently.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from scipy import ndimage as ndi
from simulated_heads import (
    ALL_CONTRASTS,
    BRAIN,
    VENTRICLES,
    Place,
    Simulated,
    background,
    head,
    imaged,
    noisy,
    painted,
    rotation,
    spots,
)

SMOOTH_MM, SYMMETRIC_MM, ASYMMETRIC_MM = 30.0, 4.5, 2.0
"""Width of the Gaussian that smooths the warp, and root mean square of its two parts along each axis."""
PEOPLE = 40
THICKNESSES_MM = (1.0, 3.0, 5.0)


def new_people_scans(maps: list[Path], count: int) -> Iterator[tuple[str, str, str, Callable[[], Simulated]]]:
    """``count`` scans: name, person, condition (always ``new``), and how to make it."""
    for n in range(count):
        person = n % PEOPLE
        yield f"new {n}", f"new person {person}", "new", lambda n=n, p=person: new_scan(maps[p % len(maps)], p, n)


def new_person(path: Path, person: int) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    """Labels and affine of a person made from a label map by its number."""
    labels, affine = head(path)
    rng = np.random.default_rng([4242, person])
    fields = []
    for axis in range(3):
        symmetric, free = (smooth(labels.shape, affine, rng) for _ in range(2))
        sign = -1 if axis == 0 else 1
        symmetric = symmetric + sign * symmetric[::-1]
        fields.append(SYMMETRIC_MM * symmetric / symmetric.std() + ASYMMETRIC_MM * free)
    step = np.abs(np.diag(affine)[:3])
    source = np.indices(labels.shape, dtype=np.float32)
    for axis, field in enumerate(fields):
        source[axis] += field / step[axis]
    bent = ndi.map_coordinates(labels, source, order=0, mode="constant")
    stretched = np.diag([*rng.uniform(0.88, 1.12, 3), 1.0]) @ affine
    return bent, stretched, rng


def smooth(shape: tuple[int, ...], affine: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Smooth noise of unit variance, made on a grid of 8 voxels."""
    small = tuple(-(-n // 8) + 1 for n in shape)
    sigma = SMOOTH_MM / (8 * np.abs(np.diag(affine)[:3]))
    noise = ndi.gaussian_filter(rng.standard_normal(small), sigma)
    wide = ndi.zoom(noise, 8, order=1)[tuple(slice(0, n) for n in shape)]
    return ((wide - wide.mean()) / wide.std()).astype(np.float32)


def new_scan(path: Path, person: int, n: int) -> Simulated:
    """Scan ``n`` of a person; equal arguments give equal voxels."""
    labels, affine, _ = new_person(path, person)
    rng = np.random.default_rng([77, n])
    contrast = ALL_CONTRASTS[(n + n // len(ALL_CONTRASTS)) % len(ALL_CONTRASTS)]
    facts: dict[str, float] = {"skull": float(rng.random() > 0.2)}
    marks = np.zeros(labels.shape, np.uint8)
    pathology = rng.random()
    if pathology < 0.3:
        labels, marks, facts["midline_shift_mm"] = shifted(labels, rng)
    elif pathology < 0.65:
        marks = spots(labels, rng)
        facts["lesions"] = 1.0
    if rng.random() < 0.15:
        facts["child"] = rng.uniform(0.82, 0.90)
        affine = np.diag([*[facts["child"]] * 3, 1.0]) @ affine
    scene = painted(labels, marks, contrast, rng, skull=bool(facts["skull"]))
    place, how = new_place(labels, affine, rng)
    image, shown = imaged(scene, labels, place, background(contrast))
    image = np.rint(noisy(image, contrast, rng, skull=bool(facts["skull"])))
    return Simulated(voxels=image, labels=shown, affine=place.world, contrast=contrast, facts=facts | how)


def shifted(labels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, float]:
    """A mass of 30 to 55 mm in one hemisphere's white matter that moves the midline by up to 10 mm."""
    depth = ndi.distance_transform_edt(np.isin(labels, (*BRAIN, *VENTRICLES, 24, 30, 62)))
    white = np.argwhere(np.isin(labels, (2, 41)) & (depth > 18))
    centre = white[rng.integers(len(white))].astype(np.float32)
    radius = rng.uniform(15, 27)
    grid = np.indices(labels.shape, dtype=np.float32)
    away = grid - centre[:, None, None, None]
    distance = np.sqrt((away**2).sum(axis=0)) + 1e-3
    reach = np.where(distance < radius, distance / radius, np.exp(-(distance - radius) / 45.0))
    reach *= np.clip(depth / 15.0, 0, 1)
    middle = np.isin(labels, (14, 251, 252, 253, 254, 255)) & (depth > 5)
    per_mm = float(np.abs((away[0] / distance * reach)[middle]).max()) if middle.any() else 0.5
    wanted = rng.uniform(2, 10)
    push = min(wanted / max(per_mm, 0.05), 0.8 * radius)
    moved = ndi.map_coordinates(labels, grid - away / distance * push * reach, order=0, mode="nearest")
    ragged = ndi.gaussian_filter(rng.standard_normal(labels.shape, dtype=np.float32), 5.0)
    edge = distance + 4 * ragged / ragged.std()
    marks = np.zeros(labels.shape, np.uint8)
    marks[np.isin(moved, (2, 41)) & (edge < radius + rng.uniform(5, 20))] = 1
    marks[np.isin(moved, (*BRAIN, *VENTRICLES)) & (edge < radius)] = 2
    return moved, marks, push * per_mm


def new_place(labels: np.ndarray, affine: np.ndarray, rng: np.random.Generator) -> tuple[Place, dict[str, float]]:
    """Any plane, thickness and pose; one scan in ten tilted, one in ten without vertex or without the cerebellum."""
    oblique = rng.random() < 0.4
    turn = rng.uniform(-30, 30, 3) * (1, 0.7, 1) if oblique else rng.normal(0, 7, 3)
    turned = rotation(turn)
    brain, whole = (
        np.argwhere(kind)[::every] @ affine[:3, :3].T + affine[:3, 3]
        for kind, every in ((np.isin(labels, BRAIN), 37), (labels > 0, 499))
    )
    centre = (brain.min(axis=0) + brain.max(axis=0)) / 2
    brain, whole = (brain - centre) @ turned.T, (whole - centre) @ turned.T
    low = np.maximum(whole.min(axis=0) - 6, brain.min(axis=0) - (40, 40, rng.uniform(5, 80)))
    high = whole.max(axis=0) + 6
    high[1] = min(high[1], brain[:, 1].max() + rng.uniform(5, 50))
    thick, step = int(rng.integers(3)), np.full(3, rng.uniform(0.8, 1.0))
    facts = {"turn_deg": float(np.abs(turn).max()), "plane": float(thick)}
    facts["thickness_mm"] = THICKNESSES_MM[rng.integers(3)]
    step[thick] = facts["thickness_mm"]
    if facts["thickness_mm"] > 1:
        low[thick] = max(low[thick], brain[:, thick].min() - rng.uniform(-2, 12))
        high[thick] = min(high[thick], brain[:, thick].max() + rng.uniform(-2, 10))
    cut = rng.random()
    if cut < 0.1:
        facts["no_vertex_mm"] = rng.uniform(10, 35)
        high[2] = brain[:, 2].max() - facts["no_vertex_mm"]
    elif cut < 0.2:
        facts["no_cerebellum_mm"] = rng.uniform(20, 50)
        low[2] = brain[:, 2].min() + facts["no_cerebellum_mm"]
    grid = np.diag([*step, 1.0])
    grid[:3, 3] = low
    if thick == 2 and rng.random() < 0.3:
        tilt = np.radians(rng.uniform(10, 25) * rng.choice([-1, 1]))
        grid[1:3, 1] = np.cos(tilt) * step[1], np.sin(tilt) * step[1]
        grid[2, 3] -= np.sin(tilt) * (high[1] - low[1]) / 2
        facts["tilt_deg"] = float(np.degrees(tilt))
    shape = tuple(int(n) for n in np.ceil((high - low) / step))
    to_subject = np.eye(4)
    to_subject[:3, :3], to_subject[:3, 3] = turned.T, centre
    world = grid.copy()
    world[:3, 3] += rng.uniform(-1, 1, 3) * 60
    place = Place(to_labels=np.linalg.inv(affine) @ to_subject @ grid, world=world, shape=shape, turn_deg=turn)  # type: ignore[arg-type]
    return place, facts
