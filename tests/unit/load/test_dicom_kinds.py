"""Enhanced objects, mosaics, several echoes or time points in one series, and compressed pixels."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.sequence import Sequence as Items

from miliary_seg.domain.sequence import Sequence
from miliary_seg.errors import GeometryError, MiliaryError, NoImageError, UnreadableFileError, UnsuitableImageError
from miliary_seg.load import find_cases, load_study, read_array
from miliary_seg.load.dicom.tiled import csa_header
from miliary_seg.settings import Settings


def expected(stored: np.ndarray) -> np.ndarray:
    return stored.transpose(2, 1, 0).astype(np.float32)


def enhanced(kit: Any, series: Any, order: list[int], *, shared_measures: bool = True) -> Any:
    """One enhanced object whose frames are stored in the given order."""
    stored = series.stored()
    template = series.datasets()[0]
    ds = kit.blank(kit.ENHANCED_MR, "1.2.3.4.1")
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "PatientID", "Modality"):
        setattr(ds, keyword, getattr(template, keyword))
    ds.ImageType, ds.SeriesNumber, ds.SeriesDescription = ["ORIGINAL", "PRIMARY", "T1", "NONE"], 7, "anat"
    kit.image(ds, stored[order])
    ds.NumberOfFrames = len(order)
    measures = kit.item(PixelSpacing=list(series.spacing), SliceThickness=2.5)
    turned = kit.item(ImageOrientationPatient=[*series.row, *series.column])
    shared = kit.item(PlaneOrientationSequence=turned)
    if shared_measures:
        shared.PixelMeasuresSequence = Items([measures])
    ds.SharedFunctionalGroupsSequence = Items([shared])
    frames = []
    for k in order:
        position = [float(x) for x in np.array(series.origin) + k * np.array(series.step)]
        frame = kit.item(
            PlanePositionSequence=kit.item(ImagePositionPatient=position),
            PixelValueTransformationSequence=kit.item(
                RescaleSlope=1 + 0.5 * k, RescaleIntercept=-3.0, RescaleType="US"
            ),
            MRImageFrameTypeSequence=kit.item(
                FrameType=["ORIGINAL", "PRIMARY", "T1", "NONE"],
                ComplexImageComponent="MAGNITUDE",
                AcquisitionContrast="T1",
            ),
        )
        if not shared_measures:
            frame.PixelMeasuresSequence = Items([measures])
        frames.append(frame)
    ds.PerFrameFunctionalGroupsSequence = Items(frames)
    return ds


@pytest.mark.parametrize("shared_measures", [True, False])
def test_frames_of_an_enhanced_object_are_placed_one_by_one(tmp_path: Path, kit: Any, shared_measures: bool) -> None:
    series = kit.Series()
    kit.write(tmp_path, [enhanced(kit, series, [3, 0, 4, 1, 2], shared_measures=shared_measures)])
    (volume,) = load_study(tmp_path).volumes
    slopes = 1 + 0.5 * np.arange(5)
    np.testing.assert_allclose(volume.voxels, expected(series.stored()) * slopes - 3, rtol=1e-6)
    np.testing.assert_allclose(volume.grid.affine, series.affine(), atol=1e-9)
    assert volume.sequence.sequence is Sequence.T1
    assert volume.sequence.confidence == "high"
    assert volume.slice_thickness_mm == 2.5


def test_an_enhanced_object_without_its_groups(tmp_path: Path, kit: Any) -> None:
    ds = enhanced(kit, kit.Series(), [0, 1, 2, 3, 4])
    del ds.PerFrameFunctionalGroupsSequence[4]
    kit.write(tmp_path / "few", [ds])
    with pytest.raises(UnreadableFileError, match="4 per-frame"):
        read_array(tmp_path / "few")
    del ds.PerFrameFunctionalGroupsSequence
    kit.write(tmp_path / "none", [ds])
    with pytest.raises(UnreadableFileError, match="without functional groups"):
        read_array(tmp_path / "none")


def csa_2(tags: dict[str, list[str]]) -> bytes:
    """A version 2 CSA header as nibabel's description of the format says."""
    data = b"SV10\x04\x03\x02\x01" + struct.pack("<II", len(tags), 77)
    for name, words in tags.items():
        data += struct.pack("<64si4s3i", name.encode(), len(words), b"FD\0\0", 0, len(words), 77)
        for word in words:
            text = word.encode() + b"\0"
            data += struct.pack("<4i", len(text), len(text), 77, len(text)) + text.ljust(
                (len(text) + 3) // 4 * 4, b"\0"
            )
    return data


