"""One case as a user has it: its volumes, or its preferred volume as an array."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from miliary_seg.domain.arrays import Float32Array, Float64Array
from miliary_seg.domain.reason import Reason
from miliary_seg.domain.volume import Study, Volume
from miliary_seg.errors import (
    AmbiguousInputError,
    GeometryError,
    MiliaryError,
    NoImageError,
    UnreadableFileError,
    UnsuitableImageError,
    UsageError,
)
from miliary_seg.load.cases import find_in_paths
from miliary_seg.load.inventory import CaseInfo, CaseInventory, Inventory, SeriesInfo
from miliary_seg.settings import Settings

_BROKEN = (UnreadableFileError, GeometryError)
"""Errors of series that would have been analysed; a 4-D or colour series would not."""


def find_cases(
    paths: Iterable[str | Path], settings: Settings | None = None, *, progress: Callable[[int], None] | None = None
) -> CaseInventory:
    """Find every case below some files and folders, reading headers only.

    Parameters
    ----------
    paths
        Files or folders: DICOM, NIfTI, mixed, nested.
    settings
        ``settings.load`` chooses series, sequence and volume.
    progress
        Called after each file with the number of files seen so far.

    Returns
    -------
    CaseInventory
        Cases with safe unique ids; problems (path, error) beside them, so that one bad file hides nothing and stops
        nothing; and the ledger of all files.
    """
    return find_in_paths(paths, (settings or Settings()).load, progress)


def inspect(
    paths: Iterable[str | Path], settings: Settings | None = None, *, progress: Callable[[int], None] | None = None
) -> Inventory:
    """What is below some paths, which series would be used, and why. Reads headers, writes nothing."""
    return Inventory(found=find_cases(paths, settings, progress=progress))


def load_case(found: CaseInfo, settings: Settings | None = None) -> Study:
    """Load every eligible series of a case, the preferred one first.

    A series that fails while its pixels are decoded becomes a caveat of the study, unless none is left. Of several
    series one at a time is in memory (``domain.disk_backed``).

    Raises
    ------
    MiliaryError
        If no series of the case can be analysed; the error of the first one that should have been.
    """
    settings = settings or Settings()
    volumes: list[Volume] = []
    errors: list[MiliaryError] = []
    caveats, unreadable = list(found.caveats), [s.id for s in found.series if isinstance(s.error, _BROKEN)]
    for series in found.eligible:
        try:
            volume = _load_series(series, settings)
            volumes.append(volume.to_disk() if len(found.eligible) > 1 else volume)
        except MiliaryError as error:
            errors.append(error)
            unreadable.append(series.id)
            text = f"Series {series.id} is not analysed: {error.what}."
            caveats.append(Reason(code="series_not_readable", text=text))
    if not volumes:
        raise _why_none(found, errors)
    before = _before_contrast(found, settings, caveats)
    return Study(
        case=found.id,
        volumes=tuple(volumes),
        caveats=tuple(caveats),
        unreadable_series=tuple(unreadable),
        before_contrast=before,
    )


def _before_contrast(found: CaseInfo, settings: Settings, caveats: list[Reason]) -> tuple[Volume, ...]:
    """Scans that are only compared with one after contrast agent; one that cannot be read is left out and said."""
    volumes = []
    for series in found.before_contrast:
        try:
            volumes.append(_load_series(series, settings).to_disk())
        except MiliaryError as error:
            text = f"Series {series.id}, before contrast agent, cannot be compared: {error.what}."
            caveats.append(Reason(code="pair_not_readable", text=text))
    return tuple(volumes)


def load_study(path: str | Path, *, settings: Settings | None = None, case: str = "") -> Study:
    """Load the one case of a path.

    Raises
    ------
    MiliaryError
        If nothing can be read; AmbiguousInputError with the list if the path holds several cases.
    """
    settings = settings or Settings()
    study = load_case(_the_case(path, settings), settings)
    return replace(study, case=case) if case else study


def read_array(path: str | Path, settings: Settings | None = None) -> tuple[Float32Array, Float64Array]:
    """The one volume that would be analysed, as an array.

    A lone series that would not be analysed but can be placed is read too: a phase image, an ADC map, a derived
    series, and (without ``settings``) a single slice as a volume of one.

    Returns
    -------
    tuple
        Voxels (i, j, k) as float32; 4 x 4 affine, voxel index to RAS+ mm.

    Raises
    ------
    MiliaryError
        If there is none, several cases, no stated orientation, or a series that would be preferred cannot be read.
    """
    resolved = settings or Settings().updated({"load.min_slices": 1})
    case = _the_case(path, resolved)
    series = case.eligible[:1] or _the_only_one(case)
    broken = next((s.error for s in case.series if s.error), None)
    if not series or broken is not None:
        raise broken or _why_none(case, [])
    if settings is None and len(case.series) > 1 and series[0].shape[series[0].slice_axis] < Settings().load.min_slices:
        raise UnsuitableImageError(
            f"{len(case.series)} series, the best of few slices", where=path, todo="give the folder of one series"
        )
    volume = _load_series(series[0], resolved)
    if not volume.orientation_known:
        raise GeometryError(
            "the file states no orientation: left and right are unknown",
            where=path,
            todo="state it with load.assume_orientation",
        )
    return volume.voxels, volume.grid.affine


def _load_series(series: SeriesInfo, settings: Settings) -> Volume:
    if series.format == "DICOM":
        from miliary_seg.load.dicom.volume import load_dicom

        return load_dicom(series, settings.load)
    from miliary_seg.load.nifti.volume import load_nifti

    return load_nifti(series, settings.load)


def _the_case(path: str | Path, settings: Settings) -> CaseInfo:
    if not isinstance(path, str | Path):
        raise UsageError(f"a path is needed, not {type(path).__name__}", todo="give a file or a folder")
    found = find_cases([path], settings)
    if len(found.cases) == 1:
        ambiguous = [p.error for p in found.problems if isinstance(p.error, AmbiguousInputError)]
        if ambiguous:
            raise ambiguous[0]
        return found.cases[0]
    if found.cases:
        listed = ", ".join(case.id for case in found.cases[:10])
        raise AmbiguousInputError(
            f"{len(found.cases)} cases ({listed}{', ...' if len(found.cases) > 10 else ''})",
            where=path,
            todo="give the path of one of them",
        )
    raise found.problems[0].error if found.problems else NoImageError("nothing to analyse", where=path)


def _the_only_one(case: CaseInfo) -> tuple[SeriesInfo, ...]:
    """A series that is not for analysis (phase, ADC, derived) but all there is: its array can be read."""
    readable = tuple(series for series in case.series if series.source is not None and not series.error)
    return readable if len(case.series) == 1 else ()


def _why_none(case: CaseInfo, errors: list[MiliaryError]) -> MiliaryError:
    """The error that stands against the best series; else the list of reasons."""
    errors = errors or [series.error for series in case.series if series.error]
    if errors:
        return errors[0]
    reasons = "; ".join(f"{series.id}: {series.why}" for series in case.series[:5])
    return NoImageError(f"no series to analyse ({reasons})", where=case.path, todo="see `miliary-seg inspect`")
