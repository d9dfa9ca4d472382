"""Scenes: a head, seen by some scanner, with vessels and artefacts drawn in and lesions implanted, and its truth."""

# ruff: noqa: C901, PLR0912, PLR0913, PLR0915

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from heads import VENTRICLES, Head
from scipy import ndimage as ndi
from scipy.special import erf

THIN = [
    (1.0, 1.0, 1.0),
    (0.9, 0.9, 0.9),
    (1.0, 0.6, 0.6),
    (1.5, 0.9, 0.9),
    (1.0, 0.8, 0.8),
    (1.2, 1.0, 1.0),
    (1.8, 0.9, 0.9),
    (2.0, 1.0, 1.0),
    (2.0, 0.7, 0.7),
]
THICK = [
    (5.0, 0.7, 0.7),
    (4.0, 0.6, 0.6),
    (3.0, 0.9, 0.9),
    (3.0, 0.6, 0.6),
    (5.0, 0.9, 0.9),
    (6.0, 0.7, 0.7),
    (2.5, 0.9, 0.9),
    (2.4, 0.86, 0.86),
    (3.5, 0.8, 0.8),
]


@dataclass(kw_only=True, eq=False)
class Scene:
    """What the detector sees, and the truth."""

    name: str
    person: str
    contrast: str
    voxels: np.ndarray
    spacing: tuple[float, float, float]
    mask: np.ndarray
    sign: int
    sigma: float
    noise: float
    """Added noise as a fraction of the reference intensity."""
    spread: float
    """Robust spread of the brain's intensities."""
    ignore: np.ndarray | None
    truth: list[dict] = field(default_factory=list)

    @classmethod
    def measured(cls, voxels: np.ndarray, mask: np.ndarray, **fields) -> Scene:
        """A scene whose noise and spread are those of its own voxels."""
        q25, q50, q75 = np.percentile(voxels[mask], [25, 50, 75])
        sigma = max(own_noise(voxels, mask), 1e-3 * abs(q50))
        spread = max((q75 - q25) / 1.35, 0.02 * abs(q50))
        return cls(
            voxels=voxels, mask=mask, sigma=float(sigma), noise=float(sigma / q50), spread=float(spread), **fields
        )


def sphere(rho: np.ndarray, radius: float, psf: float) -> np.ndarray:
    """A unit ball convolved with an isotropic Gaussian, at distance rho from its centre (closed form)."""
    rho = np.maximum(rho, 1e-3 * psf)
    root = np.sqrt(2) * psf
    tails = np.exp(-(((radius - rho) / root) ** 2)) - np.exp(-(((radius + rho) / root) ** 2))
    return 0.5 * (erf((radius - rho) / root) + erf((radius + rho) / root)) - psf / (rho * np.sqrt(2 * np.pi)) * tails


