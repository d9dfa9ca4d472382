"""The story of ``bench decision``: is the answer right, and is the printed count as sure as it looks?

Real heads (or label maps) take lesions that replace their tissue, so many that a wanted number is visible on the second
of two separate slices; each is imaged with slices of several thicknesses, analysed, and its answer is held against the
truth. What the criteria read of the scan stands beside the truth in ``runs.csv``, and every implanted lesion, found or
missed, in ``lesions.csv``: ``scripts/fit-decision`` fits the count model and the recall curves on them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from miliary_seg.domain.decision import Verdict
from miliary_seg.domain.result import SeriesResult
from miliary_seg.domain.sequence import Sequence as Contrast
from miliary_seg.domain.sequence import SequenceEvidence
from miliary_seg.domain.volume import Study
from miliary_seg.errors import MiliaryError, UsageError
from miliary_seg.lab.bench.hosts import head_of
from miliary_seg.lab.bench.scenes import Host
from miliary_seg.lab.bench.scoring import MatchRule, match
from miliary_seg.lab.bench.sections import Section
from miliary_seg.lab.bench.selftest import predicted_findings, true_findings
from miliary_seg.lab.bench.write import require_free, write_page
from miliary_seg.lab.phantom import Head, LesionSpec, MimicSpec, Phantom, PhantomSpec, ScannerSpec, implanted_series
from miliary_seg.pipeline import analyze
from miliary_seg.settings import Settings

THICKNESSES_MM = (1.0, 3.0, 5.0)
COUNTS = (0, 5, 10, 15, 18, 20, 22, 25, 30, 40, 60)
SIZES_MM = {"small": (1.5, 3.0), "mixed": (1.5, 8.0), "large": (3.0, 8.0)}
ENHANCEMENTS = {"faint": (0.2, 0.5), "mixed": (0.2, 1.5), "strong": (0.7, 1.5)}
PATTERNS: dict[str, dict[str, Any]] = {
    "spread": {},
    "one-sided": {"side": "left"},
    "supratentorial": {"level": "supratentorial"},
    "few-large": {"count": 8, "second_best": None, "diameter_mm": (8.0, 25.0), "enhancement": (0.3, 1.0)},
}
"""What the lesions do besides their number; only ``spread`` meets the part of the rule about sides and levels."""
OWN_MM = 1.3
"""Up to this thickness a host's own slices are taken."""
MOST_LESIONS = 3000
"""More are not tried: small faint lesions then do not reach the wanted count, and the scene is told as not made."""
IRREGULARITY, RINGS, SOFT = 0.2, 0.25, 0.25
"""Lobed outlines; a quarter of the lesions from 4 mm on are rings, a quarter of all have no sharp edge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionPlan:
    """What is tried on every host."""

    hosts: tuple[Host, ...]
    thicknesses_mm: tuple[float, ...] = THICKNESSES_MM
    counts: tuple[int, ...] = COUNTS
    patterns: tuple[str, ...] = ("spread",)
    draws: int = 1
    """Scenes for every host, thickness, count and pattern; sizes and enhancements are drawn for each."""
    seed: int = 0

    def __post_init__(self) -> None:
        unknown = set(self.patterns) - set(PATTERNS)
        if unknown:
            raise UsageError(f"unknown pattern {', '.join(sorted(unknown))}", todo="one of " + ", ".join(PATTERNS))


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionLesion:
    """One implanted lesion: a row of ``lesions.csv``."""

    host: str
    sequence: str
    thickness_mm: float
    diameter_mm: float
    enhancement: float
    """Asked, as a fraction of local white matter (HU on CT)."""
    place: str
    kind: str
    slices: int
    """Number of slices on which it is visible."""
    found: bool
    """Whether an accepted lesion matches it one to one, as ``bench score`` matches (docs/bench.md)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRun:
    """One scan, its truth and its answer: a row of ``runs.csv``."""

    host: str
    sequence: str
    thickness_mm: float
    pattern: str
    wanted: int
    draw: int
    size: str
    enhancement: str
    true_count: int
    """Visible lesions on the second-best of two slices that are not neighbours."""
    true_slab_count: int
    """The same on slabs of 5 mm."""
    marked: int | None
    low: int | None
    high: int | None
    """95 % interval of the true count, native slices."""
    probability: float | None
    expected: float | None
    size_mm: float | None
    """What the count model reads: sum of the candidates' probabilities, and the mean diameter of the marked lesions."""
    slab_marked: int | None
    slab_low: int | None
    slab_high: int | None
    verdict: str
    native_verdict: str
    reasons: str
    lesions: tuple[DecisionLesion, ...] = ()

    @property
    def row(self) -> dict[str, object]:
        """Column -> value, without the lesions."""
        return {column.name: getattr(self, column.name) for column in fields(self) if column.name != "lesions"}


