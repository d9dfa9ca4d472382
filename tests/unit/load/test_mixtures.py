"""Every plane speaks: slices that each have a place of their own are one image only where all headers say so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from miliary_seg.errors import MiliaryError
from miliary_seg.load import find_cases, load_study

N = 12


def interleaved(k: int) -> bool:
    return k % 2 == 1


def upper_half(k: int) -> bool:
    return k >= N // 2


def blocks_of_three(k: int) -> bool:
    return k % 6 >= 3


def one_of_all(k: int) -> bool:
    return k == 4


KINDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "echoes": ({"EchoTime": 10}, {"EchoTime": 90}),
    "near echoes": ({"EchoTime": 2.46}, {"EchoTime": 4.92}),
    "inversion": ({"InversionTime": 900}, {"InversionTime": 2500}),
    "inversion or none": ({}, {"InversionTime": 2500}),
    "b-values": ({"DiffusionBValue": 0.0}, {"DiffusionBValue": 1000.0}),
    "flip angles": ({"FlipAngle": 3}, {"FlipAngle": 20}),
    "agent": ({}, {"ContrastBolusAgent": "Gadovist"}),
    "agent by volume": ({"ContrastBolusVolume": 0}, {"ContrastBolusVolume": 7.5}),
    "descriptions": ({"SeriesDescription": "t1_se"}, {"SeriesDescription": "t2_flair"}),
    "before and after": ({"SeriesDescription": "t1 pre"}, {"SeriesDescription": "t1 post gd"}),
    "another day": (
        {"AcquisitionDate": "20200101", "AcquisitionTime": "101500"},
        {"AcquisitionDate": "20200301", "AcquisitionTime": "101500"},
    ),
    "half an hour later": (
        {"AcquisitionDate": "20200101", "AcquisitionTime": "101500"},
        {"AcquisitionDate": "20200101", "AcquisitionTime": "104700.5"},
    ),
    "numbers of echoes": ({"EchoNumbers": 1}, {"EchoNumbers": 2}),
    "repetition": ({"RepetitionTime": 500}, {"RepetitionTime": 9000}),
    "protocols": ({"ProtocolName": "t1_se"}, {"ProtocolName": "t1_se +KM"}),
    "names of sequences": ({"SequenceName": "*tfl3d1_16ns"}, {"SequenceName": "*spcir_242"}),
    "b-values by the name of the sequence": ({"SequenceName": "*ep_b0"}, {"SequenceName": "*ep_b1000t"}),
    "pulses": ({"ScanningSequence": "SE"}, {"ScanningSequence": ["SE", "IR"]}),
    "magnetisation transfer": ({"ScanOptions": "FS"}, {"ScanOptions": ["FS", "MT"]}),
    "water and fat": (
        {"ImageType": ["DERIVED", "PRIMARY", "DIXON", "WATER"]},
        {"ImageType": ["DERIVED", "PRIMARY", "DIXON", "FAT"]},
    ),
    "times without a date": ({"AcquisitionTime": "101500"}, {"AcquisitionTime": "115500"}),
    "moments": ({"AcquisitionDateTime": "20200101101500"}, {"AcquisitionDateTime": "20200101115500"}),
    "days without a time": ({"AcquisitionDate": "20200101"}, {"AcquisitionDate": "20200301"}),
    "times of the series": (
        {"SeriesDate": "20200101", "SeriesTime": "101500"},
        {"SeriesDate": "20200101", "SeriesTime": "141500"},
    ),
    "visits": ({"StudyDate": "20200101"}, {"StudyDate": "20200301"}),
    "scanners": ({"MagneticFieldStrength": 1.5}, {"MagneticFieldStrength": 3}),
    "series under one identifier": ({"SeriesNumber": 3}, {"SeriesNumber": 4}),
    "head or feet first": ({"PatientPosition": "HFS"}, {"PatientPosition": "FFS"}),
    "slices of other thickness": ({"SliceThickness": 3}, {"SliceThickness": 5}),
}
PRIVATE_B = {
    "Siemens": (0x0019, "SIEMENS MR HEADER", 0x0C, "IS", "0", "1000"),
    "Philips": (0x2001, "Philips Imaging DD 001", 0x03, "FL", 0.0, 1000.0),
    "GE": (0x0043, "GEMS_PARM_01", 0x39, "IS", ["0", "0", "0", "0"], ["1000001000", "8", "0", "0"]),
    "UIH": (0x0065, "Image Private Header", 0x09, "FD", 0.0, 1000.0),
}


def mixed(kit: Any, folder: Path, kind: str, second: Callable[[int], bool]) -> Any:
    series = kit.Series(n=N)
    datasets = series.datasets()
    for k, ds in enumerate(datasets):
        for keyword, value in KINDS[kind][second(k)].items():
            setattr(ds, keyword, value)
    kit.write(folder, datasets)
    return series


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("second", [interleaved, upper_half])
def test_two_whole_images_are_told_apart(tmp_path: Path, kit: Any, kind: str, second: Callable[[int], bool]) -> None:
    series = mixed(kit, tmp_path, kind, second)
    (case,) = find_cases([tmp_path]).cases
    assert len(case.series) == 2
    assert all(found.error is None for found in case.series)
    assert len({found.id for found in case.series}) == 2
    stored = series.stored()
    members = [np.array([bool(second(k)) is side for k in range(N)]) for side in (False, True)]
    wanted = sorted(stored[rows].astype(np.float32).sum() for rows in members)
    from miliary_seg.load.dicom.volume import load_dicom
    from miliary_seg.settings import LoadSettings

    volumes = [load_dicom(found, LoadSettings()) for found in case.series]
    assert sorted(volume.voxels.sum() for volume in volumes) == pytest.approx(wanted)


@pytest.mark.parametrize("maker", PRIVATE_B)
@pytest.mark.parametrize("second", [interleaved, upper_half])
def test_b_values_of_four_makers(tmp_path: Path, kit: Any, maker: str, second: Callable[[int], bool]) -> None:
    group, creator, element, vr, low, high = PRIVATE_B[maker]
    datasets = kit.Series(n=N, attributes={"SeriesDescription": "diff"}).datasets()
    for k, ds in enumerate(datasets):
        ds.private_block(group, creator, create=True).add_new(element, vr, high if second(k) else low)
    kit.write(tmp_path, datasets)
    found = find_cases([tmp_path]).cases[0].series
    assert [(str(s.sequence.sequence), s.eligible) for s in found] == [("dwi", True), ("unknown", False)]


@pytest.mark.parametrize("order", [1, -1])
def test_each_part_is_what_its_own_files_say(tmp_path: Path, kit: Any, order: int) -> None:
    """Also where files of the other part come first."""
    datasets = kit.Series(n=N, attributes={"SeriesDescription": ""}).datasets()
    for k, ds in enumerate(datasets):
        ds.ProtocolName = "t2_flair_tra" if interleaved(k) else "t1_se_tra +C"
    kit.write(tmp_path, datasets[::order])
    found = find_cases([tmp_path]).cases[0].series
    assert {(str(s.sequence.sequence), s.id.split("-", 3)[3]) for s in found} == {
        ("flair", "flair"),
        ("t1c", "t1-with-contrast"),
    }


def test_parts_of_one_sequence_are_both_analysed(tmp_path: Path, kit: Any) -> None:
    """Half of a brain each: neither is better than the other."""
    datasets = kit.Series(n=N).datasets()
    for k, ds in enumerate(datasets):
        ds.StudyDate = "20200301" if upper_half(k) else "20200101"
    kit.write(tmp_path, datasets)
    study = load_study(tmp_path)
    assert len(study.volumes) == 2
    assert all("series_split" in {caveat.code for caveat in volume.caveats} for volume in study.volumes)


def test_a_phase_image_of_ge(tmp_path: Path, kit: Any) -> None:
    datasets = kit.Series(n=N).datasets()
    for k, ds in enumerate(datasets):
        ds.private_block(0x0043, "GEMS_PARM_01", create=True).add_new(0x2F, "SS", int(interleaved(k)))
    kit.write(tmp_path, datasets)
    found = find_cases([tmp_path]).cases[0].series
    assert [(s.eligible, s.why.startswith("a phase image")) for s in found] == [(True, False), (False, True)]


def test_a_file_of_two_modalities_is_refused(tmp_path: Path, kit: Any) -> None:
    kit.write(tmp_path, kit.Series(attributes={"Modality": "CT"}).datasets())
    with pytest.raises(MiliaryError, match="Modality says CT, the SOP class MR"):
        load_study(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("second", [one_of_all, blocks_of_three])
def test_what_is_no_whole_image_is_refused(tmp_path: Path, kit: Any, kind: str, second: Callable[[int], bool]) -> None:
    mixed(kit, tmp_path, kind, second)
    with pytest.raises(MiliaryError, match="the slices of one series differ in"):
        load_study(tmp_path)


@pytest.mark.parametrize(
    "jitter",
    [
        {"EchoTime": [2.96, 2.97]},
        {"InversionTime": [899.7, 900.2]},
        {"DiffusionBValue": [996.0, 1003.0]},
        {"FlipAngle": [9, 9.0001]},
        {"AcquisitionTime": ["101500", "101930.25"]},
        {"SeriesDescription": ["t1_se", "T1 SE tra"]},
        {"PixelSpacing": [[0.5, 0.75], [0.50004, 0.75003]]},
        {"InstanceNumber": [1, 1]},
        {"ContrastBolusAgent": ["", "--"]},
        {"RepetitionTime": [3800, 4100]},
        {"SliceThickness": [2.5, 2.51]},
        {"ProtocolName": ["head", ""]},
        {"AcquisitionNumber": [1, 2]},
        {"ImageType": [["ORIGINAL", "PRIMARY", "M"], ["DERIVED", "PRIMARY", "M"]]},
        {"PatientPosition": ["HFS", ""]},
        {"StudyDate": ["20200101", ""]},
    ],
    ids=lambda jitter: next(iter(jitter)),
)
def test_what_one_acquisition_differs_by_splits_nothing(tmp_path: Path, kit: Any, jitter: dict[str, list[Any]]) -> None:
    datasets = kit.Series(n=N).datasets()
    for k, ds in enumerate(datasets):
        for keyword, values in jitter.items():
            setattr(ds, keyword, values[k % 2])
        if "AcquisitionTime" in jitter:
            ds.AcquisitionDate = "20200101"
    kit.write(tmp_path, datasets)
    (volume,) = load_study(tmp_path).volumes
    assert volume.grid.shape[2] == N


def two_people(kit: Any, folder: Path, apart: float, **other: Any) -> None:
    """Two heads under one constant identifier, the second displaced by a share of the step."""
    for number, facts in enumerate(({}, other)):
        series = kit.Series(n=8, seed=number, origin=(-20.0, -30.0, 10.0 + 3.0 * apart * number))
        datasets = series.datasets()
        for k, ds in enumerate(datasets):
            ds.PatientID, ds.SOPInstanceUID = "ANON", f"1.2.{number}.{k}"
            ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
            ds.PatientSex, ds.PatientBirthDate, ds.PatientAge, ds.PatientWeight = "F", "19600101", "045Y", 61
            for keyword, value in facts.items():
                setattr(ds, keyword, value)
        kit.write(folder, datasets, [f"p{number}_{k}.dcm" for k in range(8)])


OTHER_PERSON = [
    (facts, apart)
    for facts in ({"PatientSex": "M"}, {"PatientBirthDate": "19710203"}, {"FrameOfReferenceUID": "1.2.99"},
                  {"PatientName": "Smith^John"}, {"PatientAge": "062Y"}, {"PatientWeight": 84})
    for apart in (0.5, 8.0)
]  # fmt: skip


@pytest.mark.parametrize(("other", "apart"), [*OTHER_PERSON, ({}, 0.5)])
def test_two_people_never_become_one(tmp_path: Path, kit: Any, other: dict[str, str], apart: float) -> None:
    two_people(kit, tmp_path, apart, **other)
    found = find_cases([tmp_path])
    assert all(series.error or not series.eligible for case in found.cases for series in case.series)
    with pytest.raises(MiliaryError, match=r"patients|frame of reference|frames of reference|pushed into each other"):
        load_study(tmp_path)


def test_silence_is_nobody_else(tmp_path: Path, kit: Any) -> None:
    datasets = kit.Series(n=N).datasets()
    for k, ds in enumerate(datasets):
        ds.PatientSex, ds.PatientBirthDate = ("F", "19600101") if k % 2 else ("", "")
        ds.PatientName, ds.PatientAge = ("Roe^Jane", "045Y") if k % 2 else ("ROE  JANE", "")
    kit.write(tmp_path, datasets)
    assert load_study(tmp_path).volumes[0].grid.shape[2] == N
