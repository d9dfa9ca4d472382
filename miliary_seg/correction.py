"""Decide again: a stored case, lesions that a reader corrected, and what changed. Neither scan nor fit is needed.

::

    decide_again(folder, lesions)   -> Correction: the new answer beside the old one
    write_correction(found, folder) decision.json, lesions.nii.gz, lesions.csv, slices.csv
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage as ndi

from miliary_seg.domain.arrays import BoolArray, Int32Array
from miliary_seg.domain.comparison import matched
from miliary_seg.domain.compartment import Assignment
from miliary_seg.domain.lesion import Lesion
from miliary_seg.domain.lesion_source import GivenLesions, LesionSource
from miliary_seg.domain.reason import Reason
from miliary_seg.domain.result import Detection, Location, SeriesResult
from miliary_seg.domain.scan_facts import scan_facts
from miliary_seg.domain.sequence import Polarity
from miliary_seg.domain.stored_location import unpack
from miliary_seg.domain.volume import LabelMap

if TYPE_CHECKING:
    from miliary_seg.load.stored_case import StoredSeries
    from miliary_seg.settings import LesionsSettings

DECISION = "decision.json"
MOVED_MM = 1.0
"""A redrawn lesion whose centre moved by less was corrected in its outline only."""
NEIGHBOURS = np.ones((3, 3, 3), dtype=bool)
OF_DETECTION = frozenset(("rim_pattern", "given_mirrored"))
"""Doubts about the lesions that were found: they do not hold for those of a reader."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One lesion before and after."""

    what: str
    """``removed``, ``added``, ``moved`` or ``redrawn``."""
    before: Lesion | None = None
    after: Lesion | None = None
    shift_mm: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Correction:
    """The new answer for one series, with what changed."""

    case: str
    series: SeriesResult
    verdict_before: str
    changes: tuple[Change, ...]
    n_unchanged: int
    by: str
    """Who corrected, as the user says."""
    result_sha256: str
    """Of the ``result.json`` that was corrected."""
    settings_digest: str


def decide_again(
    folder: str | Path,
    lesions: str | Path,
    *,
    series: str = "",
    by: str = "",
    settings: LesionsSettings | None = None,
) -> Correction:
    """Decide a finished case again with corrected lesions.

    Lesions whose voxels are unchanged keep their measurements and places; the others are measured and placed anew, by
    the stored registration. All of them count as a reader's: with probability 1, and without an operating point.

    Parameters
    ----------
    folder
        ``OUTPUT/<case>`` of a run.
    lesions
        The corrected lesions: the exported ``lesions.nii.gz``, edited, or any file that ``--lesions`` takes.
    series
        Identifier of the series; empty = the one that the verdict rests on.
    by
        Who corrected them; empty = not said.
    settings
        How the file is read; defaults to the settings of the stored case, with every value a lesion.

    Raises
    ------
    MiliaryError
        If the folder is no finished case, or the file cannot be read or does not lie in the scan.
    """
    from miliary_seg.decide import decide
    from miliary_seg.load.lesions import read_lesions
    from miliary_seg.load.stored_case import read_stored_series
    from miliary_seg.locate import assign

    stored = read_stored_series(folder, series)
    chosen = settings or stored.settings.lesions
    by_value = replace(chosen, labels="instances") if chosen.labels == "auto" else chosen
    given = read_lesions(lesions, stored.volume, by_value)
    old = stored.labels.labels
    new = _regrouped(given.labels.labels, old)
    new.setflags(write=False)
    labels = LabelMap(labels=new, grid=stored.volume.grid)
    location = _location(stored, new > 0)
    pairs, same = matched(stored.labels, labels), _unchanged(old, new)
    found = _lesions(stored, labels, location.brain_mask, {b: a for a, b in pairs}, same)
    places = _places(stored, assign(found, labels, location), same)
    detection = _detection(stored, given, found, labels, location.brain_mask)
    facts = scan_facts(stored.volume, location, detection)
    decision = decide(found, places, facts, stored.settings.decide)
    result = SeriesResult(
        volume=stored.volume,
        location=location,
        detection=detection,
        assignments=places,
        decision=decision,
        caveats=detection.caveats,
    )
    return Correction(
        case=stored.case,
        series=result,
        verdict_before=stored.document["decision"]["verdict"],
        changes=_changes(stored.lesions, found, pairs, same),
        n_unchanged=len(same),
        by=by,
        result_sha256=stored.result_sha256,
        settings_digest=stored.settings.digest,
    )


