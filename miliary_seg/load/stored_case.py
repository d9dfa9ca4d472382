"""A finished case read back: enough of a scan to decide again, without its voxels."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miliary_seg.domain.compartment import Assignment, Coverage, Level, MaskTrust, Region, Registration, Side, Tissue
from miliary_seg.domain.grid import Grid
from miliary_seg.domain.lesion import Lesion
from miliary_seg.domain.pair import Enhances, Uptake
from miliary_seg.domain.reason import Reason
from miliary_seg.domain.sequence import Modality, Polarity, Sequence, SequenceEvidence
from miliary_seg.domain.volume import LabelMap, Source, Volume
from miliary_seg.errors import AmbiguousInputError, UnreadableFileError
from miliary_seg.load.lesions.label_files import file_digest
from miliary_seg.load.masks import read_label_map
from miliary_seg.settings import Settings

RESULT = "result.json"

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StoredSeries:
    """One series of a finished case."""

    case: str
    settings: Settings
    document: Json
    """Its part of ``result.json``."""
    volume: Volume
    """Without grey values: all are 0."""
    labels: LabelMap
    lesions: tuple[Lesion, ...]
    assignments: tuple[Assignment, ...]
    coverage: Coverage
    registration: Registration
    mask_trust: MaskTrust
    location: Mapping[str, NDArray[Any]]
    """Of ``domain.stored_location``."""
    image_doubts: tuple[Reason, ...]
    result_sha256: str


def read_stored_series(folder: str | Path, series: str = "") -> StoredSeries:
    """Read one series of a case that ``miliary-seg run`` has finished.

    Parameters
    ----------
    folder
        ``OUTPUT/<case>``.
    series
        Its identifier, or how it starts; empty = the one that the verdict rests on.

    Raises
    ------
    UnreadableFileError
        If the folder holds no result, or one of another version.
    AmbiguousInputError
        If no series, or several, start so.
    """
    folder = Path(folder)
    document = _json(folder / RESULT)
    try:
        chosen = _chosen(document, series, folder)
        location = _arrays(folder / chosen["files"]["location"])
        labels = read_label_map(folder / chosen["files"]["lesion_map"]).labels
        return replace(_stored(document, chosen, labels, location), result_sha256=file_digest(folder / RESULT))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        what = f"a result that this version cannot decide again ({type(error).__name__}: {error})"
        raise UnreadableFileError(what, where=folder / RESULT, todo="run the case again") from error


def _json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        what = "this is no folder of a finished case: it has no result.json"
        raise UnreadableFileError(what, where=path.parent, todo="give OUTPUT/<case> of a run") from error
    except (OSError, ValueError) as error:
        what = f"the result cannot be read ({type(error).__name__})"
        raise UnreadableFileError(what, where=path, todo="run the case again") from error
    if not isinstance(document, dict):
        raise UnreadableFileError("not a result document", where=path, todo="run the case again")
    return document


def _chosen(document: Json, series: str, folder: Path) -> Json:
    wanted = series or next(iter(document["deciding_series"]), "")
    exact = [one for one in document["series"] if one["id"] == wanted]
    fitting = exact or [one for one in document["series"] if str(one["id"]).startswith(wanted)]
    if len(fitting) != 1:
        names = ", ".join(str(one["id"]) for one in document["series"])
        raise AmbiguousInputError(f"{len(fitting)} series fit ({names})", where=folder, todo="choose one with --series")
    found: Json = fitting[0]
    return found


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as kept:
            return {name: kept[name] for name in kept.files}
    except (OSError, ValueError) as error:
        what = f"the stored location cannot be read ({type(error).__name__})"
        raise UnreadableFileError(what, where=path, todo="run the case again") from error


def _stored(document: Json, series: Json, labels: LabelMap, location: dict[str, NDArray[Any]]) -> StoredSeries:
    registration = series["registration"]
    doubts = [Reason(code=item["code"], text=item["text"]) for item in series["detection"]["doubts"]]
    grey = [reason for item in series["decision"]["criteria"] for reason in item["reasons"]]
    doubts += [Reason(code=r["code"], text=r["text"]) for r in grey if r["code"] == "ct_not_hounsfield"][:1]
    return StoredSeries(
        case=document["case"],
        settings=Settings().updated(_known(document["settings"])),
        document=series,
        volume=_volume(series),
        labels=labels,
        lesions=tuple(_lesion(row) for row in series["lesions"]),
        assignments=tuple(_assignment(row) for row in series["lesions"]),
        coverage=Coverage(**series["coverage"]),
        registration=Registration(
            trusted=registration["trusted"],
            trust=registration["trust"],
            brain_found=registration["brain_found"],
            orientation_known=registration["orientation_known"],
            reoriented=registration["reoriented"],
            skull_stripped=registration["skull_stripped"],
            figures=registration["figures"],
            reasons=tuple(Reason(code=r["code"], text=r["text"]) for r in registration["reasons"]),
        ),
        mask_trust=_mask_trust(series.get("brain_mask")),
        location=location,
        image_doubts=tuple(doubts),
        result_sha256="",
    )


def _mask_trust(stored: Json | None) -> MaskTrust:
    """Of cases stored before masks were judged, nothing is known against the mask."""
    if stored is None:
        return MaskTrust()
    reasons = tuple(Reason(code=r["code"], text=r["text"]) for r in stored["reasons"])
    return MaskTrust(trusted=stored["trusted"], trust=stored["trust"], figures=stored["figures"], reasons=reasons)


def _known(settings: Json) -> dict[str, Any]:
    known = Settings().flat()
    flat = {f"{name}.{key}": value for name, section in settings.items() for key, value in section.items()}
    return {key: value for key, value in flat.items() if key in known}


def _volume(series: Json) -> Volume:
    geometry = series["geometry"]
    grid = Grid(shape=tuple(geometry["shape"]), affine=np.array(geometry["affine_ras_mm"]))
    uids = tuple(row["sop_instance_uid"] or "" for row in series["slices"])
    return Volume(
        voxels=np.zeros(grid.shape, dtype=np.float32),
        grid=grid,
        id=series["id"],
        modality=Modality(series["modality"]),
        sequence=SequenceEvidence(
            sequence=Sequence(series["sequence"]),
            confidence=series["sequence_confidence"],
            evidence=tuple(series["sequence_evidence"]),
            conflict=series.get("sequence_conflict", ""),
            contrast_unproven=series.get("contrast_unproven", False),
        ),
        slice_axis=geometry["slice_axis"],
        slice_thickness_mm=geometry["slice_thickness_mm"] if geometry["slice_thickness_stated"] else None,
        missing_slices=tuple(gap["slice"] for gap in geometry["gaps"] if gap["kind"] == "missing_slice"),
        orientation_known=geometry["orientation_known"],
        resampled=geometry["resampled"],
        source=Source(format=series["source"]["format"], sop_instance_uids=uids if all(uids) else ()),
    )


def _lesion(row: Json) -> Lesion:
    return Lesion(
        id=row["id"],
        centroid_ras_mm=tuple(row["centroid_ras_mm"]),
        centroid_ijk=tuple(row["centroid_ijk"]),
        volume_mm3=row["volume_mm3"],
        equivalent_diameter_mm=row["equivalent_diameter_mm"],
        contrast=float("nan") if row["contrast"] is None else row["contrast"],
        probability=row["probability"],
        polarity=Polarity(row["polarity"]),
        slices=tuple(row["slices"]),
        max_diameter_mm=row["max_diameter_mm"],
        perpendicular_diameter_mm=row.get("perpendicular_diameter_mm"),
        candidate_id=row["candidate_id"],
        flags=tuple(row["flags"]),
        enhancement=row.get("enhancement"),
        uptake=_uptake(row),
        flair_percentile=row.get("flair_percentile"),
    )


def _uptake(row: Json) -> Uptake | None:
    if "uptake" not in row:
        return None
    return Uptake(value=row["uptake"], sd=row["uptake_sd"], enhances=Enhances(row["enhances"]))


def _assignment(row: Json) -> Assignment:
    return Assignment(
        lesion_id=row["id"],
        side=None if row["side"] is None else Side(row["side"]),
        level=None if row["level"] is None else Level(row["level"]),
        boundary_distance_mm=row["boundary_distance_mm"],
        midline_distance_mm=row["midline_distance_mm"],
        tentorium_distance_mm=row["tentorium_distance_mm"],
        side_confidence=row["side_confidence"],
        level_confidence=row["level_confidence"],
        region=None if row.get("region") is None else Region[row["region"].upper()],
        region_confidence=row.get("region_confidence"),
        tissue=None if row.get("tissue") is None else Tissue(row["tissue"]),
        tissue_confidence=row.get("tissue_confidence"),
    )
