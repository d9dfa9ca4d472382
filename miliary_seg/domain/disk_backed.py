"""Large arrays of a series that is done, kept on disk: one series of a study in memory at a time.

A scan of 256 x 256 x 192 voxels takes a quarter of a gigabyte with its masks, labels and distances, and a study may
hold ten. What is on disk lies in a temporary file without a name, mapped read-only: it reads like any array, takes
memory only while it is read, and is gone with the process.
"""

from __future__ import annotations

import mmap
from tempfile import TemporaryFile
from typing import Any
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

LEAST_BYTES = 1 << 20
"""Smaller arrays stay in memory: a thousand of them would be needed to matter."""
_mappings: WeakSet[mmap.mmap] = WeakSet()


def to_disk(array: NDArray[Any]) -> NDArray[Any]:
    """The same values, type and order in memory, read-only and on disk.

    The array itself where it is small, lies there already, or the disk has no room.
    """
    if array.nbytes < LEAST_BYTES or is_on_disk(array):
        return array
    order: Any = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
    try:
        with TemporaryFile() as file:
            array.ravel(order).tofile(file)
            file.flush()
            mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError:
        return array
    _mappings.add(mapping)
    return np.frombuffer(mapping, array.dtype).reshape(array.shape, order=order)


def is_on_disk(array: NDArray[Any]) -> bool:
    """Whether an array, or what it is a view of, lies on disk."""
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    return isinstance(base.obj if isinstance(base, memoryview) else base, mmap.mmap)


def release_pages() -> None:
    """Free the memory into which arrays on disk were read; they are read again when they are next used."""
    for mapping in list(_mappings):
        if hasattr(mmap, "MADV_DONTNEED"):  # elsewhere the system frees it when memory runs short
            mapping.madvise(mmap.MADV_DONTNEED)
