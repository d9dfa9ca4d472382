"""Scenes whose lesions replace their tissue, in the persons that `scenes` has too and in eight after contrast.

Lesions lie where metastases do, 20-150 % above local white matter (docs/phantoms.md). Each scan is masked by the
program itself after the lesions were put in, so that the mask errs at the rim as it does in use.
"""

from __future__ import annotations

import time
import zlib
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import nibabel as nib
import numpy as np
from generate import store
from scenes import Scene
from scipy import ndimage as ndi

from miliary_seg.domain.grid import Grid
from miliary_seg.domain.sequence import Sequence, SequenceEvidence
from miliary_seg.errors import MiliaryError
from miliary_seg.lab.bench.decisions import ENHANCEMENTS, IRREGULARITY, MOST_LESIONS, RINGS, SIZES_MM, SOFT
from miliary_seg.lab.bench.hosts import painted
from miliary_seg.lab.phantom import LesionSpec, MimicSpec, Phantom, PhantomSpec, ScannerSpec, head_from_volume
from miliary_seg.lab.phantom.head import Head
from miliary_seg.lab.phantom.series import implanted_series
from miliary_seg.load import load_study
from miliary_seg.locate import locate
from miliary_seg.settings import Settings

SECOND_BEST = (5, 10, 20, 30, 40)
"""Lesions are added until that many show on the second-fullest slice."""
THICKNESSES_MM = (None, 3.0, 5.0)
"""None: the scan's own slices."""
NOISY, MOST_NOISE = 0.5, 0.04
"""Share of real scans that get more noise than their own, and the most, in units of white matter."""
AVOID_MM = 6.0
"""Candidates closer than this to a known tumour are neither lesions nor false ones."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A head to put lesions into."""

    path: str
    """Below the folder of data; label maps are painted."""
    person: str
    contrast: str
    draws: int
    thicknesses_mm: tuple[float | None, ...] = THICKNESSES_MM
    tumour: str = ""
    plaques: str = ""
    """Label map of real plaques, which count as lesions."""
    tumour_ball: tuple[float, float, float, float] | None = None
    """Centre (RAS) and radius in mm of a tumour that nobody has drawn."""


LABELS = {n: f"label_maps/training_seg_{n:02d}.nii.gz" for n in range(1, 9)}
GAD = [(f"btp{n:02d}", visit) for n in (1, 2, 3, 4, 5, 6, 8) for visit in ("pre", "post")]
"""Persons with two visits each, before and after radiotherapy, both after contrast; 6.5 mm slices."""
SOURCES = {
    "remind": Source(path="gad_heads/remind_T1c.nii.gz", person="remind", contrast="t1c", draws=5),
    "brain_only": Source(path="heads/t1c_brain_only.nii.gz", person="t1c_brain_only", contrast="t1c", draws=5),
    "ms26_post": Source(path="ms_26_mni/T1POST.nii.gz", person="ms26", contrast="t1c", draws=5),
    "crop": Source(path="heads/t1_crop.nii.gz", person="t1_crop", contrast="t1", draws=2),
    "otsu": Source(path="heads/t1_otsu.nii.gz", person="t1_otsu", contrast="t1", draws=2),
    "child": Source(path="dicom_t1_child", person="child", contrast="t1", draws=1),
    **{
        f"ms26_{contrast}": Source(
            path=f"ms_26_mni/{contrast.upper()}.nii.gz",
            person="ms26",
            contrast=contrast,
            draws=4,
            plaques="ms_26_mni/GOLD_STANDARD.nii.gz",
        )
        for contrast in ("flair", "t2")
    },
    "t2_2mm": Source(path="heads/t2_2mm.nii.gz", person="t2_2mm", contrast="t2", draws=5, thicknesses_mm=(None, 4.0)),
    "remind_t2": Source(
        path="gad_heads/remind_T2.nii.gz",
        person="remind",
        contrast="t2",
        draws=5,
        tumour_ball=(936.0, 816.0, 476.0, 38.0),
    ),
    **{
        f"{person}_{visit}": Source(
            path=f"gad_heads/{person}_{visit}_T1c.nii.gz",
            person=person,
            contrast="t1c",
            draws=3,
            thicknesses_mm=(None,),
            tumour=f"gad_heads/{person}_{visit}_mask.nii.gz",
        )
        for person, visit in GAD
    },
    **{
        f"seg{n:02d}_{contrast}": Source(path=path, person=f"seg{n:02d}", contrast=contrast, draws=draws)
        for n, path in LABELS.items()
        for contrast, draws in (("t1c", 1), ("flair", 1), ("t2", 3))
    },
}
NONCOMMERCIAL = {
    "ccbync": Source(path="heads/t1_ccbync.nii.gz", person="t1_ccbync", contrast="t1", draws=2),
}
"""Measured on, never trained on."""


