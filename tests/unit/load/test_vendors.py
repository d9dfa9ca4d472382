"""What vendors, discs and archives do to a series: drawn here one by one, each with the place of a voxel known."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence as Items

from miliary_seg.domain.sequence import Modality
from miliary_seg.load import find_cases, load_study, read_array
from miliary_seg.settings import Settings

AXIAL = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
CORONAL = ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0))
SAGITTAL = ((0.0, 1.0, 0.0), (0.0, 0.0, -1.0))
OBLIQUE = ((0.8, 0.6, 0.0), (-0.36, 0.48, 0.8))


def same_places(path: Path, series: Any) -> None:
    """Every voxel that was drawn is found at its own place."""
    voxels, affine = read_array(path)
    truth = series.stored().transpose(2, 1, 0)
    ijk = np.stack(np.indices(truth.shape), axis=-1).reshape(-1, 3)
    world = ijk @ series.affine()[:3, :3].T + series.affine()[:3, 3]
    here = (world - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T
    assert np.abs(here - np.rint(here)).max() < 1e-3
    np.testing.assert_array_equal(voxels[tuple(np.rint(here).astype(int).T)], truth.reshape(-1))
    assert voxels.size == truth.size


def csa(count: int, normal: np.ndarray) -> bytes:
    """A version 2 CSA header with the two tags that place a mosaic."""
    tags = {"NumberOfImagesInMosaic": [str(count)], "SliceNormalVector": [f"{x:.8f}" for x in normal]}
    data = b"SV10\x04\x03\x02\x01" + struct.pack("<II", len(tags), 77)
    for name, words in tags.items():
        data += struct.pack("<64si4s3i", name.encode(), len(words), b"FD\0\0", 0, len(words), 77)
        for word in words:
            text = word.encode() + b"\0"
            padded = text.ljust((len(text) + 3) // 4 * 4, b"\0")
            data += struct.pack("<4i", len(text), len(text), 77, len(text)) + padded
    return data


@pytest.mark.parametrize("plane", [AXIAL, CORONAL, SAGITTAL, OBLIQUE])
@pytest.mark.parametrize("sign", [1.0, -1.0])  # foot-to-head and head-to-foot, and so on
def test_mosaics_in_every_plane_and_order(tmp_path: Path, kit: Any, plane: Any, sign: float) -> None:
    row, column = np.array(plane[0]), np.array(plane[1])
    normal = sign * np.cross(row, column)
    series = kit.Series(
        n=7, rows=6, columns=6, row=plane[0], column=plane[1], spacing=(2.0, 2.0), step=tuple(normal * 3.5)
    )
    sheet = np.zeros((18, 18), np.uint16)
    for tile, image in enumerate(series.stored()):
        down, right = divmod(tile, 3)
        sheet[down * 6 : down * 6 + 6, right * 6 : right * 6 + 6] = image
    ds = series.datasets()[0]
    kit.image(ds, sheet)
    ds.ImageType, ds.SpacingBetweenSlices = ["ORIGINAL", "PRIMARY", "M", "MOSAIC"], 3.5
    corner = np.array(series.origin) - (row + column) * 2.0 * (18 - 6) / 2
    ds.ImagePositionPatient = [float(x) for x in corner]
    ds.private_block(0x0029, "SIEMENS CSA HEADER", create=True).add_new(0x10, "OB", csa(7, normal))
    kit.write(tmp_path, [ds])
    same_places(tmp_path, series)


@pytest.mark.parametrize("position", ["HFS", "HFP", "HFDL", "HFDR", "FFS", "FFP", "FFDR", ""])
@pytest.mark.parametrize("plane", [AXIAL, SAGITTAL])
def test_the_patient_position_changes_nothing(tmp_path: Path, kit: Any, position: str, plane: Any) -> None:
    step = tuple(2.0 * np.cross(*plane))
    series = kit.Series(row=plane[0], column=plane[1], step=step, attributes={"PatientPosition": position})
    kit.write(tmp_path, series.datasets()[::-1])
    same_places(tmp_path, series)


def enhanced(kit: Any, series: Any, frames: list[dict[str, Any]], *, shared: Any, sop_class: str) -> Any:
    """An enhanced object; each frame says its slice ``k``, its pixels, and further groups."""
    template = series.datasets()[0]
    ds = kit.blank(sop_class, "1.2.3.4.1")
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "PatientID", "Modality"):
        setattr(ds, keyword, getattr(template, keyword))
    ds.ImageType, ds.SeriesNumber, ds.SeriesDescription = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"], 7, "brain"
    kit.image(ds, np.stack([frame.pop("pixels") for frame in frames]))
    ds.NumberOfFrames = len(frames)
    ds.SharedFunctionalGroupsSequence = Items([shared])
    groups = []
    for frame in frames:
        k = frame.pop("k")
        position = [float(x) for x in np.array(series.origin) + k * np.array(series.step)]
        groups.append(kit.item(PlanePositionSequence=kit.item(ImagePositionPatient=position), **frame))
    ds.PerFrameFunctionalGroupsSequence = Items(groups)
    return ds


def geometry(kit: Any, series: Any) -> dict[str, Any]:
    return {
        "PlaneOrientationSequence": kit.item(ImageOrientationPatient=[*series.row, *series.column]),
        "PixelMeasuresSequence": kit.item(PixelSpacing=list(series.spacing), SliceThickness=2.5),
    }


def test_enhanced_ct_with_everything_shared_and_frames_from_above(tmp_path: Path, kit: Any) -> None:
    series = kit.Series(sop_class=kit.CT)
    stored = series.stored()
    frames = [{"k": k, "pixels": stored[k]} for k in reversed(range(5))]
    lut = kit.item(RescaleSlope=1, RescaleIntercept=0, RescaleType="HU")
    shared = kit.item(**geometry(kit, series), PixelValueTransformationSequence=lut)
    kit.write(tmp_path, [enhanced(kit, series, frames, shared=shared, sop_class=f"{kit.CT}.1")])
    same_places(tmp_path, series)
    assert load_study(tmp_path).volumes[0].modality is Modality.CT


def test_enhanced_mr_with_everything_in_each_frame(tmp_path: Path, kit: Any) -> None:
    series = kit.Series(row=SAGITTAL[0], column=SAGITTAL[1], step=(-2.0, 0.0, 0.0))
    stored = series.stored()
    frames = [{"k": k, "pixels": stored[k], **geometry(kit, series)} for k in (3, 0, 4, 2, 1)]
    kit.write(tmp_path, [enhanced(kit, series, frames, shared=kit.item(), sop_class=kit.ENHANCED_MR)])
    same_places(tmp_path, series)


def test_enhanced_echoes_with_magnitude_and_phase_interleaved(tmp_path: Path, kit: Any) -> None:
    series = kit.Series()
    stored = {key: kit.Series(seed=seed).stored() for seed, key in enumerate([("M", 5.0), ("P", 5.0), ("M", 20.0)])}
    names = {"M": "MAGNITUDE", "P": "PHASE"}
    frames = [
        {
            "k": k,
            "pixels": stored[kind, echo][k],
            "MREchoSequence": kit.item(EffectiveEchoTime=echo),
            "MRImageFrameTypeSequence": kit.item(
                FrameType=["ORIGINAL", "PRIMARY", kind, "NONE"], ComplexImageComponent=names[kind]
            ),
        }
        for k in range(5)
        for kind, echo in stored
    ]
    shared = kit.item(**geometry(kit, series))
    kit.write(tmp_path, [enhanced(kit, series, frames, shared=shared, sop_class=kit.ENHANCED_MR)])
    volumes = {volume.id: volume for volume in load_study(tmp_path).volumes}
    assert len(volumes) == 2
    for echo in (5.0, 20.0):
        (found,) = [volume for name, volume in volumes.items() if f"echotime-{echo}" in name]
        np.testing.assert_array_equal(found.voxels, stored["M", echo].transpose(2, 1, 0))
    assert [s.why for s in find_cases([tmp_path]).cases[0].series if not s.eligible] == ["a phase image"]


def test_enhanced_diffusion_is_split_by_b_value(tmp_path: Path, kit: Any) -> None:
    series, other = kit.Series(), kit.Series(seed=2)
    frames = [
        {"k": k, "pixels": made.stored()[k], "MRDiffusionSequence": kit.item(DiffusionBValue=b)}
        for b, made in ((0.0, series), (1000.0, other))
        for k in range(5)
    ]
    shared = kit.item(**geometry(kit, series))
    kit.write(tmp_path, [enhanced(kit, series, frames, shared=shared, sop_class=kit.ENHANCED_MR)])
    found = {volume.id: volume.voxels for volume in load_study(tmp_path).volumes}
    (weighted,) = [voxels for name, voxels in found.items() if "1000" in name]
    np.testing.assert_array_equal(weighted, other.stored().transpose(2, 1, 0))


def j2k(pixels: np.ndarray) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG2000", irreversible=False, no_jp2=True)
    return stream.getvalue()


@pytest.mark.parametrize("fragments", [1, 2, 5])
@pytest.mark.parametrize("table", [True, False])
def test_frames_cut_into_fragments(tmp_path: Path, kit: Any, fragments: int, table: bool) -> None:
    series = kit.Series(rows=32, columns=40)
    datasets = series.datasets()
    for ds, pixels in zip(datasets, series.stored(), strict=True):
        ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.90"
        ds.PixelData = encapsulate([j2k(pixels)], fragments_per_frame=fragments, has_bot=table)
        ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    kit.write(tmp_path, datasets)
    same_places(tmp_path, series)


def test_an_enhanced_object_whose_frames_are_cut_into_fragments(tmp_path: Path, kit: Any) -> None:
    series = kit.Series(rows=32, columns=40)
    stored = series.stored()
    frames = [{"k": k, "pixels": stored[k]} for k in (4, 1, 0, 3, 2)]
    ds = enhanced(kit, series, frames, shared=kit.item(**geometry(kit, series)), sop_class=kit.ENHANCED_MR)
    ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.90"
    ds.PixelData = encapsulate([j2k(stored[k]) for k in (4, 1, 0, 3, 2)], fragments_per_frame=3)
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    kit.write(tmp_path, [ds])
    same_places(tmp_path, series)


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        ("ISO_IR 192", "Äneas^Ørsted".encode()),
        ("ISO_IR 100", "Buc^Jérôme".encode("latin-1")),
        (["", "ISO 2022 IR 87"], b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B"),
        ("GB18030", "王^小东".encode("gb18030")),
        ("NO SUCH SET", b"\xff\xfe^\x80"),
        ("ISO_IR 192", b"\xff\xfe^\x80"),
    ],
)
def test_names_in_any_script_stay_out(tmp_path: Path, kit: Any, charset: Any, name: bytes) -> None:
    series = kit.Series()
    paths = kit.write(tmp_path, series.datasets())
    for path in paths:
        data = path.read_bytes()
        at = data.find(b"PN") - 4
        length = struct.unpack_from("<H", data, at + 6)[0]
        padded = name + b" " * (len(name) % 2)
        path.write_bytes(
            data[:at] + data[at : at + 6] + struct.pack("<H", len(padded)) + padded + data[at + 8 + length :]
        )
    import pydicom

    for path in paths:
        ds = pydicom.dcmread(path)
        assert ds.get_item("PatientName").value.rstrip() == name.rstrip()
    words = "\\".join(charset) if isinstance(charset, list) else charset
    element = b"\x08\x00\x05\x00CS" + struct.pack("<H", len(words) + len(words) % 2)
    for path in paths:
        data = path.read_bytes()
        at = 144 + struct.unpack_from("<I", data, 140)[0]
        path.write_bytes(data[:at] + element + words.encode().ljust(len(words) + len(words) % 2) + data[at:])
    same_places(tmp_path, series)
    shown = repr(find_cases([tmp_path]))
    assert all(part not in shown for part in ("Ørsted", "Jérôme", "Yamada", "小东"))


LITTER = {
    "SR": "1.2.840.10008.5.1.4.1.1.88.33",
    "SEG": "1.2.840.10008.5.1.4.1.1.66.4",
    "RTSTRUCT": "1.2.840.10008.5.1.4.1.1.481.3",
    "RTDOSE": "1.2.840.10008.5.1.4.1.1.481.2",
    "ECG": "1.2.840.10008.5.1.4.1.1.9.1.1",
    "PR": "1.2.840.10008.5.1.4.1.1.11.1",
    "KO": "1.2.840.10008.5.1.4.1.1.88.59",
    "OT": "1.2.840.10008.5.1.4.1.1.7",
    "MRS": "1.2.840.10008.5.1.4.1.1.4.2",
    "RAW": "1.2.840.10008.5.1.4.1.1.66",
    "PET": "1.2.840.10008.5.1.4.1.1.128",
}


@pytest.mark.parametrize("kind", sorted(LITTER))
@pytest.mark.parametrize("same_series", [True, False])
def test_what_is_no_scan_is_left_out(tmp_path: Path, kit: Any, kind: str, same_series: bool) -> None:
    series = kit.Series()
    datasets = series.datasets()
    other = kit.blank(LITTER[kind], "1.2.3.77")
    other.StudyInstanceUID, other.SeriesInstanceUID = "1.2.3", "1.2.3.4" if same_series else "1.2.3.8"
    other.PatientID, other.Modality = datasets[0].PatientID, kind if kind not in ("MRS", "RAW") else "MR"
    kit.write(tmp_path, [*datasets, other])
    same_places(tmp_path, series)
    (entry,) = [entry for entry in find_cases([tmp_path]).ledger if entry.status == "skipped"]
    assert entry.path.name == "im005.dcm"


@pytest.mark.filterwarnings("ignore:Invalid value for VR CS")
def test_a_disc_with_its_directory(tmp_path: Path, kit: Any) -> None:
    """Files without ending in nested folders, and a DICOMDIR whose paths lead out: it is never followed."""
    series = kit.Series()
    for k, ds in enumerate(series.datasets()):
        kit.write(tmp_path / "DICOM" / "PA000001" / "ST000001" / f"SE{k % 2:06d}", [ds], [f"IM{k:06d}"])
    directory = kit.blank("1.2.840.10008.1.3.10", "1.2.3.99")
    record = kit.item(DirectoryRecordType="IMAGE", ReferencedFileID=["..", "..", "SECRET"])
    directory.DirectoryRecordSequence = Items([record])
    kit.write(tmp_path, [directory], ["DICOMDIR"])
    same_places(tmp_path, series)
    reasons = {entry.path.name: entry.reason for entry in find_cases([tmp_path]).ledger}
    assert "DICOMDIR" in reasons["DICOMDIR"]


def test_spacing_that_varies_is_never_taken_for_even(tmp_path: Path, kit: Any) -> None:
    series = kit.Series(n=8)
    datasets = series.datasets()
    places = [0.0, 5.0, 10.0, 15.0, 17.5, 20.0, 22.5, 25.0]  # a posterior fossa sliced thinner
    for ds, z in zip(datasets, places, strict=True):
        ds.ImagePositionPatient = [-20.0, -30.0, z]
    kit.write(tmp_path, datasets)
    from miliary_seg.errors import GeometryError

    with pytest.raises(GeometryError, match=r"load\.resample"):
        read_array(tmp_path)
    voxels, affine = read_array(tmp_path, Settings().updated({"load.resample": True}))
    stored = series.stored().transpose(2, 1, 0)
    for z, slice_ in zip(places, np.moveaxis(stored, 2, 0), strict=True):
        k = (z - affine[2, 3]) / affine[2, 2]
        assert abs(k - round(k)) < 1e-6
        np.testing.assert_allclose(voxels[:, :, round(k)], slice_, atol=0.5)


HTJ2K = (
    "/0//UQApQAAAAAAMAAAAEAAAAAAAAAAAAAAADAAAABAAAAAAAAAAAAABDwEB/1AACAACAAAACv9SAAwAAgABAAUEBEAB/1wAEyCIkJCQkJCQ"
    "kJCQkJCQiIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAH4AAf+TwAAm1/cFB3QAAMAAE0AAEwAc/gMHdACi/gIHdADAABNA"
    "ABOA9foAi3QAUKH+AGNUAMAAFVAABUi006ZN+5fiC3UApCTSwBCAjLYAwAAtCAAFcKSkpKSkpKSk3gp6enGCeABIBEEQ5PwACPYQgey5AP/Z"
)
"""A code stream of OpenJPH (imagecodecs 2026.3), lossless: 16 rows, 12 columns, (37 row + 211 column) mod 4001."""


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.203"])
def test_high_throughput_jpeg_2000(tmp_path: Path, kit: Any, syntax: str) -> None:
    import base64

    datasets = kit.Series(rows=16, columns=12).datasets()
    for ds in datasets:
        ds.file_meta.TransferSyntaxUID = syntax
        ds.PixelData = encapsulate([base64.b64decode(HTJ2K)])
        ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    kit.write(tmp_path, datasets)
    voxels, _ = read_array(tmp_path)
    truth = np.add.outer(211 * np.arange(12), 37 * np.arange(16)) % 4001
    for k in range(5):
        np.testing.assert_array_equal(voxels[:, :, k], truth)
