"""CaseResult -> the plain document that becomes ``result.json`` (described by ``schema/result.schema.json``)."""

from __future__ import annotations

import math
from dataclasses import asdict
from numbers import Integral
from statistics import median
from typing import Any

import numpy as np

from miliary_seg.domain.compartment import Assignment, Compartment, Coverage, Registration
from miliary_seg.domain.pattern import Pattern
from miliary_seg.domain.result import CaseResult, Detection, SeriesResult
from miliary_seg.domain.volume import Volume
from miliary_seg.report.decision_document import Json, decision_document, reasons_document
from miliary_seg.report.file_names import series_files, series_folders
from miliary_seg.report.plain_text import plain, without_uids
from miliary_seg.report.statements import CITATION, DISCLAIMER, PROPOSED_CRITERIA

SCHEMA_VERSION = "1.1.0"
"""Semantic version of the document: a key that goes or changes its meaning is a new major version."""

DECIMALS = 6
"""Decimals kept of every measured number: a nanometre, far below any scanner, and stable between machines."""


def case_document(result: CaseResult) -> Json:
    """Everything that one case came to, as plain values for JSON.

    Deterministic: no clock, no run time, no host. Without ``report.identified`` it holds no file path, no study or
    series UID; SOPInstanceUIDs of the slices stay, since they are what the evidence refers to.

    Parameters
    ----------
    result
        One analysed case.

    Returns
    -------
    dict
        Keys as in docs/results.md; numbers are finite, unknown ones are ``None``.
    """
    identified = is_identified(result)
    folders = series_folders(result)
    document = {
        "schema_version": SCHEMA_VERSION,
        "case": result.case,
        "verdict": str(result.decision.verdict),
        "statement": f"The pattern {result.decision.verdict.text}.",
        "reasons": reasons_document(result.decision.reasons),
        "deciding_series": list(result.decision.deciding_series),
        "disclaimer": DISCLAIMER,
        "criteria_note": PROPOSED_CRITERIA,
        "citation": CITATION,
        "software": dict(result.software),
        "settings": result.settings if identified else without_uids(result.settings),
        "settings_digest": result.settings_digest,
        "caveats": reasons_document(result.caveats),
        "identified": identified,
        "series": [series_document(s, folders[s.id], identified=identified) for s in result.series],
    }
    cleaned: Json = _finite(document)
    return cleaned


def is_identified(result: CaseResult) -> bool:
    """Whether file names and UIDs may be written (``report.identified``)."""
    return bool(result.settings.get("report", {}).get("identified", False))


def series_document(series: SeriesResult, folder: str, *, identified: bool) -> Json:
    """One series of the document (numbers not yet rounded)."""
    volume, detection, location = series.volume, series.detection, series.location
    return {
        "id": series.id,
        "sequence": str(volume.sequence.sequence),
        "sequence_confidence": volume.sequence.confidence,
        "sequence_evidence": list(volume.sequence.evidence),
        "modality": str(volume.modality),
        "source": _source(volume, identified=identified),
        "geometry": geometry_document(volume),
        "coverage": coverage_document(location.coverage),
        "registration": _registration(location.registration),
        "detection": _detection(detection),
        "decision": decision_document(series.decision),
        "slices": slice_rows(series),
        "lesion_sizes": lesion_sizes(series),
        "pattern": pattern_document(series.pattern or Pattern(n_lesions=len(series.lesions))),
        "lesions": lesion_rows(series),
        "caveats": reasons_document(series.caveats),
        "files": series_files(folder, compartments=location.registration.sides_usable),
    }


def geometry_document(volume: Volume) -> Json:
    """Where the voxels lie, and what is missing between the slices."""
    gaps = [{"kind": "missing_slice", "slice": int(k)} for k in volume.missing_slices]
    if volume.gap_mm > 0.01:  # mm; below it is rounding of the stated thickness
        gaps.insert(0, {"kind": "between_slices", "width_mm": volume.gap_mm})
    return {
        "shape": list(volume.grid.shape),
        "spacing_mm": list(volume.grid.spacing_mm),
        "affine_ras_mm": volume.grid.affine.tolist(),
        "orientation": volume.grid.orientation,
        "orientation_known": volume.orientation_known,
        "oblique_deg": volume.grid.oblique_deg,
        "sheared": volume.grid.is_sheared,
        "slice_axis": volume.slice_axis,
        "plane": volume.plane,
        "slice_thickness_mm": volume.thickness_mm,
        "slice_thickness_stated": volume.slice_thickness_mm is not None,
        "slice_spacing_mm": volume.slice_spacing_mm,
        "n_slices": volume.n_slices,
        "gaps": gaps,
        "resampled": volume.resampled,
    }


def coverage_document(coverage: Coverage) -> Json:
    """Fraction of each compartment in view."""
    return {c.name.lower(): coverage.of(c) for c in Compartment}


