from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage as ndi
from scipy.integrate import trapezoid

from miliary_seg.detect.classifier import Forest, operating_point
from miliary_seg.detect.quality import artefact_doubts, detectable_diameter_mm, noise_doubts, peak_fraction
from miliary_seg.domain.lesion import Lesion
from miliary_seg.domain.sequence import Polarity, Sequence


@pytest.mark.parametrize(("diameter", "psf", "thickness"), [(3.0, 0.5, 1.0), (2.0, 0.6, 0.5), (4.0, 0.5, 5.0)])
def test_peak_of_a_blurred_ball_in_a_slice(diameter, psf, thickness):
    """Against a ball drawn at 0.1 mm and blurred by scipy."""
    x = np.arange(-40, 41) * 0.1
    z, y, w = np.meshgrid(x, x, x, indexing="ij")
    ball = ndi.gaussian_filter((z**2 + y**2 + w**2 <= diameter**2 / 4).astype(float), psf / 0.1)
    column = ball[:, 40, 40]
    expected = trapezoid(np.interp(np.linspace(-thickness / 2, thickness / 2, 201), x, column), dx=1 / 200)
    assert peak_fraction(diameter, psf, thickness) == pytest.approx(expected, abs=0.03)


def test_more_noise_and_thicker_slices_need_larger_lesions():
    sizes = [detectable_diameter_mm(n, 0.9, 1.0) for n in (0.01, 0.03, 0.05)]
    assert sizes == sorted(sizes)
    assert detectable_diameter_mm(0.03, 0.9, 5.0) > detectable_diameter_mm(0.03, 0.9, 1.0)
    assert detectable_diameter_mm(5.0, 0.9, 1.0) is None


def lesion(number, flags):
    where = {"centroid_ras_mm": (0, 0, 0), "centroid_ijk": (0, 0, 0)}
    return Lesion(id=number, volume_mm3=1, equivalent_diameter_mm=1, contrast=1, probability=1, flags=flags, **where)


def test_many_lesions_on_the_surface_are_a_pattern():
    rim = [lesion(n, ("rim",)) for n in range(15)]
    deep = [lesion(n, ()) for n in range(14)]
    assert [d.code for d in artefact_doubts(rim + deep)] == ["rim_pattern"]
    assert artefact_doubts(rim + deep + deep) == ()
    assert artefact_doubts(rim) == ()


def test_a_tree_is_walked_as_drawn():
    """x0 <= 1 ? (x1 <= 5 ? 10 : 20) : 30, and a second tree that is a leaf."""
    trees = Forest(
        names=("x0", "x1"),
        constant=0.5,
        roots=np.array([0, 5], np.int32),
        depth=2,
        feature=np.array([0, 1, 0, 0, 0, 0], np.int32),
        threshold=np.array([1, 5, 0, 0, 0, 0], np.float32),
        left=np.array([1, 3, 2, 3, 4, 5], np.int32),
        right=np.array([2, 4, 2, 3, 4, 5], np.int32),
        value=np.array([0, 0, 30, 10, 20, 100], np.float32),
    )
    table = np.array([[0, 0], [1, 6], [2, 0], [np.nan, np.inf]], np.float32)
    assert trees.log_odds(table).tolist() == [110.5, 120.5, 130.5, 110.5]
    assert trees.log_odds(table[:0]).shape == (0,)


@pytest.mark.parametrize("sequence", Sequence)
@pytest.mark.parametrize("thick", [False, True])
def test_operating_points_are_ordered(sequence, thick):
    points = [operating_point(name, sequence, thick) for name in ("high", "balanced", "specific")]
    recall = [point.measured_recall or 0 for point in points]
    assert recall == sorted(recall, reverse=True)
    for values in (
        [point.probability_threshold for point in points],
        [-(point.measured_false_positives_per_slice or 0) for point in points],
    ):
        assert values == sorted(values)
        assert len(set(values)) == 3


@pytest.mark.parametrize("thick", [False, True])
@pytest.mark.parametrize("sequence", [Sequence.SWI, Sequence.T2STAR, Sequence.ADC])
def test_dark_lesions_have_operating_points_of_their_own(sequence, thick):
    for name in ("high", "balanced", "specific"):
        dark, bright = (operating_point(name, sequence, thick, way) for way in (Polarity.DARK, Polarity.BRIGHT))
        assert bright == operating_point(name, Sequence.UNKNOWN, thick)
        assert dark.probability_threshold != bright.probability_threshold
        assert "below white matter" in dark.measured_on
        # on other sequences the way that lesions are sought changes no threshold
        for other in (Sequence.T2, Sequence.T1C, Sequence.CT):
            assert operating_point(name, other, thick, Polarity.DARK) == operating_point(name, other, thick)


def test_ct_is_judged_more_strictly_than_mr():
    """Its rule asks for half as many lesions."""
    for name in ("high", "balanced", "specific"):
        ct = operating_point(name, Sequence.CT, False)
        other = operating_point(name, Sequence.DWI, False)
        assert ct.probability_threshold >= other.probability_threshold
        assert ct.measured_false_positives_per_slice <= 0.5 * other.measured_false_positives_per_slice + 0.02
        assert ct.measured_on != other.measured_on


def test_noise_that_hides_every_size_is_a_doubt():
    # half of the span over 8 noise standard deviations: beyond 0.5 / 8 = 6.25 % of the span nothing is reliable
    assert noise_doubts(detectable_diameter_mm(0.06, 0.9, 1.0)) == ()
    assert [d.code for d in noise_doubts(detectable_diameter_mm(0.065, 0.9, 1.0))] == ["nothing_detectable"]
