"""Which series of a case are analysed, and in which order: one stated rule, written on every series."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from math import log

from miliary_seg.domain.pair import BEFORE
from miliary_seg.domain.sequence import Modality, Sequence
from miliary_seg.errors import AmbiguousInputError, UnsuitableImageError
from miliary_seg.load.inventory import SeriesInfo
from miliary_seg.load.sequence import NO_LESION_SCAN, PREFERENCE, user_choice
from miliary_seg.settings import LoadSettings

KINDS: tuple[frozenset[Sequence], ...] = (
    frozenset({Sequence.T1C}),
    frozenset({Sequence.FLAIR}),
    frozenset({Sequence.SWI, Sequence.T2STAR}),
    frozenset({Sequence.DWI}),
    frozenset({Sequence.CTC}),
)
"""Kinds of series that can decide (docs/criteria.md): of a study, the best one of each is analysed."""
ENHANCED = frozenset(BEFORE)
WHOLE_BRAIN_MM = 100.0
"""A stack of slices that reaches this far shows most of a brain in any plane; slabs reach 40 to 80 mm."""
ALL = "--all-series analyses all"


def choose(series: Iterable[SeriesInfo], settings: LoadSettings) -> tuple[SeriesInfo, ...]:
    """Series with the user's choices applied: eligible ones first, in the order of preference.

    The order: by sequence (``PREFERENCE``), whole brain before slabs, acquired before reformatted, thinner slices, more
    slices, series number. Of a study the best series of each kind that can decide is analysed, the others only where
    nothing better is there, or where the user asks for all. A reformatted series is left out only beside an acquired
    one of the same sequence.
    """
    every = list(series)
    asked = [_asked_for(s, settings, alone=not any(other.eligible for other in every)) for s in every]
    chosen = _of_the_sequence(_named(asked, settings), settings)
    chosen = _without_reformats(chosen)
    if not (settings.all_series or settings.series or settings.sequence != "auto"):
        chosen = _best_of_each(chosen)
    ordered = sorted(chosen, key=preference)
    return tuple(
        replace(s, why=f"analysed, {'preferred' if n == 0 else f'number {n + 1} in the order of preference'}")
        if s.eligible
        else s
        for n, s in enumerate(ordered)
    )


def preference(series: SeriesInfo) -> tuple[object, ...]:
    """Sort key."""
    return (not series.eligible, PREFERENCE.index(series.sequence.sequence), *_rank(series))


def _rank(series: SeriesInfo) -> tuple[object, ...]:
    """The better of two series of one kind comes first."""
    spacing = series.spacing_mm[series.slice_axis] if series.spacing_mm else 99.0
    slices = series.shape[series.slice_axis] if series.shape else 0
    number = series.series_number if series.series_number is not None else 1 << 30
    return slices * spacing < WHOLE_BRAIN_MM, series.derived, round(spacing, 2), -slices, number, series.id


def _without_reformats(series: list[SeriesInfo]) -> list[SeriesInfo]:
    acquired = {s.sequence.sequence for s in series if s.eligible and not s.derived}
    return [
        _not(s, "reformatted from another series")
        if s.eligible and s.derived and s.sequence.sequence in acquired
        else s
        for s in series
    ]


def _best_of_each(series: list[SeriesInfo]) -> list[SeriesInfo]:
    """Leave what can add nothing: kept are the best of each deciding kind, and what may be an enhanced scan unsaid."""
    eligible = sorted((s for s in series if s.eligible), key=_rank)
    best = [next((s for s in eligible if s.sequence.sequence in kind), None) for kind in KINDS]
    kept = [s for s in best if s is not None]
    if not any(s.sequence.sequence in ENHANCED for s in kept):
        kept += _perhaps_enhanced(eligible)
    if not kept:
        first = {s.sequence.sequence: s for s in reversed(eligible)}
        kept = list(first.values())
    kept += [s for s in eligible if s not in kept and _is_half(s) and any(map(_is_half, kept))]
    names = ", ".join(s.id for s in sorted(kept, key=preference))
    ids = {s.id for s in kept}
    beside = {_before(after, eligible) for after in kept} - {"", *ids}
    return [
        replace(_not(s, f"not needed beside {names}; {ALL}"), before_contrast=s.id in beside)
        if s.eligible and s.id not in ids
        else s
        for s in series
    ]


def _before(after: SeriesInfo, eligible: list[SeriesInfo]) -> str:
    """The series before contrast agent that is most like one after it: plane, slices, then the last one before it."""
    wanted = BEFORE.get(after.sequence.sequence)
    found = [s for s in eligible if wanted is not None and s.sequence.sequence is wanted and s.spacing_mm]
    return min(found, key=lambda s: _unlikeness(after, s)).id if found and after.spacing_mm else ""


def _unlikeness(after: SeriesInfo, before: SeriesInfo) -> tuple[object, ...]:
    thickness = abs(log(before.spacing_mm[before.slice_axis] / after.spacing_mm[after.slice_axis]))
    known = before.series_number is not None and after.series_number is not None
    since = (after.series_number or 0) - (before.series_number or 0) if known else 0
    return before.derived, before.plane != after.plane, round(thickness, 1), since < 0, abs(since), before.id


def _is_half(series: SeriesInfo) -> bool:
    """Whether it is one half of a volume: the other is needed as well."""
    return any(warning.code == "series_split" for warning in series.warnings)


def _perhaps_enhanced(ranked: list[SeriesInfo]) -> list[SeriesInfo]:
    """Unknown series, and of T1 and CT without a word on contrast the best pair of like parameters.

    The first and the last series of such a pair may be those before and after contrast agent: the picture will say.
    """
    unsaid = [s for s in ranked if s.sequence.contrast_unproven]
    unknown = [s for s in ranked if s.sequence.sequence is Sequence.UNKNOWN]
    if not unsaid:
        return unknown
    alike = [[s for s in unsaid if _parameters(s) == _parameters(other)] for other in unsaid]
    group = max(alike, key=len) if len(max(alike, key=len)) > 1 else alike[0]
    in_time = sorted(group, key=lambda s: (s.series_number is None, s.series_number or 0, s.id))
    return [*unknown, *{s.id: s for s in (in_time[0], in_time[-1])}.values()]


def _parameters(series: SeriesInfo) -> tuple[object, ...]:
    """What two series before and after contrast agent share."""
    return (
        series.sequence.sequence,
        series.plane,
        tuple(round(x, 1) for x in series.spacing_mm),
        series.shape[:2],
        series.derived,
    )


def _asked_for(series: SeriesInfo, settings: LoadSettings, *, alone: bool) -> SeriesInfo:
    """An ADC map is used where the user asks for ADC; an image of its own kind where the user names it.

    A stated sequence names it too where nothing else could be meant (``alone``).
    """
    named = bool(settings.series) or (alone and settings.sequence != "auto")
    if named and series.why.endswith(NO_LESION_SCAN) and series.source is not None and not series.error:
        return replace(series, eligible=True)
    is_adc = series.sequence.sequence is Sequence.ADC
    if settings.sequence == "adc" and is_adc and not series.error and series.why.startswith("an ADC map"):
        return replace(series, eligible=True)
    return series


def _not(series: SeriesInfo, why: str) -> SeriesInfo:
    return replace(series, eligible=False, why=why)


def _named(series: list[SeriesInfo], settings: LoadSettings) -> list[SeriesInfo]:
    wanted = settings.series
    if not wanted:
        return series
    return [
        s
        if s.id.startswith(wanted) or s.series_instance_uid.startswith(wanted)
        else _not(s, "not the series that load.series names")
        if s.eligible
        else s
        for s in series
    ]


def _of_the_sequence(series: list[SeriesInfo], settings: LoadSettings) -> list[SeriesInfo]:
    """Apply ``load.sequence``: the series known as such, else the one candidate; never a guess among several.

    Raises
    ------
    AmbiguousInputError
        If several series could be meant.
    UnsuitableImageError
        If the header states the other modality: the rule has one threshold for each.
    """
    if settings.sequence == "auto":
        return series
    wanted = Sequence(settings.sequence)
    modality = Modality.CT if wanted in (Sequence.CT, Sequence.CTC) else Modality.MR
    eligible = [s for s in series if s.eligible]
    known = [s for s in eligible if s.sequence.sequence is wanted]
    unknown = [s for s in eligible if s.sequence.sequence is Sequence.UNKNOWN]
    other = [s for s in eligible if s.format == "DICOM" and s.modality is not modality]
    if eligible and len(other) == len(eligible):
        raise UnsuitableImageError(
            f"load.sequence states {wanted}, but the DICOM header states {other[0].modality}",
            where=other[0].id,
            todo="leave the sequence out, or state one of that modality",
        )
    meant = known or (eligible if len(eligible) == 1 else unknown)
    if len(eligible) > 1 and not known and len(unknown) != 1:
        raise AmbiguousInputError(
            f"several series could be the {wanted} that load.sequence states: {', '.join(s.id for s in eligible)}",
            todo="name one with load.series",
        )
    return [
        replace(s, sequence=user_choice(wanted), modality=modality)
        if s in meant
        else _not(s, f"not the {wanted} that load.sequence states")
        if s.eligible
        else s
        for s in series
    ]
