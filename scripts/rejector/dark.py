"""Scans on which lesions are dark: SWI, T2* and ADC, painted from label maps, with lesions in place of tissue.

Fluid is brightest, grey and white matter are nearly equal, and what is dark is vein, iron, calcified plexus and the
loss of signal above air. Lesions are 1.5-8 mm, 20-90 % below white matter, solid, soft or ring, where blood and melanin
are met: junction of grey and white matter, depth, sulci, beside veins, below the tentorium. Ranges and what came of
them: docs/measurements/rejector.md.
"""

from __future__ import annotations

import time
import zlib
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from generate import store
from heads import BRAIN_LABELS, CLASSES, VENTRICLES, Head, canonical, cropped, spinal_rows
from scenes import (
    Scene,
    bias,
    draw_choroid,
    draw_dots,
    draw_perivascular,
    draw_vessels,
    lesion_box,
    random_rotation,
    resampled,
    stroke,
)
from scipy import ndimage as ndi

from miliary_seg.domain.grid import Grid
from miliary_seg.domain.sequence import Sequence, SequenceEvidence
from miliary_seg.domain.volume import Volume
from miliary_seg.locate import locate
from miliary_seg.settings import Settings

WHITE = 500.0
SUBJECTS = 8
DEPTHS = 0.2, 0.9
"""How far below white matter lesions are, as a share of it."""
SIZES_MM = 1.5, 8.0
SUB_SLICE_MM = 0.8
SLAB_MM = 70.0
"""Scans of thin slices with lesions are cut to a slab of this height: as many candidates as a whole thick scan."""
MARGIN_MM = 26.0


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Signals over that of white matter, from and to, and what a scanner does."""

    sequence: Sequence
    grey: tuple[float, float]
    fluid: tuple[float, float]
    iron: float
    """Share of its signal that the pallidum loses at most; other nuclei less."""
    veins: tuple[float, float]
    """Share of the signal that veins lose."""
    air: float
    """Probability that signal is lost above the skull base."""
    thin: tuple[tuple[float, float, float], ...]
    thick: tuple[tuple[float, float, float], ...]


KINDS = {
    "swi": Kind(
        sequence=Sequence.SWI,
        grey=(0.98, 1.14),
        fluid=(1.0, 1.5),
        iron=0.6,
        veins=(0.3, 0.95),
        air=0.9,
        thin=((1.5, 0.7, 0.7), (2.0, 0.9, 0.9), (1.2, 0.8, 0.8), (2.0, 0.65, 0.65), (1.0, 1.0, 1.0)),
        thick=((3.0, 0.7, 0.7), (2.5, 0.9, 0.9), (4.0, 0.9, 0.9)),
    ),
    "t2star": Kind(
        sequence=Sequence.T2STAR,
        grey=(1.0, 1.25),
        fluid=(1.1, 2.0),
        iron=0.5,
        veins=(0.1, 0.7),
        air=0.9,
        thin=((2.0, 0.9, 0.9), (1.5, 1.0, 1.0)),
        thick=((5.0, 0.8, 0.8), (4.0, 0.9, 0.9), (3.0, 0.9, 0.9), (5.0, 0.9, 0.9), (6.5, 0.9, 0.9)),
    ),
    "adc": Kind(
        sequence=Sequence.ADC,
        grey=(1.0, 1.25),
        fluid=(2.5, 4.0),
        iron=0.1,
        veins=(0.0, 0.2),
        air=0.3,
        thin=((2.0, 1.4, 1.4), (2.0, 1.1, 1.1)),
        thick=((5.0, 1.2, 1.2), (4.0, 1.4, 1.4), (3.0, 1.5, 1.5), (5.0, 0.9, 0.9)),
    ),
}
IRON = {(13, 52): 1.0, (12, 51): 0.5, (11, 50): 0.45, (26, 58): 0.4, (10, 49): 0.15}
"""Nuclei and how much of the pallidum's loss they have."""
WHITE_CHANGES = {25: 2, 57: 41}
"""Codes of changed white matter at the ventricles, and those of white matter that they are read as."""
PLACES = {"white": 0.25, "junction": 0.25, "cortex": 0.1, "sulcus": 0.12, "vessel": 0.18, "infratentorial": 0.1}
LESIONS = 30, 200
"""In a whole brain, from and to."""
NOISE = 0.01, 0.06
"""In units of white matter, from and to."""


