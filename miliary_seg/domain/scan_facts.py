"""From a located and searched scan to what the criteria may know of it."""

from __future__ import annotations

from math import ceil, floor, pi

from miliary_seg.domain.decision import ScanFacts
from miliary_seg.domain.lesion import Candidate, Lesion
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
        mask_trust=location.mask_trust,
        image_doubts=(*detection.doubts, *_grey_value_doubts(volume)),
        artefact_doubts=detection.artefact_doubts,
        lesion_sensitivity=point.measured_recall,
        false_positives_per_slice=point.measured_false_positives_per_slice,
        evidence_probability=point.evidence_probability,
        evidence_false_positives_per_slice=point.evidence_false_positives_per_slice,
        unmarked=unmarked(volume, detection) if detection.source.is_ours else None,
    )


LEAST_PROBABILITY = 0.01
"""Less probable candidates are left out of the sum: a scan has thousands of them, and none is seen by a reader."""


def unmarked(volume: Volume, detection: Detection) -> tuple[Lesion, ...]:
    """Candidates that are too improbable to be marked, as lesions: what they add to the true count is not nothing."""
    return tuple(
        _as_lesion(rejection.candidate, volume)
        for rejection in detection.rejections
        if rejection.rule == "probability" and rejection.candidate.probability >= LEAST_PROBABILITY
    )


def _as_lesion(candidate: Candidate, volume: Volume) -> Lesion:
    """A candidate as a ball: it shows on the slices whose middle planes cut the ball, or on the nearest."""
    place = candidate.centroid_ijk[volume.slice_axis]
    half = max(candidate.diameter_mm / 2 / volume.slice_spacing_mm, 0.5)
    first, last = max(0, ceil(place - half)), min(volume.n_slices - 1, floor(place + half))
    return Lesion(
        id=-candidate.id,
        centroid_ras_mm=candidate.centroid_ras_mm,
        centroid_ijk=candidate.centroid_ijk,
        volume_mm3=pi / 6 * candidate.diameter_mm**3,
        equivalent_diameter_mm=candidate.diameter_mm,
        contrast=candidate.contrast,
        probability=candidate.probability,
        polarity=candidate.polarity,
        slices=tuple(range(first, last + 1)),
        candidate_id=candidate.id,
    )


def _grey_value_doubts(volume: Volume) -> tuple[Reason, ...]:
    if volume.modality is not Modality.CT or volume.in_hounsfield:
        return ()
    text = "The grey values of this CT are not in HU; few visible lesions say little."
    return (Reason(code="ct_not_hounsfield", text=text),)
