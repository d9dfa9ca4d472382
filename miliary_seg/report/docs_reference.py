"""The reference part of docs/results.md and the table of docs/settings.md, made from code (tests hold them equal)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from miliary_seg import settings
from miliary_seg.report import file_names
from miliary_seg.report import tables as columns
from miliary_seg.report.json_document import schema
from miliary_seg.report.tables import Column

TABLES: tuple[tuple[str, str, tuple[Column, ...]], ...] = (
    (file_names.LESIONS, "One row a lesion.", (*columns.LESIONS, *columns.UPTAKE, *columns.FLAIR)),
    (file_names.SLICES, "One row an acquired slice.", columns.SLICES),
    (
        file_names.CANDIDATES,
        "Lesions, and what was rejected at a probability of 0.01 or more; every candidate with `--all-candidates` "
        "(`series[].candidates_from_probability` in result.json says which). After these columns comes one column "
        "`feature_<name>` for each feature of the detector; docs/detection.md names their units.",
        columns.CANDIDATES,
    ),
    (file_names.CASES, "One row a series over all cases of an output folder.", columns.CASES),
)


def renew(docs: Path) -> None:
    """Write both pages of a folder of documentation anew: their own words stay."""
    page = docs / "results.md"
    words = page.read_text("utf-8").partition(f"### {file_names.LESIONS}\n")[0]
    page.write_text(words + reference(), "utf-8")
    page = docs / "settings.md"
    text = re.sub(
        r"(\|---\|---\|---\|\n)(?:\|.*\n)+", lambda found: f"{found[1]}{settings_rows()}\n", page.read_text("utf-8")
    )
    page.write_text(text, "utf-8")


def settings_rows() -> str:
    """Markdown: one row a setting with its default and its sentence."""
    sections = settings.schema()["$defs"]
    texts = {
        f"{name}.{setting}": about["description"]
        for name in settings.Settings().as_dict()
        for setting, about in sections[f"{name.title()}Settings"]["properties"].items()
    }
    return "\n".join(f"| `{key}` | `{value!r}` | {texts[key]} |" for key, value in settings.Settings().flat().items())


def reference() -> str:
    """Markdown: every column of every table and every key of ``result.json``, each with its unit."""
    parts = [f"### {name}\n\n{text}\n\n{_columns(table)}" for name, text, table in TABLES]
    parts.append("### result.json\n\n" + _keys())
    return "\n\n".join(parts) + "\n"


def _columns(table: Sequence[Column]) -> str:
    rows = [f"| `{c.name}` | {c.unit} | {c.text} |" for c in table]
    return "\n".join(["| column | unit | meaning |", "|---|---|---|", *rows])


def _keys() -> str:
    tree = schema()
    rows = [f"| `{path}` | {kind} | {unit} | {text} |" for path, kind, unit, text in _walk(tree, "", tree["$defs"])]
    return "\n".join(["| key | type | unit | meaning |", "|---|---|---|---|", *rows])


def _walk(node: dict[str, Any], path: str, parts: dict[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    for name, child in node.get("properties", {}).items():
        place = f"{path}.{name}" if path else name
        whole = _resolved(child, parts)
        yield place, _kind(whole), whole.get("x-unit", ""), whole.get("description", "")
        if "reasons" in place.split(".")[-1] or name in {"caveats", "doubts"}:
            continue  # lists of {code, text}: described once on the page
        items = _resolved(whole.get("items") or {}, parts)
        yield from _walk(items, f"{place}[]", parts)
        yield from _walk(whole, place, parts)


def _resolved(node: dict[str, Any], parts: dict[str, Any]) -> dict[str, Any]:
    """A node with what it refers to, or with the one kind that it may have besides null; its own words go first."""
    own = {name: value for name, value in node.items() if name not in ("$ref", "anyOf")}
    if "$ref" in node:
        return {**_resolved(parts[node["$ref"].rsplit("/", 1)[1]], parts), **own}
    kinds = [kind for kind in node.get("anyOf", []) if kind != {"type": "null"}]
    return {**_resolved(kinds[0], parts), **own, "or_null": True} if kinds else own


def _kind(node: dict[str, Any]) -> str:
    values = ["null" if value is None else f"`{value}`" for value in node.get("enum", [])]
    kind = " / ".join(values) or str(node.get("type", ""))
    return f"{kind} or null" if node.get("or_null") else kind