@lru_cache(maxsize=1)
def labelled(data: Path, subject: int) -> Head:
    """Label map of a subject (slice, row, column) = (superior, anterior, right), cut to the head around the brain."""
    labels, spacing = canonical(data / f"label_maps/training_seg_{subject:02d}.nii.gz")
    labels = labels.astype(np.int16)
    for change, white in WHITE_CHANGES.items():
        labels[labels == change] = white
    inside = np.isin(labels, BRAIN_LABELS)
    inside[: spinal_rows(labels)] = False
    name, voxels = f"seg{subject:02d}", labels.astype(np.float32)
    found = {"name": name, "person": name, "contrast": "", "voxels": voxels, "labels": labels}
    return cropped(found | {"spacing": spacing, "mask": inside}, MARGIN_MM)


def _ellipsoid(shape, spacing, centre, axes_mm) -> np.ndarray:
    """Distance from a centre in units of the semi-axes."""
    grids = np.ogrid[tuple(slice(0, n) for n in shape)]
    square = sum(((g - c) * s / a) ** 2 for g, c, s, a in zip(grids, centre, spacing, axes_mm, strict=True))
    return np.sqrt(square)


def paint(head: Head, kind: Kind, rng: np.random.Generator) -> np.ndarray:
    """Signal of every voxel of a label map, without veins, lesions and noise."""
    labels = head.labels
    mean = np.full(int(labels.max()) + 1, 10.0, np.float32)
    grey, fluid = rng.uniform(*kind.grey), rng.uniform(*kind.fluid)
    level = {"white": 1.0, "grey": grey, "fluid": fluid, "deep": (1 + grey) / 2, "stem": rng.uniform(0.88, 1.05)}
    level |= {"vessel": rng.uniform(0.2, 1.2), "bone": 0.1, "soft": rng.uniform(0.4, 1.0)}
    for name, codes in CLASSES.items():
        for code in codes:
            if code < len(mean):
                mean[code] = WHITE * level[name] * (1 + rng.normal(0, 0.02))
    loss = kind.iron * rng.uniform(0.1, 1)
    for codes, share in IRON.items():
        for code in codes:
            mean[code] *= 1 - loss * share * rng.uniform(0.8, 1.2)
    v = mean[labels]
    for sigma in (1.0, 3.0):
        field = ndi.gaussian_filter(rng.standard_normal(labels.shape).astype(np.float32), sigma)
        v += rng.uniform(0.003, 0.03) * WHITE * field / field.std() * (labels > 0)
    v *= _small_nuclei(head, loss, rng)
    if rng.random() < kind.air:
        v *= _above_air(head, rng)
    return ndi.gaussian_filter(v, rng.uniform(0.3, 0.6))


def _small_nuclei(head: Head, loss: float, rng: np.random.Generator) -> np.ndarray:
    """What is left of the signal in red nuclei, substantia nigra and dentate nuclei, which have no label."""
    left = np.ones(head.labels.shape, np.float32)
    for code in (28, 60):
        seat = np.argwhere(head.labels == code)
        if len(seat):
            low, middle = np.percentile(seat, [15, 50], axis=0)
            red = np.array([0.5 * (low + middle)[0], 0.5 * (low + middle)[1], middle[2]])
            nigra = np.array([low[0], middle[1], middle[2]])
            for at, axes in ((red, (3.5, 2.8, 2.6)), (nigra, (2.0, 5.5, 2.0))):
                near = _ellipsoid(left.shape, head.spacing, at + rng.normal(0, 1, 3), axes)
                left = np.where(near < 1, 1 - loss * rng.uniform(0.6, 1.1), left)
    for code in (7, 46):
        seat = np.argwhere(head.labels == code)
        if len(seat) and rng.random() < 0.8:
            near = _ellipsoid(left.shape, head.spacing, seat.mean(0) + rng.normal(0, 1.5, 3), (4.5, 8.0, 4.5))
            crumpled = near + 0.12 * np.sin(np.arange(left.shape[0]))[:, None, None]
            inside = (np.abs(crumpled - 0.8) < 0.22) & (head.labels == code)
            left = np.where(inside, 1 - loss * rng.uniform(0.5, 1.0), left)
    return np.clip(left, 0.05, 1).astype(np.float32)


