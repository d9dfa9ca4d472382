"""Training scenes (anything goes) and test scenes (the conditions of the goals), each reproducible from its number."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from heads import RANDOM, Head, painted_head, real_heads
from plaques import DARK, implant_plaques, ventricles
from scenes import Scene, draw_dots, make_scene, negatives

CONTRASTS = ["t1", "t1c", "t2", "flair", "dwi", "swi", "ct", RANDOM]
SHARES = [0.08, 0.22, 0.08, 0.12, 0.08, 0.14, 0.16, 0.12]
SUBJECTS = 8
LARGE = 0.06
"""Share of lesions of 8-22 mm, so that large candidates are judged by example."""
SILENT = (4, 5)
"""Scenes whose number ends so get no noise beside the head's own, as scans that were denoised or averaged."""
BALLS = 420
"""Training scenes of a lower number hold balls apart from each other and, of look-alikes, vessels; those from here on
plaques, dots and pairs as well."""
OTHER_SHARES = [0.1, 0.24, 0.12, 0.28, 0.08, 0.06, 0.05, 0.07]
"""Of the contrasts, there: plaques are read on FLAIR, dots trouble post-contrast T1."""
GRAIN = 500
"""Scenes from here on are painted heads whose tissue has a grain of its own, up to three times as strong as the noise;
half of them hold no lesion."""
GRAIN_SHARES = [0.12, 0.14, 0.12, 0.12, 0.1, 0.3, 0.04, 0.06]
ISO_MM = 2.2
"""Heads with slices up to here also serve as scans of thin slices."""
THIN, THICK, MIDDLE, CT_THICK = (0.9, 0.9, 0.9), (5.0, 0.7, 0.7), (3.0, 0.7, 0.7), (4.0, 0.6, 0.6)
LEVELS = 30_000
"""Scenes are stored as 16-bit integers: this many steps up to the largest magnitude."""


def turned(head: Head, axis: int) -> Head:
    """The head cut in another plane."""

    def move(a):
        return None if a is None else np.ascontiguousarray(np.moveaxis(a, axis, 0))

    spacing = list(head.spacing)
    first = spacing.pop(axis)
    return Head(
        name=head.name,
        person=head.person,
        contrast=head.contrast,
        voxels=move(head.voxels),
        spacing=(first, *spacing),
        mask=move(head.mask),
        signs=head.signs,
        ignore=move(head.ignore),
    )


def training_scene(seed: int, heads: list[Head], data: Path) -> Scene:
    """Scene number ``seed``: even = thin slices, odd = thick."""
    rng = np.random.default_rng([778, seed])
    thick = seed % 2 == 1
    if rng.random() < 0.55:
        pool = [h for h in heads if thick or h.spacing[0] < ISO_MM]
        share = np.array([2.0 if h.contrast == "t1c" else 1.0 for h in pool])
        head = pool[rng.choice(len(pool), p=share / share.sum())]
    else:
        head = painted_head(data, int(rng.integers(1, SUBJECTS + 1)), str(rng.choice(CONTRASTS, p=SHARES)), rng)
    if head.spacing[0] < 1.6 and head.labels is None and rng.random() < 0.25:
        head = turned(head, int(rng.integers(1, 3)))
    q25, q75 = np.percentile(head.voxels[head.mask], [25, 75])
    drawn = head.labels is not None or rng.random() < 0.5
    added = negatives(head, rng, max((q75 - q25) / 1.35, 1e-3)) if drawn else None
    count = 0 if rng.random() < 0.1 else int(np.exp(rng.uniform(np.log(20), np.log(160))))
    slab, noise = None if thick else 60, 0.0 if seed % 10 in SILENT else None
    return make_scene(head, rng, thick=thick, lesions=count, slab_mm=slab, added=added, large=LARGE, noise=noise)


