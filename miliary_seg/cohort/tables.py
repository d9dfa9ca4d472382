"""One table and one page over everything that is finished in an output folder, made anew from the completion marks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from miliary_seg.cohort.run.manifest import RESULT, SETTINGS, Manifest, marked_folders
from miliary_seg.cohort.run.unanswered import Unanswered, unanswered
from miliary_seg.errors import OutputError
from miliary_seg.settings import Settings

EARLIER = " (the folder holds the result of an earlier input)"
"""Said of a case that was finished once and failed when it was done again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What the tables hold."""

    n_cases: int
    left_out: tuple[str, ...] = ()
    """Finished cases of other settings (R20): their folders stay, but they are in no table."""
    failed_again: tuple[str, ...] = ()
    """Cases whose last attempt failed: what their folders hold answers for an earlier input and is in no table."""
    damaged: tuple[str, ...] = ()
    """Cases with files missing or cut since they were finished: in no table."""
    same_scan: tuple[tuple[str, ...], ...] = ()
    """Cases of the same input (R15 counts a scan once): the first of each is in the tables, the others are not."""
    versions: tuple[str, ...] = ()
    """Versions that made the results; more than one is worth a warning."""


def write_tables(output: Path, settings: Settings | None = None) -> Collected:
    """Write ``cases.csv`` (and ``cases.parquet``), ``index.html`` and ``settings.toml`` over all finished cases.

    The files depend on nothing but the finished cases and how the last attempt at each ended, so that they come out
    equal whatever was interrupted before, and whoever made them. A case whose last attempt failed is on the page as
    failed, also where its folder still holds a result: that answers for an earlier input.

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
    from miliary_seg.report.atomic_folder import sweep_drafts
    from miliary_seg.report.file_names import CASES, CASES_PARQUET, INDEX
    from miliary_seg.report.volume_files import write_bytes

    sweep_drafts(output / name for name in (CASES, CASES_PARQUET, INDEX, SETTINGS))
    try:
        survey = survey_of(output)
    except OSError as error:
        what = f"cannot look for finished cases ({error.strerror or type(error).__name__})"
        raise OutputError(what, where=output, todo="check the folder") from error
    found = survey.finished
    settings = settings or _shared_settings(output, found)
    marks = [(folder, mark) for folder, mark in found if mark.origin.settings_digest == settings.digest]
    left_out = [mark.case for _, mark in found if mark.origin.settings_digest != settings.digest]
    if marks:
        write_cases_table([row for _, mark in marks for row in mark.rows], output)
        write_bytes(output / SETTINGS, _settings_text(settings).encode(), force=True)
    elif survey.failed_again or survey.damaged:
        write_cases_table([], output)  # an older table would still hold them
    if marks or survey.without_answer:
        write_bytes(output / INDEX, _index(output, marks, survey, settings.digest).encode(), force=True)
    return Collected(
        n_cases=len(marks),
        left_out=tuple(sorted(left_out)),
        failed_again=tuple(survey.failed_again),
        damaged=tuple(survey.damaged),
        same_scan=tuple(survey.same_scan),
        versions=tuple(sorted({mark.origin.software for _, mark in marks})),
    )


def _index(output: Path, marks: list[tuple[Path, Manifest]], survey: Survey, digest: str) -> str:
    """The page over finished and failed cases."""
    from miliary_seg.cohort.pages.cases import MAX_PICTURES, PageCase, cases_page, deciding_row, in_order
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
    for case, cause in survey.without_answer.items():
        earlier = EARLIER if case in survey.failed_again else ""
        cases.append(PageCase(case=case, status="failed", row={}, cause=cause + earlier))
    first = (case for case in in_order(cases)[:MAX_PICTURES] if case.thumbnail)
    pictures = {case.case: (output / case.thumbnail).read_bytes() for case in first}
    return cases_page(
        cases,
        pictures,
        digest=digest,
        versions=sorted({mark.origin.software.split()[-1] for _, mark in marks}),
        n_unreadable=len(survey.failures.unreadable),
    )


@dataclass(slots=True)
class Survey:
    """What lies in an output folder, and what may be used of it."""

    failures: Unanswered
    finished: list[tuple[Path, Manifest]] = field(default_factory=list)
    failed_again: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    same_scan: list[tuple[str, ...]] = field(default_factory=list)
    """Finished cases of one input; the first of each is among ``finished``."""

    @property
    def without_answer(self) -> dict[str, str]:
        """Scans that count as not analysed: name -> cause."""
        lost = dict.fromkeys(self.damaged, "files of its result were lost since it was finished")
        finished = {mark.case for _, mark in self.finished}
        return {case: cause for case, cause in (lost | self.failures.causes).items() if case not in finished}


def survey_of(output: Path) -> Survey:
    """What lies in an output folder: finished cases, each scan once, and what has no answer.

    Of several cases of one input the one with the shortest name counts, the first by name where there are several.
    """
    survey = Survey(unanswered(output))
    by_input: dict[tuple[str, str], list[tuple[Path, Manifest]]] = {}
    for folder, mark in marked_folders(output):
        if not mark.agrees_with(folder):
            survey.damaged.append(mark.case)
        elif mark.case in survey.failures.failed:
            survey.failed_again.append(mark.case)
        else:
            key = (mark.origin.input_digest or mark.case, mark.origin.settings_digest)
            by_input.setdefault(key, []).append((folder, mark))
    for alike in by_input.values():
        alike.sort(key=lambda found: (len(found[1].case), found[1].case))
        survey.finished.append(alike[0])
        if len(alike) > 1:
            survey.same_scan.append(tuple(mark.case for _, mark in alike))
    survey.finished.sort(key=lambda found: found[0])
    return survey


def finished_cases(output: Path) -> Iterator[tuple[Path, Manifest]]:
    """Folder and mark of every finished case below an output folder, one or two levels deep, in order of names.

    Left out: cases whose files do not agree with their mark, and cases whose last attempt failed.
    """
    yield from survey_of(output).finished


def _shared_settings(output: Path, found: list[tuple[Path, Manifest]]) -> Settings:
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
