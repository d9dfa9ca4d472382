"""The fitter of the trees: leave-person-out measurement, calibration, operating points, and the trees that the program
ships."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from fresh import is_fresh, of_table
from measure import (
    FALSE_PER_SLICE,
    KINDS,
    at_mean_false,
    is_of,
    is_stored_of,
    judged,
    of_replacing,
    operating_points,
    per_slice,
    recalls,
    reliability,
    sign_of,
    threshold_for,
)
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.ensemble import HistGradientBoostingClassifier

from miliary_seg.detect.classifier import WITH_OWN_TREES
from miliary_seg.detect.feature_table import FEATURES

FOLDS = (
    ("ms26", "sag2d", "seg01", "seg02", "seg03", "btp01", "btp02", "btp03"),
    ("t1c_brain_only", "t1_crop", "child", "seg04", "seg05", "btp04", "btp05"),
    ("ms12", "t1_otsu", "t2_2mm", "seg06", "seg07", "seg08", "btp06", "btp08", "remind"),
)
"""Persons that are left out together, with everything painted from them or implanted in them."""
RISING = ("isolation", "tube_isolation", "contrast_to_noise", "response_mads", "soft_isolation", "far_isolation")
RISING += ("far_tube_isolation", "local_contrast")
FALLING = ("shell_spread", "leak", "through")
"""Where more of a feature may only ever help (or harm): keeps the trees from learning the accidents of few heads."""
SHAPE = {
    "max_iter": 200,
    "learning_rate": 0.07,
    "max_leaf_nodes": 16,
    "min_samples_leaf": 40,
    "l2_regularization": 5.0,
    "early_stopping": False,
    "random_state": 0,
}
KEEP, KEEP_EASY = 0.3, 0.08
"""Share of negatives that is fitted on, weighing as much more; of those less isolated 2 mm outside than 0."""
TYPICAL = 58
"""Lesions of a scene count together as at most so many, so that crowded scenes do not raise the probability of all
(`miliary_seg.detect.prevalence.TYPICAL_LESIONS`)."""
CLEAR = {"contrast_to_noise": 15.0, "response_mads": 20.0}
"""Above these a blob is clear and clearer is no likelier: nothing is learned beyond, so that a scan of very low noise
(denoised, interpolated) is judged as one of ordinary noise is."""
PER_SLICE = {"high": (1.0, 1.0), "balanced": (0.3, 0.26), "specific": (0.1, 0.1)}
"""False cross-sections a slice that each operating point may give on lesion-free MR, mean over heads: thin, thick."""
USUAL = ("a3", "b3", "c3", "d3", "m3")
"""Test scenes that stand for an operating point: bright lesions at 3 % noise; 0.9 mm, or 3 and 5 mm slices."""
TARGET = Path(__file__).parents[2] / "miliary_seg/detect"
EVERY = ("all", *sorted(WITH_OWN_TREES))
"""Kinds of scans with trees of their own; ``all`` is the rest, whose trees learn from every scan."""


def load(work: Path, kinds: tuple[str, ...]) -> list[dict]:
    """The tables of the fit and of the tests that are of some kinds; `all`: every one."""
    found = [d | {"lesson": True} for d in _tables(work / "train_table", kinds)]
    return found + [d | {"lesson": False} for d in _tables(work / "test_table", kinds)]


def _tables(folder: Path, kinds: tuple[str, ...]) -> list[dict]:
    """The tables of a folder that are of some kinds.

    Raises
    ------
    SystemExit
        If a table does not follow from its scene and the present code.
    """
    out = []
    for path in sorted(folder.glob("*.npz")):
        if not is_stored_of(path, kinds):
            continue
        if not is_fresh(path, of_table(folder.with_name(folder.name.removesuffix("_table")) / path.name)):
            raise SystemExit(f"{path} does not follow from its scene and the code: make tables first")
        with np.load(path, allow_pickle=False) as stored:
            table = {k: stored[k] for k in stored.files}
        table |= {k: str(table[k]) for k in ("person", "name", "contrast", "digest")}
        table |= {"names": [str(n) for n in table["names"]], "thick": bool(table["thick"]), "file": path.stem}
        out.append(table)
    return out


def parts(tables: list[dict], kinds: tuple[str, ...]) -> list[tuple[str, list[dict]]]:
    """Names of trees, as in ``trees.npz``, each with its tables: all, or those of one kind of scan and its polarity."""
    found = []
    for kind in kinds:
        for slices in ("thin", "thick"):
            own = [d for d in tables if d["thick"] == (slices == "thick")]
            if kind == "all":
                found.append((slices, own))
            else:
                found.append(
                    (f"{kind}_{slices}", [d for d in own if is_of(kind, d["contrast"]) and d["sign"] == sign_of(kind)])
                )
    return found


def fold_of(table: dict) -> int:
    """The fold of a table's person; -1 for persons that are only measured on."""
    return next((n for n, persons in enumerate(FOLDS) if table["person"] in persons), -1)


