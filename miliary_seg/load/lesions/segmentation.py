"""DICOM Segmentation objects: binary, fractional and label map; one segment a lesion, or one for all.

Frames are placed by their own functional groups. highdicom would hand out one volume a segment, which for 400 lesions
is 400 volumes; here one pass over the frames makes one label map.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miliary_seg.domain.arrays import Float64Array, Int64Array
from miliary_seg.domain.grid import Grid
from miliary_seg.domain.lesion_source import LesionSource
from miliary_seg.domain.reason import Reason
from miliary_seg.domain.volume import LabelMap, Volume
from miliary_seg.errors import GeometryError, InputError, UnreadableFileError, UnsuitableImageError
from miliary_seg.load.dicom.header import first_item, items, number, numbers, quiet_pydicom, text, whole
from miliary_seg.load.file_boundary import file_boundary
from miliary_seg.load.lesions.dicom_objects import RAS, read_object, require_same_frame
from miliary_seg.load.lesions.instances import LabelChoice
from miliary_seg.load.lesions.label_files import file_digest
from miliary_seg.load.lesions.voxels import LesionVoxels

STORAGE = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
"""Segmentation Storage, Label Map Segmentation Storage."""
ON_LINE_MM = 0.05
"""Planes may lie this far off the even line: decimal strings round in the fifth digit."""
MAX_BYTES = 8 << 30
"""Unpacked frames; 400 lesions in a head of 512 x 512 pixels take 0.5 GB."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Frames:
    """Where every frame lies, and which segment it shows."""

    positions: Float64Array
    """First pixel of every frame, RAS+ mm, shape (n, 3)."""
    segments: Int64Array
    """0 where the pixels are segment numbers."""
    column_step: Float64Array
    row_step: Float64Array
    """RAS+ mm from one column, and one row, to the next."""
    spacings_mm: tuple[float, ...]
    """Slice steps that the object speaks of."""


def read_segmentation(path: Path, volume: Volume, choice: LabelChoice, threshold: float) -> LesionVoxels:
    """Read a SEG as one label map of segment numbers, on its own grid.

    Parameters
    ----------
    path
        The file.
    volume
        The scan: its frame of reference is compared, its slices help where the object states no spacing.
    choice
        Segments by number or label; the others are left out.
    threshold
        Of fractional segmentations: from this fraction on a voxel is lesion.

    Raises
    ------
    UnreadableFileError
        If it cannot be read, or its frames and functional groups do not fit.
    GeometryError
        Another frame of reference, frames without a place, or planes that are not parallel or even.
    InputError
        If no segment fits the choice.
    """
    dataset = read_object(path)
    notes = require_same_frame(text(dataset, "FrameOfReferenceUID"), volume, path)
    described = {whole(item, "SegmentNumber"): item for item in items(dataset, "SegmentSequence")}
    names = {value: text(item, "SegmentLabel") for value, item in described.items()}
    taken = {value for value, name in names.items() if choice.takes(value, name)}
    if described and not taken:
        listed = ", ".join(f"{value} {name}" for value, name in list(names.items())[:10])
        raise InputError(f"no segment fits --lesion-labels; there are {listed}", where=path, todo="choose another")
    frames, pixels = _frames(dataset, volume, path), _pixels(dataset, path)
    if len(frames.positions) != len(pixels):
        what = f"{len(pixels)} frames, but functional groups for {len(frames.positions)}"
        raise UnreadableFileError(what, where=path, todo="export it again")
    grid, index = _stacked(frames, pixels.shape[1:], volume, path)
    labels, chances, n_shared = _filled(dataset, pixels, frames.segments, index, (grid, threshold))
    if taken and len(taken) < len(described):
        labels[~np.isin(labels, list(taken))] = 0
    if n_shared:
        said = f"{n_shared} voxels belong to several segments; each was given to the last (or likeliest) of them."
        notes = (*notes, Reason(code="given_overlap", text=said))
    labels.setflags(write=False)
    source = _source(dataset, [described[value] for value in taken], path)
    return LesionVoxels(
        labels=LabelMap(labels=labels, grid=grid, names=names), source=source, chances=chances, notes=notes
    )


