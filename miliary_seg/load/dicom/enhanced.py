"""Enhanced multi-frame objects: every frame placed by its own functional groups, shared ones standing in.

The order of the frames in the file means nothing: dcm2niix scrambles a file whose frames are stored out of order.
"""

from __future__ import annotations

from typing import Any

from miliary_seg.errors import UnreadableFileError
from miliary_seg.load.dicom.agent import AGENT_TRAIT
from miliary_seg.load.dicom.header import Header, PixelLayout, first_item, items, number, numbers, text
from miliary_seg.load.dicom.planes import Plane, modality_lut, positive, sop_class
from miliary_seg.load.dicom.traits import Trait, series_traits


def enhanced_planes(header: Header, layout: PixelLayout) -> list[Plane]:
    """One plane a frame.

    Raises
    ------
    UnreadableFileError
        If the number of per-frame items is not the number of frames.
    """
    dataset = header.dataset
    frames = items(dataset, "PerFrameFunctionalGroupsSequence")
    if len(frames) != layout.n_frames:
        raise UnreadableFileError(
            f"{layout.n_frames} frames, but {len(frames)} per-frame functional groups",
            where=header.path,
            todo="export the series again",
        )
    shared = (items(dataset, "SharedFunctionalGroupsSequence") or [None])[0]
    uid = text(dataset, "SOPInstanceUID")
    common = _common_traits(dataset)
    return [_plane(header, layout, index, (frame, shared), (uid, common)) for index, frame in enumerate(frames)]


def _plane(
    header: Header, layout: PixelLayout, index: int, groups: tuple[Any, Any], common: tuple[str, dict[str, Trait]]
) -> Plane:
    measures = first_item(*groups, "PixelMeasuresSequence")
    slope, intercept = modality_lut(first_item(*groups, "PixelValueTransformationSequence"), header.path)
    return Plane(
        layout=layout,
        frame=index,
        rows=layout.rows,
        columns=layout.columns,
        position=_numbers(first_item(*groups, "PlanePositionSequence"), "ImagePositionPatient", 3),
        orientation=_numbers(first_item(*groups, "PlaneOrientationSequence"), "ImageOrientationPatient", 6),
        spacing=_numbers(measures, "PixelSpacing", 2),
        thickness_mm=None if measures is None else positive(number(measures, "SliceThickness")),
        slope=slope,
        intercept=intercept,
        sop_instance_uid=common[0],
        sop_class_uid=sop_class(header.dataset),
        traits={**common[1], **_traits(groups)},
    )


def _numbers(item: Any, keyword: str, count: int) -> tuple[float, ...]:
    return () if item is None else numbers(item, keyword, count)


def _common_traits(dataset: Any) -> dict[str, Trait]:
    """What holds for a frame that says nothing else."""
    acquired = text(dataset, "AcquisitionDateTime")
    return {**series_traits(dataset), "AcquisitionTime": acquired, "moment": acquired}


def _traits(groups: tuple[Any, Any]) -> dict[str, Trait]:
    """What may tell the frames at one position apart, from the functional groups."""
    traits: dict[str, Trait] = {}
    for sequence, keyword, name in (
        ("MREchoSequence", "EffectiveEchoTime", "EchoTime"),
        ("MRDiffusionSequence", "DiffusionBValue", "DiffusionBValue"),
        ("MRModifierSequence", "InversionTimes", "InversionTime"),
        ("MRTimingAndRelatedParametersSequence", "FlipAngle", "FlipAngle"),
        ("MRTimingAndRelatedParametersSequence", "RepetitionTime", "RepetitionTime"),
        ("FrameContentSequence", "TemporalPositionIndex", "TemporalPositionIdentifier"),
        ("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime", "TriggerTime"),
        ("FrameContentSequence", "FrameAcquisitionNumber", "AcquisitionNumber"),
    ):
        item = first_item(*groups, sequence)
        value = None if item is None else number(item, keyword)
        if value is not None:
            traits[name] = value
    content = first_item(*groups, "FrameContentSequence")
    if content is not None and text(content, "FrameAcquisitionDateTime"):
        traits["AcquisitionTime"] = traits["moment"] = text(content, "FrameAcquisitionDateTime")
    frame_type = first_item(*groups, "MRImageFrameTypeSequence") or first_item(*groups, "CTImageFrameTypeSequence")
    if frame_type is not None:
        traits["ImageType"] = text(frame_type, "FrameType").upper()
        traits["kind"] = _frame_kind(frame_type)
    usage = first_item(*groups, "ContrastBolusUsageSequence")
    if usage is not None and text(usage, "ContrastBolusAgentAdministered"):
        administered = text(usage, "ContrastBolusAgentAdministered").upper() == "YES"
        traits["ContrastBolusAgent"] = AGENT_TRAIT[administered]
    diffusion = first_item(*groups, "MRDiffusionSequence")
    if diffusion is not None and text(diffusion, "DiffusionDirectionality").upper() == "ISOTROPIC":
        traits["DiffusionDirectionality"] = "ISOTROPIC"
    direction = first_item(diffusion, "DiffusionGradientDirectionSequence") if diffusion is not None else None
    if direction is not None:
        traits["DiffusionGradientOrientation"] = text(direction, "DiffusionGradientOrientation")
    return traits


def _frame_kind(frame_type: Any) -> str:
    component = text(frame_type, "ComplexImageComponent").lower()
    if component in ("phase", "real", "imaginary"):
        return component
    kinds = text(frame_type, "FrameType").upper().split("\\")[2:]
    return "phase" if any(word in kinds for word in ("P", "PHASE", "PHASE MAP")) else "magnitude"