def _regrouped(given: Any, old: Any) -> Int32Array:
    """Lesions of the corrected map: untouched ones as they were, all others by connected pieces of a value.

    A value that a reader painted in several places is several lesions; one that a reader's program merged with its
    neighbours (a mask) is taken apart along the stored lesions, where these are whole and nothing was added to them.
    """
    labels = np.zeros(given.shape, dtype=np.int32)
    old_sizes = np.bincount(old[old > 0], minlength=1)
    count = 0
    boxes: list[Any] = ndi.find_objects(given)
    for value, box in enumerate(boxes, start=1):
        if box is None:
            continue
        pieces, n_pieces = ndi.label(given[box] == value, structure=NEIGHBOURS)
        wholes, n_wholes = _whole_lesions(given[box] == value, old[box], old_sizes)
        if n_wholes:
            pieces, n_pieces = wholes, n_wholes
        inside = pieces > 0
        labels[box][inside] = pieces[inside] + count
        count += n_pieces
    return labels


def _whole_lesions(region: BoolArray, old: Any, old_sizes: Any) -> tuple[Any, int]:
    """The stored lesions in a region, numbered from 1, where it consists of whole ones; else 0 of them."""
    ids, sizes = np.unique(old[region], return_counts=True)
    if not ids.size or ids[0] == 0 or not np.array_equal(sizes, old_sizes[ids]):
        return region, 0
    return np.where(region, np.searchsorted(ids, old) + 1, 0), int(ids.size)


def _unchanged(old: Any, new: Any) -> dict[int, int]:
    """New label -> stored label, of lesions with the very same voxels."""
    inside = new > 0
    now, before = new[inside].astype(np.intp), old[inside].astype(np.intp)
    old_sizes = np.bincount(old[old > 0], minlength=1)
    top = int(now.max(initial=0)) + 1
    partner = np.zeros(top, dtype=np.intp)
    partner[now] = before  # of any one voxel: all of them are compared with it
    agree = np.bincount(now[before == partner[now]], minlength=top)
    sizes = np.bincount(now, minlength=top)
    return {
        n: int(partner[n])
        for n in np.flatnonzero(sizes).tolist()
        if partner[n] and sizes[n] == agree[n] == old_sizes[partner[n]]
    }


def _location(stored: StoredSeries, where: BoolArray) -> Location:
    brain, midline, tentorium = unpack(stored.location, stored.volume.grid, where)
    nowhere = np.broadcast_to(np.uint8(0), stored.volume.grid.shape)
    return Location(
        brain_mask=brain,
        compartments=LabelMap(labels=nowhere, grid=stored.volume.grid),
        midline_distance_mm=midline,
        tentorium_distance_mm=tentorium,
        coverage=stored.coverage,
        registration=stored.registration,
        mask_trust=stored.mask_trust,
    )


def _lesions(
    stored: StoredSeries, labels: LabelMap, brain: BoolArray, partners: dict[int, int], same: dict[int, int]
) -> tuple[Lesion, ...]:
    """Stored measurements where nothing changed, new ones elsewhere.

    What needs grey values, contrast and enhancement, stays that of the lesion before.
    """
    from miliary_seg.detect.delineate import measure
    from miliary_seg.detect.given import Instances

    before = {lesion.id: lesion for lesion in stored.lesions}
    scan = Instances(labels=labels.labels, volume=stored.volume, mask=brain)
    usual = Polarity.DARK if _polarity(stored) is Polarity.DARK else Polarity.BRIGHT
    found = []
    boxes: list[Any] = ndi.find_objects(labels.labels)
    for number, box in enumerate(boxes, start=1):
        if number in same:
            found.append(replace(before[same[number]], id=number, probability=1.0))
            continue
        if box is None:
            continue
        size = measure(labels.labels[box] == number, box, stored.volume)
        old = before.get(partners.get(number, 0))
        contrast, polarity = (float("nan"), usual) if old is None else (old.contrast, old.polarity)
        _, lesion = scan.lesion(number, box, size, contrast=contrast, polarity=polarity, probability=1.0)
        kept = (None, None) if old is None else (old.candidate_id, old.enhancement)
        found.append(replace(lesion, candidate_id=kept[0], enhancement=kept[1]))
    return tuple(found)


def _places(stored: StoredSeries, anew: tuple[Assignment, ...], same: dict[int, int]) -> tuple[Assignment, ...]:
    before = {place.lesion_id: place for place in stored.assignments}
    return tuple(
        replace(before[same[place.lesion_id]], lesion_id=place.lesion_id) if place.lesion_id in same else place
        for place in anew
    )


