"""CSV tables (RFC 4180, UTF-8): lesions, slices, candidates, and one row a series over all cases."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from miliary_seg.domain.lesion import Candidate
from miliary_seg.domain.result import CaseResult, SeriesResult
from miliary_seg.report import file_names
from miliary_seg.report.burden import lesion_sizes, region_counts
from miliary_seg.report.file_names import CASES_PARQUET, case_folder
from miliary_seg.report.json_document import coverage_document, lesion_rows, slice_counts, slice_rows
from miliary_seg.report.lesion_records import image_number
from miliary_seg.report.sanitise import csv_cell, csv_column, csv_table, csv_text, sanitise
from miliary_seg.report.volume_files import write_bytes

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
    _column("perpendicular_diameter_mm", "mm", "Extent at right angles to the longest one, on the same slice."),
    _column("measurable", "", "RANO-BM: longest diameter at least 10 mm, perpendicular 5 mm, on two slices or more."),
    _column("volume_mm3", "mm³", "Volume of the delineated voxels."),
    _column("contrast", "noise SD", "Local contrast over the standard deviation of the scan's noise."),
    _column("enhancement", "", "Signal above the local white matter, as a fraction of it (CT: in HU)."),
    _column("probability", "", "Estimated probability that a reader would call it a lesion, 0 to 1."),
    _column("polarity", "", "bright or dark against its surroundings."),
    _column("side", "", "left or right of the patient; empty where unknown."),
    _column("level", "", "supratentorial or infratentorial; empty where unknown."),
    _column("compartment", "", "Side and level together, as in compartments.nii.gz."),
    _column("region", "", "Part of the brain in which it most likely lies; empty where the fit is not trusted."),
    _column("region_confidence", "", "How likely that region is right, 0 to 1."),
    _column("tissue", "", "cortex, grey-white junction or white matter of a lobe; empty elsewhere."),
    _column("tissue_confidence", "", "How likely that layer is right, 0 to 1."),
    _column("boundary_distance_mm", "mm", "Distance to the nearer of midline and tentorium."),
    _column("midline_distance_mm", "mm", "Signed distance to the midline: negative on the left."),
    _column("tentorium_distance_mm", "mm", "Signed distance to the tentorium: negative above."),
    _column("side_confidence", "", "How likely the side is right, 0.5 to 1."),
    _column("level_confidence", "", "How likely the level is right, 0.5 to 1."),
    Column(name="n_slices", unit="", text="Slices on which it is counted.", value=lambda row: len(row["slices"])),
    _joined("slices", "Indices of those slices from 0, joined by semicolons.", "slices"),
    _joined("image_numbers", "Numbers by which a PACS lists those slices, joined by semicolons.", "image_numbers"),
    _joined("flags", "What to be careful about, joined by semicolons.", "flags"),
    _column("candidate_id", "", "Its row in candidates.csv."),
)

UPTAKE = (
    _column("uptake", "", "Gain after contrast agent over the local white matter (CT: in HU); only with a pair."),
    _column("uptake_sd", "", "Standard deviation of uptake where nothing takes up agent; only with a pair."),
    _column("enhances", "", "Whether contrast agent made it bright: yes, no, cannot tell; only with a pair."),
)
"""Columns of lesions.csv where a scan before contrast agent was compared; without one they are left out."""
FLAIR = (
    _column(
        "flair_percentile", "", "Percentile of its brightness on FLAIR among balls all over the brain; only with one."
    ),
)
"""Column of lesions.csv where the study has a FLAIR that was used."""

SLICES = (
    _column("index", "", "Slice along the slice axis, from 0."),
    _column("image_number", "", "Number by which a PACS lists the image (InstanceNumber; a multi-frame's frame)."),
    _column("number_from_end", "", "Place from 1: axial slices from below, coronal from behind, sagittal from left."),
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

_CLASSES = (
    ("n_below_3", "n_below_3_mm", "Lesions below 3 mm (equivalent diameter)."),
    ("n_below_5", "n_below_5_mm", "Lesions below 5 mm, those below 3 mm included."),
    ("n_5_to_10", "n_5_to_10_mm", "Lesions of 5 to 10 mm."),
    ("n_above_10", "n_above_10_mm", "Lesions above 10 mm."),
    ("n_measurable", "n_measurable", "Sure lesions that RANO-BM calls measurable."),
)
_GROUPS = (
    ("lobes", "lobes of the cerebrum"),
    ("deep_grey", "deep grey matter"),
    ("brain_stem", "brain stem"),
    ("cerebellum", "cerebellum"),
)

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
    _column("largest_diameter_mm", "mm", "Largest equivalent diameter of a sure lesion; empty where none is sure."),
    _column("total_volume_mm3", "mm³", "Sum of the lesions' volumes."),
    *(_column(name, "", text) for name, _, text in _CLASSES),
    *(_column(f"n_{group}", "", f"Lesions in the {words}; empty where unknown.") for group, words in _GROUPS),
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
    _column("lesion_source", "", "Who found the lesions: miliary-seg, another detector, or given with a format."),
    _column("n_candidates", "", "Candidates before rejection."),
    _column("noise_sigma", "intensity", "Standard deviation of the noise inside the brain, unit of the scan."),
    *(
        _column(f"coverage_{name}_fraction", "fraction", f"Part of the {name.replace('_', ' ')} brain in view.")
        for name in _REGIONS[:4]
    ),
    _column("registration_trusted", "", "Whether the atlas fit may be used for sides and levels."),
    _column("registration_trust", "", "Figure of trust of the atlas fit, 0 to 1."),
    _column("mask_trusted", "", "Whether a negative answer may rest on the brain mask."),
    _column("mask_trust", "", "Figure of trust of the brain mask, 0 to 1."),
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Columns and the rows that their values come from: what a CSV file and a data frame are both made of."""

    columns: tuple[Column, ...]
    rows: list[Row]

    def cells(self) -> list[list[str]]:
        """Every row as inert text; '' where nothing is known."""
        return [list(row) for row in zip(*self._text(), strict=True)]

    def _text(self) -> list[list[str]]:
        """The same by column."""
        return [csv_column([column.value(row) for row in self.rows]) for column in self.columns]

    def csv(self) -> str:
        """RFC 4180 text with a header line."""
        return csv_table([column.name for column in self.columns], self._text())


