"""One table and one page over everything that is finished in an output folder, made anew from the completion marks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from miliary_seg.cohort.mark import Mark, read_mark
from miliary_seg.cohort.records import LEDGER, LOGS, read_ledger
from miliary_seg.cohort.resume import RESULT, SETTINGS
from miliary_seg.errors import OutputError
from miliary_seg.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What the tables hold."""

    n_cases: int
    left_out: tuple[str, ...] = ()
    """Finished cases of other settings (R20): their folders stay, but they are in no table."""
    versions: tuple[str, ...] = ()
    """Versions that made the results; more than one is worth a warning."""


def write_tables(output: Path, settings: Settings | None = None) -> Collected:
    """Write ``cases.csv`` (and ``cases.parquet``), ``index.html`` and ``settings.toml`` over all finished cases.

    The files depend on nothing but the finished cases, so that they come out equal whatever was interrupted before,
    and whoever made them.

    Parameters
    ----------
    output
        Output folder of one or more runs.
    settings
        Cases of other settings than these are left out and named. Default: the settings that all cases share.

    Raises
    ------
    OutputError
        If they cannot be written, or the cases were made with several settings and none are given.
    """
    from miliary_seg.report import write_cases_table
    from miliary_seg.report.file_names import INDEX
    from miliary_seg.report.volume_files import write_bytes

    try:
        found = list(finished_cases(output))
    except OSError as error:
        what = f"cannot look for finished cases ({error.strerror or type(error).__name__})"
        raise OutputError(what, where=output, todo="check the folder") from error
    settings = settings or _shared_settings(output, found)
    marks = [(folder, mark) for folder, mark in found if mark.origin.settings_digest == settings.digest]
    left_out = [mark.case for _, mark in found if mark.origin.settings_digest != settings.digest]
    if marks:
        write_cases_table([row for _, mark in marks for row in mark.rows], output)
        write_bytes(output / SETTINGS, _settings_text(settings).encode(), force=True)
    versions = tuple(sorted({mark.origin.software for _, mark in marks}))
    failures = _failures(output)
    if marks or failures.causes:
        write_bytes(output / INDEX, _index(output, marks, failures, settings.digest).encode(), force=True)
    return Collected(n_cases=len(marks), left_out=tuple(sorted(left_out)), versions=versions)


def _index(output: Path, marks: list[tuple[Path, Mark]], failures: _Failures, digest: str) -> str:
    """The page over finished and failed cases."""
    from miliary_seg.report.cases_page import MAX_PICTURES, PageCase, cases_page, deciding_row, in_order
    from miliary_seg.report.file_names import REPORT, THUMBNAIL

    cases = []
    for folder, mark in marks:
        below = folder.relative_to(output).as_posix()
        paths = {name: f"{below}/{name}" if name in mark.files else "" for name in (REPORT, THUMBNAIL)}
        cases.append(
            PageCase(
                case=mark.case,
                status=mark.verdict,
                row=deciding_row(mark.rows),
                n_series=len(mark.rows),
                report=paths[REPORT],
                thumbnail=paths[THUMBNAIL],
            )
        )
    finished = {case.case for case in cases}
    cases += [
        PageCase(case=c, status="failed", row={}, cause=w) for c, w in failures.causes.items() if c not in finished
    ]
    first = (case for case in in_order(cases)[:MAX_PICTURES] if case.thumbnail)
    pictures = {case.case: (output / case.thumbnail).read_bytes() for case in first}
    return cases_page(
        cases,
        pictures,
        digest=digest,
        versions=sorted({mark.origin.software.split()[-1] for _, mark in marks}),
        n_unreadable=failures.n_unreadable,
    )


@dataclass(slots=True)
class _Failures:
    """What the ledger of an output folder says of cases that did not finish."""

    causes: dict[str, str] = field(default_factory=dict)
    """By case, where its last event is a failure."""
    n_unreadable: int = 0
    """Inputs of the last run."""


def _failures(output: Path) -> _Failures:
    found = _Failures()
    for event in read_ledger(output):
        if event["event"] == "begin":
            found.n_unreadable = 0
        elif event["event"] == "unreadable":
            found.n_unreadable += 1
        elif event["event"] == "failed":
            found.causes[str(event.get("case"))] = str(event.get("cause"))
        elif event["event"] in {"done", "kept"}:
            found.causes.pop(str(event.get("case")), None)
    return found


def finished_cases(output: Path) -> Iterator[tuple[Path, Mark]]:
    """Folder and mark of every finished case below an output folder, one or two levels deep, in order of names."""
    for folder in _folders(output):
        mark = read_mark(folder)
        if mark is not None:
            yield folder, mark
            continue
        for inner in _folders(folder):
            mark = read_mark(inner)
            if mark is not None:
                yield inner, mark


def _folders(parent: Path) -> list[Path]:
    return sorted(p for p in parent.iterdir() if p.is_dir() and p.name[0] != "." and p.name not in {LEDGER, LOGS})


def _shared_settings(output: Path, found: list[tuple[Path, Mark]]) -> Settings:
    """The settings of all finished cases, as the result of one of them states them."""
    if len({mark.origin.settings_digest for _, mark in found}) > 1:
        what = "the finished cases were made with several settings, which one table must not mix"
        raise OutputError(what, where=output, todo="keep them in folders of their own")
    if not found:
        return Settings()
    tree = json.loads((found[0][0] / RESULT).read_text("utf-8"))["settings"]
    method = {name: tree[name] for name in Settings().method if name in tree}
    flat = {f"{name}.{key}": value for name, section in method.items() for key, value in section.items()}
    return Settings().updated(flat)


def _settings_text(settings: Settings) -> str:
    head = f"# The settings that all results in this folder share. Digest: {settings.digest}\n\n"
    return head + settings.to_toml(method_only=True)
