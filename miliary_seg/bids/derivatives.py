"""The files of one session under BIDS derivative names: the same content as ``miliary-seg run`` writes.

::

    sub-01/[ses-1/]
        sub-01_[ses-1_]desc-miliary_result.json         the whole result document
        sub-01_[ses-1_]desc-miliary_report.html         the page for people
        sub-01_[ses-1_]desc-miliary_thumbnail.png       a small picture for lists
        anat/<image>_space-<suffix>_desc-lesions_dseg.nii.gz .tsv .json
        anat/<image>_space-<suffix>_desc-compartments_dseg.nii.gz .tsv .json
        anat/<image>_space-<suffix>_desc-brain_mask.nii.gz .json
        anat/<image>_space-<suffix>_desc-miliary_lesions.tsv .json   and _slices, _candidates

``<image>`` stands for the entities of the image analysed. Its suffix becomes ``space-``: every map lies on the grid of
that very image, and a T1w and a FLAIR of one session keep names of their own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from miliary_seg.bids.dataset import datatype
from miliary_seg.bids.names import BidsName
from miliary_seg.domain.compartment import Compartment
from miliary_seg.domain.result import CaseResult, SeriesResult
from miliary_seg.domain.volume import LabelMap
from miliary_seg.errors import OutputError
from miliary_seg.report import case_document, report_html, validate, write_label_map
from miliary_seg.report.html.pictures import thumbnail
from miliary_seg.report.html.views import COMPARTMENT_COLOURS
from miliary_seg.report.json_document import is_identified
from miliary_seg.report.series_records import listed_from
from miliary_seg.report.tables import Column, Table, candidates_table, lesions_table, slices_table

SOURCE = "raw"
"""Name of the input in ``DatasetLinks`` and in BIDS URIs."""
DESC = "miliary"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where the files of one series go, and what they come from."""

    folder: Path
    image: BidsName
    uri: str

    def path(self, desc: str, suffix: str, ending: str) -> Path:
        return self.folder / self.image.derivative(suffix, ending, space=self.image.suffix, desc=desc)


def write_session(result: CaseResult, folder: Path, dataset: Path) -> None:
    """Write every file of a session.

    Parameters
    ----------
    result
        The analysed session; ``result.case`` begins every name that belongs to no image.
    folder
        An empty folder for its files.
    dataset
        The BIDS dataset that the images come from.

    Raises
    ------
    OutputError
        If an image has no BIDS name, or a file cannot be verified.
    OSError
        If a file cannot be written.
    """
    document = case_document(result)
    for series, values in zip(result.series, document["series"], strict=True):
        place = _place_of(series, folder, dataset)
        place.folder.mkdir(exist_ok=True)
        values["files"] = _write_series(series, place, folder, result)
    validate(document)
    _write_json(folder / f"{result.case}_desc-{DESC}_result.json", document)
    _write_text(folder / report_name(result.case), report_html(result, document))
    (folder / thumbnail_name(result.case)).write_bytes(thumbnail(result))


def report_name(case: str) -> str:
    """Name of the page within the folder of a session."""
    return f"{case}_desc-{DESC}_report.html"


def thumbnail_name(case: str) -> str:
    """Name of the small picture within the folder of a session."""
    return f"{case}_desc-{DESC}_thumbnail.png"


def tsv(table: Table) -> str:
    r"""A table as BIDS wants it: tabs, ``n/a`` where nothing is known."""
    rows = [[cell.replace("\t", " ") or "n/a" for cell in row] for row in table.cells()]
    return "".join("\t".join(row) + "\n" for row in [[column.name for column in table.columns], *rows])


def dictionary(columns: Sequence[Column]) -> dict[str, Any]:
    """What the columns of a table mean, as a JSON file beside it."""
    return {c.name: {"Description": c.text, **({"Units": c.unit} if c.unit else {})} for c in columns}


def _place_of(series: SeriesResult, folder: Path, dataset: Path) -> _Place:
    path = Path(series.volume.source.paths[0]) if series.volume.source.paths else Path(series.id)
    name = BidsName.of(path)
    if name is None:
        raise OutputError("the image has no BIDS name", where=series.id, todo="rename it, or use `miliary-seg run`")
    relative = path.relative_to(dataset) if path.is_relative_to(dataset) else Path(path.name)
    return _Place(folder=folder / datatype(path), image=name, uri=f"bids:{SOURCE}:{relative.as_posix()}")


def _write_series(series: SeriesResult, place: _Place, folder: Path, result: CaseResult) -> dict[str, str]:
    """Maps and tables of one series; the paths below the session's folder, by kind."""
    location, labels = series.location, series.detection.lesion_labels
    mask = LabelMap(labels=location.brain_mask.astype(np.uint8), grid=series.volume.grid)
    paths = {
        "lesion_map": _write_map(series, place, labels, "lesions", "dseg"),
        "brain_mask": _write_map(series, place, mask, "brain", "mask"),
    }
    _write_text(place.path("lesions", "dseg", ".tsv"), _lesion_index(series))
    if location.registration.sides_usable:
        paths["compartment_map"] = _write_map(series, place, location.compartments, "compartments", "dseg")
        _write_text(place.path("compartments", "dseg", ".tsv"), _compartment_index())
    tables = {
        "lesions": lesions_table(series),
        "slices": slices_table(series, identified=is_identified(result)),
        "candidates": candidates_table(series, listed_from(result)),
    }
    for kind, table in tables.items():
        paths[kind] = place.path(DESC, kind, ".tsv")
        _write_text(paths[kind], tsv(table))
        _write_json(place.path(DESC, kind, ".json"), dictionary(table.columns))
    return {kind: path.relative_to(folder).as_posix() for kind, path in paths.items()}


def _write_map(series: SeriesResult, place: _Place, labels: LabelMap, desc: str, suffix: str) -> Path:
    """A label map with its sidecar."""
    path = place.path(desc, suffix, ".nii.gz")
    write_label_map(labels, path, orientation_known=series.volume.orientation_known)
    texts = {
        "lesions": "Every lesion found has a label of its own: its id in the tables.",
        "compartments": "Side of the midline and of the tentorium, from the fitted atlas, inside the brain mask.",
        "brain": "Where lesions were looked for.",
    }
    facts: dict[str, Any] = {"Type": "Brain"} if suffix == "mask" else {"Manual": False}
    if desc == "lesions":
        facts["compartment"] = {"Description": "Side and level of the lesion; n/a where unknown."}
    sources = {"Sources": [place.uri], "SpatialReference": place.uri}
    _write_json(place.path(desc, suffix, ".json"), {"Description": texts[desc], **facts, **sources})
    return path


def _lesion_index(series: SeriesResult) -> str:
    places, lines = series.compartment_of, ["index\tname\tcolor\tcompartment\n"]
    for lesion in series.lesions:
        where = places.get(lesion.id)
        said = where.name.lower() if where is not None else "n/a"
        lines.append(f"{lesion.id}\tlesion-{lesion.id}\t{COMPARTMENT_COLOURS[where]}\t{said}\n")
    return "".join(lines)


def _compartment_index() -> str:
    rows = (f"{int(c)}\t{c.name.lower()}\t{COMPARTMENT_COLOURS[c]}\n" for c in Compartment)
    return "index\tname\tcolor\n" + "".join(rows)


def _write_json(path: Path, value: dict[str, Any]) -> None:
    _write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, "utf-8", newline="\n")