def lesion_box(shape, spacing, centre_mm, lesion, psf):
    """Slices and values of a blurred ellipsoid (or Gaussian, or ring), averaged over the slice thickness."""
    thick = spacing[0]
    reach = lesion["radius"] * max(lesion["axes"]) + 3 * psf
    lo = [
        max(0, int((c - reach - thick / 2 * (a == 0)) // s))
        for a, (c, s) in enumerate(zip(centre_mm, spacing, strict=False))
    ]
    hi = [
        min(n, int(-(-(c + reach + thick / 2 * (a == 0)) // s)) + 1)
        for a, (c, s, n) in enumerate(zip(centre_mm, spacing, shape, strict=False))
    ]
    axes = [np.arange(a, b) * s - c for a, b, s, c in zip(lo, hi, spacing, centre_mm, strict=False)]
    total, parts = 0.0, max(1, int(np.ceil(thick / 0.6)))
    for part in range(parts):
        dz = ((part + 0.5) / parts - 0.5) * thick
        p = np.stack(np.meshgrid(axes[0] + dz, axes[1], axes[2], indexing="ij"))
        q = np.tensordot(lesion["frame"], p, 1) / np.array(lesion["axes"])[:, None, None, None]
        rho = np.sqrt((q**2).sum(0))
        r = lesion["radius"]
        if lesion["kind"] == "gauss":
            own = 2 * r / 2.3548
            wide = np.hypot(own, psf)
            value = (own / wide) ** 3 * np.exp(-(rho**2) / (2 * wide**2))
        else:
            value = sphere(rho, r, psf)
            if lesion["kind"] == "ring":
                value = value - 0.85 * sphere(rho, 0.6 * r, psf)
        total = total + value / parts
    return tuple(slice(a, b) for a, b in zip(lo, hi, strict=False)), np.asarray(total, np.float32)


def random_rotation(rng):
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    return q * np.sign(np.diag(r))


def implant(
    scene: Scene,
    count: int,
    rng: np.random.Generator,
    *,
    plain: bool = False,
    cnr=(3, 30),
    large: float = 0.0,
    pairs: float = 0.0,
) -> None:
    """Add lesions of known centre, radius and contrast.

    ``plain``: spheres of contrast cnr * sigma only; ``large``: fraction of 8-22 mm, half of which are rings;
    ``pairs``: fraction that lies 0.5-1.5 mm beside the one before and is about as large.
    """
    psf = max(0.45, 0.5 * scene.spacing[1])
    index = np.flatnonzero(scene.mask)
    done = np.zeros((0, 4))
    for _ in range(30 * count):
        if len(scene.truth) >= count:
            break
        at = np.array(np.unravel_index(index[rng.integers(index.size)], scene.mask.shape)) + rng.uniform(-0.5, 0.5, 3)
        centre = at * np.array(scene.spacing)
        radius = 0.5 * np.exp(rng.uniform(np.log(1.5 if plain else 1.2), np.log(8.0)))
        if large and rng.random() < large:
            radius = rng.uniform(4.0, 11.0)
        gap = 1.5
        if pairs and len(done) and rng.random() < pairs:
            radius, gap = float(np.clip(done[-1, 3] * np.exp(rng.normal(0, 0.2)), 0.6, 4.0)), 0.5
            heading = rng.normal(size=3)
            reach = done[-1, 3] + radius + rng.uniform(0.5, 1.5)
            centre = done[-1, :3] + reach * heading / np.linalg.norm(heading)
            at = np.rint(centre / np.array(scene.spacing)).astype(int)
            if np.any(at < 0) or np.any(at >= scene.mask.shape) or not scene.mask[tuple(at)]:
                continue
        if len(done) and np.any(np.linalg.norm(done[:, :3] - centre, axis=1) < done[:, 3] + radius + gap):
            continue
        amount = scene.sigma * np.exp(rng.uniform(*np.log(cnr)))
        if not plain and rng.random() < 0.5:
            amount = scene.spread * np.exp(rng.uniform(np.log(0.25), np.log(3.0)))
            if amount < 3 * scene.sigma:
                continue
        kind = "sphere" if rng.random() < 0.7 else "gauss"
        if not plain and 2 * radius >= 5 and rng.random() < (0.5 if radius >= 4 else 0.15):
            kind = "ring"
        stretch = np.ones(3) if plain else np.exp(rng.normal(0, 0.15, 3))
        lesion = {"radius": radius, "kind": kind, "axes": stretch, "frame": random_rotation(rng)}
        box, value = lesion_box(scene.voxels.shape, scene.spacing, centre, lesion, psf)
        if value.size == 0:
            continue
        scene.voxels[box] += scene.sign * amount * value
        scene.truth.append(
            {"centre": centre, "radius": radius, "cnr": amount / scene.sigma, "peak": float(value.max()), "kind": kind}
        )
        done = np.vstack([done, [*centre, radius]])


# ------------------------------------------------------------------ hard negatives, drawn on the head's own grid
def stroke(canvas: np.ndarray, points: np.ndarray, radii: np.ndarray, amounts: np.ndarray, spacing) -> None:
    """Draw balls along a path (maximum of what is there): points (n, 3) voxels, radii mm."""
    reach = int(np.ceil((radii.max() + 1.2) / min(spacing)))
    grid = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * 3, indexing="ij")).reshape(3, -1).T
    base = np.rint(points).astype(int)
    where = base[:, None] + grid[None]
    rho = np.sqrt((((where - points[:, None]) * np.array(spacing)) ** 2).sum(2))
    # a long cylinder of radius r seen with psf 0.45: the erf profile, its height lowered where thinner
    height = 1 - np.exp(-(radii**2) / (2 * 0.45**2))
    value = amounts[:, None] * height[:, None] * 0.5 * (1 - erf((rho - radii[:, None]) / (np.sqrt(2) * 0.45))) * 1.1
    ok = np.all((where >= 0) & (where < np.array(canvas.shape)), axis=2)
    flat = np.ravel_multi_index(tuple(where[ok].T), canvas.shape)
    np.maximum.at(canvas.reshape(-1), flat, value[ok].astype(np.float32))


def _walk(start, heading, steps, bend, spacing, rng):
    """A path of 0.6 mm steps whose heading wanders."""
    points, at = [], np.array(start, float)
    for _ in range(steps):
        points.append(at.copy())
        heading = heading + rng.normal(0, bend, 3)
        heading /= np.linalg.norm(heading)
        at = at + 0.6 * heading / np.array(spacing)
    return np.array(points)


def draw_vessels(head: Head, count: int, rng: np.random.Generator) -> np.ndarray:
    """Branching tubes from the surface inwards and along it: unit amplitude canvas on the head's grid."""
    canvas = np.zeros(head.mask.shape, np.float32)
    depth = ndi.distance_transform_edt(head.mask[::2, ::2, ::2]) * 2
    shallow = np.argwhere((depth > 0) & (depth < 8)) * 2
    deep = np.argwhere(depth >= 8) * 2
    for _ in range(count):
        pool = shallow if rng.random() < 0.7 or not len(deep) else deep
        start = pool[rng.integers(len(pool))] + rng.uniform(-1, 1, 3)
        steps = int(rng.integers(30, 130))
        path = _walk(start, rng.normal(size=3), steps, rng.uniform(0.03, 0.25), head.spacing, rng)
        radius = np.exp(rng.uniform(np.log(0.4), np.log(1.5))) * np.linspace(1, rng.uniform(0.3, 1), steps)
        amount = np.exp(rng.normal(0, 0.2)) * np.clip(
            np.minimum(np.arange(steps), np.arange(steps)[::-1]) / 12, 0.05, 1
        )
        stroke(canvas, path, radius, amount, head.spacing)
        if rng.random() < 0.4:
            at = int(rng.integers(5, steps - 5))
            branch = _walk(path[at], rng.normal(size=3), 40, 0.15, head.spacing, rng)
            stroke(
                canvas,
                branch,
                0.7 * radius[at] * np.linspace(1, 0.4, 40),
                amount[at] * np.linspace(1, 0.1, 40),
                head.spacing,
            )
    return canvas


def draw_perivascular(head: Head, count: int, rng: np.random.Generator) -> np.ndarray:
    """Short straight tubes in the depth of the brain, 5-12 times as long as wide, in groups with a common direction."""
    canvas = np.zeros(head.mask.shape, np.float32)
    pool = np.argwhere(ndi.distance_transform_edt(head.mask[::2, ::2, ::2]) * 2 > 12) * 2
    if not len(pool):
        return canvas
    for _ in range(max(1, count // 8)):
        seat, heading = pool[rng.integers(len(pool))], rng.normal(size=3)
        for _ in range(8):
            radius = rng.uniform(0.35, 0.9)
            steps = int(radius * 2 * rng.uniform(5, 12) / 0.6) + 4
            path = _walk(seat + rng.normal(0, 6, 3), heading + rng.normal(0, 0.15, 3), steps, 0.03, head.spacing, rng)
            stroke(canvas, path, np.full(steps, radius), np.sin(np.linspace(0.3, np.pi - 0.3, steps)), head.spacing)
    return canvas


def draw_dots(head: Head, count: int, rng: np.random.Generator) -> np.ndarray:
    """Straight bits of thin vessels, 1.5-8 mm long and 0.5-1.5 mm wide, one by one or in groups of one direction."""
    canvas = np.zeros(head.mask.shape, np.float32)
    pool = np.argwhere(ndi.distance_transform_edt(head.mask[::2, ::2, ::2]) * 2 > rng.uniform(5, 15)) * 2
    if not len(pool):
        return canvas
    grouped = rng.random() < 0.5
    seat, heading = pool[rng.integers(len(pool))], rng.normal(size=3)
    for n in range(count):
        if not grouped or n % 12 == 0:
            seat, heading = pool[rng.integers(len(pool))], rng.normal(size=3)
        near = seat + rng.normal(0, 5, 3) * grouped + rng.uniform(-1, 1, 3)
        radius, steps = rng.uniform(0.25, 0.75), max(2, int(rng.uniform(1.5, 8.0) / 0.6))
        path = _walk(near, heading + rng.normal(0, 0.2, 3), steps, 0.03, head.spacing, rng)
        stroke(canvas, path, np.full(steps, radius), np.full(steps, np.exp(rng.normal(0, 0.25))), head.spacing)
    return canvas


def draw_choroid(head: Head, rng: np.random.Generator) -> np.ndarray:
    """Clumps of irregular strings within the ventricles (painted heads only)."""
    canvas = np.zeros(head.mask.shape, np.float32)
    inside = np.argwhere(np.isin(head.labels[::2, ::2, ::2], VENTRICLES)) * 2
    if not len(inside):
        return canvas
    for _ in range(int(rng.integers(2, 8))):
        start, steps = inside[rng.integers(len(inside))], int(rng.integers(10, 50))
        path = _walk(start, rng.normal(size=3), steps, 0.6, head.spacing, rng)
        radius = np.exp(rng.normal(0, 0.35, steps)) * rng.uniform(0.5, 1.3)
        stroke(canvas, path, np.minimum(radius, 3), rng.uniform(0.5, 1.0, steps), head.spacing)
    return canvas


# ------------------------------------------------------------------ the scanner
def _zero_outside_box(x: np.ndarray, keep: float) -> np.ndarray:
    """Truncate the in-plane spectrum: ringing as of a coarser acquisition matrix."""
    spectrum = np.fft.rfft2(x, axes=(1, 2))
    fy, fx = np.abs(np.fft.fftfreq(x.shape[1])), np.fft.rfftfreq(x.shape[2])
    spectrum *= ((fy[:, None] <= 0.5 * keep) & (fx[None] <= 0.5 * keep))[None]
    return np.fft.irfft2(spectrum, x.shape[1:], axes=(1, 2)).astype(np.float32)


def resampled(x: np.ndarray, old, new, order: int, slab: bool) -> np.ndarray:
    """Resample about the centre, averaging over the slice thickness."""
    zoom = np.array(new) / np.array(old)
    shape = tuple(max(1, int(n / z)) for n, z in zip(x.shape, zoom, strict=False))
    if np.allclose(zoom, 1):
        return x.copy()
    parts = max(1, int(np.ceil(zoom[0] * 1.2))) if slab and zoom[0] > 1.3 else 1
    src = ndi.spline_filter(x, order, output=np.float32) if order > 1 else x.astype(np.float32)
    centre_in, centre_out = (np.array(x.shape) - 1) / 2, (np.array(shape) - 1) / 2
    out = np.zeros(shape, np.float32)
    for part in range(parts):
        offset = centre_in - zoom * centre_out
        offset[0] += ((part + 0.5) / parts - 0.5) * zoom[0]
        out += ndi.affine_transform(src, zoom, offset, output_shape=shape, order=order, prefilter=False, mode="nearest")
    return out / parts


def bias(shape, rng, amount):
    """A smooth factor: the lowest four cosines along each axis with random weights."""
    z, y, x = (np.cos(np.pi * np.outer(np.arange(n) + 0.5, np.arange(4)) / n).astype(np.float32) for n in shape)
    weights = rng.normal(size=(4, 4, 4)).astype(np.float32)
    field = np.einsum("abc,za,yb,xc->zyx", weights, z, y, x, optimize=True)
    return np.exp(amount * field / np.abs(field).max()).astype(np.float32)


def negatives(head: Head, rng: np.random.Generator, spread: float) -> np.ndarray:
    """Vessels, perivascular spaces and choroid, in intensity units, to add to the head."""
    out = np.zeros(head.mask.shape, np.float32)
    sign = {"t1c": 1, "swi": -1, "ct": 1, "t2": -1, "flair": -1}.get(head.contrast, rng.choice([-1, 1]))
    if rng.random() < 0.15:
        sign = -sign
    if rng.random() < 0.85:
        out += (
            sign
            * spread
            * np.exp(rng.uniform(np.log(0.5), np.log(4)))
            * draw_vessels(head, int(rng.integers(20, 160)), rng)
        )
    if rng.random() < 0.3:
        out += (
            rng.choice([-1, 1])
            * spread
            * np.exp(rng.uniform(np.log(0.4), np.log(2)))
            * draw_perivascular(head, int(rng.integers(20, 120)), rng)
        )
    if head.labels is not None and rng.random() < 0.5:
        out += sign * spread * rng.uniform(0.5, 3) * draw_choroid(head, rng)
    return out


def make_scene(
    head: Head,
    rng: np.random.Generator,
    *,
    thick: bool,
    lesions: int,
    spacing=None,
    noise=None,
    slab_mm=None,
    added=None,
    plain=False,
    sign=None,
    cnr=(3, 30),
    clean=False,
    large=0.0,
    pairs=0.0,
    plaques=None,
    grain=None,
) -> Scene:
    """One scan of one head.

    ``added``: canvas of hard negatives on the head's grid. ``clean``: none of the scanner's artefacts (for tests on the
    conditions of docs/detection.md); ``plain``: spheres with contrasts in units of the noise. ``plaques``: what adds
    them to a scene, given the ventricles on its grid, and the ventricles on the head's grid. ``grain``: standard
    deviation of the tissue's own texture in that of the noise, and its width in mm.
    """
    v, m, ig = head.voxels, head.mask, head.ignore
    fluid = None if plaques is None else plaques[1]
    if added is not None:
        v = v + added
    size = head.spacing
    if slab_mm is not None and v.shape[0] * size[0] > slab_mm * 1.2:
        rows = int(slab_mm / size[0])
        filled = np.flatnonzero(m.any((1, 2)))
        start = int(rng.integers(filled[0], max(filled[0] + 1, filled[-1] - rows)))
        v, m = v[start : start + rows], m[start : start + rows]
        ig = None if ig is None else ig[start : start + rows]
        fluid = None if fluid is None else fluid[start : start + rows]
    if spacing is None:
        options = [s for s in (THICK if thick else THIN) if s[0] >= 0.85 * size[0]] or [size]
        spacing = options[rng.integers(len(options))]
    spacing = (max(spacing[0], size[0]), *spacing[1:]) if size[0] > 1.6 else spacing
    if size[0] > 1.6 and spacing[0] < 1.5 * size[0]:
        spacing = (size[0], spacing[1], spacing[2])
    if not clean and rng.random() < 0.3:
        flip = tuple(a for a in range(3) if rng.random() < 0.5)
        v, m, ig = np.flip(v, flip), np.flip(m, flip), None if ig is None else np.flip(ig, flip)
        fluid = None if fluid is None else np.flip(fluid, flip)
    v = resampled(np.ascontiguousarray(v, np.float32), size, spacing, 1 if head.labels is not None else 3, slab=True)
    m = resampled(m.astype(np.float32), size, spacing, 1, slab=False) > 0.5
    ig = None if ig is None else resampled(ig.astype(np.float32), size, spacing, 1, slab=False) > 0.3
    if not clean and rng.random() < 0.4:
        m = ndi.binary_dilation(m) if rng.random() < 0.5 else ndi.binary_erosion(m)
    ct = head.contrast == "ct"
    inside = v[m]
    if not ct and not clean:
        if rng.random() < 0.35:
            top = float(np.percentile(inside, 99.5))
            v = top * np.clip(v / top, 0, 3) ** rng.uniform(0.6, 1.5)
        if rng.random() < 0.12:
            v = np.clip(float(np.percentile(inside, 99.8)) - v, 0, None)
        v = v * bias(v.shape, rng, rng.uniform(0, 0.35))
        inside = v[m]
    q25, q50, q75 = np.percentile(inside, [25, 50, 75])
    spread = float(max((q75 - q25) / 1.35, 0.02 * abs(q50)))
    reference = float(np.percentile(inside, 90))
    if sign is None:
        sign = int(rng.choice(list(head.signs)))
        if head.contrast in ("t1c", "dwi") and 1 in head.signs and rng.random() < 0.8:
            sign = 1
    noise = float(rng.uniform(0.005, 0.05)) if noise is None else noise
    added_sigma = rng.uniform(2, 8) if ct else noise * reference
    if grain is not None:
        rough = grain[0] * added_sigma
        texture = rng.standard_normal(v.shape, dtype=np.float32)
        texture = ndi.gaussian_filter(texture, [grain[1] / q if q < 2 * grain[1] else 0.0 for q in spacing])
        texture *= rough / texture.std()
        v = v + texture * ndi.gaussian_filter((v > 0.1 * reference).astype(np.float32), 0.5)
        added_sigma_all = float(np.hypot(added_sigma, rough))
    else:
        added_sigma_all = added_sigma
    own = own_noise(v, m)
    scene = Scene(
        name=head.name,
        person=head.person,
        contrast=head.contrast,
        voxels=v.astype(np.float32),
        spacing=spacing,
        mask=m,
        sign=sign,
        sigma=float(np.hypot(added_sigma_all, own if grain is None else 0.0)),
        noise=noise,
        spread=spread,
        ignore=ig,
    )
    implant(scene, lesions, rng, plain=plain, cnr=cnr, large=large, pairs=pairs)
    if plaques is not None:
        plaques[0](scene, resampled(fluid.astype(np.float32), size, spacing, 1, slab=False) > 0.5, rng)
    v = scene.voxels
    if not clean:
        if rng.random() < 0.2:
            v = _zero_outside_box(v, rng.uniform(0.55, 0.85))
        if rng.random() < 0.15:
            axis, shift = int(rng.integers(1, 3)), rng.uniform(0.1, 0.5)
            v = v + rng.uniform(0.01, 0.06) * np.roll(v, int(shift * v.shape[axis]), axis) * (1 if not ct else 0)
    if ct:
        v = v + rng.normal(0, 1, v.shape).astype(np.float32) * added_sigma
    else:
        draw = [rng.standard_normal(v.shape, dtype=np.float32) * added_sigma for _ in range(2)]
        if not clean and rng.random() < 0.3:  # interpolated by the scanner: correlated noise
            smooth = rng.uniform(0.35, 0.7)
            draw = [ndi.gaussian_filter(d, [0, smooth, smooth]) for d in draw]
            draw = [d * (added_sigma / max(d.std(), 1e-9)) for d in draw]
        v = np.sqrt((v + draw[0]) ** 2 + draw[1] ** 2)
    scene.voxels = v.astype(np.float32)
    return scene


def own_noise(v: np.ndarray, m: np.ndarray) -> float:
    """Noise that the head brings along: MAD of the in-plane diagonal difference where the image is flattest."""
    d = 0.5 * (v[:, 1:, 1:] - v[:, 1:, :-1] - v[:, :-1, 1:] + v[:, :-1, :-1])[m[:, 1:, 1:]]
    if d.size == 0:
        return 0.0
    d = np.abs(d)
    return float(1.4826 * np.percentile(d, 30) / 0.57)  # 30th percentile of |N(0,1)| is 0.385 = 0.57 * 0.6745
