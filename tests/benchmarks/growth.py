"""How seconds and memory of one scan, file to report, grow with voxels, lesions and candidates.

    OMP_NUM_THREADS=1 python tests/benchmarks/growth.py [--plot docs/images/growth.svg]

One drawn head of 1000 lesions. Voxels: the head on finer and finer grids. Lesions: the first of the 1000 are given, on
one grid. Candidates: they are searched for in part of the brain only. Processor seconds and peak memory are the
operating system's accounting of a process of its own, imports included; the straight line is the least squares'.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from math import prod
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from pipeline_speed import scan_in
from scan_table import line, measured
from scipy import ndimage as ndi

import miliary_seg as ms
from miliary_seg.domain.grid import Grid
from miliary_seg.domain.volume import LabelMap, Volume
from miliary_seg.load import read_label_map
from miliary_seg.load.nifti.volume import read_nifti_header
from miliary_seg.report.figures import COLOURS, blank_figure, rendered
from miliary_seg.report.volume_files import write_label_map, write_nifti
from miliary_seg.settings import LoadSettings

MANY = 1000
GIVEN = (0, 250, 500, MANY)
SPACINGS_MM = (1.8, 1.3, 1.0, 0.85)
SHARES = (0.25, 0.5, 0.75, 1.0)
Point = tuple[float, float, float]
"""What grows, processor seconds, MB at most."""


def one(scan: Path, output: Path, *options: str) -> tuple[Point, int]:
    """A run of the program; what grows is left 0. Also the number of candidates."""
    run = measured([sys.executable, "-m", "miliary_seg.cli", "run", str(scan), "--force", "-o", str(output), *options])
    assert run.code == 0, run.error
    with (output / "cases.csv").open(newline="") as table:
        (row,) = csv.DictReader(table)
    return (0.0, run.processor_s, run.megabytes), int(row["n_candidates"])


def finer(volume: Volume, spacing_mm: float) -> Volume:
    """The same head on another isotropic grid about the same middle."""
    zoom = spacing_mm / np.array(volume.grid.spacing_mm)
    shape = tuple(int(n / z) for n, z in zip(volume.grid.shape, zoom, strict=True))
    start = (np.array(volume.grid.shape) - 1 - zoom * (np.array(shape) - 1)) / 2
    pull = np.diag([*zoom, 1.0])
    pull[:3, 3] = start
    voxels = ndi.affine_transform(volume.voxels, zoom, start, shape, order=1)
    return replace(volume, voxels=voxels, grid=Grid(shape=voxels.shape, affine=volume.grid.affine @ pull))


def scans(folder: Path) -> None:
    """The head on every grid and the label map of every number of lesions."""
    scan, truth = scan_in(folder, MANY)
    volume, labels = ms.load_study(scan).volumes[0], read_label_map(truth).labels
    for n in GIVEN:
        some = LabelMap(labels=np.where(labels.labels <= n, labels.labels, 0), grid=labels.grid)
        write_label_map(some, folder / f"given{n}.nii.gz")
    for spacing in SPACINGS_MM:
        write_nifti(finer(volume, spacing), folder / f"grid{spacing}_ce-gd_T1w.nii.gz", dtype="int16")


def masks(folder: Path) -> None:
    """Parts of the brain: every other plane or so."""
    (found,) = (folder / f"given{MANY}").glob("*/*/compartments.nii.gz")
    whole = read_label_map(found).labels
    for share in SHARES:
        planes = np.arange(whole.grid.shape[2]) % 32 < 32 * share
        part = (whole.labels > 0).astype(np.int32) * planes
        write_label_map(LabelMap(labels=part, grid=whole.grid), folder / f"part{share}.nii.gz")


def apart(work: Callable[[Path], None], folder: Path) -> None:
    """Do it in another process: the memory of this one counts for every process that it starts."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as other:
        other.submit(work, folder).result()


def rows(folder: Path) -> dict[str, list[Point]]:
    """All points; a line is printed for each."""
    found: dict[str, list[Point]] = {"million voxels": [], "lesions": [], "thousand candidates": []}

    def add(what: str, size: float, point: Point) -> None:
        found[what].append((size, *point[1:]))
        sys.stdout.write(line((what, f"{size:.1f}", f"{point[1]:.1f}", f"{point[2]:.0f}")) + "\n")
        sys.stdout.flush()

    apart(scans, folder)
    scan = folder / f"sub-bench{MANY}_ce-gd_T1w.nii.gz"
    for n in GIVEN:
        add("lesions", n, one(scan, folder / f"given{n}", "--lesions", str(folder / f"given{n}.nii.gz"))[0])
    for spacing in SPACINGS_MM:
        path = folder / f"grid{spacing}_ce-gd_T1w.nii.gz"
        shape = read_nifti_header(path, LoadSettings().max_voxels).shape
        add("million voxels", prod(shape) / 1e6, one(path, folder / f"finer{spacing}")[0])
    apart(masks, folder)
    for share in SHARES:
        mask = str(folder / f"part{share}.nii.gz")
        point, candidates = one(scan, folder / f"part{share}", "--mask", mask)
        add("thousand candidates", candidates / 1000, point)
    return found


def draw(found: dict[str, list[Point]], plot: Path) -> None:
    """Seconds above, memory below, with a straight line through each."""
    figure = blank_figure(7.5, 4.2)
    panels = figure.subplots(2, len(found), sharex="col", sharey="row")
    for column, (name, points) in zip(panels.T, found.items(), strict=True):
        size, *measures = np.array(points).T
        for panel, values, unit, colour in zip(column, measures, ("s", "MB"), COLOURS, strict=False):
            slope, start = np.polyfit(size, values, 1)
            ends = np.array([0, size.max()])
            panel.plot(ends, start + slope * ends, color="0.6", linewidth=1)
            panel.plot(size, values, "o", color=colour)
            panel.set(xlim=(0, None), ylim=(0, None))
            panel.set_title(f"{start:.3g} + {slope:.2g} {unit} each", fontsize=8)
            panel.spines[["top", "right"]].set_visible(False)
        column[-1].set_xlabel(name)
    panels[0, 0].set_ylabel("processor seconds")
    panels[1, 0].set_ylabel("MB at most")
    plot.write_bytes(rendered(figure, "svg"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plot", type=Path, help="write the figure (needs matplotlib)")
    options = parser.parse_args()
    sys.stdout.write(line(("what grows", "size", "processor s", "MB")) + "\n" + line(["---"] * 4) + "\n")
    with tempfile.TemporaryDirectory() as folder:
        found = rows(Path(folder))
    if options.plot:
        draw(found, options.plot)


if __name__ == "__main__":
    main()