def _above_air(head: Head, rng: np.random.Generator) -> np.ndarray:
    """What is left of the signal above the sphenoid and frontal sinus and the petrous bones."""
    seat = np.argwhere(head.mask)
    ahead, centre = np.percentile(seat[:, 1], 72), seat[:, 2].mean()
    side = np.abs(seat[:, 2] - centre) * head.spacing[2]
    between = (seat[:, 1] > np.percentile(seat[:, 1], 40)) & (seat[:, 1] < ahead)
    left = np.ones(head.labels.shape, np.float32)
    pools = [(seat[:, 1] > ahead) & (side < 20)]
    pools += [between & (side > 35) & ((seat[:, 2] < centre) == west) for west in (True, False)]
    for pool in pools:
        some = seat[pool]
        if not len(some) or rng.random() < 0.2:
            continue
        lowest = some[some[:, 0] <= some[:, 0].min() + 4]
        at = lowest[rng.integers(len(lowest))] - np.array([rng.uniform(2, 8), 0, 0])
        axes = rng.uniform(7, 18), rng.uniform(8, 20), rng.uniform(8, 20)
        near = _ellipsoid(left.shape, head.spacing, at, axes)
        left *= (1 / (1 + np.exp(-(near - 1) / rng.uniform(0.04, 0.2)))).astype(np.float32)
    return np.maximum(left, 0.02)


def head_mask(data: Path, cache: Path, subject: int, name: str) -> np.ndarray:
    """The brain as the program finds it on a painted scan of a subject, kept in a folder."""
    path = cache / f"dark_mask_{subject:02d}_{name}.npz"
    if not path.exists():
        head, kind = labelled(data, subject), KINDS[name]
        rng = np.random.default_rng([11, subject, zlib.crc32(name.encode())])
        v = paint(head, kind, rng)
        v = np.hypot(v + rng.normal(0, 0.02 * WHITE, v.shape), rng.normal(0, 0.02 * WHITE, v.shape))
        turned = np.ascontiguousarray(v.transpose(2, 1, 0)).astype(np.float32)
        evidence = SequenceEvidence(sequence=kind.sequence, confidence="high")
        affine = np.diag([*head.spacing[::-1], 1.0])
        affine[:3, 3] = -np.array(turned.shape) * head.spacing[::-1] / 2
        volume = Volume(voxels=turned, grid=Grid(shape=turned.shape, affine=affine), slice_axis=2, sequence=evidence)
        mask = locate(volume, Settings().locate).brain_mask.transpose(2, 1, 0)
        np.savez_compressed(path, mask=mask)
    with np.load(path) as stored:
        return stored["mask"]


def draw_sulcal(head: Head, count: int, rng: np.random.Generator) -> np.ndarray:
    """Veins that keep to the fluid of sulci and cisterns."""
    canvas = np.zeros(head.labels.shape, np.float32)
    fluid = (head.labels == 24) & head.mask
    seats = np.argwhere(fluid)
    if not len(seats):
        return canvas
    slope = [np.asarray(g, np.float32) for g in np.gradient(ndi.gaussian_filter(fluid.astype(np.float32), 2.0))]
    top = np.array(canvas.shape) - 1
    for _ in range(count):
        at, heading, points = seats[rng.integers(len(seats))].astype(float), rng.normal(size=3), []
        for _ in range(int(rng.integers(12, 70))):
            points.append(at.copy())
            place = tuple(np.clip(np.rint(at), 0, top).astype(int))
            pull = np.array([s[place] for s in slope])
            heading = heading / np.linalg.norm(heading) + 3.0 * pull + rng.normal(0, 0.18, 3)
            at = at + 0.6 * heading / np.linalg.norm(heading) / np.array(head.spacing)
        radius = np.exp(rng.uniform(np.log(0.3), np.log(1.3))) * np.linspace(1, rng.uniform(0.5, 1), len(points))
        stroke(canvas, np.array(points), radius, np.full(len(points), np.exp(rng.normal(0, 0.2))), head.spacing)
    return canvas


