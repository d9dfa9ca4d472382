"""The same lesions in every format that others write: equal counts, centres within 0.1 mm, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian
from scipy import ndimage as ndi

import miliary_seg as ms
from miliary_seg.domain.volume import Volume
from miliary_seg.errors import (
    AmbiguousInputError,
    GeometryError,
    InputError,
    MiliaryError,
    UnreadableFileError,
    UnsuitableImageError,
    UsageError,
)
from miliary_seg.load.inventory import CaseInfo, SeriesInfo
from miliary_seg.load.lesions import read_lesions, resolve
from miliary_seg.load.lesions.instances import split_touching
from miliary_seg.load.lesions.structure_set import rasterise
from miliary_seg.settings import LesionsSettings

ROWS, COLUMNS, N = 44, 40, 14
ROW, COLUMN, NORMAL = (np.array(v) for v in ((0.96, 0.28, 0.0), (-0.28, 0.96, 0.0), (0.0, 0.0, 1.0)))
SPACING, STEP = (0.9, 0.8), 2.0
ORIGIN = np.array([-20.0, -15.0, 8.0])
MR = "1.2.840.10008.5.1.4.1.1.4"


def lps(row: float, column: float, k: float, spacing: tuple[float, float] = SPACING) -> np.ndarray:
    """PS3.3 C.7.6.2.1.1, by hand."""
    return ORIGIN + column * spacing[1] * ROW + row * spacing[0] * COLUMN + k * STEP * NORMAL


def mask() -> np.ndarray:
    """(slice, row, column): seven lesions, one with a hole, two one voxel apart, one of a single voxel."""
    found = np.zeros((N, ROWS, COLUMNS), dtype=np.uint8)
    z, y, x = np.ogrid[:N, :ROWS, :COLUMNS]
    for at, r in (((4, 10, 12), 3.0), ((8, 30, 30), 4.0), ((10, 12, 30), 2.0), ((5, 33, 10), 2.5)):
        found[((z - at[0]) * 2) ** 2 + (y - at[1]) ** 2 + (x - at[2]) ** 2 <= r**2] = 1
    found[8, 29:32, 29:32] = 0
    found[11, 20:24, 20:23] = 1
    found[11, 20:24, 24:27] = 1
    found[2, 37, 36] = 1
    return found


def centres_ras(found: np.ndarray, spacing: tuple[float, float] = SPACING) -> np.ndarray:
    labels, count = ndi.label(found, np.ones((3, 3, 3)))
    places = ndi.center_of_mass(found, labels, range(1, count + 1))
    return np.array([lps(r, c, k, spacing) for k, r, c in places]) * (-1, -1, 1)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scan")
    rng = np.random.default_rng(3)
    for k in range(N):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = UID(MR), UID(f"1.2.3.4.{k + 1}")
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        ds.SOPClassUID, ds.SOPInstanceUID, ds.Modality = MR, f"1.2.3.4.{k + 1}", "MR"
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = "1.2.3", "1.2.3.4", "1.2.3.9"
        ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "Roe^Jane", "P", "", ""
        ds.StudyDate, ds.StudyTime, ds.StudyID, ds.AccessionNumber = "20200102", "030405", "", ""
        ds.ReferringPhysicianName = ds.PositionReferenceIndicator = ""
        ds.ContrastBolusAgent, ds.SeriesDescription, ds.SeriesNumber, ds.InstanceNumber = "GADOLINIUM", "t1", 3, k + 1
        ds.ImageType = ["ORIGINAL", "PRIMARY", "M"]
        ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PhotometricInterpretation = ROWS, COLUMNS, 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 0
        ds.ImagePositionPatient = [float(x) for x in lps(0, 0, k)]
        ds.ImageOrientationPatient, ds.PixelSpacing, ds.SliceThickness = [*ROW, *COLUMN], list(SPACING), STEP
        ds.PixelData = rng.integers(1, 999, (ROWS, COLUMNS)).astype(np.uint16).tobytes()
        ds["PixelData"].VR = "OW"
        ds.save_as(folder / f"im{k:02}.dcm")
    return folder


@pytest.fixture(scope="module")
def scan(images: Path) -> Volume:
    return ms.load_study(images).volumes[0]


def segmentation(images: Path, kind: str = "BINARY", *, labels: np.ndarray | None = None, **changes: Any) -> Any:
    """By highdicom: one segment, or one for every label."""
    import highdicom as hd
    from pydicom.sr.codedict import codes

    sources = [pydicom.dcmread(path) for path in sorted(images.glob("*.dcm"))]
    array: np.ndarray = mask() if labels is None else labels
    described = [
        hd.seg.SegmentDescription(
            segment_number=n,
            segment_label=f"Lesion {n}",
            segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
            segmented_property_type=codes.SCT.Lesion,
            algorithm_type=changes.get("algorithm_type", "MANUAL"),
            algorithm_identification=changes.get("algorithm"),
        )
        for n in range(1, int(array.max()) + 1 if array.dtype.kind in "ui" else 2)
    ]
    more = {"fractional_type": "PROBABILITY", "max_fractional_value": 200} if kind == "FRACTIONAL" else {}
    return hd.seg.Segmentation(
        source_images=sources,
        pixel_array=array,
        segmentation_type=kind,
        segment_descriptions=described,
        series_instance_uid=hd.UID(),
        series_number=9,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer="others",
        manufacturer_model_name="theirs",
        software_versions="1",
        device_serial_number="1",
        content_creator_name="Doe^Reader",
        **more,
    )


def agree(given: Any, scan: Volume, truth: np.ndarray) -> None:
    labels = given.labels.labels
    places = np.array(ndi.center_of_mass(labels > 0, labels, range(1, len(given) + 1)))
    ours = scan.grid.to_ras_mm(places)
    assert len(given) == len(truth)
    apart = np.linalg.norm(ours[:, None] - truth[None], axis=2)
    assert sorted(apart.argmin(axis=1)) == list(range(len(truth)))
    assert apart.min(axis=1).max() < 0.1  # mm, the figure


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
def test_a_segmentation_by_highdicom(images: Path, scan: Volume, tmp_path: Path, kind: str) -> None:
    array = mask() * 0.75 if kind == "FRACTIONAL" else None
    segmentation(images, kind, labels=array).save_as(tmp_path / "lesions.dcm")
    given = read_lesions(tmp_path / "lesions.dcm", scan)
    agree(given, scan, centres_ras(mask()))
    assert given.source.format == "DICOM SEG"
    assert given.source.algorithm_type == "MANUAL"
    assert set(given.probabilities) == ({0.75} if kind == "FRACTIONAL" else {1.0})


def test_a_segment_for_each_lesion_keeps_touching_ones_apart(images: Path, scan: Volume, tmp_path: Path) -> None:
    labels = ndi.label(mask(), np.ones((3, 3, 3)))[0].astype(np.uint8)
    n = int(labels.max())
    labels[11, 20:24, 23] = labels[11, 21, 24]  # now the two neighbours touch
    segmentation(images, labels=labels).save_as(tmp_path / "lesions.dcm")
    assert len(read_lesions(tmp_path / "lesions.dcm", scan)) == n
    merged = read_lesions(tmp_path / "lesions.dcm", scan, LesionsSettings(labels="mask"))
    assert len(merged) == n - 1
    chosen = read_lesions(tmp_path / "lesions.dcm", scan, LesionsSettings(labels="1,Lesion 3"))
    assert len(chosen) == 2
    with pytest.raises(InputError, match="there are 1 Lesion 1"):
        read_lesions(tmp_path / "lesions.dcm", scan, LesionsSettings(labels="99"))


def test_a_segmentation_of_another_frame_is_refused(images: Path, scan: Volume, tmp_path: Path) -> None:
    seg = segmentation(images)
    seg.FrameOfReferenceUID = "1.2.3.77"
    seg.save_as(tmp_path / "lesions.dcm")
    with pytest.raises(GeometryError, match="frame of reference"):
        read_lesions(tmp_path / "lesions.dcm", scan)


def test_frames_without_a_place_take_that_of_their_images_or_are_refused(
    images: Path, scan: Volume, tmp_path: Path
) -> None:
    seg = segmentation(images)
    for group in seg.PerFrameFunctionalGroupsSequence:
        del group.PlanePositionSequence
    seg.save_as(tmp_path / "lesions.dcm")
    agree(read_lesions(tmp_path / "lesions.dcm", scan), scan, centres_ras(mask()))
    gone = replace(scan, source=replace(scan.source, sop_instance_uids=("9.9",) * N))
    with pytest.raises(GeometryError, match="not in the scan"):
        read_lesions(tmp_path / "lesions.dcm", gone)


@pytest.mark.filterwarnings("ignore")  # rt-utils is from 2023
def test_a_structure_set_by_rt_utils(images: Path, tmp_path: Path) -> None:
    rt_utils = pytest.importorskip("rt_utils")
    folder = tmp_path / "square"  # rt-utils exchanges the spacings of pixels that are not square
    folder.mkdir()
    for path in images.glob("*.dcm"):
        ds = pydicom.dcmread(path)
        ds.PixelSpacing = [0.8, 0.8]
        ds.save_as(folder / path.name)
    wanted = mask()
    wanted[2, 37, 36] = 0  # rt-utils draws no contour of fewer than three points
    struct = rt_utils.RTStructBuilder.create_new(dicom_series_path=str(folder))
    struct.add_roi(mask=np.moveaxis(wanted, 0, -1).astype(bool), name="lesions")
    struct.save(str(tmp_path / "lesions.dcm"))
    scan = ms.load_study(folder).volumes[0]
    given = read_lesions(tmp_path / "lesions.dcm", scan)
    agree(given, scan, centres_ras(wanted, (0.8, 0.8)))
    assert given.labels.labels.astype(bool).sum() == wanted.sum()
    assert given.source.format == "RTSTRUCT"


def contour(points: list[np.ndarray], kind: str = "CLOSED_PLANAR") -> Any:
    made = pydicom.Dataset()
    made.ContourGeometricType, made.NumberOfContourPoints = kind, len(points)
    made.ContourData = [f"{x:.4f}" for point in points for x in point]
    return made


def structure_set(path: Path, contours: list[Any], frame: str = "1.2.3.9", types: tuple[str, ...] = ("",)) -> Path:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.481.3")
    meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID = UID("1.2.9"), ExplicitVRLittleEndian
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID, ds.Modality = meta.MediaStorageSOPClassUID, "1.2.9", "RTSTRUCT"
    rois, drawn, seen = [], [], []
    for n, kind in enumerate(types, start=1):
        roi, roi_contour, observation = (pydicom.Dataset() for _ in range(3))
        roi.ROINumber, roi.ROIName, roi.ReferencedFrameOfReferenceUID = n, f"GTV_{n}", frame
        roi.ROIGenerationAlgorithm = "MANUAL"
        roi_contour.ReferencedROINumber, roi_contour.ContourSequence = n, contours
        observation.ReferencedROINumber, observation.RTROIInterpretedType = n, kind
        rois.append(roi)
        drawn.append(roi_contour)
        seen.append(observation)
    ds.StructureSetROISequence, ds.ROIContourSequence, ds.RTROIObservationsSequence = rois, drawn, seen
    ds.save_as(path)
    return path


def square(k: float, low: float, high: float) -> list[np.ndarray]:
    return [lps(r, c, k) for r, c in ((low, low), (low, high), (high, high), (high, low))]


def test_contours_within_contours_are_holes(scan: Volume, tmp_path: Path) -> None:
    path = structure_set(tmp_path / "a.dcm", [contour(square(5, 9.5, 19.5)), contour(square(5, 12.5, 15.5))])
    given = read_lesions(path, scan)
    assert len(given) == 1
    assert int((given.labels.labels > 0).sum()) == 10 * 10 - 3 * 3


@pytest.mark.parametrize(
    ("contours", "frame", "error", "words"),
    [
        ([contour(square(5, 9.5, 19.5), "OPEN_PLANAR")], "1.2.3.9", UnsuitableImageError, "only closed"),
        ([contour(square(5.5, 9.5, 19.5))], "1.2.3.9", GeometryError, "another series"),
        ([contour(square(50, 9.5, 19.5))], "1.2.3.9", GeometryError, "beyond the slices"),
        ([contour(square(5, 9.5, 19.5))], "1.2.3.8", GeometryError, "frame of reference"),
    ],
)
def test_structure_sets_that_are_refused(
    scan: Volume, tmp_path: Path, contours: list[Any], frame: str, error: type[MiliaryError], words: str
) -> None:
    path = structure_set(tmp_path / "a.dcm", contours, frame)
    with pytest.raises(error, match=words) as caught:
        read_lesions(path, scan)
    assert caught.value.where == str(path)
    assert caught.value.todo


def test_organs_and_margins_are_left_out(scan: Volume, tmp_path: Path) -> None:
    path = structure_set(tmp_path / "a.dcm", [contour(square(5, 9.5, 19.5))], types=("GTV", "PTV", "ORGAN"))
    given = read_lesions(path, scan)
    assert [note.code for note in given.caveats] == ["given_regions_left_out"]
    assert len(given) == 1
    with pytest.raises(InputError, match="no region fits"):
        read_lesions(path, scan, LesionsSettings(labels="met*"))


def test_a_pixel_counts_by_its_centre_and_lines_count_in() -> None:
    drawn, corner = rasterise([np.array([[1.0, 1.0], [1.0, 3.0], [3.0, 3.0], [3.0, 1.0]])], (6, 6))
    assert corner == (1, 1)
    assert drawn.tolist() == [[True] * 3] * 3
    drawn, _ = rasterise([np.array([[0.6, 0.6], [0.6, 2.4], [2.4, 2.4], [2.4, 0.6]])], (6, 6))
    assert drawn.sum() == 4


def write_map(path: Path, values: np.ndarray, affine: np.ndarray, *, coded: bool = True) -> Path:
    image = nib.Nifti1Image(values, affine)
    image.set_sform(affine, int(coded))
    image.set_qform(affine, int(coded))
    nib.save(image, path)
    return path


def on_scan(scan: Volume) -> np.ndarray:
    """The mask in the order of the loader's axes, by world coordinates alone."""
    found = np.zeros(scan.grid.shape, dtype=np.uint8)
    for k, r, c in np.argwhere(mask()):
        found[tuple(np.rint(scan.grid.to_ijk(lps(r, c, k) * (-1, -1, 1))).astype(int))] = 1
    return found