def _frames(dataset: Any, volume: Volume, path: Path) -> _Frames:
    shared = (items(dataset, "SharedFunctionalGroupsSequence") or [None])[0]
    groups = items(dataset, "PerFrameFunctionalGroupsSequence")
    if not groups:
        raise UnreadableFileError("a segmentation without functional groups", where=path, todo="export it again")
    first = (groups[0], shared)
    oriented = _numbers(first_item(*first, "PlaneOrientationSequence"), "ImageOrientationPatient", 6)
    measures = first_item(*first, "PixelMeasuresSequence")
    pixel = _numbers(measures, "PixelSpacing", 2)
    uids = {uid: k for k, uid in enumerate(volume.source.sop_instance_uids)}
    if not oriented or not pixel:
        columns, rows = (a for a in range(3) if a != volume.slice_axis)
        steps = volume.grid.affine[:3, columns], volume.grid.affine[:3, rows]
    else:
        steps = np.array(oriented[:3]) * RAS * pixel[1], np.array(oriented[3:]) * RAS * pixel[0]
    _require_parallel(groups, oriented, path)
    spoken = (None if measures is None else number(measures, key) for key in ("SpacingBetweenSlices", "SliceThickness"))
    return _Frames(
        positions=np.array([_position(group, shared, uids, volume, path) for group in groups]),
        segments=np.array([_segment(group, shared) for group in groups], dtype=np.int64),
        column_step=steps[0],
        row_step=steps[1],
        spacings_mm=tuple(mm for mm in spoken if mm),
    )


def _numbers(item: Any, keyword: str, count: int) -> tuple[float, ...]:
    return () if item is None else numbers(item, keyword, count)


def _require_parallel(groups: list[Any], oriented: tuple[float, ...], path: Path) -> None:
    own = [_numbers(first_item(group, "PlaneOrientationSequence"), "ImageOrientationPatient", 6) for group in groups]
    if any(other and np.abs(np.subtract(other, oriented)).max() > 1e-4 for other in own):
        raise GeometryError("its planes are not parallel", where=path, todo="give one segmentation a series")


def _segment(group: Any, shared: Any) -> int:
    item = first_item(group, shared, "SegmentIdentificationSequence")
    return 0 if item is None else whole(item, "ReferencedSegmentNumber")


def _position(group: Any, shared: Any, uids: dict[str, int], volume: Volume, path: Path) -> Float64Array:
    """First pixel of a frame in RAS+ mm: as it says, or that of the image that it was drawn on."""
    stated = _numbers(first_item(group, shared, "PlanePositionSequence"), "ImagePositionPatient", 3)
    if stated:
        return np.array(stated) * RAS
    derivation = first_item(group, "DerivationImageSequence")
    image = None if derivation is None else first_item(derivation, "SourceImageSequence")
    slice_index = None if image is None else uids.get(text(image, "ReferencedSOPInstanceUID"))
    if slice_index is None:
        what = "its frames state no position, and the images that they were drawn on are not in the scan"
        raise GeometryError(what, where=path, todo="give the series that it refers to")
    corner = np.zeros(3)
    corner[volume.slice_axis] = slice_index
    return volume.grid.to_ras_mm(corner)


