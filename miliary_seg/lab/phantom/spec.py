"""What a phantom is made of: lesions, look-alikes, the scanner, the host. Frozen, checked when built."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from itertools import permutations, product
from typing import Any, Literal

import numpy as np

from miliary_seg.domain.sequence import Modality, Polarity, Sequence
from miliary_seg.errors import SettingsError

REGIONS: tuple[str, ...] = ("cortex", "white", "deep_grey", "cerebellum", "brainstem")
"""Names of the regions; the code in a region map is the position here plus 1."""

DEFAULT_REGION_WEIGHTS = (
    ("cortex", 0.45),
    ("white", 0.2),
    ("deep_grey", 0.15),
    ("cerebellum", 0.15),
    ("brainstem", 0.05),
)
"""Four fifths supratentorial, 15 % cerebellum, 5 % brain stem (Delattre 1988, Arch Neurol 45:741-744);
within the hemispheres mostly cortex, then deep grey matter, as miliary foci lie (docs/criteria.md)."""

ORIENTATIONS = tuple("".join(p) for axes in permutations(("LR", "PA", "IS")) for p in product(*axes))
"""The 48 ways in which voxel axes can run along the patient's."""

Range = tuple[float, float]

PLACES: tuple[str, ...] = ("junction", "cortex", "deep", "infratentorial", "vessel", "sulcal")
"""Places of lesions that replace tissue (``places.py`` says how they are found in any head)."""

METASTASIS_PLACES = (
    ("junction", 0.35),
    ("cortex", 0.2),
    ("deep", 0.15),
    ("infratentorial", 0.15),
    ("vessel", 0.1),
    ("sulcal", 0.05),
)
"""Most at the grey-white junction, about four fifths above the tentorium (Delattre 1988, Arch Neurol 45:741-744; Hwang
1996, Cancer 77:1551-1555), miliary foci in cortex, deep grey matter, along vessels and under the pia
(docs/criteria.md)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LesionSpec:
    """How many lesions, how large, how bright and where."""

    count: int = 250
    diameter_mm: Range = (2.0, 5.0)
    diameter_law: Literal["uniform", "log-uniform"] = "log-uniform"
    contrast: Range = (10.0, 20.0)
    """Amplitude before blurring, in ``contrast_unit``; drawn log-uniformly."""
    contrast_unit: Literal["noise", "local"] = "noise"
    """``noise``: noise standard deviation of the scan. ``local``: robust standard deviation of what surrounds the site,
    which a reader measures in a region of interest (noise and anatomy together). See docs/phantoms.md."""
    enhancement: Range | None = None
    """Signal of the lesion above the local white matter of the scan, as a fraction of it (0.2-1.5 = 20-150 %); on CT in
    HU. Drawn log-uniformly. Given, the lesion **replaces** its tissue (a voxel mixes both by their parts) and
    ``contrast`` is not in force; None = lesions of ``contrast`` are added to what is there. ``places``,
    ``irregularity`` and ``second_best`` belong to lesions that replace tissue."""
    places: tuple[tuple[str, float], ...] = METASTASIS_PLACES
    """Weights of ``PLACES`` for lesions that replace tissue; a place that the head lacks leaves its share to others."""
    irregularity: float = 0.0
    """Standard deviation of the logarithm of the radius over directions; 0 = smooth, 0.15-0.25 = lobed."""
    second_best: int | None = None
    """Lesions are placed, at most ``count``, until this many cross-sections count on the second of two slices that do
    not touch: the number that the rule asks for (20). Reached exactly, or a ``UsageError``."""
    polarity: Polarity = Polarity.BRIGHT
    side: Literal["left", "right", "both"] = "both"
    level: Literal["supratentorial", "infratentorial", "both"] = "both"
    region_weights: tuple[tuple[str, float], ...] = DEFAULT_REGION_WEIGHTS
    gap_mm: float = 2.0
    """Least distance between the surfaces of two lesions."""
    margin_mm: float = 0.5
    """Least distance from a lesion's surface to the surface of the brain."""
    elongation: float = 1.0
    """Largest ratio of the longest to the shortest semi-axis; 1 = spheres."""
    ring_fraction: float = 0.0
    """Share of the lesions of at least ``ring_from_mm`` that enhance as rings."""
    ring_from_mm: float = 5.0
    soft_fraction: float = 0.0
    """Share of lesions with a Gaussian profile (full width at half maximum = diameter) instead of a sharp edge."""
    slice_targets: tuple[tuple[int, int], ...] = ()
    """(slice index, exact number of countable cross-sections) pairs; placed first, at most ``count`` lesions in all."""
    max_per_slice: int | None = None
    """Most countable cross-sections on any other slice."""

    def __post_init__(self) -> None:
        _need(self.count >= 0, "lesions.count", "at least 0")
        _range("lesions.diameter_mm", self.diameter_mm, 0.2, 60.0)
        _range("lesions.contrast", self.contrast, 0.01, 1000.0)
        if self.enhancement is not None:
            _range("lesions.enhancement", self.enhancement, 0.01, 1000.0)
        for name, weight in self.places:
            _choice("lesions.places", name, PLACES)
            _need(weight >= 0, "lesions.places", "at least 0")
        _need(sum(w for _, w in self.places) > 0, "lesions.places", "weights of which one is above 0")
        _need(0 <= self.irregularity <= 0.5, "lesions.irregularity", "from 0 to 0.5")
        self._check_second_best()
        _choice("lesions.diameter_law", self.diameter_law, ("uniform", "log-uniform"))
        _choice("lesions.contrast_unit", self.contrast_unit, ("noise", "local"))
        _choice("lesions.polarity", self.polarity, tuple(Polarity))
        _choice("lesions.side", self.side, ("left", "right", "both"))
        _choice("lesions.level", self.level, ("supratentorial", "infratentorial", "both"))
        for name, weight in self.region_weights:
            _choice("lesions.region_weights", name, REGIONS)
            _need(weight >= 0, "lesions.region_weights", "at least 0")
        _need(self.gap_mm >= 0, "lesions.gap_mm", "at least 0")
        _need(1 <= self.elongation <= 4, "lesions.elongation", "from 1 to 4")
        for name in ("ring_fraction", "soft_fraction"):
            _need(0 <= getattr(self, name) <= 1, f"lesions.{name}", "from 0 to 1")
        _need(all(n >= 0 for _, n in self.slice_targets), "lesions.slice_targets", "pairs (slice, count of at least 0)")
        distinct = len({s for s, _ in self.slice_targets}) == len(self.slice_targets)
        _need(distinct, "lesions.slice_targets", "pairs of distinct slices")
        _need(self.max_per_slice is None or self.max_per_slice >= 0, "lesions.max_per_slice", "at least 0")

    def _check_second_best(self) -> None:
        wanted = self.second_best
        _need(wanted is None or wanted >= 0, "lesions.second_best", "at least 0")
        replacing = self.enhancement is not None
        _need(wanted is None or replacing, "lesions.second_best", "left out where lesions.enhancement is not given")
        several = wanted is not None and bool(self.slice_targets)
        _need(not several, "lesions.second_best", "left out where lesions.slice_targets are given")


