"""The shipped atlas: unchanged, symmetric, and right at places that any anatomy text gives."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

import miliary_seg
from miliary_seg.domain.compartment import Compartment, Level, Side

DATA = Path(miliary_seg.__file__).parent / "atlas_data"


def at(template, place):
    i, j, k = np.round((np.linalg.inv(template["affine"]) @ [*place, 1])[:3]).astype(int)
    return i, j, k


def test_checksums():
    for line in (DATA / "CHECKSUMS").read_text().splitlines():
        digest, name = line.split()
        assert hashlib.sha256((DATA / name).read_bytes()).hexdigest() == digest


@pytest.mark.parametrize(
    ("place", "level"),
    [
        ((30, -20, 50), Level.SUPRATENTORIAL),
        ((12, -20, 8), Level.SUPRATENTORIAL),
        ((36, 4, -34), Level.SUPRATENTORIAL),
        ((30, -40, -12), Level.SUPRATENTORIAL),
        ((14, -90, 0), Level.SUPRATENTORIAL),
        ((26, -62, -40), Level.INFRATENTORIAL),
        ((4, -62, -24), Level.INFRATENTORIAL),
        ((5, -28, -34), Level.INFRATENTORIAL),
        ((4, -24, -16), Level.INFRATENTORIAL),  # midbrain: counted with pons and medulla
        ((4, -38, -54), Level.INFRATENTORIAL),
    ],
)
def test_places(template, place, level):
    for sign, side in ((-1, Side.LEFT), (1, Side.RIGHT)):
        i, j, k = at(template, (sign * place[0], *place[1:]))
        assert template["labels"][i, j, k] == Compartment.of(side, level)
        assert (template["tentorium"][i, j, k] > 0) == (level is Level.INFRATENTORIAL)
        assert template["outside"][i, j, k] < 0


def test_symmetry_and_distances(template):
    labels, step = template["labels"], template["steps_mm"]
    middle = labels.shape[0] // 2
    assert template["affine"][0, 0] * middle + template["affine"][0, 3] == 0
    mirrored = np.array([0, 2, 1, 4, 3])[labels[::-1]]
    off = np.arange(labels.shape[0]) != middle
    assert np.array_equal(labels[off], mirrored[off])
    assert np.abs(template["tentorium"].astype(int) - template["tentorium"][::-1]).max() <= 1
    disagree = (labels > 2) != (template["tentorium"] > 0)
    assert disagree[labels > 0].mean() < 1e-2  # only where the distance rounds to 0
    assert np.abs(template["tentorium"][disagree & (labels > 0)]).max() <= 1
    assert step.tolist() == [0.5, 0.25]
    # The surface of a ball-like brain: distance grows by 2 mm a voxel along a ray that leaves it at the top.
    i, j, k = at(template, (20, -20, 60))
    ray = template["outside"][i, j, k:].astype(float) * step[1]
    outside = ray[(ray > 1) & (ray < 20)]
    assert np.diff(outside).mean() == pytest.approx(2, abs=0.25)


def test_template_for_phantoms():
    with np.load(DATA / "template_1mm.npz") as stored:
        shape = stored["t1"].shape
        assert shape == stored["gm"].shape == stored["wm"].shape
        assert np.allclose(np.diag(stored["affine"]), 1)
        white = stored["wm"] > 200
        grey = stored["gm"] > 200
        assert stored["t1"][white].mean() > stored["t1"][grey].mean() + 20
    assert sum((DATA / n).stat().st_size for n in ("template_1mm.npz", "compartments.npz")) < 3.2e6