def csa_1(tags: dict[str, list[str]]) -> bytes:
    first = len(next(iter(tags.values())))
    data = struct.pack("<II", len(tags), 77)
    for name, words in tags.items():
        data += struct.pack("<64si4s3i", name.encode(), len(words), b"FD\0\0", 0, len(words), 77)
        for word in words:
            text = word.encode() + b"\0"
            data += struct.pack("<4i", len(text) + first, 0, 0, 0) + text.ljust((len(text) + 3) // 4 * 4, b"\0")
    return data


@pytest.mark.parametrize("version", [csa_1, csa_2])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_mosaic_is_unpacked_along_its_normal(tmp_path: Path, kit: Any, version: Any, sign: int) -> None:
    series = kit.Series(n=5, rows=4, columns=4, spacing=(2.0, 2.0), step=(0.0, 0.0, 3.0 * sign))
    stored = series.stored()
    sheet = np.zeros((12, 12), np.uint16)
    for tile in range(5):
        down, right = divmod(tile, 3)
        sheet[down * 4 : down * 4 + 4, right * 4 : right * 4 + 4] = stored[tile]
    ds = series.datasets()[0]
    kit.image(ds, sheet)
    ds.ImageType = ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]
    # The corner that Siemens states: that of an image of the sheet's size about the same centre.
    ds.ImagePositionPatient = [-20.0 - 2 * (12 - 4) / 2, -30.0 - 2 * (12 - 4) / 2, 10.0]
    ds.SpacingBetweenSlices = 3.0
    block = ds.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
    words = {"NumberOfImagesInMosaic": ["5"], "SliceNormalVector": ["0.0", "0.0", f"{sign}.0"], "Empty": []}
    block.add_new(0x10, "OB", version(words))
    kit.write(tmp_path, [ds])
    voxels, affine = read_array(tmp_path)
    truth, place = expected(stored), series.affine()
    for k in range(5):
        world = place @ [1, 2, k, 1]
        ijk = np.rint(np.linalg.inv(affine) @ world)[:3].astype(int)
        np.testing.assert_allclose(affine @ [*ijk, 1], world, atol=1e-9)
        assert voxels[tuple(ijk)] == truth[1, 2, k]
    assert voxels.shape == (4, 4, 5)


@pytest.mark.parametrize("words", [{}, {"NumberOfImagesInMosaic": ["5"]}, {"NumberOfImagesInMosaic": ["x"]}])
def test_a_mosaic_that_lost_its_csa_header(tmp_path: Path, kit: Any, words: dict[str, list[str]]) -> None:
    ds = kit.Series(attributes={"ImageType": ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]}).datasets()[0]
    if words:
        ds.private_block(0x0029, "SIEMENS CSA HEADER", create=True).add_new(0x10, "OB", csa_2(words))
    kit.write(tmp_path, [ds])
    with pytest.raises(GeometryError, match="MOSAIC"):
        read_array(tmp_path)


def test_a_damaged_csa_header_is_none() -> None:
    good = csa_2({"SliceNormalVector": ["0", "0", "1"]})
    assert csa_header(good) == {"SliceNormalVector": ("0", "0", "1")}
    for bad in (b"", b"SV10" + b"\xff" * 40, good[:100], b"\0" * 40, None, good[:8] + b"\xff\xff\xff\x7f" + good[12:]):
        assert csa_header(bad) == {}


def two_kinds(kit: Any, **second: Any) -> list[Any]:
    a, b = kit.Series(), kit.Series(seed=9, attributes=second)
    datasets = b.datasets()
    for k, ds in enumerate(datasets):
        ds.SOPInstanceUID = f"1.2.3.5.{k}"
    return [*a.datasets(), *datasets]


