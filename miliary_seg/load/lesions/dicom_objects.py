"""What DICOM SEG and RTSTRUCT share: reading one object, its frame of reference, and who made it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from miliary_seg.domain.reason import Reason
from miliary_seg.domain.volume import Volume
from miliary_seg.errors import GeometryError
from miliary_seg.load.dicom.header import quiet_pydicom, text
from miliary_seg.load.file_boundary import file_boundary

RAS = (-1.0, -1.0, 1.0)
"""DICOM's patient axes are LPS+: the first two change their sign."""
FRAME_UNCHECKED = Reason(
    code="given_frame_unchecked",
    text="The scan states no frame of reference, so the lesions were placed by their coordinates alone.",
)


def read_object(path: Path) -> Any:
    """One DICOM object with everything in it.

    Raises
    ------
    UnreadableFileError
        If pydicom cannot read it.
    """
    import pydicom

    with file_boundary(path, "read the DICOM object"), quiet_pydicom():
        return pydicom.dcmread(path, force=True)


def require_same_frame(frame: str, volume: Volume, path: Path) -> tuple[Reason, ...]:
    """Compare frames of reference; a remark where the scan states none.

    Raises
    ------
    GeometryError
        If both state one and they differ: coordinates of one mean nothing in the other.
    """
    ours = volume.source.frame_of_reference_uid
    if frame and ours and frame != ours:
        what = "it belongs to another frame of reference (FrameOfReferenceUID) than the scan: another study or patient"
        raise GeometryError(what, where=path, todo="give lesions drawn on this scan, or convert them to NIfTI yourself")
    return () if frame and ours else (FRAME_UNCHECKED,)


def referenced_series(dataset: Any) -> tuple[str, ...]:
    """SeriesInstanceUIDs of the images that a SEG or RTSTRUCT was drawn on, and its FrameOfReferenceUIDs."""
    from miliary_seg.load.dicom.header import items

    found = [text(item, "SeriesInstanceUID") for item in items(dataset, "ReferencedSeriesSequence")]
    for frame in items(dataset, "ReferencedFrameOfReferenceSequence"):
        for study in items(frame, "RTReferencedStudySequence"):
            found += [text(item, "SeriesInstanceUID") for item in items(study, "RTReferencedSeriesSequence")]
    return tuple(uid for uid in found if uid)
