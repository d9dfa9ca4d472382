"""Speed and memory of detection; run by hand on an idle machine, nothing here is a timed test.

    OMP_NUM_THREADS=2 python tests/benchmarks/detect_speed.py [--only laplacian bandwidth whole growth] [--plot FILE]

laplacian  LoG scale space and maxima beside ``skimage.feature.blob_log``: same slices, scales and threshold, one run
bandwidth  bytes that the same work moves, beside what the memory can move
whole      detection in all with 400 lesions: seconds and memory
growth     how its time grows with voxels and with candidates
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from scipy import ndimage as ndi
from scipy.spatial import cKDTree
from skimage.feature import blob_log

from miliary_seg.detect import find, scale_space
from miliary_seg.detect.blur import threads
from miliary_seg.detect.maxima import maxima
from miliary_seg.detect.work_grid import MARGIN_MM
from miliary_seg.domain.grid import Grid
from miliary_seg.domain.volume import Volume
from miliary_seg.settings import DetectSettings

SIZE = (96, 256, 256)
SIGMAS = [0.8, 1.13, 1.6, 2.26, 3.2]
"""In pixels (1 mm each): the same for both; blob_log takes them as a geometric row."""
THRESHOLD = 0.12
"""Of a contrast of 1: both report weaker and stronger blobs alike."""


def head(
    shape: tuple[int, int, int], count: int, seed: int, spacing: tuple[float, float, float] = (1, 1, 1), fill: float = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Folded texture with balls of 3-8 mm and contrast 1: voxels, and centres and radii in mm.

    ``fill`` below 1 keeps the balls inside an ellipsoid of that part of the volume's half axes.
    """
    rng = np.random.default_rng(seed)
    pitch = np.array(spacing)
    voxels = 2.0 * ndi.gaussian_filter(rng.normal(size=shape).astype(np.float32), 3.0 / pitch)
    voxels *= 0.15 / voxels.std()
    size = np.array(shape) * pitch
    edge = np.minimum(8 * pitch, size // 4)
    centres = rng.uniform(edge, size - edge, (20 * count, 3))
    if fill < 1:
        centres = centres[((2 * centres / size - 1) ** 2).sum(axis=1) < fill**2]
    keep: list[int] = []
    for n, centre in enumerate(centres):
        if len(keep) < count and all(np.linalg.norm(centres[k] - centre) > 10 for k in keep):
            keep.append(n)
    centres, radii = centres[keep], rng.uniform(1.5, 4.0, len(keep))
    for centre, radius in zip(centres, radii, strict=True):
        low = np.maximum(0, ((centre - radius - 4) / pitch).astype(int))
        high = np.minimum(shape, ((centre + radius + 5) / pitch).astype(int))
        spans = zip(low, high, pitch, centre, strict=True)
        axes = np.meshgrid(*[np.arange(a, b) * q - c for a, b, q, c in spans], indexing="ij")
        far = np.sqrt(sum(a**2 for a in axes))
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        voxels[box] += 1 / (1 + np.exp((far - radius) / 0.35))
    voxels += rng.normal(0, 0.03, shape).astype(np.float32)
    return voxels.astype(np.float32), centres, radii


def timed(work: Callable[[], np.ndarray], repeats: int = 5) -> tuple[float, float, np.ndarray]:
    """Medians of wall and of processor seconds over some runs, as many for either side, and the result.

    One call before them is not counted: it pays for imports and fresh memory, on either side.
    """
    work()
    wall, processor, result = [], [], np.zeros((0, 3))
    for _ in range(repeats):
        start = time.perf_counter(), time.process_time()
        result = work()
        wall.append(time.perf_counter() - start[0])
        processor.append(time.process_time() - start[1])
    return float(np.median(wall)), float(np.median(processor)), result


def say(*cells: object) -> None:
    """One row of a table."""
    sys.stdout.write("| " + " | ".join(str(cell) for cell in cells) + " |\n")
    sys.stdout.flush()


def ours_3d(voxels: np.ndarray) -> np.ndarray:
    space = scale_space(voxels, (1, 1, 1), SIGMAS)
    return maxima(space, 1, [THRESHOLD] * len(SIGMAS), range(len(SIGMAS)))[1]


def ours_2d(voxels: np.ndarray) -> np.ndarray:
    """Slice by slice: slices a kilometre apart do not see each other; maxima are taken in the plane."""
    space = scale_space(voxels, (1e6, 1, 1), SIGMAS)
    return maxima(space, 1, [THRESHOLD] * len(SIGMAS), range(len(SIGMAS)), reach=(0, 1))[1]


def skimage_3d(voxels: np.ndarray) -> np.ndarray:
    return blob_log(
        voxels, min_sigma=SIGMAS[0], max_sigma=SIGMAS[-1], num_sigma=len(SIGMAS), threshold=THRESHOLD, log_scale=True
    )[:, :3]


def skimage_2d(voxels: np.ndarray) -> np.ndarray:
    rows = []
    for z, plane in enumerate(voxels):
        found = blob_log(
            plane, min_sigma=SIGMAS[0], max_sigma=SIGMAS[-1], num_sigma=len(SIGMAS), threshold=THRESHOLD, log_scale=True
        )
        rows.append(np.column_stack([np.full(len(found), z), found[:, :2]]))
    return np.concatenate(rows)


def recall(found: np.ndarray, centres: np.ndarray, radii: np.ndarray) -> float:
    """Fraction of balls with a detection within half of their radius plus a pixel."""
    if len(found) == 0:
        return 0.0
    return float((cKDTree(found).query(centres)[0] <= 0.5 * radii + 1).mean())


def laplacian() -> None:
    """Scale space and maxima beside blob_log."""
    voxels, centres, radii = head(SIZE, 300, 0)
    say("", "skimage s", "ours s", "factor", "of processor time", "skimage recall", "ours", "skimage blobs", "ours")
    say(*["---"] * 9)
    for name, theirs, mine in (("2-D", skimage_2d, ours_2d), ("3-D", skimage_3d, ours_3d)):
        slow, slow_processor, a = timed(lambda theirs=theirs: theirs(voxels))
        fast, fast_processor, b = timed(lambda mine=mine: mine(voxels))
        factors = f"{slow / fast:.1f}", f"{slow_processor / fast_processor:.1f}"
        found = f"{recall(a, centres, radii):.3f}", f"{recall(b, centres, radii):.3f}"
        say(name, f"{slow:.2f}", f"{fast:.3f}", *factors, *found, len(a), len(b))


def bandwidth() -> None:
    """Least traffic of the 3-D scale space and maxima, and the time that copying as much takes (as STREAM copies)."""
    voxels = head(SIZE, 300, 0)[0]
    cores = threads()
    parts = [(np.ones(25_000_000, np.float32), np.zeros(25_000_000, np.float32)) for _ in range(cores)]
    with ThreadPoolExecutor(cores) as pool:
        copy = timed(lambda: np.array(list(pool.map(lambda pair: np.copyto(pair[1], pair[0]), parts))))[0]
    gigabytes = sum(2 * a.nbytes for a, _ in parts) / copy / 1e9
    # Each width is blurred across slices (read, write) and in the plane (read, write) and read once for the maxima.
    moved = 5 * len(SIGMAS) * voxels.nbytes / 1e9
    seconds = timed(lambda: ours_3d(voxels))[0]
    say("memory GB/s", "GB moved at least", "s at that speed", "s measured", "share of the limit")
    say(*["---"] * 5)
    say(
        f"{gigabytes:.1f}",
        f"{moved:.2f}",
        f"{moved / gigabytes:.3f}",
        f"{seconds:.3f}",
        f"{moved / gigabytes / seconds:.0%}",
    )


def scan(slices: int, pixels: int, spacing: tuple[float, float, float], count: int) -> tuple[Volume, np.ndarray]:
    """A volume (i, j, k) of ``slices`` square slices with balls inside an ellipsoidal mask."""
    voxels, _, _ = head((slices, pixels, pixels), count, 1, spacing, fill=0.75)
    grid = Grid(shape=(pixels, pixels, slices), affine=np.diag([*spacing[::-1], 1.0]))
    axes = np.meshgrid(*[np.linspace(-1, 1, n, dtype=np.float32) for n in grid.shape], indexing="ij", sparse=True)
    return Volume(voxels=np.moveaxis(voxels, 0, 2), grid=grid), sum((a / 0.85) ** 2 for a in axes) < 1


def whole() -> None:
    """Detection in all."""
    say("voxels", "mm", "s", "processor s", "candidates", "lesions", "peak MB", "float32 copies of the cropped volume")
    say(*["---"] * 8)
    for slices, pixels, spacing in ((192, 256, (0.9, 0.9, 0.9)), (160, 512, (1.0, 0.5, 0.5))):
        volume, mask = scan(slices, pixels, spacing, 400)
        wall, processor, _ = timed(lambda v=volume, m=mask: np.array(find(v, m, DetectSettings()).doubts))
        tracemalloc.start()
        result = find(volume, mask, DetectSettings())
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        box = np.argwhere(mask)
        margin = 2 * np.ceil(MARGIN_MM / np.array(spacing[::-1]))
        cropped = np.prod(np.minimum(np.ptp(box, axis=0) + 1 + margin, mask.shape))
        counts = len(result.candidates), len(result.lesions)
        size = f"{pixels} x {pixels} x {slices}"
        mm = " x ".join(str(q) for q in spacing[::-1])
        say(size, mm, f"{wall:.2f}", f"{processor:.2f}", *counts, f"{peak / 1e6:.0f}", f"{peak / 4 / cropped:.1f}")


def growth(plot: Path | None) -> None:
    """Time against voxels (more slices), and against candidates (the same box, less of it inside the mask)."""
    volume, mask = scan(288, 256, (0.9, 0.9, 0.9), 600)
    say("", "million voxels", "candidates", "processor s")
    say(*["---"] * 4)
    rows: dict[str, list[tuple[float, float]]] = {"million voxels": [], "thousand candidates": []}
    for part in (0.25, 0.5, 0.75, 1.0):
        n = int(288 * part)
        fewer = slice(144 - n // 2, 144 + n // 2)
        cut = Volume(voxels=volume.voxels[:, :, fewer], grid=Grid(shape=(256, 256, n), affine=volume.grid.affine))
        seconds, count = _grown("more slices", cut, mask[:, :, fewer])
        rows["million voxels"].append((cut.voxels.size / 1e6, seconds))
        striped = mask & (np.arange(288) % 32 < 32 * part)
        seconds, count = _grown("more of the mask", volume, striped)
        rows["thousand candidates"].append((count / 1e3, seconds))
    if plot:
        _draw(rows, plot)


def _grown(name: str, volume: Volume, mask: np.ndarray) -> tuple[float, int]:
    _, seconds, found = timed(lambda: np.array([len(find(volume, mask, DetectSettings()).candidates)]), 3)
    say(name, f"{volume.voxels.size / 1e6:.1f}", int(found[0]), f"{seconds:.2f}")
    return seconds, int(found[0])


def _draw(rows: dict[str, list[tuple[float, float]]], plot: Path) -> None:
    """Both rows with a straight line through each."""
    from matplotlib import pyplot as plt

    plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "speed", "font.size": 9})
    figure, panels = plt.subplots(1, 2, figsize=(7, 2.8), sharey=True, layout="constrained")
    for panel, (name, points) in zip(panels, rows.items(), strict=True):
        x, y = np.array(points).T
        slope, start = np.polyfit(x, y, 1)
        ends = np.array([0, x.max()])
        panel.plot(ends, start + slope * ends, color="0.6", linewidth=1)
        panel.plot(x, y, "o", color="#1f5f99")
        panel.set(xlabel=name, xlim=(0, None), ylim=(0, None))
        panel.set_title(f"{1000 * slope:.0f} ms per {name}", fontsize=9)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("processor seconds")
    figure.savefig(plot, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = {"laplacian": laplacian, "bandwidth": bandwidth, "whole": whole, "growth": None}
    parser.add_argument("--only", nargs="+", choices=parts, default=list(parts))
    parser.add_argument("--plot", type=Path, help="write the growth as a figure (needs matplotlib)")
    options = parser.parse_args()
    for name in options.only:
        sys.stdout.write(f"\n{name}, {threads()} threads, load average {os.getloadavg()[0]:.1f}\n\n")
        (parts[name] or (lambda: growth(options.plot)))()


if __name__ == "__main__":
    main()