def draw_medullary(head: Head, count: int, rng: np.random.Generator) -> np.ndarray:
    """Thin straight veins from white matter towards the lateral ventricles."""
    canvas = np.zeros(head.labels.shape, np.float32)
    ventricle = np.isin(head.labels, VENTRICLES)
    if not ventricle.any():
        return canvas
    far, nearest = ndi.distance_transform_edt(~ventricle, head.spacing, return_indices=True)
    seats = np.argwhere(np.isin(head.labels, [2, 41]) & (far > 4) & (far < 30))
    for _ in range(count if len(seats) else 0):
        start = seats[rng.integers(len(seats))]
        goal = nearest[(slice(None), *start)]
        heading = (goal - start) * np.array(head.spacing)
        length = np.linalg.norm(heading) * rng.uniform(0.4, 1)
        steps = max(4, int(length / 0.6))
        path = start + np.linspace(0, 1, steps)[:, None] * heading / np.linalg.norm(heading) * length / head.spacing
        path += np.cumsum(rng.normal(0, 0.06, path.shape), axis=0)
        stroke(canvas, path, np.full(steps, rng.uniform(0.2, 0.6)), np.full(steps, rng.uniform(0.5, 1)), head.spacing)
    return canvas


def veins(head: Head, share: float, rng: np.random.Generator) -> np.ndarray:
    """All veins of a scan of which a share of the brain is seen: 0 to 1."""

    def many(least: int, most: int) -> int:
        return int(share * np.exp(rng.uniform(np.log(least), np.log(most))))

    canvas = draw_sulcal(head, many(100, 600), rng)
    canvas = np.maximum(canvas, draw_medullary(head, many(40, 400), rng))
    canvas = np.maximum(canvas, draw_vessels(head, many(10, 80), rng))
    if rng.random() < 0.5:
        canvas = np.maximum(canvas, draw_dots(head, many(10, 100), rng))
    return np.clip(canvas, 0, 1)


def pools(head: Head, canvas: np.ndarray) -> dict[str, np.ndarray]:
    """Voxels of each place where lesions lie."""
    labels, mask = head.labels, head.mask
    white, grey = np.isin(labels, [2, 41, 251, 252, 253, 254, 255]), np.isin(labels, [3, 42])
    below = np.isin(labels, [7, 8, 46, 47, 16])
    solid = white | grey | below | np.isin(labels, CLASSES["deep"])
    steps = [max(1, round(1.5 / s)) for s in head.spacing]
    box = np.ones([2 * n + 1 for n in steps], bool)
    near_grey, near_white = ndi.binary_dilation(grey, box), ndi.binary_dilation(white, box)
    near_vein = ndi.binary_dilation(canvas > 0.4, box) & (canvas < 0.2)
    parts = {
        "white": white & ~near_grey,
        "junction": (white & near_grey) | (grey & near_white),
        "cortex": grey & ~near_white,
        "sulcus": (labels == 24) & ndi.binary_dilation(grey, box),
        "vessel": solid & near_vein,
        "infratentorial": below,
    }
    return {name: np.flatnonzero(part & mask) for name, part in parts.items()}


