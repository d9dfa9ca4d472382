"""A found DICOM stack into a Volume: decode file by file, apply each plane's own modality LUT, check, place."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from miliary_seg.domain.arrays import Float32Array
from miliary_seg.domain.grid import Grid
from miliary_seg.domain.reason import Reason
from miliary_seg.domain.sequence import Modality
from miliary_seg.domain.volume import Source, Volume
from miliary_seg.errors import AmbiguousInputError, UnreadableFileError, UnsuitableImageError
from miliary_seg.load.dicom.geometry import Placement, in_order, place
from miliary_seg.load.dicom.pixels import plane_values, read_stored
from miliary_seg.load.dicom.planes import Plane
from miliary_seg.load.dicom.source import DicomSource
from miliary_seg.load.dicom.stacks import places_of
from miliary_seg.load.inventory import SeriesInfo
from miliary_seg.load.resample import fill_missing, on_even_grid
from miliary_seg.settings import LoadSettings


def load_dicom(found: SeriesInfo, settings: LoadSettings) -> Volume:
    """Decode one eligible series.

    Raises
    ------
    MiliaryError
        Whatever stands against it: truncated or damaged files, conflicting slices, an empty image.
    """
    if found.error:
        raise found.error
    source: DicomSource = found.source
    planes = in_order(list(source.stack.volumes[settings.volume] if source.stack.volumes else source.stack.planes))
    voxels, digests = _decoded(planes)
    caveats = list(found.warnings)
    if source.stack.conflicting:
        planes, voxels = _without_duplicates(planes, voxels)
        caveats.append(
            Reason(
                code="duplicate_slices_dropped",
                text="Slices that were stored twice, with the same pixels, were dropped.",
            )
        )
    caveats += _checked(voxels, planes, found)
    placement = place(planes)
    voxels, placement, missing = _evened(voxels, placement, settings, caveats)
    shape = (voxels.shape[2], voxels.shape[1], voxels.shape[0])
    return Volume(
        voxels=voxels.transpose(2, 1, 0),
        grid=Grid(shape=shape, affine=placement.affine),
        id=found.id,
        modality=found.modality or Modality.MR,
        sequence=found.sequence,
        slice_axis=2,
        slice_thickness_mm=planes[0].thickness_mm,
        missing_slices=missing,
        resampled=any(caveat.code == "resampled" for caveat in caveats),
        caveats=tuple(caveats),
        source=_source(found, planes, digests, n_slices=voxels.shape[0]),
    )


def _decoded(planes: list[Plane]) -> tuple[Float32Array, dict[str, str]]:
    """Voxels (n_planes, rows, columns) as float32, and the digest of every file.

    The modality LUT is applied plane by plane in float64, never in the type of the first slice.
    """
    voxels = np.empty((len(planes), planes[0].rows, planes[0].columns), dtype=np.float32)
    digests: dict[str, str] = {}
    by_file: dict[int, list[int]] = {}
    for index, plane in enumerate(planes):
        by_file.setdefault(id(plane.layout), []).append(index)
    for indices in by_file.values():
        layout = planes[indices[0]].layout
        stored, digests[str(layout.path)] = read_stored(layout)
        for index in indices:
            plane = planes[index]
            values = plane_values(stored, plane.frame, plane.tiles)
            if (plane.slope, plane.intercept) == (1.0, 0.0):
                voxels[index] = values
            else:
                voxels[index] = values * np.float64(plane.slope) + np.float64(plane.intercept)
    return voxels, digests


def _without_duplicates(planes: list[Plane], voxels: Float32Array) -> tuple[list[Plane], Float32Array]:
    places = places_of(planes)
    kept = [0]
    for index in range(1, len(planes)):
        if places[index] != places[kept[-1]]:
            kept.append(index)
        elif not np.array_equal(voxels[index], voxels[kept[-1]]):
            raise AmbiguousInputError(
                f"two different images at one position (the other is {planes[kept[-1]].layout.path.name})",
                where=planes[index].layout.path,
                todo="the series mixes acquisitions that no attribute tells apart; give one of them",
            )
    return [planes[index] for index in kept], voxels[kept]


def _checked(voxels: Float32Array, planes: list[Plane], found: SeriesInfo) -> list[Reason]:
    """Notice what DICOM has no checksum for: planes that decoded to nothing."""
    where = planes[0].layout.path.parent
    if not np.all(np.isfinite(voxels)):
        raise UnsuitableImageError("grey values beyond the range of 32-bit floats", where=where, todo="export again")
    blank = voxels.max(axis=(1, 2)) == voxels.min(axis=(1, 2))
    if blank.all():
        what = "the image is empty: every voxel of a slice has one value"
        raise UnsuitableImageError(what, where=where, todo="export it again")
    inner = blank[1:-1] & ~blank[:-2] & ~blank[2:]
    if inner.any():
        index = int(np.flatnonzero(inner)[0]) + 1
        raise UnreadableFileError(
            "a blank slice between slices with an image: the pixels were lost",
            where=planes[index].layout.path,
            todo="export the series again",
        )
    if blank.any() and found.modality is not None:
        return [Reason(code="blank_slices", text=f"{int(blank.sum())} slices at the ends hold no image.")]
    return []


def _evened(
    voxels: Float32Array, placement: Placement, settings: LoadSettings, caveats: list[Reason]
) -> tuple[Float32Array, Placement, tuple[int, ...]]:
    """Fill missing slices or resample uneven ones, where the settings allow it (else they were refused before)."""
    if placement.missing and settings.resample:
        missing = placement.missing
        voxels, placement = fill_missing(voxels, placement)
        text = f"{len(missing)} missing slices were filled by interpolation between their neighbours."
        caveats.append(Reason(code="resampled", text=text))
        return voxels, placement, missing
    if placement.uneven_positions_mm and settings.resample:
        voxels, placement = on_even_grid(voxels, placement)
        caveats.append(Reason(code="resampled", text="Uneven slices were interpolated onto an even grid."))
    return voxels, placement, ()


def _source(found: SeriesInfo, planes: list[Plane], digests: dict[str, str], *, n_slices: int) -> Source:
    digest = hashlib.sha256("".join(digests.values()).encode()).hexdigest()
    stack: Any = found.source.stack
    as_acquired = n_slices == len(planes)
    many_frames = planes[0].layout.n_frames > 1
    return Source(
        format="DICOM",
        paths=tuple(str(plane.layout.path) for plane in planes) if len(digests) > 1 else tuple(digests),
        sha256=digest,
        study_instance_uid=found.source.study_uid,
        series_instance_uid=found.series_instance_uid,
        frame_of_reference_uid=found.source.frame_of_reference_uid,
        sop_class_uid=planes[0].sop_class_uid,
        sop_instance_uids=tuple(plane.sop_instance_uid for plane in planes) if as_acquired and stack else (),
        instance_numbers=_instance_numbers(planes) if as_acquired and stack and not many_frames else (),
        frame_numbers=tuple(plane.frame + 1 for plane in planes) if as_acquired and many_frames else (),
        instances=tuple(dict.fromkeys(plane.sop_instance_uid for plane in planes)),
        acquired=min((str(plane.traits.get("moment") or "") for plane in planes), default=""),
        orientation_source="ImageOrientationPatient",
    )


def _instance_numbers(planes: list[Plane]) -> tuple[int, ...]:
    """InstanceNumber of every plane; nothing where one is missing or they repeat (tiles of a mosaic do)."""
    stated = [plane.instance_number for plane in planes if plane.instance_number is not None]
    return tuple(stated) if len(set(stated)) == len(planes) else ()
