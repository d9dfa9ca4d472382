"""Which phantoms the program is tried on: a plan of scenes, each made from a seed alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from miliary_seg.domain.sequence import Polarity
from miliary_seg.domain.sequence import Sequence as Contrast
from miliary_seg.errors import UsageError
from miliary_seg.lab.phantom import Head, LesionSpec, MimicSpec, PhantomSpec, ScannerSpec, preset

Family = Literal["lesions", "free", "curve", "negative"]
FAMILIES: tuple[Family, ...] = ("lesions", "free", "curve", "negative")

COUNTS = (0, 5, 10, 15, 18, 20, 22, 25, 30, 40)
"""True lesions on each of the two deciding slices: dense about the threshold of 20."""
THICKNESSES_MM = (1.0, 3.0, 5.0)
LESION_FREE = ("normal", "vessel-rich", "pvs-rich")
NOT_MILIARY = ("few-large", "one-sided", "supratentorial-only")
NOISE = 0.03
"""3 % of white matter: the noise of the goals (docs/detection.md)."""
ELSEWHERE = 8
"""Lesions elsewhere, per lesion wanted on a deciding slice; no other slice shows more than these do."""
SPACE_BETWEEN = 3
"""Slices from one deciding slice to the other: they are not neighbours under any reading but the one in mm."""
N_LESIONS = 120
"""Lesions of a scan for the FROC: enough for bins, few enough to stand alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A head that lesions are put into."""

    name: str
    seed: int = 0
    """Shape of a drawn head."""
    path: Path | None = None
    """A scan or a label map of the user's own; None = drawn from the shipped template."""
    kind: Literal["drawn", "scan", "labels"] = "drawn"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One phantom to be made, analysed and scored."""

    id: str
    family: Family
    kind: str
    """Name of the preset, or the true count on the deciding slices."""
    host: Host
    thickness_mm: float | None
    """None = the slices of the host."""
    seed: int
    count: int | None = None
    """Lesions wanted on each deciding slice (family ``curve``)."""

    @property
    def group(self) -> str:
        """For instance ``3 mm``."""
        return "native slices" if self.thickness_mm is None else f"{self.thickness_mm:g} mm"


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchPlan:
    """What is tried."""

    hosts: tuple[Host, ...]
    thicknesses_mm: tuple[float, ...] = THICKNESSES_MM
    counts: tuple[int, ...] = COUNTS
    families: tuple[Family, ...] = FAMILIES
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.hosts:
            raise UsageError("there is no head to put lesions into", todo="raise --heads, or give --hosts")
        unknown = sorted(set(self.families) - set(FAMILIES))
        if unknown:
            raise UsageError(f"unknown family {unknown[0]!r}", todo="one of " + ", ".join(FAMILIES))
        if any(not 0 < t <= 20 for t in self.thicknesses_mm) or any(not 0 <= n <= 100 for n in self.counts):
            raise UsageError("a thickness or count is out of range", todo="above 0 to 20 mm; 0 to 100 lesions")


def drawn_hosts(n: int, seed: int) -> tuple[Host, ...]:
    """Heads drawn from the template, each of its own shape."""
    return tuple(Host(name=f"drawn-{seed + k}", seed=seed + k) for k in range(n))


def scenes_of(plan: BenchPlan) -> list[Scene]:
    """All scenes, those of one head together."""
    return [scene for number, host in enumerate(plan.hosts) for scene in _of_host(plan, host, 1000 * number)]


def spec_of(scene: Scene, head: Head, middle: int) -> PhantomSpec:
    """What to make for one scene.

    Parameters
    ----------
    scene
        What is wanted.
    head
        Its host.
    middle
        Index of the slice in the middle of the brain.
    """
    on_host = scene.thickness_mm is None
    thickness = 0.0 if scene.thickness_mm is None else scene.thickness_mm
    base = preset(scene.kind) if scene.kind in (*LESION_FREE, *NOT_MILIARY) else preset("miliary")
    scanner = (
        ScannerSpec(on_host_grid=True, noise=0.0, bias=0.0)
        if on_host
        else ScannerSpec(thickness_mm=thickness, noise=NOISE if head.modality == "MR" else base.scanner.noise)
    )
    return replace(
        base,
        name=scene.id,
        sequence=base.sequence if head.sequence is Contrast.UNKNOWN else head.sequence,
        scanner=scanner,
        mimics=MimicSpec() if on_host else base.mimics,
        lesions=_lesions(scene, base.lesions, middle, thickness, head),
    )


def _lesions(scene: Scene, base: LesionSpec, middle: int, thickness: float, head: Head) -> LesionSpec:
    dark = head.sequence in (Contrast.SWI, Contrast.T2STAR, Contrast.ADC)
    base = replace(base, polarity=Polarity.DARK if dark else Polarity.BRIGHT)
    if scene.family == "lesions":
        return replace(base, count=N_LESIONS, diameter_mm=(1.5, 8.0), contrast=(3.0, 30.0), gap_mm=2.0)
    if scene.count is None:
        return base
    # In thick slices fainter 2 mm lesions would fall below the visibility rule, and the true count below the wish.
    faintest = 10.0 if thickness <= 3 else 15.0
    return replace(
        base,
        count=(2 + ELSEWHERE) * scene.count,
        diameter_mm=(2.0, 5.0),
        contrast=(faintest, 30.0),
        gap_mm=1.5,
        slice_targets=((middle - 2, scene.count), (middle - 2 + SPACE_BETWEEN, scene.count)) if scene.count else (),
        max_per_slice=scene.count or None,
    )


def _of_host(plan: BenchPlan, host: Host, seed: int) -> Iterator[Scene]:
    """Scenes of one head; equal plans give equal scenes, whatever families are left out."""
    thicknesses: Sequence[float | None] = (None,) if host.kind == "scan" else plan.thicknesses_mm
    kinds: list[tuple[Family, str, int | None]] = [("lesions", "lesions", None)]
    kinds += [("free", name, None) for name in (LESION_FREE if host.kind != "scan" else LESION_FREE[:1])]
    kinds += [("curve", f"count-{n}", n) for n in plan.counts]
    kinds += [("negative", name, None) for name in NOT_MILIARY]
    for t, thickness in enumerate(thicknesses):
        for k, (family, kind, count) in enumerate(kinds):
            if family not in plan.families:
                continue
            name = "native" if thickness is None else f"{thickness:g}mm"
            number = plan.seed * 1_000_003 + seed + 100 * t + k
            yield Scene(
                id=f"{host.name}_{name}_{kind}",
                family=family,
                kind=kind,
                host=host,
                thickness_mm=thickness,
                seed=number,
                count=count,
            )
