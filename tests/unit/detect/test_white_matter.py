"""The level of white matter, and how far a lesion stands out from it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from miliary_seg.detect import white_matter
from miliary_seg.domain.grid import Grid
from miliary_seg.domain.sequence import Modality, Sequence, SequenceEvidence
from miliary_seg.domain.volume import Volume

SHAPE = (80, 96, 80)


def head(sequence: Sequence, shading: float = 0.0) -> tuple[Volume, np.ndarray, np.ndarray]:
    """White inside, a rim of grey, a ventricle; the level of white matter at every voxel."""
    white, grey, fluid = white_matter.TYPICAL[sequence]
    i, j, k = (np.indices(SHAPE) + 0.5) * 2 - np.array(SHAPE).reshape(3, 1, 1, 1)
    radius = np.sqrt((i / 70) ** 2 + (j / 85) ** 2 + (k / 70) ** 2)
    brain = radius < 1
    voxels = np.select([radius < 0.2, radius < 0.92, brain], [fluid, white, grey], 0.0)
    field = 1 + shading * i / 70
    rng = np.random.default_rng(3)
    noisy = voxels * field + rng.normal(0, 0.02 * abs(white), SHAPE)
    modality = Modality.CT if sequence in (Sequence.CT, Sequence.CTC) else Modality.MR
    volume = Volume(
        id="head",
        voxels=noisy.astype(np.float32),
        grid=Grid(shape=SHAPE, affine=np.diag([2.0, 2.0, 2.0, 1.0])),
        slice_axis=2,
        slice_thickness_mm=2.0,
        modality=modality,
        sequence=SequenceEvidence(sequence=sequence, confidence="high"),
    )
    return volume, brain, white * field


@pytest.mark.parametrize("sequence", [Sequence.T1C, Sequence.T2, Sequence.FLAIR, Sequence.CTC])
def test_the_level_is_found_on_every_sequence(sequence: Sequence) -> None:
    volume, brain, white = head(sequence)
    found = white_matter.white_level(volume, brain)
    assert found is not None
    places = np.argwhere(brain)[::997]
    assert found.at(places) == pytest.approx(white[tuple(places.T)], rel=0.06)


def test_shading_is_in_the_level() -> None:
    volume, brain, white = head(Sequence.T1C, shading=0.25)
    found = white_matter.white_level(volume, brain)
    assert found is not None
    for i in (20, 40, 60):
        assert found.at(np.array([[i, 48, 40]]))[0] == pytest.approx(white[i, 48, 40], rel=0.08)


def test_enhancement_of_lesions() -> None:
    volume, brain, white = head(Sequence.T1C)
    voxels, labels = volume.voxels.copy(), np.zeros(SHAPE, dtype=np.int32)
    for number, (place, change) in enumerate((((55, 48, 40), 0.8), ((25, 40, 40), -0.4)), start=1):
        box = tuple(slice(p - 2, p + 3) for p in place)
        voxels[box], labels[box] = white[place] * (1 + change), number
    lesioned = Volume(
        id="head", voxels=voxels, grid=volume.grid, slice_axis=2, slice_thickness_mm=2.0, sequence=volume.sequence
    )
    level = white_matter.white_level(lesioned, brain)
    bright, dark = white_matter.enhancement(lesioned, labels, level, np.array([True, False]))
    assert bright == pytest.approx(0.8, abs=0.06)
    assert dark == pytest.approx(-0.4, abs=0.06)


def test_what_cannot_be_known_is_none() -> None:
    volume, brain, _ = head(Sequence.T1C)
    assert white_matter.white_level(volume, np.zeros(SHAPE, dtype=bool)) is None
    labels = np.zeros(SHAPE, dtype=np.int32)
    labels[40, 40, 40] = 1
    assert white_matter.enhancement(volume, labels, None, np.array([True])) == [None]
    level = white_matter.white_level(volume, brain)
    assert white_matter.enhancement(volume, labels * 0, level, np.array([True])) == [None]


@pytest.mark.parametrize("more", [0, 1])
def test_blocks_do_not_depend_on_what_lies_beside_the_brain(more: int) -> None:
    """1 mm voxels, two to a block; wide margins of other values, and a last row that fills no block."""
    small, brain, _ = head(Sequence.T1C)
    before, after = (6, 4, 10), (10 + more, 8 + more, 4 + more)
    margins = tuple(zip(before, after, strict=True))
    grid = Grid(shape=SHAPE, affine=np.eye(4))
    near = white_matter.tissue_blocks(replace(small, grid=grid), brain)
    voxels = np.pad(small.voxels, margins, constant_values=7000.0)
    wide = replace(small, voxels=voxels, grid=Grid(shape=voxels.shape, affine=np.eye(4)))
    far = white_matter.tissue_blocks(wide, np.pad(brain, margins))
    assert near is not None
    assert far is not None
    assert far.values.shape == tuple(n // 2 for n in voxels.shape)
    inner = tuple(slice(b // 2, b // 2 + n // 2) for b, n in zip(before, SHAPE, strict=True))
    for name in ("values", "brain", "white"):
        whole, part = getattr(far, name), getattr(near, name)
        assert np.array_equal(whole[inner], part)
        assert np.count_nonzero(whole) == np.count_nonzero(part)


def test_a_mask_without_a_whole_block_has_no_level() -> None:
    volume, brain, _ = head(Sequence.T1C)
    assert white_matter.tissue_blocks(volume, np.zeros_like(brain)) is None
    odd = replace(volume, voxels=volume.voxels[:79], grid=Grid(shape=(79, *SHAPE[1:]), affine=np.eye(4)))
    last = np.zeros(odd.grid.shape, dtype=bool)
    last[78] = True
    assert white_matter.tissue_blocks(odd, last) is None


def test_empty_blocks_around_the_brain_change_no_block_of_white_matter() -> None:
    volume, brain, _ = head(Sequence.T1C)
    close = tuple(slice(*np.flatnonzero(brain.any(axis=tuple({0, 1, 2} - {a})))[[0, -1]] + [0, 1]) for a in range(3))
    spacing = np.full(3, 2.0)
    values = np.where(brain, volume.voxels, 0).astype(np.float32)
    tight = white_matter.white_blocks(values[close], brain[close], spacing, volume)
    wide = white_matter.white_blocks(values, brain, spacing, volume)
    assert tight.any()
    assert np.array_equal(wide[close], tight)
    assert wide.sum() == tight.sum()
