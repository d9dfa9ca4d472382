"""One scan from file to report: where the time goes, and peak memory. Prints the table of docs/performance.md.

    python tests/benchmarks/pipeline_speed.py [--repeat N]

The scan is a phantom of 256 x 256 x 192 voxels of 0.9 mm with 250 lesions, and with 1000. Each run is a process of its
own; time and memory are the operating system's accounting of it, the stages are the program's own clock. Medians are
printed, also in B: the time of ``skimage.feature.blob_log`` in the same minutes, since machines and minutes differ. On
a busy machine only processor seconds mean anything.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from detect_speed import SIZE, head, skimage_2d, timed
from scan_table import Run, line, measured

from miliary_seg.domain.grid import Grid
from miliary_seg.domain.volume import Volume
from miliary_seg.lab import phantom
from miliary_seg.report.volume_files import write_label_map, write_nifti

SHAPE = (256, 256, 192)
FEW, MANY = 250, 1000


def padded(volume: Volume) -> Volume:
    """The phantom cropped or padded about its middle to the shape of the goal."""
    old = np.array(volume.grid.shape)
    start = (old - SHAPE) // 2
    voxels = np.zeros(SHAPE, np.float32)
    inside = tuple(slice(max(0, -s), max(0, -s) + min(o, n)) for s, o, n in zip(start, old, SHAPE, strict=True))
    taken = tuple(slice(max(0, s), max(0, s) + min(o, n)) for s, o, n in zip(start, old, SHAPE, strict=True))
    voxels[inside] = volume.voxels[taken]
    affine = volume.grid.affine.copy()
    affine[:3, 3] = volume.grid.to_ras_mm(start)
    return replace(volume, voxels=voxels, grid=Grid(shape=SHAPE, affine=affine))


def scan_in(folder: Path, count: int) -> tuple[Path, Path]:
    """A head and the label map of its lesions, on a grid of its own."""
    spec = phantom.preset("miliary")
    scanner = replace(spec.scanner, pixel_mm=0.9, thickness_mm=0.9, margin_mm=30.0)
    made = phantom.make(replace(spec, scanner=scanner, lesions=replace(spec.lesions, count=count)), seed=1)
    scan = write_nifti(padded(made.volume), folder / f"sub-bench{count}_ce-gd_T1w.nii.gz", dtype="int16")
    write_label_map(made.labels, folder / f"truth{count}.nii.gz")
    return scan, folder / f"truth{count}.nii.gz"


def commands(folder: Path) -> dict[str, list[str]]:
    """What is measured; each needs the outputs of those before it."""
    found: dict[str, list[str]] = {}
    for count in (FEW, MANY):
        scan, truth = scan_in(folder, count)
        program = [sys.executable, "-m", "miliary_seg.cli"]
        run = [*program, "run", str(scan), "--force", "-o"]
        case = folder / f"given{count}" / f"sub-bench{count}"
        if count == FEW:
            found[f"{count} lesions, detected"] = [*run, str(folder / "found")]
        found[f"{count} lesions, given"] = [*run, str(case.parent), "--lesions", str(truth)]
        again = case / scan.name.removesuffix(".nii.gz") / "lesions.nii.gz"
        found[f"decide again, {count} lesions"] = [*program, "decide", str(case), "--lesions", str(again), "--force"]
    found["--help"] = [sys.executable, "-m", "miliary_seg.cli", "--help"]
    return found


def unit() -> tuple[float, float]:
    """Wall and processor seconds of blob_log, slice by slice, on the array of ``detect_speed.py``."""
    voxels = head(SIZE, 300, 0)[0]
    wall, processor, _ = timed(lambda: skimage_2d(voxels), 1)
    return wall, processor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=3)
    repeat = parser.parse_args().repeat
    print(line(("file to report, 256 x 256 x 192", "s", "B", "processor s", "processor B", "MB")))
    print(line(["---"] * 6))
    stages: dict[str, list[float]] = {}
    units = [unit()]
    rows: dict[str, list[Run]] = {}
    with tempfile.TemporaryDirectory() as name:
        for what, command in commands(Path(name)).items():
            rows[what] = [measured(command) for _ in range(repeat)]
            units.append(unit())
            assert not any(run.code for run in rows[what]), rows[what][0].error
    wall_unit, processor_unit = (statistics.median(column) for column in zip(*units, strict=True))
    print(line(("blob_log (B)", f"{wall_unit:.2f}", 1, f"{processor_unit:.2f}", 1, "")))
    for what, runs in rows.items():
        wall, processor = (statistics.median(getattr(r, name) for r in runs) for name in ("wall_s", "processor_s"))
        costs = (f"{wall:.2f}", f"{wall / wall_unit:.1f}", f"{processor:.2f}", f"{processor / processor_unit:.1f}")
        print(line((what, *costs, f"{max(run.megabytes for run in runs):.0f}")))
    for run in rows[f"{FEW} lesions, detected"]:
        for stage, seconds in re.findall(r"(\w+) (\d+\.\d)", run.error.split("(", 1)[1]):
            stages.setdefault(stage, []).append(float(seconds))
    told = ", ".join(f"{stage} {statistics.median(seconds):.1f} s" for stage, seconds in stages.items())
    print(f"stages of the first row: {told}")


if __name__ == "__main__":
    main()
