"""CSV tables (RFC 4180, UTF-8): lesions, slices, candidates, and one row a series over all cases."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from miliary_seg.domain.lesion import Candidate
from miliary_seg.domain.result import CaseResult, SeriesResult
from miliary_seg.report import columns
from miliary_seg.report.columns import Column, Row
from miliary_seg.report.document import coverage_document, lesion_rows, lesion_sizes, slice_counts, slice_rows
from miliary_seg.report.file_names import CASES, CASES_PARQUET, case_folder
from miliary_seg.report.plain_text import csv_cell, csv_text, plain
from miliary_seg.report.volume_files import write_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Columns and the rows that their values come from: what a CSV file and a data frame are both made of."""

    columns: tuple[Column, ...]
    rows: list[Row]

    def cells(self) -> list[list[str]]:
        """Every row as inert text; '' where nothing is known."""
        return [[csv_cell(column.value(row)) for column in self.columns] for row in self.rows]

    def csv(self) -> str:
        """RFC 4180 text with a header line."""
        return csv_text([column.name for column in self.columns], self.cells())


def lesions_table(series: SeriesResult) -> Table:
    """One row a lesion."""
    return Table(columns=columns.LESIONS, rows=list(lesion_rows(series)))


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
    return Table(columns=columns.SLICES, rows=rows)


def candidates_table(series: SeriesResult) -> Table:
    """Every candidate, accepted or not, with its features; the features' columns follow the fixed ones."""
    found: dict[int, Candidate] = {c.id: c for c in series.detection.candidates}
    found.update({r.candidate.id: r.candidate for r in series.detection.rejections})
    refused = {r.candidate.id: r for r in series.detection.rejections}
    lesions = {lesion.candidate_id: lesion.id for lesion in series.lesions}
    rows: list[Row] = []
    for number, candidate in sorted(found.items()):
        rejection = refused.get(number)
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
                **{f"feature_{name}": value for name, value in candidate.features.items()},
            }
        )
    names = sorted({f"feature_{name}" for candidate in found.values() for name in candidate.features})
    features = tuple(Column(name=n, unit="", text="", value=lambda row, n=n: row.get(n)) for n in names)  # type: ignore[misc]
    return Table(columns=(*columns.CANDIDATES, *features), rows=rows)


def case_rows(result: CaseResult) -> list[dict[str, Any]]:
    """One flat mapping a series: the rows of ``cases.csv``, with the columns of ``columns.CASES``."""
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
    header = [column.name for column in columns.CASES]
    table = sorted(rows, key=lambda row: (str(row["case"]), str(row["series"])))
    text = csv_text(header, ([csv_cell(row.get(name)) for name in header] for row in table))
    write_bytes(output / CASES, text.encode(), force=True)
    with suppress(ModuleNotFoundError):
        write_bytes(output / CASES_PARQUET, _parquet(header, table), force=True)
    return output / CASES


def _parquet(header: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> bytes:
    """The table with typed columns; a column without any value is of text.

    Raises
    ------
    ModuleNotFoundError
        Where pyarrow is not installed.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays = [pa.array([row.get(name) for row in rows]) for name in header]
    typed = [array.cast(pa.string()) if pa.types.is_null(array.type) else array for array in arrays]
    buffer = io.BytesIO()
    pq.write_table(pa.table(dict(zip(header, typed, strict=True))), buffer)
    return buffer.getvalue()


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
        "n_candidates": len(detection.candidates),
        "noise_sigma": detection.noise_sigma,
        "registration_trusted": series.location.registration.trusted,
        "registration_trust": series.location.registration.trust,
        "software_version": result.software.get("version"),
        "settings_digest": result.settings_digest,
    }
    row |= {name: getattr(decision, name) for name in ("probability", "borderline", "margin", "threshold")}
    row |= {name: getattr(volume, name) for name in ("n_slices", "plane", "slice_spacing_mm")}
    row |= {"slice_thickness_mm": volume.thickness_mm}
    row |= _pattern_cells(series)
    row |= dict(zip(("spacing_i_mm", "spacing_j_mm", "spacing_k_mm"), volume.grid.spacing_mm, strict=True))
    row |= {f"n_{name}": count for name, count in decision.quadrant_counts}
    row |= {f"coverage_{name}_fraction": value for name, value in coverage_document(series.location.coverage).items()}
    flat = {name: ";".join(map(plain, value)) if isinstance(value, list) else value for name, value in row.items()}
    return {column.name: flat.get(column.name) for column in columns.CASES}


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


def _region_counts(series: SeriesResult) -> list[dict[str, int]]:
    """Counted lesions of each slice by side and by level (uncertain ones included)."""
    names = ("left", "right", "supratentorial", "infratentorial")
    table = [dict.fromkeys((f"n_{name}" for name in names), 0) for _ in range(series.volume.n_slices)]
    places = {a.lesion_id: (a.side, a.level) for a in series.assignments}
    for lesion in series.lesions:
        for index in lesion.slices:
            for region in places[lesion.id]:
                if region is not None:
                    table[index][f"n_{region}"] += 1
    return table
