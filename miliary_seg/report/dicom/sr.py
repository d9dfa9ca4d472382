"""Measurements and decision as a DICOM Comprehensive 3D SR (TID 1500), with or without a segmentation to refer to.

highdicom makes the document: its modules, its observer, its evidence. The measurement groups come as bytes, since
highdicom takes more than ten seconds for those of 400 lesions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from miliary_seg.domain.result import SeriesResult
from miliary_seg.domain.sequence import Modality
from miliary_seg.report.dicom import codes
from miliary_seg.report.dicom.encoding import encoded, file_bytes, sequence
from miliary_seg.report.dicom.references import ObjectMetadata, Reference, SourceImages, finish, slice_header
from miliary_seg.report.dicom.seg import BINARY_STORAGE, LABELMAP_STORAGE, Kind, index_lesions
from miliary_seg.report.dicom.sr_groups import ShownOn, decision_group, lesion_group, slice_group, text_item
from miliary_seg.report.headline import summary
from miliary_seg.report.json_document import DISCLAIMER, PROPOSED_CRITERIA
from miliary_seg.report.lesion_records import image_number

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

SERIES_NUMBER = 9102
_CONTENT = 0x0040A730


def measurements(series: SeriesResult, source: SourceImages, metadata: ObjectMetadata, kind: Kind | None) -> bytes:
    """The DICOM file.

    Parameters
    ----------
    series
        The result; a series without lesions has a decision too.
    source
        The images it refers to.
    metadata
        Identifiers, date and patient.
    kind
        Which segmentation was written; None = none.
    """
    segmentation = _segmentation(metadata, kind) if kind else None
    document = _document(source, metadata, segmentation)
    root = list(document.ContentSequence)
    container = root.pop()
    groups = [
        decision_group(series, metadata),
        *(slice_group(evidence, series.decision, source, metadata) for evidence in series.decision.evidence_slices),
        *_lesion_groups(series, source, metadata, segmentation),
    ]
    del container[_CONTENT]
    items = [
        *(encoded(item) for item in root),
        *(text_item("CONTAINS", codes.COMMENT, words) for words in (summary(series), DISCLAIMER, PROPOSED_CRITERIA)),
        encoded(container) + sequence(_CONTENT, groups),
    ]
    return file_bytes(document, {_CONTENT: sequence(_CONTENT, items)})


def _segmentation(metadata: ObjectMetadata, kind: Kind) -> Reference:
    storage = BINARY_STORAGE if kind == "binary" else LABELMAP_STORAGE
    return Reference(sop_class_uid=storage, sop_instance_uid=metadata.uid(f"SEG {kind}"))


def _lesion_groups(
    series: SeriesResult, source: SourceImages, metadata: ObjectMetadata, segmentation: Reference | None
) -> list[bytes]:
    if not series.lesions:
        return []
    frames, _ = index_lesions(series).frames()
    places = series.assignment_of
    groups = []
    for number, lesion in enumerate(series.lesions, start=1):
        images = [source.slices[int(k)] for k in np.sort(frames[frames[:, 0] == number, 1])]
        shown = ShownOn(
            segmentation=segmentation,
            number=number,
            series_uid=source.series_uid,
            images=[image for image in images if image] or list(source.instances),
            image_number=image_number(series.volume, lesion.slices[len(lesion.slices) // 2]) if lesion.slices else None,
        )
        groups.append(lesion_group(lesion, places.get(lesion.id), shown, metadata))
    return groups


def _document(source: SourceImages, metadata: ObjectMetadata, segmentation: Reference | None) -> Dataset:
    """The document around one group that only holds its place."""
    from highdicom.coding_schemes import CodingSchemeIdentificationItem
    from highdicom.sr import CodedConcept, Comprehensive3DSR

    procedure = codes.HEAD_CT if source.volume.modality is Modality.CT else codes.BRAIN_MRI
    document = Comprehensive3DSR(
        evidence=_evidence(source, metadata, segmentation),
        content=_report(CodedConcept(*procedure), metadata),
        series_instance_uid=metadata.uid("SR series"),
        series_number=SERIES_NUMBER,
        sop_instance_uid=metadata.uid("SR"),
        instance_number=1,
        manufacturer="miliary-seg",
        manufacturer_model_name="miliary-seg",
        software_versions=metadata.version,
        device_serial_number=metadata.settings_digest[:16],
        is_complete=True,
        is_final=False,
        is_verified=False,
        series_description="miliary-seg measurements (research use only)",
        coding_schemes=[
            CodingSchemeIdentificationItem(
                designator=codes.SCHEME,
                name=codes.SCHEME_NAME,
                version=metadata.version,
                responsible_organization="miliary-seg",
            )
        ],
    )
    finish(document, metadata)
    return document


def _report(procedure: Any, metadata: ObjectMetadata) -> Any:
    from highdicom import sr
    from pydicom.sr.codedict import codes as known

    observer = sr.DeviceObserverIdentifyingAttributes(
        uid=metadata.uid("device"),
        name="miliary-seg",
        manufacturer_name="miliary-seg",
        model_name="miliary-seg",
    )
    context = sr.ObservationContext(observer_device_context=sr.ObserverContext(known.DCM.Device, observer))
    tracking = sr.TrackingIdentifier(uid=metadata.uid("decision"), identifier="Decision")
    group = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=tracking,
        finding_type=sr.CodedConcept(*codes.CRITERIA),
    )
    return sr.MeasurementReport(observation_context=context, procedure_reported=procedure, imaging_measurements=[group])


def _evidence(source: SourceImages, metadata: ObjectMetadata, segmentation: Reference | None) -> list[Dataset]:
    """Headers of everything that the document refers to."""
    from pydicom.dataset import Dataset

    first = slice_header(source, metadata)
    first.SOPClassUID = source.instances[0].sop_class_uid
    images = [*source.instances, *([segmentation] if segmentation else [])]
    headers = [first]
    for image in images:
        header = Dataset()
        header.SOPClassUID, header.SOPInstanceUID = image.sop_class_uid, image.sop_instance_uid
        header.StudyInstanceUID = source.study_uid
        header.SeriesInstanceUID = metadata.uid("SEG series") if image is segmentation else source.series_uid
        headers.append(header)
    return headers
