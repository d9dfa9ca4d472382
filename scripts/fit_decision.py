"""Fit the count model and the recall curves, and measure the count model on persons left out.

Reads one folder a person, with the outputs of ``bench decision`` anywhere in it. Prints, for T1 and for FLAIR and each
range of slice thickness: the count model of all persons, the answers and intervals that each person's scans get by the
model of the others, how well P(threshold reached) is calibrated, and the recall curves with their tables
(docs/measurements/decision.md and detection.md).
"""

import csv
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy.optimize import minimize
from scipy.stats import nbinom

from miliary_seg.decide.true_count import (
    NOTHING,
    SIZES_MM,
    SMALLEST_SHAPE,
    TYPICAL_MM,
    CountModel,
    at_least,
)
from miliary_seg.detect.recall import REFERENCE_MM, TYPICAL_ENHANCEMENT
from miliary_seg.domain.decision import count_interval
from miliary_seg.domain.sequence import Sequence

FAMILIES = {Sequence.T1C: (Sequence.T1C, Sequence.T1), Sequence.FLAIR: (Sequence.FLAIR,)}
"""Sequences that share curves and models, by the one they are named after."""
EDGES_MM = (0.0, 2.25, 4.0, 5.75, 7.0)
COUNT_EDGES_MM = {Sequence.T1C: EDGES_MM, Sequence.FLAIR: (0.0, 5.75)}
"""Five persons are too few for a count model of each thickness: FLAIR has one for all."""
LARGEST_SHAPES = {Sequence.T1C: 12.0, Sequence.FLAIR: 6.0}
"""Of 3 to 30, those whose intervals held the truth most often for their width, on persons left out."""
TYPICAL = np.array([0.0, 1.0, 0.0, 2.0, 0.0])
PULLS = np.array([0.0, 2.0, 0.3, 0.05, 0.5])
"""Log scale, power, power of the size, log shape and power of the shape, and weak pulls there: few scans shall make no
steep curve."""
THRESHOLD, MET, NOT_MET = 20, 0.8, 0.05
"""The rule, and the probabilities from which on and up to which it is answered (settings of ``decide``)."""
BANDS = ((0, 0), (1, 9), (10, 17), (18, 24), (25, 29), (30, 10_000))
CHANCES = (0, 0.05, 0.2, 0.5, 0.8, 0.95, 1.01)
DIAMETERS_MM, ENHANCEMENTS = (1.5, 2, 3, 4, 6, 8), (0.2, 0.4, 0.7, 1.0, 1.5)


def read(folders, name):
    """Rows of all tables of a name below the folders, each with its person."""
    for folder in map(Path, folders):
        for path in sorted(folder.rglob(name)):
            for row in csv.DictReader(path.read_text("utf-8").splitlines()):
                yield row | {"person": folder.name}


def chosen(rows, family, low_mm, high_mm):
    """Rows of a family of sequences and a range of slice thickness."""
    kinds = FAMILIES[family]
    return [row for row in rows if row["sequence"] in kinds and low_mm < float(row["thickness_mm"]) <= high_mm]


def column(rows, name):
    """Numbers of one column."""
    return np.array([float(row[name]) for row in rows])


def design(rows):
    """Columns 1, log sum and log size."""
    size = np.clip(column(rows, "size_mm"), *SIZES_MM) / TYPICAL_MM
    return np.column_stack([np.ones(len(rows)), np.log(column(rows, "expected") + NOTHING), np.log(size)])


def law(parameters, columns, largest):
    """Mean and shape of the negative binomial."""
    mean = np.exp(np.clip(columns @ parameters[:3], -4, 6))
    log_shape = parameters[3] + parameters[4] * columns[:, 1]
    return mean, np.exp(np.clip(log_shape, np.log(SMALLEST_SHAPE), np.log(largest)))


def fit(columns, counts, largest):
    """Most likely parameters, with the weak pulls."""

    def loss(parameters):
        mean, shape = law(parameters, columns, largest)
        pull = PULLS @ (parameters - TYPICAL) ** 2
        return -nbinom.logpmf(counts, shape, shape / (shape + mean)).sum() + pull

    starts = (TYPICAL + np.array([0, 0, size, shape, 0]) for size in (0, -1) for shape in (0, -2))
    return min((minimize(loss, start, method="Powell") for start in starts), key=lambda found: found.fun).x


def model_of(rows, family, high_mm):
    """The model of these scans."""
    scale, power, size_power, shape, shape_power = fit(design(rows), column(rows, "true_count"), LARGEST_SHAPES[family])
    return CountModel(
        up_to_mm=high_mm,
        scale=round(float(np.exp(scale)), 3),
        power=round(float(power), 3),
        size_power=round(float(size_power), 3),
        shape=round(float(np.exp(shape)), 3),
        shape_power=round(float(shape_power), 3),
        largest_shape=LARGEST_SHAPES[family],
    )