def test_label_files_in_any_order_of_axes(scan: Volume, tmp_path: Path) -> None:
    image = nib.Nifti1Image(on_scan(scan), scan.grid.affine)
    for code in ("RAS", "LPI", "PIR", "SAL"):
        turn = nib.orientations.ornt_transform(
            nib.io_orientation(image.affine), nib.orientations.axcodes2ornt(tuple(code))
        )
        turned = image.as_reoriented(turn)
        path = write_map(tmp_path / f"{code}.nii.gz", np.asarray(turned.dataobj), turned.affine)
        given = read_lesions(path, scan)
        agree(given, scan, centres_ras(mask()))
        assert np.array_equal(given.labels.labels > 0, on_scan(scan) > 0)
        assert given.caveats == ()


def test_nrrd_with_segments_and_mgh(scan: Volume, tmp_path: Path) -> None:
    labels = ndi.label(on_scan(scan), np.ones((3, 3, 3)))[0].astype(np.uint8)
    affine = np.diag([-1.0, -1, 1, 1]) @ scan.grid.affine
    directions = " ".join("(" + ",".join(map(repr, map(float, affine[:3, a]))) + ")" for a in range(3))
    origin = ",".join(map(repr, map(float, affine[:3, 3])))
    header = (
        "NRRD0004\ntype: uint8\ndimension: 3\nspace: left-posterior-superior\n"
        f"sizes: {' '.join(map(str, labels.shape))}\nspace directions: {directions}\n"
        f"kinds: domain domain domain\nencoding: raw\nspace origin: ({origin})\n"
        "Segment0_LabelValue:=1\nSegment0_Name:=met one\nSegment1_LabelValue:=2\nSegment1_Name:=met two\n\n"
    )
    path = tmp_path / "a.seg.nrrd"
    path.write_bytes(header.encode() + labels.tobytes(order="F"))
    agree(read_lesions(path, scan), scan, centres_ras(mask()))
    assert len(read_lesions(path, scan, LesionsSettings(labels="met*"))) == 2
    path.write_bytes(header.replace("Segment1_Name", "Segment1_Layer:=1\nSegment1_Name").encode() + labels.tobytes())
    with pytest.raises(UnsuitableImageError, match="layers"):
        read_lesions(path, scan)
    nib.save(nib.MGHImage(labels.astype(np.int32), scan.grid.affine), tmp_path / "a.mgz")
    agree(read_lesions(tmp_path / "a.mgz", scan), scan, centres_ras(mask()))


