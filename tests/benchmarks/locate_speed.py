"""Processor time and peak memory of `locate` by shape of scan: docs/compartments.md.

    OMP_NUM_THREADS=1 python tests/benchmarks/locate_speed.py [--repeats 3]

A drawn head (`miliary_seg.lab.phantom`) sampled to each grid; each in its own process, imports not counted in
the time but in the memory, as is the scan itself.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import ndimage as ndi

SHAPES = {
    "256 x 256 x 192, 0.9 mm": ("T1C", (256, 256, 192), (0.9, 0.9, 0.95)),
    "256 x 256 x 256, 1 mm": ("T1C", (256, 256, 256), (1.0, 1.0, 1.0)),
    "512 x 512 x 160, 0.5 x 0.5 x 1.1 mm": ("T1C", (512, 512, 160), (0.47, 0.47, 1.1)),
    "512 x 512 x 40 CT, 0.45 x 0.45 x 4 mm": ("CT", (512, 512, 40), (0.45, 0.45, 4.0)),
    "320 x 320 x 28 FLAIR, 0.7 x 0.7 x 5.5 mm": ("FLAIR", (320, 320, 28), (0.7, 0.7, 5.5)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(*measured(arguments.one, arguments.repeats))
        return
    print("| scan | CPU s, median | first call | MB at most | MB of the scan |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, (sequence, shape, spacing)) in enumerate(SHAPES.items()):
            path = Path(folder) / f"{number}.npz"
            drawn(path, sequence, shape, spacing)
            command = [sys.executable, __file__, "--one", str(path), "--repeats", str(arguments.repeats)]
            median, first, peak = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
            print(f"| {name} | {median} | {first} | {peak} | {4 * np.prod(shape) / 1e6:.0f} |", flush=True)


def drawn(path: Path, sequence: str, shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> None:
    from miliary_seg.domain.sequence import Sequence
    from miliary_seg.lab import phantom
    from miliary_seg.lab.phantom import ScannerSpec

    scanner = ScannerSpec(pixel_mm=1.2, thickness_mm=1.2, noise=5.0 if sequence == "CT" else 0.03)
    spec = replace(phantom.preset("few-large"), sequence=Sequence[sequence], scanner=scanner)
    head = phantom.make(spec, seed=1).volume
    middle = head.grid.affine @ [*(np.array(head.grid.shape) / 2), 1]
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = middle[:3] - np.array(spacing) * (np.array(shape) - 1) / 2
    pull = np.linalg.inv(head.grid.affine) @ affine
    empty = float(head.voxels.min())
    voxels = ndi.affine_transform(head.voxels, pull[:3, :3], pull[:3, 3], shape, order=1, cval=empty)
    np.savez(path, voxels=voxels.astype(np.float32), affine=affine, ct=sequence == "CT")


def measured(path: Path, repeats: int) -> tuple[str, str, str]:
    from miliary_seg.domain.grid import Grid
    from miliary_seg.domain.sequence import Modality
    from miliary_seg.domain.volume import Volume
    from miliary_seg.locate import locate

    with np.load(path) as stored:
        voxels, affine, ct = stored["voxels"], stored["affine"], bool(stored["ct"])
    grid = Grid(shape=voxels.shape, affine=affine)
    volume = Volume(voxels=voxels, grid=grid, modality=Modality.CT if ct else Modality.MR)
    times = []
    for _ in range(repeats):
        start = time.process_time()
        trusted = locate(volume).registration.trusted
        times.append(time.process_time() - start)
        assert trusted
    return f"{statistics.median(times):.2f}", f"{times[0]:.2f}", f"{peak_mb():.0f}"


def peak_mb() -> float:
    """Of this process alone: what `getrusage` says begins with the size of the parent."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024


if __name__ == "__main__":
    main()
