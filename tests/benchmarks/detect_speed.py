"""LoG scale space and maxima beside ``skimage.feature.blob_log``: same slices, same scales, one run.

    python tests/benchmarks/detect_speed.py [--size SLICES ROWS COLUMNS]

Prints seconds, the factor, and recall of drawn balls for both, slice by slice (2-D) and as a volume (3-D), then the
time of detection in all with 400 lesions. Run by hand on an idle machine; nothing here is a timed test.
"""

from __future__ import annotations

import argparse
import sys
import time
import tracemalloc
from collections.abc import Callable

import numpy as np
from scipy import ndimage as ndi
from scipy.spatial import cKDTree
from skimage.feature import blob_log

from miliary_seg.detect import find, scale_space
from miliary_seg.detect.maxima import maxima
from miliary_seg.domain.grid import Grid
from miliary_seg.domain.volume import Volume
from miliary_seg.settings import DetectSettings

SIGMAS = [0.8, 1.13, 1.6, 2.26, 3.2]
"""In pixels (1 mm each): the same for both; blob_log takes them as a geometric row."""
THRESHOLD = 0.12
"""Of a contrast of 1: both report weaker and stronger blobs alike."""


def head(shape: tuple[int, int, int], count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Folded texture with balls of 3-8 pixels and contrast 1; returns voxels, centres and radii."""
    rng = np.random.default_rng(seed)
    voxels = 2.0 * ndi.gaussian_filter(rng.normal(size=shape).astype(np.float32), 3.0)
    voxels *= 0.15 / voxels.std()
    edge = np.minimum(8, np.array(shape) // 4)
    centres = rng.uniform(edge, np.array(shape) - edge, (20 * count, 3))
    keep: list[int] = []
    for n, centre in enumerate(centres):
        if len(keep) < count and all(np.linalg.norm(centres[k] - centre) > 10 for k in keep):
            keep.append(n)
    centres, radii = centres[keep], rng.uniform(1.5, 4.0, len(keep))
    for centre, radius in zip(centres, radii, strict=True):
        low = np.maximum(0, (centre - radius - 4).astype(int))
        high = np.minimum(shape, (centre + radius + 5).astype(int))
        axes = np.meshgrid(*[np.arange(a, b) - c for a, b, c in zip(low, high, centre, strict=True)], indexing="ij")
        far = np.sqrt(sum(a**2 for a in axes))
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        voxels[box] += 1 / (1 + np.exp((far - radius) / 0.35))
    voxels += rng.normal(0, 0.03, shape).astype(np.float32)
    return voxels.astype(np.float32), centres, radii


def timed(work: Callable[[], np.ndarray], repeats: int = 5) -> tuple[float, np.ndarray]:
    """Median of some runs, as many for either side, and the result."""
    seconds, result = [], np.zeros((0, 3))
    for _ in range(repeats):
        start = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds)), result


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, nargs=3, default=(96, 256, 256))
    options = parser.parse_args()
    voxels, centres, radii = head(tuple(options.size), 300, 0)
    out = sys.stdout.write
    out(f"{options.size} voxels, {len(SIGMAS)} scales, {len(centres)} balls\n\n")
    out(
        "| | skimage s | ours s | factor | skimage recall | ours recall | skimage blobs | our blobs |\n"
        "|---|---|---|---|---|---|---|---|\n"
    )
    for name, theirs, mine in (("2-D", skimage_2d, ours_2d), ("3-D", skimage_3d, ours_3d)):
        slow, a = timed(lambda theirs=theirs: theirs(voxels))
        fast, b = timed(lambda mine=mine: mine(voxels))
        out(
            f"| {name} | {slow:.2f} | {fast:.3f} | {slow / fast:.1f} | {recall(a, centres, radii):.3f} "
            f"| {recall(b, centres, radii):.3f} | {len(a)} | {len(b)} |\n"
        )
    whole()


def whole() -> None:
    """Detection in all: 256 x 256 x 192 at 0.9 mm, 400 balls."""
    voxels, _, _ = head((192, 256, 256), 400, 1)
    volume = Volume(
        voxels=np.moveaxis(voxels, 0, 2), grid=Grid(shape=(256, 256, 192), affine=np.diag([0.9, 0.9, 0.9, 1]))
    )
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in volume.grid.shape], indexing="ij")
    mask = (x / 0.75) ** 2 + (y / 0.85) ** 2 + (z / 0.85) ** 2 < 1
    seconds, _ = timed(lambda: np.array([len(find(volume, mask, DetectSettings()).lesions)]))
    tracemalloc.start()
    result = find(volume, mask, DetectSettings())
    peak = tracemalloc.get_traced_memory()[1]
    box = np.argwhere(mask)
    cropped = np.prod(box.max(axis=0) - box.min(axis=0) + 18)
    sys.stdout.write(
        f"\nDetection in all: {seconds:.2f} s, {len(result.candidates)} candidates, {len(result.lesions)} lesions, "
        f"peak {peak / 1e6:.0f} MB = {peak / 4 / cropped:.1f} float32 copies of the cropped volume\n"
    )


if __name__ == "__main__":
    main()