def trained(tables: list[dict], names: list[str]) -> HistGradientBoostingClassifier:
    """A forest on these tables."""
    rng = np.random.default_rng(3)
    x, y, weight = [], [], []
    columns = [tables[0]["names"].index(n) for n in names]
    for d in tables:
        easy = d["X"][:, d["names"].index("middle_isolation")] < 0
        share = np.where(d["label"] == 1, 1.0, np.where(easy, KEEP_EASY, KEEP))
        keep = (d["label"] >= 0) & (rng.random(len(share)) < share)
        x.append(d["X"][keep][:, columns])
        y.append(d["label"][keep] == 1)
        weight.append((weights(d) / share)[keep])
    table = np.concatenate(x)
    for name, limit in CLEAR.items():
        table[:, names.index(name)] = np.minimum(table[:, names.index(name)], limit)
    rule = [(n in RISING) - (n in FALLING) for n in names]
    model = HistGradientBoostingClassifier(**SHAPE, monotonic_cst=rule)
    return model.fit(table, np.concatenate(y), sample_weight=np.concatenate(weight))


def weights(d: dict) -> np.ndarray:
    """How much each candidate of a table counts: those on lesions less in a crowded scene."""
    return np.where(d["label"] == 1, min(1.0, TYPICAL / max(1, len(d["cnr"]))), 1.0)


def left_out(tables: list[dict], names: list[str]) -> dict[int, HistGradientBoostingClassifier]:
    """Give every table the ``score`` of a forest that has not seen its person.

    Returns
    -------
    dict
        The forests by the fold that they have not seen; that of -1 has seen all.
    """
    columns = [tables[0]["names"].index(n) for n in names]
    lessons = [d for d in tables if d["lesson"]]
    forests = {}
    for fold in (-1, *range(len(FOLDS))):
        forests[fold] = trained([d for d in lessons if fold_of(d) != fold], names)
        for d in tables:
            if fold_of(d) == fold:
                d["score"] = forests[fold].decision_function(d["X"][:, columns])
    return forests


