"""Tables of docs/compartments.md from rows of `locate_accuracy.py`, and the fit of the trust figure to them.

    python tests/benchmarks/locate_tables.py rows.jsonl [wrong.jsonl ...]

A fit is right where fewer than 2 % of the brain's voxels get a wrong compartment (a wrong level, where the axes were
turned: sides are not used then). The trust figure is fitted anew on all rows and on all people but one; its slope for
the runner-up stays, since rivals are rare.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np
from locate_accuracy import EDGES_MM
from simulated_heads import CONDITIONS

from miliary_seg.locate.assign import MIDLINE_WRONG, TENTORIUM_WRONG, wrong_share
from miliary_seg.locate.quality import COEFFICIENTS, DOUBT, FLOOR_NATS, RUNNER_UP_FROM, RUNNER_UP_SLOPE, assess_trust

RIGHT_PERCENT, WRONG_PERCENT, TRUSTED = 2.0, 5.0, 0.5
RIDGE = 0.5
"""On standardised signs: keeps slopes finite where a sign separates all rows."""
WEIGHT_OF_DOUBTED = 0.3
"""Rows with a finding count less: the finding, not the match, tells that they are wrong."""
HARMLESS = ("no_brain", "weak_match", "reoriented")
CLAIMS = (0.5, 0.7, 0.9, 0.97, 0.99, 0.9985, 1.01)

Row = dict[str, object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="+", type=Path)
    arguments = parser.parse_args()
    rows = [json.loads(line) for path in arguments.rows for line in path.open()]
    rows = [row for row in rows if row["figures"] or row.get("refused")]
    good = [row for row in rows if is_good_kind(row)]
    for title, key in (("condition", "condition"), ("contrast", "contrast"), ("person", "person")):
        by_kind(title, key, good)
    distances(good)
    claims(good)
    masks(good)
    trust_tables(rows)


def is_good_kind(row: Row) -> bool:
    return row["condition"] in (*CONDITIONS, "new")


def used_wrong(row: Row) -> float:
    """% of voxels wrong in what would be used; 100 where there is no brain."""
    key = "level_percent" if row.get("reoriented") else "wrong_percent"
    value = row.get(key)
    return 100.0 if value is None else float(value)  # type: ignore[arg-type]


def by_kind(title: str, key: str, rows: list[Row]) -> None:
    heads = (title, "scans", "wrong %, median", "90th", "worst", "worst trusted", "right and refused", "CPU s")
    print("\n" + line(heads) + "\n" + line(["---"] * len(heads)))
    for kind in [*dict.fromkeys(row[key] for row in rows), "all"]:
        some = [row for row in rows if kind in ("all", row[key])]
        wrong = np.array([used_wrong(row) for row in some])
        trusted = np.array([judged(row) >= TRUSTED for row in some])
        spread = [np.median(wrong), np.percentile(wrong, 90), wrong.max(), wrong[trusted].max(initial=0)]
        refused = ((wrong < RIGHT_PERCENT) & ~trusted).sum()
        cpu = np.median([row.get("cpu_s", 0) for row in some])
        print(line([kind, len(some), *(f"{value:.2f}" for value in spread), refused, f"{cpu:.2f}"]))


def line(cells: Iterable[object]) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def judged(row: Row) -> float:
    """The trust figure by the package's present constants."""
    if not row["figures"]:
        return 0.0
    trust = assess_trust(row["figures"])  # type: ignore[arg-type]
    return trust.figure if trust.brain_found else 0.0


def distances(rows: list[Row]) -> None:
    print("\n" + line(["distance, mm", *(f"{a:g}-{b:g}" for a, b in pairwise(EDGES_MM))]))
    for name in ("tentorium", "midline"):
        shares = np.mean([row[name] for row in rows if name in row and judged(row) >= TRUSTED], axis=0)
        percent = (f"{100 * wrong / max(all_, 1e-12):.2f}" for all_, wrong in zip(*shares, strict=True))
        print(line([f"{name}, % wrong", *percent]))


def claims(rows: list[Row]) -> None:
    """Lesions: what confidence was claimed, and what came out."""
    found = np.array([lesion for row in rows if judged(row) >= TRUSTED for lesion in row.get("lesions", [])])  # type: ignore[attr-defined]
    if not len(found):
        return
    side = found[found[:, 0] >= 0]
    parts = {
        "side": ((side[:, 1] >= 0) != (side[:, 0] > 0), side[:, 1], side[:, 2], MIDLINE_WRONG),
        "level": ((found[:, 4] > 0) != (found[:, 3] > 0), found[:, 4], found[:, 5], TENTORIUM_WRONG),
    }
    for name, (wrong, distance, truth, table) in parts.items():
        far = truth > 3
        print(f"\n{name}: {100 * wrong.mean():.3f} % of {len(wrong)}; beyond 3 mm {wrong[far].sum()} of {far.sum()}")
        sure = np.array([1 - wrong_share(d, table) for d in distance])
        for low, high in pairwise(CLAIMS):
            which = (sure >= low) & (sure < high)
            if which.any():
                claimed, true = 100 * (1 - sure[which].mean()), 100 * wrong[which].mean()
                print(line([f"{low}-{high}", which.sum(), f"{claimed:.2f} %", f"{true:.2f} %"]))