def test_echoes_become_named_volumes(tmp_path: Path, kit: Any) -> None:
    datasets = two_kinds(kit, EchoTime=90.0)
    for ds in datasets[:5]:
        ds.EchoTime = 10.0
    kit.write(tmp_path, datasets)
    volumes = load_study(tmp_path).volumes
    assert len(volumes) == 2
    assert {volume.id for volume in volumes} == {"003-t1-echotime-10.0", "003-t1-echotime-90.0"}
    first = next(volume for volume in volumes if "10.0" in volume.id)
    np.testing.assert_array_equal(first.voxels, expected(kit.Series().stored()))


def test_phase_is_kept_out_and_never_mixed_in(tmp_path: Path, kit: Any) -> None:
    kit.write(tmp_path, two_kinds(kit, ImageType=["ORIGINAL", "PRIMARY", "P"]))
    (volume,) = load_study(tmp_path).volumes
    np.testing.assert_array_equal(volume.voxels, expected(kit.Series().stored()))
    assert [s.why for s in find_cases([tmp_path]).cases[0].series][1] == "a phase image"


def test_a_lone_phase_series_is_not_analysed_but_can_be_read(tmp_path: Path, kit: Any) -> None:
    kit.write(tmp_path, kit.Series(attributes={"ImageType": ["ORIGINAL", "PRIMARY", "P"]}).datasets())
    with pytest.raises(NoImageError, match="phase"):
        load_study(tmp_path)
    np.testing.assert_array_equal(read_array(tmp_path)[0], expected(kit.Series().stored()))


@pytest.mark.parametrize("attribute", ["AcquisitionNumber", "TemporalPositionIdentifier", "TriggerTime"])
def test_time_points_are_refused_or_chosen(tmp_path: Path, kit: Any, attribute: str) -> None:
    datasets = two_kinds(kit, **{attribute: 2})
    for ds in datasets[:5]:
        setattr(ds, attribute, 1)
    kit.write(tmp_path, datasets)
    with pytest.raises(UnsuitableImageError, match="4-D: 2 volumes") as caught:
        read_array(tmp_path)
    assert "load.volume" in str(caught.value)
    for number, seed in ((0, 0), (1, 9)):
        voxels, _ = read_array(tmp_path, Settings().updated({"load.volume": number}))
        np.testing.assert_array_equal(voxels, expected(kit.Series(seed=seed).stored()))
    with pytest.raises(UnsuitableImageError, match="4-D"):
        read_array(tmp_path, Settings().updated({"load.volume": 2}))


def test_a_contrast_agent_tells_acquisitions_apart(tmp_path: Path, kit: Any) -> None:
    kit.write(tmp_path, two_kinds(kit, ContrastBolusAgent="Gadovist"))
    volumes = load_study(tmp_path, settings=Settings().updated({"load.all_series": True})).volumes
    assert [volume.sequence.sequence for volume in volumes] == [Sequence.T1C, Sequence.T1]
    assert [volume.sequence.sequence for volume in load_study(tmp_path).volumes] == [Sequence.T1C]


def test_a_scout_within_a_series_is_left_out(tmp_path: Path, kit: Any) -> None:
    scout = kit.Series(n=1, seed=4, row=(0.0, 1.0, 0.0), column=(0.0, 0.0, -1.0)).datasets()[0]
    scout.ImageType, scout.SOPInstanceUID = ["ORIGINAL", "PRIMARY", "LOCALIZER"], "1.2.3.9"
    kit.write(tmp_path, [scout, *kit.Series().datasets()])
    np.testing.assert_array_equal(read_array(tmp_path)[0], expected(kit.Series().stored()))


