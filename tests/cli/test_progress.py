"""What a terminal shows while one scan is analysed."""

from __future__ import annotations

import time
from collections.abc import Generator
from pathlib import Path

import pytest

from miliary_seg.cli.outcomes import OutcomePrinter, watched
from miliary_seg.cohort import CaseOutcome
from miliary_seg.domain.progress import report_progress

REDRAWN_S = 0.3
"""Longer than the bar takes to be drawn again."""


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes it for a terminal


@pytest.mark.usefixtures("terminal")
def test_a_single_run_shows_its_stages(small_scan: Path, tmp_path: Path, cli) -> None:
    done = cli("run", small_scan, "-o", tmp_path)
    assert done.code == 0
    shown = done.err.split("sub-01: ")[0]  # the line of figures after it names all stages
    assert all(stage in shown for stage in ("locate", "detect", "report"))
    assert "locate" not in done.out


def outcomes() -> Generator[CaseOutcome, None, None]:
    for step in (1, 2):
        report_progress("detect", step, 8)
        time.sleep(REDRAWN_S)
    yield CaseOutcome(case="a", verdict="MET")


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("quiet", [False, True])
def test_the_steps_of_a_stage_are_counted(quiet: bool, capsys: pytest.CaptureFixture[str]) -> None:
    watched(outcomes(), 1, OutcomePrinter(as_json=False, quiet=quiet))
    shown = capsys.readouterr().err
    assert ("detect 1/8" in shown) is not quiet
    assert ("detect 2/8" in shown) is not quiet


def test_a_pipe_gets_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    watched(outcomes(), 1, OutcomePrinter(as_json=False, quiet=False))
    assert "detect" not in capsys.readouterr().err
