"""Many small scans for the benchmarks of the batch: a few coarse phantom heads, each with many draws of noise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from miliary_seg.lab import phantom
from miliary_seg.report.volume_files import write_nifti

N_HEADS = 4


def make_scans(folder: Path, n: int, pixel_mm: float = 2.4) -> Path:
    """``n`` scans of 2.4 x 2.4 x 5 mm with 12 lesions each below a folder; those that are there are kept."""
    spec = phantom.preset("few-large")
    spec = replace(
        spec,
        lesions=replace(spec.lesions, count=12, diameter_mm=(5.0, 7.0), contrast=(25.0, 30.0), ring_fraction=0.0),
        scanner=replace(spec.scanner, pixel_mm=pixel_mm, thickness_mm=pixel_mm * 5.0 / 2.4),
        mimics=replace(spec.mimics, vessels=0, sheets=0, choroid=0, dots=0, sinuses=False),
    )
    names = [folder / f"scan{k:04d}_ce-gd_T1w.nii.gz" for k in range(n)]
    missing = [k for k, name in enumerate(names) if not name.is_file()]
    heads = {k: phantom.make(spec, seed=k).volume for k in sorted({k % N_HEADS for k in missing})}
    for k in missing:
        volume = heads[k % N_HEADS]
        noise = np.random.default_rng(k).normal(0.0, 0.2, volume.voxels.shape).astype(np.float32)
        write_nifti(replace(volume, voxels=volume.voxels + noise), names[k], force=True)
    return folder