def run(plan: DecisionPlan, settings: Settings) -> Iterator[DecisionRun | str]:
    """Try every scene of a plan; what could not be made or analysed comes as a sentence.

    Parameters
    ----------
    plan
        Hosts and scenes; equal plans give equal runs.
    settings
        Of the program.
    """
    for host in plan.hosts:
        head = head_of(host, settings)
        for thickness, pattern, wanted, draw in _scenes(plan):
            scene = DecisionScene(
                host=host.name, thickness_mm=thickness, pattern=pattern, wanted=wanted, draw=draw, seed=plan.seed
            )
            try:
                yield _run(scene, head, settings)
            except MiliaryError as error:
                yield f"{scene.name}: {error.what}"


def _scenes(plan: DecisionPlan) -> Iterator[tuple[float, str, int, int]]:
    """Thickness, pattern, wanted count and draw; a pattern of its own count has one scene for each draw."""
    for pattern in plan.patterns:
        counts = plan.counts if PATTERNS[pattern].get("second_best", 0) is not None else (0,)
        for thickness, wanted, draw in product(plan.thicknesses_mm, counts, range(plan.draws)):
            yield thickness, pattern, wanted, draw


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionScene:
    """One head to be made, analysed and held against the truth."""

    host: str
    thickness_mm: float
    pattern: str
    wanted: int
    draw: int
    seed: int

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.host}, {self.thickness_mm:g} mm, {self.pattern}, {self.wanted}, draw {self.draw}"

    @property
    def rng(self) -> np.random.Generator:
        """Draws that belong to this scene alone."""
        words = (self.seed, self.host, self.thickness_mm, self.pattern, self.wanted, self.draw)
        return np.random.default_rng(int.from_bytes(hashlib.sha256(repr(words).encode()).digest()[:8], "big"))


def _run(scene: DecisionScene, head: Head, settings: Settings) -> DecisionRun:
    rng = scene.rng
    size, enhancement = str(rng.choice(list(SIZES_MM))), str(rng.choice(list(ENHANCEMENTS)))
    spec = _spec(head, scene.wanted, size, enhancement)
    spec = replace(spec, lesions=replace(spec.lesions, **PATTERNS[scene.pattern]))
    thickness = scene.thickness_mm if scene.thickness_mm > OWN_MM else None
    (made,) = implanted_series(head, spec, (thickness,), int(rng.integers(2**31)))
    evidence = SequenceEvidence(sequence=spec.sequence, confidence="high")
    volume = replace(made.volume, sequence=evidence)
    result = analyze(Study(case="bench", volumes=(volume,)), settings).series[0]
    return _row(scene, (size, enhancement), made, result)


def _spec(head: Head, wanted: int, size: str, enhancement: str) -> PhantomSpec:
    real = head.volume is not None
    known = (Contrast.FLAIR, Contrast.T2, Contrast.DWI, Contrast.CT, Contrast.CTC)
    shows = head.sequence if head.sequence in known else Contrast.T1C
    return PhantomSpec(
        sequence=shows,
        mimics=MimicSpec() if real else MimicSpec(vessels=60),
        scanner=ScannerSpec(on_host_grid=True, profile="trapezoid", noise=0.0 if real else 0.03, bias=0.0),
        lesions=LesionSpec(
            count=MOST_LESIONS,
            second_best=wanted,
            diameter_mm=SIZES_MM[size],
            enhancement=ENHANCEMENTS[enhancement],
            irregularity=IRREGULARITY,
            ring_fraction=RINGS,
            ring_from_mm=4.0,
            soft_fraction=SOFT,
        ),
    )


def _row(scene: DecisionScene, kind: tuple[str, str], made: Phantom, series: SeriesResult) -> DecisionRun:
    decision = series.decision
    native, *others = decision.slice_answers
    thick = others[0] if others else native
    low, _, high = native.count_interval or (None, None, None)
    slab_low, _, slab_high = thick.count_interval or (None, None, None)
    return DecisionRun(
        host=scene.host,
        sequence=str(series.volume.sequence.sequence),
        thickness_mm=round(series.volume.thickness_mm, 3),
        pattern=scene.pattern,
        wanted=scene.wanted,
        draw=scene.draw,
        size=kind[0],
        enhancement=kind[1],
        true_count=made.truth.second_best,
        true_slab_count=made.truth.slab_second_best,
        marked=native.count,
        low=low,
        high=high,
        probability=decision.probability,
        expected=native.expected,
        size_mm=native.size_mm,
        slab_marked=thick.count,
        slab_low=slab_low,
        slab_high=slab_high,
        verdict=str(decision.verdict),
        native_verdict=str(native.verdict),
        reasons=";".join(item.code for item in decision.reasons),
        lesions=_lesions(scene, made, series),
    )


