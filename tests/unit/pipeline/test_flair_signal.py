"""The FLAIR of a study: how bright the lesions of the T1 after contrast agent are on it, and when it is not used."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import miliary_seg as ms
from miliary_seg.detect import given_detection, with_flair_percentile
from miliary_seg.domain.grid import Grid
from miliary_seg.domain.lesion_source import OURS, GivenLesions
from miliary_seg.domain.result import Detection
from miliary_seg.domain.sequence import Sequence, SequenceEvidence
from miliary_seg.domain.volume import Study, Volume
from miliary_seg.flair_signal import flair_signal
from miliary_seg.lab import phantom
from miliary_seg.lab.phantom import Phantom
from miliary_seg.load.stored_case import read_stored_series


def as_read(volume: Volume, sequence: Sequence, name: str) -> Volume:
    return replace(volume, id=name, sequence=SequenceEvidence(sequence=sequence, confidence="high"))


def scanned_on_flair(seed: int = 5) -> Volume:
    """The head of ``small_phantom`` (seed 5) on FLAIR, without lesions, its slices 5 mm thick."""
    spec = phantom.preset("few-large")
    scanner = replace(spec.scanner, pixel_mm=1.2, thickness_mm=5.0)
    mimics = replace(spec.mimics, vessels=0, sheets=0, choroid=0, dots=0, sinuses=False)
    lesions = replace(spec.lesions, count=0)
    made = phantom.make(
        replace(spec, sequence=Sequence.FLAIR, scanner=scanner, mimics=mimics, lesions=lesions), seed=seed
    )
    return as_read(made.volume, Sequence.FLAIR, "flair")


def painted(flair: Volume, small_phantom: Phantom, level: float) -> Volume:
    """The true lesions drawn into a FLAIR at so many times the brain's median."""
    voxels = flair.voxels.copy()
    points = flair.grid.to_ras_mm(np.argwhere(np.ones(voxels.shape, bool))).reshape(*voxels.shape, 3)
    median = float(np.median(voxels[voxels > 0.5 * voxels.max()]))
    for lesion in small_phantom.truth.lesions:
        near = np.linalg.norm(points - np.array(lesion.centre_ras_mm), axis=-1) < 0.5 * lesion.diameter_mm + 1.0
        voxels[near] = level * median
    return replace(flair, voxels=voxels)


def moved(volume: Volume, shift_mm: tuple[float, float, float]) -> Volume:
    affine = volume.grid.affine.copy()
    affine[:3, 3] += shift_mm
    return replace(volume, grid=Grid(shape=volume.grid.shape, affine=affine))


@pytest.fixture(scope="module")
def enhanced(small_phantom: Phantom) -> Volume:
    return as_read(small_phantom.volume, Sequence.T1C, "t1c")


@pytest.fixture(scope="module")
def plain() -> Volume:
    return scanned_on_flair()


@pytest.fixture(scope="module")
def drawn(enhanced: Volume, small_phantom: Phantom) -> Detection:
    """The true lesions, measured."""
    n = int(small_phantom.labels.labels.max())
    given = GivenLesions(labels=small_phantom.labels, probabilities=(1.0,) * n, source=OURS)
    return given_detection(enhanced, small_phantom.brain_mask, given)


def percentiles(enhanced: Volume, mask: np.ndarray, flair: Volume, drawn: Detection) -> list[float | None]:
    found = flair_signal(enhanced, mask, [flair])
    assert found is not None
    assert found.ranks is not None, found.pair.reasons
    return [lesion.flair_percentile for lesion in with_flair_percentile(drawn, found.ranks).lesions]


def codes(enhanced: Volume, mask: np.ndarray, flair: Volume) -> list[str]:
    found = flair_signal(enhanced, mask, [flair])
    assert found is not None
    assert (found.ranks is None) is bool(found.pair.reasons) is not found.pair.used
    return [reason.code for reason in found.pair.reasons]


def test_what_is_bright_on_flair_ranks_high(
    enhanced: Volume, plain: Volume, drawn: Detection, small_phantom: Phantom
) -> None:
    flair = moved(painted(plain, small_phantom, level=1.5), (4.0, -3.0, 2.0))
    said = percentiles(enhanced, small_phantom.brain_mask, flair, drawn)
    assert len(said) == 12
    assert min(said) > 95


