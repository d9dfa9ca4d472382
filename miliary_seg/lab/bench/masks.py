"""The story of ``bench masks``: is a wrong brain mask told from a right one?

Each head is located once. Its mask is then spoiled in many ways (grown, shrunk, cut, bitten, with scalp, neck or debris
let in, moved), and ``locate.mask_trust`` judges every one: what lets in or loses more than a tenth of the brain must
not be trusted, and the mask as it was found should be. Only the judge runs, so hundreds of masks take a minute.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from scipy import ndimage as ndi

from miliary_seg.domain.arrays import BoolArray, Float32Array, Float64Array
from miliary_seg.errors import MiliaryError, NoBrainError
from miliary_seg.lab.bench.scenes import Host
from miliary_seg.lab.bench.sections import Section
from miliary_seg.lab.bench.write import require_free, write_page
from miliary_seg.locate.mask_trust import MaskView, assess_mask, mask_figures
from miliary_seg.locate.pipeline import locate, view_of_mask
from miliary_seg.settings import Settings

WRONG = 0.10
"""A mask that lets in or loses more than this share of the brain must not be trusted."""
FOUND = "as found"
GROWN_MM = (1.0, 1.5, 2.0, 3.0, 5.0)
PART_MM = (4.0, 8.0)
CUT_SHARES = (0.05, 0.12, 0.20, 0.50)
BITES_MM, ISLAND_MM, ISLANDS = (30.0, 42.0), 12.0, 6
MOVED_MM = (5.0, 10.0)
SCALP_MM, NECK_MM = 14.0, 40.0
"""Scalp and neck are let in up to this far outside the brain; the neck starts so far below the middle of the mask."""
FAT_HU, NO_SIGNAL = -150.0, 0.25
"""Denser, or brighter as a share of the brain's median, is no air."""
NEAR_MM = 2.5
"""Bites and balls have their middle so near to the surface."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskRun:
    """One mask of one head: a row of ``masks.csv``."""

    head: str
    kind: str
    let_in: float
    """Of the reference's size."""
    lost: float
    trust: float
    trusted: bool
    fit_trusted: bool
    reasons: str
    figures: dict[str, float] = field(default_factory=dict)

    @property
    def wrong(self) -> bool:
        """Whether it must not be trusted."""
        return max(self.let_in, self.lost) > WRONG

    @property
    def row(self) -> dict[str, object]:
        """Column -> value."""
        row = asdict(self)
        return {k: v for k, v in row.items() if k != "figures"} | self.figures


def run(hosts: Iterable[Host], settings: Settings) -> Iterator[MaskRun | str]:
    """Locate every head and judge its mask, as it was found and spoiled; what cannot be located comes as a sentence."""
    from miliary_seg.load import load_study

    for host in hosts:
        try:
            if host.path is None or host.kind != "scan":
                raise NoBrainError("masks are spoiled on scans", where=host.name, todo="give a scan")
            volume = load_study(host.path, settings=settings).volumes[0]
            place = locate(volume, settings.locate)
            view = view_of_mask(volume, place)
            if view is None:
                raise NoBrainError("no brain found", where=host.name)
        except MiliaryError as error:
            yield f"{host.name}: {error.what}"
            continue
        yield from judged(host.name, view, view.mask, settings, fit_trusted=place.registration.trusted)


def judged(
    head: str, view: MaskView, reference: BoolArray, settings: Settings, *, fit_trusted: bool
) -> Iterator[MaskRun]:
    """The mask as found, then every spoiled one, against a reference on the grid of the view."""
    size = float(reference.sum())
    for kind, mask in ((FOUND, view.mask), *spoiled(head, view)):
        figures = mask_figures(view.with_mask(mask))
        found = assess_mask(figures, settings.locate.mask_trust_threshold)
        yield MaskRun(
            head=head,
            kind=kind,
            let_in=float((mask & ~reference).sum()) / size,
            lost=float((reference & ~mask).sum()) / size,
            trust=found.trust,
            trusted=found.trusted,
            fit_trusted=fit_trusted,
            reasons=";".join(reason.code for reason in found.reasons),
            figures=figures,
        )


