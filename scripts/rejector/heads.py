"""Heads that the rejector is trained on: real scans whose licence allows it, and scans painted from label maps.

Arrays are (slice, row, column) = (superior, anterior, right) for near-isotropic scans, else slice axis first.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage as ndi

BRAIN_LABELS = np.r_[2:6, 7, 8, 10:19, 24, 26, 28, 30, 31, 41:45, 46, 47, 49:55, 58, 60, 62, 63, 72, 77, 85]
BRAIN_LABELS = np.r_[BRAIN_LABELS, 136, 137, 163, 164, 251:256]
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
BRAIN_CLASSES, RANDOM = 5, "rand"
"""The first classes are brain; a head painted as `RANDOM` draws their means anew, so that no contrast is new."""
JITTER = {"ct": 1.5}
TEXTURE = {"ct": 1.0}


MASKED = [("t1_crop", "t1", (1, -1)), ("t1_otsu", "t1", (1, -1)), ("t2_2mm", "t2", (1, -1)), ("child", "t1", (1, -1))]
MASKED += [("sag2d", "t1", (1, -1))]
MASKED += [
    (f"ms12_study{n}_{kind}", kind[:2].lower(), (1,) if kind == "T1W" else (-1,))
    for n in (1, 2)
    for kind in ("T1W", "T2W")
]
"""Scans with skull, their contrast and polarities; lesions of multiple sclerosis are dark on T1 and bright on T2."""
MEASURE_ONLY = [("t1_ccbync", "t1", (1, -1)), ("pd_ccbync", "pd", (1, -1)), ("scct", "ct", (1, -1))]
"""Never trained on: a non-commercial licence, or the only CT that is not painted."""


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


def canonical(path: Path) -> tuple[np.ndarray, tuple[float, float, float]]:
    """Voxels and spacing of a stored scan, turned as said above."""
    image = nib.as_closest_canonical(nib.load(path))
    data = np.asarray(image.dataobj, np.float32)
    spacing = [float(s) for s in image.header.get_zooms()[:3]][::-1]
    data = np.nan_to_num(data).transpose(2, 1, 0)
    thickest = int(np.argmax(spacing))
    if spacing[thickest] > 1.5 * min(spacing):  # acquired in this plane
        data, spacing = np.moveaxis(data, thickest, 0), [spacing.pop(thickest), *spacing]
    return np.ascontiguousarray(data), (spacing[0], spacing[1], spacing[2])


def cropped(head: dict, margin_mm: float = 10.0) -> Head:
    """A head, given as its fields, cut to a margin around its mask."""
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
    gold = canonical(data / "ms_26_mni/GOLD_STANDARD.nii.gz")[0] > 0
    near = ndi.binary_dilation(gold, iterations=4)
    for name, contrast in (("T1", "t1"), ("T1POST", "t1c"), ("T2", "t2"), ("FLAIR", "flair")):
        v, s = canonical(data / f"ms_26_mni/{name}.nii.gz")
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
    v, s = canonical(data / "heads/t1c_brain_only.nii.gz")
    fill = ndi.binary_fill_holes(ndi.binary_opening(v > 0.02 * np.percentile(v, 99), iterations=2))
    found = {"name": "t1c_brain_only", "person": "t1c_brain_only", "contrast": "t1c"}
    out.append(found | {"voxels": v, "spacing": s, "mask": fill})
    for visit in ("study1", "study2"):
        v, s = canonical(data / f"ms_12_raw/{visit}_FLAIR.nii.gz")
        m = canonical(data / f"ms_12_raw/DERIVED_brainmask_in_{visit}_FLAIR.nii.gz")[0] > 0
        found = {"name": f"ms12_{visit}_FLAIR", "person": "ms12", "contrast": "flair", "signs": (-1,)}
        out.append(found | {"voxels": v, "spacing": s, "mask": m})
    for name, contrast, signs in MASKED + (MEASURE_ONLY if measure_only else []):
        v, s = canonical(masks / f"{name}.nii.gz")
        m = canonical(masks / f"{name}_lab.nii.gz")[0] > 0
        found = {"name": name, "person": name.split("_study")[0], "contrast": contrast, "signs": signs}
        out.append(found | {"voxels": v, "spacing": s, "mask": m})
    return [cropped(h) for h in out]


def spinal_rows(labels: np.ndarray) -> int:
    """How many of the lowest rows lie below the cerebellum: fluid there is that of the spinal canal."""
    return max(0, int(np.flatnonzero(np.isin(labels, [7, 8, 46, 47]).any((1, 2)))[0]) - 8)


@cache
def label_head(data: Path, subject: int, with_rim: bool) -> Head:
    """A label map cropped to its brain; the mask takes in the outer fluid, or is closed over the folds."""
    labels, spacing = canonical(data / f"label_maps/training_seg_{subject:02d}.nii.gz")
    labels = labels.astype(np.int16)
    inside = np.isin(labels, BRAIN_LABELS)
    below = labels[: spinal_rows(labels)]
    below[inside[: len(below)]] = 507
    inside[: len(below)] = False
    found = {"name": f"seg{subject:02d}", "person": f"seg{subject:02d}", "contrast": "", "voxels": labels}
    head = cropped(found | {"spacing": spacing, "mask": inside, "labels": labels}, margin_mm=14.0)
    mask = ndi.binary_fill_holes(head.mask) if with_rim else _closed(head.mask & (head.labels != 24), 3)
    return replace(head, mask=mask)


def painted_head(data: Path, subject: int, contrast: str, rng: np.random.Generator) -> Head:
    """A head painted from a label map: class means with jitter, per-structure jitter, smooth texture, blur."""
    head = label_head(data, subject, bool(rng.random() < 0.5))
    labels = head.labels
    jitter, grain = JITTER.get(contrast, 25.0), TEXTURE.get(contrast, 18.0) * rng.uniform(0.3, 1.5)
    mean = np.full(int(labels.max()) + 1, -1000.0 if contrast == "ct" else 10.0, np.float32)
    for (_, codes), value in zip(CLASSES.items(), paint(contrast, rng), strict=True):
        shift = rng.normal(0, jitter)
        for code in codes:
            if code < len(mean):
                mean[code] = value + shift + rng.normal(0, 0.3 * jitter)
    v = mean[labels]
    for sigma, weight in ((1.0, 1.0), (3.0, 1.0)):
        field = ndi.gaussian_filter(rng.standard_normal(labels.shape).astype(np.float32), sigma)
        v += grain * weight * field / field.std() * (labels > 0)
    v = ndi.gaussian_filter(v, rng.uniform(0.35, 0.7))
    return replace(head, name=f"{head.name}_{contrast}", contrast=contrast, voxels=v)


def paint(contrast: str, rng: np.random.Generator) -> tuple[float, ...]:
    """Class means of a contrast: flatter or steeper about white matter than is typical; or drawn at random."""
    if contrast == RANDOM:
        brain = rng.uniform(100, 1000, BRAIN_CLASSES)
        return (*brain, rng.uniform(50, 1000), rng.uniform(20, 300), rng.uniform(100, 800))
    typical = np.array(PAINT[contrast], float)
    steep = np.exp(rng.normal(0, 0.1 if contrast == "ct" else 0.3))
    typical[:BRAIN_CLASSES] = typical[0] + steep * (typical[:BRAIN_CLASSES] - typical[0])
    return tuple(typical if contrast == "ct" else np.maximum(typical, 20.0))


def _closed(mask: np.ndarray, voxels: int) -> np.ndarray:
    grown = ndi.distance_transform_edt(~mask) <= voxels
    return ndi.binary_fill_holes(ndi.distance_transform_edt(grown) > voxels)
