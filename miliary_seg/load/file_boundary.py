"""What one file may do: fail with an error that names it, and grow within bounds while it is unpacked."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from miliary_seg.errors import MiliaryError, UnreadableFileError

LARGE_BYTES, MAX_RATIO = 256 << 20, 200
"""Beyond 256 MB, pixels that would grow to more than 200 times their file are a bomb: scans pack to a third or a
tenth, blank ones to a thousandth."""


@contextmanager
def file_boundary(path: object, doing: str) -> Iterator[None]:
    """Turn whatever goes wrong with one file into an error that names it (decoders raise nine kinds and more)."""
    try:
        yield
    except (MiliaryError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        raise UnreadableFileError(
            f"cannot {doing} ({type(error).__name__})", where=path, todo="copy or export the file again"
        ) from error


def inflate(packed: bytes, cap: int, path: object, *, gzip: bool) -> bytes:
    """Inflate at most ``cap`` bytes of a raw deflate or gzip stream."""
    try:
        return zlib.decompressobj(31 if gzip else -15).decompress(packed, cap)
    except zlib.error as error:
        raise UnreadableFileError("the compressed stream is damaged", where=path, todo="copy it again") from error
