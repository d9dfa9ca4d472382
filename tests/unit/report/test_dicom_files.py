"""DICOM objects beside the other files: which are written, who can be recognised, and what a refusal costs."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pydicom
import pytest

import miliary_seg as ms
from miliary_seg.domain.result import CaseResult
from miliary_seg.domain.volume import Source
from miliary_seg.errors import GeometryError, MiliaryError, OutputError, PartialOutputError
from miliary_seg.report import validate, write_case
from miliary_seg.report.dicom import seg as dicom_seg
from miliary_seg.report.dicom.images import write_series
from miliary_seg.report.dicom.references import RELEASED, source_images
from miliary_seg.settings import Settings

OBJECTS = {"lesions.seg.dcm", "measurements.sr.dcm"}
PLANTED = {
    "PatientName": "Zweistein^Hedwig",
    "PatientID": "MRN-20481632",
    "PatientBirthDate": "19331224",
    "PatientSex": "F",
    "PatientAge": "***",
    "PatientComments": "planted-comment",
    "AdditionalPatientHistory": "planted-history",
    "OtherPatientIDs": "planted-other-id",
    "EthnicGroup": "planted-group",
    "Occupation": "planted-work",
    "AccessionNumber": "ACC-998877",
    "StudyID": "STUDY-5566",
    "StudyDate": "20170413",
    "StudyTime": "101112.5",
    "StudyDescription": "planted-study",
    "SeriesDescription": "t1 gd planted-series",
    "ProtocolName": "planted-protocol",
    "ReferringPhysicianName": "Referrer^Rolf",
    "OperatorsName": "Operator^Olga",
    "PerformingPhysicianName": "Performer^Petra",
    "InstitutionName": "planted-hospital",
    "InstitutionAddress": "planted-street",
    "StationName": "PLANTSTATION",
    "DeviceSerialNumber": "planted-serial",
}
SHARED_WORDS = ("F", "***")
"""Planted values too short to be looked for."""


@dataclass(frozen=True)
class Scan:
    """A case whose images are files."""

    case: CaseResult
    folder: Path

    def with_settings(self, *options: str) -> CaseResult:
        chosen = Settings().with_options(options)
        return replace(self.case, settings=chosen.as_dict(), settings_digest=chosen.digest)


@pytest.fixture
def scan(make_case, tmp_path: Path) -> Scan:
    case = make_case(orientation="LPS")
    series = case.series[0]
    folder = write_series(series.volume, tmp_path / "scan", compression="none")
    for path in folder.iterdir():
        header = pydicom.dcmread(path)
        for keyword, value in PLANTED.items():
            with pydicom.config.disable_value_validation():
                setattr(header, keyword, value)
        header.save_as(path)
    volume = ms.load_study(folder).volumes[0]
    assert volume.grid.same_as(series.volume.grid, atol_mm=1e-3)
    placed = replace(series, volume=replace(volume, id="t1c-1"))
    return Scan(replace(case, series=(placed,)), folder)


def objects(folder: Path) -> set[str]:
    return {path.name for path in (folder / "t1c-1").glob("*.dcm")}


def test_the_loader_keeps_what_the_objects_need(scan: Scan) -> None:
    source = scan.case.series[0].volume.source
    headers = [pydicom.dcmread(path) for path in sorted(scan.folder.iterdir())]
    assert source.sop_instance_uids == source.instances == tuple(str(h.SOPInstanceUID) for h in headers)
    assert source.sop_class_uid == headers[0].SOPClassUID
    assert source.frame_numbers == ()


def test_nothing_of_the_patient_by_default(scan: Scan, tmp_path: Path) -> None:
    folder = write_case(scan.with_settings("report.rtstruct=true"), tmp_path / "out")
    assert objects(folder) == OBJECTS | {"lesions.rtstruct.dcm"}
    for path in folder.rglob("*.*"):
        content = path.read_bytes()
        for keyword, value in PLANTED.items():
            if value not in SHARED_WORDS:
                words = [part.encode() for part in value.split("^")]
                assert not any(word in content for word in words), (path.name, keyword)
    for name in objects(folder):
        header = pydicom.dcmread(folder / "t1c-1" / name)
        assert (header.PatientID, header.PatientName, header.PatientSex) == ("sub-01", "sub-01^", "")
        assert header.PatientIdentityRemoved == "YES"
        assert [c.CodeValue for c in header.DeidentificationMethodCodeSequence] == ["113100", "113110"]
        assert header.StudyDate == ""
        assert header.StudyInstanceUID == scan.case.series[0].volume.source.study_instance_uid
    assert pydicom.dcmread(folder / "t1c-1" / "lesions.seg.dcm").ContentDate == f"{RELEASED:%Y%m%d}"


def test_a_deidentified_source_keeps_its_patient_and_study(scan: Scan, tmp_path: Path) -> None:
    for path in scan.folder.iterdir():
        header = pydicom.dcmread(path)
        for keyword in PLANTED:
            if keyword not in ("PatientSex", "StudyID", "StudyDate", "StudyTime"):
                setattr(header, keyword, "")
        header.PatientName, header.PatientID = "CASE^17", "CASE-17"
        header.save_as(path)
    folder = write_case(scan.case, tmp_path / "out")
    for name in objects(folder):
        made = pydicom.dcmread(folder / "t1c-1" / name)
        assert (made.PatientName, made.PatientID, made.PatientSex) == ("CASE^17", "CASE-17", "F")
        assert (made.StudyID, made.StudyDate, made.ContentDate) == ("STUDY-5566", "20170413", "20170413")
        assert made.PatientIdentityRemoved == "YES"


def test_a_source_that_contradicts_its_statement_is_not_believed(scan: Scan, tmp_path: Path) -> None:
    assert pydicom.dcmread(next(scan.folder.iterdir())).PatientIdentityRemoved == "YES"
    folder = write_case(scan.case, tmp_path / "out")
    made = pydicom.dcmread(folder / "t1c-1" / "lesions.seg.dcm")
    assert made.PatientID == "sub-01"
    assert "1970" not in made.ContentDate


def test_identified_objects_hold_the_patient_and_the_study_and_no_more(scan: Scan, tmp_path: Path) -> None:
    folder = write_case(scan.with_settings("report.identified=true", "report.rtstruct=true"), tmp_path / "out")
    for name in objects(folder):
        header = pydicom.dcmread(folder / "t1c-1" / name)
        for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"):
            assert header[keyword].value == PLANTED[keyword]
        assert (header.StudyDate, header.StudyTime) == ("20170413", "101112.5")
        assert header.PatientIdentityRemoved == "NO"
        assert "PatientAge" not in header, "*** is no age"
        assert b"planted-hospital" not in (folder / "t1c-1" / name).read_bytes()
    assert pydicom.dcmread(folder / "t1c-1" / "lesions.seg.dcm").ContentDate == "20170413"


@pytest.mark.parametrize("change", ["another image", "gone"])
def test_identity_is_never_taken_from_another_file(scan: Scan, tmp_path: Path, change: str) -> None:
    first = Path(scan.case.series[0].volume.source.paths[0])
    if change == "gone":
        first.unlink()
    else:
        header = pydicom.dcmread(first)
        header.SOPInstanceUID = "1.2.3.4.5"
        header.save_as(first)
    with pytest.raises(PartialOutputError, match=r"another one|cannot be read") as caught:
        write_case(scan.with_settings("report.identified=true"), tmp_path / "out")
    assert caught.value.exit_code == 6
    folder = tmp_path / "out" / "sub-01"
    assert objects(folder) == set()
    assert (folder / "report.html").is_file()


def test_a_missing_frame_of_reference_costs_the_objects_alone(scan: Scan, tmp_path: Path) -> None:
    series = scan.case.series[0]
    nameless = replace(series.volume, source=replace(series.volume.source, frame_of_reference_uid=""))
    case = replace(scan.case, series=(replace(series, volume=nameless),))
    with pytest.raises(PartialOutputError, match="FrameOfReferenceUID") as caught:
        write_case(case, tmp_path / "out")
    folder = Path(caught.value.where)
    document = json.loads((folder / "result.json").read_text())
    validate(document)
    assert "dicom_not_written" in {caveat["code"] for caveat in document["series"][0]["caveats"]}
    assert all((folder / path).is_file() for path in document["series"][0]["files"].values())
    assert "segmentation" not in document["series"][0]["files"]
    chosen = Settings().with_options(["report.new_frame_of_reference=true"]).as_dict()
    made = [
        pydicom.dcmread(path) for path in write_case(replace(case, settings=chosen), tmp_path / "new").rglob("*.dcm")
    ]
    assert {header.SOPClassUID.name for header in made} == {"Segmentation Storage", "Comprehensive 3D SR Storage"}
    assert all(header.get("FrameOfReferenceUID", "2.25.").startswith("2.25.") for header in made)


def test_a_refusal_of_highdicom_leaves_the_report_and_says_so(
    scan: Scan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(*_: object) -> bytes:
        raise ValueError("Zweistein^Hedwig is not valid")

    monkeypatch.setattr(dicom_seg, "segmentation", refusing)
    with pytest.raises(PartialOutputError, match=r"lesions.seg.dcm cannot be made") as caught:
        write_case(scan.case, tmp_path / "out")
    assert "Zweistein" not in str(caught.value), "the words of a library may name a patient"
    folder = Path(caught.value.where)
    assert objects(folder) == {"measurements.sr.dcm"}
    assert b"1 L supratentorial" in (folder / "t1c-1" / "measurements.sr.dcm").read_bytes()


def test_what_the_settings_ask_for(scan: Scan, make_case, tmp_path: Path) -> None:
    wanted = {
        ("report.dicom=never",): set(),
        ("report.dicom=never", "report.rtstruct=true"): {"lesions.rtstruct.dcm"},
        ("report.seg=labelmap",): OBJECTS,
    }
    for number, (options, names) in enumerate(wanted.items()):
        folder = write_case(scan.with_settings(*options), tmp_path / str(number))
        assert objects(folder) == names
    assert pydicom.dcmread(folder / "t1c-1" / "lesions.seg.dcm").SegmentationType == "LABELMAP"
    document = json.loads((folder / "result.json").read_text())
    assert document["series"][0]["files"]["segmentation"] == "t1c-1/lesions.seg.dcm"


def as_nifti(case: CaseResult, *options: str, **changes: object) -> CaseResult:
    series = case.series[0]
    volume = replace(series.volume, source=Source(format="NIfTI", paths=("scan.nii.gz",)), **changes)
    chosen = Settings().with_options(options)
    return replace(case, series=(replace(series, volume=volume),), settings=chosen.as_dict())


@pytest.mark.parametrize("code", ["RAS", "LPS", "PSR"])
def test_other_input_gets_images_of_its_own(make_case, tmp_path: Path, code: str) -> None:
    case = make_case(orientation=code)
    plain = write_case(as_nifti(case), tmp_path / "plain")
    assert objects(plain) == set()
    folder = write_case(as_nifti(case, "report.dicom=always", "report.rtstruct=true"), tmp_path / "dicom")
    assert objects(folder) == OBJECTS | {"lesions.rtstruct.dcm"}
    images = ms.load_study(folder / "t1c-1" / "images").volumes[0]
    series = case.series[0]
    corners = series.volume.grid.to_ras_mm(np.array([[0, 0, 0], np.array(series.volume.grid.shape) - 1]))
    inside = images.grid.to_ijk(corners)
    ends = np.array([np.zeros(3), np.array(images.grid.shape) - 1])
    np.testing.assert_allclose(np.sort(inside, axis=0), ends, atol=1e-3)
    seg = pydicom.dcmread(folder / "t1c-1" / "lesions.seg.dcm")
    header = pydicom.dcmread(next((folder / "t1c-1" / "images").iterdir()))
    assert (seg.FrameOfReferenceUID, seg.StudyInstanceUID) == (header.FrameOfReferenceUID, header.StudyInstanceUID)
    assert header.ImageType[:2] == ["DERIVED", "SECONDARY"]
    assert "PHANTOM" not in str(header)
    for made in (header, seg):
        assert "PatientIdentityRemoved" not in made, "nothing is known of a patient"
        assert (made.StudyDate, made.StudyID) == ("", "1")
    referred = {item.ReferencedSOPInstanceUID for item in seg.SourceImageSequence}
    assert referred == set(images.source.instances)


def test_unknown_sides_are_no_dicom(case: CaseResult, tmp_path: Path) -> None:
    with pytest.raises(PartialOutputError, match="no orientation"):
        write_case(as_nifti(case, "report.dicom=always", orientation_known=False), tmp_path)


def test_a_date_comes_from_the_call_or_the_environment(
    case: CaseResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)
    given = write_case(case, tmp_path / "a", False, day)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(int(day.timestamp())))
    same = write_case(case, tmp_path / "b")
    names = [path.relative_to(given) for path in given.rglob("*.dcm")]
    assert names
    assert all((given / name).read_bytes() == (same / name).read_bytes() for name in names)
    assert pydicom.dcmread(given / names[0]).ContentDate == "20260203"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "tomorrow")
    with pytest.raises(PartialOutputError, match="SOURCE_DATE_EPOCH"):
        write_case(case, tmp_path / "c")


def test_slices_that_dicom_cannot_hold_are_refused(make_case, tmp_path: Path) -> None:
    shear = np.eye(4)
    shear[0, 1] = 0.2
    with pytest.raises(PartialOutputError, match="perpendicular"):
        write_case(make_case(affine_change=shear), tmp_path)


def test_errors_are_of_the_tree(case: CaseResult) -> None:
    volume = replace(case.series[0].volume, source=Source(format="DICOM"))
    with pytest.raises(OutputError) as caught:
        source_images(volume)
    assert isinstance(caught.value, MiliaryError)
    assert not isinstance(caught.value, GeometryError)
    assert all(word in caught.value.what for word in ("StudyInstanceUID", "FrameOfReferenceUID", "SOPInstanceUID"))