def lesions_table(series: SeriesResult) -> Table:
    """One row a lesion."""
    volume = series.volume
    numbers = [image_number(volume, k) for k in range(volume.n_slices)]
    rows = lesion_rows(series)
    paired = (series.pair is not None and series.pair.used) or any("uptake" in row for row in rows)
    on_flair = (series.flair is not None and series.flair.used) or any("flair_percentile" in row for row in rows)
    shown = ((row, _known(numbers[k] for k in row["slices"])) for row in rows)
    columns = (*LESIONS, *(UPTAKE if paired else ()), *(FLAIR if on_flair else ()))
    return Table(columns=columns, rows=[row | {"image_numbers": found} for row, found in shown])


def _known(numbers: Iterable[int | None]) -> list[int]:
    return [number for number in numbers if number is not None]


def slices_table(series: SeriesResult, *, identified: bool) -> Table:
    """One row a slice: the count, the slab count and the threshold beside each other.

    Parameters
    ----------
    series
        One analysed series.
    identified
        Whether SOPInstanceUIDs may be told.
    """
    regions = _region_counts(series)
    shared: dict[str, Any] = {"threshold": series.decision.threshold, "slab_thickness_mm": series.decision.slab_mm}
    shared |= {} if identified else {"sop_instance_uid": None}
    rows: list[Row] = [{**row, **regions[row["index"]], **shared} for row in slice_rows(series)]
    return Table(columns=SLICES, rows=rows)


