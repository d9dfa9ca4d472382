"""The columns of every table: name (with its unit), meaning, and where the value comes from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a CSV file."""

    name: str
    unit: str
    """``mm``, ``voxel`` ...; empty where the value has none."""
    text: str
    value: Callable[[Row], Any]


def _column(name: str, unit: str, text: str, key: str = "") -> Column:
    return Column(name=name, unit=unit, text=text, value=lambda row: row.get(key or name))


def _item(name: str, unit: str, text: str, key: str, index: int) -> Column:
    return Column(name=name, unit=unit, text=text, value=lambda row: (row.get(key) or [None] * 3)[index])


def _joined(name: str, text: str, key: str) -> Column:
    return Column(name=name, unit="", text=text, value=lambda row: ";".join(str(x) for x in row.get(key) or ()))


_PLACE = (
    _item("centroid_r_mm", "mm", "Centroid in the patient: growing to the right (RAS+).", "centroid_ras_mm", 0),
    _item("centroid_a_mm", "mm", "Centroid in the patient: growing to anterior (RAS+).", "centroid_ras_mm", 1),
    _item("centroid_s_mm", "mm", "Centroid in the patient: growing to superior (RAS+).", "centroid_ras_mm", 2),
    _item("centroid_i", "voxel", "Centroid on the input's grid, first voxel axis, from 0.", "centroid_ijk", 0),
    _item("centroid_j", "voxel", "Centroid on the input's grid, second voxel axis, from 0.", "centroid_ijk", 1),
    _item("centroid_k", "voxel", "Centroid on the input's grid, third voxel axis, from 0.", "centroid_ijk", 2),
)

LESIONS = (
    _column("id", "", "Number of the lesion; its label in lesions.nii.gz."),
    *_PLACE,
    _column("equivalent_diameter_mm", "mm", "Diameter of the sphere of the same volume."),
    _column("max_diameter_mm", "mm", "Longest extent within any slice."),
    _column("volume_mm3", "mm³", "Volume of the delineated voxels."),
    _column("contrast", "noise SD", "Local contrast over the standard deviation of the scan's noise."),
    _column("probability", "", "Estimated probability that a reader would call it a lesion, 0 to 1."),
    _column("polarity", "", "bright or dark against its surroundings."),
    _column("side", "", "left or right of the patient; empty where unknown."),
    _column("level", "", "supratentorial or infratentorial; empty where unknown."),
    _column("compartment", "", "Side and level together, as in compartments.nii.gz."),
    _column("boundary_distance_mm", "mm", "Distance to the nearer of midline and tentorium."),
    _column("midline_distance_mm", "mm", "Signed distance to the midline: negative on the left."),
    _column("tentorium_distance_mm", "mm", "Signed distance to the tentorium: negative above."),
    _column("side_confidence", "", "How likely the side is right, 0.5 to 1."),
    _column("level_confidence", "", "How likely the level is right, 0.5 to 1."),
    Column(name="n_slices", unit="", text="Slices on which it is counted.", value=lambda row: len(row["slices"])),
    _joined("slices", "Indices of those slices from 0, joined by semicolons.", "slices"),
    _joined("flags", "What to be careful about, joined by semicolons.", "flags"),
    _column("candidate_id", "", "Its row in candidates.csv."),
)

SLICES = (
    _column("index", "", "Slice along the slice axis, from 0."),
    _column("position_mm", "mm", "Position along the normal of the slices."),
    _item("centre_r_mm", "mm", "Centre of the slice in the patient (RAS+), to the right.", "centre_ras_mm", 0),
    _item("centre_a_mm", "mm", "Centre of the slice in the patient (RAS+), to anterior.", "centre_ras_mm", 1),
    _item("centre_s_mm", "mm", "Centre of the slice in the patient (RAS+), to superior.", "centre_ras_mm", 2),
    _column("n_lesions", "", "Lesions that a reader would count on this slice."),
    _column("n_lesions_slab", "", "Lesions that a thick slab beginning at this slice would have shown."),
    _column("slab_thickness_mm", "mm", "Thickness of that slab (setting decide.slab_mm)."),
    _column("n_left", "", "Counted lesions on the left."),
    _column("n_right", "", "Counted lesions on the right."),
    _column("n_supratentorial", "", "Counted lesions above the tentorium."),
    _column("n_infratentorial", "", "Counted lesions below the tentorium."),
    _column("threshold", "", "Lesions per slice that the proposed criteria ask for."),
    _column("reaches_threshold", "", "Whether n_lesions is at least the threshold."),
    _column("is_evidence", "", "Whether the answer rests on this slice."),
    _column("sop_instance_uid", "", "SOPInstanceUID; only with report.identified (result.json always holds it)."),
)

