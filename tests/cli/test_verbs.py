"""Verbs on good input: what they print, what they write, how they end."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

FinishedRun = tuple[Path, subprocess.CompletedProcess]


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text("utf-8").splitlines()))


@pytest.fixture(scope="module")
def finished_run(small_scan: Path, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    output = tmp_path_factory.mktemp("run") / "results"
    command = [sys.executable, "-m", "miliary_seg.cli", "run", str(small_scan), "-o", str(output), "--case", "first"]
    return output, subprocess.run(command, capture_output=True, text=True, check=False)


def test_run_writes_the_promised_files(finished_run) -> None:
    output, process = finished_run
    assert process.returncode == 0, process.stderr
    assert process.stdout.startswith("first: ")
    series = next(p for p in (output / "first").iterdir() if p.is_dir())
    names = {p.name for p in series.iterdir()}
    wanted = {"lesions.nii.gz", "compartments.nii.gz", "lesions.csv", "slices.csv", "candidates.csv"}
    assert wanted <= names
    assert {"result.json", "report.html"} <= {p.name for p in (output / "first").iterdir()}
    rows = rows_of(output / "cases.csv")
    assert [row["case"] for row in rows] == ["first"]


def test_label_maps_lie_on_the_input_grid(finished_run, small_scan: Path) -> None:
    output, _ = finished_run
    scan = nib.Nifti1Image.from_filename(small_scan)
    for name in ("lesions.nii.gz", "compartments.nii.gz"):
        image = nib.Nifti1Image.from_filename(next((output / "first").rglob(name)))
        assert image.shape == scan.shape
        assert np.allclose(image.affine, scan.affine, atol=1e-5)


def test_a_finished_result_is_kept(finished_run, small_scan: Path, cli) -> None:
    output, _ = finished_run
    before = {p: p.stat().st_mtime_ns for p in (output / "first").rglob("*")}
    finished = cli("run", small_scan, "-o", output, "--case", "first")
    assert finished.code == 0
    assert finished.out.startswith("first: ")
    assert "kept" in finished.err
    assert {p: p.stat().st_mtime_ns for p in (output / "first").rglob("*")} == before


def test_other_settings_in_one_output_are_refused(finished_run, small_scan: Path, cli) -> None:
    output, _ = finished_run
    before = (output / "first" / "result.json").read_bytes()
    finished = cli("run", small_scan, "-o", output, "--case", "second", "--set", "decide.bilateral=quadrants")
    assert finished.code == 6
    assert "decide.bilateral" in finished.err
    assert "--force" in finished.err
    assert (output / "first" / "result.json").read_bytes() == before
    assert not (output / "second").exists()


@pytest.mark.slow
def test_force_replaces_with_an_equal_result(finished_run, small_scan: Path, cli) -> None:
    output, _ = finished_run
    before = (output / "first" / "result.json").read_bytes()
    finished = cli("run", small_scan, "-o", output, "--case", "first", "--force", "--json")
    assert finished.code == 0
    assert [case["case"] for case in json.loads(finished.out)["cases"]] == ["first"]
    assert (output / "first" / "result.json").read_bytes() == before


def test_case_names_one_case_only(small_scan: Path, tmp_path: Path, cli) -> None:
    twin = tmp_path / "twin.nii.gz"
    twin.write_bytes(small_scan.read_bytes())
    assert cli("run", small_scan, twin, "-o", tmp_path / "out", "--case", "one").code == 2
    assert cli("run", small_scan, "-o", tmp_path / "out", "--case", "../escape").code == 2
    assert not (tmp_path / "escape").exists()


def test_a_mask_on_another_grid_is_refused(small_scan: Path, tmp_path: Path, cli) -> None:
    mask = tmp_path / "mask.nii.gz"
    nib.save(nib.Nifti1Image(np.ones((4, 4, 4), np.uint8), np.eye(4)), mask)
    finished = cli("run", small_scan, "-o", tmp_path / "out", "--mask", mask)
    assert finished.code == 4
    assert "mask.nii.gz" in finished.err


@pytest.mark.slow
def test_a_mask_of_ones_own_replaces_the_one_found(small_scan: Path, tmp_path: Path, cli) -> None:
    image = nib.load(small_scan)
    half = np.zeros(image.shape, np.uint8)
    half[: image.shape[0] // 2] = 1
    flipped = nib.Nifti1Image(half, image.affine).as_reoriented(np.array([[0, -1], [1, 1], [2, 1]]))
    nib.save(flipped, tmp_path / "half.nii.gz")
    out = tmp_path / "out"
    assert cli("run", small_scan, "-o", out, "--mask", tmp_path / "half.nii.gz").code == 0
    (written,) = out.rglob("compartments.nii.gz")
    assert np.array_equal(np.asarray(nib.load(written).dataobj) > 0, half > 0)
    assert "given_mask" in next(out.rglob("result.json")).read_text()


def test_inspect_shows_and_writes_nothing(small_scan: Path, tmp_path: Path, cli) -> None:
    before = sorted(small_scan.parent.iterdir())
    finished = cli("inspect", small_scan, small_scan.parent / "missing.nii.gz")
    assert finished.code == 3  # a path that is not there is told by the exit code too
    assert "t1c" in finished.out
    assert "problem" in finished.out
    assert json.loads(cli("inspect", small_scan, "--json").out)["cases"][0]["series"][0]["used"]
    assert sorted(small_scan.parent.iterdir()) == before


def test_inspect_lists_unused_files_shortly(tmp_path: Path, cli) -> None:
    for number in range(12):
        (tmp_path / f"note{number:02d}.txt").write_text("nothing")
    assert "and 2 more" in cli("inspect", tmp_path).out


@pytest.mark.parametrize("document", ["result", "bench", "settings"])
def test_schemas_are_printed(document: str, cli) -> None:
    printed = json.loads(cli("schema", document).out)
    assert printed["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    if document == "settings":
        assert json.loads(cli("settings", "--schema").out) == printed


def test_settings_are_toml_that_is_read_back(tmp_path: Path, cli) -> None:
    printed = cli("settings", "--set", "decide.bilateral=quadrants").out
    assert 'bilateral = "quadrants"' in printed
    file = tmp_path / "settings.toml"
    file.write_text(printed)
    assert cli("settings", "--config", file).out == printed


def test_version_and_help(cli) -> None:
    assert cli("--version").out.startswith("miliary-seg ")
    assert "Research use only" in cli("--help").out


@pytest.mark.slow
@pytest.mark.parametrize("file_format", ["nifti", "dicom"])
def test_phantom_writes_scan_and_truth(tmp_path: Path, cli, file_format: str) -> None:
    arguments = ["--preset", "normal", "--count", 3, "--thickness-mm", 6, "--format", file_format, "--seed", 2]
    finished = cli("phantom", "-o", tmp_path / "phantom", *arguments)
    assert finished.code == 0, finished.err
    truth = json.loads((tmp_path / "phantom" / "truth.json").read_text())
    assert len(truth["lesions"]) == 3
    assert len(rows_of(tmp_path / "phantom" / "lesions_truth.csv")) == 3
    scan = "dicom" if file_format == "dicom" else "scan.nii.gz"
    assert (tmp_path / "phantom" / scan).exists()
    assert cli("phantom", "-o", tmp_path / "phantom", *arguments).code == 6


def test_a_phantom_never_lies_beside_the_truth_of_another(tmp_path: Path, cli) -> None:
    (tmp_path / "truth.json").write_text("{}")
    assert cli("phantom", "-o", tmp_path, "--preset", "few-large").code == 6
    assert [path.name for path in tmp_path.iterdir()] == ["truth.json"]


@pytest.mark.slow
def test_phantom_of_lesions_that_replace_tissue(tmp_path: Path, cli) -> None:
    options = ("--enhancement", "0.5", "1.5", "--second-best", "3", "--diameter-mm", "4", "8", "--thickness-mm", "5")
    assert cli("phantom", "-o", tmp_path / "p", *options).code == 0
    truth = json.loads((tmp_path / "p" / "truth.json").read_text())
    counts = [row["n_lesions"] for row in truth["slices"]]
    assert max(min(a, b) for i, a in enumerate(counts) for b in counts[i + 2 :]) == 3
    assert all(0.5 <= one["enhancement"] <= 1.5 for one in truth["lesions"])
    assert cli("phantom", "-o", tmp_path / "q", *options, "--contrast", "5", "9").code == 2


def test_phantom_in_a_scan_of_the_users_own(small_scan: Path, tmp_path: Path, cli) -> None:
    options = ["--count", 4, "--diameter-mm", 4, 5, "--contrast", 8, 9, "--contrast-unit", "local", "--side", "left"]
    assert cli("phantom", "-o", tmp_path / "p", "--host", small_scan, *options).code == 0
    truth = json.loads((tmp_path / "p" / "truth.json").read_text())
    assert {lesion["side"] for lesion in truth["lesions"]} == {"left"}
    written = nib.Nifti1Image.from_filename(tmp_path / "p" / "scan.nii.gz")
    assert written.shape == nib.Nifti1Image.from_filename(small_scan).shape


def test_phantom_options_are_checked(tmp_path: Path, cli) -> None:
    assert cli("phantom", "-o", tmp_path / "p", "--preset", "nonsense").code == 5
    assert cli("phantom", "-o", tmp_path / "p", "--format", "bmp").code == 2


def test_demo_without_sample_data(tmp_path: Path, cli) -> None:
    assert cli("demo", "-o", tmp_path / "out", "--sample-data", tmp_path / "missing").code == 3
