"""``miliary-seg bench``: a phantom, a run of it, and the score of that run."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pytest

from miliary_seg.cli import main
from miliary_seg.errors import UsageError
from miliary_seg.lab.bench.masks import WRONG


def miliary_seg(*arguments: object) -> int:
    """Exit code of ``miliary-seg ...`` in this process, which has its libraries already."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["miliary-seg", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
    return int(stopped.value.code or 0)


@pytest.fixture
def bench(capsys: pytest.CaptureFixture[str]):
    """``miliary-seg bench ...`` in this process: exit code, stdout, stderr."""

    def called(*arguments: object) -> tuple[int, str, str]:
        code = miliary_seg("bench", *arguments)
        said = capsys.readouterr()
        return code, said.out, said.err

    return called


@pytest.fixture(scope="module")
def phantom_and_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("bench")
    assert miliary_seg("phantom", "-o", root / "truth" / "sub-7", "--count", 120, "--thickness-mm", 5) == 0
    assert miliary_seg("run", root / "truth" / "sub-7" / "scan.nii.gz", "-o", root / "run", "--case", "sub-7") == 0
    return root / "run", root / "truth"


def test_a_run_is_scored_against_its_phantom(phantom_and_run, tmp_path: Path, bench) -> None:
    run, truth = phantom_and_run
    code, out, err = bench("score", run, truth, "-o", tmp_path / "out")
    assert code == 0, err
    assert out.strip().endswith("bench.html")
    assert "Sensitivity" in out
    document = json.loads((tmp_path / "out" / "bench.json").read_text("utf-8"))
    (case,) = document["cases"]
    assert (case["case"], case["matched_by"], case["n_reference"]) == ("sub-7", "overlap", 120)
    assert case["n_found"] + case["n_false"] == case["n_predicted"]
    assert case["truth_met"] is False
    assert document["pooled"]["verdicts"]["truth_not_met"][case["verdict"]] == 1
    assert document["pooled"]["froc"][-1]["sensitivity"] > document["pooled"]["figures"]["sensitivity"]["value"]
    code, _, err = bench("score", run, truth, "-o", tmp_path / "out")
    assert code == 6
    assert "--force" in err


@pytest.mark.slow
@pytest.mark.parametrize("reference", ["lesions.nii.gz", "lesions.csv"])
def test_the_lesions_of_a_run_agree_with_themselves(phantom_and_run, tmp_path: Path, bench, reference: str) -> None:
    run, _ = phantom_and_run
    folder = next(p for p in (run / "sub-7").iterdir() if (p / reference).is_file())
    code, out, err = bench("score", run, folder / reference, "-o", tmp_path / "out", "--json")
    assert code == 0, err
    figures = json.loads(out)["pooled"]["figures"]
    assert figures["sensitivity"]["value"] == figures["precision"]["value"] == 1.0
    assert figures["count_error_mean_absolute"]["value"] == 0.0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("score", "none", "none"), 3, "no such file"),
        (("score",), 2, "PREDICTIONS and REFERENCES"),
        (("score", "none", "none", "--match", "luck"), 2, "cannot be 'luck'"),
        (("score", "none", "none", "--tolerance-mm", "-1"), 2, "tolerance"),
        (("score", "none", "none", "--frame", "mni"), 2, "ras or lps"),
        (("phantoms", "--family", "spheres"), 2, "unknown family"),
        (("phantoms", "--hosts", "none"), 3, "no such file"),
        (("phantoms", "--set", "detect.sensitivit=high"), 5, "did you mean"),
    ],
)
def test_calls_that_are_refused(tmp_path: Path, bench, arguments: tuple[str, ...], code: int, message: str) -> None:
    ended, _, err = bench(*arguments, "-o", tmp_path / "out")
    assert ended == code
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_masks_of_a_scan_are_spoiled_and_judged(phantom_and_run, tmp_path: Path, bench) -> None:
    _, truth = phantom_and_run
    scan, out = truth / "sub-7" / "scan.nii.gz", tmp_path / "out"
    code, said, err = bench("masks", scan, "-o", out)
    assert code == 0, err
    assert "Trust of spoiled masks" in said
    rows = list(csv.DictReader((out / "masks.csv").read_text().splitlines()))
    assert rows[0]["kind"] == "as found"
    assert rows[0]["trusted"] == "true"
    wrong = [row for row in rows if max(float(row["let_in"]), float(row["lost"])) > WRONG]
    assert len(wrong) > 10
    assert {row["trusted"] for row in wrong} == {"false"}
    assert bench("masks", scan, "-o", out)[0] == 6  # there already


def test_phantoms_from_the_command_line(tmp_path: Path, bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scenes that cannot be made are named, and the exit code says that something is missing."""

    def refused(*_: object) -> None:
        raise UsageError("no room for lesion 3 of 9")

    monkeypatch.setattr("miliary_seg.lab.bench.selftest.score_scene", refused)
    arguments = ("phantoms", "--heads", 2, "--thickness-mm", 5, "--family", "curve", "--count", 9)
    code, out, err = bench(*arguments, "-o", tmp_path / "out", "--json")
    assert code == 1, err
    document = json.loads(out)
    assert document == json.loads((tmp_path / "out" / "bench.json").read_text("utf-8"))
    assert [failed["scene"] for failed in document["failed"]] == ["drawn-0_5mm_count-9", "drawn-1_5mm_count-9"]
    assert document["plan"]["counts"] == [9]
    code, out, _ = bench(*arguments, "-o", tmp_path / "out", "--force")
    assert code == 1
    assert "no room for lesion 3 of 9" in out
