from __future__ import annotations

import re
from pathlib import Path

import pytest

from miliary_seg.errors import SettingsError
from miliary_seg.settings import DecideSettings, Settings


def test_the_defaults_are_the_published_rule_and_its_default_reading() -> None:
    decide = Settings().decide
    assert (decide.mri_lesions_per_slice, decide.ct_lesions_per_slice) == (20, 10)
    assert (decide.plane, decide.slice, decide.non_contiguous) == ("acquired", "both", "pairwise")
    assert (decide.bilateral, decide.min_per_region, decide.max_thickness_mm) == ("independent", 1, 7.0)
    assert (decide.min_met_probability, decide.max_not_met_probability, decide.max_gap_share) == (0.8, 0.05, 0.34)


def test_toml_round_trip_keeps_every_setting(tmp_path: Path) -> None:
    changed = Settings().updated(
        {"decide.min_per_region": 7, "decide.slab_mm": 4, "load.series": 'a "b" \\ c', "report.identified": True}
    )
    path = tmp_path / "s.toml"
    path.write_text(changed.to_toml(), encoding="utf-8")
    assert Settings.from_toml(path) == changed
    assert changed.flat()["decide.slab_mm"] == 4.0
    assert Settings.from_toml(path).digest == changed.digest != Settings().digest


def test_a_file_may_leave_keys_out(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text('[decide]\nbilateral = "quadrants"\n', encoding="utf-8")
    assert Settings.from_toml(path) == Settings().updated({"decide.bilateral": "quadrants"})


@pytest.mark.parametrize("content", [b"[decide", b"\xff\xfe\x00", b"decide = 3\n"])
def test_unreadable_toml_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "s.toml"
    path.write_bytes(content)
    with pytest.raises(SettingsError):
        Settings.from_toml(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot read settings") as caught:
        Settings.from_toml(tmp_path / "none.toml")
    assert str(tmp_path) in caught.value.where


@pytest.mark.parametrize(
    ("option", "key", "value"),
    [
        ("decide.bilateral=quadrants", "decide.bilateral", "quadrants"),
        (" decide.slab_mm = 4 ", "decide.slab_mm", 4.0),
        ("load.min_slices=3", "load.min_slices", 3),
        ("load.min_slices=3.0", "load.min_slices", 3),
        ("report.identified=yes", "report.identified", True),
        ("report.identified=False", "report.identified", False),
        ("load.series=a=b", "load.series", "a=b"),
        ("decide.min_coverage=1e-1", "decide.min_coverage", 0.1),
    ],
)
def test_options_are_converted_to_the_type_of_the_setting(option: str, key: str, value: object) -> None:
    found = Settings().with_options([option]).flat()[key]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("decide.bilateral", "expected key=value"),
        ("decide.bilaterl=quadrants", "did you mean 'decide.bilateral'"),
        ("xyzzy=1", "miliary-seg settings"),
        ("decide.bilateral=both", "independent, quadrants"),
        ("decide.slab_mm=thick", "float"),
        ("load.volume=1.5", "int"),
        ("load.volume=1e400", "int"),
        ("report.identified=maybe", "bool"),
        ("decide=3", "unknown setting"),
    ],
)
def test_unsuitable_options_say_what_would_suit(option: str, words: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(words)):
        Settings().with_options([option])


@pytest.mark.parametrize("value", [[1], True, None])
def test_values_of_other_kinds_are_refused(value: object) -> None:
    with pytest.raises(SettingsError, match=r"load\.volume cannot be"):
        Settings().updated({"load.volume": value})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("mri_lesions_per_slice", 0),
        ("ct_lesions_per_slice", -1),
        ("min_per_region", 0),
        ("slab_mm", 0.0),
        ("slab_mm", float("nan")),
        ("slab_mm", float("inf")),
        ("separation_mm", -1.0),
        ("min_coverage", 1.01),
        ("max_gap_mm", -0.1),
        ("max_gap_share", -0.1),
        ("min_met_probability", 1.1),
        ("max_not_met_probability", -0.05),
        ("min_assignment_confidence", 0.4),
        ("region_error_quantile", 1.0),
        ("axial_spacing_mm", 0.0),
    ],
)
def test_criteria_settings_out_of_range_are_refused(key: str, value: float) -> None:
    with pytest.raises(SettingsError, match=f"decide.{key} cannot be"):
        DecideSettings(**{key: value})  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match=f"decide.{key} cannot be"):
        Settings().updated({f"decide.{key}": value})


@pytest.mark.parametrize(
    "option", ["locate.trust_threshold=-0.1", "locate.trust_threshold=nan", "load.min_slices=0", "load.volume=-2"]
)
def test_other_settings_out_of_range_are_refused(option: str) -> None:
    with pytest.raises(SettingsError, match=option.partition("=")[0]):
        Settings().with_options([option])


def test_nested_values_follow_the_tree() -> None:
    assert Settings().as_dict()["decide"]["slab_mm"] == 5.0
    assert next(iter(Settings().flat())) == "load.sequence"


@pytest.mark.parametrize("choice", ["load.sequence=ct", "load.resample=true", "report.identified=true"])
def test_choices_for_one_input_leave_the_digest_of_the_cohort(choice: str) -> None:
    changed = Settings().with_options([choice])
    assert changed.digest == Settings().digest
    assert changed.choices != Settings().choices


def test_every_other_setting_changes_the_digest() -> None:
    other = {
        "auto": "both",
        "balanced": "high",
        "acquired": "axial",
        "both": "equivalent",
        "pairwise": "separate-runs",
    }
    for key, value in Settings().flat().items():
        if key.split(".")[0] in {"load", "report"}:
            continue
        new = (not value) if isinstance(value, bool) else (value * 0.9 + 0.041 if isinstance(value, float) else value)
        new = value + 1 if type(value) is int else other.get(new, "quadrants") if isinstance(value, str) else new
        assert Settings().updated({key: new}).digest != Settings().digest, key


def test_the_part_that_counts_can_be_written_alone(tmp_path: Path) -> None:
    changed = Settings().updated({"decide.slab_mm": 4, "load.series": "1.2.3"})
    path = tmp_path / "s.toml"
    path.write_text(changed.to_toml(method_only=True), encoding="utf-8")
    assert "1.2.3" not in path.read_text()
    assert Settings.from_toml(path).digest == changed.digest


def test_sections_may_be_given_as_mappings_and_are_checked() -> None:
    given = Settings(locate={"deform": False}, decide={"slab_mm": 4})
    assert given == Settings().updated({"locate.deform": False, "decide.slab_mm": 4})
    for section, said in (
        ({"deforms": True}, "did you mean 'locate.deform'"),
        ({"trust_threshold": 3}, "locate.trust_threshold"),
        ("deform", "not str"),
        (None, "not NoneType"),
        (Settings().decide, "not DecideSettings"),
    ):
        with pytest.raises(SettingsError, match=said):
            Settings(locate=section)


def test_values_on_the_command_line_may_be_in_capitals() -> None:
    assert Settings().with_options(["load.sequence=T1C", "load.series=ABC"]) == Settings().updated(
        {"load.sequence": "t1c", "load.series": "ABC"}
    )
    with pytest.raises(SettingsError, match="T9"):
        Settings().with_options(["load.sequence=T9"])