def slice_rows(series: SeriesResult) -> list[Json]:
    """One mapping a slice: place, count, the count that a thick slab starting here would have shown."""
    volume, decision = series.volume, series.decision
    centres = volume.slice_centres_ras_mm
    positions = centres @ volume.slice_normal
    uids = volume.source.sop_instance_uids
    counts = slice_counts(series)
    evidence = {e.index for e in decision.evidence_slices}
    return [
        {
            "index": k,
            "position_mm": float(positions[k]),
            "centre_ras_mm": [float(x) for x in centres[k]],
            "sop_instance_uid": uids[k] if k < len(uids) else None,
            "n_lesions": counts[k],
            "n_lesions_slab": decision.slab_counts[k] if k < len(decision.slab_counts) else None,
            "reaches_threshold": counts[k] >= decision.threshold,
            "is_evidence": k in evidence,
        }
        for k in range(volume.n_slices)
    ]


def slice_counts(series: SeriesResult) -> tuple[int, ...]:
    """Lesions per slice as the decision counted them; counted here where the decision does not say."""
    if len(series.decision.slice_counts) == series.volume.n_slices:
        return series.decision.slice_counts
    indices = np.array([k for lesion in series.lesions for k in lesion.slices], dtype=np.int64)
    return tuple(int(n) for n in np.bincount(indices, minlength=series.volume.n_slices))


def lesion_rows(series: SeriesResult) -> list[Json]:
    """One mapping a lesion: measurements and assignment together."""
    places = {a.lesion_id: a for a in series.assignments}
    candidates = {lesion.id: lesion.candidate_id for lesion in series.lesions}
    rows = []
    for row in series.lesion_rows():
        place: Assignment = places[row["id"]]
        compartment = place.compartment
        row["compartment"] = None if compartment is None else compartment.name.lower()
        row["midline_distance_mm"] = place.midline_distance_mm
        row["tentorium_distance_mm"] = place.tentorium_distance_mm
        row["candidate_id"] = candidates[row["id"]]
        rows.append(row)
    return rows


def lesion_sizes(series: SeriesResult) -> Json:
    """How large the lesions are: described, never used for the answer (R14)."""
    diameters = sorted(lesion.equivalent_diameter_mm for lesion in series.lesions)
    if not diameters:
        return {"n": 0}
    q1, q3 = (float(q) for q in np.percentile(diameters, [25, 75]))
    middle = median(diameters)
    return {
        "n": len(diameters),
        "smallest_mm": diameters[0],
        "quartile_1_mm": q1,
        "median_mm": middle,
        "quartile_3_mm": q3,
        "largest_mm": diameters[-1],
        "largest_over_median": diameters[-1] / middle if middle > 0 else None,
        "n_below_3_mm": sum(d < 3.0 for d in diameters),
        "total_volume_mm3": sum(lesion.volume_mm3 for lesion in series.lesions),
    }


def pattern_document(pattern: Pattern) -> Json:
    """Uniformity, dominance and homogeneity of the lesion set: described, never used for the answer (R22)."""
    found = pattern.homogeneity
    return {
        "n_lesions": pattern.n_lesions,
        "below_3_mm_fraction": pattern.below_3_mm_fraction,
        "diameter_cv": pattern.diameter_cv,
        "diameter_iqr_over_median": pattern.diameter_iqr_over_median,
        "largest_over_median": pattern.largest_over_median,
        "homogeneity": None
        if found is None
        else {
            "distribution": str(found.distribution),
            "nearest_neighbour": asdict(found.nearest_neighbour),
            "neighbours_within_radius": asdict(found.neighbours_within),
            "radius_mm": found.radius_mm,
            "n_simulations": found.n_simulations,
        },
    }


def _detection(detection: Detection) -> Json:
    by_rule: dict[str, int] = {}
    for rejection in detection.rejections:
        by_rule[rejection.rule] = by_rule.get(rejection.rule, 0) + 1
    return {
        "polarity": str(detection.polarity),
        "noise_sigma": detection.noise_sigma,
        "operating_point": asdict(detection.operating_point),
        "detectable_diameter_mm": detection.detectable_diameter_mm,
        "n_candidates": len(detection.candidates),
        "n_rejected": len(detection.rejections),
        "rejected_by_rule": dict(sorted(by_rule.items())),
        "doubts": reasons_document((*detection.doubts, *detection.artefact_doubts)),
    }


def _registration(registration: Registration) -> Json:
    return {
        "trusted": registration.trusted,
        "trust": registration.trust,
        "brain_found": registration.brain_found,
        "orientation_known": registration.orientation_known,
        "reoriented": registration.reoriented,
        "skull_stripped": registration.skull_stripped,
        "figures": dict(sorted(registration.figures.items())),
        "reasons": reasons_document(registration.reasons),
    }


def _source(volume: Volume, *, identified: bool) -> Json:
    source = volume.source
    kept = {"format": source.format, "n_files": len(source.paths), "sha256": source.sha256}
    kept["orientation_source"] = source.orientation_source
    if identified:
        kept["study_instance_uid"] = source.study_instance_uid
        kept["series_instance_uid"] = source.series_instance_uid
        kept["frame_of_reference_uid"] = source.frame_of_reference_uid
        kept["paths"] = list(source.paths)
    return kept


def _finite(value: Any) -> Any:
    """Copy in which text is inert, numbers are plain and rounded, and what is not finite is None."""
    if isinstance(value, dict):
        return {plain(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, Integral):
        return int(value)
    number = float(value)
    return round(number, DECIMALS) + 0.0 if math.isfinite(number) else None