def other_scene(seed: int, heads: list[Head], data: Path) -> Scene:
    """Scene number ``seed`` from `BALLS` on: plaques, dots and pairs of balls, each in about half of the scenes."""
    rng = np.random.default_rng([779, seed])
    thick = seed % 2 == 1
    if rng.random() < 0.5:
        pool = [h for h in heads if thick or h.spacing[0] < ISO_MM]
        share = np.array([3.0 if h.contrast == "t1c" or h.name == "ms26_FLAIR" else 1.0 for h in pool])
        head = pool[rng.choice(len(pool), p=share / share.sum())]
    else:
        head = painted_head(data, int(rng.integers(1, SUBJECTS + 1)), str(rng.choice(CONTRASTS, p=OTHER_SHARES)), rng)
    with_plaques, with_dots, with_balls = rng.random() < 0.55, rng.random() < 0.5, rng.random() < 0.6
    if head.spacing[0] < 1.6 and head.labels is None and rng.random() < 0.25:
        head = turned(head, int(rng.integers(1, 3)))
    q25, q75 = np.percentile(head.voxels[head.mask], [25, 75])
    spread = max((q75 - q25) / 1.35, 1e-3)
    sign = int(rng.choice(list(head.signs)))
    if with_plaques and rng.random() < 0.8:
        wanted = -1 if head.contrast in DARK else 1
        sign = wanted if wanted in head.signs else sign
    elif head.contrast in ("t1c", "dwi", "flair") and 1 in head.signs:
        sign = 1
    added = negatives(head, rng, spread) if head.labels is not None or rng.random() < 0.3 else None
    if with_dots:
        dots = spread * float(np.exp(rng.uniform(np.log(0.5), np.log(4)))) * draw_dots(head, _many(rng, 30, 400), rng)
        dots *= sign if rng.random() < 0.85 else -sign
        added = dots if added is None else added + dots
    plaques = None
    if with_plaques:
        count = _many(rng, 6, 60)
        plaques = (lambda scene, fluid, rng: implant_plaques(scene, fluid, count, rng)), ventricles(head)
    return make_scene(
        head,
        rng,
        thick=thick,
        lesions=_many(rng, 10, 120) if with_balls else 0,
        slab_mm=None if thick else 60,
        added=added,
        large=LARGE,
        noise=0.0 if seed % 10 in SILENT else None,
        pairs=0.4,
        plaques=plaques,
        sign=sign,
    )


def grain_scene(seed: int, data: Path) -> Scene:
    """Scene number ``seed`` from `GRAIN` on."""
    rng = np.random.default_rng([780, 80 + seed])  # as the weights that ship were fitted
    thick = seed % 4 == 3
    head = painted_head(data, int(rng.integers(1, SUBJECTS + 1)), str(rng.choice(CONTRASTS, p=GRAIN_SHARES)), rng)
    sign = int(rng.choice(list(head.signs)))
    if head.contrast == "swi" or rng.random() < 0.2:
        sign = -1
    grain = float(np.exp(rng.uniform(np.log(0.5), np.log(3.5)))), float(rng.uniform(0.7, 1.5))
    return make_scene(
        head,
        rng,
        thick=thick,
        lesions=0 if rng.random() < 0.5 else _many(rng, 20, 160),
        slab_mm=None if thick else 60,
        noise=float(rng.uniform(0.008, 0.03)),
        sign=sign,
        grain=grain,
    )


def _many(rng: np.random.Generator, least: int, most: int) -> int:
    return int(np.exp(rng.uniform(np.log(least), np.log(most))))


def test_jobs(heads: list[Head]) -> list[tuple]:
    """(head or painted subject, kind, spacing, noise, lesions, sign): the conditions of docs/rejector.md."""
    jobs: list[tuple] = []
    for h in heads:
        bright = h.signs[0]
        if h.spacing[0] < 1.6:
            jobs += [(h.name, "a3", THIN, 0.03, 100, 1), (h.name, "c3", THICK, 0.03, 60, 1)]
            jobs += [(h.name, "a0", THIN, 0.03, 0, 1), (h.name, "m0", MIDDLE, 0.03, 0, 1)]
            jobs += [(h.name, "m3", MIDDLE, 0.03, 60, 1)]
            if h.contrast == "t1c":
                jobs += [(h.name, "b3", THIN, 0.03, 100, 1), (h.name, "d3", THICK, 0.03, 60, 1)]  # other places
                jobs += [(h.name, "a5", THIN, 0.05, 100, 1), (h.name, "a1", THIN, 0.015, 100, 1)]
                jobs += [(h.name, "aD", THIN, 0.03, 100, -1), (h.name, "bD", THIN, 0.03, 100, -1)]
                jobs += [(h.name, "h1", THIN, 0.015, 0, 1), (h.name, "h5", THIN, 0.05, 0, 1)]
        else:
            jobs += [(h.name, "n3", h.spacing, 0.015, 60, bright), (h.name, "n0", h.spacing, 0.0, 0, bright)]
        if h.spacing[0] < 1.6:
            jobs += [(h.name, "n0", h.spacing, 0.0, 0, 1)]
    for subject in range(1, SUBJECTS + 1, 2):
        jobs += [(subject, "ct0", THIN, 0.0, 0, 1), (subject, "ctk0", CT_THICK, 0.0, 0, 1)]
        jobs += [(subject, "ct3", THIN, 0.0, 60, 1), (subject, "ctk3", CT_THICK, 0.0, 60, 1)]
    return [(number, *job) for number, job in enumerate(jobs)]


