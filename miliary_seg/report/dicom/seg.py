"""Lesions as a DICOM Segmentation on the grid of the images: one segment a lesion.

highdicom makes the object, with all its modules and segment descriptions, from the first slice that shows a lesion. The
frames are added here, in one pass over the label map: highdicom looks at every pair of lesion and slice, which takes
seconds for 400 lesions, and pydicom writes each frame's six nested sequences element by element.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from miliary_seg.domain.arrays import Int64Array
from miliary_seg.domain.compartment import Assignment, Compartment
from miliary_seg.domain.result import SeriesResult
from miliary_seg.report.dicom import codes
from miliary_seg.report.dicom.encoding import coded, element, file_bytes, sequence, text
from miliary_seg.report.dicom.images import plane_geometry
from miliary_seg.report.dicom.names import lesion_name, region_code
from miliary_seg.report.dicom.references import (
    ObjectMetadata,
    Reference,
    SourceImages,
    code_item,
    finish,
    slice_header,
)
from miliary_seg.report.html.views import COMPARTMENT_COLOURS
from miliary_seg.report.sanitise import sanitise

if TYPE_CHECKING:
    from highdicom.seg import SegmentDescription
    from pydicom.dataset import Dataset

BINARY_STORAGE, LABELMAP_STORAGE = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"
SERIES_NUMBER = 9101
Kind = Literal["binary", "labelmap"]

_PER_FRAME, _PIXELS = 0x52009230, 0x7FE00010


@dataclass(frozen=True, slots=True, kw_only=True)
class VoxelIndex:
    """Where segments meet slices."""

    segment: Int64Array
    """Segment number of every lesion voxel, ascending."""
    index: Int64Array
    """Its slice, ascending within the segment."""
    pixel: Int64Array
    """Its place in the plane: row x columns + column."""

    def frames(self) -> tuple[Int64Array, Int64Array]:
        """(segment, slice) of every frame, shape (n, 2), and the frame of every voxel."""
        new = np.r_[True, (np.diff(self.segment) != 0) | (np.diff(self.index) != 0)]
        frame_of = np.cumsum(new) - 1
        return np.stack([self.segment[new], self.index[new]], axis=1), frame_of


def index_lesions(series: SeriesResult) -> VoxelIndex:
    """All lesion voxels, ordered by segment, slice and pixel; segment n is the n-th lesion of the series."""
    volume = series.volume
    columns, rows = volume.in_plane_axes
    labels = series.detection.lesion_labels.labels
    ijk = np.unravel_index(np.flatnonzero(labels), labels.shape)  # five times quicker than nonzero in 3-D
    ids = np.array([lesion.id for lesion in series.lesions])
    order = np.argsort(ids)
    segment = order[np.searchsorted(ids, labels[ijk], sorter=order)] + 1
    index = ijk[volume.slice_axis]
    pixel = ijk[rows] * volume.grid.shape[columns] + ijk[columns]
    by = np.lexsort((pixel, index, segment))
    return VoxelIndex(segment=segment[by], index=index[by], pixel=pixel[by])


def segmentation(series: SeriesResult, source: SourceImages, metadata: ObjectMetadata, kind: Kind = "binary") -> bytes:
    """The DICOM file.

    Parameters
    ----------
    series
        With at least one lesion.
    source
        The images it refers to.
    metadata
        Identifiers, date and patient.
    kind
        ``binary`` = one bit a pixel and one frame for every segment on every slice that it meets; ``labelmap`` = one
        frame a slice whose pixels are segment numbers.
    """
    cut = index_lesions(series)
    dataset = _template(series, source, metadata, kind, cut)
    shared = "SegmentIdentificationSequence" in dataset.SharedFunctionalGroupsSequence[0]
    if kind == "binary":
        frames, frame_of = cut.frames()
        pixels = _bits(frame_of, cut.pixel, len(frames), source.plane_shape)
    else:
        frames = np.stack([np.zeros(series.volume.n_slices, np.int64), np.arange(series.volume.n_slices)], axis=1)
        pixels = _labels(cut, dataset.BitsAllocated, series.volume.n_slices, source.plane_shape)
    dataset.NumberOfFrames = len(frames)
    places = [_place(source, index) for index in range(series.volume.n_slices)]
    items = [_frame(int(n), int(k), places[k], 0 if shared else int(n)) for n, k in frames]
    word = "OW" if dataset.BitsAllocated == 16 else "OB"
    return file_bytes(dataset, {_PER_FRAME: sequence(_PER_FRAME, items), _PIXELS: element(_PIXELS, word, pixels)})


def _template(
    series: SeriesResult, source: SourceImages, metadata: ObjectMetadata, kind: Kind, cut: VoxelIndex
) -> Dataset:
    """The object with one frame, as highdicom makes and checks it; references and identifiers completed."""
    from highdicom.seg import Segmentation

    first = int(cut.index[0])
    here = (cut.index == first) & (cut.segment == cut.segment[0])
    plane = np.zeros((1, *source.plane_shape), np.uint16)
    plane.reshape(-1)[cut.pixel[here]] = cut.segment[here]
    seg = Segmentation(
        source_images=[slice_header(source, metadata, first)],
        pixel_array=plane,
        segmentation_type=kind.upper(),
        segment_descriptions=_descriptions(series, metadata),
        series_instance_uid=metadata.uid("SEG series"),
        series_number=SERIES_NUMBER,
        sop_instance_uid=metadata.uid(f"SEG {kind}"),
        instance_number=1,
        manufacturer="miliary-seg",
        manufacturer_model_name="miliary-seg",
        software_versions=metadata.version,
        device_serial_number=metadata.settings_digest[:16],
        content_label="LESIONS",
        content_description="Lesions found automatically" if is_ours(series) else "Lesions that were given",
        content_creator_name="miliary-seg^",
        series_description="miliary-seg lesions (research use only)",
        omit_empty_frames=kind == "binary",
    )
    organisation = metadata.uid("dimension organisation")
    for item in (*seg.DimensionIndexSequence, *seg.DimensionOrganizationSequence):
        item.DimensionOrganizationUID = organisation
    if kind == "labelmap" and not series.volume.grid.is_sheared:
        seg.DimensionOrganizationType = "3D"
    images = [_instance(image) for image in source.instances]
    seg.SourceImageSequence = images
    seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence = images
    finish(seg, metadata)
    return seg


def _descriptions(series: SeriesResult, metadata: ObjectMetadata) -> list[SegmentDescription]:
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.color import CIELabColor
    from highdicom.seg import SegmentDescription
    from highdicom.sr import CodedConcept

    category, kind, family = (
        CodedConcept(*code) for code in (codes.ABNORMAL_STRUCTURE, codes.BRAIN_LESION, codes.ARTIFICIAL_INTELLIGENCE)
    )
    made_by = series.detection.source
    algorithm = None
    if made_by.algorithm_type != "MANUAL":
        name = "miliary-seg" if made_by.is_ours else sanitise(made_by.name)[:64]
        parameters = {"settings": metadata.settings_digest}
        version = metadata.version if made_by.is_ours else "unknown"
        algorithm = AlgorithmIdentificationSequence(name=name, family=family, version=version, parameters=parameters)
    colours = {c: CIELabColor.from_string(colour) for c, colour in COMPARTMENT_COLOURS.items()}
    places = series.assignment_of
    described = [
        SegmentDescription(
            segment_number=number,
            segment_label=lesion_name(lesion, places.get(lesion.id))[:64],
            segmented_property_category=category,
            segmented_property_type=kind,
            algorithm_type=made_by.algorithm_type or "SEMIAUTOMATIC",  # one of three is asked for
            algorithm_identification=algorithm,
            tracking_uid=metadata.uid(f"lesion {lesion.id}"),
            tracking_id=f"Lesion {lesion.id}",
            anatomic_regions=[CodedConcept(*region_code(places.get(lesion.id)))],
            display_color=colours[_compartment(places.get(lesion.id))],
        )
        for number, lesion in enumerate(series.lesions, start=1)
    ]
    for item, lesion in zip(described, series.lesions, strict=True):
        place = places.get(lesion.id)
        if place is not None and place.side is not None:
            item.AnatomicRegionSequence[0].AnatomicRegionModifierSequence = [code_item(codes.SIDES[place.side])]
    return described


def _compartment(place: Assignment | None) -> Compartment | None:
    return None if place is None else place.compartment


def is_ours(series: SeriesResult) -> bool:
    """Whether our own detector found the lesions."""
    return series.detection.source.is_ours


def _instance(image: Reference) -> Dataset:
    from pydicom.dataset import Dataset

    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = image.sop_class_uid, image.sop_instance_uid
    return item


def reference(image: Reference) -> bytes:
    """The elements that refer to an image or a frame of it."""
    parts = [text(0x00081150, "UI", image.sop_class_uid), text(0x00081155, "UI", image.sop_instance_uid)]
    return b"".join(parts if image.frame is None else [*parts, text(0x00081160, "IS", str(image.frame))])


def _place(source: SourceImages, index: int) -> tuple[bytes, bytes]:
    """What all frames on one slice share: the image they were drawn on, and their position."""
    image, items = source.slices[index], []
    if image is not None:
        origin = b"".join([reference(image), text(0x0028135A, "CS", "YES"), coded(0x0040A170, codes.PROCESSED_IMAGE)])
        items = [sequence(0x00082112, [origin]) + coded(0x00089215, codes.SEGMENTATION)]
    position: Sequence[Any] = plane_geometry(source.volume, index)["ImagePositionPatient"]
    corner = text(0x00200032, "DS", "\\".join(map(str, position)))
    return sequence(0x00089124, items), sequence(0x00209113, [corner])


def _frame(number: int, index: int, place: tuple[bytes, bytes], named: int) -> bytes:
    """Functional groups of one frame; ``named`` = 0 leaves the segment to the shared groups or to the pixels."""
    dimensions = np.array([index + 1] if number == 0 else [number, index + 1], "<u4").tobytes()
    derivation, position = place
    parts = [derivation, sequence(0x00209111, [element(0x00209157, "UL", dimensions)]), position]
    if named:
        segment = element(0x0062000B, "US", number.to_bytes(2, "little"))
        parts.append(sequence(0x0062000A, [segment]))
    return b"".join(parts)


def _bits(frame_of: Int64Array, pixel: Int64Array, n_frames: int, shape: tuple[int, int]) -> bytes:
    """Frames of one bit a pixel, packed without gaps, the first pixel in the lowest bit (PS3.5 8.1.1)."""
    n_pixels = shape[0] * shape[1]
    place = frame_of * n_pixels + pixel
    packed = np.zeros(-(-n_frames * n_pixels // 8), np.uint8)
    np.bitwise_or.at(packed, place >> 3, (1 << (place & 7)).astype(np.uint8))
    return packed.tobytes()


def _labels(cut: VoxelIndex, bits: int, n_slices: int, shape: tuple[int, int]) -> bytes:
    planes = np.zeros((n_slices, shape[0] * shape[1]), np.uint8 if bits == 8 else "<u2")
    planes[cut.index, cut.pixel] = cut.segment
    return planes.tobytes()
