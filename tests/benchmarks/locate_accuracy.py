"""How well `locate` does on simulated scans of people, each condition a row: docs/compartments.md.

    python tests/benchmarks/locate_accuracy.py LABEL_MAP... --output rows.jsonl [--per-condition 14] [--mask]
        [--wrong | --new-people]
    python tests/benchmarks/locate_tables.py rows.jsonl

Label maps: see `simulated_heads.py`. With ``--wrong`` scans that must not be trusted are made (`wrong_scans.py`) in
place of good ones; with ``--new-people`` scans of bent and stretched people (`new_people.py`), so many in all. Rows
are written one by one: a stopped run goes on where it was.
"""

from __future__ import annotations

import argparse
import importlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from new_people import new_people_scans
from scipy import ndimage as ndi
from scipy.spatial import cKDTree
from simulated_heads import BELOW, BRAIN, CONDITIONS, CONTRASTS, LEFT, RIGHT, VENTRICLES, Simulated, is_ct, simulate
from wrong_scans import wrong_scans

from miliary_seg.domain.grid import Grid
from miliary_seg.domain.result import Location
from miliary_seg.domain.sequence import Modality
from miliary_seg.domain.volume import Volume
from miliary_seg.errors import MiliaryError
from miliary_seg.locate import locate

LESIONS, CLOSING_MM, RIM_MM = 300, 5.0, 2.0
EDGES_MM = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 5, 6, 8, 10, 1e3])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("label_maps", nargs="+", type=Path, metavar="LABEL_MAP")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--per-condition", type=int, default=14)
    parser.add_argument("--mask", action="store_true", help="also measure the brain mask (slow)")
    parser.add_argument("--wrong", action="store_true", help="scans that must not be trusted")
    parser.add_argument("--new-people", action="store_true", help="scans of people bent and stretched anew")
    parser.add_argument("--upright", action="store_true", help="leave out the search under turned axes (quicker)")
    arguments = parser.parse_args()
    if arguments.upright:
        importlib.import_module("miliary_seg.locate.pipeline").register_turned = lambda *_: None  # type: ignore[attr-defined]
    done = {json.loads(line)["name"] for line in arguments.output.open()} if arguments.output.exists() else set()
    scans = wrong_scans if arguments.wrong else new_people_scans if arguments.new_people else good_scans
    with arguments.output.open("a") as file:
        for name, person, condition, make in scans(arguments.label_maps, arguments.per_condition):
            if name in done:
                continue
            row = {"name": name, "person": person, "condition": condition} | measured(make(), arguments.mask)
            file.write(json.dumps(row) + "\n")
            file.flush()
            print(name, row["contrast"], row["wrong_percent"], f"{row['trust']:.2f}", flush=True)


