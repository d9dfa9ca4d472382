"""Recall at equal false positives beside another detector, on the same implanted heads, in one run.

    python tests/benchmarks/beside_baseline.py DETECTOR.py [--hosts SCAN ...] [--heads 3] [--thickness-mm 1 3 5]

DETECTOR.py holds ``candidates(array, spacing_mm, mask, polarity)`` with arrays (slice, row, column), and ``nms(places,
radii, scores, within_radii, least_mm)``, as the prototype of this project has. Both sides get the same voxels and the
same mask, keep separate objects only, and are judged by ``bench``'s own matching. Prints the table of docs/bench.md.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np

from miliary_seg.detect import find
from miliary_seg.detect.rejection import same_object
from miliary_seg.domain.sequence import Polarity
from miliary_seg.lab.bench.hosts import given_hosts, head_of
from miliary_seg.lab.bench.scenes import BenchPlan, Scene, drawn_hosts, scenes_of, spec_of
from miliary_seg.lab.bench.scoring import Findings, MatchRule
from miliary_seg.lab.bench.scoring.froc import Marks, marks_of, sensitivity_at
from miliary_seg.lab.bench.selftest import true_findings
from miliary_seg.lab.bench.sides import BY_THRESHOLD
from miliary_seg.lab.phantom import Phantom, make
from miliary_seg.settings import DetectSettings, Settings

RATES = (20.0, 100.0)
SEPARATE = 0.7, 1.0
"""Objects closer than this times the larger radius, or this many mm, are one: the same for both sides."""


def ours(made: Phantom, polarity: Polarity) -> Findings:
    """Our candidates that some threshold would accept, as separate objects."""
    found = find(made.volume, made.brain_mask, DetectSettings(polarity=polarity))
    refused = {r.candidate.id for r in found.rejections if r.rule not in {*BY_THRESHOLD, "overlap"}}
    kept = sorted((c for c in found.candidates if c.id not in refused), key=lambda c: -c.probability)
    places = np.array([c.centroid_ras_mm for c in kept]).reshape(-1, 3)
    alone = np.unique(same_object(places, np.array([c.diameter_mm / 2 for c in kept])))
    return Findings.of(places[alone], scores=[kept[n].probability for n in alone])


def theirs(detector: ModuleType, made: Phantom, polarity: Polarity) -> Findings:
    """The other detector's candidates, as separate objects."""
    volume, axis = made.volume, made.volume.slice_axis
    voxels, mask = (np.ascontiguousarray(np.moveaxis(a, axis, 0)) for a in (volume.voxels, made.brain_mask))
    order = [axis, *(a for a in range(3) if a != axis)]
    spacing = np.array(volume.grid.spacing_mm)[order]
    found, context = detector.candidates(voxels, spacing, mask, str(polarity))
    alone = detector.nms(found["pos"], found["r"], found["score"], *SEPARATE)
    ijk = np.empty((int(alone.sum()), 3))
    ijk[:, order] = (found["pos"][alone] + (context["off"] if context else 0.0)) / spacing
    return Findings.of(volume.grid.to_ras_mm(ijk), scores=found["score"][alone])


def scenes(options: argparse.Namespace) -> Iterator[Scene]:
    """One scene with lesions of every size and contrast a head and slice thickness."""
    hosts = given_hosts(options.hosts) if options.hosts else drawn_hosts(options.heads, options.seed)
    plan = BenchPlan(hosts=hosts, thicknesses_mm=tuple(options.thickness_mm), families=("lesions",), seed=options.seed)
    yield from scenes_of(plan)


def line(*cells: object) -> None:
    """One row of a table."""
    sys.stdout.write("| " + " | ".join(map(str, cells)) + " |\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("detector", type=Path)
    parser.add_argument("--hosts", type=Path, nargs="+", default=[])
    parser.add_argument("--heads", type=int, default=3)
    parser.add_argument("--thickness-mm", type=float, nargs="+", default=(1.0, 3.0, 5.0))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    spec = importlib.util.spec_from_file_location("detector", options.detector)
    assert spec is not None
    assert spec.loader is not None
    detector = importlib.util.module_from_spec(spec)
    sys.modules["detector"] = detector
    spec.loader.exec_module(detector)

    marks: dict[tuple[str, str], list[Marks]] = {}
    visible: dict[str, list[np.ndarray]] = {}
    heads: dict[str, list[str]] = {}
    for scene in scenes(options):
        head = head_of(scene.host, Settings())
        made = make(spec_of(scene, head, 0), head, scene.seed)
        truth = true_findings(made)
        polarity = made.truth.lesions[0].polarity
        start = time.process_time()
        for name, found in (("ours", ours(made, polarity)), ("other", theirs(detector, made, polarity))):
            marks.setdefault((scene.group, name), []).append(marks_of(found, truth, MatchRule()))
        visible.setdefault(scene.group, []).append((truth.diameters_mm >= 3) & (truth.contrasts >= 10))
        heads.setdefault(scene.group, []).append(scene.host.name)
        sys.stderr.write(f"{scene.id}: {len(truth)} lesions, {time.process_time() - start:.1f} s\n")

    line("slices", "scans", "lesions", "false marks a volume", "ours", "other")
    line(*["---"] * 6)
    for group, names in heads.items():
        for lesions, kept in (("3-8 mm, contrast >= 10", visible[group]), ("all, 1.5-8 mm", None)):
            for rate in RATES:
                both = [sensitivity_at(names, marks[group, side], rate, kept) for side in ("ours", "other")]
                line(group, len(names), lesions, f"{rate:g}", *(f"{100 * (found.value or 0):.0f} %" for found in both))


if __name__ == "__main__":
    main()
