"""Scans that must not be trusted: wrong headers and spacings, slabs, pieces, necks, objects, emptiness.

A head mirrored left to right is not among them: the template equals its own mirror image, and nobody can see it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy import ndimage as ndi
from simulated_heads import CONTRASTS, Simulated, simulate

from miliary_seg.locate.reorient import quarter_turns

SOURCES = ("axial", "coronal", "sagittal", "shifted", "oblique", "lesions")
SPACINGS = (
    (2, 2, 2),
    (0.5, 0.5, 0.5),
    (1.35, 1.35, 1.35),
    (0.7, 0.7, 0.7),
    (10, 10, 10),
    (1, 1, 2),
    (1, 1, 0.5),
    (1, 1.6, 1),
)

Made = tuple[str, str, str, Callable[[], Simulated]]


def wrong_scans(maps: list[Path], count: int) -> Iterator[Made]:
    """``count`` of each kind: quarter turns, mirrored up or front, spacing, thin slabs, cubes, necks, objects."""
    kinds = {"turned": turned, "mirrored": mirrored, "spacing": spaced, "thin slab": slab, "cube": cube, "neck": neck}
    for n in range(count):
        for place, (kind, change) in enumerate(kinds.items()):
            path = maps[(n + place) % len(maps)]
            contrast = CONTRASTS[(n + 5 * place) % len(CONTRASTS)]
            source = SOURCES[(n + place) % len(SOURCES)]

            def make(p=path, c=contrast, s=source, n=n, f=change) -> Simulated:
                return f(simulate(p, c, s, 500 + n), n)

            yield f"{kind} {n}", path.name, kind, make
        name = list(OBJECTS)[n % len(OBJECTS)]
        yield f"object {n} {name}", "none", "object", lambda name=name, n=n: thing(name, n)


def moved(scan: Simulated, matrix: np.ndarray) -> Simulated:
    return replace(scan, affine=matrix @ scan.affine)


def turned(scan: Simulated, n: int) -> Simulated:
    """A header wrong by one of the 23 quarter turns."""
    return moved(scan, quarter_turns()[7 * n % 23])


def mirrored(scan: Simulated, n: int) -> Simulated:
    """Front for back, or upside down, without the turn that would go with it."""
    return moved(scan, np.diag([1, -1, 1, 1.0]) if n % 2 else np.diag([1, 1, -1, 1.0]))


def spaced(scan: Simulated, n: int) -> Simulated:
    factors = SPACINGS[n % len(SPACINGS)]
    return replace(scan, affine=scan.affine @ np.diag([*factors, 1.0]))


def part(scan: Simulated, box: tuple[slice, ...]) -> Simulated:
    affine = scan.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ [s.start for s in box]
    return replace(scan, voxels=scan.voxels[box].copy(), labels=scan.labels[box].copy(), affine=affine)


def slab(scan: Simulated, n: int) -> Simulated:
    """10 to 50 mm along the third axis, anywhere."""
    step = np.linalg.norm(scan.affine[:3, 2])
    slices = max(1, round((10, 20, 30, 40, 50)[n % 5] / step))
    first = int(np.random.default_rng(n).integers(0, max(1, scan.voxels.shape[2] - slices)))
    return part(scan, (slice(0, None), slice(0, None), slice(first, first + slices)))


def cube(scan: Simulated, n: int) -> Simulated:
    """60 mm within the head."""
    spacing = np.linalg.norm(scan.affine[:3, :3], axis=0)
    rng = np.random.default_rng(n)
    box = []
    for size, step in zip(scan.voxels.shape, spacing, strict=True):
        length = max(1, round(60 / step))
        first = int((size - length) * rng.uniform(0.3, 0.7)) if size > length else 0
        box.append(slice(first, first + length))
    return part(scan, tuple(box))


def neck(scan: Simulated, n: int) -> Simulated:
    """The lowest part of the scan, without the cerebrum."""
    del n
    brain = np.argwhere(scan.labels > 0)
    last = int(np.quantile(brain[:, 2], 0.25))
    return part(scan, (slice(0, None), slice(0, None), slice(0, max(3, last))))


@dataclass(frozen=True)
class Space:
    """Coordinates in mm from the middle, distance in units of a random ellipsoid, and what objects are drawn with."""

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    r: np.ndarray
    spacing: np.ndarray
    rng: np.random.Generator

    def rough(self, width_mm: float) -> np.ndarray:
        """Smooth noise of unit variance."""
        field = ndi.gaussian_filter(self.rng.standard_normal(self.x.shape), width_mm / self.spacing)
        return field / field.std()

    def near(self, centre: np.ndarray, radii: tuple[float, float, float]) -> np.ndarray:
        """Within an ellipsoid."""
        parts = ((g - c) / radius for g, c, radius in zip((self.x, self.y, self.z), centre, radii, strict=True))
        return sum(p**2 for p in parts) < 1


def shell(s: Space) -> np.ndarray:
    return 600.0 * (s.r < 1) - 550.0 * (s.r < 0.9) + 350.0 * (s.r < 0.85)


def inserts(s: Space) -> np.ndarray:
    image = 400.0 * (s.r < 1)
    for _ in range(25):
        radius = s.rng.uniform(4, 15)
        image[s.near(s.rng.uniform(-50, 50, 3), (radius,) * 3)] = s.rng.uniform(50, 900)
    return image


def limbs(s: Space) -> np.ndarray:
    return sum(400.0 * (np.hypot(s.x - c, s.y) < 48) - 300.0 * (np.hypot(s.x - c, s.y) < 15) for c in (-55, 55))


def knee(s: Space) -> np.ndarray:
    limb = np.hypot(s.x, s.y) < 62 + 0.1 * np.abs(s.z)
    bone = (np.hypot(s.x - 3, s.y + 8) < 24 + 0.15 * np.abs(s.z)) & (np.abs(s.z) > 4)
    return 500.0 * limb - 350 * (np.hypot(s.x, s.y) < 52) + 400 * bone + 250 * (np.hypot(s.x - 20, s.y - 40) < 9)


def torso(s: Space) -> np.ndarray:
    image = 350.0 * ((s.x / 95) ** 2 + (s.y / 70) ** 2 < 1)
    for side in (-42, 42):
        image[s.near(np.array([side, 0, 0]), (30, 45, 90))] = 20
    image[s.near(np.array([5, 18, 0]), (28, 25, 40))] = 500
    image[np.hypot(s.x, s.y + 50) < 14] = 60
    return image


def head_phantom(s: Space) -> np.ndarray:
    d = np.sqrt((s.x / 70) ** 2 + (s.y / 88) ** 2 + (s.z / 75) ** 2)
    return 650.0 * (d < 1) - 600 * (d < 0.94) + (450 + 60 * s.rough(6)) * (d < 0.88)


def cylinder(s: Space) -> np.ndarray:
    image = 600.0 * (np.hypot(s.x, s.y) < 85)
    image[np.abs(s.z) < 8] *= 0.5
    image[(np.abs(s.x) < 60) & (np.abs(s.y) < 3)] = 50
    return image


OBJECTS: dict[str, Callable[[Space], np.ndarray]] = {
    "ball": lambda s: 500.0 * (s.r < 1),
    "shell": shell,
    "inserts": inserts,
    "limbs": limbs,
    "knee": knee,
    "torso": torso,
    "head phantom": head_phantom,
    "cylinder": cylinder,
    "texture": lambda s: (150 * s.rough(4) + 400) * (s.r < 1),
    "blobs": lambda s: 300 * np.maximum(s.rough(12), 0),
    "noise": lambda s: np.zeros(s.x.shape),
    "constant": lambda s: np.zeros(s.x.shape),
}


def thing(name: str, seed: int) -> Simulated:
    """An object drawn from shapes; constants and noise among them."""
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in (*rng.integers(90, 150, 2), rng.integers(24, 90)))
    spacing = np.array([*[rng.uniform(1, 2.2)] * 2, rng.uniform(1.5, 5)])
    x, y, z = np.meshgrid(*((np.arange(n) - n / 2) * s for n, s in zip(shape, spacing, strict=True)), indexing="ij")
    a, b, c = rng.uniform(50, 95, 3)
    r = np.sqrt((x / a) ** 2 + (y / b) ** 2 + (z / c) ** 2)
    image = OBJECTS[name](Space(x, y, z, r, spacing, rng))
    if name != "constant":
        image = np.hypot(image + rng.normal(0, 20, shape), rng.normal(0, 20, shape))
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = rng.uniform(-100, 100, 3)
    labels = np.zeros(shape, np.int16)
    return Simulated(voxels=image.astype(np.float32), labels=labels, affine=affine, contrast="T1")
