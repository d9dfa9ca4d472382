"""The completion mark of a case: a case is finished when its folder holds one that agrees with its files.

The mark is written last into the draft of the folder and gets its final name with it, in one rename. It says from
which input, settings and version the files came, and how large they are, so that a later run can tell what to skip.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from miliary_seg.settings import digest_of

if TYPE_CHECKING:
    from miliary_seg.cohort.plan import RunPlan
    from miliary_seg.load import FoundCase, FoundSeries

NAME = "complete.json"
_NOT_SAID = ("paths", "source", "why", "error")
"""Fields of a found series that hold places and sentences rather than facts."""
FORMAT = 1
"""Marks of another format are not understood: their case counts as unfinished."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a result came from. Equal origins give byte-equal files."""

    settings_digest: str
    """Of the settings that must be equal throughout a cohort."""
    choices_digest: str
    """Of the other settings (``load``, ``report``) and the given mask."""
    input_digest: str
    """Of the content of every file of the case that is used, and of what its headers said."""
    software: str
    """``miliary-seg`` and its version."""
    versions_digest: str = ""
    """Of the versions of everything that results depend on (numpy, SimpleITK ...): a new one may change a last bit."""
    place: str
    """Eight hexadecimal digits for the path that the user named: tells a changed scan from another of the same name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What ``complete.json`` says."""

    case: str
    verdict: str
    origin: Origin
    rows: tuple[dict[str, Any], ...]
    """Rows of cases.csv."""
    files: dict[str, dict[str, Any]]
    """Path below the folder -> ``bytes`` and ``sha256``."""
    missing: str = ""
    """Files that could not be made, and why; the same input would lack them again."""

    def write(self, folder: Path) -> None:
        """Write the mark into a folder."""
        document = {"format": FORMAT, **asdict(self)}
        (folder / NAME).write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", "utf-8", newline="\n")

    def agrees_with(self, folder: Path) -> bool:
        """Whether every file is there with its size (contents are not read: see ``verify``)."""
        return all(_size(folder / name) == facts["bytes"] for name, facts in self.files.items())

    def verify(self, folder: Path) -> list[str]:
        """Names of the files that are missing or whose content is not what was written."""
        wrong = []
        for name, facts in self.files.items():
            path = folder / name
            if _size(path) != facts["bytes"] or _file_digest(path) != facts["sha256"]:
                wrong.append(name)
        return wrong


def read_mark(folder: Path) -> Mark | None:
    """The mark of a folder; None where there is none that can be understood."""
    try:
        document = json.loads((folder / NAME).read_text("utf-8"))
        if document.pop("format") != FORMAT:
            return None
        document["origin"] = Origin(**document["origin"])
        document["rows"] = tuple(document["rows"])
        mark = Mark(**document)
        valid = all(isinstance(facts["bytes"], int) and facts["sha256"] for facts in mark.files.values())
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return mark if valid else None


def files_of(folder: Path) -> dict[str, dict[str, Any]]:
    """Size and digest of every file below a folder, for its mark."""
    return {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": _file_digest(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def plain_rows(rows: tuple[Mapping[str, Any], ...]) -> tuple[dict[str, Any], ...]:
    """Rows without numbers that JSON does not know."""
    return tuple({name: _finite(value) for name, value in row.items()} for row in rows)


def origin_of(case: FoundCase, plan: RunPlan, software: Mapping[str, str]) -> Origin:
    """Digests of a case's input and of the plan. Reads every file that would be used.

    Raises
    ------
    OSError
        If a file cannot be read.
    """
    mask = _file_digest(plan.mask) if plan.mask is not None else ""
    return Origin(
        settings_digest=plan.settings.digest,
        choices_digest=digest_of([plan.settings.choices, mask]),
        input_digest=_input_digest(case),
        software=f"{software['name']} {software['version']}",
        versions_digest=digest_of(sorted([name, version] for name, version in software.items())),
        place=place_of(case.path.absolute()),
    )


def place_of(path: Path | str) -> str:
    """Eight hexadecimal digits for a path: enough to compare, too few to guess the path from."""
    return hashlib.sha256(str(path).encode("utf-8", "surrogateescape")).hexdigest()[:8]


def _input_digest(case: FoundCase) -> str:
    return digest_of([_series_facts(series) for series in case.series if series.eligible or series.error])


def _series_facts(series: FoundSeries) -> list[str]:
    """What the analysis depends on: what the headers and names said, and the bytes of every file."""
    said = {f.name: repr(getattr(series, f.name)) for f in fields(series) if f.name not in _NOT_SAID}
    error = "" if series.error is None else f"{series.error.code} {series.error.what}"
    contents = [f"{path.name} {_file_digest(path)}" for path in sorted(series.paths)] if series.eligible else []
    return [repr(said), error, *contents]


def _file_digest(path: Path) -> str:
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    from miliary_seg.load.archive import file_bytes

    return hashlib.sha256(file_bytes(path)).hexdigest()  # a member of an archive


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else -1
    except OSError:
        return -1


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not isfinite(value) else value