@lru_cache(maxsize=1)
def host(data: Path, source: Source) -> Head:
    """The head of a source."""
    if "label_maps" in source.path:
        return painted(data / source.path, Sequence(source.contrast))
    settings = Settings().updated({"load.sequence": source.contrast})
    volume = load_study(data / source.path, settings=settings).volumes[0]
    place = locate(volume, settings.locate)
    avoid, drawn = None, source.tumour or source.plaques
    if source.tumour_ball:
        avoid = _ball(source.tumour_ball, volume.grid)
    if drawn:
        avoid = _near(_drawn(data / drawn, volume.grid), volume.grid.spacing_mm)
    return head_from_volume(volume, place.brain_mask, compartments=place.compartments, avoid=avoid)


def _drawn(path: Path, grid: Grid) -> np.ndarray:
    """A stored mask on the grid of a scan (nearest voxel)."""
    image = nib.load(path)
    affine = np.linalg.inv(image.affine) @ grid.affine
    mask = (np.asarray(image.dataobj) > 0).astype(np.uint8)
    return ndi.affine_transform(mask, affine[:3, :3], affine[:3, 3], grid.shape, order=0) > 0


def _ball(ball: tuple[float, float, float, float], grid: Grid) -> np.ndarray:
    """Voxels within a ball."""
    places = grid.to_ras_mm(np.indices(grid.shape).reshape(3, -1).T)
    return (np.linalg.norm(places - ball[:3], axis=1) <= ball[3]).reshape(grid.shape)