def test_another_grid_of_the_same_frame_is_resampled_with_counts(scan: Volume, tmp_path: Path) -> None:
    fine = np.kron(on_scan(scan), np.ones((2, 2, 2), np.uint8))
    affine = scan.grid.affine.copy()
    affine[:3, :3] /= 2
    affine[:3, 3] = scan.grid.to_ras_mm([-0.25] * 3)
    given = read_lesions(write_map(tmp_path / "fine.nii.gz", fine, affine), scan)
    assert np.array_equal(given.labels.labels > 0, on_scan(scan) > 0)
    assert [note.code for note in given.caveats] == ["given_resampled"]
    assert "7 lesions were resampled by label, 7 are" in given.caveats[0].text


def test_a_shift_by_half_a_voxel_is_said(scan: Volume, tmp_path: Path) -> None:
    affine = scan.grid.affine.copy()
    affine[:3, 3] = scan.grid.to_ras_mm([0.5, 0, 0])
    given = read_lesions(write_map(tmp_path / "a.nii.gz", on_scan(scan), affine), scan)
    assert [note.code for note in given.caveats] == ["given_shifted"]
    assert "(0.40, 0.00, 0.00) mm" in given.caveats[0].text


def test_probabilities_become_chances_and_an_empty_map_is_an_answer(scan: Volume, tmp_path: Path) -> None:
    chances = on_scan(scan) * np.float32(0.6)
    chances[tuple(np.argwhere(on_scan(scan))[0])] = 0.9
    given = read_lesions(write_map(tmp_path / "p.nii.gz", chances, scan.grid.affine), scan)
    assert len(given) == 7
    assert sorted(np.round(given.probabilities, 4)) == [0.6] * 6 + [0.9]
    assert len(read_lesions(tmp_path / "p.nii.gz", scan, LesionsSettings(threshold=0.7))) == 1
    empty = read_lesions(write_map(tmp_path / "e.nii.gz", on_scan(scan) * 0, scan.grid.affine), scan)
    assert len(empty) == 0
    assert [note.code for note in empty.caveats] == ["given_empty"]


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda v, a: (v * -1.0, a, True), UnsuitableImageError, "neither labels nor probabilities"),
        (lambda v, a: (v * 55.5, a, True), UnsuitableImageError, "fractions from 0 to 55.5"),
        (lambda v, a: (v, a + far(), True), GeometryError, "outside"),
        (lambda v, a: (np.stack([v, v], -1), a, True), UnsuitableImageError, "2 volumes"),
        (lambda v, a: (v, a, False), GeometryError, "no orientation"),
    ],
)
def test_label_files_that_are_refused(scan: Volume, tmp_path: Path, change: Any, error: Any, words: str) -> None:
    values, affine, coded = change(on_scan(scan).astype(np.float32), scan.grid.affine)
    path = write_map(tmp_path / "a.nii.gz", values, affine, coded=coded)
    with pytest.raises(error, match=words) as caught:
        read_lesions(path, scan)
    assert caught.value.where == str(path)
    assert caught.value.todo


