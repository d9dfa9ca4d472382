"""Files of one case become what is scored: lesions of both sides, slices, and the answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy import ndimage as ndi

from miliary_seg.domain.decision import Verdict
from miliary_seg.domain.grid import Grid, other_axes
from miliary_seg.domain.volume import LabelMap
from miliary_seg.errors import AmbiguousInputError, GeometryError, UnreadableFileError
from miliary_seg.lab.bench.centres import read_centres
from miliary_seg.lab.bench.pairs import RUN_FILE, TRUTH_FILE, Pair, Source
from miliary_seg.lab.bench.scoring import CaseInput, Findings, MatchRule
from miliary_seg.lab.bench.scoring.findings import slices_by_geometry
from miliary_seg.lab.bench.scoring.matching import match
from miliary_seg.load import LabelFile, read_label_map

LabelKind = Literal["auto", "instances", "mask"]
BY_THRESHOLD = frozenset(("", "probability"))
"""Rules (columns ``rule`` of candidates.csv) of candidates that some threshold would accept; no other rule depends on
it, so no other candidate belongs on a curve over thresholds."""
WHOLE_SHARE = 0.9
"""A map whose labels are this often one connected piece each is one of instances; a map of classes is not."""
MIRROR_FACTOR = 3
"""Coordinates that match so many times better with left-right and front-back turned are said to be LPS."""
SAME_GRID_MM = 0.1
"""Grids whose corners lie closer than this are one grid: rounding of headers, far below a voxel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """How files are understood."""

    labels: LabelKind = "auto"
    """``instances``: every value is a lesion; ``mask``: every connected piece of the values above 0 is one."""
    frame: str = "ras"
    """Frame of tables whose columns are called x, y, z: ``ras`` or ``lps``."""
    series: str = ""
    """Of a result with several series: the one whose identifier starts so."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ComparedSide:
    """One side of one case, read."""

    findings: Findings
    grid: Grid | None = None
    slice_axis: int | None = None
    orientation_known: bool = True
    brain_slices: tuple[int, ...] | None = None
    candidates: Findings | None = None
    verdict: Verdict | None = None
    probability: float | None = None
    truth_met: bool | None = None


def read_case(pair: Pair, options: ReadOptions) -> CaseInput:
    """Read both sides of one case onto common ground.

    Raises
    ------
    MiliaryError
        If a file cannot be read, or the two cannot be compared: other grids without a stated orientation.
    """
    reference = read_side(pair.reference, options)
    predicted = read_side(pair.prediction, options, like=reference.grid)
    notes = []
    on_one_grid = (
        predicted.grid is not None
        and reference.grid is not None
        and predicted.grid.same_as(reference.grid, SAME_GRID_MM)
    )
    if not on_one_grid and not (predicted.orientation_known and reference.orientation_known):
        what = "the grids differ and one file states no orientation: they cannot be laid over each other"
        raise GeometryError(what, where=pair.reference.path, todo="give both on one grid")
    if predicted.grid is not None and reference.grid is not None and not on_one_grid:
        notes.append("grids_differ")
    ground = predicted if predicted.grid is not None else reference
    ours, theirs = _sliced(predicted, ground), _sliced(reference, ground)
    if _looks_mirrored(ours, theirs):
        notes.append("looks_mirrored")
    truth = pair.truth_met if pair.truth_met is not None else reference.truth_met
    return CaseInput(
        case=pair.case,
        head=pair.case.split("_ses-")[0],
        predicted=ours,
        reference=theirs,
        n_slices=_n_slices(ground),
        slices=_brain_slices(ground, ours, theirs),
        candidates=predicted.candidates,
        verdict=predicted.verdict,
        probability=predicted.probability,
        truth_met=truth,
        notes=tuple(notes),
    )


def read_side(source: Source, options: ReadOptions, like: Grid | None = None) -> ComparedSide:
    """Read one side.

    Parameters
    ----------
    source
        What and where.
    options
        How to understand it.
    like
        Of a result with several series, the one on this grid is meant.

    Raises
    ------
    MiliaryError
        Whatever stands against it.
    """
    if source.kind == "run":
        return _run(source.path, options, like)
    if source.kind == "phantom":
        return _phantom(source.path)
    if source.kind == "centres":
        return ComparedSide(findings=read_centres(source.path, options.frame)[source.in_table])
    return _labels(read_label_map(source.path), options.labels, source.path)


def instances(labels: LabelMap, kind: LabelKind, where: object = "") -> LabelMap:
    """Lesions of a map of instances, or the connected pieces (26 neighbours) of a mask.

    Raises
    ------
    AmbiguousInputError
        If it is neither for sure: several values, many of them in several pieces (a map of classes).
    """
    values = np.unique(labels.labels[labels.labels > 0])
    if kind == "mask" or (kind == "auto" and values.size <= 1):
        pieces, _ = ndi.label(labels.labels > 0, structure=np.ones((3, 3, 3)))
        return LabelMap(labels=pieces.astype(np.int32), grid=labels.grid)
    if kind == "auto":
        boxes = ndi.find_objects(labels.labels)
        whole = [
            ndi.label(labels.labels[boxes[v - 1]] == v, structure=np.ones((3, 3, 3)))[1] == 1 for v in values.tolist()
        ]
        if np.mean(whole) < WHOLE_SHARE:
            what = f"{whole.count(False)} of {len(whole)} label values lie in several pieces: classes or lesions?"
            raise AmbiguousInputError(what, where=where, todo="say --labels instances or --labels mask")
    return labels


def _labels(file: LabelFile, kind: LabelKind, path: Path) -> ComparedSide:
    lesions = instances(file.labels, kind, path)
    return ComparedSide(
        findings=Findings.of_labels(lesions, file.slice_axis),
        grid=lesions.grid,
        slice_axis=file.slice_axis,
        orientation_known=file.orientation_known,
    )


def _run(folder: Path, options: ReadOptions, like: Grid | None) -> ComparedSide:
    document = _json(folder / RUN_FILE)
    try:
        series = _chosen(document["series"], options.series, like, folder)
        files, geometry = series["files"], series["geometry"]
        slice_axis = int(geometry["slice_axis"])
        verdict, chance = Verdict(series["decision"]["verdict"]), series["decision"]["probability"]  # not the study's
    except (KeyError, TypeError, ValueError) as error:
        what = f"not a result that this version understands ({type(error).__name__}: {error})"
        raise UnreadableFileError(what, where=folder / RUN_FILE, todo="run the case again") from error
    labels = read_label_map(folder / files["lesion_map"])
    lesions = read_centres(folder / files["lesions"])[""]
    if int(labels.labels.labels.max(initial=0)) != len(lesions):
        raise UnreadableFileError("lesions.csv and lesions.nii.gz do not belong together", where=folder)
    return ComparedSide(
        findings=replace(lesions, labels=labels.labels),
        grid=labels.labels.grid,
        slice_axis=slice_axis,
        orientation_known=labels.orientation_known and bool(geometry["orientation_known"]),
        brain_slices=_slices_with_brain(folder, files.get("compartment_map"), slice_axis),
        candidates=read_centres(folder / files["candidates"], keep=lambda row: row.get("rule", "") in BY_THRESHOLD)[""],
        verdict=verdict,
        probability=chance,
    )


def _slices_with_brain(folder: Path, name: str | None, slice_axis: int) -> tuple[int, ...] | None:
    """Slices that show brain; None where the result holds no compartments (an atlas fit that is not trusted)."""
    if name is None:
        return None
    brain = read_label_map(folder / name).labels.labels > 0
    return tuple(np.flatnonzero(brain.any(axis=other_axes(slice_axis))).tolist()) or None


def _chosen(series: list[Mapping[str, Any]], wanted: str, like: Grid | None, folder: Path) -> Mapping[str, Any]:
    fitting = [one for one in series if str(one["id"]).startswith(wanted)]
    if len(fitting) > 1 and like is not None:
        grids = [Grid(shape=tuple(s["geometry"]["shape"]), affine=s["geometry"]["affine_ras_mm"]) for s in fitting]
        fitting = [one for one, grid in zip(fitting, grids, strict=True) if grid.same_as(like, SAME_GRID_MM)] or fitting
    if len(fitting) != 1:
        names = ", ".join(str(one["id"]) for one in series)
        raise AmbiguousInputError(f"{len(fitting)} series fit ({names})", where=folder, todo="choose one with --series")
    return fitting[0]


def _phantom(folder: Path) -> ComparedSide:
    truth = _json(folder / TRUTH_FILE)
    labels = read_label_map(folder / "lesions_truth.nii.gz")
    try:
        lesions, slice_axis, met = truth["lesions"], int(truth["slice_axis"]), truth.get("meets_rule")
        findings = Findings.of(
            [[lesion[f"centre_ras_mm_{axis}"] for axis in "xyz"] for lesion in lesions],
            diameters_mm=[lesion["diameter_mm"] for lesion in lesions],
            contrasts=[lesion["contrast_noise"] for lesion in lesions],
            slices=tuple(tuple(lesion["slices"]) for lesion in lesions),
        )
    except (KeyError, TypeError, ValueError) as error:
        what = f"not a truth.json of a phantom ({type(error).__name__})"
        raise UnreadableFileError(what, where=folder / TRUTH_FILE) from error
    return ComparedSide(
        findings=replace(findings, labels=labels.labels),
        grid=labels.labels.grid,
        slice_axis=slice_axis,
        orientation_known=labels.orientation_known,
        truth_met=met,
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UnreadableFileError(f"cannot be read ({type(error).__name__})", where=path) from error
    if not isinstance(document, dict):
        raise UnreadableFileError("not a JSON object", where=path)
    return document


def _sliced(side: ComparedSide, ground: ComparedSide) -> Findings:
    """Findings with their slices on the common ground: their own, or by centre and diameter where they have no grid."""
    found = side.findings
    if ground.grid is None or ground.slice_axis is None:
        return replace(found, slices=None)
    if side.grid is None:
        if found.slices is not None:
            return found
        shown = slices_by_geometry(found.centres_ras_mm, found.diameters_mm, ground.grid, ground.slice_axis)
        return replace(found, slices=shown)
    if not side.grid.same_as(ground.grid, SAME_GRID_MM):
        return replace(found, slices=None)
    if side.slice_axis != ground.slice_axis and found.labels is not None:
        return replace(found, slices=Findings.of_labels(found.labels, ground.slice_axis).slices)
    return found


def _n_slices(ground: ComparedSide) -> int | None:
    return None if ground.grid is None or ground.slice_axis is None else ground.grid.shape[ground.slice_axis]


def _brain_slices(ground: ComparedSide, *sides: Findings) -> tuple[int, ...] | None:
    """Slices that show brain or, on either side, a lesion; None = all."""
    if ground.brain_slices is None:
        return None
    lesions = (s for side in sides for shown in side.slices or () for s in shown)
    return tuple(sorted({*ground.brain_slices, *lesions}))


def _looks_mirrored(predicted: Findings, reference: Findings) -> bool:
    """Whether far more lesions match with x and y turned: one of the tables is in LPS, or the files disagree."""
    rule = MatchRule(kind="distance")
    turned = replace(predicted, centres_ras_mm=predicted.centres_ras_mm * [-1.0, -1.0, 1.0], labels=None)
    straight, mirrored = (len(match(side, reference, rule).predicted) for side in (predicted, turned))
    return mirrored > MIRROR_FACTOR * max(straight, 1)
