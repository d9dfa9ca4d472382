"""A finished cohort without running it: rows of cases.csv as ``run`` writes them, and a participants.tsv."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from miliary_seg.report import write_cases_table


def case_row(case: str, verdict: str, **other: object) -> dict[str, object]:
    row = {"case": case, "series": "t1c", "folder": case, "study_verdict": verdict, "verdict": verdict}
    return row | {"settings_digest": "a" * 64, "software_version": "0.1.0"} | other


@pytest.fixture
def finished(tmp_path: Path) -> Callable[..., Path]:
    """Writes an output folder whose cases.csv holds the verdicts given."""

    def write(verdicts: Mapping[str, str], name: str = "results", **other: object) -> Path:
        folder = tmp_path / name
        for case in verdicts:
            (folder / case).mkdir(parents=True)
        write_cases_table([case_row(case, verdict, **other) for case, verdict in verdicts.items()], folder)
        return folder

    return write


@pytest.fixture
def participants_file(tmp_path: Path) -> Callable[[str], Path]:
    """Writes participants.tsv from rows with spaces for tabs."""

    def write(text: str) -> Path:
        path = tmp_path / "participants.tsv"
        lines = ["\t".join(line.split()) for line in text.strip().splitlines()]
        path.write_text("\n".join(lines) + "\n", "utf-8")
        return path

    return write
