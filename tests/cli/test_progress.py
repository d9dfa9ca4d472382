"""What a terminal shows while one scan is analysed."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.mark.parametrize("quiet", [False, True])
def test_a_single_run_shows_its_stage_on_a_terminal(
    quiet: bool, small_scan: Path, tmp_path: Path, cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes it for a terminal
    done = cli("run", small_scan, "-o", tmp_path, *(["--quiet"] if quiet else []))
    assert done.code == 0
    for stage in ("locate", "detect", "report"):
        assert (stage in done.err.split("sub-01: ")[0]) is not quiet  # the line of figures names all stages
    assert "locate" not in done.out
