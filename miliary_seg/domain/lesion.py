"""What the detector found: candidates, why some were rejected, and lesions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from miliary_seg.domain.pair import Uptake
from miliary_seg.domain.sequence import Polarity

MEASURABLE_MM = (10.0, 5.0)
"""Least longest and perpendicular diameter of a measurable lesion (RANO-BM)."""

Point = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A blob-like place, before it is accepted or rejected."""

    id: int
    centroid_ijk: Point
    """Fractional voxel index on the input's grid."""
    centroid_ras_mm: Point
    diameter_mm: float
    """Calibrated from the best scale."""
    polarity: Polarity
    contrast: float
    """Local contrast over the noise standard deviation of the scan (dimensionless)."""
    probability: float
    """The rejector's probability that a reader would call this a lesion, 0 to 1."""
    features: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    """Names, units and meaning: ``miliary_seg.detect.FEATURES``."""

    def __hash__(self) -> int:
        return hash((self.id, self.centroid_ijk))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """A candidate that is not a lesion, and the rule that says so."""

    candidate: Candidate
    rule: str
    """Stable code, for instance ``probability``, ``overlap``, ``too_small``."""
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesion:
    """An accepted lesion: its place, its size and on which slices a reader would count it."""

    id: int
    """1, 2, 3 ...: also its label in the lesion label map."""
    centroid_ras_mm: Point
    centroid_ijk: Point
    volume_mm3: float
    equivalent_diameter_mm: float
    """Diameter of the sphere of the same volume."""
    contrast: float
    """Local contrast over the noise standard deviation of the scan."""
    probability: float
    enhancement: float | None = None
    """How far its bright voxels (90th percentile; the 10th of a dark lesion) lie above the local white matter, as a
    fraction of it (CT: in HU); negative where below; None where it was not measured."""
    uptake: Uptake | None = None
    """What it gained from a scan before contrast agent to this one; None where no such pair was used."""
    flair_percentile: float | None = None
    """How bright it is on the FLAIR of the study: percentile (0-100) of balls of its size all over the brain; None
    where no FLAIR was used, or it does not show the place."""
    polarity: Polarity = Polarity.BRIGHT
    slices: tuple[int, ...] = ()
    """Indices along the slice axis on which the lesion shows a distinct cross-section, ascending."""
    max_diameter_mm: float | None = None
    """Longest in-plane extent over all slices."""
    perpendicular_diameter_mm: float | None = None
    """Extent at right angles to the longest one, on the same slice."""
    candidate_id: int | None = None
    flags: tuple[str, ...] = ()

    @property
    def measurable(self) -> bool:
        """Whether RANO-BM calls it measurable: longest diameter at least 10 mm, the perpendicular one at least 5 mm,
        visible on two or more slices (Lin NU et al., Lancet Oncol 2015;16:e270, panel 1).
        """
        longest, perpendicular = self.max_diameter_mm or 0.0, self.perpendicular_diameter_mm or 0.0
        return longest >= MEASURABLE_MM[0] and perpendicular >= MEASURABLE_MM[1] and len(self.slices) >= 2