def compressed(kit: Any, series: Any, syntax: str) -> list[Any]:
    """RLE by pydicom's own encoder; JPEG 2000 by Pillow."""
    import io

    from PIL import Image
    from pydicom.encaps import encapsulate

    datasets = series.datasets()
    for k, ds in enumerate(datasets):
        if syntax.endswith(".5"):
            ds.compress(syntax, encoding_plugin="pydicom")
        else:
            stream = io.BytesIO()
            Image.fromarray(series.stored()[k]).save(stream, "JPEG2000", irreversible=False, no_jp2=True)
            ds.file_meta.TransferSyntaxUID = syntax
            ds.PixelData = encapsulate([stream.getvalue()])
            ds["PixelData"].VR = "OB"
            ds["PixelData"].is_undefined_length = True
    return datasets


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.90"])
def test_compressed_pixels_are_the_same_pixels(tmp_path: Path, kit: Any, syntax: str) -> None:
    series = kit.Series(rows=32, columns=40)
    kit.write(tmp_path, compressed(kit, series, syntax))
    np.testing.assert_array_equal(read_array(tmp_path)[0], expected(series.stored()))


J2K = "1.2.840.10008.1.2.4.90"


def _spoil(path: Path, what: str) -> None:
    data = path.read_bytes()
    start = data.find(b"\xff\x4f\xff\x51")
    if what == "garbage":
        data = data[:start] + b"\x55" * (len(data) - start - 8) + data[-8:]
    elif what == "cut":
        data = data[:-30]
    elif what == "other size":
        data = data[: start + 8] + struct.pack(">I", 50000) + data[start + 12 :]
    elif what == "no end marker":
        end = data.rfind(b"\xff\xd9")
        data = data[:end] + b"\0\0" + data[end + 2 :]
    path.write_bytes(data)


@pytest.mark.parametrize("what", ["garbage", "cut", "other size", "no end marker"])
def test_damaged_code_streams(tmp_path: Path, kit: Any, what: str) -> None:
    paths = kit.write(tmp_path, compressed(kit, kit.Series(rows=32, columns=40), J2K))
    _spoil(paths[2], what)
    with pytest.raises(MiliaryError, match="im002"):
        read_array(tmp_path)


def test_jpeg_streams_are_checked_against_the_header(tmp_path: Path, kit: Any) -> None:
    from miliary_seg.load.dicom.codestream import check_code_stream
    from miliary_seg.load.dicom.header import read_header
    from miliary_seg.load.dicom.planes import pixel_layout

    (path,) = kit.write(tmp_path, kit.Series(n=1).datasets())
    layout = pixel_layout(read_header(path))
    object.__setattr__(layout, "transfer_syntax", "1.2.840.10008.1.2.4.70")
    frame = b"\xff\xd8\xff\xe0\x00\x04ab\xff\xc3\x00\x0b\x0c" + struct.pack(">HHB", 6, 8, 1) + b"\0" * 8 + b"\xff\xd9"
    assert check_code_stream(frame, layout).precision == 12
    for bad in (b"\0" + frame, frame[:8] + b"\xff\xd9", frame.replace(b"\x0c\x00\x06", b"\x14\x00\x06")):
        with pytest.raises(UnreadableFileError):
            check_code_stream(bad, layout)
    object.__setattr__(layout, "transfer_syntax", "1.2.840.10008.1.2.5")
    with pytest.raises(UnreadableFileError, match="RLE"):
        check_code_stream(b"\0" * 64, layout)


def test_a_uih_grid_is_never_taken_for_a_slice(tmp_path: Path, kit: Any) -> None:
    datasets = kit.Series().datasets()
    for ds in datasets:
        ds.private_block(0x0065, "Image Private Header", create=True).add_new(0x50, "DS", "30")
    kit.write(tmp_path, datasets)
    with pytest.raises(GeometryError, match="UIH"):
        read_array(tmp_path)


def test_a_header_of_endless_empty_elements(tmp_path: Path, kit: Any) -> None:
    """Found by scripts/fuzz: a block of zeros parses as millions of elements."""
    paths = kit.write(tmp_path, kit.Series().datasets())
    data = paths[1].read_bytes()
    paths[1].write_bytes(data[:400] + bytes(4 << 20) + data[400:])
    with pytest.raises(MiliaryError, match="im001"):
        read_array(tmp_path)