def implant_dark(v: np.ndarray, head: Head, canvas: np.ndarray, count: int, rng: np.random.Generator) -> list[dict]:
    """Put lesions into a signal, in place; their truth, centres in mm on the grid of the head."""
    places = {name: seats for name, seats in pools(head, canvas).items() if len(seats)}
    share = np.array([PLACES[name] for name in places])
    psf, truth, done = max(0.45, 0.5 * head.spacing[1]), [], np.zeros((0, 4))
    for _ in range(20 * count):
        if len(truth) >= count:
            break
        name = str(rng.choice(list(places), p=share / share.sum()))
        seats = places[name]
        at = np.array(np.unravel_index(seats[rng.integers(len(seats))], v.shape)) + rng.uniform(-0.5, 0.5, 3)
        centre = at * np.array(head.spacing)
        radius = 0.5 * np.exp(rng.uniform(*np.log(SIZES_MM)))
        if len(done) and np.any(np.linalg.norm(done[:, :3] - centre, axis=1) < done[:, 3] + radius + 1.5):
            continue
        draw = rng.random()
        kind = "ring" if draw < 0.15 and radius >= 2 else "gauss" if draw < 0.35 else "sphere"
        stretch = np.exp(rng.normal(0, 0.12, 3))
        lesion = {"radius": radius, "kind": kind, "axes": stretch, "frame": random_rotation(rng)}
        box, weight = lesion_box(v.shape, head.spacing, centre, lesion, psf)
        if weight.size == 0:
            continue
        depth = rng.uniform(*DEPTHS)
        target, before = WHITE * (1 - depth), v[box]
        inside = weight > 0.5 * weight.max()
        height = float(np.median(before[inside]) - target)
        if height < 0.1 * WHITE:
            continue
        v[box] = before + np.clip(weight, 0, 1) * (target - before)
        truth.append(
            {"centre": centre, "radius": radius, "height": height, "kind": kind, "enhancement": depth, "place": name}
        )
        done = np.vstack([done, [*centre, radius]])
    return truth


@dataclass(frozen=True, kw_only=True)
class Scan:
    """One scan to make; every part of it follows from this."""

    subject: int
    kind: str
    draw: int
    thick: bool
    lesions: bool = True

    @property
    def file(self) -> str:
        """Where it is stored below the folder of work; those without lesions are for tests."""
        name = f"seg{self.subject:02d}_{self.kind}__{'q' if self.lesions else 'r'}{'k' if self.thick else ''}"
        return f"train/{name}_{self.draw}" if self.lesions else f"test/{name}"


def scene(data: Path, work: Path, scan: Scan) -> Scene:
    """The scene of a scan; brain masks are kept in the folder of work."""
    kind, head = KINDS[scan.kind], labelled(data, scan.subject)
    seed = [12, scan.subject, zlib.crc32(scan.kind.encode()), scan.draw, scan.thick, scan.lesions]
    rng = np.random.default_rng(seed)
    options = kind.thick if scan.thick else kind.thin
    spacing = options[rng.integers(len(options))]
    parts = max(1, round(spacing[0] / SUB_SLICE_MM))
    fine = (spacing[0] / parts, *spacing[1:])
    signal = paint(head, kind, rng)
    mask = head_mask(data, work, scan.subject, scan.kind)
    if rng.random() < 0.3:
        mask = ndi.binary_dilation(mask) if rng.random() < 0.5 else ndi.binary_erosion(mask)
    filled = np.flatnonzero(mask.any((1, 2)))
    low, high = max(0, filled[0] - 3), filled[-1] + 4
    if scan.lesions and not scan.thick:
        rows = int(SLAB_MM / head.spacing[0])
        low = int(rng.integers(low, max(low + 1, high - rows)))
        high = min(high, low + rows)
    cut = slice(low, high)
    v = resampled(signal[cut], head.spacing, fine, 1, slab=False)
    labels, inside = (resampled(a[cut], head.spacing, fine, 0, slab=False) for a in (head.labels, mask))
    labels, inside = labels.astype(np.int16), inside > 0
    seen = replace(head, voxels=v, labels=labels, mask=inside & np.isin(labels, BRAIN_LABELS), spacing=fine)
    share = seen.mask.sum() * np.prod(fine) / max(1.0, float(head.mask.sum()))
    canvas = veins(seen, share, rng)
    v *= 1 - rng.uniform(*kind.veins) * canvas
    if rng.random() < 0.6:
        v *= 1 - rng.uniform(0.2, 0.8) * np.clip(draw_choroid(seen, rng), 0, 1)
    if rng.random() < 0.4:
        v *= 1 + rng.uniform(0.1, 0.4) * np.clip(draw_perivascular(seen, int(80 * share), rng), 0, 1)
    count = int(share * np.exp(rng.uniform(*np.log(LESIONS)))) if scan.lesions else 0
    truth = implant_dark(v, seen, canvas, count, rng)
    made = _scanned(replace(seen, mask=inside, contrast=scan.kind), parts, rng)
    made.truth.extend(_seen(truth, made, parts))
    return made


