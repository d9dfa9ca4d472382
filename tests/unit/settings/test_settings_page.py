"""docs/settings.md has one row a setting: its default and the sentence that stands under the field in the code."""

from __future__ import annotations

import ast
import inspect
from dataclasses import fields
from pathlib import Path

from miliary_seg import settings
from miliary_seg.settings import Settings

PAGE = Path(__file__).resolve().parents[3] / "docs" / "settings.md"


def field_docs() -> dict[str, str]:
    """Dotted key -> the sentence under the field in ``settings.py``."""
    sentences: dict[str, dict[str, str]] = {}
    for cls in ast.parse(inspect.getsource(settings)).body:
        if isinstance(cls, ast.ClassDef):
            sentences[cls.name] = {
                a.target.id: b.value.value
                for a, b in zip(cls.body, cls.body[1:], strict=False)
                if isinstance(a, ast.AnnAssign)
                and isinstance(a.target, ast.Name)
                and isinstance(b, ast.Expr)
                and isinstance(b.value, ast.Constant)
                and isinstance(b.value.value, str)
            }
    docs = {}
    for section in fields(Settings):
        cls_name = type(getattr(Settings(), section.name)).__name__
        docs.update({f"{section.name}.{name}": text for name, text in sentences[cls_name].items()})
    return docs


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