def far() -> np.ndarray:
    shift = np.zeros((4, 4))
    shift[:3, 3] = 500
    return shift


def test_classes_are_merged_and_said_and_instances_are_kept(scan: Volume, tmp_path: Path) -> None:
    classes = on_scan(scan).copy()
    classes[20:, :, :] *= 2
    given = read_lesions(write_map(tmp_path / "a.nii.gz", classes, scan.grid.affine), scan)
    assert len(given) == 7
    assert [note.code for note in given.caveats] == ["given_labels_merged"]
    labels = ndi.label(on_scan(scan), np.ones((3, 3, 3)))[0].astype(np.uint8)
    given = read_lesions(write_map(tmp_path / "b.nii.gz", labels, scan.grid.affine), scan)
    assert np.array_equal(given.labels.labels, labels)  # numbers stay as they are


def test_two_balls_with_a_neck_are_split_and_an_egg_is_not() -> None:
    z, y, x = np.ogrid[:20, :20, :40]
    balls = np.zeros((20, 20, 40), dtype=np.int32)
    for centre in (12, 22):
        balls[(z - 10) ** 2 + (y - 10) ** 2 + (x - centre) ** 2 <= 36] = 1
    assert split_touching(balls, (1.0, 1.0, 1.0)).max() == 2
    egg = (((z - 10) / 6) ** 2 + ((y - 10) / 6) ** 2 + ((x - 20) / 12) ** 2 <= 1).astype(np.int32)
    assert split_touching(egg, (1.0, 1.0, 1.0)).max() == 1


