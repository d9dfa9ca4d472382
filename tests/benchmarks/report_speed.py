"""What it costs to write a result: 400 lesions in a head of 256 x 256 x 256 voxels. Figures of docs/performance.md.

    python tests/benchmarks/report_speed.py [--repeat N]

The lesions are balls put into a phantom's head, so that their number is what the goal says; all else is the program's
own. Processor time of this process, medians; peak memory is the operating system's, analysis included.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import perf_counter, process_time

import numpy as np

import miliary_seg as ms
from miliary_seg.domain.compartment import Assignment, Compartment
from miliary_seg.domain.grid import Grid
from miliary_seg.domain.lesion import Lesion
from miliary_seg.domain.result import CaseResult
from miliary_seg.domain.volume import LabelMap, Volume
from miliary_seg.lab import phantom
from miliary_seg.report.dicom.images import write_series
from miliary_seg.report.dicom.references import source_images, stamp
from miliary_seg.report.dicom.rtstruct import structure_set
from miliary_seg.report.dicom.seg import segmentation
from miliary_seg.report.dicom.sr import measurements
from miliary_seg.settings import Settings

SIDE, COUNT, RADIUS = 256, 400, 2.2
GOALS_S = {"SEG, binary": 2.0, "everything": 3.0}


def head() -> Volume:
    """A phantom without lesions, padded to the size of the goal."""
    spec = phantom.preset("normal")
    scanner = replace(spec.scanner, pixel_mm=0.8, thickness_mm=0.8)
    volume = phantom.make(replace(spec, scanner=scanner), seed=1).volume
    start = (np.array(volume.grid.shape) - SIDE) // 2
    voxels = np.zeros((SIDE,) * 3, np.float32)
    pairs = list(zip(start, volume.grid.shape, strict=True))
    inside = tuple(slice(max(0, -s), max(0, -s) + min(n - max(0, s), SIDE)) for s, n in pairs)
    taken = tuple(slice(max(0, s), max(0, s) + min(n - max(0, s), SIDE)) for s, n in pairs)
    voxels[inside] = volume.voxels[taken]
    affine = volume.grid.affine.copy()
    affine[:3, 3] = volume.grid.to_ras_mm(start)
    return replace(volume, voxels=voxels, grid=Grid(shape=voxels.shape, affine=affine))


def with_lesions(result: CaseResult) -> CaseResult:
    """The result with balls in the brain in the place of what was found."""
    series = result.series[0]
    grid, rng = series.volume.grid, np.random.default_rng(0)
    ball = ((np.indices((7, 7, 7)) - 3.0) ** 2).sum(0) <= RADIUS**2
    labels = np.zeros(grid.shape, np.uint16)
    places = rng.permutation(np.argwhere(series.location.brain_mask))
    lesions: list[Lesion] = []
    for centre in places[((places > 4) & (places < SIDE - 4)).all(axis=1)]:
        here = tuple(slice(int(c) - 3, int(c) + 4) for c in centre)
        if labels[here][ball].any():
            continue
        number = len(lesions) + 1
        labels[here][ball] = number
        lesions.append(
            Lesion(
                id=number,
                centroid_ijk=tuple(float(c) for c in centre),
                centroid_ras_mm=tuple(grid.to_ras_mm(centre).tolist()),
                volume_mm3=float(ball.sum()) * grid.voxel_volume_mm3,
                equivalent_diameter_mm=3.5123,
                contrast=float(rng.uniform(4, 20)),
                probability=float(rng.uniform(0.5, 1)),
                slices=tuple(int(centre[2]) + k for k in range(-2, 3)),
                max_diameter_mm=3.3,
            )
        )
        if number == COUNT:
            break
    assignments = tuple(
        Assignment(
            lesion_id=lesion.id,
            side=Compartment(1 + lesion.id % 4).side,
            level=Compartment(1 + lesion.id % 4).level,
            boundary_distance_mm=5.0,
            midline_distance_mm=5.0,
            tentorium_distance_mm=5.0,
            side_confidence=0.99,
            level_confidence=0.98,
        )
        for lesion in lesions
    )
    found = replace(series.detection, lesions=tuple(lesions), lesion_labels=LabelMap(labels=labels, grid=grid))
    return replace(result, series=(replace(series, detection=found, assignments=assignments),))


def timed(work: Callable[[], object], repeat: int) -> tuple[float, float]:
    """Median processor and wall seconds."""
    runs = []
    for _ in range(repeat):
        wall, processor = perf_counter(), process_time()
        work()
        runs.append((process_time() - processor, perf_counter() - wall))
    return statistics.median(r[0] for r in runs), statistics.median(r[1] for r in runs)


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=5)
    repeat = parser.parse_args().repeat
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_series(head(), folder / "scan", compression="none")
        result = with_lesions(ms.analyze(ms.load_study(folder / "scan")))
        before = peak_mb()
        series, numbers = result.series[0], iter(range(1000))
        plain = Settings().with_options(["report.dicom=never"]).as_dict()
        first = process_time()
        result.write(folder / "first")  # highdicom is imported here
        first = process_time() - first
        source, marks = source_images(series.volume), stamp(result, series.volume, None, identified=False)
        work: dict[str, Callable[[], object]] = {
            "SEG, binary": lambda: segmentation(series, source, marks),
            "SEG, labelmap": lambda: segmentation(series, source, marks, "labelmap"),
            "SR": lambda: measurements(series, source, marks, "binary"),
            "RT Structure Set": lambda: structure_set(series, source, marks),
            "everything but DICOM": lambda: replace(result, settings=plain).write(folder / str(next(numbers))),
            "everything": lambda: result.write(folder / str(next(numbers))),
        }
        print(f"{len(series.lesions)} lesions, {series.volume.grid.shape}")
        print("| | processor s | wall s | goal s |\n|---|---|---|---|")
        for what, call in work.items():
            processor, wall = timed(call, repeat)
            print(f"| {what} | {processor:.2f} | {wall:.2f} | {GOALS_S.get(what, '')} |")
        print(f"| everything, the first time (imports) | {first:.2f} | | |")
        print(f"peak memory {peak_mb():.0f} MB; of the analysis alone {before:.0f} MB")


if __name__ == "__main__":
    main()
