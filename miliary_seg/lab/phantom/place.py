"""Where lesions go: a seeded hard-core process inside the allowed regions, with exact counts on wanted slices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi
from scipy.spatial import cKDTree

from miliary_seg.domain.arrays import BoolArray, Float32Array, Float64Array, Int64Array
from miliary_seg.domain.compartment import Compartment
from miliary_seg.errors import UsageError
from miliary_seg.lab.phantom.head import Head
from miliary_seg.lab.phantom.outline import Outline
from miliary_seg.lab.phantom.spec import REGIONS, LesionSpec
from miliary_seg.lab.phantom.truth import HALF, slice_share

TRIES = 400
"""Attempts at one lesion before its size is drawn anew; twenty draws, then the wish is called impossible."""
REDRAWS = 20
MIMIC_GAP_MM = 1.0
"""Least distance between a lesion's surface and a look-alike, so that each stays what the truth says it is."""
TARGET_SHARE = 0.6
"""A lesion placed for a slice overlaps it by at least this share, clear of the rule's one half."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Placed:
    """One lesion: where, what shape."""

    centre_ras_mm: Float64Array
    axes_mm: Float64Array
    """Columns are the semi-axes."""
    kind: str
    diameter_mm: float
    outline: Outline | None = None
    """Bumps on the ellipsoid."""

    @property
    def reach_mm(self) -> float:
        """Longest semi-axis, or the farthest bump."""
        if self.outline is not None:
            return float(np.linalg.norm(self.outline.points @ self.axes_mm.T, axis=1).max())
        return float(np.sqrt((self.axes_mm**2).sum(axis=0)).max())

    @property
    def semi_axes_mm(self) -> tuple[float, float, float]:
        """Shortest first, rounded for the truth."""
        a, b, c = sorted(round(float(v), 6) for v in np.sqrt((self.axes_mm**2).sum(axis=0)))
        return a, b, c

    def extent_mm(self, normal: Float64Array) -> float:
        """Length along a unit vector."""
        if self.outline is not None:
            return float(np.ptp(self.outline.points @ (normal @ self.axes_mm)))
        return float(2 * np.sqrt(((normal @ self.axes_mm) ** 2).sum()))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Slices:
    """The planes that lesions are counted on."""

    normal: Float64Array
    positions_mm: Float64Array
    thickness_mm: float

    def shares(self, lesion: Placed) -> Float64Array:
        """Overlap with each slice as in ``truth.slice_share``, shape (n slices,)."""
        centre = np.array([self.normal @ lesion.centre_ras_mm])
        extent = np.array([lesion.extent_mm(self.normal)])
        share: Float64Array = slice_share(centre, extent, self.positions_mm, self.thickness_mm)[0]
        return share


@dataclass(slots=True, kw_only=True, eq=False)
class _Site:
    """Places still open, and what has been put there."""

    head: Head
    spec: LesionSpec
    slices: Slices
    rng: np.random.Generator
    avoid: cKDTree | None
    depth_mm: Float32Array
    pools: dict[str, Int64Array]
    """Region -> flat indices of allowed voxels."""
    along_mm: dict[str, Float64Array]
    """Region -> position along the slice normal of these voxels."""
    lesions: list[Placed] = field(default_factory=list)
    centres: Float64Array = field(default_factory=lambda: np.zeros((0, 3)))
    reaches: Float64Array = field(default_factory=lambda: np.zeros(0))


def place(
    head: Head,
    spec: LesionSpec,
    slices: Slices,
    in_view: BoolArray,
    rng: np.random.Generator,
    avoid_ras_mm: Sequence[Float64Array] = (),
) -> list[Placed]:
    """Place all lesions of a specification.

    Parameters
    ----------
    head, spec, slices
        What, where and on which planes.
    in_view
        Voxels of the head's grid that the scan covers.
    rng
        Seeded generator.
    avoid_ras_mm
        Points of look-alikes, each (n, 3).

    Raises
    ------
    UsageError
        If side or level is restricted and the host has no compartments, or if there is no room.
    """
    if spec.count == 0:
        return []
    points = [p for p in avoid_ras_mm if len(p)]
    site = _site(head, spec, slices, in_view, rng, cKDTree(np.concatenate(points)) if points else None)
    need = dict(spec.slice_targets)
    if any(not 0 <= s < len(slices.positions_mm) for s in need):
        raise UsageError(f"slice targets lie outside the {len(slices.positions_mm)} slices of the scan")
    for target in sorted(need, key=lambda s: (need[s], s)):
        while need[target] > 0:
            if len(site.lesions) >= spec.count:
                raise UsageError("the slice targets need more lesions than count allows", todo="raise lesions.count")
            _add(site, target, need)
    _fill(site, set(need))
    return site.lesions


def _fill(site: _Site, targets: set[int]) -> None:
    """Place the remaining lesions so that none touches a target slice or one that has its most."""
    counts = np.zeros(len(site.slices.positions_mm), dtype=int)
    for lesion in site.lesions:
        counts += site.slices.shares(lesion) >= HALF
    closed = set(targets)
    while len(site.lesions) < site.spec.count:
        if site.spec.max_per_slice is not None:
            closed = targets | set(np.flatnonzero(counts >= site.spec.max_per_slice).tolist())
        counts += site.slices.shares(_add(site, None, dict.fromkeys(closed, 0))) >= HALF


def _site(
    head: Head,
    spec: LesionSpec,
    slices: Slices,
    in_view: BoolArray,
    rng: np.random.Generator,
    avoid: cKDTree | None,
) -> _Site:
    allowed = head.brain & in_view & compartments_allowed(head, spec)
    depth = depth_inside_mm(head)
    allowed &= depth >= spec.margin_mm + spec.diameter_mm[0] / 2
    pools = {}
    if head.regions is None:
        pools["anywhere"] = np.flatnonzero(allowed)
    else:
        for code, name in enumerate(REGIONS, start=1):
            if dict(spec.region_weights).get(name, 0) > 0:
                pools[name] = np.flatnonzero(allowed & (head.regions == code))
    pools = {name: pool for name, pool in pools.items() if pool.size}
    if not pools:
        raise UsageError("no voxel of the host is left for lesions", todo="widen side, level, regions or coverage")
    along = {
        name: head.grid.to_ras_mm(np.stack(np.unravel_index(pool, head.grid.shape), axis=1)) @ slices.normal
        for name, pool in pools.items()
    }
    return _Site(head=head, spec=spec, slices=slices, rng=rng, avoid=avoid, depth_mm=depth, pools=pools, along_mm=along)


def depth_inside_mm(head: Head) -> Float32Array:
    """Distance to the surface of the brain, worked out in its bounding box."""
    box = ndi.find_objects(head.brain.astype(np.uint8))[0]
    depth = np.zeros(head.grid.shape, dtype=np.float32)
    rims = [(int(s.start > 0), int(s.stop < n)) for s, n in zip(box, head.grid.shape, strict=True)]
    found = ndi.distance_transform_edt(np.pad(head.brain[box], rims), sampling=head.grid.spacing_mm)
    depth[box] = found[tuple(slice(low, low + s.stop - s.start) for (low, _), s in zip(rims, box, strict=True))]
    return depth


def compartments_allowed(head: Head, spec: LesionSpec) -> BoolArray:
    """Voxels on the side and level that the lesions are restricted to."""
    if spec.side == "both" and spec.level == "both":
        return np.ones(head.grid.shape, dtype=bool)
    if head.compartments is None:
        raise UsageError("side or level is restricted but the host has no compartments", todo="give a label map")
    wanted = [c for c in Compartment if spec.side in ("both", c.side) and spec.level in ("both", c.level)]
    return np.isin(head.compartments, [int(c) for c in wanted])


def _add(site: _Site, target: int | None, need: dict[int, int]) -> Placed:
    """Draw shapes and places until one fits; note it and lower the need of the slices that it counts on."""
    pools = site.pools if target is None else _near(site, target)
    names = list(pools)
    weights = np.array([dict(site.spec.region_weights).get(name, 1.0) for name in names], dtype=np.float64)
    for _ in range(REDRAWS if names else 0):
        shape = draw_shape(site.spec, site.rng)
        for _ in range(TRIES // REDRAWS if target is None else TRIES):
            pool = pools[names[int(site.rng.choice(len(names), p=weights / weights.sum()))]]
            lesion = _moved(site, shape, int(pool[site.rng.integers(pool.size)]))
            if not _fits(site, lesion):
                continue
            counted = _counted(site, lesion, target, need)
            if counted is not None:
                for s in counted:
                    need[s] -= 1
                site.lesions.append(lesion)
                site.centres = np.vstack([site.centres, lesion.centre_ras_mm])
                site.reaches = np.append(site.reaches, lesion.reach_mm)
                return lesion
    where = "" if target is None else f" on slice {target}"
    raise UsageError(
        f"no room for lesion {len(site.lesions) + 1} of {site.spec.count}{where}",
        todo="fewer or smaller lesions, a smaller gap, or other slices",
    )


def _near(site: _Site, target: int) -> dict[str, Int64Array]:
    half = site.slices.thickness_mm / 2 + max(site.head.grid.spacing_mm) / 2
    position = site.slices.positions_mm[target]
    near = {name: pool[np.abs(site.along_mm[name] - position) <= half] for name, pool in site.pools.items()}
    return {name: pool for name, pool in near.items() if pool.size}


def _counted(site: _Site, lesion: Placed, target: int | None, need: dict[int, int]) -> list[int] | None:
    """Slices with a need that the lesion counts on; None if it would spoil one of them."""
    share = site.slices.shares(lesion)
    if target is None:
        return None if any(share[s] > 0 for s in need) else []
    if share[target] < TARGET_SHARE:
        return None
    counted = [s for s in need if share[s] >= HALF]
    return counted if all(need[s] > 0 for s in counted) else None


def draw_shape(spec: LesionSpec, rng: np.random.Generator) -> tuple[float, Float64Array, str]:
    """Diameter in mm, semi-axes as columns in mm and kind of one lesion."""
    low, high = spec.diameter_mm
    share = rng.random()
    diameter = low + (high - low) * share if spec.diameter_law == "uniform" else low * (high / low) ** share
    ratio = 1 + (spec.elongation - 1) * rng.random()
    turn = np.linalg.qr(rng.standard_normal((3, 3)))[0] if ratio > 1 else np.eye(3)
    axes = turn * (diameter / 2 * np.array([ratio ** (2 / 3), ratio ** (-1 / 3), ratio ** (-1 / 3)]))
    ring, soft = rng.random(2)
    if diameter >= spec.ring_from_mm and ring < spec.ring_fraction:
        return diameter, axes, "ring"
    return diameter, axes, "soft" if soft < spec.soft_fraction else "solid"


def _moved(site: _Site, shape: tuple[float, Float64Array, str], flat: int) -> Placed:
    index = np.array(np.unravel_index(flat, site.head.grid.shape)) + site.rng.uniform(-0.5, 0.5, 3)
    diameter, axes, kind = shape
    return Placed(centre_ras_mm=site.head.grid.to_ras_mm(index), axes_mm=axes, kind=kind, diameter_mm=diameter)


def _fits(site: _Site, lesion: Placed) -> bool:
    """Inside the brain, in one compartment, clear of other lesions and of look-alikes."""
    reach = lesion.reach_mm
    if value_at(site.head, site.depth_mm, lesion.centre_ras_mm[None])[0] < reach + site.spec.margin_mm:
        return False
    apart = np.sqrt(((site.centres - lesion.centre_ras_mm) ** 2).sum(axis=1))
    if np.any(apart < site.reaches + reach + site.spec.gap_mm):
        return False
    if site.avoid is not None and site.avoid.query(lesion.centre_ras_mm)[0] < reach + MIMIC_GAP_MM:
        return False
    if site.head.compartments is None:
        return True
    cross = max(reach, 1.0) * np.concatenate([np.zeros((1, 3)), np.eye(3), -np.eye(3)])
    found = value_at(site.head, site.head.compartments, lesion.centre_ras_mm + cross)
    return bool(np.all((found == found[0]) | (found == 0))) and bool(found[0] > 0)


def value_at(head: Head, array: NDArray[np.generic], points_ras_mm: Float64Array) -> NDArray[np.generic]:
    """Value of the nearest voxel at each point, shape (n, 3) to (n,)."""
    index = np.rint(head.grid.to_ijk(points_ras_mm)).astype(int)
    i, j, k = np.clip(index, 0, np.array(head.grid.shape) - 1).T
    found: NDArray[np.generic] = array[i, j, k]
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Whereabouts:
    """Place of a lesion, as the truth states it; None = not known, or without one."""

    centre_ras_mm: tuple[float, float, float]
    side: str | None
    level: str | None
    region: str | None


def whereabouts(head: Head, lesion: Placed) -> Whereabouts:
    """Where the centre of a lesion lies in its head."""
    x, y, z = (round(float(v), 6) for v in lesion.centre_ras_mm)
    at = lesion.centre_ras_mm[None]
    code = 0 if head.compartments is None else int(value_at(head, head.compartments, at)[0])
    region = 0 if head.regions is None else int(value_at(head, head.regions, at)[0])
    return Whereabouts(
        centre_ras_mm=(x, y, z),
        side=str(Compartment(code).side) if code else None,
        level=str(Compartment(code).level) if code else None,
        region=REGIONS[region - 1] if region else None,
    )
