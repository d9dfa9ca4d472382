"""CaseResult -> the plain document that becomes ``result.json`` (described by ``schema/result.schema.json``)."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from functools import cache
from importlib.resources import files
from numbers import Integral
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from miliary_seg.domain.comparison import Comparison
from miliary_seg.domain.compartment import Assignment, Compartment, Coverage, Registration
from miliary_seg.domain.decision import CriterionResult, Decision, EvidenceSlice, InterpretationResult
from miliary_seg.domain.lesion_source import LesionSource
from miliary_seg.domain.pattern import Pattern
from miliary_seg.domain.reason import Reason
from miliary_seg.domain.result import CaseResult, Detection, SeriesResult
from miliary_seg.domain.volume import Volume
from miliary_seg.errors import OutputError
from miliary_seg.report.file_names import series_files, series_folders
from miliary_seg.report.sanitise import sanitise, without_uids

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

Json = dict[str, Any]

LEAST_CHANCE = 0.0005
"""Counts less likely than this are one draw of the simulation: left out of the file."""


def decision_document(decision: Decision) -> Json:
    """The answer for one series with its evidence."""
    return {
        "verdict": str(decision.verdict),
        "statement": f"The pattern {decision.verdict.text}.",
        "reasons": reasons_document(decision.reasons),
        "criteria": [_criterion(c) for c in decision.criteria],
        "readings": [_reading(r) for r in decision.readings],
        "probability": decision.probability,
        "borderline": decision.borderline,
        "margin": decision.margin,
        "count_distribution": _distribution(decision),
        "threshold": decision.threshold,
        "evidence_slices": [_evidence(e) for e in decision.evidence_slices],
        "quadrant_counts": dict(decision.quadrant_counts),
    }


def _distribution(decision: Decision) -> Json | None:
    """Counts with their probabilities, as two lists, without those below ``LEAST_CHANCE``."""
    interval = decision.count_interval
    if interval is None:
        return None
    kept = [(count, chance) for count, chance in decision.count_distribution if chance >= LEAST_CHANCE]
    return {
        "low": interval[0],
        "median": interval[1],
        "high": interval[2],
        "counts": [count for count, _ in kept],
        "probabilities": [chance for _, chance in kept],
    }


def _criterion(criterion: CriterionResult) -> Json:
    return {
        "name": criterion.name,
        "verdict": str(criterion.verdict),
        "statement": criterion.statement,
        "citation": criterion.citation,
        "observed": criterion.observed,
        "threshold": criterion.threshold,
        "evidence": list(criterion.evidence),
        "reasons": reasons_document(criterion.reasons),
    }


def _reading(reading: InterpretationResult) -> Json:
    return {
        "name": reading.name,
        "verdict": str(reading.verdict),
        "is_default": reading.is_default,
        "choices": dict(reading.choices),
        "reasons": reasons_document(reading.reasons),
        "margin": reading.margin,
        "probability": reading.probability,
    }


def _evidence(evidence: EvidenceSlice) -> Json:
    centre = evidence.centre_ras_mm
    return {
        "index": evidence.index,
        "position_mm": evidence.position_mm,
        "centre_ras_mm": None if centre is None else list(centre),
        "sop_instance_uid": evidence.sop_instance_uid,
        "n_lesions": evidence.n_lesions,
        "image": evidence.image,
    }


def reasons_document(reasons: tuple[Reason, ...]) -> list[Json]:
    """Codes for programs, texts for people."""
    return [{"code": reason.code, "text": reason.text} for reason in reasons]


def schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of ``result.json``, with a description and a unit for every key."""
    text = files("miliary_seg").joinpath("schema", "result.schema.json").read_text("utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def validate(document: dict[str, Any]) -> None:
    """Check a document.

    Raises
    ------
    OutputError
        If it does not follow the schema; the message names the key, never the value.
    """
    from jsonschema.exceptions import best_match

    error = best_match(_validator().iter_errors(document))
    if error is not None:
        place = "/".join(map(str, error.absolute_path)) or "the document"
        what = f"result.json would break its schema at {place} ({error.validator})"
        raise OutputError(what, todo="please report it")


@cache
def _validator() -> Draft202012Validator:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(schema())


CITATION = (
    "Bashour SI, Ibrahim NK, Schomer DF, et al. Central nervous system miliary metastasis in breast cancer: a case "
    "series analysis and proposed identification criteria of a rare metastasis subtype. Br J Cancer "
    "2020;123:1417-1423. doi:10.1038/s41416-020-1008-2"
)

DISCLAIMER = "Research use only. Not a medical device and not for clinical decisions. A person must look at the images."

PROPOSED_CRITERIA = (
    "The criteria are proposed, drawn from one series of patients with breast cancer, and not externally validated; "
    "for any other primary tumour they are an extrapolation. They count lesions and say nothing of their nature: "
    "vessels, perivascular spaces, microbleeds, infection and inflammation can show the same pattern, and a scan "
    "without visible lesions does not exclude miliary disease."
)

RULE = (
    "At least 20 lesions per image on at least two non-contiguous MRI images, or at least 10 lesions per image on at "
    "least two non-contiguous CT images; and bilateral lesions located in both the supratentorial and the "
    "infratentorial compartment."
)

FACE_NOTE = "Pictures and label maps of a head can show the shape of a face: share them as you would share the scan."


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
    cleaned: Json = finite(document)
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
        "detection": _detection(detection, identified=identified),
        "decision": decision_document(series.decision),
        "slices": slice_rows(series),
        "lesion_sizes": lesion_sizes(series),
        "pattern": pattern_document(series.pattern or Pattern(n_lesions=len(series.lesions))),
        "lesions": lesion_rows(series),
        "caveats": reasons_document(series.caveats),
        "comparisons": [comparison_document(series, other) for other in series.comparisons],
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


def _detection(detection: Detection, *, identified: bool) -> Json:
    by_rule: dict[str, int] = {}
    for rejection in detection.rejections:
        by_rule[rejection.rule] = by_rule.get(rejection.rule, 0) + 1
    return {
        "source": source_document(detection.source, identified=identified),
        "polarity": str(detection.polarity),
        "noise_sigma": detection.noise_sigma,
        "operating_point": asdict(detection.operating_point),
        "detectable_diameter_mm": detection.detectable_diameter_mm,
        "n_candidates": len(detection.candidates),
        "n_rejected": len(detection.rejections),
        "rejected_by_rule": dict(sorted(by_rule.items())),
        "doubts": reasons_document((*detection.doubts, *detection.artefact_doubts)),
    }


def source_document(source: LesionSource, *, identified: bool = False) -> Json:
    """Who found the lesions; a person's name and the path only where the document is identified."""
    said = {"name": source.name, "format": source.format, "algorithm_type": source.algorithm_type}
    kept = {**said, "sha256": source.sha256, "text": source.text}
    return {**kept, "author": source.author, "path": source.path} if identified else kept


def comparison_document(series: SeriesResult, other: Comparison) -> Json:
    """Another detector on the same scan, beside the one whose lesions are listed."""
    counts = slice_counts(series)
    theirs = other.decision.slice_counts
    return {
        "first": source_document(other.first),
        "second": source_document(other.second),
        "verdict_first": str(other.first_verdict),
        "verdict_second": str(other.decision.verdict),
        "agree": other.agree,
        "n_both": len(other.both),
        "n_only_first": len(other.only_first),
        "n_only_second": len(other.only_second),
        "both": [list(pair) for pair in other.both],
        "only_first": list(other.only_first),
        "only_second": list(other.only_second),
        "slice_counts_first": list(counts),
        "slice_counts_second": list(theirs),
        "margin_second": other.decision.margin,
        "lesions_second": [
            {
                "id": lesion.id,
                "centroid_ras_mm": list(lesion.centroid_ras_mm),
                "equivalent_diameter_mm": lesion.equivalent_diameter_mm,
                "probability": lesion.probability,
                "slices": list(lesion.slices),
            }
            for lesion in other.lesions
        ],
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


def finite(value: Any) -> Any:
    """A copy in which text is inert, numbers are plain and rounded, and what is not finite is None."""
    if isinstance(value, dict):
        return {sanitise(key): finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    if isinstance(value, str):
        return sanitise(value)
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, Integral):
        return int(value)
    number = float(value)
    return round(number, DECIMALS) + 0.0 if math.isfinite(number) else None
