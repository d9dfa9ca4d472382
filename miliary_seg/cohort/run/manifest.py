"""The completion mark of a case: a case is finished when its folder holds one that agrees with its files.

The mark is written last into the draft of the folder and gets its final name with it, in one rename. It says from
which input, settings and version the files came, and how large they are, so that a later run can tell what to skip.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from miliary_seg.errors import OutputError, SettingsError
from miliary_seg.settings import Settings, digest_of

if TYPE_CHECKING:
    from miliary_seg.cohort.run.plan import RunPlan
    from miliary_seg.load import CaseInfo, SeriesInfo

SETTINGS = "settings.toml"
"""Names the settings of an output folder: all its results share them (R20)."""
RESULT = "result.json"
LEDGER, LOGS = "ledger", "logs"


def require_same_settings(output: Path, settings: Settings, *, force: bool) -> None:
    """Refuse to mix two cohorts in one output folder (R20), before anything is read or analysed.

    Raises
    ------
    OutputError
        If the folder's results were made with other settings and ``force`` is not set.
    """
    path = output / SETTINGS
    if force or not path.is_file():
        return
    try:
        there = Settings.from_toml(path)
    except SettingsError as error:
        what = "the settings of the results here cannot be read (another version?)"
        raise OutputError(what, where=path, todo="choose another --output, or --force to replace them") from error
    if there.digest != settings.digest:
        old, new = there.flat(), settings.flat()
        differing = [key for key in new if key.split(".")[0] in settings.method and old[key] != new[key]]
        what = f"the results here were made with other settings ({', '.join(differing[:5])})"
        raise OutputError(what, where=output, todo="choose another --output, or --force to replace them")


def finished(folder: Path, origin: Origin, plan: RunPlan) -> Manifest | None:
    """The mark of a case that is finished; None where it must be done (again).

    ======================================================  ==================================
    what is there                                           what is done
    ======================================================  ==================================
    nothing, or an empty folder                             done
    finished, of the same input, settings and versions      kept
    finished, of the same place: input changed, other       done again; the old files stay
    choices, or versions (libraries too)                    until the new ones are complete
    finished, of another input under the same name          refused, replaced by ``force``
    finished, with other settings                           refused, replaced by ``force``
    a result without a mark that agrees with its files      refused, replaced by ``force``
    anything that is no result of ours                      refused, also with ``force``
    ======================================================  ==================================

    Raises
    ------
    OutputError
        Where it is refused.
    """
    if not (folder.exists() or folder.is_symlink()) or _is_empty(folder):
        return None
    if folder.is_symlink() or not any((folder / name).is_file() for name in (RESULT, NAME)):
        what = "this is not a result of miliary-seg, so it is not replaced"
        raise OutputError(what, where=folder, todo="choose another --output or --case")
    if plan.force:
        return None
    mark = read_manifest(folder)
    if mark is None or not mark.agrees_with(folder):
        what = "a result is here that is not marked as complete (made by a notebook, another version, or cut short)"
        raise OutputError(what, where=folder, todo="add --force to replace it")
    if mark.origin.settings_digest != origin.settings_digest:
        what = "a result of other settings is here"
        raise OutputError(what, where=folder, todo="choose another --output, or --force to replace it")
    if is_another_scan(mark.origin, origin):
        what = "the result of another scan of the same name is here"
        raise OutputError(what, where=folder, todo="choose another --output or --case, or --force to replace it")
    there = mark.origin
    asked = replace(origin, settings_digest=there.settings_digest, place=there.place, study=there.study)
    return mark if mark.origin == asked else None


def is_another_scan(there: Origin, origin: Origin) -> bool:
    """Whether a result came from another scan, and not from an earlier state of the same one."""
    if there.input_digest == origin.input_digest:
        return False
    other_study = bool(there.study and origin.study) and there.study != origin.study
    return other_study or (there.place != origin.place and not (there.study and there.study == origin.study))


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())


NAME = "complete.json"
_NOT_SAID = ("paths", "source", "why", "error", "before_contrast")
"""Fields of a found series that hold places and sentences rather than facts."""
FORMAT = 1
"""Marks of another format are not understood: their case counts as unfinished."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a result came from. Equal origins give byte-equal files."""

    settings_digest: str
    """Of the settings that must be equal throughout a cohort."""
    choices_digest: str
    """Of the other settings (``load``, ``report``), and of the given mask and lesions."""
    input_digest: str
    """Of the content of every file of the case that is used, and of what its headers said."""
    software: str
    """``miliary-seg`` and its version."""
    versions_digest: str = ""
    """Of the versions of everything that results depend on (numpy, SimpleITK ...): a new one may change a last bit."""
    place: str
    """Eight hexadecimal digits for the path that the user named: tells a changed scan from another of the same name."""
    study: str = ""
    """As many for the StudyInstanceUID of DICOM, empty otherwise (and in marks of earlier versions)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
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


def read_manifest(folder: Path) -> Manifest | None:
    """The mark of a folder; None where there is none that can be understood."""
    try:
        document = json.loads((folder / NAME).read_text("utf-8"))
        if document.pop("format") != FORMAT:
            return None
        document["origin"] = Origin(**document["origin"])
        document["rows"] = tuple(document["rows"])
        mark = Manifest(**document)
        valid = all(isinstance(facts["bytes"], int) and facts["sha256"] for facts in mark.files.values())
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return mark if valid else None


def marked_folders(output: Path) -> Iterator[tuple[Path, Manifest]]:
    """Folder and mark of every case below an output folder, one or two levels deep, in order of names."""
    for folder in _folders(output):
        mark = read_manifest(folder)
        if mark is not None:
            yield folder, mark
            continue
        for inner in _folders(folder):
            mark = read_manifest(inner)
            if mark is not None:
                yield inner, mark


def _folders(parent: Path) -> list[Path]:
    return sorted(p for p in parent.iterdir() if p.is_dir() and p.name[0] != "." and p.name not in {LEDGER, LOGS})


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


def origin_of(case: CaseInfo, plan: RunPlan, software: Mapping[str, str]) -> Origin:
    """Digests of a case's input and of the plan. Reads every file that would be used.

    Raises
    ------
    OSError
        If a file cannot be read.
    """
    given = [_file_digest(plan.mask) if plan.mask is not None else ""]
    if plan.lesions:
        from miliary_seg.load.lesions import resolve

        given += [f"{series} {content_digest(path)}" for series, path in sorted(resolve(plan.lesions, case).items())]
    return Origin(
        settings_digest=plan.settings.digest,
        choices_digest=digest_of([plan.settings.choices, *given]),
        input_digest=_input_digest(case),
        software=f"{software['name']} {software['version']}",
        versions_digest=digest_of(sorted([name, version] for name, version in software.items())),
        place=place_of(case.known_by),
        study=study_of(case),
    )


def content_digest(path: Path) -> str:
    """Of a file, or of every file directly in a folder."""
    if path.is_dir():
        return digest_of([_file_digest(file) for file in sorted(path.iterdir()) if file.is_file()])
    return _file_digest(path)


def place_of(path: Path | str) -> str:
    """Eight hexadecimal digits for a path: enough to compare, too few to guess the path from."""
    return hashlib.sha256(str(path).encode("utf-8", "surrogateescape")).hexdigest()[:8]


def study_of(case: CaseInfo) -> str:
    """Eight hexadecimal digits for the StudyInstanceUID of a case; empty where it states none."""
    return place_of(case.study_instance_uid) if case.study_instance_uid else ""


def _input_digest(case: CaseInfo) -> str:
    facts = [
        _series_facts(series) for series in case.series if series.eligible or series.error or series.before_contrast
    ]
    return digest_of(facts) if facts else ""


def _series_facts(series: SeriesInfo) -> list[str]:
    """What the analysis depends on: what the headers and names said, and the bytes of every file."""
    said = {f.name: repr(getattr(series, f.name)) for f in fields(series) if f.name not in _NOT_SAID}
    error = "" if series.error is None else f"{series.error.code} {series.error.what}"
    read = series.eligible or series.before_contrast
    contents = [f"{path.name} {_file_digest(path)}" for path in sorted(series.paths)] if read else []
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
