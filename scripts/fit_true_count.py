"""Fit the count model on runs of ``bench decision`` and measure it on persons left out (docs/measurements/decision.md).

Prints, for each range of slice thickness: the model of all persons; and of each person by the model of the others, how
often the 95 % interval holds the truth, how wide it is, and how well P(threshold reached) is calibrated.
"""

import csv
import sys
from pathlib import Path

import numpy as np
from scipy.optimize import minimize
from scipy.stats import nbinom

EDGES_MM = (0.0, 2.25, 4.0, 5.75, 7.0)
NOTHING, TYPICAL_MM, SIZES_MM = 0.5, 4.0, (2.0, 8.0)
SHAPES = (30.0, 30.0, 15.0, 12.0)
"""Largest shapes: a narrower interval than that of a few dozen scans of twelve persons would be pretended."""
TO_ONE, TO_ZERO = 2.0, 0.3
"""Weak pulls of the power towards 1 and of the power of the size towards 0, so that few scans make no steep curve."""
THRESHOLD = 20


def design(rows):
    """Columns 1, log sum and log size; true counts; names of the heads."""
    total = np.array([float(r["expected"]) for r in rows])
    size = np.clip([float(r["size_mm"]) for r in rows], *SIZES_MM) / TYPICAL_MM
    columns = np.column_stack([np.ones(len(rows)), np.log(total + NOTHING), np.log(size)])
    return columns, np.array([int(r["true_count"]) for r in rows]), np.array([r["host"] for r in rows])


def law(parameters, columns, most):
    """Mean and shape of the negative binomial."""
    mean = np.exp(np.clip(columns @ parameters[:3], -4, 6))
    return mean, most / (1 + np.exp(-parameters[3]))


def fit(columns, counts, most):
    """Most likely parameters, with the weak pulls."""

    def loss(parameters):
        mean, shape = law(parameters, columns, most)
        pull = TO_ONE * (parameters[1] - 1) ** 2 + TO_ZERO * parameters[2] ** 2
        return -nbinom.logpmf(counts, shape, shape / (shape + mean)).sum() + pull

    options = {"maxiter": 8000, "maxfev": 8000, "xatol": 1e-4, "fatol": 1e-4}
    return minimize(loss, [0, 1, 0, 0], method="Nelder-Mead", options=options).x


def left_out(columns, counts, heads, most):
    """Interval and P(threshold reached) of every scan, by the model of the other persons."""
    low, high, chance = (np.zeros(len(counts)) for _ in range(3))
    for head in np.unique(heads):
        here = heads == head
        mean, shape = law(fit(columns[~here], counts[~here], most), columns[here], most)
        share = shape / (shape + mean)
        low[here], high[here] = nbinom.ppf(0.025, shape, share), nbinom.ppf(0.975, shape, share)
        chance[here] = nbinom.sf(THRESHOLD - 1, shape, share)
    return low, high, chance


def main(paths):
    """Fit and print."""
    tables = [csv.DictReader(Path(path).read_text("utf-8").splitlines()) for path in paths]
    rows = [row for table in tables for row in table if row["pattern"] == "spread"]
    chances, truths = [], []
    for low_mm, high_mm, most in zip(EDGES_MM[:-1], EDGES_MM[1:], SHAPES, strict=True):
        here = [row for row in rows if low_mm < float(row["thickness_mm"]) <= high_mm]
        if not here:
            continue
        columns, counts, heads = design(here)
        scale, power, size_power, shape = fit(columns, counts, most)
        shape = most / (1 + np.exp(-shape))
        print(f"CountModel(up_to_mm={high_mm}, scale={np.exp(scale):.3f}, power={power:.3f}, ", end="")
        print(f"size_power={size_power:.3f}, shape={shape:.1f})")
        low, high, chance = left_out(columns, counts, heads, most)
        held = (low <= counts) & (counts <= high)
        print(f"  {len(here)} scans of {len(set(heads))} persons; interval holds {held.mean():.2f}, ", end="")
        print(f"width {np.mean(high - low):.0f}; P stated {chance.mean():.3f}, true {np.mean(counts >= THRESHOLD):.3f}")
        chances, truths = [*chances, *chance], [*truths, *(counts >= THRESHOLD)]
    chances, truths = np.array(chances), np.array(truths)
    for low, high in ((0, 0.05), (0.05, 0.2), (0.2, 0.5), (0.5, 0.8), (0.8, 0.95), (0.95, 1.01)):
        here = (chances >= low) & (chances < high)
        if here.any():
            print(f"P {low:.2f}-{high:.2f}: {here.sum()} scans, ", end="")
            print(f"stated {chances[here].mean():.2f}, true {truths[here].mean():.2f}")


if __name__ == "__main__":
    main(sys.argv[1:])