def points(scan: Volume) -> np.ndarray:
    return scan.grid.to_ras_mm([[10, 10, 3], [20, 25, 6], [30, 12, 10]])


def lines(names: str, places: np.ndarray, more: str = "", cells: str = "") -> str:
    return names + more + "\n" + "".join(",".join(map(str, place)) + cells + "\n" for place in places)


def test_tables_of_centres(scan: Volume, tmp_path: Path) -> None:
    ras = points(scan)
    files = {
        "a.csv": lines("r_mm,a_mm,s_mm", ras, ",diameter_mm,probability", ",4,0.5"),
        "b.csv": lines("l_mm,p_mm,s_mm", ras * (-1, -1, 1), ",diameter_mm", ",4"),
        "c.json": json.dumps([{"centre_ras_mm": list(p), "diameter_mm": 4} for p in ras]),
        "d.json": json.dumps({"frame": "LPS", "lesions": [{"centre_mm": list(p * (-1, -1, 1))} for p in ras]}),
        "e.fcsv": "# Markups fiducial file version = 4.11\n# CoordinateSystem = LPS\n# columns = id,x,y,z\n"
        + "".join(f"v,{p[0]},{p[1]},{p[2]}\n" for p in ras * (-1, -1, 1)),
        "f.mrk.json": json.dumps(
            {
                "markups": [
                    {
                        "type": "Fiducial",
                        "coordinateSystem": "RAS",
                        "controlPoints": [{"position": list(p), "positionStatus": "defined"} for p in ras],
                    }
                ]
            }
        ),
    }
    for name, content in files.items():
        (tmp_path / name).write_text(content)
        given = read_lesions(tmp_path / name, scan)
        assert len(given) == 3, name
        assert [given.labels.labels[i] for i in ((10, 10, 3), (20, 25, 6), (30, 12, 10))] == [1, 2, 3], name
        assert ("given_without_diameter" in [note.code for note in given.caveats]) == (name[0] in "def")
    assert read_lesions(tmp_path / "a.csv", scan).probabilities == (0.5,) * 3


