"""What is kept on disk reads like any array, and takes memory only while it is read."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import numpy as np
import pytest

from miliary_seg.domain.disk_backed import is_on_disk, release_pages, to_disk
from miliary_seg.domain.grid import Grid
from miliary_seg.domain.volume import LabelMap, Volume


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.uint8, bool])
@pytest.mark.parametrize("order", ["C", "F", "turned"])
def test_values_type_and_order_stay(dtype: type, order: str) -> None:
    array = np.random.default_rng(0).integers(0, 2, (120, 130, 140)).astype(dtype)
    array = array.transpose(2, 1, 0) if order == "turned" else np.array(array, order=order)  # type: ignore[call-overload]
    on_disk = to_disk(array)
    assert is_on_disk(on_disk)
    assert is_on_disk(on_disk[2:, ::2])
    assert not is_on_disk(array)
    assert to_disk(on_disk) is on_disk
    release_pages()
    np.testing.assert_array_equal(on_disk, array)
    assert (on_disk.dtype, on_disk.shape) == (array.dtype, array.shape)
    assert on_disk.flags.f_contiguous is array.flags.f_contiguous
    assert float(on_disk.sum()) == float(array.sum())
    with pytest.raises(ValueError, match="read-only"):
        on_disk[0, 0, 0] = 1


def test_small_arrays_and_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = np.zeros((4, 4, 4), np.float32), np.ones((99, 99, 99), np.float32)
    assert to_disk(small) is small

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("miliary_seg.domain.disk_backed.TemporaryFile", full)
    assert to_disk(large) is large


def test_a_volume_and_its_copies_stay_on_disk() -> None:
    from dataclasses import replace

    grid = Grid(shape=(90, 90, 90), affine=np.eye(4))
    volume = Volume(voxels=np.ones(grid.shape, np.float32), grid=grid).to_disk()
    labels = LabelMap(labels=np.ones(grid.shape, np.int32), grid=grid).to_disk()
    assert is_on_disk(replace(volume, id="other").voxels)
    assert is_on_disk(replace(labels, names={1: "one"}).labels)
    writable = np.ones(grid.shape, np.float32)
    assert Volume(voxels=writable, grid=grid).voxels is not writable, "what could change is copied"


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux")
def test_memory_is_free_until_it_is_read() -> None:
    page = resource.getpagesize()

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * page

    before = resident()
    held = [to_disk(np.ones((150, 150, 150), np.float32)) for _ in range(12)]
    kept = sum(array.nbytes for array in held)
    assert resident() - before < kept / 3
    assert all(array.sum() == array.size for array in held)
    release_pages()
    assert resident() - before < kept / 3
    assert sys.getsizeof(held) < kept
