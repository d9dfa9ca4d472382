"""Trust of the brain mask on simulated people, and how its weights are fitted: docs/measurements/compartments.md.

    python tests/benchmarks/mask_trust.py simulate LABEL_MAP... --output simulated.csv [--count 40]
    miliary-seg bench masks SCANS --output real
    python tests/benchmarks/mask_trust.py fit simulated.csv real/masks.csv

``simulate``: scans of `simulated_heads.py` and `new_people.py` in turn; the reference is the brain's labels closed by
5 mm, without a skull the mask as found. ``fit`` prints what each half of the people says of the other, then the
weights of all. A person is the first word of a head's name.
"""

from __future__ import annotations

import argparse
import csv
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from locate_accuracy import good_scans, reference_mask
from new_people import new_people_scans
from scipy import optimize
from simulated_heads import Simulated, is_ct

from miliary_seg.domain.grid import Grid
from miliary_seg.domain.sequence import Modality
from miliary_seg.domain.volume import Volume
from miliary_seg.lab.bench.masks import FOUND, WRONG, MaskRun, judged, mask_sections, write_masks
from miliary_seg.locate import locate
from miliary_seg.locate.mask_trust import MIN_FLUID_CONTRAST, departures
from miliary_seg.locate.pipeline import view_of_mask
from miliary_seg.locate.reorient import CanonicalView
from miliary_seg.settings import Settings

RIGHT = 0.08
"""Masks as found that let in and lose less than this count as right in the fit; those between this and ``WRONG`` do
not count."""
RIGHT_WEIGHT, RIDGE = 2.0, 0.3
FLOORS = {"missing": 20.0, "beyond": 20.0, "holes": 15.0, "islands": 15.0, "bone": 90.0, "partly_bone": 18.0}
"""Least weights of what no right mask has: few spoiled ones have nothing else."""
CEILING = 30.0
"""Largest weight of what has no larger least one."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=("simulate", "fit"))
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--count", type=int, default=40)
    arguments = parser.parse_args()
    if arguments.verb == "fit":
        fit(arguments.files)
        return
    runs = [run for made in scans(arguments.files, arguments.count) for run in simulated(*made)]
    write_masks(runs, [], arguments.output)
    for section in mask_sections(runs):
        print(section.title, *section.rows, sep="\n")


def scans(maps: list[Path], count: int) -> Iterator[tuple[str, Simulated]]:
    """Ordinary scans and people who do not exist in turn, ``count`` in all, named by their label map."""
    ordinary, strange = good_scans(maps, count), new_people_scans(maps, count)
    for n in range(count):
        name, person, _, make = next(ordinary if n % 2 else strange)
        number = maps.index(next(m for m in maps if m.name == person)) if n % 2 else int(person.split()[-1]) % len(maps)
        scan = make()  # type: ignore[operator]
        yield f"p{number + 1} {name} {scan.contrast}", scan


def simulated(name: str, scan: Simulated) -> Iterator[MaskRun]:
    grid = Grid(shape=scan.voxels.shape, affine=scan.affine)  # type: ignore[arg-type]
    modality = Modality.CT if is_ct(scan.contrast) else Modality.MR
    volume = Volume(voxels=np.ascontiguousarray(scan.voxels), grid=grid, modality=modality)
    place = locate(volume)
    view = view_of_mask(volume, place)
    if view is None:
        return
    truth = view.mask
    if not view.stripped:
        closed = reference_mask(scan.labels, np.array(grid.spacing_mm))
        truth = view.of_scan(CanonicalView.of(grid).view(closed))
    yield from judged(name, view, truth, Settings(), fit_trusted=place.registration.trusted)


def fit(files: list[Path]) -> None:
    rows = [row for path in files for row in csv.DictReader(path.open()) if row["fit_trusted"] == "true"]
    amount = np.array([max(float(row["let_in"]), float(row["lost"])) for row in rows])
    wrong, right = amount > WRONG, (amount < RIGHT) & np.array([row["kind"] == FOUND for row in rows])
    sizes = [departures({key: float(value) for key, value in row.items() if is_number(value)}) for row in rows]
    names = list(sizes[0])
    table = np.array([list(size.values()) for size in sizes])
    alike = np.array([float(row["fluid_contrast"]) < MIN_FLUID_CONTRAST for row in rows])
    people = np.array([re.split(r"[ _-]", row["head"])[0] for row in rows])
    odd = np.isin(people, np.unique(people)[::2])
    for where, text in ((odd, "even people"), (~odd, "odd people"), (np.ones_like(odd), "")):
        use = (wrong | right) & ~alike & where
        weights = fitted(table[use], right[use], names)
        said = (table @ weights[:-1] + weights[-1] > 0) & ~alike
        judged_on = ~where if text else where
        print(
            text or "all", f"{int((said & wrong & judged_on).sum())} of {int((wrong & judged_on).sum())} wrong trusted,"
        )
        print(f"    {int((~said & right & judged_on).sum())} of {int((right & judged_on).sum())} right refused")
    print({name: round(-float(w), 2) for name, w in zip(names, weights, strict=False)}, f"intercept {weights[-1]:.2f}")


def is_number(text: str) -> bool:
    return bool(re.fullmatch(r"-?[\d.]+(e-?\d+)?", text))


def fitted(table: np.ndarray, right: np.ndarray, names: list[str]) -> np.ndarray:
    """Logistic regression with weights of at most 0, between ``FLOORS`` and ``CEILING``; the intercept comes last."""
    spread = table.std(axis=0) + 1e-6
    scaled, sign, counts = table / spread, np.where(right, 1, -1), np.where(right, RIGHT_WEIGHT, 1.0)

    def cost(weights: np.ndarray) -> tuple[float, np.ndarray]:
        margin = sign * (scaled @ weights[:-1] + weights[-1])
        slope = -counts * sign / (1 + np.exp(np.clip(margin, -500, 500)))
        total = (counts * np.logaddexp(0, -margin)).sum() + RIDGE / 2 * (weights[:-1] ** 2).sum()
        return float(total), np.append(scaled.T @ slope + RIDGE * weights[:-1], slope.sum())

    least = np.array([FLOORS.get(name, 0.0) for name in names])
    bounds = [*zip(-np.maximum(CEILING, least) * spread, -least * spread, strict=True), (None, None)]
    start = np.append(-least * spread, 0.0)
    found = optimize.minimize(cost, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 2000}).x
    return np.append(found[:-1] / spread, found[-1])


if __name__ == "__main__":
    main()