def spoiled(head: str, view: MaskView) -> Iterator[tuple[str, BoolArray]]:
    """Names and masks; equal heads give equal masks."""
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(head.encode()).digest()[:8], "big"))
    spoiler = _Spoiler.of(view, rng)
    yield from spoiler.resized()
    yield from spoiler.partly_lost()
    yield from spoiler.more_let_in()
    yield from spoiler.moved()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Spoiler:
    """A mask, and what is needed to spoil it."""

    view: MaskView
    surface_mm: Float32Array
    places_mm: Float32Array
    """From the middle of the mask, shape (3, i, j, k)."""
    rng: np.random.Generator

    @classmethod
    def of(cls, view: MaskView, rng: np.random.Generator) -> _Spoiler:
        spacing = view.spacing_mm.astype(np.float32)[:, None, None, None]
        places = np.indices(view.mask.shape).astype(np.float32) * spacing
        places -= np.array([axis[view.mask].mean() for axis in places], np.float32)[:, None, None, None]
        return cls(view=view, surface_mm=signed_distance(view.mask, view.spacing_mm), places_mm=places, rng=rng)

    def resized(self) -> Iterator[tuple[str, BoolArray]]:
        mask, surface = self.view.mask, self.surface_mm
        for mm in GROWN_MM:
            yield f"grown {mm:g} mm", surface < mm
            yield f"shrunk {mm:g} mm", surface < -mm
        for mm in PART_MM:
            yield f"a part grown {mm:g} mm", mask | ((surface < mm) & self._half())
            yield f"a part shrunk {mm:g} mm", mask & ~((surface > -mm) & self._half())

    def partly_lost(self) -> Iterator[tuple[str, BoolArray]]:
        mask, surface = self.view.mask, self.surface_mm
        for share in CUT_SHARES:
            height = self._along()
            yield f"cut off {share:.0%}", mask & (height < np.quantile(height[mask], 1 - share))
        for mm in BITES_MM:
            yield f"bite of {mm:g} mm", mask & ~self._ball(mask & (surface > -NEAR_MM), mm)
        yield "hole", mask & ~self._ball(mask & (surface < -BITES_MM[0] / 2), BITES_MM[0])
        yield "cerebellum lost", mask & ~(self.view.tentorium_mm > 0)

    def more_let_in(self) -> Iterator[tuple[str, BoolArray]]:
        view, mask = self.view, self.view.mask
        outer = (view.outside_mm > ISLAND_MM / 2) & (view.outside_mm < SCALP_MM)
        yield "ball added", mask | self._ball(mask & (self.surface_mm > -NEAR_MM), BITES_MM[0])
        yield "debris", mask | np.any([self._ball(outer, ISLAND_MM) for _ in range(ISLANDS)], axis=0)
        if view.stripped:
            return
        near = (view.outside_mm < SCALP_MM) & (view.grey_values > (FAT_HU if view.is_ct else NO_SIGNAL))
        yield "scalp", mask | near
        yield "scalp on one side", mask | (near & self._half())
        yield "neck", mask | (near & (self.places_mm[2] < -NECK_MM))

    def moved(self) -> Iterator[tuple[str, BoolArray]]:
        mask = self.view.mask.view(np.uint8)
        for mm in MOVED_MM:
            step = self._direction() * mm / self.view.spacing_mm
            yield f"moved {mm:g} mm", ndi.shift(mask, step, order=0, mode="nearest").astype(bool)

    def _direction(self) -> Float64Array:
        normal = self.rng.normal(size=3)
        return normal / np.linalg.norm(normal)

    def _along(self) -> Float32Array:
        distance: Float32Array = np.tensordot(self._direction().astype(np.float32), self.places_mm, axes=1)
        return distance

    def _half(self) -> BoolArray:
        return self._along() > self.rng.uniform(-20, 30)

    def _ball(self, centres: BoolArray, radius_mm: float) -> BoolArray:
        """A ball around one of the voxels; nothing where there is none."""
        found = np.flatnonzero(centres)
        if not found.size:
            return np.zeros_like(centres)
        centre = self.places_mm.reshape(3, -1)[:, found[self.rng.integers(found.size)]]
        inside: BoolArray = ((self.places_mm - centre[:, None, None, None]) ** 2).sum(axis=0) < radius_mm**2
        return inside


def signed_distance(mask: BoolArray, spacing_mm: Float64Array) -> Float32Array:
    """Distance to the mask's surface in mm, negative inside; the mask goes on beyond the grid."""
    wide = np.pad(mask, 3, mode="edge")
    half = spacing_mm.min() / 2
    inside, outside = (ndi.distance_transform_edt(part, sampling=spacing_mm) for part in (wide, ~wide))
    distance: Float32Array = np.where(wide, half - inside, outside - half)[3:-3, 3:-3, 3:-3].astype(np.float32)
    return distance


MASKS, PAGE = "masks.csv", "masks.md"
DEFINITION = "Masks of heads, as found and spoiled; the found one is the reference."


def mask_sections(runs: Sequence[MaskRun], failed: Sequence[str] = ()) -> list[Section]:
    """Tables for the terminal and the page: by kind, and every mask judged wrongly, under fits that are trusted."""
    used = [run for run in runs if run.fit_trusted]
    kinds = list(dict.fromkeys(run.kind for run in used))
    rows = []
    for kind in kinds:
        here = [run for run in used if run.kind == kind]
        wrong = [run for run in here if run.wrong]
        right = [run for run in here if not run.wrong]
        rows.append(
            (
                kind,
                str(len(here)),
                str(len(wrong)),
                str(sum(run.trusted for run in wrong)),
                str(sum(not run.trusted for run in right)),
            )
        )
    header = ("mask", "heads", "more than 10 % wrong", "of these trusted", "others refused")
    odd = [
        (run.head, run.kind, f"{run.let_in:.1%}", f"{run.lost:.1%}", f"{run.trust:.2f}", run.reasons)
        for run in used
        if (run.wrong and run.trusted) or (run.kind == FOUND and not run.trusted)
    ]
    sections = [Section(title="Trust of spoiled masks", header=header, rows=tuple(rows))]
    if odd:
        head = ("head", "mask", "let in", "lost", "trust", "reasons")
        sections.append(Section(title="Wrong and trusted, or as found and refused", header=head, rows=tuple(odd)))
    if failed:
        sections.append(Section(title="Not located", header=("head",), rows=tuple((line,) for line in failed)))
    return sections


def write_masks(runs: Sequence[MaskRun], failed: Sequence[str], output: Path, *, force: bool = False) -> Path:
    """Write ``masks.md``, and ``masks.csv`` last, so that it means completeness.

    Raises
    ------
    OutputError
        If there is one already (without ``force``), or a file cannot be written.
    """
    require_free(output, force, MASKS)
    page = ("Trust of the brain mask", DEFINITION, mask_sections(runs, failed))
    return write_page(output, PAGE, page, {MASKS: [run.row for run in runs]})
