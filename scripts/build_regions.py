"""Builds miliary_seg/atlas_data/regions.npz from the Allen Human Reference Atlas (see atlas_data/SOURCES.md).

    scripts/build-regions AllenAtlas.nii.gz AllenAtlas.json [TARGET]

The two files are NiiVue's copy of the atlas: 141 structures on the ICBM 2009b symmetric template, 0.5 mm, the same in
both halves of the brain. Structures are merged into the regions that a reader names; white matter and the ventricles
go to the region next to them; what is left is thinned to the 2 mm lattice of compartments.npz, right half only.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from scipy import ndimage as ndi

REGIONS = {
    "frontal_lobe": "PrCG SFG MFG IFGtr IFGop ReG MOrG AOrG POrG LOrG PCLr FrO CgGr SCG PaCG RoG FMG FP OB AON olt",
    "parietal_lobe": "PoCG SPL SMG AnG PrCun PCLc CgGc IsCPH PaO",
    "temporal_lobe": "PRG STG MTG ITG FuGt TTG PLT TP PLP APH PPH AG HiH HiB HiT Pir AMY AAA CEN "
    "La BL BM CoA CoP Me AHA",
    "occipital_lobe": "OP Cun LiG FuGo IOG SOG LOG",
    "insula": "FI TI LIG SIG LI Cla",
    "basal_ganglia": "CaH CaB Pu PuPV NAC GPe GPi BF BNST STH",
    "thalamus": "THM ANC LD MD Re LP Pul VA VL VPL VPM DLG MG CM Pf HN Pin ZI MiN",
    "hypothalamus": "HTH HTHpo HTHso HTHtub HTHma mtt",
    "midbrain": "MTg RN SN SC IC cpd Aq PTR",
    "pons": "PnBa PnTg mcp",
    "medulla": "MoPy MoTg IO icp cec",
    "cerebellum": "CBPV CBL CBV CbDN scp",
}
"""Abbreviations of the atlas by region, in the order of the codes 1, 2, 3 ... of ``domain.compartment.Region``. The
cingulate gyrus is divided between the frontal (rostral part) and the parietal lobe; hippocampus and amygdala belong to
the temporal lobe. Not listed: the thin tail of the
caudate nucleus, forebrain and hindbrain white matter, commissures, optic tract, septum, ventricles."""
DEEP = ("basal_ganglia", "thalamus")
CAPSULE_MM = 5.0
"""White matter that a closing of this radius adds to the deep grey matter is the internal capsule, which readers name
with the deep grey matter."""
BELOW = ("midbrain", "pons", "medulla", "cerebellum")
ISLAND_SHARE = 0.005
RIM_MM = 6.0
"""So far outside the brain there is a region too: a lesion at the surface may lie beside the fitted atlas."""
WHITE_LEVELS = 16
LABEL_OF_WHITE_MATTER_BELOW = "HWM"


def main(atlas: Path, names: Path, target: Path) -> None:
    """Write regions.npz and its line in CHECKSUMS."""
    image = nib.load(atlas)
    structures = np.asarray(image.dataobj)
    labels = json.loads(names.read_text("utf-8"))["labels"]
    regions = _regions(structures, labels, float(image.affine[0, 0]))
    with np.load(target / "compartments.npz") as stored:
        thin, affine = _thinned(regions, image.affine, stored["labels"].shape, stored["affine"])
    white = _white(target / "template_1mm.npz", thin.shape, affine)
    np.savez_compressed(target / "regions.npz", regions=thin, white=white, affine=affine)
    print("regions.npz", (target / "regions.npz").stat().st_size, thin.shape)
    sums = [line for line in (target / "CHECKSUMS").read_text("utf-8").splitlines() if "regions.npz" not in line]
    digest = hashlib.sha256((target / "regions.npz").read_bytes()).hexdigest()
    lines = sorted([*sums, f"{digest}  regions.npz"], key=lambda line: line.split()[1])
    (target / "CHECKSUMS").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _white(template: Path, shape: tuple[int, ...], affine: Any) -> Any:
    """Share of white in the grey and white matter of the template's population, 0 to 255 in ``WHITE_LEVELS`` levels."""
    with np.load(template) as stored:
        grey, white = (ndi.gaussian_filter(stored[name].astype(np.float32), 1.0) for name in ("gm", "wm"))
        pull = np.linalg.inv(stored["affine"]) @ affine
    share = white / np.maximum(grey + white, 8.0)
    thin = ndi.affine_transform(share, pull[:3, :3], pull[:3, 3], shape, order=1)
    step = 255 / (WHITE_LEVELS - 1)
    return np.round(np.round(np.clip(thin, 0, 1) * (WHITE_LEVELS - 1)) * step).astype(np.uint8)


