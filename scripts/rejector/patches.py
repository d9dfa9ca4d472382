"""Small patches around candidates, sampled along rays in millimetres, for the learned rejector.

A patch is polar: the candidate's centre and, in every direction, the signed intensity on a ladder of shells that
starts inside of the blob and ends well outside of it. Shells are placed relative to the blob's own radius, so that a
1.5 mm and an 8 mm lesion look alike; what lies beyond them is measured in mm, as vessels and sulci are. Where slices
are thin the rays fill the sphere; where they are thick they lie in the slice, and the same rays are sampled in the
slices above and below. See docs/rejector.md for the reasons and the measurements.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

SHELLS = ((0.5, 0.0), (1.0, 0.0), (1.0, 0.7), (1.0, 1.4), (1.0, 2.2), (1.0, 3.2), (1.0, 4.5), (1.0, 6.5))
"""Shell distance = a * radius + b mm. Half-way, the edge, and six shells up to 6.5 mm beyond it (docs/rejector.md)."""
BACKGROUND_SHELLS = slice(3, 5)
"""1.4 and 2.2 mm beyond the edge: past the blur of the scanner, before the next gyrus."""
COARSE_FROM = 5
"""Shells from here on are read from the coarse level: far rays stand 2-4 mm apart and would alias."""
FINE_SIGMA_MM = 0.6
"""Blur of the fine level: the smallest scale of the detector's ladder."""
COARSE_SIGMA_MM = 1.2
"""Blur of the coarse level, two half-octaves further."""
COARSE_RADIUS_MM = 2.6
"""Candidates of at least this radius are read from the coarse level altogether (half their own scale)."""
IN_PLANE_DIRECTIONS = 16
"""Rays in a thick slice, 22.5 degrees apart."""
CLIP = 4.0
"""Normalised intensities are clipped here: a bone or a vessel may be any number of lesion contrasts bright."""
SCALARS = (
    "log_radius",
    "log_contrast_over_noise",
    "log_contrast_over_surround",
    "log_contrast_over_texture",
    "outside_near",
    "outside_far",
    "centre_below",
    "centre_above",
)
"""Numbers that accompany the rays: see `sample_patches`."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WorkImage:
    """The image that candidates are sampled from, slice axis first."""

    voxels: Float32Array
    """(slices, rows, columns); outside of the mask already filled with a smooth continuation."""
    mask: BoolArray
    """Same shape: the brain."""
    spacing_mm: tuple[float, float, float]
    noise_sigma: float
    """Standard deviation of the noise, in units of the voxels."""
    thick: bool
    """Whether slices are so thick that only in-plane rays carry meaning."""
    fine: Float32Array | None = None
    """``voxels`` blurred by `FINE_SIGMA_MM` (in-plane only where thick); computed where None."""
    coarse: Float32Array | None = None
    """``voxels`` blurred by `COARSE_SIGMA_MM`; computed where None."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Places:
    """Candidates: where to sample."""

    centre_vox: Float64Array
    """(n, 3) fractional index into the work image."""
    radius_mm: Float64Array
    """(n,) radius that the Laplacian of Gaussian gives: sqrt(3) sigma in 3-D, sqrt(2) sigma in-plane."""
    sign: NDArray[np.int_]
    """(n,) +1 for a bright, -1 for a dark blob."""

    def __len__(self) -> int:
        return len(self.radius_mm)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Patches:
    """What the network reads."""

    rays: Float32Array
    """(n, directions, shells) or, in thick slices, (n, directions, 3 * shells): this slice, below, above.
    Background is 0 and the centre of the candidate 1, whatever the scanner's units."""
    scalars: Float32Array
    """(n, len(SCALARS))."""

    def __len__(self) -> int:
        return len(self.rays)


