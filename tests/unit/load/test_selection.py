"""A study is not ten analyses: the best series of each kind that can decide, and what may be enhanced unsaid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from miliary_seg.domain.sequence import Sequence
from miliary_seg.load import find_cases, load_case
from miliary_seg.load.inventory import CaseInfo
from miliary_seg.settings import Settings

THIN, THICK = (1.0, 160), (5.0, 26)
MPR = ["DERIVED", "SECONDARY", "MPR"]


def study(kit: Any, root: Path, *series: tuple[str, dict[str, Any]]) -> CaseInfo:
    """One study; each series by its description and what is odd about it (``geometry``: step in mm, slices)."""
    for number, (description, odd) in enumerate(series, 1):
        step, n = odd.pop("geometry", THICK)
        attributes = {"SeriesNumber": number, "SeriesDescription": description, "SliceThickness": step, **odd}
        datasets = kit.Series(
            n=n, step=(0.0, 0.0, step), series=f"1.2.7.{number}", seed=number, attributes=attributes
        ).datasets()
        kit.write(root / str(number), datasets)
    (case,) = find_cases([root]).cases
    return case


def used(case: CaseInfo) -> list[int]:
    return [s.series_number for s in case.eligible]


DWI = {"ScanningSequence": ["EP", "SE"]}


def test_a_clinical_study(tmp_path: Path, kit: Any) -> None:
    case = study(
        kit, tmp_path,
        ("t1_se_tra", {}), ("t2_tse_tra", {}), ("t2_tse_cor", {}), ("t2_flair_tra", {}),
        ("ep2d_diff", {**DWI, "DiffusionBValue": 0.0}), ("ep2d_diff", {**DWI, "DiffusionBValue": 1000.0}),
        ("t1_se_tra_post_gd", {}), ("t1_mprage_post_gd", {"geometry": THIN}), ("t1_se_cor_post_gd", {}),
        ("t1_mprage_post_gd_sub", {"geometry": THIN}), ("TOF 3D", {"geometry": THIN}),
    )  # fmt: skip
    assert used(case) == [8, 4, 6]
    whys = {s.series_number: s.why for s in case.series}
    assert whys[5].startswith("the reference image of diffusion (b 0)")
    assert whys[10].startswith("a subtraction")
    assert whys[11].startswith("an angiogram")
    assert all(whys[n].startswith("not needed beside 008-t1c") for n in (1, 2, 3, 7, 9))


@pytest.mark.parametrize(
    ("series", "expected"),
    [
        # thinnest; whole brain before a thin slab; acquired before its reformat
        ([("t1_gd", {"geometry": THICK}), ("t1_gd", {"geometry": THIN})], [2]),
        ([("t1_gd", {"geometry": THICK}), ("t1_gd", {"geometry": (1.0, 40)})], [1]),
        ([("t1_gd", {"ImageType": MPR, "geometry": THIN}), ("t1_gd", {"geometry": THIN})], [2]),
        # a reformat that is all there is of its sequence comes before another sequence
        ([("t1_gd", {"ImageType": MPR, "geometry": THIN}), ("t2_flair", {})], [1, 2]),
        # nothing that can decide: the best of each that there is
        ([("t2_tse", {}), ("t2_tse", {"geometry": THIN}), ("t1 native", {})], [2, 3]),
        # the others only where nothing better is there
        ([("t2_tse", {}), ("t2_flair", {})], [2]),
        ([("gre_t2*", {}), ("swi", {"geometry": (2.0, 60)})], [2]),
        # T1 without a word on contrast: the first and the last of like parameters may be before and after
        ([("t1_se", {}), ("t1_se", {}), ("t1_se", {}), ("t2_flair", {})], [4, 1, 3]),
        ([("t1_se", {}), ("t1_se", {}), ("t1_se gd", {}), ("t2_flair", {})], [3, 4]),
        ([("t1 native", {}), ("t1 native", {}), ("t2_flair", {})], [3]),
        # unknown may be enhanced as well
        ([("brain", {}), ("t2_flair", {})], [2, 1]),
        ([("brain", {}), ("t1_gd", {})], [2]),
    ],
)
def test_which_are_used(tmp_path: Path, kit: Any, series: list[Any], expected: list[int]) -> None:
    assert used(study(kit, tmp_path, *series)) == expected


def test_all_series_where_asked(tmp_path: Path, kit: Any) -> None:
    study(kit, tmp_path, ("t2_tse", {}), ("t2_flair", {}), ("t1_gd", {}), ("t1_gd", {"ImageType": MPR}), ("TOF", {}))
    (case,) = find_cases([tmp_path], Settings().updated({"load.all_series": True})).cases
    assert used(case) == [3, 2, 1]
    (named,) = find_cases([tmp_path], Settings().updated({"load.series": "005"})).cases
    assert used(named) == [5]


@pytest.mark.parametrize("words", ["pilot study T1 gd", "Survey of ageing: t1 gd", "t1 gd PILOT"])
def test_words_of_a_study_are_no_localizer(tmp_path: Path, kit: Any, words: str) -> None:
    assert used(study(kit, tmp_path, (words, {}))) == [1]


@pytest.mark.parametrize(("words", "n"), [("survey", 9), ("Pilot", 5), ("localizer", 30), ("3-plane loc", 9)])
def test_localizers_are(tmp_path: Path, kit: Any, words: str, n: int) -> None:
    case = study(kit, tmp_path, (words, {"geometry": (10.0, n)}), ("t1_gd", {}))
    assert used(case) == [2]
    assert "a localizer" in [s.why for s in case.series]


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ((10.0, 3.0, 12), (46.0, 3.0, 12), True),  # adjoining
        ((10.0, 6.0, 12), (13.0, 6.0, 12), True),  # interleaved
        ((10.0, 3.0, 12), (10.0, 3.0, 12), False),  # the same places: two scans
        ((10.0, 3.0, 12), (80.0, 3.0, 12), False),  # far apart
        ((10.0, 3.0, 12), (47.0, 3.0, 12), False),  # not on one even line
    ],
)
def test_a_volume_under_two_series_is_told(tmp_path: Path, kit: Any, first: Any, second: Any, told: bool) -> None:
    for number, (start, step, n) in enumerate((first, second), 1):
        series = kit.Series(n=n, origin=(-20.0, -30.0, start), step=(0.0, 0.0, step), series=f"1.2.5.{number}")
        datasets = series.datasets()
        for k, ds in enumerate(datasets):
            ds.SeriesNumber, ds.SOPInstanceUID = number, f"1.2.5.{number}.{k}"
            ds.SeriesDescription = "t1_gd"
        kit.write(tmp_path / str(number), datasets)
    (case,) = find_cases([tmp_path]).cases
    assert [any(w.code == "series_split" for w in s.warnings) for s in case.series] == [told, told]
    assert len(case.eligible) == (2 if told else 1)


@pytest.mark.parametrize(
    ("series", "expected"),
    [
        # of several scans before contrast agent the one of like slices, then the last one before it
        ([("t1_se", {}), ("t1_mprage", {"geometry": THIN}), ("t1_mprage gd", {"geometry": THIN})], [2]),
        ([("t1_se", {}), ("t1_se", {}), ("t1_se gd", {}), ("t1_se", {})], [2]),
        ([("t1_se", {}), ("t1_se gd", {}), ("t2_flair", {})], [1]),
        # none is needed where nothing was given, or where there is none
        ([("t1_se", {}), ("t2_flair", {})], []),
        ([("t1_se gd", {}), ("t2_flair", {})], []),
    ],
)
def test_which_is_compared_with_the_enhanced_one(
    tmp_path: Path, kit: Any, series: list[Any], expected: list[int]
) -> None:
    case = study(kit, tmp_path, *series)
    assert [s.series_number for s in case.before_contrast] == expected
    assert not set(expected) & set(used(case))
    volumes = load_case(case).before_contrast
    assert [volume.sequence.sequence for volume in volumes] == [Sequence.T1] * len(expected)


def test_a_scan_before_contrast_agent_that_cannot_be_read_is_left_out_and_said(tmp_path: Path, kit: Any) -> None:
    case = study(kit, tmp_path, ("t1_se", {}), ("t1_se gd", {}))
    for path in (tmp_path / "1").iterdir():
        path.write_bytes(path.read_bytes()[:-300])
    loaded = load_case(case)
    assert [volume.sequence.sequence for volume in loaded.volumes] == [Sequence.T1C]
    assert loaded.before_contrast == ()
    assert [caveat.code for caveat in loaded.caveats] == ["pair_not_readable"]
    assert loaded.unreadable_series == ()
