"""Puts lesions into the development scans and asks for a decision: the second table of docs/scans.md.

    python tests/benchmarks/implant_table.py [--only GLOB] [--count N] [--diameter 2 4] [--contrast 5 8] [--dense N]

Four phantoms a head: lesions everywhere; the same number, but two slices are filled until the rule is met on native
slices (``dense``); so on the left only; so above the tentorium only. Truth is exact for places and counts; its sides
and levels come from the atlas fit of the host itself.
"""

from __future__ import annotations

import argparse
import fnmatch
from dataclasses import replace
from pathlib import Path

import numpy as np
from scan_table import EXTRA, SCANS, SHARED, line

from miliary_seg.domain.result import SeriesResult
from miliary_seg.domain.volume import Study, Volume
from miliary_seg.errors import UsageError
from miliary_seg.lab.phantom import Head, LesionSpec, Phantom, PhantomSpec, ScannerSpec, head_from_volume, make
from miliary_seg.lab.phantom.truth import second_best
from miliary_seg.load import load_study
from miliary_seg.locate import locate
from miliary_seg.pipeline import analyze
from miliary_seg.settings import Settings

ON_HOST = ScannerSpec(on_host_grid=True, noise=0.0, bias=0.0)
COLUMNS = (
    "scan",
    "lesions",
    "true counts: most (second apart)",
    "slab",
    "recall",
    "extra",
    "counts found",
    "slab found",
    "verdict",
    "slab reading",
    "reasons",
)


def dense_targets(volume: Volume, brain: np.ndarray, sections: int) -> tuple[tuple[int, int], ...]:
    """Two slices a centimetre apart that must each show ``sections`` cross-sections, at the brain's widest slices."""
    areas = brain.sum(axis=tuple(a for a in range(3) if a != volume.slice_axis))
    middle = int(areas.argmax())
    step = max(2, round(10 / volume.slice_spacing_mm))
    return ((middle, sections), (middle - step, sections))


def variants(lesions: LesionSpec, volume: Volume, brain: np.ndarray, sections: int) -> dict[str, LesionSpec]:
    dense = replace(lesions, slice_targets=dense_targets(volume, brain, sections))
    return {
        "everywhere": lesions,
        "dense": dense,
        "dense, left only": replace(dense, side="left"),
        "dense, supratentorial only": replace(dense, level="supratentorial"),
    }


def matched(made: Phantom, series: SeriesResult) -> tuple[float, int]:
    """Share of true lesions with a found one within their radius (at least 2 mm), and found ones without a true one."""
    truth = np.array([lesion.centre_ras_mm for lesion in made.truth.lesions]).reshape(-1, 3)
    reach = np.maximum(2.0, [lesion.diameter_mm / 2 for lesion in made.truth.lesions])
    found = np.array([lesion.centroid_ras_mm for lesion in series.lesions]).reshape(-1, 3)
    near = np.linalg.norm(truth[:, None] - found[None], axis=2) <= reach[:, None]
    return float(near.any(axis=1).mean()), int((~near.any(axis=0)).sum())


def row(scan: str, name: str, spec: LesionSpec, head: Head) -> str:
    try:
        made = make(PhantomSpec(name=name, lesions=spec, scanner=ON_HOST), head, seed=1)
    except UsageError as error:
        return line((f"`{scan}`", name, *[""] * 7, "not made", "", error.what))
    series = analyze(Study(case=scan, volumes=(made.volume,))).series[0]
    decision, truth = series.decision, made.truth
    recall, extra = matched(made, series)
    slab = next(
        str(r.verdict) for r in decision.readings if r.name.startswith("acquired/equivalent/pairwise/independent")
    )
    counts = f"{max(truth.slice_counts)} ({truth.second_best})"
    found = f"{max(decision.slice_counts)} ({second_best(decision.slice_counts)})"
    reasons = ", ".join(reason.code for reason in decision.reasons)
    values = (name, counts, max(truth.slab_counts), f"{recall:.2f}", extra, found, max(decision.slab_counts))
    return line((f"`{scan}`", *values, decision.verdict, slab, reasons))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="*")
    parser.add_argument("--variant", default="*")
    parser.add_argument("--count", type=int, default=250)
    parser.add_argument("--dense", type=int, default=26, help="cross-sections on each of the two filled slices")
    parser.add_argument("--diameter", type=float, nargs=2, default=(2.0, 4.0))
    parser.add_argument("--contrast", type=float, nargs=2, default=(5.0, 8.0))
    parser.add_argument("--unit", choices=("local", "noise"), default="local")
    wanted = parser.parse_args()
    lesions = LesionSpec(
        count=wanted.count,
        diameter_mm=tuple(wanted.diameter),
        contrast=tuple(wanted.contrast),
        contrast_unit=wanted.unit,
    )
    print(line(COLUMNS), line(["---"] * len(COLUMNS)), sep="\n")
    for scan in fnmatch.filter(SCANS, wanted.only):
        settings = Settings().updated({"load.sequence": EXTRA[scan][1]} if scan in EXTRA else {})
        volume = load_study(Path(SHARED / scan), settings=settings).volumes[0]
        place = locate(volume, settings.locate)
        head = head_from_volume(volume, place.brain_mask, compartments=place.compartments)
        for name, spec in variants(lesions, volume, place.brain_mask, wanted.dense).items():
            if fnmatch.fnmatch(name, wanted.variant):
                print(row(scan, name, spec, head), flush=True)


if __name__ == "__main__":
    main()
