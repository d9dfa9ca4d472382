"""Sides, tentorial levels, and how sure their assignment is."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

from miliary_seg.domain.arrays import Float32Array, Float64Array
from miliary_seg.domain.reason import Reason


class Side(StrEnum):
    """The patient's side."""

    LEFT = "left"
    RIGHT = "right"


class Level(StrEnum):
    """Above or below the tentorium."""

    SUPRATENTORIAL = "supratentorial"
    INFRATENTORIAL = "infratentorial"


class Compartment(IntEnum):
    """Side x level; the value is the label in ``compartments.nii.gz``."""

    LEFT_SUPRATENTORIAL = 1
    RIGHT_SUPRATENTORIAL = 2
    LEFT_INFRATENTORIAL = 3
    RIGHT_INFRATENTORIAL = 4

    @property
    def side(self) -> Side:
        """The patient's side of this compartment."""
        return Side.LEFT if self in (1, 3) else Side.RIGHT

    @property
    def level(self) -> Level:
        """Above or below the tentorium."""
        return Level.SUPRATENTORIAL if self <= 2 else Level.INFRATENTORIAL

    @property
    def text(self) -> str:
        """For people: ``left supratentorial``."""
        return f"{self.side} {self.level}"

    @classmethod
    def of(cls, side: Side, level: Level) -> Compartment:
        """Compartment of a side and a level."""
        return cls(1 + (side is Side.RIGHT) + 2 * (level is Level.INFRATENTORIAL))


class Region(IntEnum):
    """Part of the brain as a reader names it; the value is the code in ``atlas_data/regions.npz``."""

    FRONTAL_LOBE = 1
    PARIETAL_LOBE = 2
    TEMPORAL_LOBE = 3
    OCCIPITAL_LOBE = 4
    INSULA = 5
    BASAL_GANGLIA = 6
    THALAMUS = 7
    HYPOTHALAMUS = 8
    MIDBRAIN = 9
    PONS = 10
    MEDULLA = 11
    CEREBELLUM = 12

    @property
    def text(self) -> str:
        """For people: ``frontal lobe``."""
        return self.name.lower().replace("_", " ")

    @property
    def group(self) -> RegionGroup:
        """The coarser part that it belongs to."""
        if self <= Region.INSULA:
            return RegionGroup.LOBE
        if self <= Region.HYPOTHALAMUS:
            return RegionGroup.DEEP_GREY
        return RegionGroup.CEREBELLUM if self is Region.CEREBELLUM else RegionGroup.BRAIN_STEM


class RegionGroup(StrEnum):
    """Coarse parts of the brain, in the order in which a report names them."""

    LOBE = "lobe"
    DEEP_GREY = "deep grey"
    BRAIN_STEM = "brain stem"
    CEREBELLUM = "cerebellum"


class Tissue(StrEnum):
    """Layer of a lobe in which a lesion lies."""

    CORTEX = "cortex"
    JUNCTION = "grey-white junction"
    WHITE_MATTER = "white matter"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TemplateMap:
    """The fit of the atlas, kept on a coarse lattice of the scan's world: where each place lies in the template."""

    positions_mm: Float32Array
    """Shape (3, i, j, k): MNI position in mm of each lattice point."""
    affine: Float64Array
    """Lattice index to RAS+ mm of the scan."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """Where one lesion lies.

    ``side`` and ``level`` are the more likely answers; the confidences say how likely (0.5 to 1). ``None``
    means that the answer may not be used at all: no orientation in the file (side), or an atlas fit that is
    not trusted (both).
    """

    lesion_id: int
    side: Side | None
    level: Level | None
    boundary_distance_mm: float
    """Distance to the nearer of midline and tentorium, from the atlas surfaces carried into the scan."""
    midline_distance_mm: float
    """Signed: negative on the left, positive on the right."""
    tentorium_distance_mm: float
    """Signed: negative above, positive below."""
    side_confidence: float
    level_confidence: float
    region: Region | None = None
    """The most likely part of the brain; None where the atlas fit is not trusted."""
    region_confidence: float | None = None
    """How likely that part is (0 to 1); None with it."""
    tissue: Tissue | None = None
    """The most likely layer of a lobe; None outside the lobes and where the region is unknown."""
    tissue_confidence: float | None = None
    """How likely that layer is (0 to 1); None with it."""

    @property
    def compartment(self) -> Compartment | None:
        """Side x level, or None where either is unknown."""
        return None if self.side is None or self.level is None else Compartment.of(self.side, self.level)


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Fraction of each compartment of the fitted atlas that lies within the slices (0 to 1)."""

    left_supratentorial: float = 1.0
    right_supratentorial: float = 1.0
    left_infratentorial: float = 1.0
    right_infratentorial: float = 1.0

    def of(self, compartment: Compartment) -> float:
        """Fraction of one compartment in view."""
        return float(getattr(self, compartment.name.lower()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """How the atlas was fitted and whether the fit may be used."""

    trusted: bool
    trust: float
    """Figure of trust, 0 to 1; its measured meaning is in docs/compartments.md."""
    brain_found: bool = True
    """False where nothing in the scan resembles a brain."""
    orientation_known: bool = True
    """False where the file states no orientation."""
    reoriented: bool = False
    """The head was found only after the scan's axes were turned: the header is wrong, or says nothing."""
    skull_stripped: bool = False
    figures: dict[str, float] = field(default_factory=dict)
    """Named quality figures, for instance ``brain_mutual_information_nats``; see docs/compartments.md."""
    reasons: tuple[Reason, ...] = ()
    """Why it is not trusted, or what to look at."""

    @property
    def levels_usable(self) -> bool:
        """Whether supra- and infratentorial may be told apart."""
        return self.trusted and self.brain_found

    @property
    def sides_usable(self) -> bool:
        """Whether left and right may be told apart."""
        return self.levels_usable and self.orientation_known and not self.reoriented


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskTrust:
    """How far the brain mask can be trusted, apart from the fit: lesions are looked for inside it alone."""

    trusted: bool = True
    trust: float = 1.0
    """Figure of trust, 0 to 1; its measured meaning is in docs/compartments.md."""
    figures: dict[str, float] = field(default_factory=dict)
    """Named figures, for instance ``volume_ratio``; see docs/compartments.md."""
    reasons: tuple[Reason, ...] = ()
    """What speaks against the mask."""
