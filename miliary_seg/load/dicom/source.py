"""What the loader needs of a stack that was found."""

from __future__ import annotations

from dataclasses import dataclass

from miliary_seg.load.dicom.geometry import Placement
from miliary_seg.load.dicom.stacks import Stack


@dataclass(frozen=True, slots=True, kw_only=True)
class DicomSource:
    """A stack with its place and its study."""

    stack: Stack
    placement: Placement | None
    study_uid: str
    frame_of_reference_uid: str
