"""Opening of a 384-file series beside SimpleITK's own series reader, and listing of a folder of unrelated files.

    python tests/benchmarks/load_speed.py [--runs N] [--files N] [--pixels N]

Both readers get the same files and take turns, each run in a process of its own; medians of processor and wall time,
and the peak of memory (Linux). The files are drawn here: 384 slices of 256 x 256, explicit little endian.
Run by hand; nothing here is a timed test.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

OURS = "from miliary_seg.load import read_array; read = lambda: read_array(folder)[0]"
THEIRS = """
import SimpleITK
def read():
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(folder))
    return SimpleITK.GetArrayViewFromImage(reader.Execute())
"""
LISTING = "from miliary_seg.load import find_cases; read = lambda: find_cases([folder])"
HARNESS = """
import json, re, sys, time
folder = sys.argv[1]
def peak_mb():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read()).group(1)) / 1024
{reader}
if len(sys.argv) > 2:
    read_warm = folder; folder = sys.argv[2]; read(); folder = read_warm
base = peak_mb()
wall, processor = time.perf_counter(), time.process_time()
kept = read()
wall, processor = time.perf_counter() - wall, time.process_time() - processor
peak = peak_mb()
print(json.dumps(dict(wall=wall, processor=processor, base=base, peak=peak)))
"""


def write_series(folder: Path, n_slices: int, pixels: int) -> None:
    """One axial MR series."""
    from miliary_seg.domain.grid import Grid
    from miliary_seg.domain.volume import Volume
    from miliary_seg.report.dicom.images import write_series as write

    voxels = np.random.default_rng(1).integers(0, 4000, (pixels, pixels, n_slices)).astype(np.float32)
    grid = Grid(shape=(pixels, pixels, n_slices), affine=np.diag([-0.9, -0.9, 0.6, 1.0]))
    write(Volume(voxels=voxels, grid=grid), folder, compression="none")


def measured(reader: str, *folders: Path) -> dict[str, float]:
    """One run in a process of its own; a first small read takes the imports out of the figures."""
    command = [sys.executable, "-c", HARNESS.format(reader=reader), *map(str, folders)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def medians(runs: list[dict[str, float]]) -> dict[str, float]:
    return {key: statistics.median(run[key] for run in runs) for key in runs[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--pixels", type=int, default=256)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        series, warm, junk = Path(scratch) / "series", Path(scratch) / "warm", Path(scratch) / "junk"
        write_series(series, 384, options.pixels)
        write_series(warm, 4, 32)
        runs: dict[str, list[dict[str, float]]] = {"miliary-seg": [], "SimpleITK": []}
        for _ in range(options.runs):
            runs["miliary-seg"].append(measured(OURS, series, warm))
            runs["SimpleITK"].append(measured(THEIRS, series, warm))
        median = {
            name: {key: statistics.median(run[key] for run in found) for key in found[0]}
            for name, found in runs.items()
        }
        for name, found in median.items():
            lowest = {key: min(run[key] for run in runs[name]) for key in ("processor", "wall")}
            print(f"{name:12} " + ", ".join(f"{k} {v:.2f}" for k, v in found.items()), f"least {lowest}")
        ratio = {k: median["miliary-seg"][k] / median["SimpleITK"][k] for k in ("processor", "wall")}
        volume = 384 * options.pixels**2 * 4 / 2**20
        print(f"ratio of medians: {ratio}; volume {volume:.0f} MB as float32")
        junk.mkdir()
        for n in range(options.files):
            (junk / f"{n // 500:03d}").mkdir(exist_ok=True)
            (junk / f"{n // 500:03d}" / f"note{n}.txt").write_bytes(b"nothing to see here " * 20)
        listed = measured(LISTING, junk, warm)
        print(f"{options.files} unrelated files: {options.files / listed['wall']:.0f} a second, {listed}")


if __name__ == "__main__":
    main()
