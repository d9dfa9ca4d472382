"""Training scenes (anything goes) and test scenes (the conditions of the goals), each reproducible from its number."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from dataset import rows
from heads import Head, painted_head, real_heads
from scenes import Scene, make_scene, negatives

CONTRASTS = ["t1", "t1c", "t2", "flair", "dwi", "swi", "ct"]
SHARES = [0.1, 0.25, 0.1, 0.15, 0.08, 0.16, 0.16]
SUBJECTS = 8
LARGE, LARGE_FROM = 0.08, 1200
"""Scenes from this number on also hold lesions of 8-18 mm, so that large candidates are judged by example."""
THIN, THICK, FINE, CT_THICK = (0.9, 0.9, 0.9), (5.0, 0.7, 0.7), (1.0, 0.45, 0.45), (4.0, 0.6, 0.6)


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
    rng = np.random.default_rng([777, seed])
    thick = seed % 2 == 1
    if rng.random() < 0.6:
        pool = [h for h in heads if thick or h.spacing[0] < 1.6]
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
    return make_scene(
        head,
        rng,
        thick=thick,
        lesions=count,
        slab_mm=None if thick else 50,
        added=added,
        large=LARGE * (seed >= LARGE_FROM),
    )


def test_jobs(heads: list[Head]) -> list[tuple]:
    """(head or painted subject, kind, spacing, noise, lesions, sign): the conditions of docs/rejector.md."""
    jobs: list[tuple] = []
    for h in heads:
        if h.spacing[0] < 1.6:
            jobs += [(h.name, "a3", THIN, 0.03, 100, 1), (h.name, "c3", THICK, 0.03, 60, 1)]
            jobs += [(h.name, "a0", THIN, 0.03, 0, 1), (h.name, "c0", THICK, 0.03, 0, 1)]
            if h.contrast == "t1c":
                jobs += [(h.name, "a5", THIN, 0.05, 100, 1), (h.name, "a1", THIN, 0.015, 100, 1)]
                jobs += [(h.name, "b3", FINE, 0.03, 100, 1), (h.name, "aD", THIN, 0.03, 100, -1)]
        else:
            sign = h.signs[0]
            jobs += [(h.name, "n3", h.spacing, 0.015, 60, sign), (h.name, "n0", h.spacing, 0.0, 0, sign)]
    for subject in range(1, SUBJECTS + 1):
        jobs += [(subject, "ct0", THIN, 0.0, 0, 1), (subject, "ctk0", CT_THICK, 0.0, 0, 1)]
    return [(number, *job) for number, job in enumerate(jobs)]


def test_scene(job: tuple, heads: list[Head], data: Path) -> Scene:
    """One scene of `test_jobs`: no artefacts, lesions are plain spheres of 1.5-8 mm and 3-30 noise sd."""
    number, who, _kind, spacing, noise, count, sign = job
    rng = np.random.default_rng([99, number])
    head = painted_head(data, who, "ct", rng) if isinstance(who, int) else next(h for h in heads if h.name == who)
    return make_scene(
        head, rng, thick=spacing[0] > 2, lesions=count, spacing=spacing, noise=noise, plain=True, sign=sign, clean=True
    )


def generate(data: Path, masks: Path, work: Path, part: tuple[int, int, int]) -> None:
    """Write training scenes first..last in steps, then test scenes of the same residue; existing files are kept."""
    first, last, step = part
    heads = real_heads(data, masks)
    (work / "train").mkdir(parents=True, exist_ok=True)
    (work / "eval").mkdir(exist_ok=True)
    for seed in range(first, last, step):
        path = work / "train" / f"{seed:04d}.npz"
        if not path.exists():
            start = time.time()
            found = rows(training_scene(seed, heads, data))
            if found is not None:
                np.savez(path, **found)
                print(seed, found["name"], len(found["label"]), f"{time.time() - start:.1f} s", flush=True)
    held = real_heads(data, masks, measure_only=True)
    for job in test_jobs(held)[first % step :: step]:
        path = work / "eval" / f"{job[1]}__{job[2]}.npz"
        if not path.exists():
            found = rows(test_scene(job, held, data))
            if found is not None:
                np.savez(path, **found)
                print(path.stem, len(found["label"]), flush=True)