def _regions(structures: Any, labels: list[str], spacing: float) -> Any:
    """Region of every voxel of the brain and of a rim around it."""
    number = {name: n for n, name in enumerate(labels)}
    table = np.zeros(len(labels), np.uint8)
    for code, members in enumerate(REGIONS.values(), start=1):
        table[[number[name] for name in members.split()]] = code
    codes = {name: code for code, name in enumerate(REGIONS, start=1)}
    regions = _without_islands(table[structures])
    brain = structures > 0
    hindbrain = structures == number[LABEL_OF_WHITE_MATTER_BELOW]
    below = np.isin(regions, [codes[name] for name in BELOW])
    regions = np.where(hindbrain, _nearest(np.where(below, regions, 0)), regions)
    deep = np.isin(regions, [codes[name] for name in DEEP])
    capsule = (regions == 0) & (structures == number["FWM"]) & _closed(deep, round(CAPSULE_MM / spacing))
    regions = np.where(capsule, _nearest(np.where(deep, regions, 0)), regions)
    near = ndi.distance_transform_edt(~brain, sampling=spacing) <= RIM_MM
    return np.where(near, _nearest(regions), 0).astype(np.uint8)


def _without_islands(regions: Any) -> Any:
    """Parts that hold less than ``ISLAND_SHARE`` of their region are emptied: strays of the drawing."""
    kept = regions.copy()
    for code in range(1, len(REGIONS) + 1):
        parts, _ = ndi.label(regions == code)
        sizes = np.bincount(parts.ravel())
        sizes[0] = 0
        kept[(sizes < ISLAND_SHARE * sizes.sum())[parts] & (parts > 0)] = 0
    return kept


def _nearest(regions: Any) -> Any:
    """Each place's nearest region."""
    indices = ndi.distance_transform_edt(regions == 0, return_distances=False, return_indices=True)
    return regions[tuple(indices)]


def _closed(mask: Any, radius: int) -> Any:
    """Closing with a ball, by distance."""
    grown = ndi.distance_transform_edt(~mask) <= radius
    return ndi.distance_transform_edt(grown) > radius


def _thinned(regions: Any, affine: Any, shape: tuple[int, ...], lattice: Any) -> tuple[Any, Any]:
    """The commonest region around each place of the right half (x >= 0) of a lattice."""
    middle = round(-lattice[0, 3] / lattice[0, 0])
    half = (shape[0] - middle, *shape[1:])
    moved = lattice.copy()
    moved[0, 3] += middle * lattice[0, 0]
    pull = np.linalg.inv(affine) @ moved
    best, share = np.zeros(half, np.uint8), np.zeros(half, np.float32)
    for code in range(1, len(REGIONS) + 1):
        smooth = ndi.gaussian_filter((regions == code).astype(np.float32), 1.0 / affine[0, 0])
        here = ndi.affine_transform(smooth, pull[:3, :3], pull[:3, 3], half, order=1)
        best[here > share] = code
        np.maximum(share, here, out=share)
    box = ndi.find_objects((best > 0).astype(np.int8))[0]
    moved[1:3, 3] += lattice[[1, 2], [1, 2]] * [box[1].start, box[2].start]
    return best[: box[0].stop, box[1], box[2]], moved


if __name__ == "__main__":
    here = Path("miliary_seg/atlas_data")
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) > 3 else here)