def test_a_ball_has_the_volume_of_its_diameter(scan: Volume, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(lines("r,a,s", points(scan)[1:2], ",diameter", ",9"))
    volume = (read_lesions(tmp_path / "a.csv", scan).labels.labels > 0).sum() * scan.grid.voxel_volume_mm3
    assert volume == pytest.approx(np.pi / 6 * 9**3, rel=0.1)


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        ("x_mm,y_mm,z_mm\n1,2,3\n", InputError, "RAS or LPS"),
        ("r_mm,a_mm,l_mm,p_mm,s_mm\n1,2,3,4,5\n", InputError, "both frames"),
        ("r_mm,a_mm\n1,2\n", InputError, "no columns of lesion centres"),
        ("r_mm,a_mm,s_mm\n1,2,x\n", InputError, "s_mm of lesion 1 is not a number"),
        ("r_mm,a_mm,s_mm\n1,2\n", UnreadableFileError, "row 2 has 2 cells"),
        ("r_mm,a_mm,s_mm,diameter_mm\n1,2,3,-1\n", InputError, "diameters from -1"),
        ("r_mm,a_mm,s_mm\n900,900,900\n", GeometryError, "outside of the scan"),
        ("", UnreadableFileError, "empty"),
    ],
)
def test_tables_that_are_refused(scan: Volume, tmp_path: Path, content: str, error: Any, words: str) -> None:
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(error, match=words) as caught:
        read_lesions(tmp_path / "a.csv", scan)
    assert caught.value.todo


