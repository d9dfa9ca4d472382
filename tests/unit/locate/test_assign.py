from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from miliary_seg.domain.compartment import Coverage, Level, Registration, Side, TemplateMap
from miliary_seg.domain.grid import Grid
from miliary_seg.domain.lesion import Lesion
from miliary_seg.domain.result import Location
from miliary_seg.domain.volume import LabelMap
from miliary_seg.locate import assign

SHAPE = (40, 30, 30)
GRID = Grid(shape=SHAPE, affine=np.array([[1.0, 0, 0, -19.5], [0, 1, 0, 0], [0, 0, 1, -14.5], [0, 0, 0, 1]]))


def location(**changes):
    i, _, k = np.indices(SHAPE)
    registration = {"trusted": True, "trust": 0.9} | changes
    return Location(
        brain_mask=np.ones(SHAPE, bool),
        compartments=LabelMap(labels=np.ones(SHAPE, np.uint8), grid=GRID),
        midline_distance_mm=(i - 19.5).astype(np.float32),
        tentorium_distance_mm=(14.5 - k).astype(np.float32),
        coverage=Coverage(),
        registration=Registration(**registration),
    )


def lesion(number, i, j, k):
    centre = (float(i), float(j), float(k))
    return Lesion(
        id=number,
        centroid_ijk=centre,
        centroid_ras_mm=tuple(GRID.to_ras_mm(centre)),
        volume_mm3=27.0,
        equivalent_diameter_mm=3.7,
        contrast=5.0,
        probability=0.9,
    )


def labels(*lesions):
    drawn = np.zeros(SHAPE, np.int32)
    for one in lesions:
        i, j, k = (int(c) for c in one.centroid_ijk)
        drawn[i - 1 : i + 2, j - 1 : j + 2, k - 1 : k + 2] = one.id
    return LabelMap(labels=drawn, grid=GRID)


def test_quadrants_and_distances():
    lesions = (lesion(7, 5, 10, 25), lesion(2, 35, 10, 25), lesion(3, 5, 10, 4), lesion(4, 35, 10, 4))
    found = assign(lesions, labels(*lesions), location())
    assert [a.lesion_id for a in found] == [7, 2, 3, 4]
    assert [a.side for a in found] == [Side.LEFT, Side.RIGHT, Side.LEFT, Side.RIGHT]
    assert [a.level for a in found] == [Level.SUPRATENTORIAL] * 2 + [Level.INFRATENTORIAL] * 2
    assert found[0].midline_distance_mm == pytest.approx(-14.5)
    assert found[0].tentorium_distance_mm == pytest.approx(-10.5)
    assert found[0].boundary_distance_mm == pytest.approx(10.5)
    assert found[2].tentorium_distance_mm == pytest.approx(10.5)


def test_confidence_grows_with_distance_from_the_boundary():
    lesions = tuple(lesion(n + 1, 20 + n, 10, 25) for n in range(0, 15, 2))
    found = assign(lesions, labels(*lesions), location())
    confidence = [a.side_confidence for a in found]
    assert confidence == sorted(confidence)
    assert 0.5 <= confidence[0] < 0.75
    assert confidence[-1] == 0.999  # never certain
    on_top = assign([lesion(1, 20, 10, 14)], labels(), location())[0]
    assert on_top.level_confidence < 0.75


def test_lesion_without_voxels_is_placed_by_its_centroid():
    alone = lesion(9, 30, 10, 3)
    found = assign([alone], LabelMap(labels=np.zeros(SHAPE, np.int32), grid=GRID), location())[0]
    assert found.side is Side.RIGHT
    assert found.level is Level.INFRATENTORIAL
    assert found.midline_distance_mm == pytest.approx(10.5)


def test_untrusted_fit_gives_no_compartment():
    found = assign([lesion(1, 5, 10, 25)], labels(), location(trusted=False, trust=0.1))[0]
    assert found.side is None
    assert found.level is None
    assert found.compartment is None
    assert (found.side_confidence, found.level_confidence) == (0.5, 0.5)


def test_unknown_orientation_gives_a_level_but_no_side():
    found = assign([lesion(1, 5, 10, 25)], labels(), location(orientation_known=False))[0]
    assert found.side is None
    assert found.level is Level.SUPRATENTORIAL


def test_no_lesions():
    assert assign([], labels(), location()) == ()


def test_no_region_without_a_trusted_fit_or_a_template():
    lesions = (lesion(1, 5, 10, 25),)
    place = TemplateMap(positions_mm=np.full((3, 2, 2, 2), 30.0, np.float32), affine=np.eye(4))
    (found,) = assign(lesions, labels(*lesions), replace(location(), template=place))
    assert found.region is not None
    for changed in (location(), replace(location(trusted=False), template=place)):
        (found,) = assign(lesions, labels(*lesions), changed)
        assert (found.region, found.region_confidence, found.tissue, found.tissue_confidence) == (None,) * 4
