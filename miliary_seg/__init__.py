"""miliary-seg: small brain lesions, where they lie, and whether the pattern meets the proposed miliary criteria.

Research use only. The public names are imported when first used, so that ``import miliary_seg`` is quick.

Examples
--------
>>> import miliary_seg as ms
>>> ms.Settings().decide.mri_lesions_per_slice
20
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from miliary_seg.software import __version__

if TYPE_CHECKING:
    from miliary_seg.domain.decision import Decision, Verdict
    from miliary_seg.domain.grid import Grid
    from miliary_seg.domain.result import CaseResult, SeriesResult
    from miliary_seg.domain.volume import LabelMap, Study, Volume
    from miliary_seg.errors import MiliaryError
    from miliary_seg.load import load_study
    from miliary_seg.pipeline import analyze
    from miliary_seg.settings import Settings

_HOME = {
    "load_study": "miliary_seg.load",
    "analyze": "miliary_seg.pipeline",
    "Settings": "miliary_seg.settings",
    "MiliaryError": "miliary_seg.errors",
    "Study": "miliary_seg.domain.volume",
    "Volume": "miliary_seg.domain.volume",
    "LabelMap": "miliary_seg.domain.volume",
    "Grid": "miliary_seg.domain.grid",
    "CaseResult": "miliary_seg.domain.result",
    "SeriesResult": "miliary_seg.domain.result",
    "Decision": "miliary_seg.domain.decision",
    "Verdict": "miliary_seg.domain.decision",
}
_MODULES = ("domain", "pipeline", "load", "detect", "locate", "decide", "report", "cohort", "lab")
_INSTRUMENTS = ("phantom", "bench")
"""Of ``lab``, reachable by their own names."""

__all__ = [
    "CaseResult",
    "Decision",
    "Grid",
    "LabelMap",
    "MiliaryError",
    "SeriesResult",
    "Settings",
    "Study",
    "Verdict",
    "Volume",
    "__version__",
    "analyze",
    "load_study",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    if name in _MODULES:
        return import_module(f"miliary_seg.{name}")
    if name in _INSTRUMENTS:
        return import_module(f"miliary_seg.lab.{name}")
    raise AttributeError(f"module 'miliary_seg' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *_MODULES, *_INSTRUMENTS})
