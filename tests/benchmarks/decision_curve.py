"""How often the decision is right, by the true count of lesions a slice; how often heads that do not meet it are MET.

Run by hand::

    python tests/benchmarks/decision_curve.py --repeats 4
    python tests/benchmarks/decision_curve.py --scan head.nii.gz --sequence t1c --counts 0 10 20 30

Phantoms on the shipped template, or lesions put into a scan of one's own. Two slices that are not neighbours carry the
wanted count exactly, no other slice carries more; further lesions see to both sides and levels. Prints tables, writes
nothing.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from miliary_seg.domain.result import CaseResult
from miliary_seg.domain.volume import Study, Volume
from miliary_seg.load import load_study
from miliary_seg.locate import locate
from miliary_seg.phantom import (
    PRESETS,
    Head,
    LesionSpec,
    Phantom,
    PhantomSpec,
    ScannerSpec,
    head_from_volume,
    make,
    preset,
)
from miliary_seg.pipeline import analyze
from miliary_seg.settings import Settings

COUNTS = (0, 5, 10, 15, 18, 20, 22, 25, 30, 40)
NEGATIVE = ("normal", "vessel-rich", "one-sided", "supratentorial-only", "few-large")
SPACE_BETWEEN = 3
"""Slices from one target to the other."""


def host_of(path: Path, settings: Settings) -> Head:
    """A scan of one's own as host."""
    volume = load_study(path, settings=settings).volumes[0]
    place = locate(volume, settings.locate)
    return head_from_volume(volume, place.brain_mask, compartments=place.compartments)


def targeted(base: PhantomSpec, count: int, middle: int) -> PhantomSpec:
    """Exactly ``count`` countable lesions on two slices about the middle of the brain, at most as many elsewhere."""
    targets = ((middle - SPACE_BETWEEN // 2 - 1, count), (middle - SPACE_BETWEEN // 2 - 1 + SPACE_BETWEEN, count))
    lesions = replace(base.lesions, count=2 * count + 2 * count, slice_targets=targets, max_per_slice=count)
    return replace(base, lesions=lesions)


def middle_slice(spec: PhantomSpec, host: Head | None) -> int:
    """The slice in the middle of the brain, where there is most room."""
    empty = make(replace(spec, lesions=replace(spec.lesions, count=0)), host)
    area = empty.brain_mask.sum(axis=tuple(a for a in range(3) if a != empty.volume.slice_axis))
    return int(np.average(np.arange(area.size), weights=area))


def analysed(made: Phantom, settings: Settings) -> CaseResult:
    """Through the pipeline, as if it had come from a file."""
    return analyze(Study(case="phantom", volumes=(made.volume,)), settings)


def matched(made: Phantom, result: CaseResult) -> tuple[int, int]:
    """True lesions with a detected centre within a radius (at least 1.5 mm), and detections that match none."""
    found = np.array([lesion.centroid_ras_mm for lesion in result.series[0].lesions]).reshape(-1, 3)
    hits, used = 0, np.zeros(len(found), dtype=bool)
    for one in made.truth.lesions:
        near = np.linalg.norm(found - one.centre_ras_mm, axis=1) <= max(1.5, one.diameter_mm / 2)
        hits += bool(near.any())
        used |= near
    return hits, int((~used).sum())


def curve(base: PhantomSpec, counts: list[int], hosts: list[Head | None], settings: Settings) -> Iterator[str]:
    """One line a true count."""
    yield f"true/slice  truth  {'verdicts':38s}  found on the two slices    recall  false/scan"
    middles = [middle_slice(base, host) for host in hosts]
    for count in counts:
        verdicts: Counter[str] = Counter()
        truths, on_slices, recall, false = [], [], [], []
        for seed, (host, middle) in enumerate(zip(hosts, middles, strict=True)):
            spec = targeted(base, count, middle)
            made = make(spec, host, seed=seed)
            result = analysed(made, settings)
            series = result.series[0]
            verdicts[str(result.decision.verdict)] += 1
            truths.append(made.truth.meets_rule())
            on_slices += [series.decision.slice_counts[s] for s, _ in spec.lesions.slice_targets]
            hits, extra = matched(made, result)
            recall.append(hits / max(1, len(made.truth.lesions)))
            false.append(extra)
        answers = ", ".join(f"{k} {n}" for k, n in sorted(verdicts.items()))
        share = f"{np.mean(recall):.2f}" if count else "  - "
        met = "MET" if all(truths) else "not" if not any(truths) else "mixed"
        spread = f"{np.mean(on_slices):5.1f} ({min(on_slices)}-{max(on_slices)})"
        yield f"{count:10d}  {met:5s}  {answers:38s}  {spread:25s}  {share}    {np.mean(false):6.1f}"


def specificity(seeds: int, settings: Settings) -> Iterator[str]:
    """One line a preset whose truth does not meet the rule."""
    yield f"{'preset':22s} runs  {'verdicts':38s}  lesions found  most on a slice"
    for name in NEGATIVE:
        verdicts: Counter[str] = Counter()
        lesions, most = [], []
        for seed in range(seeds):
            result = analysed(make(preset(name), seed=100 + seed), settings)
            verdicts[str(result.decision.verdict)] += 1
            lesions.append(len(result.series[0].lesions))
            most.append(max(result.series[0].decision.slice_counts))
        answers = ", ".join(f"{k} {n}" for k, n in sorted(verdicts.items()))
        yield f"{name:22s} {seeds:4d}  {answers:38s}  {np.mean(lesions):13.1f}  {max(most):5d}"


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--counts", type=int, nargs="+", default=list(COUNTS))
    parser.add_argument("--preset", default="miliary", choices=list(PRESETS))
    parser.add_argument("--scan", type=Path, help="put the lesions into this scan instead of the template")
    parser.add_argument("--sequence", default="auto")
    parser.add_argument("--diameter-mm", type=float, nargs=2, default=(2.5, 5.0))
    parser.add_argument("--contrast", type=float, nargs=2, default=(15.0, 30.0), help="in units of the scan's noise")
    parser.add_argument("--thickness-mm", type=float, default=3.0)
    parser.add_argument("--sensitivity", default="balanced", choices=["high", "balanced", "specific"])
    parser.add_argument("--no-specificity", action="store_true")
    given = parser.parse_args()
    settings = Settings().updated({"detect.sensitivity": given.sensitivity, "load.sequence": given.sequence})
    base = preset(given.preset)
    lesions = LesionSpec(diameter_mm=tuple(given.diameter_mm), contrast=tuple(given.contrast), gap_mm=1.5)
    scanner = replace(base.scanner, thickness_mm=given.thickness_mm)
    host = None
    if given.scan:
        host, scanner = host_of(given.scan, settings), ScannerSpec(on_host_grid=True, noise=0.0, bias=0.0)
        scan: Volume | None = host.volume
        base = replace(base, sequence=scan.sequence.sequence if scan else base.sequence)
    base = replace(base, lesions=lesions, scanner=scanner, mimics=replace(base.mimics, vessels=0 if host else 40))
    for lines in (
        curve(base, given.counts, [host] * given.repeats, settings),
        specificity(given.repeats, settings) if not (host or given.no_specificity) else iter(()),
    ):
        for line in lines:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
