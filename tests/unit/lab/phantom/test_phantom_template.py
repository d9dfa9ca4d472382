"""The shipped template as a head."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from miliary_seg.domain.sequence import Sequence
from miliary_seg.lab.phantom import REGIONS, MimicSpec, ScannerSpec, make, preset, template_head
from miliary_seg.lab.phantom.template import SIGNALS, load_template

COARSE = ScannerSpec(pixel_mm=1.5, thickness_mm=5.0)


def test_the_template_knows_its_anatomy():
    template = load_template()
    where = {
        "cortex": (-40.0, -20.0, 55.0),
        "white": (-26.0, -22.0, 32.0),
        "deep_grey": (11.0, -19.0, 7.0),
        "cerebellum": (25.0, -65.0, -40.0),
        "brainstem": (4.0, -28.0, -32.0),
    }
    for name, point in where.items():
        i, j, k = np.rint(template.grid.to_ijk(point)).astype(int)
        around = template.regions[i - 3 : i + 4, j - 3 : j + 4, k - 3 : k + 4]
        assert (around == REGIONS.index(name) + 1).sum() > 60, name
    right = template.compartments[template.grid.shape[0] // 2 + 3 :]
    assert set(np.unique(right)) == {0, 2, 4}
    assert set(np.unique(template.compartments)) == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("sequence", [Sequence.T1C, Sequence.FLAIR, Sequence.CT])
def test_every_contrast_has_its_white_and_its_skull(sequence):
    head = template_head(sequence, np.random.default_rng(0), anatomy=0.0)
    signals = SIGNALS[sequence]
    white = head.voxels[(head.regions == REGIONS.index("white") + 1) & (load_template().mixture[0] > 0.95)]
    assert np.median(white) == pytest.approx(signals[0], rel=0.05)
    assert np.any(head.voxels[~head.brain] == signals[3])  # bone
    bare = template_head(sequence, np.random.default_rng(0), anatomy=0.0, skull=False)
    assert np.all(bare.voxels[~bare.brain] == signals[-1])


def test_seeds_are_individuals_and_labels_bend_with_the_voxels():
    one, two = (template_head(Sequence.T1C, np.random.default_rng(seed)) for seed in (1, 2))
    assert (one.brain != two.brain).mean() > 0.005
    white = REGIONS.index("white") + 1
    for head in (one, two):
        assert np.median(head.voxels[head.regions == white]) > 740
        assert np.median(head.voxels[head.fluid & head.brain]) < 560
        assert 1.1e6 < head.brain.sum() < 2.1e6  # mm3


@pytest.fixture(scope="module")
def miliary():
    return make(replace(preset("miliary"), scanner=COARSE), seed=1)


def test_a_miliary_head_meets_the_rule(miliary):
    assert miliary.truth.meets_rule()
    assert miliary.volume.grid.orientation == "LPS"
    assert miliary.compartments is not None
    assert {one.kind for one in miliary.truth.mimics} == {"vessel", "sheet", "choroid", "dot", "sinus"}


def test_its_sides_agree_with_the_labels_on_the_scan(miliary):
    wrong = 0
    for one in miliary.truth.lesions:
        i, j, k = np.rint(miliary.volume.grid.to_ijk(one.centre_ras_mm)).astype(int)
        code = miliary.compartments.labels[i, j, k]
        wrong += code > 0 and (code % 2 == 1) != (one.side == "left")
    assert wrong <= 2  # slices are 5 mm thick: the label is that of their middle


def test_its_lesions_are_brighter_than_what_is_around_them(miliary):
    large = [one for one in miliary.truth.lesions if one.diameter_mm > 3.5]
    brighter = 0
    for one in large:
        i, j, k = np.rint(miliary.volume.grid.to_ijk(one.centre_ras_mm)).astype(int)
        patch = miliary.volume.voxels[i - 4 : i + 5, j - 4 : j + 5, k]
        brighter += miliary.volume.voxels[i, j, k] > np.median(patch) + 2 * miliary.truth.noise_sigma
    assert brighter / len(large) > 0.85


@pytest.mark.slow
@pytest.mark.parametrize("name", ["one-sided", "supratentorial-only", "few-large"])
def test_the_others_do_not(name):
    spec = replace(preset(name), scanner=COARSE, anatomy=0.0, mimics=MimicSpec(), skull=False)
    assert not make(spec, seed=1).truth.meets_rule()


@pytest.mark.slow
def test_a_ct_head_is_in_hounsfield_units():
    spec = replace(preset("ct-miliary"), scanner=ScannerSpec(pixel_mm=1.5, thickness_mm=5.0, noise=4.0), anatomy=0.0)
    made = make(spec, seed=1)
    assert 20 < np.median(made.volume.voxels[made.brain_mask]) < 45
    assert made.volume.voxels.max() > 600
    assert made.volume.voxels[:5, :5].mean() == pytest.approx(-1000, abs=3)
    assert made.truth.rule_count == 10
    assert made.truth.meets_rule()
    assert made.truth.as_dict()["meets_rule"] is True
