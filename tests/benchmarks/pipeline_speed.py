"""One scan from file to report: where the time goes, and peak memory. Prints the table of docs/performance.md.

    python tests/benchmarks/pipeline_speed.py [--repeat N]

The scan is a phantom of 256 x 256 x 192 voxels of 0.9 mm with 250 lesions. Each run is a process of its own; time and
memory are the operating system's accounting of it, the stages are the program's own clock. Medians are printed.
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
from scan_table import line, measured

from miliary_seg.domain.grid import Grid
from miliary_seg.domain.volume import Volume
from miliary_seg.lab import phantom
from miliary_seg.report.volume_files import write_nifti

SHAPE = (256, 256, 192)


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


def scan_in(folder: Path) -> Path:
    spec = phantom.preset("miliary")
    scanner = replace(spec.scanner, pixel_mm=0.9, thickness_mm=0.9, margin_mm=30.0)
    spec = replace(spec, scanner=scanner, lesions=replace(spec.lesions, count=250))
    return write_nifti(padded(phantom.make(spec, seed=1).volume), folder / "sub-bench_ce-gd_T1w.nii.gz", dtype="int16")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=3)
    repeat = parser.parse_args().repeat
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [sys.executable, "-m", "miliary_seg.cli", "run", str(scan_in(folder)), "-o", str(folder / "out")]
        runs = [measured([*command, "--force"]) for _ in range(repeat)]
    stages: dict[str, list[float]] = {}
    for code, _, _, error in runs:
        assert code == 0, error
        for stage, seconds in re.findall(r"(\w+) (\d+\.\d)", error.split("(", 1)[1]):
            stages.setdefault(stage, []).append(float(seconds))
    table = {stage: f"{statistics.median(seconds):.1f} s" for stage, seconds in stages.items()}
    table["whole process"] = f"{statistics.median(run[1] for run in runs):.1f} s (goal 15)"
    table["peak memory"] = f"{statistics.median(run[2] for run in runs):.0f} MB (goal 2000)"
    helps = [measured([sys.executable, "-m", "miliary_seg.cli", "--help"])[1] for _ in range(9)]
    table["--help"] = f"{statistics.median(helps):.2f} s (goal 0.3)"
    print(line(("256 x 256 x 192, file to report", "median")), line(("---", "---")), sep="\n")
    for row in table.items():
        print(line(row))


if __name__ == "__main__":
    main()