def good_scans(maps: list[Path], count: int) -> Iterator[tuple[str, str, str, object]]:
    """Conditions in turn, people and contrasts in step, so that all meet."""
    for seed in range(count):
        for place, condition in enumerate(CONDITIONS):
            path = maps[(seed + place) % len(maps)]
            contrast = CONTRASTS[(seed + 3 * place + seed // len(CONTRASTS)) % len(CONTRASTS)]
            name = f"{condition} {seed}"
            yield name, path.name, condition, lambda p=path, c=contrast, k=condition, s=seed: simulate(p, c, k, s)


def measured(scan: Simulated, with_mask: bool) -> dict[str, object]:
    """One row: errors, trust and its figures, time, and lesions near boundaries."""
    modality = Modality.CT if is_ct(scan.contrast) else Modality.MR
    grid = Grid(shape=scan.voxels.shape, affine=scan.affine)  # type: ignore[arg-type]
    volume = Volume(voxels=np.ascontiguousarray(scan.voxels), grid=grid, modality=modality)
    start = time.process_time()
    try:
        place = locate(volume)
    except MiliaryError as error:
        return {
            "contrast": scan.contrast,
            "refused": type(error).__name__,
            "wrong_percent": None,
            "trust": 0.0,
            "figures": {},
        }
    fit = place.registration
    row: dict[str, object] = {
        "contrast": scan.contrast,
        "facts": scan.facts,
        "cpu_s": time.process_time() - start,
        "trust": fit.trust,
        "trusted": fit.trusted,
        "reoriented": fit.reoriented,
        "figures": fit.figures,
        "reasons": [reason.code for reason in fit.reasons],
    }
    row |= errors(scan.labels, place)
    if scan.labels.any():
        row["lesions"] = lesions(scan.labels, place, np.array(grid.spacing_mm))
    if with_mask:
        row["mask"] = mask_errors(scan.labels, place.brain_mask, np.array(grid.spacing_mm))
    return row


def scored(labels: np.ndarray) -> tuple[np.ndarray, ...]:
    """Which voxels have a level, are below, have a side, are right. Fluid, 4th ventricle, diencephalon: not scored."""
    below, right = np.isin(labels, BELOW), np.isin(labels, RIGHT)
    sided = right | np.isin(labels, LEFT)
    return sided | below, below, sided, right


def errors(labels: np.ndarray, place: Location) -> dict[str, object]:
    levelled, below, sided, right = scored(labels)
    if levelled.sum() < 200:
        return {"wrong_percent": None}
    level = levelled & ((place.tentorium_distance_mm > 0) != below)
    side = sided & ((place.midline_distance_mm >= 0) != right)
    total = levelled.sum()
    row: dict[str, object] = {
        "wrong_percent": round(100 * float((level | side).sum() / total), 3),
        "level_percent": round(100 * float(level.sum() / total), 3),
        "side_percent": round(100 * float(side.sum() / total), 3),
    }
    surfaces = (
        ("tentorium", place.tentorium_distance_mm, levelled, level),
        ("midline", place.midline_distance_mm, sided, side),
    )
    for name, distance, judged, wrong in surfaces:
        cell = np.digitize(np.abs(distance[judged]), EDGES_MM) - 1
        row[name] = [(np.bincount(cell, w, len(EDGES_MM) - 1) / total).tolist() for w in (None, wrong[judged])]
    return row


def lesions(labels: np.ndarray, place: Location, spacing: np.ndarray) -> list[list[float]]:
    """Balls of 1.5 to 8 mm anywhere in the brain: side and level, true and found, true and found distances in mm.

    Found is the mean distance over the lesion's voxels, as `assign` does it. Side 0 left, 1 right, -1 neither.
    """
    levelled, below, sided, right = scored(labels)
    rng = np.random.default_rng(7)
    places = np.argwhere(levelled)
    if len(places) < 200:
        return []
    chosen = places[rng.choice(len(places), LESIONS)]
    to_side = nearest_mm(chosen, (right, sided & ~right), spacing)
    to_level = nearest_mm(chosen, (below, levelled & ~below), spacing)
    rows = []
    for n, centre in enumerate(chosen):
        radius = rng.uniform(0.75, 4)
        reach = np.ceil(radius / spacing).astype(int)
        box = tuple(slice(max(0, c - r), c + r + 1) for c, r in zip(centre, reach, strict=True))
        offsets = np.ogrid[tuple(slice(s.start, min(s.stop, n)) for s, n in zip(box, labels.shape, strict=True))]
        squares = sum(((o - c) * s) ** 2 for o, c, s in zip(offsets, centre, spacing, strict=True))
        inside = squares <= max(radius**2, 1e-6)
        x, z = (float(d[box][inside].mean()) for d in (place.midline_distance_mm, place.tentorium_distance_mm))
        at = tuple(centre)
        side = -1 if not sided[at] else int(right[at])
        rows.append([side, x, to_side[n], int(below[at]), z, to_level[n]])
    return [[round(value, 2) for value in row] for row in rows]


def nearest_mm(places: np.ndarray, kinds: tuple[np.ndarray, np.ndarray], spacing: np.ndarray) -> list[float]:
    """Distance of each place, shape (n, 3) in voxels, to the nearest voxel of the kind that it is not."""
    trees = [cKDTree(np.argwhere(kind & ~ndi.binary_erosion(kind)) * spacing) if kind.any() else None for kind in kinds]
    distances = []
    for place in places:
        other = trees[1] if kinds[0][tuple(place)] else trees[0]
        distances.append(float(other.query(place * spacing)[0]) if other is not None else 999.0)
    return distances


def reference_mask(labels: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Brain and ventricles closed by 5 mm."""
    brain = np.isin(labels, (*BRAIN, *VENTRICLES))
    pad = [(int(np.ceil(2 * CLOSING_MM / s)),) * 2 for s in spacing]
    wide = np.pad(brain, pad, mode="edge")
    near = ndi.distance_transform_edt(~wide, sampling=spacing) <= CLOSING_MM
    closed = ndi.distance_transform_edt(near, sampling=spacing) > CLOSING_MM
    return closed[tuple(slice(p, p + n) for (p, _), n in zip(pad, labels.shape, strict=True))] | brain


def mask_errors(labels: np.ndarray, mask: np.ndarray, spacing: np.ndarray) -> list[float]:
    """Dice, % of the cortex lost, % let in; then of the rim: % of its tissue lost (two ways), % let in next to it.

    The reference is brain and ventricles closed by 5 mm. The rim is tissue within 2 mm of the labels' own surface,
    folds included, or of the reference's; what is let in within 2 mm of the reference is a share of all of it.
    """
    truth = reference_mask(labels, spacing)
    cortex, tissue = np.isin(labels, (3, 42, 8, 47)), np.isin(labels, BRAIN)
    own, outer = (tissue & near_edge(part, spacing) for part in (np.isin(labels, (*BRAIN, *VENTRICLES)), truth))
    outside = near_edge(~truth, spacing)
    return [
        float(2 * (mask & truth).sum() / (mask.sum() + truth.sum())),
        100 * float((cortex & ~mask).sum() / max(cortex.sum(), 1)),
        100 * float((mask & ~truth).sum() / truth.sum()),
        *(100 * float((rim & ~mask).sum() / max(rim.sum(), 1)) for rim in (own, outer)),
        100 * float((mask & outside).sum() / truth.sum()),
    ]


def near_edge(part: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Voxels of a part within ``RIM_MM`` of its surface; it goes on beyond the grid."""
    depth = ndi.distance_transform_edt(np.pad(part, 1, mode="edge"), sampling=spacing)[1:-1, 1:-1, 1:-1]
    return part & (depth - spacing.min() / 2 <= RIM_MM)


if __name__ == "__main__":
    main()
