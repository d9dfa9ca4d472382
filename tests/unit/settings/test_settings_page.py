"""docs/settings.md has one row a setting: its default and the sentence that describes it in the code."""

from __future__ import annotations

from pathlib import Path

from jsonschema import Draft202012Validator

from miliary_seg.settings import Settings, schema

PAGE = Path(__file__).resolve().parents[3] / "docs" / "settings.md"


def field_docs() -> dict[str, str]:
    """Dotted key -> its sentence."""
    sections = {name: schema()["$defs"][f"{name.title()}Settings"]["properties"] for name in Settings().as_dict()}
    return {f"{name}.{key}": about["description"] for name, part in sections.items() for key, about in part.items()}


def test_the_schema_knows_every_default_and_refuses_what_the_program_refuses() -> None:
    judge = Draft202012Validator(schema())
    Draft202012Validator.check_schema(schema())
    assert judge.is_valid(Settings().as_dict())
    for wrong in ({"decide": {"slab_mm": 0}}, {"decide": {"slab": 5}}, {"detect": {"sensitivity": "low"}}, {"x": {}}):
        assert not judge.is_valid(wrong)
    for name, section in Settings().as_dict().items():
        about = schema()["$defs"][f"{name.title()}Settings"]["properties"]
        assert {key: part["default"] for key, part in about.items()} == section


def test_every_setting_is_documented() -> None:
    docs = field_docs()
    assert set(docs) == set(Settings().flat())
    assert all(text.strip() for text in docs.values())


def expected_rows() -> list[str]:
    docs = field_docs()
    return [f"| `{key}` | `{value!r}` | {docs[key]} |" for key, value in Settings().flat().items()]


def test_every_setting_is_on_the_page() -> None:
    page = PAGE.read_text("utf-8")
    missing = [row for row in expected_rows() if row not in page]
    assert not missing, "\n".join(["docs/settings.md lacks:", *missing])


def test_the_page_has_no_row_too_many() -> None:
    rows = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| `")]
    assert sorted(rows) == sorted(expected_rows())