def _near(mask: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    return ndi.distance_transform_edt(~mask, spacing) <= AVOID_MM if mask.any() else mask


def scene(data: Path, name: str, draw: int, thickness: float | None, *, lesions: bool = True) -> Scene:
    """One scan of a source; every part of it follows from the name, the draw and the thickness."""
    source = (SOURCES | NONCOMMERCIAL)[name]
    head = host(data, source)
    rng = np.random.default_rng([zlib.crc32(name.encode()), draw, int(10 * (thickness or 0)), lesions])
    size, enhancement = (list(kinds.values())[rng.integers(len(kinds))] for kinds in (SIZES_MM, ENHANCEMENTS))
    is_painted = head.volume is None
    spec = PhantomSpec(
        sequence=Sequence(source.contrast),
        scanner=ScannerSpec(on_host_grid=True, noise=float(rng.uniform(0.01, 0.05)) if is_painted else 0.0, bias=0.1),
        mimics=MimicSpec(vessels=int(rng.integers(0, 120)) if is_painted and source.contrast == "t1c" else 0),
        visible_enhancement=0.1,
        lesions=LesionSpec(
            count=MOST_LESIONS if lesions else 0,
            diameter_mm=size,
            enhancement=enhancement,
            irregularity=IRREGULARITY,
            ring_fraction=RINGS,
            ring_from_mm=4.0,
            soft_fraction=SOFT,
            second_best=int(rng.choice(SECOND_BEST)) if lesions else None,
        ),
    )
    (made,) = implanted_series(head, spec, [thickness], int(rng.integers(1e9)))
    found = as_scene(name, source, head, made, _with_noise(made, rng, is_painted))
    if source.plaques:
        gold = _drawn(data / source.plaques, made.volume.grid)
        add_plaques(found, np.moveaxis(gold, made.volume.slice_axis, 0))
    return found


def _with_noise(made: Phantom, rng: np.random.Generator, is_painted: bool) -> np.ndarray:
    voxels = np.array(made.volume.voxels, np.float32)
    if is_painted or rng.random() > NOISY:
        return voxels
    white = np.percentile(voxels[made.brain_mask], 75)
    sigma = rng.uniform(0.005, MOST_NOISE) * white
    noise = rng.standard_normal((2, *voxels.shape), dtype=np.float32) * np.float32(sigma)
    return np.sqrt((voxels + noise[0]) ** 2 + noise[1] ** 2)


def as_scene(name: str, source: Source, head: Head, made: Phantom, voxels: np.ndarray) -> Scene:
    """A phantom as a scene: slices first, masked by the program."""
    evidence = SequenceEvidence(sequence=Sequence(source.contrast), confidence="high")
    volume = replace(made.volume, voxels=voxels, sequence=evidence)
    try:
        mask = locate(volume, Settings().locate).brain_mask
    except MiliaryError:
        mask = made.brain_mask
    axis, grid = volume.slice_axis, volume.grid
    order = [axis, *[a for a in range(3) if a != axis]]
    spacing = [grid.spacing_mm[a] for a in order]
    spacing[0] = volume.slice_spacing_mm

    def turned(a: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(a.transpose(order))

    own, inside = turned(voxels), turned(mask)
    found = Scene.measured(
        own,
        inside,
        name=name,
        person=source.person,
        contrast=source.contrast,
        spacing=(float(spacing[0]), float(spacing[1]), float(spacing[2])),
        sign=1,
        ignore=None if head.avoid is None else turned(_resampled(head, made)),
    )
    for one in made.truth.lesions:
        ijk = grid.to_ijk(np.array([one.centre_ras_mm]))[0]
        found.truth.append(
            {
                "centre": ijk[order] * np.array(found.spacing),
                "radius": one.diameter_mm / 2,
                "cnr": one.peak_contrast * made.truth.noise_sigma / found.sigma,
                "peak": 1.0,
                "kind": one.kind,
                "enhancement": one.enhancement,
                "shown": one.peak_enhancement or 0.0,
                "place": one.place or "",
            }
        )
    return found


def _resampled(head: Head, made: Phantom) -> np.ndarray:
    """The host's places to leave out, on the grid of the phantom."""
    affine = np.linalg.inv(head.grid.affine) @ made.volume.grid.affine
    moved = ndi.affine_transform(
        head.avoid.astype(np.uint8), affine[:3, :3], affine[:3, 3], made.volume.grid.shape, order=0
    )
    return moved > 0


def add_plaques(found: Scene, gold: np.ndarray, least_mm: float = 3.0) -> None:
    """Real plaques (on the scene's grid) as lesions of the scene."""
    parts, count = ndi.label(gold, np.ones((3, 3, 3)))
    for n in range(1, count + 1):
        where = np.argwhere(parts == n)
        radius = (3 * len(where) * np.prod(found.spacing) / (4 * np.pi)) ** (1 / 3)
        if 2 * radius >= least_mm:
            around = ndi.binary_dilation(parts == n, iterations=3) & (parts == 0) & found.mask
            height = float(np.median(found.voxels[parts == n]) - np.median(found.voxels[around]))
            found.truth.append(
                {
                    "centre": where.mean(0) * np.array(found.spacing),
                    "radius": float(radius),
                    "cnr": max(height, 0) / found.sigma,
                    "peak": 1.0,
                    "kind": "real",
                    "enhancement": 0.0,
                    "shown": 0.0,
                    "place": "plaque",
                }
            )


def jobs() -> list[tuple[str, str, int, float | None, bool]]:
    """(file, source, draw, thickness, with lesions): draws with lesions for the fit, one without for each test."""
    found = []
    for name, source in (SOURCES | NONCOMMERCIAL).items():
        for thickness in source.thicknesses_mm:
            label = f"{thickness or 0:g}"
            if "seg" not in name or name.endswith("t1c"):
                found.append((f"test/{name}__r{label}", name, 0, thickness, False))
            folder = "test" if name in NONCOMMERCIAL else "train"
            file = f"{folder}/{name}__q{label}_"
            found += [(f"{file}{draw}", name, draw, thickness, True) for draw in range(source.draws)]
    return found


def generate_replacing(data: Path, work: Path, part: tuple[int, int]) -> None:
    """Write every ``part[1]``-th source's scenes from ``part[0]`` on; existing files are kept."""
    names = list(SOURCES | NONCOMMERCIAL)[part[0] :: part[1]]
    for file, name, draw, thickness, lesions in jobs():
        if name not in names:
            continue
        path = work / f"{file}.npz"
        if path.exists():
            continue
        start = time.time()
        try:
            made = scene(data, name, draw, thickness, lesions=lesions)
        except MiliaryError as error:
            print(file, error, flush=True)
            continue
        store(made, path)
        print(file, made.spacing, len(made.truth), f"{time.time() - start:.1f} s", flush=True)
