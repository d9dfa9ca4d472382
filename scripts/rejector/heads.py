"""Heads that the rejector is trained on: real scans whose licence allows it, and scans painted from label maps.

Arrays are (slice, row, column) = (superior, anterior, right) for near-isotropic scans, else slice axis first.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage as ndi

BRAIN_LABELS = [
    2,
    3,
    4,
    5,
    7,
    8,
    10,
    11,
    12,
    13,
    14,
    15,
    16,
    17,
    18,
    24,
    26,
    28,
    30,
    31,
    41,
    42,
    43,
    44,
    46,
    47,
    49,
    50,
]
BRAIN_LABELS += [51, 52, 53, 54, 58, 60, 62, 63, 72, 77, 85, 136, 137, 163, 164, 251, 252, 253, 254, 255]
VENTRICLES = [4, 43, 5, 44, 14, 15]
CLASSES = {  # FreeSurfer codes with the extra-cerebral codes of the label maps
    "white": [2, 41, 7, 46, 85, 77, 251, 252, 253, 254, 255],
    "grey": [3, 42, 8, 47, 72],
    "fluid": [4, 43, 5, 44, 14, 15, 24],
    "deep": [10, 49, 11, 50, 12, 51, 17, 53, 18, 54, 26, 58, 136, 137, 163, 164, 13, 52],
    "stem": [16, 28, 60, 512],
    "vessel": [30, 62, 31, 63],
    "bone": [515, 514, 516],
    "soft": [507, 511, 530, 506, 509, 508, 502],
}
PAINT = {  # typical intensities on a 0-1000 scale (CT in HU): white, grey, fluid, deep, stem, vessel, bone, soft
    "t1": (800, 570, 200, 660, 730, 450, 150, 600),
    "t1c": (800, 590, 210, 670, 730, 1000, 250, 750),
    "t2": (300, 430, 950, 340, 330, 120, 90, 500),
    "flair": (420, 540, 120, 480, 440, 150, 90, 450),
    "dwi": (400, 460, 90, 400, 400, 100, 30, 60),
    "swi": (470, 510, 600, 420, 440, 150, 60, 450),
    "ct": (28, 36, 6, 38, 30, 48, 900, 40),
}
JITTER = {"ct": 1.5}
TEXTURE = {"ct": 1.0}


@dataclass(frozen=True, kw_only=True, eq=False)
class Head:
    """One head, without noise of ours and without lesions of ours."""

    name: str
    person: str
    """Heads of one person are always left out together."""
    contrast: str
    voxels: np.ndarray
    spacing: tuple[float, float, float]
    mask: np.ndarray
    signs: tuple[int, ...] = (1, -1)
    """Polarities in which no real, unlabelled lesion can be among the negatives."""
    ignore: np.ndarray | None = None
    """Real lesions: bright candidates here are neither positive nor negative."""
    labels: np.ndarray | None = None


def _canonical(path: Path) -> tuple[np.ndarray, tuple[float, float, float]]:
    image = nib.as_closest_canonical(nib.load(path))
    data = np.asarray(image.dataobj, np.float32)
    x, y, z = (float(s) for s in image.header.get_zooms()[:3])
    return np.ascontiguousarray(np.nan_to_num(data).transpose(2, 1, 0)), (z, y, x)


def _cropped(head: dict, margin_mm: float = 10.0) -> Head:
    box = ndi.find_objects(head["mask"].astype(np.int8))[0]
    pad = [int(np.ceil(margin_mm / s)) for s in head["spacing"]]
    cut = tuple(slice(max(0, b.start - p), b.stop + p) for b, p in zip(box, pad, strict=True))
    for key in ("voxels", "mask", "ignore", "labels"):
        if head.get(key) is not None:
            head[key] = np.ascontiguousarray(head[key][cut])
    return Head(**head)


def real_heads(data: Path, masks: Path, *, measure_only: bool = False) -> list[Head]:
    """Real heads. ``measure_only`` adds the non-commercial ones, which must never be trained on."""
    out = []
    gold = _canonical(data / "ms_26_mni/GOLD_STANDARD.nii.gz")[0] > 0
    near = ndi.binary_dilation(gold, iterations=4)
    for name, contrast in (("T1", "t1"), ("T1POST", "t1c"), ("T2", "t2"), ("FLAIR", "flair")):
        v, s = _canonical(data / f"ms_26_mni/{name}.nii.gz")
        fill = ndi.binary_fill_holes(ndi.binary_opening(v > 0, iterations=2))
        # dark candidates: on T1 the lesions themselves may be dark, on T2 / FLAIR bright
        signs = (1, -1) if contrast in ("t2", "flair") else (1,)
        out.append(
            {
                "name": f"ms26_{name}",
                "person": "ms26",
                "contrast": contrast,
                "voxels": v,
                "spacing": s,
                "mask": fill,
                "signs": signs,
                "ignore": near,
            }
        )
    v, s = _canonical(data / "heads/t1c_brain_only.nii.gz")
    fill = ndi.binary_fill_holes(ndi.binary_opening(v > 0.02 * np.percentile(v, 99), iterations=2))
    out.append(
        {
            "name": "t1c_brain_only",
            "person": "t1c_brain_only",
            "contrast": "t1c",
            "voxels": v,
            "spacing": s,
            "mask": fill,
        }
    )
    for name, contrast in (("study1_FLAIR", "flair"), ("study2_FLAIR", "flair")):
        v, s = _canonical(data / f"ms_12_raw/{name}.nii.gz")
        m = _canonical(data / f"ms_12_raw/DERIVED_brainmask_in_{name}.nii.gz")[0] > 0
        out.append(
            {
                "name": f"ms12_{name}",
                "person": "ms12",
                "contrast": contrast,
                "voxels": v,
                "spacing": s,
                "mask": m,
                "signs": (-1,),
            }
        )
    masked = [("t1_crop", "t1"), ("t1_otsu", "t1"), ("t2_2mm", "t2"), ("child", "t1")]
    masked += [("t1_ccbync", "t1"), ("pd_ccbync", "pd")] if measure_only else []
    for name, contrast in masked:
        v, s = _canonical(masks / f"{name}.nii.gz")
        m = _canonical(masks / f"{name}_lab.nii.gz")[0] > 0
        out.append({"name": name, "person": name, "contrast": contrast, "voxels": v, "spacing": s, "mask": m})
    return [_cropped(h) for h in out]


def painted_head(data: Path, subject: int, contrast: str, rng: np.random.Generator) -> Head:
    """A head painted from a label map: class means with jitter, per-structure jitter, smooth texture, blur."""
    labels, spacing = _canonical(data / f"label_maps/training_seg_{subject:02d}.nii.gz")
    labels = labels.astype(np.int16)
    inside = np.isin(labels, BRAIN_LABELS)
    lowest = np.flatnonzero(np.isin(labels, [7, 8, 46, 47]).any((1, 2)))[0]
    inside[: max(0, lowest - 8)] = False  # the spinal canal carries the code of fluid
    labels[: max(0, lowest - 8)][np.isin(labels[: max(0, lowest - 8)], BRAIN_LABELS)] = 507
    mask = ndi.binary_fill_holes(inside) if rng.random() < 0.5 else _closed(inside & (labels != 24), 3)
    head = _cropped(
        {
            "name": f"seg{subject:02d}_{contrast}",
            "person": f"seg{subject:02d}",
            "contrast": contrast,
            "voxels": labels,
            "spacing": spacing,
            "mask": mask,
            "labels": labels,
        }
    )
    labels = head.labels
    jitter, grain = JITTER.get(contrast, 25.0), TEXTURE.get(contrast, 18.0) * rng.uniform(0.3, 1.5)
    mean = np.full(int(labels.max()) + 1, -1000.0 if contrast == "ct" else 10.0, np.float32)
    for (_, codes), value in zip(CLASSES.items(), PAINT[contrast], strict=True):
        shift = rng.normal(0, jitter)
        for code in codes:
            if code < len(mean):
                mean[code] = value + shift + rng.normal(0, 0.3 * jitter)
    v = mean[labels]
    for sigma, weight in ((1.0, 1.0), (3.0, 1.0)):
        field = ndi.gaussian_filter(rng.standard_normal(labels.shape).astype(np.float32), sigma)
        v += grain * weight * field / field.std() * (labels > 0)
    v = ndi.gaussian_filter(v, rng.uniform(0.35, 0.7))
    return Head(
        name=head.name, person=head.person, contrast=contrast, voxels=v, spacing=spacing, mask=head.mask, labels=labels
    )


def _closed(mask: np.ndarray, voxels: int) -> np.ndarray:
    grown = ndi.distance_transform_edt(~mask) <= voxels
    return ndi.binary_fill_holes(ndi.distance_transform_edt(grown) > voxels)
