"""Text from files and users, made inert before it is written anywhere."""

from __future__ import annotations

import csv
import io
import math
import re
import unicodedata
from collections.abc import Iterable, Sequence

from miliary_seg.domain.names import clean_name, digest_of_name, shortened

MAX_TEXT = 2000
"""Longer text is cut: nothing that the program writes on purpose comes near it."""

_FORMULA = tuple("=+-@\t\r\n\0")
_UID = re.compile(r"[0-2](\.\d+){5,}")


def sanitise(text: object) -> str:
    r"""One line of visible text: no control, format (bidirectional), surrogate or private characters.

    Examples
    --------
    >>> sanitise("a\x1b[31m\nb")
    'a [31m b'
    """
    text = str(text)[:MAX_TEXT]
    if text.isprintable():  # nothing of category C, and no space but the plain one
        return " ".join(text.split())
    visible = (" " if unicodedata.category(c)[0] == "C" else c for c in text)
    return " ".join("".join(visible).split())


def lesions(n: int) -> str:
    """A count of lesions in words.

    Examples
    --------
    >>> lesions(1), lesions(0)
    ('1 lesion', '0 lesions')
    """
    return f"{n} lesion" if n == 1 else f"{n} lesions"


def safe_name(text: str) -> str:
    """Name of a file or folder: letters and digits of any script, dot, dash and underscore; never hidden or empty.

    A name that had to be changed gets a short digest of the original, so that two names never fall together.

    Examples
    --------
    >>> safe_name("sub-01"), safe_name("../etc"), safe_name("日本")
    ('sub-01', 'etc-f7f9121f', '日本')
    """
    name = clean_name(text, "_").strip("._-")
    if name == text and name and shortened(name) == name:
        return name
    return f"{shortened(name)[:40] or 'case'}-{digest_of_name(text)}"


def without_uids(value: object) -> object:
    """Copy of a nested mapping of settings in which every text that is a UID is left out."""
    if isinstance(value, dict):
        return {key: without_uids(item) for key, item in value.items()}
    return "(UID left out)" if isinstance(value, str) and _UID.match(value) else value


def csv_cell(value: object) -> str:
    """A cell that no spreadsheet takes for a formula (OWASP ASVS 1.2.10); numbers stay numbers.

    Examples
    --------
    >>> csv_cell("=1+1"), csv_cell(-2.5), csv_cell(None), csv_cell(True)
    ("'=1+1", '-2.5', '', 'true')
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return f"{value:.10g}" if math.isfinite(value) else ""
    raw, text = str(value), sanitise(value)
    return f"'{text}" if raw.startswith(_FORMULA) or text.startswith(_FORMULA) else text


_NOT_FINITE = {"nan", "inf", "-inf"}


def csv_column(values: Sequence[object]) -> list[str]:
    """``csv_cell`` of every value: numbers are formatted in one go, a text that comes again is made inert once.

    Examples
    --------
    >>> csv_column([0.1, -2.5]), csv_column([1.5, None])
    (['0.1', '-2.5'], ['1.5', ''])
    """
    kinds = set(map(type, values)) - {type(None)}
    if kinds == {float}:
        text = ("%.10g\n" * len(values)) % tuple(math.nan if value is None else value for value in values)
        return ["" if cell in _NOT_FINITE else cell for cell in text.split()] if "n" in text else text.split()
    if len(kinds) == 1 and kinds <= {str, int, bool}:  # of one kind: True and 1 would be one key
        cell = {value: csv_cell(value) for value in set(values)}
        return [cell[value] for value in values]
    return [csv_cell(value) for value in values]


def csv_table(header: Sequence[str], columns: Sequence[list[str]]) -> str:
    r"""A CSV file as ``csv_text`` writes it, from columns of what ``csv_cell`` made; quicker for many cells.

    Examples
    --------
    >>> csv_table(["a", "b"], [["1", "2"], ["x,y", "z"]])
    'a,b\r\n1,"x,y"\r\n2,z\r\n'
    """
    quoted = [[_quoted(cell) for cell in column] if any(map(_NEEDS_QUOTES, column)) else column for column in columns]
    first = ",".join(_quoted(csv_cell(name)) for name in header)
    return "\r\n".join((first, *map(",".join, zip(*quoted, strict=True)), ""))


_NEEDS_QUOTES = re.compile(r'[",]').search


def _quoted(cell: str) -> str:
    doubled = cell.replace('"', '""')
    return f'"{doubled}"' if _NEEDS_QUOTES(cell) else cell


def csv_text(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A CSV file as text (RFC 4180): the header is made inert here, the rows hold what ``csv_cell`` made."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow([csv_cell(name) for name in header])
    writer.writerows(rows)
    return buffer.getvalue()
