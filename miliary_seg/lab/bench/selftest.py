"""The story of ``bench phantoms``: make each scene, analyse it as if it had come from a file, score it."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from miliary_seg.domain.result import SeriesResult
from miliary_seg.domain.volume import Study
from miliary_seg.errors import MiliaryError
from miliary_seg.lab.bench.hosts import head_of
from miliary_seg.lab.bench.scenes import BenchPlan, Host, Scene, scenes_of, spec_of
from miliary_seg.lab.bench.scoring import CaseInput, CaseScore, Findings, MatchRule, score_case
from miliary_seg.lab.bench.sides import BY_THRESHOLD
from miliary_seg.lab.phantom import MimicSpec, Phantom, Truth, make
from miliary_seg.pipeline import analyze
from miliary_seg.settings import Settings

CHUNK = 6
"""Scenes of one head that a worker takes at a time: the head is made once for them."""
RULE = MatchRule()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SceneScore:
    """One scene, scored."""

    scene: Scene
    score: CaseScore
    true_count: int
    """Lesions on the second-best of two slices that are not neighbours, by the truth."""
    found_count: int
    """The same, as found."""
    worst_slice: int
    """Most lesions found on any slice."""
    borderline: bool
    operating_point: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SelfTest:
    """All scenes."""

    plan: BenchPlan
    settings: Settings
    scores: tuple[SceneScore, ...]
    failed: tuple[tuple[str, str], ...] = ()
    """Scenes that could not be made or analysed, and why."""


Outcome = tuple[Scene, SceneScore | str]
Watch = Callable[[Iterable[Outcome], int], Iterable[Outcome]]


def run(plan: BenchPlan, settings: Settings, *, jobs: int = 1, watch: Watch | None = None) -> SelfTest:
    """Try the program on every scene of a plan.

    Parameters
    ----------
    plan
        What is tried.
    settings
        Of the program.
    jobs
        Worker processes; the result does not depend on them.
    watch
        Given the outcomes as they come and their number, yields them behind a progress bar.
    """
    scenes = scenes_of(plan)
    outcomes = _outcomes(scenes, settings, jobs)
    by_id = {scene.id: found for scene, found in (watch(outcomes, len(scenes)) if watch else outcomes)}
    ordered = [(scene, by_id[scene.id]) for scene in scenes]
    return SelfTest(
        plan=plan,
        settings=settings,
        scores=tuple(found for _, found in ordered if isinstance(found, SceneScore)),
        failed=tuple((scene.id, found) for scene, found in ordered if isinstance(found, str)),
    )


def score_scene(scene: Scene, settings: Settings) -> SceneScore:
    """Make, analyse and score one scene.

    Raises
    ------
    MiliaryError
        If it cannot be made as wanted, or shows no brain.
    """
    head = head_of(scene.host, settings)
    middle = _middle_slice(scene.host, scene.thickness_mm, settings)
    made = make(spec_of(scene, head, middle), head, scene.seed)
    series = analyze(Study(case=scene.id, volumes=(made.volume,)), settings).series[0]
    score = score_case(case_input(scene, made, series), RULE)
    counts = series.decision.slice_counts
    # Voxels and candidates have done their work: what is kept crosses the border of a process.
    slim = replace(score.given, candidates=None, predicted=replace(score.given.predicted, labels=None))
    slim = replace(slim, reference=replace(slim.reference, labels=None))
    return SceneScore(
        scene=scene,
        score=replace(score, given=slim),
        true_count=made.truth.second_best,
        found_count=series.decision.margin + series.decision.threshold,
        worst_slice=max(counts, default=0),
        borderline=series.decision.borderline,
        operating_point=series.detection.operating_point.name,
    )


def case_input(scene: Scene, made: Phantom, series: SeriesResult) -> CaseInput:
    """A phantom and what the program made of it, as something to be scored."""
    return CaseInput(
        case=scene.id,
        head=scene.host.name,
        group=scene.group,
        predicted=predicted_findings(series),
        reference=true_findings(made),
        n_slices=made.volume.n_slices,
        slices=tuple(np.flatnonzero(made.brain_mask.any(axis=made.volume.in_plane_axes)).tolist()),
        candidates=candidates_of(series),
        verdict=series.decision.verdict,
        probability=series.decision.probability,
        truth_met=made.truth.meets_rule(),
    )


def predicted_findings(series: SeriesResult) -> Findings:
    """Accepted lesions with their voxels."""
    lesions = series.lesions
    found = Findings.of(
        [lesion.centroid_ras_mm for lesion in lesions],
        diameters_mm=[lesion.equivalent_diameter_mm for lesion in lesions],
        scores=[lesion.probability for lesion in lesions],
        contrasts=[lesion.contrast for lesion in lesions],
        slices=tuple(lesion.slices for lesion in lesions),
    )
    return replace(found, labels=series.detection.lesion_labels)


def true_findings(made: Phantom) -> Findings:
    """The truth of a phantom with its voxels."""
    truth: Truth = made.truth
    found = Findings.of(
        [lesion.centre_ras_mm for lesion in truth.lesions],
        diameters_mm=[lesion.diameter_mm for lesion in truth.lesions],
        contrasts=[lesion.contrast_noise for lesion in truth.lesions],
        slices=tuple(lesion.slices for lesion in truth.lesions),
    )
    return replace(found, labels=made.labels)


def candidates_of(series: SeriesResult) -> Findings:
    """Every candidate that some threshold would accept."""
    refused = {r.candidate.id for r in series.detection.rejections if r.rule not in BY_THRESHOLD}
    kept = [candidate for candidate in series.detection.candidates if candidate.id not in refused]
    return Findings.of([c.centroid_ras_mm for c in kept], scores=[c.probability for c in kept])


@lru_cache(maxsize=8)
def _middle_slice(host: Host, thickness_mm: float | None, settings: Settings) -> int:
    """The slice in the middle of the brain by area, where there is most room."""
    head = head_of(host, settings)
    empty = Scene(id="empty", family="curve", kind="empty", host=host, thickness_mm=thickness_mm, seed=0, count=0)
    bare = make(replace(spec_of(empty, head, 0), mimics=MimicSpec()), head)
    area = bare.brain_mask.sum(axis=bare.volume.in_plane_axes)
    return int(np.average(np.arange(area.size), weights=area))


def _outcomes(scenes: Sequence[Scene], settings: Settings, jobs: int) -> Iterator[Outcome]:
    chunks = [list(chunk) for chunk in _chunks(scenes)]
    if jobs <= 1 or len(chunks) <= 1:
        for chunk in chunks:
            for scene in chunk:
                yield scene, _tried(scene, settings)
        return
    with ProcessPoolExecutor(min(jobs, len(chunks)), mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = [pool.submit(_tried_chunk, chunk, settings) for chunk in chunks]
        for future in as_completed(futures):
            yield from future.result()


def _chunks(scenes: Sequence[Scene]) -> Iterator[Sequence[Scene]]:
    """Runs of scenes of one head."""
    start = 0
    for n in range(1, len(scenes) + 1):
        if n == len(scenes) or scenes[n].host != scenes[start].host or n - start == CHUNK:
            yield scenes[start:n]
            start = n


def _tried_chunk(scenes: Sequence[Scene], settings: Settings) -> list[Outcome]:
    return [(scene, _tried(scene, settings)) for scene in scenes]


def _tried(scene: Scene, settings: Settings) -> SceneScore | str:
    """A scene that cannot be made or analysed stops alone, and is named."""
    try:
        return score_scene(scene, settings)
    except MiliaryError as error:
        return f"{error.code}: {error}"
