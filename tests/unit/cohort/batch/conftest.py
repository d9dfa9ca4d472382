"""Cases that misbehave, in processes of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from miliary_seg.cohort import BatchOptions, CaseOutcome, RunPlan, run_cases
from miliary_seg.load.inventory import CaseInfo
from miliary_seg.settings import Settings

Batch = Callable[..., dict[str, CaseOutcome]]


@pytest.fixture
def plan(tmp_path: Path) -> RunPlan:
    return RunPlan(output=tmp_path / "out", settings=Settings())


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module of misbehaving work, for this process and for workers."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "importable"))
    import faulty_work

    return faulty_work


@pytest.fixture
def cases(tmp_path: Path) -> Callable[..., list[CaseInfo]]:
    def make(*names: str) -> list[CaseInfo]:
        return [CaseInfo(id=name, path=tmp_path / name, series=()) for name in names]

    return make


@pytest.fixture
def batch(plan: RunPlan, faulty: Any, cases: Callable[..., list[CaseInfo]]) -> Batch:
    """Run cases by name; outcomes by name."""

    def run(*names: str, plan: RunPlan = plan, **options: Any) -> dict[str, CaseOutcome]:
        outcomes = run_cases(cases(*names), plan, BatchOptions(**options), faulty.FaultyWork())
        return {outcome.case: outcome for outcome in outcomes}

    return run
