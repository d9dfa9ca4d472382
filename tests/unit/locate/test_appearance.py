"""The witness that looks, on heads painted into the template and on real ones."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from miliary_seg.domain.appearance import Appearance
from miliary_seg.domain.sequence import Sequence
from miliary_seg.load import load_study
from miliary_seg.locate import locate
from miliary_seg.locate.appearance import look
from miliary_seg.locate.atlas import grid_points, load_atlas
from miliary_seg.locate.deform import no_deformation

WEIGHTINGS = {  # white, grey, fluid, scalp, air
    Sequence.T1: (800.0, 600.0, 200.0, 900.0, 5.0),
    Sequence.FLAIR: (400.0, 450.0, 100.0, 500.0, 5.0),
    Sequence.T2: (300.0, 420.0, 900.0, 500.0, 5.0),
    Sequence.PD: (600.0, 680.0, 660.0, 500.0, 5.0),
    Sequence.CT: (28.0, 36.0, 8.0, -60.0, -1000.0),
}
VESSELS = (  # centres in MNI mm and radius: veins along the midline, plexus, cavernous sinus, mucosa
    *(((0, y, 4 - (y + 44) * -0.28), 3.0) for y in range(-80, -43, 3)),
    ((-23, -40, 10), 5.0), ((23, -40, 10), 5.0),
    *(((side * 11, y, -31), 5.0) for side in (-1, 1) for y in (-4, 0, 4)),
    *(((0, y, -41), 12.0) for y in (38, 46, 54)),
    *(((0, y, z), 4.0) for y, z in ((-60, 62), (-40, 74), (-20, 78), (0, 76), (20, 66))),
)  # fmt: skip


@lru_cache(maxsize=16)
def painted(sequence: Sequence, shining: float = 0.0, seed: int = 0) -> np.ndarray:
    """A head in the template's own space; vessels have so much of the signal of white matter (0 = as grey)."""
    atlas = load_atlas()
    white, grey, fluid, scalp, air = WEIGHTINGS[sequence]
    share = np.clip((atlas.t1 - 0.55) / 0.25, 0, 1)
    head = np.where(atlas.t1 < 0.35, fluid, grey + (white - grey) * share)
    out = atlas.outside_mm
    head = np.select([out < 0, out < 4, out < 9, out < 16], [head, fluid, air + 0.1 * abs(scalp - air), scalp], air)
    xyz = grid_points(atlas.labels.shape, atlas.affine).reshape(3, *atlas.labels.shape)
    head[(xyz[1] > 20) & (xyz[2] < -25) & (out > 0)] = 0.45 * white  # the face, without fat
    for centre, radius in VESSELS:
        inside = sum((xyz[a] - centre[a]) ** 2 for a in range(3)) <= radius**2
        head[inside] = shining * white if shining else 0.7 * white if centre[2] > -30 else 0.6 * white
    noise = np.random.default_rng(seed).normal(0, 0.02 * abs(white), head.shape)
    return (head + noise).astype(np.float32)


def seen(voxels: np.ndarray, **known: bool) -> Appearance:
    return look(voxels, load_atlas().affine, np.eye(4), no_deformation(), **known)


@pytest.mark.parametrize("sequence", WEIGHTINGS)
def test_the_order_of_tissues_names_the_weighting(sequence: Sequence) -> None:
    found = seen(painted(sequence), is_ct=sequence is Sequence.CT)
    assert found.sequence is sequence
    assert found.probability >= 0.9


def test_what_must_shine_tells_the_agent() -> None:
    with_agent, without = seen(painted(Sequence.T1, 2.0)), seen(painted(Sequence.T1))
    assert with_agent.says_enhanced is True
    assert without.says_enhanced is False
    assert {name for name, _ in with_agent.regions} >= {"straight sinus", "cavernous sinus", "nasal mucosa"}


@pytest.mark.parametrize("scale", [0.01, 30.0])
def test_neither_scale_nor_shading_matters(scale: float) -> None:
    atlas = load_atlas()
    x, _, z = grid_points(atlas.labels.shape, atlas.affine).reshape(3, *atlas.labels.shape)
    shading = np.exp(0.2 * x / 80 + 0.15 * z / 80)
    for shining, answer in ((2.0, True), (0.0, False)):
        found = seen((painted(Sequence.T1, shining) * shading * scale).astype(np.float32))
        assert (found.sequence, found.says_enhanced) == (Sequence.T1, answer)


def test_a_lone_bright_place_proves_nothing() -> None:
    """A tumour at the cavernous sinus must not make an enhanced scan, nor may the lack of one be spoken of."""
    voxels = painted(Sequence.T1).copy()
    x, y, z = grid_points(voxels.shape, load_atlas().affine).reshape(3, *voxels.shape)
    voxels[(np.abs(np.abs(x) - 11) < 8) & (np.abs(y) < 8) & (np.abs(z + 31) < 8)] = 2500.0
    assert seen(voxels).says_enhanced is None


def test_without_the_skull_no_lack_is_proven() -> None:
    atlas = load_atlas()
    bare = np.where(atlas.outside_mm < 0, painted(Sequence.T1), 0).astype(np.float32)
    assert seen(bare, stripped=True).says_enhanced is None
    shining = np.where(atlas.outside_mm < 2, painted(Sequence.T1, 2.0), 0).astype(np.float32)
    assert seen(shining, stripped=True).says_enhanced is True


def test_what_is_not_in_view_is_not_judged() -> None:
    z = grid_points(load_atlas().labels.shape, load_atlas().affine)[2].reshape(load_atlas().labels.shape)
    top = painted(Sequence.T1, 2.0).copy()
    top[z < 30] = np.nan
    found = seen(top)
    assert found.probability < 0.9
    assert found.enhanced is None


@pytest.mark.shared
@pytest.mark.parametrize(
    ("path", "sequence", "enhanced"),
    [
        ("heads/t1_otsu.nii.gz", Sequence.T1, False),
        ("gad_heads/btp02_pre_T1c.nii.gz", Sequence.T1, True),
        ("ms_26_mni/T1POST.nii.gz", Sequence.T1, True),
        ("ms_12_raw/study1_FLAIR.nii.gz", Sequence.FLAIR, None),
        ("heads/t2_2mm.nii.gz", Sequence.T2, None),
    ],
)
def test_real_heads(shared: Path, path: str, sequence: Sequence, enhanced: bool | None) -> None:
    (volume,) = load_study(shared / "data" / path).volumes
    found = locate(volume).appearance
    assert found is not None
    assert (found.sequence, found.says_enhanced) == (sequence, enhanced)
