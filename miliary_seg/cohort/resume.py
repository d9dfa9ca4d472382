"""What is to be done with a case, given what lies in the output folder; decided before any work is spent on it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from miliary_seg.cohort.mark import NAME, Mark, Origin, read_mark
from miliary_seg.errors import OutputError, SettingsError
from miliary_seg.settings import Settings

if TYPE_CHECKING:
    from miliary_seg.cohort.plan import RunPlan

SETTINGS = "settings.toml"
"""Names the settings of an output folder: all its results share them (R20)."""
RESULT = "result.json"


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


def finished(folder: Path, origin: Origin, plan: RunPlan) -> Mark | None:
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
    mark = read_mark(folder)
    if mark is None or not mark.agrees_with(folder):
        what = "a result is here that is not marked as complete (made by a notebook, another version, or cut short)"
        raise OutputError(what, where=folder, todo="add --force to replace it")
    if mark.origin.settings_digest != origin.settings_digest:
        what = "a result of other settings is here"
        raise OutputError(what, where=folder, todo="choose another --output, or --force to replace it")
    if mark.origin.place != origin.place and mark.origin.input_digest != origin.input_digest:
        what = "the result of another scan of the same name is here"
        raise OutputError(what, where=folder, todo="choose another --output or --case, or --force to replace it")
    asked = replace(origin, settings_digest=mark.origin.settings_digest, place=mark.origin.place)
    return mark if mark.origin == asked else None


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())
