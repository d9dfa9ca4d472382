"""``run`` over several cases: bad ones among good ones, outcome by outcome, and nothing of it in the wrong stream."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from miliary_seg.cli.run import _is_used


@pytest.fixture
def scans(small_scan: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    folder.mkdir()
    for number in (1, 2):
        (folder / f"scan{number}_ce-gd_T1w.nii.gz").write_bytes(small_scan.read_bytes())
    (folder / "torn_ce-gd_T1w.nii.gz").write_bytes(small_scan.read_bytes()[:5000])
    (folder / "words_ce-gd_T1w.nii.gz").write_text("no image")
    return folder


def test_bad_scans_among_good_ones(scans: Path, tmp_path: Path, cli) -> None:
    output = tmp_path / "out"
    first = cli("run", scans, "-o", output, "--jobs", 2, "--timeout", 3600)
    assert first.code == 1
    assert len(first.out.splitlines()) == 2
    assert "2 done" in first.err
    table = list(csv.DictReader((output / "cases.csv").read_text("utf-8").splitlines()))
    assert len(table) == 2
    assert (output / "settings.toml").is_file()
    events = [json.loads(line) for path in (output / "ledger").iterdir() for line in path.read_text().splitlines()]
    assert sorted(event["event"] for event in events) == ["begin", "done", "done", "end", *["unreadable"] * 2]
    kept = {
        path: path.read_bytes() for path in output.rglob("*") if path.is_file() and path.suffix in {".csv", ".json"}
    }
    second = cli("run", scans, "-o", output, "--no-tables")
    assert second.code == 1
    assert "2 kept" in second.err
    assert {path: path.read_bytes() for path in kept} == kept
    third = cli("run", scans, "-o", output, "--jobs", 2, "--json")
    assert third.code == 1
    document = json.loads(third.out)
    assert len(document["cases"]) == 2
    assert document["cases"][0]["verdict"] == document["cases"][1]["verdict"]
    assert [failure["code"] for failure in document["failed"]] == ["unreadable_file"] * 2


@pytest.mark.parametrize(("there", "kept"), [("", False), ("ledger", True), ("a", True), ("b", True)])
def test_a_run_of_one_case_leaves_a_record_where_tables_could_miss_it(tmp_path: Path, there, kept) -> None:
    (tmp_path / there).mkdir(exist_ok=True)
    assert _is_used(tmp_path) is kept
    assert not _is_used(tmp_path / "none")
