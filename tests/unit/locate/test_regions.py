"""Regions: right at places that any anatomy text gives, never against the level, empty without a trusted fit."""

from __future__ import annotations

import numpy as np
import pytest

from miliary_seg.domain.compartment import Level, Region, RegionGroup, TemplateMap, Tissue
from miliary_seg.locate.regions import load_regions, places_of, tissue_of

ABOVE, BELOW = Level.SUPRATENTORIAL, Level.INFRATENTORIAL


def identity() -> TemplateMap:
    """A scan that lies in the template: lattice of 4 mm."""
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    affine[:3, 3] = (-100, -130, -90)
    positions = affine[:3, :3] @ np.indices((50, 60, 50)).reshape(3, -1) + affine[:3, 3:]
    return TemplateMap(positions_mm=positions.reshape(3, 50, 60, 50).astype(np.float32), affine=affine)


@pytest.mark.parametrize(
    ("place", "level", "region"),
    [
        ((40, 30, 30), ABOVE, Region.FRONTAL_LOBE),
        ((36, -10, 58), ABOVE, Region.FRONTAL_LOBE),  # before the central sulcus
        ((40, -60, 48), ABOVE, Region.PARIETAL_LOBE),
        ((56, -20, -18), ABOVE, Region.TEMPORAL_LOBE),
        ((26, -20, -16), ABOVE, Region.TEMPORAL_LOBE),  # hippocampus
        ((14, -90, 4), ABOVE, Region.OCCIPITAL_LOBE),
        ((38, 6, 0), ABOVE, Region.INSULA),
        ((26, 4, 2), ABOVE, Region.BASAL_GANGLIA),  # putamen
        ((12, 12, 8), ABOVE, Region.BASAL_GANGLIA),  # caudate nucleus
        ((12, -18, 8), ABOVE, Region.THALAMUS),
        ((6, -26, -12), BELOW, Region.MIDBRAIN),
        ((6, -28, -32), BELOW, Region.PONS),
        ((4, -40, -54), BELOW, Region.MEDULLA),
        ((28, -62, -40), BELOW, Region.CEREBELLUM),
    ],
)
def test_places(place, level, region):
    for sign in (-1, 1):
        (found,) = places_of(np.array([[sign * place[0], *place[1:]]], float), [level], identity())
        assert found.region is region
        assert 0.3 < found.region_confidence <= 1
        assert (found.tissue is None) == (region.group is not RegionGroup.LOBE)


def test_the_region_never_contradicts_the_level():
    at_the_tentorium = np.array([[20.0, -70.0, -16.0]])
    above, below = (places_of(at_the_tentorium, [level], identity())[0] for level in (ABOVE, BELOW))
    assert above.region.group is RegionGroup.LOBE
    assert below.region is Region.CEREBELLUM


def test_nothing_without_a_level_or_outside_of_the_head():
    assert places_of(np.array([[40.0, 30, 30]]), [None], identity())[0].region is None
    assert places_of(np.array([[400.0, 30, 30]]), [ABOVE], identity())[0].region is None
    assert places_of(np.empty((0, 3)), [], identity()) == []


def test_layers_follow_the_share_of_white():
    assert [tissue_of(white)[0] for white in (0.02, 0.4, 0.95)] == list(Tissue)
    for white in np.linspace(0, 1, 21):
        assert 0.33 < tissue_of(white)[1] <= 1


def test_the_atlas_holds_every_region():
    atlas = load_regions()
    assert set(np.unique(atlas.regions)) == {0, *Region}
    assert atlas.affine[0, 3] == 0
