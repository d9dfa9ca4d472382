"""``miliary-seg bench``: a phantom, a run of it, and the score of that run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


def miliary_seg(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "miliary_seg.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def phantom_and_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("bench")
    made = miliary_seg("phantom", "-o", root / "truth" / "sub-7", "--count", 120, "--thickness-mm", 5)
    assert made.returncode == 0, made.stderr
    ran = miliary_seg("run", root / "truth" / "sub-7" / "scan.nii.gz", "-o", root / "run", "--case", "sub-7")
    assert ran.returncode == 0, ran.stderr
    return root / "run", root / "truth"


def test_a_run_is_scored_against_its_phantom(phantom_and_run, tmp_path: Path) -> None:
    run, truth = phantom_and_run
    done = miliary_seg("bench", "score", run, truth, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("bench.html")
    assert "Sensitivity" in done.stdout
    document = json.loads((tmp_path / "out" / "bench.json").read_text("utf-8"))
    (case,) = document["cases"]
    assert (case["case"], case["matched_by"], case["n_reference"]) == ("sub-7", "overlap", 120)
    assert case["n_found"] + case["n_false"] == case["n_predicted"]
    assert case["truth_met"] is False
    assert document["pooled"]["verdicts"]["truth_not_met"][case["verdict"]] == 1
    assert document["pooled"]["froc"][-1]["sensitivity"] > document["pooled"]["figures"]["sensitivity"]["value"]
    again = miliary_seg("bench", "score", run, truth, "-o", tmp_path / "out")
    assert again.returncode == 6
    assert "--force" in again.stderr


def test_the_lesions_of_a_run_agree_with_themselves(phantom_and_run, tmp_path: Path) -> None:
    run, _ = phantom_and_run
    folder = next(p for p in (run / "sub-7").iterdir() if p.is_dir())
    for reference in ("lesions.nii.gz", "lesions.csv"):
        done = miliary_seg("bench", "score", run, folder / reference, "-o", tmp_path / reference, "--json")
        assert done.returncode == 0, done.stderr
        figures = json.loads(done.stdout)["pooled"]["figures"]
        assert figures["sensitivity"]["value"] == figures["precision"]["value"] == 1.0
        assert figures["count_error_mean_absolute"]["value"] == 0.0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("none", "none"), 3, "no such file"),
        ((), 2, "PREDICTIONS and REFERENCES"),
        (("none", "none", "--match", "luck"), 2, "cannot be 'luck'"),
        (("none", "none", "--tolerance-mm", "-1"), 2, "tolerance"),
        (("none", "none", "--frame", "mni"), 2, "ras or lps"),
    ],
)
def test_calls_that_are_refused(tmp_path: Path, arguments: tuple[str, ...], code: int, message: str) -> None:
    done = miliary_seg("bench", "score", *arguments, "-o", tmp_path / "out")
    assert done.returncode == code
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()
