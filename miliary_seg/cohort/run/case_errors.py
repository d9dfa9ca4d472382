"""An error of one case says which case, which file, and what to do; one for want of memory, how much it needs."""

from __future__ import annotations

import os
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from miliary_seg.errors import MiliaryError

if TYPE_CHECKING:
    from miliary_seg.load import CaseInfo, SeriesInfo

E = TypeVar("E", bound=MiliaryError)
BASE_MB = 170
"""Resident size of a worker before its first case (measured: docs/performance.md)."""
BYTES_A_VOXEL = 45
"""Peak of an analysis above that, a voxel of the largest series (measured: docs/performance.md)."""


def located(error: E, case: CaseInfo) -> E:
    """The same error with the case and its file as its place, and a way out."""
    place = error.where
    series = _series_of(place, case)
    if not place or place in {case.id, str(case.path)} or series is not None:
        place = str(_file_of(series or next(iter(case.series), None), case))
    todo = error.todo or f"see `miliary-seg inspect {case.path}`"
    return type(error)(error.what, where=f"{case.id} ({place})", todo=todo)


def memory_advice(case: CaseInfo) -> str:
    """How much memory the largest series of a case needs, and how to give it that."""
    n_voxels = max((prod(series.shape[:3]) for series in case.series if series.shape), default=0)
    megabytes = BASE_MB + BYTES_A_VOXEL * n_voxels / 1e6
    there = _memory_mb()
    machine = f" of {there / 1000:.1f} GB here" if there else ""
    return f"it needs about {megabytes / 1000:.1f} GB{machine}: fewer --jobs, or a machine with more"


def _series_of(place: str, case: CaseInfo) -> SeriesInfo | None:
    return next((series for series in case.series if series.id == place), None)


def _file_of(series: SeriesInfo | None, case: CaseInfo) -> Path:
    """The file of a series; the folder where it has several."""
    if series is None or not series.paths:
        return case.path
    return series.paths[0] if len(series.paths) == 1 else Path(os.path.commonpath(series.paths))


def _memory_mb() -> float:
    """Memory of this machine; 0 where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e6
    except (AttributeError, ValueError, OSError):
        return 0.0