def test_scene(job: tuple, heads: list[Head], data: Path) -> Scene:
    """One scene of `test_jobs`: no artefacts, lesions are plain spheres of 1.5-8 mm and 3-30 noise sd."""
    number, who, _kind, spacing, noise, count, sign = job
    rng = np.random.default_rng([99, number])
    head = painted_head(data, who, "ct", rng) if isinstance(who, int) else next(h for h in heads if h.name == who)
    return make_scene(
        head,
        rng,
        thick=spacing[0] > ISO_MM,
        lesions=count,
        spacing=spacing,
        noise=noise,
        plain=True,
        sign=sign,
        clean=True,
    )


def generate(data: Path, masks: Path, work: Path, part: tuple[int, int, int]) -> None:
    """Write training scenes first..last in steps, then test scenes of the same residue; existing files are kept."""
    first, last, step = part
    heads = real_heads(data, masks)
    for kind in ("train", "test"):
        (work / kind).mkdir(parents=True, exist_ok=True)
    held = real_heads(data, masks, measure_only=True)
    for job in test_jobs(held)[first % step :: step]:
        path = work / "test" / f"{job[1]}__{job[2]}.npz"
        if not path.exists():
            store(test_scene(job, held, data), path)
    for seed in range(first, last, step):
        path = work / "train" / f"{seed:04d}.npz"
        if not path.exists():
            start = time.time()
            if seed >= GRAIN:
                scene = grain_scene(seed, data)
            else:
                scene = (training_scene if seed < BALLS else other_scene)(seed, heads, data)
            store(scene, path)
            print(seed, scene.name, scene.spacing, len(scene.truth), f"{time.time() - start:.1f} s", flush=True)


def store(scene: Scene, path: Path) -> None:
    """One scene as plain arrays."""
    unit = float(np.abs(scene.voxels).max()) / LEVELS
    stored = {
        k: getattr(scene, k) for k in ("name", "person", "contrast", "spacing", "sign", "sigma", "noise", "spread")
    }
    stored |= {"voxels": np.rint(scene.voxels / unit).astype(np.int16), "unit": unit, "mask": scene.mask}
    if scene.ignore is not None:
        stored["ignore"] = scene.ignore
    for key in ("centre", "radius", "cnr", "peak", "kind"):
        stored[f"truth_{key}"] = np.array([t[key] for t in scene.truth])
    for key, absent in (("enhancement", np.nan), ("shown", np.nan), ("place", "")):
        stored[f"truth_{key}"] = np.array([t.get(key, absent) for t in scene.truth])
    stored["truth_group"] = np.array([t.get("group", n) for n, t in enumerate(scene.truth)], int)
    stored["truth_whole"] = np.array([t.get("whole", t["radius"]) for t in scene.truth])
    part = path.with_suffix(".part.npz")
    np.savez(part, **stored)
    part.rename(path)


def restored(path: Path) -> Scene:
    """The scene of a file of `store`."""
    with np.load(path, allow_pickle=False) as f:
        found = {k: f[k][()] for k in ("sign", "sigma", "noise", "spread")}
        found |= {k: str(f[k]) for k in ("name", "person", "contrast")}
        keys = [key.removeprefix("truth_") for key in f.files if key.startswith("truth_")]
        truth = [f[f"truth_{key}"] for key in keys]
        rows = [dict(zip(keys, row, strict=True)) for row in zip(*truth, strict=True)]
        return Scene(
            **found,
            voxels=f["voxels"] * np.float32(f["unit"]),
            spacing=tuple(float(s) for s in f["spacing"]),
            mask=f["mask"],
            ignore=f["ignore"] if "ignore" in f.files else None,
            truth=rows,
        )
