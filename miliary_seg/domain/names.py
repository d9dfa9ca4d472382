"""Names that are safe as files and folders on every file system, in the letters of any script."""

from __future__ import annotations

import hashlib
import unicodedata

LONGEST = 64
"""Characters of a name."""
LONGEST_BYTES = 150
"""Bytes of a name in UTF-8: file systems allow 255, and hidden folders and logs add up to 70 to it."""


def clean_name(words: str, filler: str = "-") -> str:
    """Letters and digits of any script, dot, dash and underscore; a run of anything else becomes the filler.

    Letters are composed (NFC), so that a name is the same whichever system wrote it. May be empty; never hidden.

    Examples
    --------
    >>> clean_name("../Scan (2).nii"), clean_name("日本/T1c"), clean_name("???")
    ('Scan-2-.nii', '日本-T1c', '')
    """
    pieces = "".join(c if _is_kept(c) else "\0" for c in unicodedata.normalize("NFC", words)).split("\0")
    return filler.join(piece for number, piece in enumerate(pieces) if piece or number == len(pieces) - 1).strip(".-")


def shortened(name: str) -> str:
    """A long name with its beginning and its end, and a digest of the whole between them.

    Examples
    --------
    >>> shortened("short"), shortened("a" * 60 + "b" * 60)
    ('short', 'aaaaaaaaaaaaaaaaaaaaaaaaaaa-0c5e28e8-bbbbbbbbbbbbbbbbbbbbbbbbbbb')
    """
    short, half = name, (LONGEST - 10) // 2
    while len(short) > LONGEST or len(short.encode()) > LONGEST_BYTES:
        short = f"{name[:half]}-{digest_of_name(name)}-{name[-half:]}"
        half -= 1
    return short


def digest_of_name(text: str) -> str:
    """Eight hexadecimal digits that tell a text from others."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def _is_kept(character: str) -> bool:
    return character.isalnum() or character in "._-" or unicodedata.category(character)[0] == "M"