def _scanned(head: Head, parts: int, rng: np.random.Generator) -> Scene:
    """A head of sub-slices as scanned: averaged over ``parts`` of them, with shading, grain and noise."""
    rows, spacing = len(head.voxels) // parts, (head.spacing[0] * parts, *head.spacing[1:])
    v, inside = (a[: rows * parts].reshape(rows, parts, *a.shape[1:]).mean(1) for a in (head.voxels, head.mask))
    inside = inside > 0.5
    v = v * bias(v.shape, rng, rng.uniform(0, 0.35))
    sigma = rng.uniform(*NOISE) * WHITE
    draws = [rng.standard_normal(v.shape, dtype=np.float32) for _ in range(2)]
    if rng.random() < 0.35:  # interpolated by the scanner
        smooth = rng.uniform(0.35, 0.7)
        draws = [ndi.gaussian_filter(d, [0, smooth, smooth]) for d in draws]
    if rng.random() < 0.3:  # grain of the tissue
        width, rough = rng.uniform(0.7, 1.5), rng.uniform(0.5, 2.5) * sigma
        grain = ndi.gaussian_filter(rng.standard_normal(v.shape, dtype=np.float32), [width / q for q in spacing])
        v = v + rough * grain / grain.std() * (v > 0.1 * WHITE)
    v = np.hypot(v + sigma * draws[0], sigma * draws[1]).astype(np.float32)
    name = f"{head.name}_{head.contrast}"
    fields = {"person": head.person, "contrast": head.contrast, "spacing": spacing, "sign": -1, "ignore": None}
    return Scene.measured(v, inside, name=name, **fields)


def _seen(truth: list[dict], made: Scene, parts: int) -> list[dict]:
    """Lesions on the grid of a scan, with what the slices leave of their height."""
    psf, last, found = max(0.45, 0.5 * made.spacing[1]), (len(made.voxels) - 1) * made.spacing[0], []
    # from the middle of the first sub-slice to that of the first slice
    shift = np.array([(parts - 1) / 2 * made.spacing[0] / parts, 0, 0])
    for one in truth:
        centre = one["centre"] - shift
        if 0 <= centre[0] <= last:
            ball = {"radius": one["radius"], "kind": "sphere", "axes": np.ones(3), "frame": np.eye(3)}
            peak = lesion_box(made.voxels.shape, made.spacing, centre, ball, psf)[1]
            height = {"cnr": one["height"] / made.sigma, "shown": one["height"] / WHITE}
            found.append(one | height | {"centre": centre, "peak": float(peak.max()) if peak.size else 0.0})
    return found


DRAWS = {"swi": (8, 6), "t2star": (3, 8), "adc": (2, 4)}
"""Scans with lesions of each subject: thin slices, thick slices."""


def scans() -> list[Scan]:
    """Those of the fit, and for tests one without lesions of each subject, kind and slices (thin ones only of SWI)."""
    found = []
    for subject in range(1, SUBJECTS + 1):
        for kind, draws in DRAWS.items():
            for thick, count in zip((False, True), draws, strict=True):
                some = [Scan(subject=subject, kind=kind, draw=n, thick=thick) for n in range(count)]
                if thick or kind == "swi":
                    some.append(Scan(subject=subject, kind=kind, draw=0, thick=thick, lesions=False))
                found += some
    return found


def generate_dark(data: Path, work: Path, part: tuple[int, int]) -> None:
    """Write the scans of every ``part[1]``-th subject from ``part[0]`` on; existing files are kept."""
    for scan in scans():
        path = work / f"{scan.file}.npz"
        if scan.subject % part[1] != part[0] or path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        start = time.time()
        made = scene(data, work, scan)
        store(made, path)
        print(scan.file, made.spacing, made.voxels.shape, len(made.truth), f"{time.time() - start:.1f} s", flush=True)