@dataclass(frozen=True, slots=True, kw_only=True)
class MimicSpec:
    """Things that look like lesions and are none; numbers of each."""

    vessels: int = 0
    """Bent tubes of 0.4-1.2 mm radius that follow the sulci where the host knows its tissues."""
    sheets: int = 0
    """Patches of enhancing membrane on the surface of the brain and in the fissures."""
    choroid: int = 0
    """Clumps in the ventricles (hosts that know their fluid)."""
    dots: int = 0
    """Perivascular dots in white and deep grey matter, thinner than 1.2 mm."""
    sinuses: bool = False
    """Superior sagittal and transverse sinus along the outside of the brain (template only)."""
    brightness: Range = (0.35, 1.0)
    """Signal added by a vessel, sheet or clump as a fraction of white matter."""

    def __post_init__(self) -> None:
        for name in ("vessels", "sheets", "choroid", "dots"):
            _need(getattr(self, name) >= 0, f"mimics.{name}", "at least 0")
        _range("mimics.brightness", self.brightness, 0.01, 10.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScannerSpec:
    """How the head is imaged."""

    on_host_grid: bool = False
    """Keep the host's voxels and grid (a real scan); plane, spacing, orientation and coverage do not apply."""
    plane: Literal["axial", "coronal", "sagittal"] = "axial"
    pixel_mm: float = 0.9
    thickness_mm: float = 3.0
    gap_mm: float = 0.0
    orientation: str = ""
    """Directions in which i, j, k grow, for instance ``LPS``; empty = as viewers show the plane."""
    rotation_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Turn of the slices about the right-left, posterior-anterior and inferior-superior axis (pitch, roll, yaw)."""
    margin_mm: float = 20.0
    """Field of view beyond the brain, in plane (and across slices a third of it)."""
    coverage: Range = (0.0, 1.0)
    """Part of the head's extent across the slices that is imaged, from the left, posterior or inferior end."""
    host_thickness_mm: float | None = None
    """With ``on_host_grid``: the host's slices averaged to this thickness, ``gap_mm`` apart, its voxels in plane kept;
    None = the host's own slices."""
    psf_pixels: float = 1.2
    """In-plane blur, full width at half maximum in pixels (a sinc point-spread function has 1.21)."""
    profile: Literal["box", "gaussian", "trapezoid"] = "box"
    """Sensitivity across a slice; ``thickness_mm`` is its width (at half maximum)."""
    noise: float = 0.02
    """Standard deviation of the noise: as a fraction of the white-matter signal on MR, in HU on CT."""
    bias: float = 0.1
    """Largest logarithm of the receive field (0.1 = about 10 % either way); 0 on CT."""
    ringing: float = 0.0
    """Share of the outer in-plane spatial frequencies that were not acquired (0 = none)."""
    motion_mm: float = 0.0
    """Size of head movements between groups of phase-encoding lines."""

    def __post_init__(self) -> None:
        _choice("scanner.plane", self.plane, ("axial", "coronal", "sagittal"))
        _choice("scanner.profile", self.profile, ("box", "gaussian", "trapezoid"))
        if self.orientation:
            _choice("scanner.orientation", self.orientation, ORIENTATIONS)
        for name, low, high in (
            ("pixel_mm", 0.1, 10.0),
            ("thickness_mm", 0.1, 20.0),
            ("gap_mm", 0.0, 20.0),
            ("psf_pixels", 0.0, 5.0),
            ("noise", 0.0, 1000.0),
            ("bias", 0.0, 2.0),
            ("ringing", 0.0, 0.8),
            ("motion_mm", 0.0, 20.0),
            ("margin_mm", 0.0, 200.0),
        ):
            _need(low <= getattr(self, name) <= high, f"scanner.{name}", f"from {low:g} to {high:g}")
        thick = self.host_thickness_mm
        _need(thick is None or self.on_host_grid, "scanner.host_thickness_mm", "left out without on_host_grid")
        _need(thick is None or 0.1 <= thick <= 20, "scanner.host_thickness_mm", "from 0.1 to 20")
        _need(0 <= self.coverage[0] < self.coverage[1] <= 1, "scanner.coverage", "two ascending fractions from 0 to 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class PhantomSpec:
    """One phantom. ``miliary_seg.lab.phantom.preset(name)`` gives named ones; ``dataclasses.replace`` changes them."""

    name: str = "custom"
    sequence: Sequence = Sequence.T1C
    """What the scan shows; on a real host it is only recorded."""
    lesions: LesionSpec = field(default_factory=LesionSpec)
    mimics: MimicSpec = field(default_factory=MimicSpec)
    scanner: ScannerSpec = field(default_factory=ScannerSpec)
    skull: bool = True
    """Draw skull and scalp around a brain-only host (the template, or a volume imaged anew)."""
    anatomy: float = 1.0
    """How far the seed bends the template into an individual: 0 = not, 1 = about 3 mm and 3 % in scale."""
    visible_contrast: float = 3.0
    """A cross-section counts only if its peak exceeds this many noise standard deviations (Rose: 3 to 5)."""
    visible_enhancement: float = 0.1
    """A cross-section of a lesion that replaces tissue counts only if its peak also exceeds the local white matter by
    this fraction of it: half of the faintest enhancement that is asked of lesions (20 %), so that one counts which has
    lost up to half of that to partial volume. On CT 10 % of white matter are 3 HU, so the noise decides there."""
    slab_mm: float = 5.0
    """Thickness of the slab in the slab counts of the truth."""

    def __post_init__(self) -> None:
        _choice("sequence", self.sequence, tuple(Sequence))
        _need(0 <= self.anatomy <= 3, "anatomy", "from 0 to 3")
        _need(self.visible_contrast >= 0, "visible_contrast", "at least 0")
        _need(0 <= self.visible_enhancement <= 10, "visible_enhancement", "from 0 to 10")
        _need(0 < self.slab_mm <= 50, "slab_mm", "above 0 and at most 50")

    @property
    def modality(self) -> Modality:
        """CT for the sequences ``ct`` and ``ctc``, else MR."""
        return Modality.CT if self.sequence in (Sequence.CT, Sequence.CTC) else Modality.MR

    def as_dict(self) -> dict[str, Any]:
        """Nested plain values."""
        return asdict(self)


def _need(truth: bool | np.bool_, key: str, wanted: str) -> None:
    if not truth:
        raise SettingsError(f"phantom setting {key} is out of range", todo=f"it must be {wanted}")


def _range(key: str, value: Range, low: float, high: float) -> None:
    _need(
        len(value) == 2 and low <= value[0] <= value[1] <= high, key, f"two ascending numbers from {low:g} to {high:g}"
    )


def _choice(key: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise SettingsError(f"phantom setting {key} cannot be {value!r}", todo="one of " + ", ".join(known[:8]))
