"""Each lesion's region (lobe, deep grey matter, brain stem, cerebellum) and the layer of the lobe it lies in.

The fitted atlas says where a lesion lies in the template; the fit is some millimetres off, so a cloud of places around
it is looked up, and the share of the cloud in a region is that region's probability.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from io import BytesIO

import numpy as np
from scipy import ndimage as ndi

from miliary_seg.domain.arrays import Float64Array, UInt8Array
from miliary_seg.domain.compartment import Level, Region, RegionGroup, TemplateMap, Tissue
from miliary_seg.locate.transform import apply, inverse

FIT_ERROR_MM = 3.0
"""Standard deviation along each axis of the cloud of places (docs/compartments.md, "Regions")."""
CLOUD = 256
"""Places in the cloud: shares are told apart to better than 3 %."""
SEED = 20202
ONLY_BELOW = [Region.PONS, Region.MEDULLA, Region.CEREBELLUM]
"""Regions below the tentorium; the midbrain reaches through its notch."""
ONLY_ABOVE = [region for region in Region if region < Region.MIDBRAIN]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Region and layer of one lesion with their probabilities; None where they cannot be told."""

    region: Region | None = None
    region_confidence: float | None = None
    tissue: Tissue | None = None
    tissue_confidence: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RegionAtlas:
    """The right half (x >= 0) of the template on a 2 mm lattice; the left half is its mirror image."""

    regions: UInt8Array
    """Codes of ``Region``, 0 outside the brain."""
    white: UInt8Array
    """Share of white matter in grey and white matter, 0 to 255."""
    affine: Float64Array


@lru_cache(maxsize=1)
def load_regions() -> RegionAtlas:
    """Read the region atlas that the package ships (once a process)."""
    with np.load(BytesIO((files("miliary_seg") / "atlas_data" / "regions.npz").read_bytes())) as stored:
        return RegionAtlas(regions=stored["regions"], white=stored["white"], affine=stored["affine"])


def in_template(places_ras_mm: Float64Array, template: TemplateMap) -> Float64Array:
    """MNI positions, shape (n, 3), of places in a scan, shape (n, 3), RAS+ mm."""
    ijk = apply(inverse(template.affine), places_ras_mm.T)
    found = [ndi.map_coordinates(axis, ijk, order=1, mode="nearest") for axis in template.positions_mm]
    return np.stack(found, axis=1).astype(np.float64)


def places_of(centroids_ras_mm: Float64Array, levels: list[Level | None], template: TemplateMap) -> list[Place]:
    """Region and layer of lesions.

    Parameters
    ----------
    centroids_ras_mm
        Shape (n, 3), RAS+ mm.
    levels
        Of each lesion; the region never contradicts it. None = not known: no region is told.
    template
        The fit.

    Returns
    -------
    list of Place
        One a lesion.
    """
    if not levels:
        return []
    shares, white = _looked_up(in_template(centroids_ras_mm, template))
    return [_place(share, level, light) for share, level, light in zip(shares, levels, white, strict=True)]


def _looked_up(positions_mm: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Share of the cloud around each template position in each region, shape (n, 13), and the mean share of white."""
    atlas = load_regions()
    cloud = np.random.default_rng(SEED).normal(0.0, FIT_ERROR_MM, (CLOUD, 3))
    places = (positions_mm[:, None, :] + cloud).reshape(-1, 3).T
    places[0] = np.abs(places[0])
    ijk = np.rint(apply(inverse(atlas.affine), places)).astype(np.intp)
    last = np.array(atlas.regions.shape)[:, None] - 1
    inside = ((ijk >= 0) & (ijk <= last)).all(axis=0)
    i, j, k = np.clip(ijk, 0, last)
    found = np.where(inside, atlas.regions[i, j, k], 0).reshape(len(positions_mm), CLOUD)
    white = np.where(inside, atlas.white[i, j, k], 0).reshape(len(positions_mm), CLOUD)
    shares = np.stack([(found == code).mean(axis=1) for code in range(len(Region) + 1)], axis=1)
    return shares, white.mean(axis=1) / 255.0


def _place(shares: Float64Array, level: Level | None, white: float) -> Place:
    """The likeliest region of the lesion's level, and the layer where that is a lobe."""
    possible = shares.copy()
    possible[0] = 0.0
    possible[ONLY_BELOW if level is Level.SUPRATENTORIAL else ONLY_ABOVE] = 0.0
    if level is None or not possible.any():
        return Place()
    region = Region(int(possible.argmax()))
    sure = float(possible[region] / possible.sum())
    if region.group is not RegionGroup.LOBE:
        return Place(region=region, region_confidence=sure)
    tissue, chance = tissue_of(white)
    return Place(region=region, region_confidence=sure, tissue=tissue, tissue_confidence=chance)


WHITE_SHARES = (0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95)
LAYER_CHANCES = {
    Tissue.CORTEX: (0.91, 0.70, 0.46, 0.37, 0.24, 0.18, 0.11, 0.06, 0.02, 0.00),
    Tissue.JUNCTION: (0.08, 0.28, 0.47, 0.48, 0.53, 0.45, 0.37, 0.24, 0.07, 0.01),
    Tissue.WHITE_MATTER: (0.01, 0.02, 0.07, 0.15, 0.23, 0.37, 0.52, 0.70, 0.91, 0.99),
}
"""Chance of each layer by the share of white around a lesion's centre; the junction reaches 1 mm to either side of the
border. Counted on simulated scans of four people, checked on four others (docs/compartments.md, "Regions")."""


def tissue_of(white: float) -> tuple[Tissue, float]:
    """The likeliest layer of a lobe and its chance."""
    chances = {layer: float(np.interp(white, WHITE_SHARES, column)) for layer, column in LAYER_CHANCES.items()}
    best = max(chances, key=lambda layer: chances[layer])
    return best, chances[best] / sum(chances.values())
