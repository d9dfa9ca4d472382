"""The story of one case: locate the brain, detect lesions, assign them, decide. Nothing is printed or written."""

from __future__ import annotations

import platform
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from miliary_seg import __version__
from miliary_seg.domain.decision import ScanFacts
from miliary_seg.domain.pattern import Pattern
from miliary_seg.domain.reason import Reason
from miliary_seg.domain.result import CaseResult, Detection, Location, SeriesResult
from miliary_seg.domain.sequence import Modality
from miliary_seg.domain.volume import BoolArray, Study, Volume
from miliary_seg.errors import GeometryError, InputError, MiliaryError, NoBrainError, NoImageError
from miliary_seg.settings import Settings

if TYPE_CHECKING:
    from miliary_seg.phantom import Phantom, PhantomSpec

T = TypeVar("T")

PACKAGES = ("numpy", "scipy", "scikit-image", "SimpleITK", "nibabel", "pydicom", "highdicom", "opencv-python-headless")
"""What reads, computes or writes; their versions stand in every result."""

GIVEN_MASK = Reason(
    code="given_mask", text="The brain mask was given by the user: lesions outside of it are not looked for."
)


def analyze(study: Study, settings: Settings | None = None, *, mask: BoolArray | None = None) -> CaseResult:
    """Analyse every volume of a study and decide.

    Parameters
    ----------
    study
        What ``load_study`` returned, or volumes put together by hand.
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
        If a mask is given for several volumes, or does not fit the volume.
    """
    from miliary_seg.decide import decide_study

    settings = settings or Settings()
    clock = _Clock()
    results, caveats, not_analysed = [], list(study.caveats), list(study.unreadable_series)
    failures: list[MiliaryError] = []
    for volume in study.volumes:
        try:
            results.append(_analyze_volume(volume, settings, _checked(mask, study), clock))
        except (InputError, GeometryError) as error:
            failures.append(error)
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


def _analyze_volume(volume: Volume, settings: Settings, mask: BoolArray | None, clock: _Clock) -> SeriesResult:
    from miliary_seg.decide import decide
    from miliary_seg.detect import find
    from miliary_seg.locate import assign, locate

    location = clock.timed("locate", lambda: locate(volume, settings.locate, mask=mask))
    if not location.registration.brain_found:
        why = "; ".join(reason.text for reason in location.registration.reasons)
        raise NoBrainError(f"no brain found ({why})", where=volume.id, todo="give a brain scan, or another --series")
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


def _pattern(detection: Detection, location: Location) -> Pattern:
    from miliary_seg.decide import describe_pattern, places_needed
    from miliary_seg.locate import random_places

    n = places_needed(len(detection.lesions))
    places = random_places(location.brain_mask, location.compartments.grid, n)
    return describe_pattern(detection.lesions, places)


def scan_facts(volume: Volume, location: Location, detection: Detection) -> ScanFacts:
    """What the criteria may know of a scan: geometry, coverage and trust, but no voxels."""
    centres = volume.slice_centres_ras_mm
    point = detection.operating_point
    across = tuple(axis for axis in range(3) if axis != volume.slice_axis)
    return ScanFacts(
        modality=volume.modality,
        sequence=volume.sequence,
        slice_positions_mm=tuple(round(float(d), 6) for d in centres @ volume.slice_normal),
        slice_centres_ras_mm=tuple((round(float(r), 4), round(float(a), 4), round(float(s), 4)) for r, a, s in centres),
        sop_instance_uids=volume.source.sop_instance_uids,
        thickness_mm=volume.thickness_mm,
        gap_mm=volume.gap_mm,
        n_brain_slices=int(location.brain_mask.any(axis=across).sum()),
        missing_slices=volume.missing_slices,
        interpolated=volume.resampled and not volume.missing_slices,
        coverage=location.coverage,
        registration=location.registration,
        image_doubts=(*detection.doubts, *_grey_value_doubts(volume)),
        artefact_doubts=detection.artefact_doubts,
        lesion_sensitivity=point.measured_recall,
        false_positives_per_slice=point.measured_false_positives_per_slice,
        evidence_probability=point.evidence_probability,
        evidence_false_positives_per_slice=point.evidence_false_positives_per_slice,
    )


def _grey_value_doubts(volume: Volume) -> tuple[Reason, ...]:
    if volume.modality is not Modality.CT or volume.in_hounsfield:
        return ()
    text = "The grey values of this CT are not in HU; few visible lesions say little."
    return (Reason(code="ct_not_hounsfield", text=text),)


def make_phantom(spec: PhantomSpec, host: Path | None = None, seed: int = 0) -> Phantom:
    """Make a phantom on the shipped template, or put its lesions into a scan of the user's own.

    On a user's scan the voxels and the grid stay as they are (it has noise of its own); brain and compartments come
    from the registration, so sides and levels of the truth are as good as that.

    Raises
    ------
    MiliaryError
        If the scan cannot be read, shows no brain or one that the atlas does not fit, or the lesions cannot be placed
        as wanted.
    """
    from miliary_seg.load import load_study
    from miliary_seg.locate import locate
    from miliary_seg.phantom import ScannerSpec, head_from_volume, make

    if host is None:
        return make(spec, seed=seed)
    settings = Settings()
    volume = load_study(host, settings=settings).volumes[0]
    place = locate(volume, settings.locate)
    if not place.registration.trusted:
        what = "the atlas fit of the host is not trusted: sides and levels of the truth could be wrong"
        raise NoBrainError(what, where=host, todo="give another host")
    head = head_from_volume(volume, place.brain_mask, compartments=place.compartments)
    return make(replace(spec, scanner=ScannerSpec(on_host_grid=True, noise=0.0, bias=0.0)), head, seed)


def software() -> dict[str, str]:
    """Versions that a result depends on."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"name": "miliary-seg", "version": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):  # another build of the same library (opencv-python) may stand in
            found[package] = version(package)
    return found


def _checked(mask: BoolArray | None, study: Study) -> BoolArray | None:
    if mask is None:
        return None
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