def left_out(rows, family, high_mm):
    """Ends and middle of the interval, and P(threshold reached), of every scan by the model of the other persons."""
    answers = []
    models = {}
    for row in rows:
        others = [other for other in rows if other["person"] != row["person"]]
        if row["person"] not in models:
            models[row["person"]] = model_of(others, family, high_mm)
        counts = models[row["person"]].distribution(float(row["expected"]), float(row["size_mm"]))
        answers.append((*count_interval(counts), at_least(counts, THRESHOLD)))
    return np.array(answers, dtype=float).T


def count_model(rows, family, high_mm):
    """Print the model of all persons and the answers on persons left out; P stated, and whether it came true."""
    counts, persons = column(rows, "true_count"), {row["person"] for row in rows}
    print(f"\n{model_of(rows, family, high_mm)}")
    low, _, high, chance = left_out(rows, family, high_mm)
    held = (low <= counts) & (counts <= high)
    print(f"{family}, {len(rows)} scans of {len(persons)} persons left out: interval holds {held.mean():.3f}\n")
    print("| slices | true count | scans | MET | INDETERMINATE | NOT_MET | interval | width |")
    print("|---|---|---|---|---|---|---|---|")
    marked, slices = column(rows, "marked"), np.median(column(rows, "thickness_mm"))
    for first, last in BANDS:
        here = (counts >= first) & (counts <= last)
        if here.any():
            met = int((here & (marked >= THRESHOLD) & (chance >= MET)).sum())
            not_met = int((here & (marked < THRESHOLD) & (chance <= NOT_MET)).sum())
            band = str(first) if first == last else f"{first}-{last}" if last < BANDS[-1][1] else f"{first} and more"
            numbers = (here.sum(), met, here.sum() - met - not_met, not_met, held[here].sum())
            width = (high - low)[here].mean()
            print(f"| {slices:.3g} mm | {band} | " + " | ".join(map(str, numbers)) + f" | {width:.0f} |")
    return chance, counts >= THRESHOLD


def calibration(chance, reached):
    """Print P(threshold reached), stated and true."""
    for low, high in pairwise(CHANCES):
        here = (chance >= low) & (chance < high)
        if here.any():
            print(f"P {low:.2f}-{high:.2f}: {here.sum()} scans, ", end="")
            print(f"stated {chance[here].mean():.2f}, true {reached[here].mean():.2f}")


def recall_curve(rows, family, high_mm):
    """Print the logistic curve of what is found, and the shares themselves."""
    size, light = column(rows, "diameter_mm"), column(rows, "enhancement")
    found = np.array([row["found"] == "true" for row in rows])
    shown = column(rows, "slices") > 0
    ones = np.ones(len(rows))
    columns = np.column_stack([ones, np.log(size / REFERENCE_MM), np.log(light / TYPICAL_ENHANCEMENT)])
    sign = 2 * found - 1
    level, steep, bright = minimize(lambda b: np.logaddexp(0, -sign * (columns @ b)).sum(), np.zeros(3)).x
    half, most = (REFERENCE_MM * np.exp((np.log(p / (1 - p)) - level) / steep) for p in (0.5, 0.9))
    print(f"\nRecallCurve(up_to_mm={high_mm}, level={level:.2f}, size={steep:.2f}, contrast={bright:.2f})")
    print(
        f"{family}, {len(rows)} lesions: found {found.mean():.3f}, of those that show {found[shown].mean():.3f}; ",
        end="",
    )
    print(f"half from {half:.1f} mm, 90 % from {most:.1f} mm")
    curve = 1 / (1 + np.exp(-columns @ (level, steep, bright)))
    for small, large in pairwise(DIAMETERS_MM):
        cells = []
        for dim, clear in pairwise(ENHANCEMENTS):
            here = (size >= small) & (size < large) & (light >= dim) & (light < clear)
            share = f"{100 * found[here].mean():.0f} ({100 * curve[here].mean():.0f})" if here.any() else "-"
            cells.append(f"{share} of {here.sum()}")
        print(f"| {np.median(column(rows, 'thickness_mm')):.3g} | {small}-{large} | " + " | ".join(cells) + " |")
    for name in ("place", "kind"):
        kinds = np.array([row[name] for row in rows])
        large = size > TYPICAL_MM if name == "kind" else size > 0
        shares = [f"{kind} {100 * found[large & (kinds == kind)].mean():.0f}" for kind in np.unique(kinds[large])]
        print(f"{name}: " + ", ".join(shares))


def main(folders):
    """Fit and print."""
    runs = [run for run in read(folders, "runs.csv") if run["pattern"] == "spread" and run["expected"]]
    lesions = list(read(folders, "lesions.csv"))
    for family in FAMILIES:
        outcomes = [
            count_model(here, family, high_mm)
            for low_mm, high_mm in pairwise(COUNT_EDGES_MM[family])
            if (here := chosen(runs, family, low_mm, high_mm))
        ]
        if outcomes:
            calibration(*map(np.concatenate, zip(*outcomes, strict=True)))
        for low_mm, high_mm in pairwise(EDGES_MM):
            if here := chosen(lesions, family, low_mm, high_mm):
                recall_curve(here, family, high_mm)


if __name__ == "__main__":
    main(sys.argv[1:])
