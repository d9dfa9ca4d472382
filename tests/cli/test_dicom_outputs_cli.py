"""``run`` on DICOM: objects by default, what a refusal is worth, and what else may be asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pydicom
import pytest

from miliary_seg.lab.phantom import Phantom
from miliary_seg.report.dicom.images import SeriesText, write_series

OBJECTS = ["lesions.rtstruct.dcm", "lesions.seg.dcm", "measurements.sr.dcm"]


@pytest.fixture(scope="module")
def dicom_scan(small_phantom: Phantom, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_series(small_phantom.volume, tmp_path_factory.mktemp("dicom") / "scan", compression="none")


@pytest.mark.slow
def test_objects_by_default_and_what_else_is_asked_for(dicom_scan: Path, tmp_path: Path, cli) -> None:
    finished = cli("run", dicom_scan, "-o", tmp_path, "--case", "a", "--rtstruct", "--identified", "--seg", "labelmap")
    assert finished.code == 0, finished.err
    found = sorted((tmp_path / "a").rglob("*.dcm"))
    assert [path.name for path in found] == OBJECTS
    header = pydicom.dcmread(found[1])
    assert (header.SegmentationType, header.PatientName) == ("LABELMAP", "PHANTOM")
    document = json.loads((tmp_path / "a" / "result.json").read_text())
    assert {"pydicom", "highdicom", "SimpleITK", "opencv-python-headless"} <= set(document["software"])
    assert document["series"][0]["files"]["structure_set"].endswith("lesions.rtstruct.dcm")


@pytest.mark.slow
def test_images_that_no_object_may_refer_to_cost_exit_code_6_and_nothing_else(
    dicom_scan: Path, tmp_path: Path, cli
) -> None:
    folder = tmp_path / "scan"
    folder.mkdir()
    for path in dicom_scan.iterdir():
        header = pydicom.dcmread(path)
        del header.FrameOfReferenceUID
        header.save_as(folder / path.name)
    finished = cli("run", folder, "-o", tmp_path / "out", "--case", "a")
    assert finished.code == 6
    said = [line for line in finished.err.splitlines() if line.startswith("miliary-seg: partial_output")]
    assert len(said) == 1
    assert "FrameOfReferenceUID" in said[0]
    assert "a: " in finished.out, "the verdict is said all the same"
    assert (tmp_path / "out" / "a" / "report.html").is_file()
    assert not list((tmp_path / "out").rglob("*.dcm"))
    assert "a" in (tmp_path / "out" / "cases.csv").read_text()


def test_an_unknown_kind_of_segmentation(dicom_scan: Path, tmp_path: Path, cli) -> None:
    finished = cli("run", dicom_scan, "-o", tmp_path, "--seg", "fractional")
    assert finished.code == 5
    assert "binary, labelmap" in finished.err


@pytest.mark.slow
def test_a_folder_named_after_the_patient_gets_into_no_file_of_the_output(
    small_phantom: Phantom, tmp_path: Path, cli
) -> None:
    text = SeriesText(patient_name="QUARTERMAIN^JOHN", patient_id="MRN471147")
    scan = write_series(small_phantom.volume, tmp_path / "QUARTERMAIN_JOHN", text, compression="none")
    out = tmp_path / "out"
    (out / "ledger").mkdir(parents=True)  # else a run of one case keeps no record
    finished = cli("run", scan, "-o", out, "--set", "report.viewer=false")
    assert finished.code == 0, finished.err
    assert len(list(out.glob("case-????????/**/lesions.seg.dcm"))) == 1
    assert len(list(out.glob("logs/case-????????.log"))) == 1
    for path in out.rglob("*"):
        assert "QUARTERMAIN" not in path.relative_to(out).as_posix()
        assert path.is_dir() or b"QUARTERMAIN" not in path.read_bytes(), path
