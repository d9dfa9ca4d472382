"""Leave-person-out measurement, calibration, operating points, and the weights that the program ships."""

# ruff: noqa: C901, E501

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.ensemble import HistGradientBoostingClassifier

from miliary_seg.detect.delineate import true_radius_mm
from miliary_seg.detect.lesions import CONTRAST_LEAST, overlapped

FOLDS = (
    ("ms26", "seg01", "seg02", "seg03"),
    ("t1c_brain_only", "t1_crop", "seg04", "seg05"),
    ("ms12", "t1_otsu", "t2_2mm", "child", "seg06", "seg07", "seg08"),
)
"""Persons that are left out together."""
NEVER = ("t1_ccbync", "pd_ccbync")
"""Measured on, never trained on (non-commercial licence)."""
MONOTONE = {
    "isolation": 1, "tube_isolation": 1, "contrast_to_noise": 1, "response_mads": 1, "soft_isolation": 1, "far_isolation": 1,
    "far_tube_isolation": 1, "shell_spread": -1, "leak": -1, "through": -1,
}  # fmt: skip
"""Where more of a feature may only ever help (or harm): keeps the trees from learning the accidents of few heads."""
PER_SLICE = {"high": 1.0, "balanced": 0.35, "specific": 0.1}
"""False cross-sections a slice on lesion-free MR heads that each operating point may give, mean over heads."""
KEEP = 0.5
"""Fraction of negatives of training scenes that is fitted on, with weight 1 / KEEP."""


def load(folder: Path) -> list[dict]:
    out = []
    for path in sorted(folder.glob("*.npz")):
        with np.load(path, allow_pickle=False) as stored:
            d = {k: stored[k] for k in stored.files if k not in ("rays", "scalars")}
        for key in ("person", "name", "contrast"):
            d[key] = str(d[key])
        d["names"], d["thick"], d["file"] = [str(n) for n in d["names"]], bool(d["thick"]), path.stem
        d["radius"] = d.get("radius", np.exp(d["X"][:, d["names"].index("log_radius")]))
        out.append(d)
    return out


def model(names: list[str]) -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(
        max_iter=200, learning_rate=0.07, max_leaf_nodes=16, min_samples_leaf=40, l2_regularization=5.0,
        early_stopping=False, random_state=0, monotonic_cst=[MONOTONE.get(n, 0) for n in names],
    )  # fmt: skip


def trained(scenes: list[dict]) -> HistGradientBoostingClassifier:
    rng = np.random.default_rng(3)
    X, y, w = [], [], []
    for d in scenes:
        keep = (d["label"] == 1) | ((d["label"] == 0) & (rng.random(len(d["label"])) < KEEP))
        X.append(d["X"][keep])
        y.append(d["label"][keep] == 1)
        w.append(np.where(d["label"][keep] == 1, 1.0, 1 / KEEP))
    return model(scenes[0]["names"]).fit(np.concatenate(X), np.concatenate(y), sample_weight=np.concatenate(w))


