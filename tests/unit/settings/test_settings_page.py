"""docs/settings.md is the table of ``field_docs``: one row a setting, with its default."""

from __future__ import annotations

from pathlib import Path

from miliary_seg.settings import Settings, field_docs

PAGE = Path(__file__).resolve().parents[3] / "docs" / "settings.md"


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