def test_a_time_for_every_slice_tells_no_volumes_apart(tmp_path: Path, kit: Any) -> None:
    datasets = two_kinds(kit)
    for k, ds in enumerate(datasets):
        ds.AcquisitionTime = f"1200{k:02d}"
    kit.write(tmp_path, datasets)
    with pytest.raises(MiliaryError, match="one position"):
        read_array(tmp_path)


def test_a_series_stored_twice_is_read_once(tmp_path: Path, kit: Any) -> None:
    datasets = kit.Series().datasets() + kit.Series().datasets()
    for k, ds in enumerate(datasets):
        ds.SOPInstanceUID, ds.AcquisitionTime = f"1.2.3.6.{k}", f"1200{k % 5:02d}"
    kit.write(tmp_path, datasets)
    np.testing.assert_array_equal(read_array(tmp_path)[0], expected(kit.Series().stored()))


def test_a_huge_private_value_is_not_read(tmp_path: Path, kit: Any) -> None:
    datasets = kit.Series().datasets()
    datasets[0].private_block(0x0029, "X", create=True).add_new(0x10, "OB", bytes(6 << 20))
    kit.write(tmp_path, datasets)
    np.testing.assert_array_equal(read_array(tmp_path)[0], expected(kit.Series().stored()))


@pytest.mark.parametrize(("highest", "refused"), [(2000, False), (40000, True)])
def test_a_sign_that_header_and_code_stream_disagree_on(tmp_path: Path, kit: Any, highest: int, refused: bool) -> None:
    class Faint(kit.Series):  # type: ignore[name-defined, misc]
        def stored(self) -> np.ndarray:
            return (super().stored() % 2000 + highest - 2000).astype(np.uint16)

    series = Faint(rows=32, columns=40)
    datasets = compressed(kit, series, J2K)
    for ds in datasets:
        ds.PixelRepresentation = 1
    kit.write(tmp_path, datasets)
    if refused:
        with pytest.raises(UnreadableFileError, match="sign"):
            read_array(tmp_path)
    else:
        np.testing.assert_array_equal(read_array(tmp_path)[0], expected(series.stored()))


def test_a_uih_grid_with_the_place_of_each_slice(tmp_path: Path, kit: Any) -> None:
    series = kit.Series(n=7, rows=6, columns=8, row=(0.0, 1.0, 0.0), column=(0.0, 0.0, -1.0), step=(-4.0, 0.0, 0.0))
    stored = series.stored()
    grid = np.zeros((18, 24), dtype=np.uint16)
    for k in range(7):
        grid[k // 3 * 6 : k // 3 * 6 + 6, k % 3 * 8 : k % 3 * 8 + 8] = stored[k]
    ds = series.datasets()[0]
    kit.image(ds, grid)
    ds.ImageType = ["ORIGINAL", "PRIMARY", "EPI", "NONE", "VFRAME"]
    places = [[float(x) for x in np.array(series.origin) + k * np.array(series.step)] for k in range(7)]
    block = ds.private_block(0x0065, "Image Private Header", create=True)
    block.add_new(0x50, "DS", "7")
    block.add_new(0x51, "SQ", [kit.item(ImagePositionPatient=place) for place in places])
    kit.write(tmp_path / "right", [ds])
    voxels, affine = read_array(tmp_path / "right")
    # The cosines (row x column) point to -x, as the slices do: the order of the tiles is the order along the normal.
    np.testing.assert_array_equal(voxels, stored.transpose(2, 1, 0).astype(np.float32))
    np.testing.assert_allclose(affine, series.affine(), atol=1e-5)
    block.add_new(0x51, "SQ", [kit.item(ImagePositionPatient=place) for place in places[:6]])
    kit.write(tmp_path / "wrong", [ds])
    with pytest.raises(GeometryError, match="UIH"):
        read_array(tmp_path / "wrong")
    block.add_new(0x51, "SQ", [kit.item(ImagePositionPatient=place) for place in places])
    ds.Rows, ds.PixelData = 17, grid[:17].tobytes()
    kit.write(tmp_path / "cut", [ds])
    with pytest.raises(GeometryError, match="no grid of 7 slices"):
        read_array(tmp_path / "cut")
