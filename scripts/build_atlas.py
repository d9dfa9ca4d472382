"""Builds miliary_seg/atlas_data from the ICBM 2009a symmetric template that nilearn ships (see atlas_data/SOURCES.md).

Left and right: the template equals its own mirror image, so the midsagittal plane is x = 0 and the result is made
symmetric by construction. Level: a seeded watershed from plain MNI coordinates, on a cost that is low in white matter,
higher in grey matter and highest in the fluid around the tentorium. Brain stem: a plane closes it at the top of the
midbrain. No other atlas goes in.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import nilearn
import numpy as np
from scipy import ndimage as ndi
from skimage.segmentation import watershed

SOURCE = Path(nilearn.__file__).parent / "datasets" / "data"
MARGIN = 4  # mm of air kept around the brain in the template
RIM = 30  # mm kept around it in the distance maps: skull, scalp and air enter the registration as rings

# Seeds in MNI mm: (centre x, y, z), radius. x is mirrored.
INFRATENTORIAL_SEEDS = (
    ((12, -58, -35), 7),  # deep white matter of the cerebellar hemisphere
    ((25, -62, -38), 8),
    ((36, -64, -42), 6),
    ((20, -72, -36), 6),
    ((30, -50, -42), 6),
    ((0, -62, -28), 5),  # vermis
    ((0, -70, -30), 5),
    ((14, -76, -28), 4),
    ((0, -28, -32), 7),  # pons
    ((8, -27, -27), 5),
    ((9, -30, -22), 3),
    ((6, -24, -15), 3),  # midbrain
    ((0, -36, -48), 5),  # medulla
    ((0, -38, -58), 4),
    ((14, -40, -34), 4),  # middle cerebellar peduncle
)
SUPRATENTORIAL_SEEDS = (
    ((14, -18, 8), 6),  # thalamus
    ((28, -6, -4), 10),  # lentiform nucleus and capsule
    ((36, 4, -34), 7),  # temporal pole
    ((50, -24, -16), 7),  # temporal lobe
    ((48, -48, -10), 5),
    ((34, -34, -18), 4),  # fusiform and parahippocampal gyri
    ((24, -20, -22), 4),
    ((34, -88, -2), 6),  # occipital pole
    ((16, -92, 2), 6),
    ((14, -66, 8), 4),  # calcarine cortex
    ((16, -52, 2), 4),
    ((30, -66, -4), 3),
    ((0, 30, -10), 5),  # straight gyri
    ((0, 2, -4), 4),
)
ALL_SUPRATENTORIAL_ABOVE_MM = 20.0  # the culmen ends near z = 5, the tentorial apex near 12
# Top of the brain stem: plane above the interpeduncular fossa, 2 mm below the posterior commissure and above the
# superior colliculus, (y, z) in mm (docs/compartments.md, "The atlas").
BRAINSTEM_TOP = ((-14.0, -11.0), (-34.0, 2.0))
BRAINSTEM_BOX = ((-20.0, 20.0), (-44.0, -8.0), (-73.0, 6.0))
TENTORIUM_STEP_MM = 0.5  # quantisation of the distance maps
OUTSIDE_STEP_MM = 0.25
T1_LEVELS = 64


def main(target: Path) -> None:
    """Write all files."""
    t1, affine = _load("t1")
    gm, _ = _load("gm")
    wm, _ = _load("wm")
    brain = _largest(t1 > 0)
    t1 = np.where(brain, t1, 0)
    near, near_affine = _box(brain, MARGIN, affine)
    template = {"t1": _quantised(t1, T1_LEVELS), "gm": _quantised(gm, 16), "wm": _quantised(wm, 16)}
    _write(target / "template_1mm.npz", {k: near(v) for k, v in template.items()} | {"affine": near_affine})
    wide, wide_affine = _box(brain, RIM, affine)
    compartments = _compartments(wide(t1), wide(gm), wide(wm), wide_affine)
    _write(target / "compartments.npz", compartments)
    names = ("compartments.npz", "template_1mm.npz")
    sums = [f"{hashlib.sha256((target / n).read_bytes()).hexdigest()}  {n}\n" for n in names]
    (target / "CHECKSUMS").write_text("".join(sums), encoding="utf-8")


def _write(path: Path, arrays: dict[str, Any]) -> None:
    np.savez_compressed(path, **arrays)
    print(path.name, path.stat().st_size, {k: v.shape for k, v in arrays.items()})


def _compartments(t1: Any, gm: Any, wm: Any, affine: Any) -> dict[str, Any]:
    """Labels, T1 and distance maps at 2 mm, from 1 mm input with an odd number of voxels across x = 0."""
    brain = t1 > 0
    infra, tentorium = _level(gm, wm, brain, affine)
    outside = np.where(brain, 0.5 - ndi.distance_transform_edt(brain), ndi.distance_transform_edt(~brain) - 0.5)
    at2 = (slice(None, None, 2),) * 3
    x = (affine[0, 0] * np.arange(t1.shape[0]) + affine[0, 3])[::2, None, None]
    labels = np.where(brain, np.where(infra, 3, 1), 0).astype(np.uint8)[at2]
    labels += ((labels > 0) & (x > 0)).astype(np.uint8)
    smooth = np.where(brain, np.maximum(ndi.gaussian_filter(t1, 0.85), 1), 0)
    return {
        "labels": labels,
        "t1": _quantised(smooth[at2], T1_LEVELS),
        "tentorium": np.clip(np.round(tentorium[at2] / TENTORIUM_STEP_MM), -127, 127).astype(np.int8),
        "outside": np.clip(np.round(outside[at2] / OUTSIDE_STEP_MM), -127, 127).astype(np.int8),
        "steps_mm": np.array([TENTORIUM_STEP_MM, OUTSIDE_STEP_MM]),
        "affine": affine @ np.diag([2.0, 2.0, 2.0, 1.0]),
    }


def _box(brain: Any, margin: int, affine: Any) -> tuple[Any, Any]:
    """A function that cuts (or pads) an array to the brain and a margin in voxels, and the affine of the result."""
    found = ndi.find_objects(brain.astype(int))[0]
    start = [s.start - margin for s in found]
    stop = [s.stop + margin for s in found]
    inner = tuple(slice(max(0, a), b) for a, b in zip(start, stop, strict=True))
    pad = [(max(0, -a), max(0, b - n)) for a, b, n in zip(start, stop, brain.shape, strict=True)]
    moved = affine.copy()
    moved[:3, 3] += start
    return (lambda a: np.pad(a[inner], pad)), moved


def _load(name: str) -> tuple[Any, Any]:
    image = nib.load(SOURCE / f"mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz")
    voxels = np.asarray(image.dataobj).astype(np.float32)
    return (voxels + voxels[::-1]) / 2, image.affine.copy()


def _quantised(a: Any, levels: int) -> Any:
    """Round 0..255 onto ``levels`` values that still span 0..255; 0 stays 0 and nothing else becomes 0."""
    step = 255 / (levels - 1)
    q = np.round(np.clip(a, 0, 255) / step)
    return np.round(np.where(a >= 0.5, np.maximum(q, 1), 0) * step).astype(np.uint8)


def _largest(mask: Any) -> Any:
    labels, n = ndi.label(mask)
    return labels == 1 + np.argmax(np.bincount(labels.ravel())[1:]) if n else mask


def _level(gm: Any, wm: Any, brain: Any, affine: Any) -> tuple[Any, Any]:
    """Infratentorial mask and signed distance in mm to its surface within the brain's neighbourhood (+ below)."""
    x, y, z = (
        (np.arange(n) * affine[a, a] + affine[a, 3]).reshape([-1 if b == a else 1 for b in range(3)])
        for a, n in enumerate(brain.shape)
    )
    smooth = [ndi.gaussian_filter(a / 255, 0.7) for a in (gm + wm, wm)]
    cost = 1 - 0.6 * smooth[0] - 0.4 * smooth[1]
    markers = np.zeros(brain.shape, np.int32)
    markers[np.broadcast_to(z > ALL_SUPRATENTORIAL_ABOVE_MM, brain.shape) & brain] = 1
    for value, seeds in ((1, SUPRATENTORIAL_SEEDS), (2, INFRATENTORIAL_SEEDS)):
        for (sx, sy, sz), radius in seeds:
            for sign in (-1, 1):
                markers[((x - sign * sx) ** 2 + (y - sy) ** 2 + (z - sz) ** 2 < radius**2) & brain] = value
    stem = _stem_box(x, y, z)
    (y0, z0), (y1, z1) = BRAINSTEM_TOP
    above = z - (z0 + (y - y0) * (z1 - z0) / (y1 - y0))
    markers[stem & (np.abs(above) < 1.5) & brain] = 0
    markers[stem & (above > 0) & (above < 3) & brain] = 1
    markers[stem & (above < 0) & (above > -3) & brain & (np.abs(x) < 12)] = 2
    infra = watershed(np.round(cost * 1000).astype(np.int32), markers, mask=brain) == 2
    infra = _largest(infra | infra[::-1])
    infra = ndi.gaussian_filter(infra.astype(np.float32), 1.2) / np.maximum(
        ndi.gaussian_filter(brain.astype(np.float32), 1.2), 1e-3
    )
    # Nearest label outside the brain, so that the surface continues through the fluid and the sinus.
    nearest = ndi.distance_transform_edt(~brain, return_distances=False, return_indices=True)
    share = infra[tuple(nearest)]
    below = share > 0.5
    distance = np.where(below, ndi.distance_transform_edt(below) - 0.5, 0.5 - ndi.distance_transform_edt(~below))
    distance = ndi.gaussian_filter(distance, 1.0)
    return (distance > 0) & brain, distance


def _stem_box(x: Any, y: Any, z: Any) -> Any:
    (x0, x1), (y0, y1), (z0, z1) = BRAINSTEM_BOX
    return (x > x0) & (x < x1) & (y > y0) & (y < y1) & (z > z0) & (z < z1)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "miliary_seg/atlas_data"))
