"""From a located and searched scan to what the criteria may know of it."""

from __future__ import annotations

from miliary_seg.domain.decision import ScanFacts
from miliary_seg.domain.reason import Reason
from miliary_seg.domain.result import Detection, Location
from miliary_seg.domain.sequence import Modality
from miliary_seg.domain.volume import Volume


def scan_facts(volume: Volume, location: Location, detection: Detection) -> ScanFacts:
    """What the criteria may know of a scan: geometry, coverage and trust, but no voxels."""
    centres = volume.slice_centres_ras_mm
    point = detection.operating_point
    return ScanFacts(
        modality=volume.modality,
        sequence=volume.sequence,
        slice_positions_mm=tuple(round(float(d), 6) for d in centres @ volume.slice_normal),
        slice_centres_ras_mm=tuple((round(float(r), 4), round(float(a), 4), round(float(s), 4)) for r, a, s in centres),
        sop_instance_uids=volume.source.sop_instance_uids,
        thickness_mm=volume.thickness_mm,
        gap_mm=volume.gap_mm,
        n_brain_slices=int(location.brain_mask.any(axis=volume.in_plane_axes).sum()),
        missing_slices=volume.missing_slices,
        interpolated=volume.resampled and not volume.missing_slices,
        coverage=location.coverage,
        registration=location.registration,
        image_doubts=(*detection.doubts, *_grey_value_doubts(volume)),
        artefact_doubts=detection.artefact_doubts,
        lesion_sensitivity=point.measured_recall,
        false_positives_per_slice=point.measured_false_positives_per_slice,
        evidence_probability=point.evidence_probability,
        evidence_false_positives_per_slice=point.evidence_false_positives_per_slice,
    )


def _grey_value_doubts(volume: Volume) -> tuple[Reason, ...]:
    if volume.modality is not Modality.CT or volume.in_hounsfield:
        return ()
    text = "The grey values of this CT are not in HU; few visible lesions say little."
    return (Reason(code="ct_not_hounsfield", text=text),)