def test_other_files_are_refused(images: Path, scan: Volume, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("no lesions")
    for path, words in (
        (tmp_path / "a.txt", "not a file of lesions"),
        (tmp_path / "b.nii", "no such lesion file"),
        (images / "im00.dcm", "neither a segmentation"),
        (images, "a folder of 14 files"),
    ):
        with pytest.raises(InputError, match=words):
            read_lesions(path, scan)


def case(name: str, tmp_path: Path, *series: str) -> CaseInfo:
    from miliary_seg.domain.sequence import SequenceEvidence

    found = tuple(
        SeriesInfo(
            id=one,
            format="NIfTI",
            modality=None,
            sequence=SequenceEvidence(),
            eligible=True,
            why="",
            paths=(tmp_path / f"{name}_{one}.nii.gz",),
        )
        for one in series
    )
    return CaseInfo(id=name, path=tmp_path, series=found)


def test_patterns(tmp_path: Path) -> None:
    for name in ("sub-01_ses-2.nii.gz", "01-T1w.nii.gz", "01-FLAIR.nii.gz"):
        (tmp_path / name).touch()
    found = case("sub-01_ses-2", tmp_path, "T1w", "FLAIR", "swi")
    assert resolve(f"{tmp_path}/{{case}}.nii.gz", found) == {"": tmp_path / "sub-01_ses-2.nii.gz"}
    assert resolve(f"{tmp_path}/*_ses-{{session}}.nii.gz", found) == {"": tmp_path / "sub-01_ses-2.nii.gz"}
    assert set(resolve(f"{tmp_path}/{{subject}}-{{series}}.nii.gz", found)) == {"T1w", "FLAIR"}
    with pytest.raises(UsageError, match="has a field"):
        resolve("{patient}.nii", found)
    with pytest.raises(AmbiguousInputError, match="2 files fit"):
        resolve(f"{tmp_path}/{{subject}}-*.nii.gz", found)
    with pytest.raises(InputError, match="no such lesion file"):
        resolve(f"{tmp_path}/{{case}}.mgz", found)
    with pytest.raises(InputError, match="name no subject"):
        resolve("{subject}.nii", case("a", tmp_path, "T1w"))


def test_derivatives_of_a_bids_dataset(tmp_path: Path) -> None:
    found = case("sub-01_ses-2", tmp_path, "T1w")
    for name in (
        "derivatives/nnunet/sub-01/ses-2/anat/sub-01_ses-2_space-T1w_label-lesion_mask.nii.gz",
        "derivatives/nnunet/sub-01/ses-2/anat/sub-01_ses-2_desc-brain_mask.nii.gz",
        "derivatives/nnunet/sub-01/ses-3/anat/sub-01_ses-3_label-lesion_mask.nii.gz",
        "derivatives/miliary-seg/sub-01/ses-2/anat/sub-01_ses-2_space-T1w_desc-lesions_dseg.nii.gz",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    description = json.dumps({"GeneratedBy": [{"Name": "miliary-seg"}]})
    (tmp_path / "derivatives/miliary-seg/dataset_description.json").write_text(description)
    (mask_of_two,) = resolve(f"bids:{tmp_path}", found).values()
    assert mask_of_two.name == "sub-01_ses-2_space-T1w_label-lesion_mask.nii.gz"
    (mask_of_two.parent / "sub-01_ses-2_space-T1w_desc-lesions_dseg.nii.gz").touch()
    with pytest.raises(AmbiguousInputError, match="2 lesion masks"):
        resolve(f"bids:{tmp_path}", found)
    with pytest.raises(InputError, match="no lesion mask of sub-09"):
        resolve(f"bids:{tmp_path}", case("sub-09", tmp_path, "T1w"))
