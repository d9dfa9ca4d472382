"""Brain masks of the development scans with skull, by the program itself: NAME.nii.gz and NAME_lab.nii.gz."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from miliary_seg.load import load_study
from miliary_seg.locate import locate
from miliary_seg.settings import Settings

SCANS = {
    "child": "dicom_t1_child",
    "sag2d": "dicom_t1_2d_sagittal",
    "t1_crop": "heads/t1_crop.nii.gz",
    "t1_otsu": "heads/t1_otsu.nii.gz",
    "t2_2mm": "heads/t2_2mm.nii.gz",
    "ms12_study1_T1W": "ms_12_raw/study1_T1W.nii.gz",
    "ms12_study1_T2W": "ms_12_raw/study1_T2W.nii.gz",
    "ms12_study2_T1W": "ms_12_raw/study2_T1W.nii.gz",
    "ms12_study2_T2W": "ms_12_raw/study2_T2W.nii.gz",
    "t1_ccbync": "heads/t1_ccbync.nii.gz",
    "pd_ccbync": "heads/pd_ccbync.nii.gz",
    "scct": "templates/scct.nii.gz",
}


def write_masks(data: Path, masks: Path) -> None:
    """Load each scan as the program does, find its brain, and store both; what exists is kept."""
    masks.mkdir(parents=True, exist_ok=True)
    for name, source in SCANS.items():
        target = masks / f"{name}_lab.nii.gz"
        if target.exists():
            continue
        volume = load_study(data / source, settings=Settings()).volumes[0]
        brain = locate(volume, Settings().locate).brain_mask
        nib.save(nib.Nifti1Image(np.asarray(volume.voxels, np.float32), volume.grid.affine), masks / f"{name}.nii.gz")
        nib.save(nib.Nifti1Image(brain.astype(np.uint8), volume.grid.affine), target)
        print(name, volume.grid.shape, f"{brain.sum() * volume.grid.voxel_volume_mm3 / 1000:.0f} ml", flush=True)