CANDIDATES = (
    _column("id", "", "Number of the candidate."),
    _column("accepted", "", "Whether it became a lesion."),
    _column("lesion_id", "", "Its row in lesions.csv, where it became a lesion."),
    _column("rule", "", "Code of the rule that rejected it; empty for lesions."),
    _column("reason", "", "The rule in words."),
    _column("probability", "", "Estimated probability that a reader would call it a lesion, 0 to 1."),
    *_PLACE,
    _column("diameter_mm", "mm", "Diameter from the best scale."),
    _column("contrast", "noise SD", "Local contrast over the standard deviation of the scan's noise."),
    _column("polarity", "", "bright or dark against its surroundings."),
)

_REGIONS = ("left_supratentorial", "right_supratentorial", "left_infratentorial", "right_infratentorial", "unassigned")

CASES = (
    _column("case", "", "Name of the case."),
    _column("series", "", "Identifier of the series within the case."),
    _column("folder", "", "Folder of the case's files below the output folder."),
    _column("study_verdict", "", "MET, NOT_MET or INDETERMINATE for the study: met if any series is."),
    _column("verdict", "", "MET, NOT_MET or INDETERMINATE for this series."),
    _column("probability", "", "Probability that the criteria are met, from the lesions' probabilities."),
    _column("borderline", "", "Whether the deciding slice lies within the detector's own error of the threshold."),
    _column("margin", "", "Count of the deciding (second-best admissible) slice minus the threshold."),
    _column("threshold", "", "Lesions per slice that the proposed criteria ask for."),
    _column("readings_disagree", "", "Whether another reading of the rule gives another answer."),
    _column("reasons", "", "Codes of the reasons, joined by semicolons."),
    _column("caveats", "", "Codes of the caveats, joined by semicolons."),
    _column("modality", "", "MR or CT."),
    _column("sequence", "", "t1c, t1, t2, flair, dwi, adc, swi, t2star, pd, ct, ctc or unknown."),
    _column("sequence_confidence", "", "user, high, medium, low or none."),
    _column("n_lesions", "", "Lesions found."),
    _column("most_lesions_on_a_slice", "", "Largest count on any slice."),
    _column("n_slices_at_threshold", "", "Slices whose count reaches the threshold."),
    *(_column(f"n_{name}", "", f"Lesions {name.replace('_', ' ')}.") for name in _REGIONS),
    _column("median_diameter_mm", "mm", "Median equivalent diameter."),
    _column("largest_diameter_mm", "mm", "Largest equivalent diameter."),
    _column("below_3_mm_fraction", "fraction", "Part of the lesions below 3 mm, the size called miliary by Bot 2020."),
    _column("diameter_cv", "", "Uniformity: standard deviation over mean of the equivalent diameters."),
    _column("diameter_iqr_over_median", "", "Uniformity: interquartile range over median of those diameters."),
    _column("largest_over_median", "", "Dominance: largest over median diameter."),
    _column("distribution", "", "random, clustered or regular against complete spatial randomness in the brain mask."),
    _column("clark_evans_ratio", "", "Mean nearest-neighbour distance over its expectation; below 1 = clustered."),
    _column("clark_evans_p_value", "", "Two-sided Monte Carlo p-value of it."),
    _column("ripley_k_ratio", "", "Neighbours within 20 mm over their expectation; above 1 = clustered."),
    _column("ripley_k_p_value", "", "Two-sided Monte Carlo p-value of it."),
    _column("detectable_diameter_mm", "mm", "Smallest diameter that this scan allows to be found reliably."),
    _column("n_candidates", "", "Candidates before rejection."),
    _column("noise_sigma", "intensity", "Standard deviation of the noise inside the brain, unit of the scan."),
    *(
        _column(f"coverage_{name}_fraction", "fraction", f"Part of the {name.replace('_', ' ')} brain in view.")
        for name in _REGIONS[:4]
    ),
    _column("registration_trusted", "", "Whether the atlas fit may be used for sides and levels."),
    _column("registration_trust", "", "Figure of trust of the atlas fit, 0 to 1."),
    _column("n_slices", "", "Acquired slices."),
    _column("plane", "", "axial, coronal or sagittal: nearest to the acquired slices."),
    _column("slice_thickness_mm", "mm", "Slice thickness; the spacing where the file states none."),
    _column("slice_spacing_mm", "mm", "Distance between neighbouring slices."),
    _column("spacing_i_mm", "mm", "Voxel spacing along the first axis."),
    _column("spacing_j_mm", "mm", "Voxel spacing along the second axis."),
    _column("spacing_k_mm", "mm", "Voxel spacing along the third axis."),
    _column("software_version", "", "Version of miliary-seg."),
    _column("settings_digest", "", "SHA-256 of the settings but load and report: only equal ones may be compared."),
)
