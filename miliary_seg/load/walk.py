"""Every regular file below a path, without following links out of it, and what kind of file each is."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from miliary_seg.errors import MiliaryError, NoImageError, UnreadableFileError
from miliary_seg.load.archive import is_archive, open_file
from miliary_seg.load.file_boundary import inflate
from miliary_seg.load.inventory import LedgerEntry
from miliary_seg.load.nifti.header import is_nifti

_NOT_ENTERED = {".git", ".datalad", "__MACOSX", "__pycache__"}
_SNIFFED_BYTES = 4096
NIFTI_SUFFIXES = (".nii", ".nii.gz", ".hdr", ".nii.bz2", ".mgh", ".mgz", ".mgh.gz", ".nrrd", ".nhdr")


def walk(root: Path, skipped: list[LedgerEntry]) -> Iterator[Path]:
    """Regular files below ``root`` in a fixed order; links that lead out of it are entered in ``skipped``.

    Raises
    ------
    NoImageError
        If ``root`` does not exist.
    UnreadableFileError
        If it may not be read.
    """
    if not root.exists():
        raise NoImageError("there is no such file or folder", where=root, todo="check the path")
    if root.is_file():
        yield root
        return
    inside = root.resolve()
    folders = [root]
    while folders:
        below = []
        for entry in _listing(folders.pop()):
            path = Path(entry.path)
            if entry.is_symlink():
                yield from _linked(path, inside, skipped)
            elif entry.is_file(follow_symlinks=False):
                yield path
            elif entry.is_dir(follow_symlinks=False) and entry.name not in _NOT_ENTERED:
                below.append(path)
        folders += reversed(below)


def _listing(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as listing:
            return sorted(listing, key=lambda entry: entry.name)
    except OSError as error:
        raise UnreadableFileError("the folder may not be read", where=folder, todo="check permissions") from error


def _linked(path: Path, inside: Path, skipped: list[LedgerEntry]) -> Iterator[Path]:
    """A link counts only where it leads to a file inside that is not read anyway (git-annex keeps scans so)."""
    target = path.resolve()
    if not target.exists() or _of_the_annex(target, inside):
        yield path  # what is not here is told, or noticed as a slice that was lost
    elif not target.is_relative_to(inside):
        skipped.append(LedgerEntry(path=path, status="skipped", reason="a link that leads out of the input"))
    elif target.is_file() and any(part in _NOT_ENTERED for part in target.relative_to(inside).parts):
        yield path
    else:
        skipped.append(LedgerEntry(path=path, status="skipped", reason="a link to what is read anyway"))


def _of_the_annex(target: Path, inside: Path) -> bool:
    """Whether a file lies in the git-annex of the repository that the input is a part of."""
    repository = next((parent.parent for parent in target.parents if parent.name == ".git"), None)
    annexed = repository is not None and target.is_relative_to(repository / ".git" / "annex" / "objects")
    return annexed and target.is_file() and repository is not None and inside.is_relative_to(repository)


UNFINISHED = (".part", ".partial", ".crdownload", ".download", ".filepart")


def left_out(path: Path) -> str:
    """Why a file is passed over by its name alone; '' where it is read."""
    if path.name.startswith("._"):
        return "a resource fork"
    if path.name.startswith("."):
        return "a hidden file"
    return "an unfinished download" if path.name.lower().endswith(UNFINISHED) else ""


def sniff(path: Path) -> tuple[str, str]:
    """Kind of a file by its first bytes: ``dicom``, ``nifti``, ``archive``, ``empty`` or ``other``, with its reason.

    A name that claims NIfTI is taken at its word, so that a damaged file is reported and not passed over.
    """
    try:
        with open_file(path) as file:
            start = file.read(_SNIFFED_BYTES)
        if start[:2] == b"\x1f\x8b":
            start = _start_of_gzip(start, path)
    except (OSError, MiliaryError, zipfile.BadZipFile, zlib.error, EOFError):
        gone = path.is_symlink() and not path.exists()
        return (
            "other",
            "a link to a file that is not here (git-annex: fetch it)" if gone else "the file may not be read",
        )
    return _kind(path, start)


def _kind(path: Path, start: bytes) -> tuple[str, str]:
    if is_archive(path, start):
        return "archive", ""
    named = path.name.lower().endswith(NIFTI_SUFFIXES)
    has_preamble = start[128:132] == b"DICM"
    if named or (is_nifti(start) and path.suffix.lower() != ".img" and not has_preamble):
        return "nifti", ""
    if not start:
        return "empty", "an empty file"
    if path.name.startswith("._"):
        return "other", "a resource fork"
    if _looks_like_dicom(start):
        return "dicom", ""
    return "other", "neither DICOM nor NIfTI"


def _looks_like_dicom(start: bytes) -> bool:
    """Whether the first 140 bytes of a file are those of a DICOM file, with or without the preamble."""
    if start[128:132] == b"DICM":
        return True
    if len(start) < 16 or start[:2] not in (b"\x08\x00", b"\x02\x00", b"\x00\x08"):
        return False
    if start[:2] == b"\x00\x08":
        return start[4:6].isalpha() and start[4:6].isupper()
    explicit = start[4:6].isalpha() and start[4:6].isupper()
    return start[3] == 0 and (explicit or int.from_bytes(start[4:8], "little") <= 1024)


def lost_header(path: Path) -> bool:
    """Whether a file is the image of a pair (Analyze, NIfTI) whose header is not beside it."""
    return path.name.lower().endswith((".img", ".img.gz")) and header_of_pair(path) == path


def header_of_pair(path: Path) -> Path:
    """The .hdr beside an .img that the user names; any other path as it is."""
    name = path.name.lower()
    for ending in (".img.gz", ".img"):
        if name.endswith(ending):
            base = path.name[: -len(ending)]
            pairs = (path.with_name(base + suffix) for suffix in (".hdr", ".HDR", ".hdr.gz"))
            return next((pair for pair in pairs if pair.is_file()), path)
    return path


def _start_of_gzip(start: bytes, path: Path) -> bytes:
    try:
        return inflate(start, 1024, path, gzip=True)
    except MiliaryError:
        return b""