def test_what_is_dark_on_flair_ranks_low(
    enhanced: Volume, plain: Volume, drawn: Detection, small_phantom: Phantom
) -> None:
    """As vessels are, whose blood has flowed away."""
    said = percentiles(enhanced, small_phantom.brain_mask, painted(plain, small_phantom, level=0.4), drawn)
    assert max(said) < 20


def test_shading_of_the_coil_is_no_signal(
    enhanced: Volume, plain: Volume, drawn: Detection, small_phantom: Phantom
) -> None:
    bright = painted(plain, small_phantom, level=1.5)
    ramp = np.linspace(0.75, 1.3, bright.voxels.shape[1], dtype=np.float32)[None, :, None]
    mask, shaded = small_phantom.brain_mask, replace(bright, voxels=bright.voxels * ramp)
    unshaded = percentiles(enhanced, mask, bright, drawn)
    assert percentiles(enhanced, mask, shaded, drawn) == pytest.approx(unshaded, abs=5)


def test_a_lesion_outside_of_the_flair_has_no_rank(
    enhanced: Volume, plain: Volume, drawn: Detection, small_phantom: Phantom
) -> None:
    found = flair_signal(enhanced, small_phantom.brain_mask, [plain])
    assert found is not None
    assert found.ranks is not None
    far = np.eye(4)
    far[0, 3] = 500.0
    lost = with_flair_percentile(drawn, replace(found.ranks, to_flair=far))
    assert [lesion.flair_percentile for lesion in lost.lesions] == [None] * 12


def test_what_speaks_against_it_is_said(enhanced: Volume, plain: Volume, small_phantom: Phantom) -> None:
    mask, flair = small_phantom.brain_mask, plain
    assert "flair_registration" in codes(enhanced, mask, scanned_on_flair(seed=23))  # another person
    assert codes(enhanced, mask, moved(flair, (900.0, 0.0, 0.0))) == ["flair_no_overlap"]
    assert codes(enhanced, mask, replace(flair, orientation_known=False)) == ["flair_orientation"]
    assert codes(enhanced, np.zeros_like(mask), flair) == ["flair_no_overlap"]
    late = replace(flair, source=replace(flair.source, acquired="20260102120000"))
    scan = replace(enhanced, source=replace(enhanced.source, acquired="20260103120000"))
    assert codes(scan, mask, late) == ["flair_hours"]


def test_only_t1_after_contrast_agent_is_looked_up(enhanced: Volume, plain: Volume, small_phantom: Phantom) -> None:
    mask, flair = small_phantom.brain_mask, plain
    assert flair_signal(enhanced, mask, []) is None
    assert flair_signal(as_read(enhanced, Sequence.T1, "t1"), mask, [flair]) is None
    assert flair_signal(flair, mask, [enhanced]) is None


def test_results_page_and_stored_case_say_it(
    enhanced: Volume, plain: Volume, small_phantom: Phantom, tmp_path: Path
) -> None:
    study = Study(case="one", volumes=(enhanced, painted(plain, small_phantom, level=1.5)))
    folder = ms.analyze(study, lesions={"t1c": small_phantom.labels}).write(tmp_path)
    document = json.loads((folder / "result.json").read_text("utf-8"))
    (scan,) = document["series"]
    assert (scan["flair"]["flair"], scan["flair"]["used"], scan["flair"]["reasons"]) == ("flair", True, [])
    said = [lesion["flair_percentile"] for lesion in scan["lesions"]]
    assert said
    with (folder / "t1c" / "lesions.csv").open(encoding="utf-8") as file:
        rows = [float(row["flair_percentile"]) for row in csv.DictReader(file)]
    assert rows == pytest.approx(said, abs=1e-3)
    page = (folder / "report.html").read_text("utf-8")
    assert "Looked up on flair" in page
    assert f"on FLAIR brighter than {said[0]:.0f} % of the brain" in page
    stored = read_stored_series(folder, "t1c")
    assert [lesion.flair_percentile for lesion in stored.lesions] == pytest.approx(said)
