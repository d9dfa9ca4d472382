"""Candidates of a stored scene, found and measured by the program itself, with their labels."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from fresh import is_fresh, of_table
from generate import restored
from measure import is_stored_of
from scenes import Scene
from scipy.spatial import cKDTree

from miliary_seg.detect.delineate import PSF_MM
from miliary_seg.detect.normalise import WorkVolume, prepare
from miliary_seg.detect.pipeline import rim_reach_mm, search
from miliary_seg.detect.work_grid import is_thick, work_grid
from miliary_seg.domain.grid import Grid
from miliary_seg.domain.reason import Reason
from miliary_seg.domain.sequence import Modality, Polarity
from miliary_seg.domain.volume import Volume

POSITIVE, NEGATIVE, DROPPED = 1, 0, -1
VISIBLE = 2.5
"""An implant whose peak, after blur and slice averaging, is lower than this many noise sd is nobody's lesion."""
VISIBLE_SPREADS = 0.25
"""... and one that stands out by less than this part of the spread of the brain's grey values is lost among folds."""
SIZES = 0.45, 2.2
"""A candidate on a lesion counts for it only between these times its blurred radius: much larger ones are what lies
around it, much smaller ones a part of it."""


PLAQUES = 0.4
"""Share of the candidates on plaques that is kept as positive: each has several, and balls matter most."""


def labels(scene: Scene, position_mm: np.ndarray, radius_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Label of each candidate and the index of the lesion it belongs to (-1 = none).

    On a lesion: within half its radius + 0.6 mm of its centre (beyond half a slice where slices are thick) and of about
    its size. Other candidates within a lesion that has such a one are parts of it: negative. Up to 1 mm outside of
    a lesion: dropped. Real, unlabelled lesions (``scene.ignore``): dropped.
    """
    n = len(position_mm)
    label, owner = np.zeros(n, np.int8), np.full(n, -1, np.int32)
    if scene.ignore is not None and scene.sign > 0 and n:
        at = np.rint(position_mm / np.array(scene.spacing)).astype(int)
        at = np.clip(at, 0, np.array(scene.ignore.shape) - 1)
        label[scene.ignore[tuple(at.T)]] = DROPPED
    if not scene.truth or n == 0:
        return label, owner
    thick, slab = is_thick(scene.spacing, len(scene.voxels)), scene.spacing[0] / 2
    psf = max(PSF_MM, 0.5 * scene.spacing[1])
    centre = np.array([t["centre"] for t in scene.truth])
    radius = np.array([t["radius"] for t in scene.truth])
    for i, near in enumerate(cKDTree(position_mm).query_ball_point(centre, radius + 2.0 + slab)):
        index = np.array(near, int)
        d = position_mm[index] - centre[i]
        d[:, 0] = np.maximum(np.abs(d[:, 0]) - slab * thick, 0)
        d = np.linalg.norm(d, axis=1)
        on = d <= 0.5 * radius[i] + 0.6
        size = radius_mm[index] / np.hypot(radius[i], 1.41 * psf)
        whole = float(scene.truth[i].get("whole", radius[i]))
        plaque = whole > radius[i]
        most = SIZES[1] * (np.hypot(whole, 1.41 * psf) / np.hypot(radius[i], 1.41 * psf))
        fits = on & (size >= SIZES[0]) & (size <= most)
        height = scene.truth[i]["cnr"] * scene.truth[i]["peak"]
        visible = height >= VISIBLE and height * scene.sigma >= VISIBLE_SPREADS * scene.spread
        part = (d <= radius[i]) & ~fits & visible & fits.any() & (not plaque)
        around = (d <= radius[i] + 1.0) & ~part & (size <= SIZES[1])
        label[index[around & (label[index] == NEGATIVE)]] = DROPPED
        label[index[part & (label[index] == DROPPED)]] = NEGATIVE
        label[index[fits]] = POSITIVE if visible else DROPPED
        owner[index[fits]] = i
    return label, owner


def prepared(scene: Scene) -> WorkVolume | Reason:
    """The scene as the detector sees it."""
    affine = np.diag([*scene.spacing, 1.0])
    volume = Volume(voxels=scene.voxels, grid=Grid(shape=scene.voxels.shape, affine=affine), slice_axis=0)
    modality = Modality.CT if scene.contrast == "ct" else Modality.MR
    return prepare(volume.voxels, scene.mask, work_grid(volume, scene.mask), rim_reach_mm(modality))


def thinned(label: np.ndarray, owner: np.ndarray, scene: Scene, number: int) -> None:
    """Drop all but `PLAQUES` of the positives on plaques, in place."""
    plaque = np.array([t["kind"] == "plaque" for t in scene.truth])
    if plaque.any():
        chance = np.random.default_rng([5, number]).random(len(label))
        label[(label == POSITIVE) & plaque[np.maximum(owner, 0)] & (chance > PLAQUES)] = DROPPED


def rows(scene: Scene, number: int = 0) -> dict | None:
    """Features, labels and truth of scene ``number``; None where the detector has nothing to say."""
    work = prepared(scene)
    if isinstance(work, Reason):
        return None
    found = search(work, Polarity.BRIGHT if scene.sign > 0 else Polarity.DARK)
    position = work.grid.to_ijk(found.index) * np.array(scene.spacing)
    label, owner = labels(scene, position, found.radius_mm)
    thinned(label, owner, scene, number)
    truth = scene.truth
    return {
        "X": np.column_stack(list(found.features.values())).astype(np.float32),
        "names": list(found.features),
        "label": label,
        "owner": owner,
        "pos": position.astype(np.float32),
        "radius": found.radius_mm.astype(np.float32),
        "person": scene.person,
        "name": scene.name,
        "contrast": scene.contrast,
        "sign": scene.sign,
        "spacing": scene.spacing,
        "noise": scene.noise,
        "nslices": int(scene.mask.any((1, 2)).sum()),
        "cnr": np.array([t["cnr"] for t in truth]),
        "diam": np.array([2 * t["radius"] for t in truth]),
        "peak": np.array([t["peak"] for t in truth]),
        "kind": np.array([str(t["kind"]) for t in truth]),
        **{name: np.array([t.get(name, np.nan) for t in truth], float) for name in ("enhancement", "shown")},
        "place": np.array([str(t.get("place", "")) for t in truth]),
        "thick": is_thick(scene.spacing, len(scene.voxels)),
    }


def measure(work: Path, kinds: tuple[str, ...] = ("all",)) -> None:
    """Write the table of every stored scene that has none, or one of another scene or of other code (`fresh`)."""
    for kind in ("test", "train"):
        (work / f"{kind}_table").mkdir(exist_ok=True)
        for path in sorted((work / kind).glob("*.npz")):
            target = work / f"{kind}_table" / path.name
            if ".part" in path.name or not is_stored_of(path, kinds):
                continue
            digest = of_table(path)
            if is_fresh(target, digest):
                continue
            start = time.time()
            found = rows(restored(path), int(path.stem) if path.stem.isdigit() else 0)
            if found is not None:
                part = target.with_suffix(".part.npz")
                np.savez(part, digest=digest, **found)
                part.rename(target)
                seen = np.isin(np.arange(len(found["cnr"])), found["owner"]).mean() if len(found["cnr"]) else 1
                print(
                    path.stem, found["name"], len(found["label"]), f"{seen:.2f} {time.time() - start:.1f} s", flush=True
                )