def platt(score: np.ndarray, y: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    """a, b of expit(a score + b) by maximum likelihood."""

    def loss(q):
        z = q[0] * score + q[1]
        return np.average(np.logaddexp(0, z) - y * z, weights=weight)

    a, b = minimize(loss, [1.0, 0.0], method="Nelder-Mead").x
    return float(a), float(b)


def exported(forest: HistGradientBoostingClassifier, names: list[str], prefix: str, ab: tuple[float, float]) -> dict:
    """The forest as plain arrays, a leaf pointing at itself; the calibration is folded into its values and constant."""
    part: dict[str, list] = {k: [] for k in ("feature", "threshold", "left", "right", "value")}
    roots, offset, depth = [], 0, 0
    for (tree,) in forest._predictors:
        n = tree.nodes
        own, leaf = np.arange(len(n)), n["is_leaf"].astype(bool)
        roots.append(offset)
        part["feature"].append(np.where(leaf, 0, n["feature_idx"]))
        part["threshold"].append(np.where(leaf, 0, n["num_threshold"]))
        part["left"].append(offset + np.where(leaf, own, n["left"]))
        part["right"].append(offset + np.where(leaf, own, n["right"]))
        part["value"].append(np.where(leaf, n["value"], 0) * ab[0])
        depth, offset = max(depth, int(n["depth"].max())), offset + len(n)
    kinds = {"feature": np.int32, "threshold": np.float32, "left": np.int32, "right": np.int32, "value": np.float32}
    out = {prefix + k: np.concatenate(v).astype(kinds[k]) for k, v in part.items()}
    constant = ab[0] * float(forest._baseline_prediction.ravel()[0]) + ab[1]
    out |= {prefix + "names": np.array(names), prefix + "constant": np.float64(constant)}
    return out | {prefix + "depth": np.int32(depth), prefix + "roots": np.array(roots, np.int32)}


def fit(work: Path, kinds: tuple[str, ...] = EVERY, *, write: bool) -> None:
    """Fit, measure and print; ``write`` also replaces the trees of the package, and figures of kinds without a network.

    The calibrated log odds of every candidate by trees that have not seen its person go to ``left_out.npz``.
    """
    arrays: dict[int, dict] = {fold: {} for fold in (-1, *range(len(FOLDS)))}
    scores: dict = {}
    card: dict = {}
    for name, own in parts(load(work, kinds), kinds):
        names = [n for n in own[0]["names"] if n in FEATURES]
        forests = left_out(own, names)
        known = [d for d in own if fold_of(d) >= 0]
        for d in own:
            d["weight"] = weights(d)
        a, b = platt(*[np.concatenate([d[k][d["label"] >= 0] for d in known]) for k in ("score", "label", "weight")])
        for d in own:
            scores[f"{name}/{key(d)}"] = (a * d["score"] + b).astype(np.float32)
            d["p"] = expit(a * d["score"] + b)
        for fold, forest in forests.items():
            arrays[fold] |= exported(forest, names, name + "_", (a, b))
        card[name] = report(own, name, (a, b))
        print(name, json.dumps(card[name], indent=1), flush=True)
    _keep(work / "left_out.npz", scores)
    keep_weights(work, "trees.npz", arrays, write=write)
    if write:
        write_figures({name: part for name, part in card.items() if "_" in name})


def write_figures(card: dict) -> None:
    """Card of figures and operating points of the package, beside what there is of other kinds."""
    folder = TARGET / "weights"
    measured = json.loads((folder / "measured.json").read_text("utf-8")) | card
    points = json.loads((folder / "operating_points.json").read_text("utf-8"))
    for name, part in card.items():
        points[name.rpartition("_")[2]] |= of_points(part["points"])
    for file, document in (("measured.json", measured), ("operating_points.json", points)):
        (folder / file).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def of_points(points: dict) -> dict:
    """What the program reads of measured operating points."""
    read = ("probability", "recall", "false_positives_per_slice")
    return {
        kind: {name: {key: row[name][key] for key in read} for name in FALSE_PER_SLICE} for kind, row in points.items()
    }


def keep_weights(work: Path, name: str, arrays: dict[int, dict], *, write: bool) -> None:
    """Store the weights that have not seen a fold in ``without_N``; ``write`` puts those of all into the package."""
    for fold in range(len(FOLDS)):
        folder = work / f"without_{fold}"
        folder.mkdir(exist_ok=True)
        _keep(folder / name, arrays[fold])
    if write:
        _keep(TARGET / name, arrays[-1])


def _keep(path: Path, arrays: dict) -> None:
    """Store arrays beside those of other kinds."""
    before = {}
    if path.exists():
        with np.load(path, allow_pickle=False) as stored:
            before = {k: stored[k] for k in stored.files}
    np.savez_compressed(path, **(before | arrays))


def key(table: dict) -> str:
    """The name of a table's scores in ``left_out.npz``."""
    return f"{'train' if table['lesson'] else 'test'}/{table['file']}"


def report(tables: list[dict], name: str, ab: tuple[float, float]) -> dict:
    """What was measured on persons left out, for weights of a name."""
    lessons, held = [d for d in tables if d["lesson"]], [d for d in tables if not d["lesson"]]
    out: dict = {
        "scenes": len(lessons),
        "lesions": int(sum(len(d["cnr"]) for d in lessons)),
        "candidates": int(sum(len(d["label"]) for d in lessons)),
        "candidates_on_lesions": int(sum((d["label"] == 1).sum() for d in lessons)),
        "platt": [round(q, 3) for q in ab],
        "calibration": reliability(tables),
        "calibration_by_contrast": {
            c: reliability([d for d in tables if d["contrast"] == c])["error_above_0.05"]
            for c in sorted({d["contrast"] for d in tables})
        },
    }
    pairs = [(d, judged(d)) for d in held]
    kinds = sorted(
        {(d["file"].split("__")[1], d["contrast"]) for d in held if len(d["cnr"]) and "__q" not in d["file"]}
    )
    groups = {
        f"{k} {c}": [q for q in pairs if q[0]["file"].endswith(f"__{k}") and q[0]["contrast"] == c] for k, c in kinds
    }
    out["recall"] = {
        f"{name}, {n} a volume": {"heads": len(some), **recalls(some, at_mean_false(some, n))}
        for name, some in groups.items()
        for n in (20, 100)
    }
    out["replacing"] = of_replacing([(d, judged(d)) for d in tables if "__q" in d["file"] or "__r" in d["file"]])
    kind = name.rpartition("_")[0]
    own_points = (kind,) if kind else tuple(k for k in KINDS if k not in WITH_OWN_TREES)
    out["points"] = operating_points(
        [(d, judged(d)) for d in tables if not d["lesson"] or "__q" in d["file"]], own_points
    )
    free = [(d, j) for d, j in pairs if len(d["cnr"]) == 0]
    usual = [(d, j) for d, j in pairs if d["file"].split("__")[1] in USUAL]
    for point, (thin, thick) in PER_SLICE.items():
        wanted = thick if tables[0]["thick"] else thin
        t = threshold_for([q for q in free if q[0]["contrast"] != "ct"], wanted)
        out[point] = {
            "threshold": round(t, 3),
            "recall_usual": recalls(usual, t)["visible"] if usual else None,
            "recall": {name: recalls(some, t)["visible"] for name, some in groups.items()},
            "false_per_slice": {d["file"]: [round(q, 2) for q in per_slice(j, d, t)] for d, j in free},
        }
    return out
