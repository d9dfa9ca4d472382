"""The story of one lesion file: what it is, its values, its lesions, their place on the scan's grid."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage as ndi

from miliary_seg.domain.arrays import Float32Array
from miliary_seg.domain.lesion_source import GivenLesions, LesionSource
from miliary_seg.domain.reason import Reason
from miliary_seg.domain.volume import LabelMap, Volume
from miliary_seg.errors import InputError, UnreadableFileError
from miliary_seg.load.lesions.centres import balls, read_centres
from miliary_seg.load.lesions.instances import LabelChoice, to_instances
from miliary_seg.load.lesions.label_files import file_digest, read_label_file
from miliary_seg.load.lesions.placement import SAME_PLACE_MM, on_grid
from miliary_seg.load.lesions.voxels import LesionVoxels
from miliary_seg.load.walk import NIFTI_SUFFIXES, sniff
from miliary_seg.settings import LesionsSettings

CENTRE_SUFFIXES = (".csv", ".tsv", ".json", ".fcsv")
EMPTY = Reason(code="given_empty", text="The lesion file marks no voxel: zero lesions were given.")


def read_lesions(path: str | Path, volume: Volume, settings: LesionsSettings | None = None) -> GivenLesions:
    """Read the lesions of one scan from a file.

    Parameters
    ----------
    path
        NIfTI, NRRD or MGH (labels, mask, probabilities); DICOM SEG or RTSTRUCT; ``.csv``, ``.tsv``, ``.json``,
        ``.mrk.json`` or ``.fcsv`` of centres. A folder that holds exactly one such file will do.
    volume
        The scan that they were found on.
    settings
        Which labels, what is one lesion, thresholds; defaults to ``LesionsSettings()``.

    Returns
    -------
    GivenLesions
        On the grid of the scan; an empty file is an answer too: no lesions.

    Raises
    ------
    MiliaryError
        Whatever stands against it, with the file, the reason and the way out.
    """
    settings = settings or LesionsSettings()
    path = _file(Path(path))
    if path.name.lower().endswith(CENTRE_SUFFIXES):
        return _from_centres(path, volume, settings)
    choice = LabelChoice.of(settings.labels, split=settings.split)
    return _placed(_voxels(path, volume, choice, settings), volume, choice, path)


def from_array(labels: Any, volume: Volume, settings: LesionsSettings | None = None) -> GivenLesions:
    """Lesions from an array on the grid of the scan, shape (i, j, k), or from a ``LabelMap`` on any grid.

    Raises
    ------
    InputError
        If an array does not have the scan's shape, or holds values that are no labels.
    """
    settings = settings or LesionsSettings()
    if not isinstance(labels, LabelMap):
        array = np.asarray(labels)
        if array.shape != volume.grid.shape:
            what = f"lesions of shape {array.shape} do not fit"
            raise InputError(what, where=str(volume.grid.shape), todo="give an array on the grid of the scan")
        if array.dtype.kind == "f" and not np.array_equal(array, np.rint(array)):
            raise InputError("lesions must be labels (whole numbers)", todo="threshold probabilities first")
        labels = LabelMap(labels=array.astype(np.int32), grid=volume.grid)
    source = LesionSource(name="given", format="array", algorithm_type="")
    choice = LabelChoice.of(settings.labels, split=settings.split)
    return _placed(LesionVoxels(labels=labels, source=source), volume, choice, "the array of lesions")


def from_chances(
    chances: Float32Array, volume: Volume, threshold: float, settings: LesionsSettings | None = None
) -> GivenLesions:
    """Lesions from probabilities on the grid of the scan, shape (i, j, k)."""
    labels = LabelMap(labels=(chances >= threshold).astype(np.int32), grid=volume.grid)
    voxels = LesionVoxels(labels=labels, source=LesionSource(name="given", format="array"), chances=chances)
    split = settings is not None and settings.split
    return _placed(voxels, volume, LabelChoice(kind="mask", split=split), "the probabilities")


def _file(path: Path) -> Path:
    if path.is_dir():
        inside = [file for file in sorted(path.iterdir()) if file.is_file() and not file.name.startswith(".")]
        if len(inside) != 1:
            what = f"a folder of {len(inside)} files: which of them holds the lesions?"
            raise InputError(what, where=path, todo="give the file")
        return inside[0]
    if not path.is_file():
        raise UnreadableFileError("there is no such lesion file", where=path, todo="check the path or the pattern")
    return path


def _voxels(path: Path, volume: Volume, choice: LabelChoice, settings: LesionsSettings) -> LesionVoxels:
    kind, _ = sniff(path)
    if kind == "dicom":
        return _dicom(path, volume, choice, settings)
    if kind == "nifti" or path.name.lower().endswith(NIFTI_SUFFIXES):
        return read_label_file(path, volume, settings.threshold)
    what = "not a file of lesions that can be read"
    todo = "NIfTI, NRRD, MGH, DICOM SEG or RTSTRUCT, or .csv, .json, .mrk.json, .fcsv of centres"
    raise UnreadableFileError(what, where=path, todo=todo)


def _dicom(path: Path, volume: Volume, choice: LabelChoice, settings: LesionsSettings) -> LesionVoxels:
    from miliary_seg.load.dicom.header import read_header, text
    from miliary_seg.load.lesions import segmentation, structure_set

    kind = text(read_header(path).dataset, "SOPClassUID")
    if kind in segmentation.STORAGE:
        return segmentation.read_segmentation(path, volume, choice, settings.threshold)
    if kind == structure_set.STORAGE:
        return structure_set.read_structure_set(path, volume, choice)
    what = "a DICOM object, but neither a segmentation (SEG) nor a structure set (RTSTRUCT)"
    raise InputError(what, where=path, todo="export the lesions as one of them")


def _placed(voxels: LesionVoxels, volume: Volume, choice: LabelChoice, where: object) -> GivenLesions:
    found = to_instances(voxels.labels, choice, where)
    chances = _chances(voxels, found.labels, found.count)
    there = on_grid(found, volume.grid, where)
    if there.kept is not None:  # what lies outside of the scan is gone, and the numbers follow the scan's order
        chances = chances[list(there.kept)]
    return GivenLesions(
        labels=there.labels,
        probabilities=tuple(float(chance) for chance in chances),
        source=voxels.source,
        caveats=(*voxels.notes, *there.notes, *(() if found.count else (EMPTY,))),
    )


def _chances(voxels: LesionVoxels, labels: LabelMap, count: int) -> Any:
    """Highest probability within each lesion; 1 where the file gives none."""
    if voxels.chances is None or not count:
        return np.ones(count)
    return np.asarray(ndi.maximum(voxels.chances, labels.labels, np.arange(1, count + 1)), dtype=np.float64)


def _from_centres(path: Path, volume: Volume, settings: LesionsSettings) -> GivenLesions:
    found = read_centres(path, settings.frame)
    labels, chances, n_outside = balls(found, volume.grid, settings.diameter_mm, path)
    notes = []
    n_unsized = int(np.isnan(found.diameters_mm).sum())
    if n_unsized:
        said = (
            f"{n_unsized} of {len(found.diameters_mm)} lesions state no diameter: balls of {settings.diameter_mm:g} mm "
            "were taken (lesions.diameter_mm), so the slices that they show on are estimates."
        )
        notes.append(Reason(code="given_without_diameter", text=said))
    if n_outside:
        said = f"{len(found.ras_mm)} lesions in the file, {n_outside} of them lie outside of the scan."
        notes.append(Reason(code="given_outside_scan", text=said))
    labels.setflags(write=False)
    source = LesionSource(
        name="given", format=found.format, algorithm_type="", path=str(path), sha256=file_digest(path)
    )
    return GivenLesions(
        labels=LabelMap(labels=labels, grid=volume.grid),
        probabilities=tuple(chances.tolist()),
        source=source,
        caveats=(*notes, *(() if len(found.ras_mm) else (EMPTY,))),
    )


def lesion_volume(path: str | Path, volumes: Sequence[Volume]) -> int:
    """Which series of a study a lesion file belongs to: its index.

    By the series or frame that a DICOM object refers to, by the grid of a label map; else the first one (the loader
    puts the preferred series first).

    Raises
    ------
    MiliaryError
        If the file cannot be read.
    """
    path = _file(Path(path))
    if len(volumes) == 1 or path.name.lower().endswith(CENTRE_SUFFIXES):
        return 0
    if sniff(path)[0] == "dicom":
        return _referenced(path, volumes)
    from miliary_seg.domain.grid import Grid
    from miliary_seg.load.nifti.volume import read_nifti_header
    from miliary_seg.settings import LoadSettings

    header = read_nifti_header(path, LoadSettings().max_voxels)
    grid = Grid(shape=header.shape, affine=header.affine)
    return next((n for n, volume in enumerate(volumes) if _same_voxels(grid, volume.grid)), 0)


def _same_voxels(a: Any, b: Any) -> bool:
    """Whether two grids hold the same voxels, whatever the order of their axes."""
    if sorted(a.shape) != sorted(b.shape):
        return False
    ends = [np.sort(g.to_ras_mm(np.array(list(np.ndindex(2, 2, 2))) * (np.array(g.shape) - 1)), axis=0) for g in (a, b)]
    return bool(np.abs(ends[0] - ends[1]).max() < SAME_PLACE_MM)


def _referenced(path: Path, volumes: Sequence[Volume]) -> int:
    from miliary_seg.load.dicom.header import read_header
    from miliary_seg.load.lesions.dicom_objects import referenced_series

    uids = referenced_series(read_header(path).dataset)
    return next((n for n, volume in enumerate(volumes) if volume.source.series_instance_uid in uids), 0)
