"""How often the fate of a lesion is told right: implanted, removed and moved lesions in re-posed, re-noised real heads.

    python tests/benchmarks/timeline_fates.py HEAD.nii.gz ... [--seed N]

For each head and condition, 75 balls of 2-4 mm are drawn into it (contrast 1 to 2 times the spread of the brain's
intensities, 9 mm apart): 25 stay, 25 vanish, 25 appear, and 10 of the vanished ones reappear elsewhere (moved). Later
scan is turned by up to 12 degrees about each axis, shifted by up to 8 mm, resampled (cubic), given new noise and a
different gain. Prints, for lesions that the program detected in either scan, how many fates were right, uncertain and
wrong.
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from scipy import ndimage as ndi

import miliary_seg as ms
from miliary_seg.cohort import track_lesions
from miliary_seg.detect import find
from miliary_seg.domain.grid import Grid
from miliary_seg.domain.volume import Volume
from miliary_seg.locate import locate, register_rigid
from miliary_seg.locate.transform import rotation
from miliary_seg.settings import Settings

CONDITIONS: dict[str, dict[str, object]] = {
    "same spacing": {},
    "noise 5 %": {"noise": 0.05},
    "later 1.3 mm": {"spacing": (1.3, 1.3, 1.3)},
    "later 3 mm slices": {"spacing": (0.8, 0.8, 3.0)},
    "turned 25 deg": {"degrees": 25.0},
    "deformed 0.5 mm": {"deformed_mm": 0.5},
}
APART_MM, PSF_MM, MATCH_MM = 9.0, 0.6, 2.5


@dataclass(frozen=True)
class Ball:
    fate: str
    place: np.ndarray
    diameter_mm: float
    amplitude: float


def draw_balls(volume: Volume, brain: np.ndarray, rng: np.random.Generator) -> list[Ball]:
    inside = np.argwhere(ndi.binary_erosion(brain, iterations=2))
    values = volume.voxels[brain]
    spread = 1.4826 * np.median(np.abs(values - np.median(values)))
    places: list[np.ndarray] = []
    while len(places) < 75:
        place = volume.grid.to_ras_mm(inside[rng.integers(len(inside))] + rng.uniform(-0.5, 0.5, 3))
        if all(np.linalg.norm(place - other) > APART_MM for other in places):
            places.append(place)
    fates = ["persisting"] * 25 + ["resolved"] * 25 + ["new"] * 25
    balls = [Ball(f, p, rng.uniform(2, 4), rng.uniform(1, 2) * spread) for f, p in zip(fates, places, strict=True)]
    for i in range(10):  # moved: the same lesion elsewhere
        balls[65 + i] = replace(balls[65 + i], diameter_mm=balls[40 + i].diameter_mm, amplitude=balls[40 + i].amplitude)
    return balls


def added(volume: Volume, balls: list[Ball], when: tuple[str, str]) -> np.ndarray:
    voxels = volume.voxels.astype(np.float64)
    spacing = np.array(volume.grid.spacing_mm)
    for ball in balls:
        if ball.fate not in when:
            continue
        centre, reach = volume.grid.to_ijk(ball.place), (ball.diameter_mm / 2 + 3 * PSF_MM) / spacing
        low = np.maximum(0, np.floor(centre - reach)).astype(int)
        high = np.minimum(voxels.shape, np.ceil(centre + reach) + 1).astype(int)
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        ijk = np.stack(np.meshgrid(*[np.arange(a, b) for a, b in zip(low, high, strict=True)], indexing="ij"), -1)
        distance = np.linalg.norm(volume.grid.to_ras_mm(ijk) - ball.place, axis=-1)
        voxels[box] += ball.amplitude * ndi.gaussian_filter(
            np.clip((ball.diameter_mm / 2 - distance) / spacing.min() + 0.5, 0, 1), PSF_MM / spacing
        )
    return voxels


def revisit(
    voxels: np.ndarray, volume: Volume, rng: np.random.Generator, degrees: float, spacing: tuple[float, ...] | None
) -> tuple[np.ndarray, Grid, np.ndarray]:
    """The head in another pose on another grid, and the matrix that takes the earlier world to the later one."""
    old = np.array(volume.grid.spacing_mm)
    new = np.array(spacing or old)
    centre = volume.grid.to_ras_mm((np.array(volume.grid.shape) - 1) / 2)
    move = np.eye(4)
    move[:3, :3] = rotation(*np.radians(rng.uniform(-degrees, degrees, 3)))
    move[:3, 3] = centre + rng.uniform(-8, 8, 3) - move[:3, :3] @ centre
    shape = np.ceil(np.array(volume.grid.shape) * old / new).astype(int)
    affine = np.array(volume.grid.affine)
    affine[:3, :3] *= new / old
    affine[:3, 3] = (move[:3, :3] @ centre + move[:3, 3]) - affine[:3, :3] @ ((shape - 1) / 2)
    back = np.linalg.inv(volume.grid.affine) @ np.linalg.inv(move) @ affine
    smoothed = ndi.gaussian_filter(voxels, np.where(new > 1.5 * old, 0.4 * new / old, 0))
    moved = ndi.affine_transform(smoothed, back[:3, :3], back[:3, 3], output_shape=tuple(shape), order=3)
    return moved, Grid(shape=tuple(shape), affine=affine), move


def deformed(voxels: np.ndarray, grid: Grid, size_mm: float, rng: np.random.Generator) -> np.ndarray:
    spacing = np.array(grid.spacing_mm)
    where = np.indices(voxels.shape).astype(float)
    for axis in range(3):
        coarse = ndi.gaussian_filter(rng.normal(size=[n // 4 + 1 for n in voxels.shape]), 15 / (4 * spacing))
        field = ndi.zoom(coarse, [n / m for n, m in zip(voxels.shape, coarse.shape, strict=True)], order=1)
        where[axis] += field / field.std() * size_mm / spacing[axis]
    return ndi.map_coordinates(voxels, where, order=1)


def one(path: Path, seed: int, condition: dict[str, object]) -> tuple[Counter[tuple[str, str]], float]:
    rng = np.random.default_rng(seed)
    volume = ms.load_study(path).volumes[0]
    brain = locate(volume).brain_mask
    balls = draw_balls(volume, brain, rng)
    sigma = float(condition.get("noise", 0.03)) * float(np.percentile(volume.voxels[brain], 75))
    first = added(volume, balls, ("persisting", "resolved"))
    second = added(volume, balls, ("persisting", "new"))
    second, grid, move = revisit(second, volume, rng, float(condition.get("degrees", 12)), condition.get("spacing"))
    if "deformed_mm" in condition:
        second = deformed(second, grid, float(condition["deformed_mm"]), rng)
    first += rng.normal(0, sigma, first.shape)
    second = rng.uniform(0.7, 1.5) * (second + rng.normal(0, sigma, second.shape))
    thickness = max(grid.spacing_mm)
    pair = [analysed(replace(volume, voxels=first.astype(np.float32)))]
    later = replace(volume, voxels=second.astype(np.float32), grid=grid, slice_thickness_mm=thickness)
    pair.append(analysed(replace(later, slice_axis=int(np.argmax(grid.spacing_mm)))))
    alignment = register_rigid(pair[0].volume, pair[0].location, pair[1].volume, pair[1].location)
    places = np.array([ball.place for ball in balls])
    there = places @ move[:3, :3].T + move[:3, 3]
    error = np.linalg.norm(places @ alignment.matrix[:3, :3].T + alignment.matrix[:3, 3] - there, axis=1).max()
    table: Counter[tuple[str, str]] = Counter()
    for fate in track_lesions(pair[0], pair[1], alignment):
        distance = np.linalg.norm((places if fate.later_id is None else there) - fate.centroid_ras_mm, axis=1)
        near = int(distance.argmin())
        truth = balls[near].fate if distance[near] < MATCH_MM else "no lesion"
        table[truth, str(fate.fate)] += 1
    return table, float(error)


def analysed(volume: Volume) -> SimpleNamespace:
    place = locate(volume)
    found = find(volume, place.brain_mask, Settings().detect)
    return SimpleNamespace(volume=volume, location=place, detection=found, lesions=found.lesions)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("heads", nargs="+", type=Path)
    parser.add_argument("--seed", type=int, default=1000)
    arguments = parser.parse_args()
    print(
        "| condition | fates of drawn lesions | right | uncertain | wrong | marks without lesion called persisting "
        "| alignment error, worst |\n|---|---|---|---|---|---|---|"
    )
    for number, (name, condition) in enumerate(CONDITIONS.items()):
        total: Counter[tuple[str, str]] = Counter()
        worst = 0.0
        for index, head in enumerate(arguments.heads):
            table, error = one(head, arguments.seed + 100 * number + index, condition)
            total.update(table)
            worst = max(worst, error)
        drawn = {key: n for key, n in total.items() if key[0] != "no lesion"}
        right = sum(n for (truth, told), n in drawn.items() if truth == told)
        unsure = sum(n for (_, told), n in drawn.items() if told == "uncertain")
        n = sum(drawn.values())
        false = sum(n for (truth, _), n in total.items() if truth == "no lesion")
        kept = total["no lesion", "persisting"]
        print(
            f"| {name} | {n} | {100 * right / n:.1f} % | {unsure} | {n - right - unsure} | {kept} of {false} "
            f"| {worst:.2f} mm |",
            flush=True,
        )


if __name__ == "__main__":
    main()
