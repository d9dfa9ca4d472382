"""The story of one case: locate the brain, detect lesions, assign them, decide. Nothing is printed or written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from time import perf_counter
from typing import TypeVar

import numpy as np

from miliary_seg.domain.arrays import BoolArray
from miliary_seg.domain.pattern import Pattern
from miliary_seg.domain.reason import Reason
from miliary_seg.domain.result import CaseResult, Detection, Location, SeriesResult
from miliary_seg.domain.scan_facts import scan_facts
from miliary_seg.domain.sequence import Sequence
from miliary_seg.domain.volume import Study, Volume
from miliary_seg.errors import GeometryError, InputError, MiliaryError, NoBrainError, NoImageError, UsageError
from miliary_seg.settings import Settings
from miliary_seg.software import software

T = TypeVar("T")

GIVEN_MASK = Reason(
    code="given_mask", text="The brain mask was given by the user: lesions outside of it are not looked for."
)


def analyze(
    study: Study | Volume | str | Path, settings: Settings | None = None, *, mask: BoolArray | None = None
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

    Returns
    -------
    CaseResult
        With every candidate, the reasons, and the answer under every reading.

    Raises
    ------
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

    settings = _settings(settings)
    study = _study(study, settings)
    clock = _Clock()
    results, caveats, not_analysed = [], list(study.caveats), list(study.unreadable_series)
    failures: list[MiliaryError] = []
    for volume in study.volumes:
        try:
            results.append(_analyze_volume(volume, settings, _checked(mask, study), clock))
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


def _analyze_volume(volume: Volume, settings: Settings, mask: BoolArray | None, clock: _Clock) -> SeriesResult:
    from miliary_seg.decide import decide
    from miliary_seg.detect import find
    from miliary_seg.locate import assign, locate

    location = clock.timed("locate", lambda: locate(volume, settings.locate, mask=mask))
    if not location.registration.brain_found:
        why = "; ".join(reason.text for reason in location.registration.reasons)
        todo = (
            "if it is something else say so with --sequence; else --series for another one, or --mask for your own mask"
        )
        raise NoBrainError(f"no brain found, read as {_read_as(volume)} ({why})", where=volume.id, todo=todo)
    detection = clock.timed("detect", lambda: find(volume, location.brain_mask, settings.detect))
    assignments = clock.timed("assign", lambda: assign(detection.lesions, detection.lesion_labels, location))
    facts = scan_facts(volume, location, detection)
    decision = clock.timed("decide", lambda: decide(detection.lesions, assignments, facts, settings.decide))
    return SeriesResult(
        volume=volume,
        location=location,
        detection=detection,
        assignments=assignments,
        decision=decision,
        pattern=clock.timed("decide", lambda: _pattern(detection, location)),
        caveats=(
            *volume.caveats,
            *(() if mask is None else (GIVEN_MASK,)),
            *location.registration.reasons,
            *detection.doubts,
            *detection.artefact_doubts,
        ),
    )


def _read_as(volume: Volume) -> str:
    """How a scan was read, in words, and whether anybody said so."""
    kind = volume.sequence.sequence
    name = str(volume.modality) if kind is Sequence.UNKNOWN else str(kind).upper()
    assumed = any(caveat.code == "modality_assumed" for caveat in volume.caveats)
    return f"{name}{', which nothing in the file says' if assumed else ''}"


def _pattern(detection: Detection, location: Location) -> Pattern:
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
        try:
            return work()
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + perf_counter() - start
