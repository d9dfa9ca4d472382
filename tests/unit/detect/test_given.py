"""Given lesions, measured as our own are."""

from __future__ import annotations

import numpy as np
import pytest

from miliary_seg.detect import StatedRates, given_detection
from miliary_seg.domain.lesion_source import GivenLesions, LesionSource
from miliary_seg.domain.scan_facts import scan_facts
from miliary_seg.domain.volume import LabelMap, Volume
from miliary_seg.errors import GeometryError, InputError

SHAPE = (60, 64, 24)
SPOTS = ((20, 20, 6), (40, 20, 8), (20, 44, 10), (40, 44, 12), (30, 30, 14), (28, 48, 16))


def head(noise: float = 1.0) -> tuple[Volume, np.ndarray, np.ndarray]:
    """A bright brain in the dark, with bright lesions of 3 x 3 x 1 voxels; volume, brain, labels."""
    x, y, z = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    brain = ((x - 30) / 26) ** 2 + ((y - 32) / 28) ** 2 + ((z - 11) / 11) ** 2 <= 1
    labels = np.zeros(SHAPE, dtype=np.int32)
    for n, (i, j, k) in enumerate(SPOTS, start=1):
        labels[i - 1 : i + 2, j - 1 : j + 2, k] = n
    rng = np.random.default_rng(0)
    anatomy = 10 * np.sin(x / 9.0) * np.cos(y / 7.0) * np.ones(SHAPE)
    values = 100.0 * brain + anatomy * brain + 40.0 * (labels > 0) + noise * rng.normal(size=SHAPE)
    return Volume.from_array(values, np.diag([1.0, 1.0, 3.0, 1.0]), sequence="t1c"), brain, labels


def given(volume: Volume, labels: np.ndarray, kind: str = "MANUAL", chance: float = 1.0) -> GivenLesions:
    return GivenLesions(
        labels=LabelMap(labels=labels, grid=volume.grid),
        probabilities=(chance,) * int(labels.max()),
        source=LesionSource(name="given", format="NIfTI", algorithm_type=kind, path="/a/mask.nii.gz"),
    )


def test_lesions_are_measured_on_their_own_voxels() -> None:
    volume, brain, labels = head()
    found = given_detection(volume, brain, given(volume, labels, chance=0.7))
    assert [lesion.slices for lesion in found.lesions] == [(k,) for _, _, k in SPOTS]
    assert found.lesions[0].volume_mm3 == pytest.approx(9 * 3.0)
    assert np.allclose([lesion.centroid_ijk for lesion in found.lesions], SPOTS)
    assert {lesion.probability for lesion in found.lesions} == {0.7}
    assert [lesion.contrast for lesion in found.lesions] == pytest.approx([40 / found.noise_sigma] * 6, rel=0.15)
    assert found.rejections == ()
    assert len(found.candidates) == 6
    assert [item.code for item in found.caveats] == ["given_lesions"]


def test_a_large_given_lesion_is_measurable() -> None:
    """12 x 6 pixels of 1 mm on two slices: the diagonal, and what lies at right angles to it on the same slice."""
    volume, brain, labels = head()
    labels[20:32, 28:34, 11:13] = 7
    found = given_detection(volume, brain, given(volume, labels))
    large = found.lesions[6]
    assert large.max_diameter_mm == pytest.approx(np.hypot(11, 5) + 1, abs=0.1)
    assert large.perpendicular_diameter_mm == pytest.approx(2 * 11 * 5 / np.hypot(11, 5) + 1, abs=0.5)
    assert large.measurable
    assert not any(lesion.measurable for lesion in found.lesions[:6])


def test_without_rates_counts_are_exact_and_stated_rates_reach_the_decision() -> None:
    from dataclasses import replace

    from miliary_seg.domain.reason import Reason
    from miliary_seg.locate.pipeline import _nothing  # a location that knows nothing but the scan

    volume, brain, labels = head()
    place = replace(_nothing(volume, Reason(code="", text="")), brain_mask=brain)
    facts = scan_facts(volume, place, given_detection(volume, brain, given(volume, labels)))
    assert (facts.lesion_sensitivity, facts.false_positives_per_slice) == (None, 0.0)
    rates = StatedRates(sensitivity=0.97, false_positives=0.6)
    found = given_detection(volume, brain, given(volume, labels), rates)
    facts = scan_facts(volume, place, found)
    n_slices = int(brain.any(axis=(0, 1)).sum())
    assert facts.lesion_sensitivity == 0.97
    assert facts.false_positives_per_slice == pytest.approx(0.6 / n_slices)  # each lesion shows on one slice
    assert found.operating_point.name == "stated"


def test_lesions_clear_of_the_brain_are_rejected_by_name() -> None:
    volume, brain, labels = head()
    labels[1:3, 1:3, 2] = 7
    found = given_detection(volume, brain, given(volume, labels))
    assert len(found.lesions) == 6
    assert [(r.rule, r.candidate.id) for r in found.rejections] == [("outside_brain", 7)]
    assert "1 of 7 given lesions lie outside" in found.caveats[0].text
    assert int(found.lesion_labels.labels.max()) == 6


def test_a_mask_of_another_place_or_of_the_brain_is_refused() -> None:
    volume, brain, labels = head()
    with pytest.raises(GeometryError, match="6 of 6 lesions lie outside of the brain"):
        given_detection(volume, np.roll(brain, 30, axis=0) & (np.arange(60) > 52)[:, None, None], given(volume, labels))
    with pytest.raises(InputError, match="as much as 100% of the brain") as caught:
        given_detection(volume, brain, given(volume, brain.astype(np.int32)))
    assert caught.value.where == "/a/mask.nii.gz"


def test_no_lesions_are_an_answer() -> None:
    volume, brain, labels = head()
    found = given_detection(volume, brain, given(volume, labels * 0))
    assert found.lesions == ()
    assert found.doubts == ()


def test_a_mirrored_mask_is_a_doubt_and_a_right_one_is_not() -> None:
    volume, brain, labels = head()
    shifted = np.roll(labels, 4, axis=0)  # the spots lie symmetrically: their mirror images are spots again
    values = Volume.from_array(volume.voxels, volume.grid.affine, sequence="t1c")
    assert given_detection(values, brain, given(values, labels)).doubts == ()
    values = Volume.from_array(
        np.where(np.roll(labels, 4, axis=0) > 0, 150.0, np.where(labels > 0, 100.0, volume.voxels)),
        volume.grid.affine,
        sequence="t1c",
    )
    found = given_detection(values, brain, given(values, np.ascontiguousarray(np.flip(shifted, axis=0))))
    assert [doubt.code for doubt in found.doubts] == ["given_mirrored"]
    assert "first voxel axis" in found.doubts[0].text
    assert [doubt.code for doubt in found.artefact_doubts] == ["given_mirrored"]
