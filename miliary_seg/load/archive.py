"""DICOM files within a .zip: read where they are, in memory; nothing is ever unpacked to disk.

A member is named by the path of its archive and its own name below it (``scan.zip/series/IM1``), so that it has a place
in the ledger and in messages like any file. The caps are checked against the directory of the archive before anything
is inflated; what a member inflates to beyond the size it states is cut off by zipfile and fails its checksum.
"""

from __future__ import annotations

import io
import os
import struct
import zipfile
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from miliary_seg.errors import MiliaryError, UnreadableFileError, UnsuitableImageError

MAX_MEMBERS = 100_000
"""Files of an archive: a head study has at most some thousands."""
MAX_DIRECTORY_BYTES = 16 << 20
"""Of the archive's directory, which zipfile reads at once: room for 100 000 names of 100 characters."""
MAX_TOTAL_BYTES = 16 << 30
"""All members together, unpacked: no study of a head comes near."""
MAX_RATIO = 50
"""Unpacked to packed size of the whole archive: scans pack to a third; zeros to a thousandth."""
RATIO_FROM_BYTES = 64 << 20
"""Smaller archives may have any ratio."""
START_BYTES = 32 << 20
"""As much of a member as a header may need (the cap of dicom_file)."""
_END, _END64 = b"PK\x05\x06", b"PK\x06\x06"
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def is_archive(path: Path, start: bytes) -> bool:
    """Whether a file is a zip archive, by its name and its first bytes."""
    return path.suffix.lower() == ".zip" and start[:2] == b"PK"


def members(path: Path) -> tuple[list[Path], list[tuple[Path, str]]]:
    """Paths of the files in an archive, and those that are not read, with the reason.

    Raises
    ------
    UnreadableFileError
        If it is damaged or encrypted.
    UnsuitableImageError
        If it goes beyond a cap.
    """
    found, skipped = [], []
    for info in _opened(path).infolist():
        if info.is_dir():
            continue
        place = path / "/".join(part for part in info.filename.split("/") if part not in ("", ".", ".."))
        reason = _reason(info)
        if reason:
            skipped.append((place, reason))
        else:
            found.append(place)
    return sorted(found), skipped


def _reason(info: zipfile.ZipInfo) -> str:
    """Why a member is not read; '' where it is."""
    name = PurePosixPath(info.filename)
    if name.is_absolute() or ".." in name.parts or "\\" in info.filename or ":" in name.parts[0]:
        return "a name that leads out of the archive"
    if "__MACOSX" in name.parts:
        return "a resource fork"
    if name.suffix.lower() in (".zip", ".tar", ".tgz", ".7z", ".rar"):
        return "an archive within an archive: unpack it first"
    if info.flag_bits & 1:
        return "encrypted"
    return "" if info.compress_type in _METHODS else "packed by a method that is not read (deflate is)"


def open_file(path: Path) -> BinaryIO:
    """A file, or the first 32 MB of a member of an archive."""
    try:
        return path.open("rb")
    except (NotADirectoryError, FileNotFoundError):
        archive = _archive_of(path)
        if archive is None:
            raise
        with _opened(archive).open(_info(archive, path)) as member:
            return io.BytesIO(member.read(START_BYTES))


def file_size(path: Path) -> int:
    """Bytes of a file, or of a member once unpacked."""
    try:
        return path.stat().st_size
    except (NotADirectoryError, FileNotFoundError):
        archive = _archive_of(path)
        if archive is None:
            raise
        return _info(archive, path).file_size


def file_bytes(path: Path) -> bytes:
    """The whole of a file or member; of a member with its checksum."""
    try:
        return path.read_bytes()
    except (NotADirectoryError, FileNotFoundError):
        archive = _archive_of(path)
        if archive is None:
            raise
        return _opened(archive).read(_info(archive, path))


def _archive_of(path: Path) -> Path | None:
    return next((parent for parent in path.parents if parent.suffix.lower() == ".zip" and parent.is_file()), None)


def _info(archive: Path, path: Path) -> zipfile.ZipInfo:
    try:
        return _opened(archive).getinfo(path.relative_to(archive).as_posix())
    except KeyError:
        # Names such as a//b or ./a are legal; the path has them tidied.
        wanted = path.relative_to(archive)
        return next(i for i in _opened(archive).infolist() if PurePosixPath(i.filename) == PurePosixPath(wanted))


def _opened(path: Path) -> zipfile.ZipFile:
    facts = path.stat()
    return _directory(path, facts.st_mtime_ns, facts.st_size, os.getpid())


@lru_cache(maxsize=8)
def _directory(path: Path, _changed: int, size: int, _process: int) -> zipfile.ZipFile:
    """The archive with its directory read; kept, by process: forked ones must not share a file position."""
    try:
        with path.open("rb") as file:
            _check_directory(file, path, size)
        archive = zipfile.ZipFile(path)
    except MiliaryError:
        raise
    except Exception as error:
        raise UnreadableFileError("a damaged zip archive", where=path, todo="copy it again") from error
    _check_members(archive.infolist(), path, size)
    return archive


def _check_directory(file: BinaryIO, path: Path, size: int) -> None:
    """Read the size of the directory from the end of the archive (PKWARE APPNOTE 4.3.14 to 4.3.16)."""
    file.seek(max(0, size - 65_557))  # the end record, a comment, and what zip64 puts before them
    tail = file.read()
    at = tail.rfind(_END)
    if at < 0 or len(tail) < at + 22:
        raise UnreadableFileError("a zip archive without its directory: truncated?", where=path, todo="copy it again")
    (directory,) = struct.unpack_from("<I", tail, at + 12)
    at64 = tail.rfind(_END64, 0, at)
    if at64 >= 0 and len(tail) >= at64 + 56:
        directory = max(directory if directory != 0xFFFFFFFF else 0, struct.unpack_from("<Q", tail, at64 + 40)[0])
    if directory > MAX_DIRECTORY_BYTES:
        raise _too_much(f"a zip archive with a directory of {directory >> 20} MB", path)


def _check_members(infos: list[zipfile.ZipInfo], path: Path, size: int) -> None:
    total = sum(info.file_size for info in infos)
    if len(infos) > MAX_MEMBERS:
        raise _too_much(f"a zip archive of {len(infos)} files", path)
    if total > MAX_TOTAL_BYTES or (total > RATIO_FROM_BYTES and total > MAX_RATIO * size):
        raise _too_much(f"a zip archive that grows from {size >> 10} kB to {total >> 20} MB", path)
    if len({info.filename for info in infos}) < len(infos):
        raise UnreadableFileError("a zip archive with two files of one name", where=path, todo="pack it again")


def _too_much(what: str, path: Path) -> UnsuitableImageError:
    return UnsuitableImageError(what, where=path, todo="unpack it and give the folder of one study")