def _detection(
    stored: StoredSeries, given: GivenLesions, found: tuple[Lesion, ...], labels: LabelMap, brain: BoolArray
) -> Detection:
    from miliary_seg.detect.given import StatedRates, stated_point

    text = "The lesions were corrected by a reader: their count is taken as exact."
    document = stored.document["detection"]
    return Detection(
        candidates=(),
        rejections=(),
        lesions=found,
        lesion_labels=labels,
        polarity=_polarity(stored),
        noise_sigma=document["noise_sigma"],
        operating_point=stated_point(StatedRates(), found, brain, stored.volume),
        diameters_measured_on=document["diameters_measured_on"],
        half_found_diameter_mm=document["half_found_diameter_mm"],
        detectable_diameter_mm=document["detectable_diameter_mm"],
        doubts=tuple(doubt for doubt in stored.image_doubts if doubt.code not in OF_DETECTION),
        source=LesionSource(
            name="given",
            format=given.source.format,
            algorithm_type="SEMIAUTOMATIC" if given.source.algorithm_type != "MANUAL" else "MANUAL",
            author=given.source.author,
            path=given.source.path,
            sha256=given.source.sha256,
        ),
        caveats=(*given.caveats, Reason(code="corrected_lesions", text=text)),
    )


def _polarity(stored: StoredSeries) -> Polarity:
    from miliary_seg.detect.quality import lesion_polarity

    return lesion_polarity(stored.volume, stored.settings.detect)


def _changes(
    before: tuple[Lesion, ...], after: tuple[Lesion, ...], pairs: tuple[tuple[int, int], ...], same: dict[int, int]
) -> tuple[Change, ...]:
    old, new = ({lesion.id: lesion for lesion in lesions} for lesions in (before, after))
    changed = []
    for a, b in pairs:
        if b not in same and a in old and b in new:
            shift = float(np.linalg.norm(np.subtract(new[b].centroid_ras_mm, old[a].centroid_ras_mm)))
            what = "moved" if shift >= MOVED_MM else "redrawn"
            changed.append(Change(what=what, before=old[a], after=new[b], shift_mm=shift))
    left, right = {a for a, _ in pairs}, {b for _, b in pairs}
    removed = [Change(what="removed", before=lesion) for n, lesion in old.items() if n not in left]
    added = [Change(what="added", after=lesion) for n, lesion in new.items() if n not in right]
    return (*removed, *added, *changed)


def write_correction(found: Correction, folder: Path, *, force: bool = False) -> Path:
    """Write the new answer and its lesions into a folder of their own, in one rename.

    Raises
    ------
    OutputError
        If one is there already (without ``force``), or anything cannot be written.
    """
    from miliary_seg.report.tables import lesions_table, slices_table
    from miliary_seg.report.volume_files import write_label_map
    from miliary_seg.report.write import install_folder

    with install_folder(folder, DECISION, force) as draft:
        known = found.series.volume.orientation_known
        write_label_map(found.series.detection.lesion_labels, draft / "lesions.nii.gz", orientation_known=known)
        for name, table in (
            ("lesions", lesions_table(found.series)),
            ("slices", slices_table(found.series, identified=False)),
        ):
            (draft / f"{name}.csv").write_text(table.csv(), "utf-8", newline="")
        text = json.dumps(correction_document(found), indent=1, allow_nan=False) + "\n"
        (draft / DECISION).write_text(text, "utf-8", newline="\n")
    return folder


def correction_document(found: Correction) -> dict[str, Any]:
    """What ``decision.json`` holds: the new answer, the old one, and every change with its place."""
    from miliary_seg.report.json_document import DISCLAIMER, decision_document, reasons_document
    from miliary_seg.report.sanitise import sanitise
    from miliary_seg.schema import finite

    counts = {kind: sum(c.what == kind for c in found.changes) for kind in ("removed", "added", "moved", "redrawn")}
    document = {
        "case": found.case,
        "series": found.series.id,
        "verdict": str(found.series.decision.verdict),
        "verdict_before": found.verdict_before,
        "disclaimer": DISCLAIMER,
        "corrected_by": found.by,
        "result_sha256": found.result_sha256,
        "lesion_file_sha256": found.series.detection.source.sha256,
        "settings_digest": found.settings_digest,
        "n_lesions": len(found.series.lesions),
        "changes": {"unchanged": found.n_unchanged, **counts, "lesions": [_change(c) for c in found.changes]},
        "caveats": reasons_document(found.series.caveats),
        "decision": decision_document(found.series.decision),
    }
    cleaned: dict[str, Any] = finite(document, sanitise)
    return cleaned


def _change(change: Change) -> dict[str, Any]:
    at = change.after or change.before
    return {
        "what": change.what,
        "id_before": None if change.before is None else change.before.id,
        "id_after": None if change.after is None else change.after.id,
        "centroid_ras_mm": None if at is None else list(at.centroid_ras_mm),
        "volume_before_mm3": None if change.before is None else change.before.volume_mm3,
        "volume_after_mm3": None if change.after is None else change.after.volume_mm3,
        "shift_mm": change.shift_mm,
    }
