"""Recall, false positives and calibration of scored tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from miliary_seg.detect.classifier import DARK
from miliary_seg.detect.delineate import true_radius_mm
from miliary_seg.detect.quality import DARK_SEQUENCES
from miliary_seg.detect.rejection import CONTRAST_LEAST, same_object

BINS = [(a, b, c, d) for a, b in ((1.5, 3), (3, 5), (5, 8.01)) for c, d in ((3, 5.5), (5.5, 10), (10, 17), (17, 30.1))]
"""Diameter in mm and contrast in noise standard deviations, from and to."""
MOST = 1500
"""Candidates of a head that are looked at, the likeliest first."""


def survivors(d: dict) -> np.ndarray:
    """Candidates that the program would keep as separate objects, in order of falling probability."""
    order = np.argsort(-d["p"], kind="stable")
    order = order[d["X"][order, d["names"].index("contrast_to_noise")] >= CONTRAST_LEAST][:MOST]
    return order[np.unique(same_object(d["pos"][order].astype(float), d["radius"][order].astype(float)))]


def judged(d: dict) -> dict:
    """Probability, number of slices and place of the false ones; best probability of each lesion."""
    kept = survivors(d)
    label, owner, p = d["label"][kept], d["owner"][kept], d["p"][kept]
    best = np.zeros(len(d["cnr"]))
    hit = (owner >= 0) & (label != 0)
    np.maximum.at(best, owner[hit], p[hit])
    false = kept[label == 0]
    diameter = 2 * true_radius_mm(d["radius"][false].astype(float), float(d["spacing"][1]))
    sections = np.maximum(1, np.rint(diameter / d["spacing"][0]))
    return {"best": best, "false": d["p"][false], "sections": sections, "z": d["pos"][false, 0] / d["spacing"][0]}


def per_slice(j: dict, d: dict, threshold: float) -> tuple[float, int]:
    """Mean and worst number of false cross-sections a slice."""
    use = j["false"] >= threshold
    count = np.zeros(int(d["nslices"]) + 400)
    for z, n in zip(j["z"][use], j["sections"][use], strict=True):
        first = max(0, round(z - (n - 1) / 2))
        count[first : first + int(n)] += 1
    return float(count.sum() / max(1, int(d["nslices"]))), int(count.max())


def recalls(pairs: list[tuple[dict, dict]], threshold: float) -> dict:
    """Recall (%) of visible lesions (>= 3 mm, contrast >= 10), of all, and by bin."""
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
    return float(every[min(int(wanted * len(pairs)), len(every) - 1)])


def threshold_for(pairs: list[tuple[dict, dict]], wanted: float) -> float:
    """Least threshold with at most ``wanted`` false cross-sections a slice, mean over heads."""
    for t in np.linspace(0.01, 0.99, 99):
        if np.mean([per_slice(j, d, t)[0] for d, j in pairs]) <= wanted:
            return float(t)
    return 0.99


def reliability(tables: list[dict], bins: int = 10) -> dict:
    """Predicted against observed, and the expected error above 0.05; crowded scenes count less."""
    p, y, w = (np.concatenate([d[k][d["label"] >= 0] for d in tables]) for k in ("p", "label", "weight"))
    p, y, w = p[p > 0.05], y[p > 0.05], w[p > 0.05]
    which = np.minimum((p * bins).astype(int), bins - 1)
    parts = [which == b for b in range(bins) if (which == b).any()]
    means = [(np.average(p[k], weights=w[k]), np.average(y[k], weights=w[k])) for k in parts]
    table = [[round(float(a), 3), round(float(b), 3), int(k.sum())] for (a, b), k in zip(means, parts, strict=True)]
    error = sum(w[k].sum() / w.sum() * abs(a - b) for (a, b), k in zip(means, parts, strict=True))
    return {"error_above_0.05": round(float(error), 3), "predicted_observed_number": table}


SLICES_MM = {"up to 2.25 mm": (0, 2.3), "3 mm": (2.3, 4.5), "5 mm": (4.5, 5.5), "6.5 mm": (5.5, 9)}
DARK_SLICES_MM = {"up to 2.25 mm": (0, 2.3), "thicker": (2.3, 9)}


def of_replacing(pairs: list[tuple[dict, dict]]) -> dict:
    """Recall (%) of lesions that replace tissue, by contrast and slices, at 20 and 100 false ones a scan."""
    out = {}
    for contrast in ("t1", "flair", "t2", *sorted(DARK_SEQUENCES)):
        for label, (low, high) in (DARK_SLICES_MM if contrast in DARK_SEQUENCES else SLICES_MM).items():
            own = [
                q for q in pairs if q[0]["contrast"] in (contrast, f"{contrast}c") and low < q[0]["spacing"][0] <= high
            ]
            free, full = [q for q in own if "__r" in q[0]["file"]], [q for q in own if "__q" in q[0]["file"]]
            if free and full:
                at = {n: at_mean_false(free, n) for n in (20, 100)}
                found = {f"at {n}": shares(full, t) for n, t in at.items()}
                out[f"{contrast}, {label}"] = {
                    "scans": len(full),
                    "free": len(free),
                    "thresholds": list(at.values()),
                } | found
    return out


def shares(pairs: list[tuple[dict, dict]], threshold: float) -> dict:
    """Recall (%): all, visible (>= 3 mm, >= 50 % above or below white matter), beside vessels, rings, real plaques."""
    best = np.concatenate([j["best"] for _, j in pairs]) >= threshold
    size, lift, kind, place = (
        np.concatenate([d[k] for d, _ in pairs]) for k in ("diam", "enhancement", "kind", "place")
    )
    real = kind == "real"
    groups = {
        "all": ~real,
        "visible": ~real & (size >= 3) & (lift >= 0.5),
        "beside vessels": ~real & (place == "vessel"),
        "rings 5-8 mm": (kind == "ring") & (size >= 5),
        "real plaques": real,
    }
    return {name: [round(100 * float(best[q].mean())), int(q.sum())] for name, q in groups.items() if q.any()}


KINDS = ("all", "t1", "flair", "t2", "ct")
"""As `miliary_seg.detect.classifier.KINDS`; T1 before and after contrast are one, ``all`` is MR."""
FEW = 3
"""A kind with lesion-free scans of fewer persons gets no lower threshold than all MR scans together."""
FALSE_PER_SLICE = {"high": 1.0, "balanced": 0.5, "specific": 0.1}
"""False cross-sections a slice that each operating point may give on lesion-free scans of its kind, mean over persons;
on CT, whose rule asks for half as many lesions, half of it."""


def operating_points(pairs: list[tuple[dict, dict]], kinds: tuple[str, ...]) -> dict:
    """Threshold, recall and false cross-sections a slice of each operating point for each kind of scan.

    False ones are those of lesion-free scans of real heads (CT: of painted ones too; of dark lesions: of painted ones
    alone), each person as much as another. Recall is that of lesions that replace tissue, of 3-8 mm and 50 % or more
    above (dark ones: below) white matter (CT: of implanted balls of 3-8 mm and contrast >= 10).
    """
    out = {}
    for kind in kinds:
        own = [q for q in pairs if q[0]["sign"] == sign_of(kind) and is_of(kind, q[0]["contrast"])]
        full = [q for q in own if len(q[0]["cnr"]) and ("__q" in q[0]["file"]) == (kind != "ct")]
        free = [q for q in own if "__r" in q[0]["file"] or len(q[0]["cnr"]) == 0]
        if kind not in ("ct", DARK):
            free = [q for q in free if not q[0]["person"].startswith("seg")]
        out[kind] = {"persons": len({q[0]["person"] for q in free})}
        for name, wanted in FALSE_PER_SLICE.items():
            most = wanted / 2 if kind == "ct" else wanted
            t = next((t for t in np.linspace(0.02, 0.98, 193) if mean_false(free, t) <= most), 0.98)
            if out[kind]["persons"] < FEW and "all" in out:
                t = max(t, out["all"][name]["probability"])
            found = recalls(full, t)["visible"] if kind == "ct" else shares(full, t)["visible"][0]
            worst = max(per_slice(j, d, t)[1] for d, j in free)
            out[kind][name] = {
                "probability": round(float(t), 3),
                "recall": round(found / 100, 2),
                "false_positives_per_slice": round(mean_false(free, t), 2),
                "worst_slice": worst,
            }
    return out


def is_stored_of(path: Path, kinds: tuple[str, ...]) -> bool:
    """Whether a stored scene or table is of one of some kinds; ``all``: every one is."""
    with np.load(path, allow_pickle=False) as stored:
        return "all" in kinds or any(is_of(kind, str(stored["contrast"])) for kind in kinds)


def sign_of(kind: str) -> int:
    """Polarity of the lesions that a kind of scan is judged by."""
    return -1 if kind == DARK else 1


def is_of(kind: str, contrast: str) -> bool:
    """Whether scans of a contrast belong to a kind."""
    if kind == DARK:
        return contrast in DARK_SEQUENCES
    return contrast != "ct" if kind == "all" else contrast in (kind, f"{kind}c")


def mean_false(pairs: list[tuple[dict, dict]], threshold: float) -> float:
    """False cross-sections a slice: mean over persons of the means over their scans."""
    persons = sorted({d["person"] for d, _ in pairs})
    of_person = [[per_slice(j, d, threshold)[0] for d, j in pairs if d["person"] == who] for who in persons]
    return float(np.mean([np.mean(values) for values in of_person]))