@cache
def directions(thick: bool) -> Float64Array:
    """Unit vectors (slice, row, column), shape (d, 3), each with its opposite among them.

    The 12 corners and 30 edge middles of an icosahedron in 3-D; 16 in-plane directions in thick slices.
    """
    if thick:
        angle = 2 * np.pi * np.arange(IN_PLANE_DIRECTIONS) / IN_PLANE_DIRECTIONS
        return np.column_stack([np.zeros_like(angle), np.sin(angle), np.cos(angle)])
    golden = (1 + np.sqrt(5)) / 2
    corners = np.array(
        [np.roll([0.0, a, b], k) for k in range(3) for a in (-1.0, 1.0) for b in (-golden, golden)],
    )
    first, second = np.triu_indices(len(corners), 1)
    edges = np.isclose(np.linalg.norm(corners[first] - corners[second], axis=1), 2.0)
    middles = (corners[first] + corners[second])[edges]
    points = np.vstack([corners, middles])
    unit: Float64Array = points / np.linalg.norm(points, axis=1, keepdims=True)
    return unit


def with_levels(image: WorkImage) -> WorkImage:
    """The same image with its fine and coarse levels computed where they are missing."""
    if image.fine is not None and image.coarse is not None:
        return image
    fine = _blurred(image, FINE_SIGMA_MM) if image.fine is None else image.fine
    coarse = _blurred(image, COARSE_SIGMA_MM) if image.coarse is None else image.coarse
    return WorkImage(
        voxels=image.voxels,
        mask=image.mask,
        spacing_mm=image.spacing_mm,
        noise_sigma=image.noise_sigma,
        thick=image.thick,
        fine=fine,
        coarse=coarse,
    )


def _blurred(image: WorkImage, sigma_mm: float) -> Float32Array:
    # 1/6 voxel^2: what sampling between voxels blurs by itself
    variance = [(sigma_mm / h) ** 2 - 1 / 6 for h in image.spacing_mm]
    sigma = [0.0 if v <= 0 or (image.thick and a == 0) else float(np.sqrt(v)) for a, v in enumerate(variance)]
    blurred: Float32Array = ndi.gaussian_filter(image.voxels, sigma, mode="nearest", truncate=3.0)
    return blurred


def texture(image: WorkImage) -> float:
    """How busy the anatomy is: robust spread of fine minus coarse level in the brain, in units of the voxels.

    Every seventh brain voxel is read (a prime, so that no row pattern is followed).
    """
    if image.fine is None or image.coarse is None:
        image = with_levels(image)
    inside = np.flatnonzero(image.mask)[::7]
    if image.fine is None or image.coarse is None or inside.size == 0:
        return float(image.noise_sigma)
    band = image.fine.reshape(-1)[inside] - image.coarse.reshape(-1)[inside]
    return float(max(1.4826 * np.median(np.abs(band - np.median(band))), 0.3 * image.noise_sigma))


def sample_patches(image: WorkImage, places: Places) -> Patches:
    """Sample the polar patch of every candidate.

    Parameters
    ----------
    image
        The work image; levels are computed where missing.
    places
        n candidates.

    Returns
    -------
    Patches
        Rays with the background at 0 and the centre at 1 (clipped to +-`CLIP`), and per candidate: log radius in mm;
        log of the contrast over the noise, over the spread of the surrounding shells and over the texture of the
        brain; the fraction of the shells 1.4 mm and 4.5 mm beyond the edge that lies outside of the brain; and the
        centre's intensity one slice below and above (thick slices; the brightest within 1 mm) on the scale of the rays.
    """
    image = with_levels(image)
    n, way = len(places), directions(image.thick)
    if n == 0:
        width = len(SHELLS) * (3 if image.thick else 1)
        return Patches(rays=np.zeros((0, len(way), width), np.float32), scalars=np.zeros((0, len(SCALARS)), np.float32))
    distance = np.outer(places.radius_mm, [a for a, _ in SHELLS]) + np.array([b for _, b in SHELLS])
    steps = [0, -1, 1] if image.thick else [0]
    raw = np.stack([_shells(image, places, distance, step) for step in steps])
    centre = np.stack([_centres(image, places, step) for step in ([0, -1, 1] if image.thick else [0])])
    background = np.median(raw[0][:, :, BACKGROUND_SHELLS].reshape(n, -1), axis=1)
    tiny = max(0.5 * image.noise_sigma, 1e-6 * float(np.abs(image.voxels).max()), 1e-30)
    contrast = np.maximum(centre[0] - background, tiny)
    rays = (raw - background[None, :, None, None]) / contrast[None, :, None, None]
    rays = np.clip(np.moveaxis(rays, 0, 2).reshape(n, len(way), -1), -CLIP, CLIP)
    beside = np.clip((centre - background) / contrast, -CLIP, CLIP)
    far = raw[0][:, :, BACKGROUND_SHELLS.start :].reshape(n, -1)
    spread = 1.4826 * np.median(np.abs(far - background[:, None]), axis=1)
    scalars = np.column_stack(
        [
            np.log(places.radius_mm),
            np.log(contrast / max(image.noise_sigma, tiny)),
            np.log(contrast / np.maximum(spread, tiny)),
            np.log(contrast / max(texture(image), tiny)),
            *(_outside(image, places, distance[:, shell]) for shell in (3, 6)),
            *(beside[1:] if image.thick else np.zeros((2, n))),
        ]
    )
    return Patches(rays=rays.astype(np.float32), scalars=np.clip(scalars, -10, 10).astype(np.float32))


