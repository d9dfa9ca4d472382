"""Plaques, as of multiple sclerosis: irregular, confluent, beside the ventricles; pairs of balls are in `scenes`."""

from __future__ import annotations

import numpy as np
from heads import VENTRICLES, Head
from scenes import Scene, lesion_box, random_rotation
from scipy import ndimage as ndi

DARK = ("t1",)
"""Contrasts on which plaques are dark; on t1c, CT and SWI they may be either."""
DEPTH_MM = 14.0
"""Fluid deeper below the mask's edge than this is a ventricle, where a head has no labels."""
KINDS, SHARES = ("finger", "band", "cortical", "deep"), (0.35, 0.2, 0.15, 0.3)
PAIRED = 0.25
"""Share of plaques that run together with a second one."""
CONTRAST_SD, CONTRAST_SPREADS = (3.0, 14.0), (0.35, 2.5)
"""Plaques are faint: half between these noise standard deviations, half between these spreads of the brain's values."""


def ventricles(head: Head) -> np.ndarray:
    """Voxels of the ventricles: by label, else the large pieces of fluid in the depth of the brain."""
    if head.labels is not None:
        return np.isin(head.labels, VENTRICLES)
    inside = head.voxels[head.mask]
    middle = float(np.median(inside))
    wet = head.voxels > 1.5 * middle if head.contrast in ("t2", "pd") else head.voxels < 0.55 * middle
    wet &= ndi.distance_transform_edt(head.mask, sampling=head.spacing) > DEPTH_MM
    parts, number = ndi.label(wet)
    if not number:
        return wet
    volume = np.bincount(parts.ravel())[1:] * np.prod(head.spacing)
    return np.isin(parts, 1 + np.flatnonzero(volume > 300.0))


def implant_plaques(scene: Scene, fluid: np.ndarray, count: int, rng: np.random.Generator) -> None:
    """Add plaques to a scene; each is a union of balls, every ball a row of the truth with its plaque's number.

    Parameters
    ----------
    scene
        Its voxels and truth are added to.
    fluid
        Ventricles, on the scene's grid: no plaque reaches into them.
    count
        Number of plaques.
    rng
        Draws them.
    """
    pitch = np.array(scene.spacing)
    wall = ndi.distance_transform_edt(~fluid, sampling=pitch) if fluid.any() else np.full(fluid.shape, np.inf)
    depth = ndi.distance_transform_edt(scene.mask, sampling=pitch)
    seats = {
        "finger": np.argwhere((wall > 0) & (wall < 3) & (depth > 6)),
        "band": np.argwhere((wall > 0) & (wall < 2) & (depth > 6)),
        "cortical": np.argwhere((depth > 3) & (depth < 8) & (wall > 3)),
        "deep": np.argwhere((depth > 8) & (wall > 3)),
    }
    taken = [(t["centre"], t["radius"]) for t in scene.truth]
    drawn = np.zeros(scene.voxels.shape, np.float32)
    group = len(scene.truth)
    for _ in range(6 * count):
        if group >= count + len(taken):
            break
        kind = str(rng.choice(KINDS, p=SHARES))
        if not len(seats[kind]):
            continue
        seat = seats[kind][rng.integers(len(seats[kind]))]
        balls = _shape(kind, seat * pitch, _outwards(wall, seat, pitch), rng)
        if rng.random() < PAIRED:
            other, radius = balls[-1]
            balls += _shape("deep", other + _unit(rng) * radius * rng.uniform(1.2, 2.0), _unit(rng), rng)
        if any(np.linalg.norm(c - centre) < r + radius + 1.5 for c, r in balls for centre, radius in taken):
            continue
        if _drawn(scene, balls, (drawn, fluid), _amount(scene, rng), group):
            taken += balls
            group += 1
    scene.voxels += scene.sign * drawn


def _drawn(scene: Scene, balls: list, onto: tuple[np.ndarray, np.ndarray], amount: float, group: int) -> bool:
    """Paint the union of the balls, and add them to the truth."""
    drawn, fluid = onto
    psf = max(0.45, 0.5 * scene.spacing[1])
    whole = float(np.cbrt(sum(r**3 for _, r in balls)))
    any_seen = False
    for centre, radius in balls:
        at = tuple(np.rint(centre / np.array(scene.spacing)).astype(int))
        within = all(0 <= a < n for a, n in zip(at, fluid.shape, strict=True))
        if not within or not scene.mask[at] or fluid[at]:
            continue
        lesion = {"radius": radius, "kind": "sphere", "axes": np.ones(3), "frame": np.eye(3)}
        box, value = lesion_box(drawn.shape, scene.spacing, centre, lesion, psf)
        if value.size == 0:
            continue
        value = value * ~fluid[box]
        drawn[box] = np.maximum(drawn[box], amount * value)
        row = {"centre": centre, "radius": radius, "cnr": amount / scene.sigma, "peak": float(value.max())}
        scene.truth.append(row | {"kind": "plaque", "group": group, "whole": whole})
        any_seen = True
    return any_seen


def _shape(kind: str, start: np.ndarray, outwards: np.ndarray, rng: np.random.Generator) -> list:
    """Centres in mm and radii of the balls of one plaque."""
    radius = float(np.exp(rng.uniform(np.log(1.2), np.log(3.5))))
    if kind == "deep":
        frame = random_rotation(rng) * np.array([1.0, 0.8, 0.6])
        offsets = [frame @ rng.normal(0, 0.7 * radius, 3) for _ in range(int(rng.integers(2, 6)))]
        return [(start + o, radius * float(np.exp(rng.normal(0, 0.25)))) for o in offsets]
    along = outwards + rng.normal(0, 0.2, 3)
    if kind != "finger":  # along the wall or the surface
        along = _unit(rng)
        along = along - outwards * (along @ outwards)
        radius *= 0.7
    balls, at, length = [], start.copy(), rng.uniform(3.0, 12.0)
    steps = max(2, int(length / (0.7 * radius)))
    for taper in np.linspace(1.0, rng.uniform(0.4, 1.0), steps):
        along = along / np.linalg.norm(along) + rng.normal(0, 0.2, 3)
        balls.append((at.copy(), radius * float(taper)))
        at = at + 0.7 * radius * along / np.linalg.norm(along)
    return balls


def _outwards(wall: np.ndarray, seat: np.ndarray, pitch: np.ndarray) -> np.ndarray:
    """Unit vector away from the ventricles; any where there are none near."""
    low = np.maximum(seat - 2, 0)
    part = wall[tuple(slice(a, b) for a, b in zip(low, seat + 3, strict=True))]
    if min(part.shape) < 2 or not np.isfinite(part).all():
        return np.array([0.0, 0.6, 0.8])
    slope = np.array([g.mean() for g in np.gradient(part, *pitch)])
    return slope / max(np.linalg.norm(slope), 1e-6)


def _unit(rng: np.random.Generator) -> np.ndarray:
    v = rng.normal(size=3)
    return v / np.linalg.norm(v)


def _amount(scene: Scene, rng: np.random.Generator) -> float:
    """Height of a plaque."""
    if rng.random() < 0.5:
        return scene.sigma * float(np.exp(rng.uniform(*np.log(CONTRAST_SD))))
    return max(scene.spread * float(np.exp(rng.uniform(*np.log(CONTRAST_SPREADS)))), CONTRAST_SD[0] * scene.sigma)