def platt(score: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """a, b of expit(a score + b) by maximum likelihood."""

    def loss(q):
        z = q[0] * score + q[1]
        return np.mean(np.logaddexp(0, z) - y * z)

    a, b = minimize(loss, [1.0, 0.0], method="Nelder-Mead").x
    return float(a), float(b)


def calibration_error(p: np.ndarray, y: np.ndarray, bins: int = 10) -> float:
    which = np.minimum((p * bins).astype(int), bins - 1)
    return float(sum((which == b).mean() * abs(p[which == b].mean() - y[which == b].mean()) for b in set(which)))


def survivors(d: dict, p: np.ndarray) -> np.ndarray:
    """Candidates that the program would keep as separate objects, in order of falling probability."""
    order = np.argsort(-p, kind="stable")
    order = order[d["X"][order, d["names"].index("contrast_to_noise")] >= CONTRAST_LEAST][:4000]
    return order[~overlapped(d["pos"][order].astype(float), d["radius"][order].astype(float))]


def judged(d: dict, p: np.ndarray) -> dict:
    """False probabilities with their number of slices, best probability of each lesion."""
    kept = survivors(d, p)
    label, owner = d["label"][kept], d["owner"][kept]
    best = np.zeros(len(d["cnr"]))
    hit = (owner >= 0) & (label != 0)
    np.maximum.at(best, owner[hit], p[kept][hit])
    false = label == 0
    diameter = 2 * true_radius_mm(d["radius"][kept][false].astype(float), float(d["spacing"][1]))
    sections = np.maximum(1, np.rint(diameter / d["spacing"][0]))
    return {
        "best": best,
        "false": p[kept][false],
        "sections": sections,
        "z": d["pos"][kept][false, 0] / d["spacing"][0],
    }


def per_slice(j: dict, d: dict, threshold: float) -> tuple[float, int]:
    """Mean and worst number of false cross-sections a slice."""
    use = j["false"] >= threshold
    count = np.zeros(int(d["nslices"]) + 400)
    for z, n in zip(j["z"][use], j["sections"][use], strict=True):
        first = max(0, round(z - (n - 1) / 2))
        count[first : first + int(n)] += 1
    return float(count.sum() / max(1, int(d["nslices"]))), int(count.max())


BINS = [(a, b, c, d) for a, b in ((1.5, 3), (3, 5), (5, 8.01)) for c, d in ((3, 5.5), (5.5, 10), (10, 17), (17, 30.1))]


def recalls(pairs: list[tuple[dict, dict]], threshold: float) -> dict:
    """Recall (%) of visible lesions (>= 3 mm, contrast >= 10) and by bin."""
    best = np.concatenate([j["best"] for _, j in pairs])
    size = np.concatenate([d["diam"] for d, _ in pairs])
    cnr = np.concatenate([d["cnr"] for d, _ in pairs])
    hit = best >= threshold

    def share(chosen):
        return round(100 * float(hit[chosen].mean())) if chosen.any() else None

    bins = [share((size >= a) & (size < b) & (cnr >= c) & (cnr < e)) for a, b, c, e in BINS]
    return {"visible": share((size >= 3) & (cnr >= 10)), "all": share(size > 0), "bins": bins}


def at_mean_false(pairs: list[tuple[dict, dict]], wanted: float) -> float:
    """Threshold at which the volumes have ``wanted`` false positives on average."""
    every = np.sort(np.concatenate([j["false"] for _, j in pairs]))[::-1]
    n = int(wanted * len(pairs))
    return float(every[min(n, len(every) - 1)])


def threshold_for(pairs: list[tuple[dict, dict]], wanted: float) -> float:
    grid = np.concatenate([[0.001, 0.002, 0.005], np.linspace(0.01, 0.99, 99)])
    for t in grid:
        if np.mean([per_slice(j, d, t)[0] for d, j in pairs]) <= wanted:
            return float(t)
    return 0.99


def exported(forest: HistGradientBoostingClassifier, names: list[str], prefix: str, ab: tuple[float, float]) -> dict:
    """The forest as plain arrays; the calibration is folded into its values and constant."""
    part: dict[str, list] = {k: [] for k in ("feature", "threshold", "left", "right", "value")}
    roots, offset, depth = [], 0, 0
    for (tree,) in forest._predictors:
        n = tree.nodes
        own = np.arange(len(n))
        leaf = n["is_leaf"].astype(bool)
        roots.append(offset)
        part["feature"].append(np.where(leaf, 0, n["feature_idx"]))
        part["threshold"].append(np.where(leaf, 0, n["num_threshold"]))
        part["left"].append(offset + np.where(leaf, own, n["left"]))
        part["right"].append(offset + np.where(leaf, own, n["right"]))
        part["value"].append(np.where(leaf, n["value"], 0) * ab[0])
        depth = max(depth, int(n["depth"].max()))
        offset += len(n)
    kinds = {"feature": np.int32, "threshold": np.float32, "left": np.int32, "right": np.int32, "value": np.float32}
    out = {prefix + k: np.concatenate(v).astype(kinds[k]) for k, v in part.items()}
    constant = ab[0] * float(forest._baseline_prediction.ravel()[0]) + ab[1]
    out |= {prefix + "names": np.array(names), prefix + "constant": np.float64(constant)}
    return out | {prefix + "depth": np.int32(depth), prefix + "roots": np.array(roots, np.int32)}


def fit(work: Path, *, write: bool) -> None:
    scenes, tests = load(work / "train"), load(work / "eval")
    arrays: dict = {}
    card: dict = {"training_scenes": len(scenes), "test_scenes": len(tests)}
    for thick in (False, True):
        prefix = "thick_" if thick else "thin_"
        own = [d for d in scenes if d["thick"] == thick]
        held = [d for d in tests if d["thick"] == thick]
        usable = own + [d for d in held if d["person"] not in NEVER]
        for fold in FOLDS:
            if not any(d["person"] in fold for d in usable):
                continue
            rest = trained([d for d in usable if d["person"] not in fold])
            for d in usable:
                if d["person"] in fold:
                    d["score"] = rest.decision_function(d["X"])
        final = trained(usable)
        for d in held:
            if d["person"] in NEVER:
                d["score"] = final.decision_function(d["X"])
        a, b = platt(
            np.concatenate([d["score"][d["label"] >= 0] for d in usable]),
            np.concatenate([d["label"][d["label"] >= 0] for d in usable]),
        )
        for d in usable + held:
            d["p"] = expit(a * d["score"] + b)
        names = own[0]["names"]
        arrays |= exported(final, names, prefix, (a, b))
        card[prefix[:-1]] = report(usable, held, (a, b))
        show(prefix[:-1], card[prefix[:-1]], held)
    if write:
        target = Path(__file__).parents[2] / "miliary_seg/detect"
        np.savez_compressed(target / "trees.npz", **arrays)
        (target / "weights").mkdir(exist_ok=True)
        (target / "weights/measured.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")


def show(name: str, card: dict, held: list[dict]) -> None:
    """The card in a few lines; the four-feature logistic of the scouting code beside it where its scores are stored."""
    for key, value in card.items():
        if isinstance(value, dict) and "bins" in value:
            kind, n = key.split(", ")[0], int(key.split()[1])
            some = [d for d in held if d["file"].endswith(f"__{kind}") and "bscore" in d]
            some = [d for d in some if d["contrast"] == "t1c"] or some
            old = [(d, floor_of(d)) for d in some]
            beside = recalls(old, at_mean_false(old, n)) if old else None
            print(name, key, value, "| four-feature logistic:", beside, flush=True)
        else:
            print(name, key, value, flush=True)


def floor_of(d: dict) -> dict:
    """As `judged`, for stored scores of the scouting code (already suppressed)."""
    best = np.zeros(len(d["cnr"]))
    hit = (d["bowner"] >= 0) & (d["blabel"] != 0)
    np.maximum.at(best, d["bowner"][hit], d["bscore"][hit])
    return {"best": best, "false": d["bscore"][d["blabel"] == 0]}


def report(usable: list[dict], held: list[dict], ab: tuple[float, float]) -> dict:
    p = np.concatenate([d["p"][d["label"] >= 0] for d in usable])
    y = np.concatenate([d["label"][d["label"] >= 0] for d in usable])
    pairs = [(d, judged(d, d["p"])) for d in held]
    free_mr = [(d, j) for d, j in pairs if len(d["cnr"]) == 0 and d["contrast"] != "ct"]
    free_ct = [(d, j) for d, j in pairs if len(d["cnr"]) == 0 and d["contrast"] == "ct"]
    out: dict = {
        "platt": [round(q, 3) for q in ab],
        "candidates": len(p),
        "lesion_candidates": int(y.sum()),
        "calibration_error": round(calibration_error(p, y), 4),
        "calibration_error_above_0.05": round(calibration_error(p[p > 0.05], y[p > 0.05]), 3),
        "reliability": [
            [round(float(p[k].mean()), 3), round(float(y[k].mean()), 3), int(k.sum())]
            for k in ((p >= i / 10) & (p < (i + 1) / 10) for i in range(10))
            if k.any()
        ],
    }
    kinds = sorted({d["file"].split("__")[1] for d, _ in pairs if len(d["cnr"])})
    for kind in kinds:
        some = [(d, j) for d, j in pairs if d["file"].endswith(f"__{kind}")]
        t1c = [(d, j) for d, j in some if d["contrast"] == "t1c"] or some
        for n in (20, 100):
            t = at_mean_false(t1c, n)
            out[f"{kind}, {n} a volume"] = {"threshold": round(t, 3), **recalls(t1c, t)}
    for name, wanted in PER_SLICE.items():
        t = threshold_for(free_mr, wanted) if free_mr else 0.3
        out[name] = {"threshold": round(t, 3)}
        for kind, some in (("mr", free_mr), ("ct", free_ct)):
            rates = {d["file"]: [round(q, 2) for q in per_slice(j, d, t)] for d, j in some}
            out[name][f"false_per_slice_{kind}"] = rates
        for kind in kinds:
            some = [(d, j) for d, j in pairs if d["file"].endswith(f"__{kind}")]
            out[name][kind] = recalls(some, t)
    return out
