"""Tables of text that users give: comma-separated, or tab-separated as BIDS has them."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from miliary_seg.errors import UnreadableFileError

MAX_BYTES = 256 << 20
"""A million lesions with twenty columns; larger files are no tables of ours."""


def read_table(path: Path, delimiter: str = "") -> list[list[str]]:
    """Lines of a table in UTF-8, the header first; cells are as they stand in the file, but for the header's spaces.

    Parameters
    ----------
    path
        The file.
    delimiter
        What stands between cells; empty = a tab where the name ends in ``.tsv``, else a comma.

    Raises
    ------
    UnreadableFileError
        If it is missing, too large, not UTF-8, not a table, or empty.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UnreadableFileError("a table of this size is not one of ours", where=path, todo="check the path")
        text = path.read_bytes().decode("utf-8-sig")
        separator = delimiter or ("\t" if path.suffix == ".tsv" else ",")
        lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True))
    except UnicodeDecodeError as error:
        what = f"the table is not UTF-8 text (byte {error.start})"
        raise UnreadableFileError(what, where=path, todo="save it in UTF-8") from error
    except (OSError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UnreadableFileError(f"cannot read the table ({reason})", where=path, todo="give a table") from error
    if not lines:
        raise UnreadableFileError("the table is empty: it has no header", where=path, todo="give a table")
    return [[name.strip() for name in lines[0]], *lines[1:]]