def candidates_table(series: SeriesResult, from_probability: float | None = None) -> Table:
    """Candidates, accepted or not, with their features; the features' columns follow the fixed ones.

    Parameters
    ----------
    series
        One analysed series.
    from_probability
        Rejected candidates less probable than this are left out; None = all are listed.
    """
    found: dict[int, Candidate] = {c.id: c for c in series.detection.candidates}
    found.update({r.candidate.id: r.candidate for r in series.detection.rejections})
    refused = {r.candidate.id: r for r in series.detection.rejections}
    lesions = {lesion.candidate_id: lesion.id for lesion in series.lesions}
    rows: list[Row] = []
    least = 0.0 if from_probability is None else from_probability
    for number, candidate in sorted(found.items()):
        rejection = refused.get(number)
        if rejection is not None and candidate.probability < least:
            continue
        rows.append(
            {
                "id": number,
                "accepted": rejection is None and number in lesions,
                "lesion_id": lesions.get(number),
                "rule": rejection.rule if rejection else None,
                "reason": rejection.reason if rejection else None,
                "probability": candidate.probability,
                "centroid_ras_mm": candidate.centroid_ras_mm,
                "centroid_ijk": candidate.centroid_ijk,
                "diameter_mm": candidate.diameter_mm,
                "contrast": candidate.contrast,
                "polarity": str(candidate.polarity),
                "features": candidate.features,
            }
        )
    names = sorted({name for candidate in found.values() for name in candidate.features})
    return Table(columns=(*CANDIDATES, *map(_feature, names)), rows=rows)


def _feature(name: str) -> Column:
    return Column(name=f"feature_{name}", unit="", text="", value=lambda row: row["features"].get(name))


def case_rows(result: CaseResult) -> list[dict[str, Any]]:
    """One flat mapping a series: the rows of ``cases.csv``, with the columns of ``CASES``."""
    return [_case_row(result, series) for series in result.series]


def write_cases_table(rows: Iterable[Mapping[str, Any]], output: Path) -> Path:
    """Write ``output/cases.csv`` atomically: one row a series; and ``cases.parquet`` where pyarrow is installed.

    Parameters
    ----------
    rows
        What ``case_rows`` gave, of all cases: an earlier table is replaced.
    output
        Output folder.

    Returns
    -------
    Path
        The table.

    Raises
    ------
    OutputError
        If the table cannot be written.
    """
    header = [column.name for column in CASES]
    table = sorted(rows, key=lambda row: (str(row["case"]), str(row["series"])))
    text = csv_text(header, ([csv_cell(row.get(name)) for name in header] for row in table))
    write_bytes(output / file_names.CASES, text.encode(), force=True)
    with suppress(ModuleNotFoundError):
        write_bytes(output / CASES_PARQUET, _parquet(header, table), force=True)
    return output / file_names.CASES


