"""Lesions that replace their tissue: drawn one by one into any head, until as many count as are wanted."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from scipy.spatial import cKDTree

from miliary_seg.domain.arrays import BoolArray, Float64Array, Int64Array
from miliary_seg.domain.sequence import Modality, Polarity
from miliary_seg.errors import UsageError
from miliary_seg.lab.phantom.head import Head
from miliary_seg.lab.phantom.mimics import Mimic
from miliary_seg.lab.phantom.outline import Outline
from miliary_seg.lab.phantom.place import MIMIC_GAP_MM, Placed, compartments_allowed, draw_shape, value_at
from miliary_seg.lab.phantom.places import pools_of
from miliary_seg.lab.phantom.spec import LesionSpec, PhantomSpec
from miliary_seg.lab.phantom.tissue import FLUID, Tissue, tissue_of
from miliary_seg.lab.phantom.truth import second_best
from miliary_seg.lab.phantom.view import Implant, Seen, View

SHAPES = 12
"""Shapes tried at one place, each at ``SITES`` positions, before another place is drawn."""
SITES = 25
PLACE_DRAWS = 8
REJECTED = 60
"""Lesions drawn in vain, for each that is wanted, before a wish is called impossible."""
INSIDE_SHARE = {"sulcal": 0.0, "cortex": 0.5, "vessel": 0.5}
"""Depth of a lesion's centre below the surface of the brain over its reach: a subpial lesion stands half out of it,
one of the cortex or beside a vessel bulges; elsewhere lesions lie inside by ``margin_mm``."""
BESIDE_SHARE = 0.9
"""Least distance of a lesion's centre to a vessel over its radius: it touches the vessel and does not lie on it."""
TOUCHING_MM = 0.3
"""Distance from a lesion's surface to the middle of the nearest voxel of the vessel that it touches."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LookAlikes:
    """Points of what was drawn into a head that has no look-alikes of its own."""

    points_ras_mm: Float64Array
    """All, shape (n, 3)."""
    vessels_ras_mm: Float64Array
    """Those of vessels."""

    @classmethod
    def of(cls, mimics: list[Mimic]) -> LookAlikes:
        """Points of drawn look-alikes."""
        none = [np.zeros((0, 3))]
        return cls(
            points_ras_mm=np.concatenate(none + [m.points_ras_mm for m in mimics]),
            vessels_ras_mm=np.concatenate(none + [m.points_ras_mm for m in mimics if m.kind == "vessel"]),
        )


@dataclass(slots=True, kw_only=True, eq=False)
class Site:
    """A head that lesions are drawn into, and those that it has."""

    head: Head
    spec: LesionSpec
    tissue: Tissue
    normal: Float64Array
    pools: dict[str, Int64Array]
    rng: np.random.Generator
    contrasts: np.random.Generator
    avoid: cKDTree | None = None
    vessels: cKDTree | None = None
    kept: list[tuple[Implant, Seen]] = field(default_factory=list)
    centres: Float64Array = field(default_factory=lambda: np.zeros((0, 3)))
    reaches: Float64Array = field(default_factory=lambda: np.zeros(0))

    @classmethod
    def of(
        cls,
        head: Head,
        spec: PhantomSpec,
        view: View,
        in_view: BoolArray | None,
        streams: tuple[np.random.Generator, np.random.Generator],
        look_alikes: LookAlikes,
    ) -> Site:
        """A head without lesions.

        Parameters
        ----------
        head, spec, view
            Where, what, and the slices that lesions are counted on.
        in_view
            Voxels of the head that the scan covers; None = all.
        streams
            For places and shapes, and for enhancement.
        look_alikes
            What has been drawn into the head: vessels to lie beside, others to stay clear of.

        Raises
        ------
        UsageError
            If the head has none of the wanted places, or no compartments where side or level is restricted.
        """
        allowed = compartments_allowed(head, spec.lesions)
        allowed = allowed if in_view is None else allowed & in_view
        allowed = allowed if head.avoid is None else allowed & ~head.avoid
        wanted = {name for name, weight in spec.lesions.places if weight > 0}
        places = pools_of(head, spec.sequence)
        if look_alikes.vessels_ras_mm.size:
            drawn = np.rint(head.grid.to_ijk(look_alikes.vessels_ras_mm)).astype(np.int64)
            drawn = drawn[np.all((drawn >= 0) & (drawn < head.grid.shape), axis=1)]
            places = places | {"vessel": np.ravel_multi_index(tuple(drawn.T), head.grid.shape)}
        pools = {name: pool[allowed.ravel()[pool]] for name, pool in places.items() if name in wanted}
        pools = {name: pool for name, pool in pools.items() if pool.size}
        if not pools:
            raise UsageError("the host has none of the wanted places", todo="widen places, side, level or coverage")
        return cls(
            head=head,
            spec=spec.lesions,
            tissue=tissue_of(head, spec.sequence),
            normal=view.slices.normal,
            pools=pools,
            rng=streams[0],
            contrasts=streams[1],
            avoid=cKDTree(look_alikes.points_ras_mm) if look_alikes.points_ras_mm.size else None,
        )

    def draw(self, pools: dict[str, Int64Array] | None = None) -> Implant:
        """One more lesion that fits beside those kept so far; ``keep`` makes it one of them."""
        pools = self.pools if pools is None else pools
        names = list(pools)
        weights = np.array([dict(self.spec.places)[name] for name in names])
        for _ in range(PLACE_DRAWS if names else 0):
            place = names[int(self.rng.choice(len(names), p=weights / weights.sum()))]
            for _ in range(SHAPES):
                body = self._fitted(place, pools[place])
                if body is not None:
                    return self._coloured(body, place)
        raise UsageError("no room for one more lesion", todo="fewer or smaller lesions, a smaller gap, or other slices")

    def keep(self, lesion: Implant, seen: Seen) -> None:
        """Note a lesion, so that others stay clear of it."""
        self.kept.append((lesion, seen))
        self.centres = np.vstack([self.centres, lesion.body.centre_ras_mm])
        self.reaches = np.append(self.reaches, lesion.body.reach_mm)

    def _fitted(self, place: str, pool: Int64Array) -> Placed | None:
        diameter, axes, kind = draw_shape(self.spec, self.rng)
        rough = self.spec.irregularity
        outline = Outline.random(rough, axes, self.normal, self.rng) if rough > 0 else None
        body = Placed(centre_ras_mm=np.zeros(3), axes_mm=axes, kind=kind, diameter_mm=diameter, outline=outline)
        reach = body.reach_mm
        flat = pool[self.rng.integers(pool.size, size=SITES)]
        index = np.stack(np.unravel_index(flat, self.head.grid.shape), axis=1)
        centres = self.head.grid.to_ras_mm(index + self.rng.uniform(-0.5, 0.5, index.shape))
        if place == "vessel":
            away = self.rng.standard_normal(centres.shape)
            away *= (diameter / 2 + TOUCHING_MM) / np.linalg.norm(away, axis=1, keepdims=True)
            centres = centres + away
            centres = centres[self._vessels(pool).query(centres)[0] >= BESIDE_SHARE * diameter / 2]
        for k in np.flatnonzero(self._deep_enough(centres, reach, place)):
            if self._free(centres[k], reach, place):
                return replace(body, centre_ras_mm=centres[k])
        return None

    def _vessels(self, pool: Int64Array) -> cKDTree:
        if self.vessels is None:
            index = np.stack(np.unravel_index(pool, self.head.grid.shape), axis=1)
            self.vessels = cKDTree(self.head.grid.to_ras_mm(index))
        return self.vessels

    def _deep_enough(self, centres: Float64Array, reach: float, place: str) -> BoolArray:
        share = INSIDE_SHARE.get(place)
        need = reach + self.spec.margin_mm if share is None else share * reach
        depth = value_at(self.head, self.tissue.depth_mm, centres).astype(np.float64)
        classes = value_at(self.head, self.tissue.classes, centres).astype(np.uint8)
        fine: BoolArray = (depth >= need) & (classes > 0) & (classes != FLUID)
        return fine

    def _free(self, centre: Float64Array, reach: float, place: str) -> bool:
        """Clear of the other lesions and of look-alikes, and in one compartment."""
        apart = np.sqrt(((self.centres - centre) ** 2).sum(axis=1))
        if np.any(apart < self.reaches + reach + self.spec.gap_mm):
            return False
        if self.avoid is not None and place != "vessel" and self.avoid.query(centre)[0] < reach + MIMIC_GAP_MM:
            return False
        if self.head.compartments is None:
            return True
        cross = max(reach, 1.0) * np.concatenate([np.zeros((1, 3)), np.eye(3), -np.eye(3)])
        found = value_at(self.head, self.head.compartments, centre + cross)
        return bool(np.all((found == found[0]) | (found == 0))) and bool(found[0] > 0)

    def _coloured(self, body: Placed, place: str) -> Implant:
        assert self.spec.enhancement is not None  # noqa: S101 - only then are there implants
        low, high = self.spec.enhancement
        share, side = self.contrasts.random(2)
        asked = float(low * (high / low) ** share)
        bright = self.spec.polarity is Polarity.BRIGHT or (self.spec.polarity is Polarity.BOTH and side < 0.5)
        asked = asked if bright else -asked
        white = float(self.tissue.white_at(body.centre_ras_mm[None])[0])
        lift = asked if self.head.modality is Modality.CT else white * max(asked, -1.0)
        return Implant(body=body, place=place, enhancement=asked, white=white, lift=lift)


def drawn_lesions(site: Site, view: View) -> list[tuple[Implant, Seen]]:
    """Lesions of a specification: ``count`` of them, or as many as its wishes for slices need.

    Returns
    -------
    list of (Implant, Seen)
        Each with what it shows in the view.

    Raises
    ------
    UsageError
        If the wishes cannot be met.
    """
    if site.spec.second_best is not None:
        _until_second_best(site, view, site.spec.second_best)
        return site.kept
    wanted = _Wanted(need=dict(site.spec.slice_targets), most=site.spec.max_per_slice, counts=_no_counts(view))
    if any(not 0 <= s < wanted.counts.size for s in wanted.need):
        raise UsageError(f"slice targets lie outside the {wanted.counts.size} slices of the scan")
    for _ in range(site.spec.count):
        _add(site, view, wanted)
    if any(wanted.need.values()):
        raise UsageError("the slice targets need more lesions than count allows", todo="raise lesions.count")
    return site.kept


def _no_counts(view: View) -> Int64Array:
    return np.zeros(len(view.slices.positions_mm), dtype=np.int64)


def _until_second_best(site: Site, view: View, wanted: int) -> None:
    """Evenly spread lesions: one more raises the second-best count by at most one, so that it is met exactly."""
    counts = _no_counts(view)
    while second_best(counts) < wanted:
        made = len(site.kept)
        if made == site.spec.count:
            what = f"{made} lesions give {second_best(counts)} on the second-best slice, not {wanted}"
            raise UsageError(what, todo="raise lesions.count, or make lesions larger or brighter")
        lesion = site.draw()
        seen = view.seen(lesion)
        site.keep(lesion, seen)
        counts[list(seen.slices)] += 1


@dataclass(slots=True, kw_only=True, eq=False)
class _Wanted:
    """What slices still need, and the most that any other may show."""

    need: dict[int, int]
    most: int | None
    counts: Int64Array

    def takes(self, seen: Seen) -> bool:
        """Whether a lesion spoils no slice."""
        for s, missing in self.need.items():
            if (s in seen.slices) != bool(seen.share[s] > 0) or (s in seen.slices and missing == 0):
                return False
        others = [s for s in seen.slices if s not in self.need]
        return self.most is None or not others or int(self.counts[others].max()) < self.most


def _add(site: Site, view: View, wanted: _Wanted) -> None:
    """One more lesion: on the slice that needs most while one needs any, then anywhere."""
    target = max(wanted.need, key=lambda s: wanted.need[s], default=None)
    target = None if target is None or wanted.need[target] == 0 else target
    pools = site.pools if target is None else _near(site, view, target)
    for _ in range(REJECTED):
        lesion = site.draw(pools)
        seen = view.seen(lesion)
        if not wanted.takes(seen) or (target is not None and target not in seen.slices):
            continue
        for s in set(seen.slices) & set(wanted.need):
            wanted.need[s] -= 1
        wanted.counts[list(seen.slices)] += 1
        site.keep(lesion, seen)
        return
    where = "" if target is None else f" on slice {target}"
    raise UsageError(f"no lesion more can be placed{where}", todo="larger, brighter or fewer lesions, or other slices")


def _near(site: Site, view: View, target: int) -> dict[str, Int64Array]:
    half = view.optics.thickness_mm / 2 + max(site.head.grid.spacing_mm) / 2
    shape, near = site.head.grid.shape, {}
    for name, pool in site.pools.items():
        along = site.head.grid.to_ras_mm(np.stack(np.unravel_index(pool, shape), axis=1)) @ site.normal
        near[name] = pool[np.abs(along - view.slices.positions_mm[target]) <= half]
    return {name: pool for name, pool in near.items() if pool.size}