def _lesions(scene: DecisionScene, made: Phantom, series: SeriesResult) -> tuple[DecisionLesion, ...]:
    """Every implanted lesion, in the order of the truth."""
    found = set(match(predicted_findings(series), true_findings(made), MatchRule()).reference.tolist())
    return tuple(
        DecisionLesion(
            host=scene.host,
            sequence=str(series.volume.sequence.sequence),
            thickness_mm=round(series.volume.thickness_mm, 3),
            diameter_mm=lesion.diameter_mm,
            enhancement=lesion.enhancement or 0.0,
            place=lesion.place or "",
            kind=lesion.kind,
            slices=len(lesion.slices),
            found=position in found,
        )
        for position, lesion in enumerate(made.truth.lesions)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """Answers of the runs of one thickness and one range of true counts."""

    thickness: str
    true_count: str
    n: int
    met: int
    indeterminate: int
    not_met: int
    covered: int
    """Runs whose interval holds the truth."""
    width: float
    """Mean width of the interval."""


BANDS = ((0, 0), (1, 9), (10, 17), (18, 21), (22, 24), (25, 29), (30, 39), (40, 10_000))
"""True counts that are shown together: far below, near and above the threshold of 20."""


def cells(runs: Iterable[DecisionRun]) -> list[Cell]:
    """Answers by slice thickness and true count, both ascending; without the patterns that never meet the rule."""
    found = [run for run in runs if run.pattern == "spread"]
    rows = []
    for low_mm, high_mm in ((0.0, 2.25), (2.25, 4.0), (4.0, 5.75), (5.75, 100.0)):
        for low, high in BANDS:
            here = [r for r in found if low_mm < r.thickness_mm <= high_mm and low <= r.true_count <= high]
            if here:
                rows.append(_cell(here, low, high))
    return rows


def _cell(here: Sequence[DecisionRun], low: int, high: int) -> Cell:
    intervals = [(r.low, r.high, r.true_count) for r in here if r.low is not None and r.high is not None]
    verdicts = [r.verdict for r in here]
    return Cell(
        thickness=f"{np.median([r.thickness_mm for r in here]):.3g} mm",
        true_count=str(low) if low == high else f"{low}-{high}" if high < BANDS[-1][1] else f"{low}+",
        n=len(here),
        met=verdicts.count(Verdict.MET),
        indeterminate=verdicts.count(Verdict.INDETERMINATE),
        not_met=verdicts.count(Verdict.NOT_MET),
        covered=sum(a <= true <= b for a, b, true in intervals),
        width=float(np.mean([b - a for a, b, _ in intervals])) if intervals else float("nan"),
    )


RUNS, LESIONS, PAGE = "runs.csv", "lesions.csv", "decision.md"
VERDICTS = (Verdict.MET, Verdict.INDETERMINATE, Verdict.NOT_MET)
DEFINITION = "Heads with implanted lesions that replace their tissue, imaged anew at every slice thickness."


def decision_sections(runs: Sequence[DecisionRun], failed: Sequence[str] = ()) -> list[Section]:
    """Tables for the terminal and the page."""
    header = ("slices", "true count", "scans", "MET", "INDETERMINATE", "NOT_MET", "95 % interval holds it", "its width")
    rows = [
        (c.thickness, c.true_count, *map(str, (c.n, c.met, c.indeterminate, c.not_met, c.covered)), f"{c.width:.0f}")
        for c in cells(runs)
    ]
    others = [r for r in runs if r.pattern != "spread"]
    kinds = [
        (pattern, str(len(here)), *(str([r.verdict for r in here].count(str(v))) for v in VERDICTS))
        for pattern in PATTERNS
        if (here := [r for r in others if r.pattern == pattern])
    ]
    text = "True count: visible lesions on the second-best of two slices that are not neighbours."
    sections = [Section(title="Answers by true count", text=text, header=header, rows=tuple(rows))]
    if kinds:
        head = ("pattern", "scans", "MET", "INDETERMINATE", "NOT_MET")
        sections.append(Section(title="Patterns that never meet the rule", header=head, rows=tuple(kinds)))
    if failed:
        sections.append(Section(title="Not made or not analysed", header=("scene",), rows=tuple((f,) for f in failed)))
    return sections


def write_decisions(runs: Sequence[DecisionRun], failed: Sequence[str], output: Path, *, force: bool = False) -> Path:
    """Write ``decision.md`` and ``lesions.csv``, and ``runs.csv`` last, so that it means completeness.

    Raises
    ------
    OutputError
        If there is one already (without ``force``), or a file cannot be written.
    """
    require_free(output, force, RUNS)
    page = ("Decision against truth", DEFINITION, decision_sections(runs, failed))
    lesions = [asdict(lesion) for run in runs for lesion in run.lesions]
    return write_page(output, PAGE, page, {LESIONS: lesions, RUNS: [run.row for run in runs]})