def _parquet(header: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> bytes:
    """The table with typed columns; a column without any value is of text.

    Raises
    ------
    ModuleNotFoundError
        Where pyarrow is not installed.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays = [_arrow_column([row.get(name) for row in rows]) for name in header]
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(arrays, names=list(header)), buffer)
    return buffer.getvalue()


def _arrow_column(values: Sequence[Any]) -> Any:
    """A typed column of text, truth values, whole numbers or numbers, with gaps where a value is None.

    From buffers: ``pyarrow.array`` imports pandas wherever it is installed, for half a second.
    """
    import pyarrow as pa

    known = [value for value in values if value is not None]
    gaps = pa.py_buffer(_bits(value is not None for value in values))

    def column(kind: Any, *buffers: Any) -> Any:
        return pa.Array.from_buffers(kind, len(values), [gaps, *map(pa.py_buffer, buffers)])

    if all(isinstance(value, str) for value in known):
        texts = [b"" if value is None else value.encode() for value in values]
        ends = np.cumsum([0, *map(len, texts)]).astype(np.int32)
        return column(pa.string(), ends, b"".join(texts))
    if all(isinstance(value, (bool, np.bool_)) for value in known):
        return column(pa.bool_(), _bits(map(bool, values)))
    whole = all(isinstance(value, (int, np.integer)) for value in known)
    kind, dtype = (pa.int64(), np.int64) if whole else (pa.float64(), np.float64)
    return column(kind, np.array([0 if value is None else value for value in values], dtype=dtype))


def _bits(values: Iterable[bool]) -> bytes:
    """Truth values as Arrow keeps them: eight in a byte, the first in the lowest bit."""
    return np.packbits(np.fromiter(values, dtype=bool), bitorder="little").tobytes()


def _case_row(result: CaseResult, series: SeriesResult) -> dict[str, Any]:
    volume, detection, decision = series.volume, series.detection, series.decision
    counts = slice_counts(series)
    sizes = lesion_sizes(series)
    row: dict[str, Any] = {
        "case": result.case,
        "series": series.id,
        "folder": case_folder(result.case),
        "study_verdict": str(result.decision.verdict),
        "verdict": str(decision.verdict),
        "readings_disagree": any(reading.verdict is not decision.verdict for reading in decision.readings),
        "reasons": [reason.code for reason in decision.reasons],
        "caveats": [reason.code for reason in (*result.caveats, *series.caveats)],
        "modality": str(volume.modality),
        "sequence": str(volume.sequence.sequence),
        "sequence_confidence": volume.sequence.confidence,
        "n_lesions": len(series.lesions),
        "most_lesions_on_a_slice": max(counts, default=0),
        "n_slices_at_threshold": sum(n >= decision.threshold for n in counts),
        "median_diameter_mm": sizes.get("median_mm"),
        "largest_diameter_mm": sizes.get("largest_mm"),
        "detectable_diameter_mm": detection.detectable_diameter_mm,
        "lesion_source": detection.source.name if not detection.source.format else f"given ({detection.source.format})",
        "n_candidates": len(detection.candidates),
        "noise_sigma": detection.noise_sigma,
        "registration_trusted": series.location.registration.trusted,
        "registration_trust": series.location.registration.trust,
        "mask_trusted": series.location.mask_trust.trusted,
        "mask_trust": series.location.mask_trust.trust,
        "software_version": result.software.get("version"),
        "settings_digest": result.settings_digest,
    }
    row |= {name: getattr(decision, name) for name in ("probability", "borderline", "margin", "threshold")}
    row |= {name: getattr(volume, name) for name in ("n_slices", "plane", "slice_spacing_mm")}
    row |= {"slice_thickness_mm": volume.thickness_mm}
    row |= {"total_volume_mm3": sizes.get("total_volume_mm3", 0.0)}
    row |= {name: sizes.get(key, 0) for name, key, _ in _CLASSES}
    found = region_counts(series)
    if found is not None:
        row |= {f"n_{name}": n for (name, _), n in zip(_GROUPS, found["groups"].values(), strict=True)}
    row |= _pattern_cells(series)
    row |= dict(zip(("spacing_i_mm", "spacing_j_mm", "spacing_k_mm"), volume.grid.spacing_mm, strict=True))
    row |= {f"n_{name}": count for name, count in decision.quadrant_counts}
    row |= {f"coverage_{name}_fraction": value for name, value in coverage_document(series.location.coverage).items()}
    flat = {name: ";".join(map(sanitise, value)) if isinstance(value, list) else value for name, value in row.items()}
    return {column.name: flat.get(column.name) for column in CASES}


def _pattern_cells(series: SeriesResult) -> dict[str, Any]:
    pattern = series.pattern
    if pattern is None:
        return {}
    names = ("below_3_mm_fraction", "diameter_cv", "diameter_iqr_over_median", "largest_over_median")
    cells = {name: getattr(pattern, name) for name in names}
    found = pattern.homogeneity
    if found is not None:
        cells |= {"distribution": str(found.distribution)}
        cells |= {"clark_evans_ratio": found.nearest_neighbour.ratio}
        cells |= {"clark_evans_p_value": found.nearest_neighbour.p_value}
        cells |= {"ripley_k_ratio": found.neighbours_within.ratio, "ripley_k_p_value": found.neighbours_within.p_value}
    return cells


def _region_counts(series: SeriesResult) -> list[dict[str, int | None]]:
    """Counted lesions of each slice by side and by level (uncertain ones included); None where these are unknown."""
    fit = series.location.registration
    start: dict[str, int | None] = dict.fromkeys(("n_left", "n_right"), 0 if fit.sides_usable else None)
    start |= dict.fromkeys(("n_supratentorial", "n_infratentorial"), 0 if fit.levels_usable else None)
    table = [dict(start) for _ in range(series.volume.n_slices)]
    places = series.assignment_of
    for lesion in series.lesions:
        for index in lesion.slices:
            for region in (places[lesion.id].side, places[lesion.id].level):
                if region is not None:
                    table[index][f"n_{region}"] = (table[index][f"n_{region}"] or 0) + 1
    return table
