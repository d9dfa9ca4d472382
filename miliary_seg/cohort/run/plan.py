"""What a run of many cases is given, and what comes back of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from miliary_seg.errors import MiliaryError
from miliary_seg.settings import Settings

if TYPE_CHECKING:
    from miliary_seg.load import CaseInfo

Rows = tuple[dict[str, Any], ...]
"""Rows of cases.csv, as ``report.case_rows`` gives them."""


class Finalize(Protocol):
    """Writes the completion mark into the draft folder of a case, when all other files are in it."""

    def __call__(self, draft: Path, verdict: str, rows: Rows, missing: str = "") -> None:
        """Finalize a draft; ``missing`` says which files could not be made and why."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """What is the same for every case of one run."""

    output: Path
    settings: Settings
    force: bool = False
    """Replace what is there, also where it is finished."""
    mask: Path | None = None
    """A brain mask (NIfTI) for a run of one case."""
    software: tuple[tuple[str, str], ...] = ()
    """Versions that every worker must run; empty = not asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOptions:
    """How the cases of one run are spread and watched."""

    jobs: int = 1
    """Worker processes on this machine."""
    timeout_s: float | None = None
    """A case that takes longer is stopped and recorded; None = no limit."""
    scheduler: str = ""
    """Address of a Dask scheduler (``tcp://host:8786``), or ``local`` for one started here; empty = no Dask."""
    records: bool = True
    """Keep a ledger of the run and one log a case."""
    waiting: Callable[[str], None] | None = None
    """Told what the run waits for, in words; an empty text when it waits no longer."""
    inputs: tuple[Path, ...] = ()
    """What was searched for cases: an unreadable scan counts until a run over the same input does not find it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseProduct:
    """What the work on one case left behind."""

    folder: Path
    verdict: str
    rows: Rows = ()
    timings_s: dict[str, float] = field(default_factory=dict)
    error: MiliaryError | None = None
    """Why some of its files are missing."""


class CaseWork(Protocol):
    """What is done with each case. Must pickle: a class or dataclass of a module, not a closure.

    ``AnalyzeAndWrite`` is the work of ``miliary-seg run``; another layout of files is another work.
    """

    def folder(self, case: str) -> str:
        """Folder of a case below the output folder, with forward slashes: it gets its name in one rename."""
        ...

    def __call__(self, case: CaseInfo, plan: RunPlan, seal: Finalize) -> CaseProduct:
        """Do it: write every file into a draft folder, call ``seal`` on it, rename it.

        What is there already may be replaced: whether it may was decided before. A MiliaryError stops this case.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseOutcome:
    """How one case ended."""

    case: str
    folder: Path | None = None
    """Where its files are; None where it failed."""
    verdict: str = ""
    rows: Rows = ()
    error: MiliaryError | None = None
    """Why it failed; with a ``folder``, why some of its files are missing."""
    kept: bool = False
    """Whether it was finished before, with the same input and settings, and was left as it is."""
    seconds: float = 0.0
    timings_s: dict[str, float] = field(default_factory=dict)
    peak_memory_mb: float = 0.0
    """Largest resident size of the process so far (not of this case alone where one process runs several)."""

    @property
    def status(self) -> str:
        """``done``, ``kept``, ``partial`` (a result, but some of its files are missing) or ``failed``."""
        if self.error is not None:
            return "failed" if self.folder is None else "partial"
        return "kept" if self.kept else "done"