def _points(image: WorkImage, places: Places, distance_mm: Float64Array) -> Float64Array:
    """Voxel coordinates (3, n, directions, shells) of the rays; distances (n, shells) in mm."""
    way = directions(image.thick) / np.array(image.spacing_mm)
    offset = way.T[:, None, :, None] * distance_mm[None, :, None, :]
    points: Float64Array = places.centre_vox.T[:, :, None, None] + offset
    return points


def _shells(image: WorkImage, places: Places, distance_mm: Float64Array, step: int) -> Float32Array:
    """Signed intensities (n, directions, shells), ``step`` slices away; each shell from the level that suits it."""
    points = _points(image, places, distance_mm)
    points[0] += step
    out = np.empty(points.shape[1:], np.float32)
    large = places.radius_mm >= COARSE_RADIUS_MM
    near = ~large
    out[large] = _read(image.coarse, points[:, large])
    out[near, :, :COARSE_FROM] = _read(image.fine, points[:, near, :, :COARSE_FROM])
    out[near, :, COARSE_FROM:] = _read(image.coarse, points[:, near, :, COARSE_FROM:])
    out *= places.sign[:, None, None]
    return out


def _centres(image: WorkImage, places: Places, step: int) -> Float32Array:
    """Signed intensity at the centre (n,); in a neighbouring slice the brightest within 1 mm of it."""
    reach = directions(True)[::2] / np.array(image.spacing_mm) if step else np.zeros((0, 3))
    offsets = np.vstack([np.zeros((1, 3)), reach]) + np.array([float(step), 0.0, 0.0])
    points = np.moveaxis(places.centre_vox[:, None] + offsets, 2, 0)
    large = (places.radius_mm >= COARSE_RADIUS_MM)[:, None]
    value = np.where(large, _read(image.coarse, points), _read(image.fine, points)) * places.sign[:, None]
    brightest: Float32Array = value.max(axis=1)
    return brightest


def _outside(image: WorkImage, places: Places, distance_mm: Float64Array) -> Float64Array:
    """Fraction of one shell that lies outside of the mask (or of the image), shape (n,)."""
    points = np.rint(_points(image, places, distance_mm[:, None])[..., 0]).astype(np.intp)
    size = np.array(image.mask.shape)[:, None, None]
    within = np.all((points >= 0) & (points < size), axis=0)
    a, b, c = np.clip(points, 0, size - 1)
    fraction: Float64Array = 1.0 - (image.mask[a, b, c] & within).mean(axis=1)
    return fraction


def _read(level: Float32Array | None, points: Float64Array) -> Float32Array:
    """Linear interpolation, edges continued; points (3, ...) in voxels."""
    if level is None:
        raise ValueError("levels are missing: call with_levels first")
    flat = points.reshape(3, -1)
    value = ndi.map_coordinates(level, flat, order=1, mode="nearest", prefilter=False, output=np.float32)
    shaped: Float32Array = value.reshape(points.shape[1:])
    return shaped