def _pixels(dataset: Any, path: Path) -> NDArray[Any]:
    size = whole(dataset, "NumberOfFrames", 1) * whole(dataset, "Rows") * whole(dataset, "Columns")
    if size * max(1, whole(dataset, "BitsAllocated") // 8) > MAX_BYTES:
        raise UnsuitableImageError(f"{size} pixels in one segmentation", where=path, todo="split it")
    with file_boundary(path, "decode the pixels of the segmentation"), quiet_pydicom():
        pixels: NDArray[Any] = dataset.pixel_array
    return pixels[None] if pixels.ndim == 2 else pixels


def _stacked(frames: _Frames, plane: tuple[int, ...], volume: Volume, path: Path) -> tuple[Grid, Int64Array]:
    """A grid (column, row, slice) through all frames, and the slice of each frame."""
    normal = np.cross(frames.column_step, frames.row_step)
    normal /= np.linalg.norm(normal)
    along = frames.positions @ normal
    first = frames.positions[int(np.argmin(along))]
    places = along - along.min()
    for step in _steps(frames, places, normal, volume):
        index = np.rint(places / (step @ normal)).astype(np.int64)
        apart = np.linalg.norm(first + index[:, None] * step - frames.positions, axis=1)
        if apart.max() <= ON_LINE_MM:
            affine = np.eye(4)
            affine[:3, :3] = np.stack([frames.column_step, frames.row_step, step], axis=1)
            affine[:3, 3] = first
            return Grid(shape=(plane[1], plane[0], int(index.max()) + 1), affine=affine), index
    raise GeometryError(
        "its planes are unevenly spaced and not those of the scan", where=path, todo="resample it onto the scan"
    )


def _steps(frames: _Frames, places: Float64Array, normal: Float64Array, volume: Volume) -> list[Float64Array]:
    """Candidates for the vector from one slice to the next, along the line that the planes lie on."""
    scan = volume.grid.affine[:3, volume.slice_axis]
    scan = scan if scan @ normal > 0 else -scan
    apart = np.unique(np.round(places, 3))
    line = normal
    if apart.size > 1:
        line = frames.positions[int(np.argmax(places))] - frames.positions[int(np.argmin(places))]
        line = line / (line @ normal)
    spoken = [*frames.spacings_mm, *([float(np.diff(apart).min())] if apart.size > 1 else [])]
    parallel = [scan] if abs(volume.slice_normal @ normal) > 1 - 1e-6 else []
    return [*parallel, *(line * mm for mm in spoken if mm > ON_LINE_MM), normal]


def _filled(
    dataset: Any, pixels: NDArray[Any], segments: Int64Array, index: Int64Array, rule: tuple[Grid, float]
) -> tuple[NDArray[np.int32], Any, int]:
    """Segment numbers on the grid, chances where the fractions are probabilities, and how many voxels are shared."""
    grid, threshold = rule
    most = float(whole(dataset, "MaximumFractionalValue", 1) or 1)
    fractional = text(dataset, "SegmentationType").upper() == "FRACTIONAL"
    frame, row, column = np.nonzero(pixels >= max(threshold * most, 1) if fractional else pixels)
    value = pixels[frame, row, column]
    segment = np.where(segments[frame] > 0, segments[frame], value).astype(np.int32)
    labels = np.zeros(grid.shape, dtype=np.int32)
    at = (column, row, index[frame])
    flat = np.ravel_multi_index(at, grid.shape)
    n_shared = len(flat) - len(np.unique(flat))
    if not fractional:
        labels[at] = segment
        return labels, None, n_shared
    order = np.argsort(value, kind="stable")  # the likeliest segment is written last
    labels[tuple(axis[order] for axis in at)] = segment[order]
    if text(dataset, "SegmentationFractionalType").upper() != "PROBABILITY":
        return labels, None, n_shared
    chances = np.zeros(grid.shape, dtype=np.float32)
    chances[tuple(axis[order] for axis in at)] = value[order] / most
    return labels, chances, n_shared


def _source(dataset: Any, segments: list[Any], path: Path) -> LesionSource:
    kinds = {text(item, "SegmentAlgorithmType").upper() for item in segments}
    identified = (first_item(item, "SegmentationAlgorithmIdentificationSequence") for item in segments)
    names = {text(item, "SegmentAlgorithmName") for item in segments}
    names |= {text(item, "AlgorithmName") for item in identified if item is not None}
    names -= {""}
    return LesionSource(
        name=names.pop() if len(names) == 1 else "given",
        format="DICOM SEG",
        algorithm_type=kinds.pop() if len(kinds) == 1 else "",
        author=text(dataset, "ContentCreatorName"),
        path=str(path),
        sha256=file_digest(path),
    )