def masks(rows: list[Row]) -> None:
    values = np.array([row["mask"] for row in rows if isinstance(row.get("mask"), list)])
    if len(values):
        names = ("Dice", "cortex lost %", "let in %", "rim lost %", "outer rim lost %", "let in within 2 mm %")
        for name, column in zip(names, values.T, strict=False):  # older rows have the first three
            low, middle, high = np.percentile(column, [10, 50, 90])
            print(f"mask {name}: median {middle:.3f}, 10th {low:.3f}, 90th {high:.3f}")


def trust_tables(rows: list[Row]) -> None:
    rows = [row for row in rows if row["figures"]]
    signs = np.array([sign_values(row["figures"]) for row in rows])  # type: ignore[arg-type]
    wrong = np.array([used_wrong(row) for row in rows])
    right = (wrong < RIGHT_PERCENT).astype(float)
    doubts = np.array([sum(code not in HARMLESS for code in row["reasons"]) for row in rows])  # type: ignore[attr-defined]
    weight = np.where(doubts > 0, WEIGHT_OF_DOUBTED, 1.0)
    people = np.array([row["person"] for row in rows])
    slopes = fitted(signs, right, weight)
    named = zip(("intercept", *COEFFICIENTS, "runner-up"), slopes, strict=True)
    print(f"\nfitted on {len(rows)}: " + ", ".join(f"{name} {slope:.2f}" for name, slope in named))

    def figure(slope: np.ndarray, which: np.ndarray) -> np.ndarray:
        return probability(slope, signs[which]) * DOUBT ** doubts[which]

    held_out = np.zeros(len(rows))
    for person in set(people):
        which = people == person
        held_out[which] = figure(fitted(signs[~which], right[~which], weight[~which]), which)
    everything = np.ones(len(rows), bool)
    now = np.array([judged(row) for row in rows])
    for name, value in (
        ("as shipped", now),
        ("fitted anew", figure(slopes, everything)),
        ("each person left out", held_out),
    ):
        reliability(name, value, wrong, rows)


def sign_values(figures: dict[str, float]) -> list[float]:
    match = [float(np.log(max(figures[name], FLOOR_NATS))) for name in COEFFICIENTS]
    return [*match, float(np.clip((figures["runner_up_ratio"] - RUNNER_UP_FROM) / (1 - RUNNER_UP_FROM), 0, 1))]


def fitted(signs: np.ndarray, right: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Intercept and slopes of a ridge logistic regression, in the signs' own units (Newton's method).

    The last sign, the runner-up, keeps its slope.
    """
    given, signs = RUNNER_UP_SLOPE * signs[:, -1], signs[:, :-1]
    mean, spread = signs.mean(axis=0), signs.std(axis=0)
    design = np.column_stack([np.ones(len(signs)), (signs - mean) / spread])
    ridge = np.diag([1e-6, *[RIDGE] * signs.shape[1]])
    slopes = np.zeros(design.shape[1])
    for _ in range(100):
        p = 1 / (1 + np.exp(-np.clip(design @ slopes + given, -30, 30)))
        gradient = design.T @ (weight * (p - right)) + ridge @ slopes
        curvature = (design * (weight * p * (1 - p))[:, None]).T @ design + ridge
        slopes -= np.linalg.solve(curvature, gradient)
    own = slopes[1:] / spread
    return np.array([slopes[0] - own @ mean, *own, RUNNER_UP_SLOPE])


def probability(slopes: np.ndarray, signs: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-(slopes[0] + signs @ slopes[1:])))


def reliability(name: str, figure: np.ndarray, wrong: np.ndarray, rows: list[Row]) -> None:
    good = np.array([is_good_kind(row) for row in rows])
    trusted, far_off, right = figure >= TRUSTED, wrong > WRONG_PERCENT, wrong < RIGHT_PERCENT
    kept = right & good
    print(f"\n{name}: > 5 % wrong and trusted {(far_off & trusted).sum()} of {far_off.sum()}, ", end="")
    print(f"right scans refused {(kept & ~trusted).sum()} of {kept.sum()}, Brier {np.mean((figure - right) ** 2):.4f}")
    for title, which in (("trusted, > 2 %", trusted & ~right), ("refused", kept & ~trusted)):
        rest = (
            f"{rows[i]['name']} {rows[i]['contrast']} {wrong[i]:.1f} % ({figure[i]:.2f})" for i in np.flatnonzero(which)
        )
        print(f"  {title}: " + "; ".join(rest))
    for low, high in pairwise((0, 0.1, 0.5, 0.9, 0.98, 1.01)):
        which = (figure >= low) & (figure < high)
        if which.any():
            print(line([f"{low}-{high}", which.sum(), f"{figure[which].mean():.2f}", f"{right[which].mean():.2f}"]))


if __name__ == "__main__":
    main()
