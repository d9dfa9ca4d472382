"""The story of one case: locate the brain, detect lesions, assign them, decide. Nothing is printed or written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from miliary_seg.domain.arrays import BoolArray
from miliary_seg.domain.comparison import Comparison, matched
from miliary_seg.domain.compartment import Assignment
from miliary_seg.domain.decision import Decision
from miliary_seg.domain.disk_backed import release_pages
from miliary_seg.domain.pattern import Pattern
from miliary_seg.domain.progress import report_progress
from miliary_seg.domain.reason import Reason
from miliary_seg.domain.result import CaseResult, Detection, Location, SeriesResult
from miliary_seg.domain.scan_facts import scan_facts
from miliary_seg.domain.sequence import Sequence
from miliary_seg.domain.volume import Study, Volume
from miliary_seg.errors import GeometryError, InputError, MiliaryError, NoBrainError, NoImageError, UsageError
from miliary_seg.sequence_check import PairOfT1, weighed
from miliary_seg.settings import Settings
from miliary_seg.software import software

if TYPE_CHECKING:
    from miliary_seg.detectors import Detector

T = TypeVar("T")

GIVEN_MASK = Reason(
    code="given_mask", text="The brain mask was given by the user: lesions outside of it are not looked for."
)


def analyze(
    study: Study | Volume | str | Path,
    settings: Settings | None = None,
    *,
    mask: BoolArray | None = None,
    lesions: Any = None,
) -> CaseResult:
    """Analyse every volume of a study and decide.

    Parameters
    ----------
    study
        What ``load_study`` returned, one volume, or the path of a scan (then ``settings.load`` counts too).
    settings
        Defaults to ``Settings()``.
    mask
        A brain mask on the grid of the study's only volume, shape (i, j, k); None = found by registration.
    lesions
        Lesions that somebody else found: a file (``miliary_seg.load.lesions.read_lesions``), labels on a scan's grid,
        or a mapping from series id to one of them. Then only the series that have some are analysed. None = detect.

    Returns
    -------
    CaseResult
        With every candidate, the reasons, and the answer under every reading.

    Raises
    ------
    MiliaryError
        If lesions are given that cannot be read, or do not lie in the scan.
    NoImageError
        If the study holds no volume.
    NoBrainError
        If no volume shows a brain.
    InputError
        If a mask is given for several volumes, or does not fit the volume; or what ``load_study`` raises for a path.
    UsageError
        If something else is given.
    """
    from miliary_seg.decide import decide_study
    from miliary_seg.detectors import lesions_by_series

    settings = _settings(settings)
    study = _study(study, settings)
    given = None if lesions is None else lesions_by_series(lesions, study)
    clock = _Clock()
    results, caveats, not_analysed = [], list(study.caveats), list(study.unreadable_series)
    failures: list[MiliaryError] = []
    pair = PairOfT1()
    for volume in study.volumes:
        if given is not None and volume.id not in given:
            text = f"Lesions were given, but none for series {volume.id}: it is not analysed."
            caveats.append(Reason(code="series_without_given_lesions", text=text))
            continue
        detectors = _detectors(settings, None if given is None else given[volume.id])
        others = tuple(other for other in study.volumes if other is not volume)
        release_pages()
        scan = _Scan(
            volume=volume,
            others=others,
            before=study.before_contrast,
            mask=_checked(mask, study),
            settings=settings,
            clock=clock,
        )
        try:
            result = pair.compared(_analyze_volume(scan, detectors), settings)
            results.append(result.to_disk() if len(study.volumes) > 1 else result)
        except (InputError, GeometryError) as error:
            failures.append(type(error)(error.what, where=error.where or volume.id, todo=error.todo))
            not_analysed.append(volume.id)
            caveats.append(Reason(code=f"series_skipped_{error.code}", text=f"series {volume.id}: {error.what}"))
    if not results:
        raise failures[0] if failures else NoImageError("the study holds no volume", where=study.case)
    return CaseResult(
        case=study.case,
        decision=decide_study({series.id: series.decision for series in results}, not_analysed),
        series=tuple(results),
        settings=settings.as_dict(),
        settings_digest=settings.digest,
        software=software(),
        caveats=tuple(caveats),
        timings_s=clock.seconds,
        writer=_write,
    )


def _settings(settings: object) -> Settings:
    if settings is None:
        return Settings()
    if not isinstance(settings, Settings):
        what = f"settings must be Settings, not {type(settings).__name__}"
        raise UsageError(what, todo='Settings().updated({"decide.slab_mm": 4})')
    return settings


def _study(given: object, settings: Settings) -> Study:
    if isinstance(given, Study):
        return given
    if isinstance(given, Volume):
        return Study(case=given.id, volumes=(given,))
    if isinstance(given, str | Path):
        from miliary_seg.load import load_study

        return load_study(given, settings=settings)
    what = f"analyze takes a Study, a Volume or a path, not {type(given).__name__}"
    raise UsageError(what, todo="Volume.from_array(voxels, affine) makes a Volume of an array")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scan:
    """One volume of a study, and what is the same for all of them."""

    volume: Volume
    others: tuple[Volume, ...]
    before: tuple[Volume, ...]
    """Scans before contrast agent that are not analysed."""
    mask: BoolArray | None
    settings: Settings
    clock: _Clock


def _detectors(settings: Settings, given: Detector | None) -> list[tuple[str, Detector]]:
    """The detector that decides, then those that are compared with it."""
    from miliary_seg.detectors import detector

    names = settings.detector.names
    chosen = [] if names == "auto" else [name.strip() for name in names.split(",") if name.strip()]
    if given is None:
        return [(name, detector(name)) for name in chosen or ["miliary-seg"]]
    return [("given", given), *((name, detector(name)) for name in chosen)]


def _analyze_volume(scan: _Scan, detectors: list[tuple[str, Detector]]) -> SeriesResult:
    from miliary_seg.contrast_pair import paired
    from miliary_seg.detect import with_flair_percentile, with_uptake
    from miliary_seg.flair_signal import flair_signal
    from miliary_seg.locate import locate

    volume, settings, clock = scan.volume, scan.settings, scan.clock
    location = clock.timed("locate", lambda: locate(volume, settings.locate, mask=scan.mask))
    if not location.registration.brain_found:
        why = "; ".join(reason.text for reason in location.registration.reasons)
        todo = (
            "if it is something else say so with --sequence; else --series for another one, or --mask for your own mask"
        )
        raise NoBrainError(f"no brain found, read as {_read_as(volume)} ({why})", where=volume.id, todo=todo)
    scan = replace(scan, volume=weighed(volume, location))
    volume = scan.volume
    brain = location.brain_mask
    pair = clock.timed("detect", lambda: paired(volume, brain, (*scan.others, *scan.before)))
    flair = clock.timed("detect", lambda: flair_signal(volume, brain, scan.others))
    (detection, assignments, decision), *more = [_decided(scan, location, one) for one in detectors]
    if pair is not None and pair.matched is not None:
        matched = pair.matched
        detection = clock.timed("detect", lambda: with_uptake(detection, matched))
    if flair is not None and flair.ranks is not None:
        detection = with_flair_percentile(detection, flair.ranks)
    return SeriesResult(
        volume=volume,
        location=location,
        detection=detection,
        assignments=assignments,
        decision=decision,
        pattern=clock.timed("decide", lambda: describe(detection, location)),
        comparisons=tuple(compared((detection, decision), (theirs, answer)) for theirs, _, answer in more),
        pair=None if pair is None else pair.pair,
        flair=None if flair is None else flair.pair,
        caveats=(
            *volume.caveats,
            *(() if scan.mask is None else (GIVEN_MASK,)),
            *location.registration.reasons,
            *location.mask_trust.reasons,
            *detection.caveats,
            *detection.doubts,
            *(doubt for doubt in detection.artefact_doubts if doubt not in detection.doubts),
            *(() if pair is None else pair.pair.reasons),
            *(() if flair is None else flair.pair.reasons),
        ),
    )


def _read_as(volume: Volume) -> str:
    """How a scan was read, in words, and whether anybody said so."""
    kind = volume.sequence.sequence
    name = str(volume.modality) if kind is Sequence.UNKNOWN else str(kind).upper()
    assumed = any(caveat.code == "modality_assumed" for caveat in volume.caveats)
    return f"{name}{', which nothing in the file says' if assumed else ''}"


def _decided(
    scan: _Scan, location: Location, one: tuple[str, Detector]
) -> tuple[Detection, tuple[Assignment, ...], Decision]:
    """Lesions by one detector, their places, and the answer."""
    from miliary_seg.decide import decide
    from miliary_seg.detect import with_masses
    from miliary_seg.detectors import run_detector
    from miliary_seg.locate import assign

    volume, settings, clock, (name, detector) = scan.volume, scan.settings, scan.clock, one
    brain = location.brain_mask
    detection = clock.timed("detect", lambda: run_detector(detector, name, volume, brain, settings, others=scan.others))
    if detection.source.is_ours:
        detection = clock.timed("detect", lambda: with_masses(detection, volume, location))
    assignments = clock.timed("assign", lambda: assign(detection.lesions, detection.lesion_labels, location))
    facts = scan_facts(volume, location, detection)
    decision = clock.timed("decide", lambda: decide(detection.lesions, assignments, facts, settings.decide))
    return detection, assignments, decision


def compared(first: tuple[Detection, Decision], second: tuple[Detection, Decision]) -> Comparison:
    """What a second detector found and would answer, beside the first."""
    ours, theirs = first[0], second[0]
    both = matched(ours.lesion_labels, theirs.lesion_labels)
    taken = ({a for a, _ in both}, {b for _, b in both})
    return Comparison(
        first=ours.source,
        second=theirs.source,
        both=both,
        only_first=tuple(lesion.id for lesion in ours.lesions if lesion.id not in taken[0]),
        only_second=tuple(lesion.id for lesion in theirs.lesions if lesion.id not in taken[1]),
        lesions=theirs.lesions,
        decision=second[1],
        first_verdict=first[1].verdict,
    )


def describe(detection: Detection, location: Location) -> Pattern:
    """Uniformity, dominance and homogeneity of the lesions."""
    from miliary_seg.decide import describe_pattern, points_needed
    from miliary_seg.locate import sample_points

    n = points_needed(len(detection.lesions))
    places = sample_points(location.brain_mask, location.compartments.grid, n)
    return describe_pattern(detection.lesions, places, detection.operating_point.evidence_probability)


def _checked(mask: BoolArray | None, study: Study) -> BoolArray | None:
    if mask is None:
        return None
    mask = np.asarray(mask)
    if len(study.volumes) != 1 or mask.shape != study.volumes[0].grid.shape:
        shapes = ", ".join(str(volume.grid.shape) for volume in study.volumes)
        raise InputError(f"a mask of shape {mask.shape} does not fit", where=shapes, todo="one volume, one mask")
    return np.asarray(mask, dtype=bool)


def _write(result: CaseResult, output: Path, force: bool, date: datetime | None) -> Path:
    from miliary_seg.report import write_case

    return write_case(result, output, force, date)


@dataclass(slots=True)
class _Clock:
    """Seconds spent in each stage, over all series of a case."""

    seconds: dict[str, float] = field(default_factory=dict)

    def timed(self, stage: str, work: Callable[[], T]) -> T:
        start = perf_counter()
        report_progress(stage)
        try:
            return work()
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + perf_counter() - start
