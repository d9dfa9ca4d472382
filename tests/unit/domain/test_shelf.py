"""What is put aside reads like any array, and takes memory only while it is read."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import numpy as np
import pytest

from miliary_seg.domain.grid import Grid
from miliary_seg.domain.shelf import is_aside, put_aside, rest
from miliary_seg.domain.volume import LabelMap, Volume


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.uint8, bool])
@pytest.mark.parametrize("order", ["C", "F", "turned"])
def test_values_type_and_order_stay(dtype: type, order: str) -> None:
    array = np.random.default_rng(0).integers(0, 2, (120, 130, 140)).astype(dtype)
    array = array.transpose(2, 1, 0) if order == "turned" else np.array(array, order=order)  # type: ignore[call-overload]
    aside = put_aside(array)
    assert is_aside(aside)
    assert is_aside(aside[2:, ::2])
    assert not is_aside(array)
    assert put_aside(aside) is aside
    rest()
    np.testing.assert_array_equal(aside, array)
    assert (aside.dtype, aside.shape) == (array.dtype, array.shape)
    assert aside.flags.f_contiguous is array.flags.f_contiguous
    assert float(aside.sum()) == float(array.sum())
    with pytest.raises(ValueError, match="read-only"):
        aside[0, 0, 0] = 1


def test_small_arrays_and_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = np.zeros((4, 4, 4), np.float32), np.ones((99, 99, 99), np.float32)
    assert put_aside(small) is small

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("miliary_seg.domain.shelf.TemporaryFile", full)
    assert put_aside(large) is large


def test_a_volume_and_its_copies_stay_aside() -> None:
    from dataclasses import replace

    grid = Grid(shape=(90, 90, 90), affine=np.eye(4))
    volume = Volume(voxels=np.ones(grid.shape, np.float32), grid=grid).put_aside()
    labels = LabelMap(labels=np.ones(grid.shape, np.int32), grid=grid).put_aside()
    assert is_aside(replace(volume, id="other").voxels)
    assert is_aside(replace(labels, names={1: "one"}).labels)
    writable = np.ones(grid.shape, np.float32)
    assert Volume(voxels=writable, grid=grid).voxels is not writable, "what could change is copied"


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux")
def test_memory_is_free_until_it_is_read() -> None:
    page = resource.getpagesize()

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * page

    before = resident()
    held = [put_aside(np.ones((150, 150, 150), np.float32)) for _ in range(12)]
    kept = sum(array.nbytes for array in held)
    assert resident() - before < kept / 3
    assert all(array.sum() == array.size for array in held)
    rest()
    assert resident() - before < kept / 3
    assert sys.getsizeof(held) < kept
