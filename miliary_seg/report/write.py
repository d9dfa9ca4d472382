"""Writes one case: everything in a folder of its own beside the target, then one rename."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from miliary_seg.domain.disk_backed import release_pages
from miliary_seg.domain.result import CaseResult, SeriesResult
from miliary_seg.domain.stored_location import pack
from miliary_seg.errors import OutputError, PartialOutputError
from miliary_seg.report import file_names
from miliary_seg.report.atomic_folder import make_folder, temp_name
from miliary_seg.report.correction_files import is_editable, itksnap_labels, write_slicer_segmentation
from miliary_seg.report.json_document import case_document, is_identified, validate
from miliary_seg.report.series_records import listed_from
from miliary_seg.report.tables import candidates_table, lesions_table, slices_table
from miliary_seg.report.volume_files import write_error, write_label_map

if TYPE_CHECKING:
    from miliary_seg.report.dicom.write import DicomFiles


def write_case(
    result: CaseResult,
    output: Path,
    force: bool = False,
    date: datetime | None = None,
    *,
    seal: Callable[[Path, str], None] | None = None,
) -> Path:
    """Write ``result.json``, ``report.html`` and the files of every series under ``output/<case>/``.

    Nothing half-written is ever under the final name: all files are made in a hidden folder beside it, checked,
    flushed to the disk, and renamed in one step. With ``force`` the old result stays until the new one is complete.

    Parameters
    ----------
    result
        One analysed case.
    output
        Folder for results; made where it is missing.
    force
        Replace an earlier result. Only a folder that holds a ``result.json`` is ever replaced.
    date
        Date and time for the DICOM objects; None = ``SOURCE_DATE_EPOCH``, else what docs/dicom-outputs.md says.
    seal
        Called with the hidden folder when all files are in it, before it gets its final name, and with what is
        missing of it and why (empty = nothing).

    Returns
    -------
    Path
        The case's folder.

    Raises
    ------
    OutputError
        If a result is there already (without ``force``), the folder is not a result, or anything cannot be written.
    PartialOutputError
        If a DICOM object cannot be made; everything else has been written.
    """
    target = output / file_names.case_folder(result.case)
    with install_folder(target, file_names.RESULT, force) as draft:
        errors = [error for found in _write_files(result, draft, date) for error in found.errors]
        listed = "; ".join(f"{error.where}: {error.what}" for error in errors)
        if seal is not None:
            seal(draft, listed)
    if errors:
        raise PartialOutputError(listed, where=target, todo=errors[0].todo)
    return target


@contextmanager
def install_folder(target: Path, marker: str, force: bool) -> Iterator[Path]:
    """Give a hidden folder to fill; when the block ends well, it is flushed and renamed to ``target`` in one step.

    Parameters
    ----------
    target
        Final name of the folder.
    marker
        File that says that a folder there is an earlier result, which ``force`` may replace; nothing else ever is.
    force
        Replace an earlier result.

    Raises
    ------
    OutputError
        If something is there already (without ``force``), is not a result, or anything cannot be written.
    """
    require_free(target, marker, force)
    with _draft_folder(target.parent, target.name) as draft:
        yield draft
        _flush(draft)
        require_free(target, marker, force)
        _install(draft, target)


def document_text(document: dict[str, Any]) -> str:
    """JSON text: ASCII only, no NaN, keys in the documented order."""
    return json.dumps(document, indent=1, allow_nan=False) + "\n"


def require_free(target: Path, marker: str, force: bool) -> None:
    """Refuse a folder that is there already, before any work is spent on it.

    Parameters
    ----------
    target, marker, force
        As for ``install_folder``.

    Raises
    ------
    OutputError
        If something is there (without ``force``), or it is not an earlier result.
    """
    if not (target.exists() or target.is_symlink()) or (target.is_dir() and not any(target.iterdir())):
        return
    if not force:
        raise OutputError("a result is here already", where=target, todo="add --force to replace it")
    if target.is_symlink() or not (target / marker).is_file():
        what = "this is not a result of miliary-seg, so it is not replaced"
        raise OutputError(what, where=target, todo="choose another --output or --case")


@contextmanager
def _draft_folder(output: Path, name: str) -> Iterator[Path]:
    """Hidden folder on the same file system; whatever is left of it is removed, with the parents it needed."""
    draft = output / temp_name(name, "draft")
    made = [folder for folder in (output, *output.parents) if not folder.exists()]
    try:
        make_folder(draft)
        yield draft
    except OSError as error:
        raise write_error("the result", output, error) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        for folder in made:
            with suppress(OSError):  # others use it
                folder.rmdir()


def _write_files(result: CaseResult, folder: Path, date: datetime | None) -> list[DicomFiles]:
    from miliary_seg.report.dicom.write import write_dicom
    from miliary_seg.report.html.page import report_html

    names, objects = file_names.series_folders(result), []
    for series in result.series:
        release_pages()
        _write_series(series, folder / names[series.id], result)
        objects.append(write_dicom(series, folder / names[series.id], result, date))
    document = case_document(result)
    for row, series, found in zip(document["series"], result.series, objects, strict=True):
        if is_editable(result):
            row["files"] |= file_names.editable_files(names[series.id])
        row["files"] |= {kind: f"{names[series.id]}/{name}" for kind, name in found.files.items()}
        row["caveats"] += [{"code": "dicom_not_written", "text": f"{error.what}."} for error in found.errors]
    validate(document)
    (folder / file_names.RESULT).write_text(document_text(document), "utf-8", newline="\n")
    (folder / file_names.REPORT).write_text(report_html(result, document), "utf-8", newline="\n")
    return objects


def _write_series(series: SeriesResult, folder: Path, result: CaseResult) -> None:
    folder.mkdir()
    known = series.volume.orientation_known
    write_label_map(series.detection.lesion_labels, folder / file_names.LESION_MAP, orientation_known=known)
    if series.location.registration.sides_usable:
        write_label_map(series.location.compartments, folder / file_names.COMPARTMENT_MAP)
    kept: dict[str, Any] = pack(series.location)
    np.savez_compressed(folder / file_names.LOCATION, **kept)
    if is_editable(result):
        (folder / file_names.LABEL_COLOURS).write_text(itksnap_labels(series), "ascii", newline="\n")
        write_slicer_segmentation(series, folder / file_names.SLICER_SEGMENTATION)
    tables = {
        file_names.LESIONS: lesions_table(series),
        file_names.SLICES: slices_table(series, identified=is_identified(result)),
        file_names.CANDIDATES: candidates_table(series, listed_from(result)),
    }
    for name, table in tables.items():
        (folder / name).write_text(table.csv(), "utf-8", newline="")


def _flush(folder: Path) -> None:
    """Hand every file to the disk before its name becomes final."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb+") as file:
                os.fsync(file.fileno())


def _install(draft: Path, target: Path) -> None:
    """Rename the draft to its final name; an old result is moved aside first and comes back if that fails."""
    if not target.exists():
        draft.rename(target)
        return
    old = target.with_name(temp_name(target.name, "old"))
    target.rename(old)
    if (old / file_names.CORRECTED).is_dir() and not (draft / file_names.CORRECTED).exists():
        shutil.copytree(old / file_names.CORRECTED, draft / file_names.CORRECTED)  # a reader's work is never lost
    try:
        draft.rename(target)
    except BaseException:
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)
