"""What is known of a phantom: every lesion, on which slices it counts, and the counts that follow.

The rule of counting (``VISIBILITY_RULE``) is geometric first: it can be computed by hand from centre, diameter, slice
position and thickness, without voxels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from miliary_seg.domain.arrays import Float64Array, Int64Array
from miliary_seg.domain.sequence import Sequence as Contrast
from miliary_seg.domain.volume import Volume

Point = tuple[float, float, float]

VISIBILITY_RULE = (
    "A lesion counts on a slice if at least half of the smaller of its extent along the slice normal and the slice "
    "thickness lies within the slice, and its peak signal there is at least visible_contrast noise standard deviations."
    " A lesion that replaces its tissue must stand out there by that and by visible_enhancement of the local white "
    "matter, both from local white matter and from what the voxel would show without it."
)
HALF = 0.5
"""The half in that rule: on thin slices it says that the slice's centre plane cuts the lesion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LesionTruth:
    """One lesion, exactly."""

    id: int
    """Its label in the label map."""
    centre_ras_mm: Point
    diameter_mm: float
    """Of the ball of the same volume."""
    semi_axes_mm: Point
    """Ascending; equal for a ball."""
    extent_mm: float
    """Length along the slice normal."""
    kind: str
    """``solid``, ``ring`` or ``soft``."""
    polarity: str
    amplitude: float
    """Signal before blurring, in the scan's intensity unit; negative for dark lesions."""
    contrast_noise: float
    """Amplitude over the noise standard deviation of the scan."""
    contrast_local: float
    """Amplitude over the robust standard deviation of its surroundings (noise and anatomy)."""
    peak_contrast: float
    """Largest signal after blurring over the noise standard deviation."""
    side: str | None
    level: str | None
    region: str | None
    slices: tuple[int, ...] = ()
    """Where it counts, by ``VISIBILITY_RULE``."""
    slices_touched: tuple[int, ...] = ()
    """Where any part of it lies within the slice."""
    place: str | None = None
    """One of ``spec.PLACES``; this and what follows is known of lesions that replace their tissue."""
    enhancement: float | None = None
    """Asked: signal above local white matter as a fraction of it (HU on CT), negative for dark lesions."""
    white_level: float | None = None
    """Local white matter, in the scan's intensity unit."""
    peak_enhancement: float | None = None
    """Largest in any slice after blur, averaging and partial volume, in the unit of ``enhancement``: the lesser of the
    distance from local white matter and of what the lesion changed in the voxel. Positive where the lesion shows."""
    slice_enhancement: tuple[float, ...] = ()
    """The same on each of ``slices_touched``."""
    slabs: tuple[int, ...] = ()
    """Where it counts on slabs of ``slab_mm`` that start at the near edge of each slice, visibility included."""

    @property
    def volume_mm3(self) -> float:
        """Volume of the ellipsoid."""
        return float(np.pi / 6 * self.diameter_mm**3)


@dataclass(frozen=True, slots=True, kw_only=True)
class MimicTruth:
    """One look-alike that is no lesion."""

    kind: str
    """``vessel``, ``sheet``, ``choroid``, ``dot`` or ``sinus``."""
    centre_ras_mm: Point
    extent_mm: float
    """Longest extent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """Everything that a test may hold a program to."""

    name: str
    seed: int
    spec: dict[str, Any]
    lesions: tuple[LesionTruth, ...]
    mimics: tuple[MimicTruth, ...]
    noise_sigma: float
    """Standard deviation of the noise in the scan's intensity unit."""
    slice_axis: int
    slice_positions_mm: tuple[float, ...]
    """Along the slice normal."""
    thickness_mm: float
    slab_mm: float
    visible_contrast: float
    host: str
    visible_enhancement: float = 0.0
    """For lesions that replace their tissue; see ``VISIBILITY_RULE``."""

    @property
    def slice_counts(self) -> tuple[int, ...]:
        """Lesions that count on each slice."""
        return counts_of([lesion.slices for lesion in self.lesions], len(self.slice_positions_mm))

    @property
    def slab_counts(self) -> tuple[int, ...]:
        """Lesions that count on the slab of ``slab_mm`` which starts at the near edge of each slice.

        Lesions that replace their tissue must be visible there, as ``VISIBILITY_RULE`` says; added ones need not.
        """
        if any(lesion.enhancement is not None for lesion in self.lesions):
            return counts_of([lesion.slabs for lesion in self.lesions], len(self.slice_positions_mm))
        if not self.lesions:
            return (0,) * len(self.slice_positions_mm)
        normal = np.array([lesion.extent_mm for lesion in self.lesions])
        centres = np.array([self._position(lesion) for lesion in self.lesions])
        steps = np.diff(self.slice_positions_mm)
        half_step = float(np.median(np.abs(steps))) / 2 if len(steps) else self.thickness_mm / 2
        sign = 1.0 if not len(steps) or steps[0] > 0 else -1.0
        starts = np.array(self.slice_positions_mm) - sign * half_step
        middles = starts + sign * self.slab_mm / 2
        share = slice_share(centres, normal, middles, self.slab_mm)
        return tuple(int(n) for n in (share >= HALF).sum(axis=0))

    @property
    def second_best(self) -> int:
        """Count of the second of two slices that do not touch: the number that the rule asks for."""
        return second_best(self.slice_counts)

    @property
    def slab_second_best(self) -> int:
        """The same for slabs that follow one another, the median over all positions of the first."""
        step = float(np.median(np.abs(np.diff(self.slice_positions_mm)))) if len(self.slice_positions_mm) > 1 else 0.0
        phases = max(1, round(self.slab_mm / step)) if 0 < step < self.slab_mm / 2 else 1
        return int(np.median([second_best(self.slab_counts[first::phases]) for first in range(phases)]))

    def _position(self, lesion: LesionTruth) -> float:
        return float(np.dot(self.spec["slice_normal"], lesion.centre_ras_mm))

    def compartment_counts(self) -> dict[str, int]:
        """Lesions per side and level; those without either are ``unassigned``."""
        names = [f"{side}_{level}" for side in ("left", "right") for level in ("supratentorial", "infratentorial")]
        found = dict.fromkeys([*names, "unassigned"], 0)
        for lesion in self.lesions:
            known = lesion.side is not None and lesion.level is not None
            found[f"{lesion.side}_{lesion.level}" if known else "unassigned"] += 1
        return found

    @property
    def rule_count(self) -> int:
        """Lesions an image that the rule asks for: 20 on MRI, 10 on CT (Bashour 2020; docs/criteria.md)."""
        return 10 if self.spec.get("sequence") in (Contrast.CT, Contrast.CTC) else 20

    def meets_rule(self, threshold: int | None = None) -> bool:
        """Whether the true counts meet both parts of the rule under the default readings (docs/criteria.md).

        Parameters
        ----------
        threshold
            Lesions an image; None = ``rule_count``.
        """
        threshold = self.rule_count if threshold is None else threshold
        good = [s for s, n in enumerate(self.slice_counts) if n >= threshold]
        apart = bool(good) and good[-1] - good[0] >= 2
        sides = {lesion.side for lesion in self.lesions}
        levels = {lesion.level for lesion in self.lesions}
        return apart and {"left", "right"} <= sides and {"supratentorial", "infratentorial"} <= levels

    def as_dict(self) -> dict[str, Any]:
        """For truth.json: plain values, counts included."""
        return {
            "name": self.name,
            "seed": self.seed,
            "host": self.host,
            "visibility_rule": VISIBILITY_RULE,
            "visible_contrast": self.visible_contrast,
            "visible_enhancement": self.visible_enhancement,
            "noise_sigma": round(self.noise_sigma, 6),
            "slice_axis": self.slice_axis,
            "thickness_mm": self.thickness_mm,
            "slab_mm": self.slab_mm,
            "n_lesions": len(self.lesions),
            "rule_count": self.rule_count,
            "meets_rule": self.meets_rule(),
            "compartment_counts": self.compartment_counts(),
            "slices": self.slice_rows(),
            "lesions": self.lesion_rows(),
            "mimics": [asdict(mimic) for mimic in self.mimics],
            "spec": self.spec,
        }

    def lesion_rows(self) -> list[dict[str, Any]]:
        """One flat mapping a lesion, ready for CSV."""
        rows = []
        for lesion in self.lesions:
            row = asdict(lesion) | {"volume_mm3": round(lesion.volume_mm3, 6)}
            for key in ("centre_ras_mm", "semi_axes_mm"):
                for axis, value in zip("xyz", row.pop(key), strict=True):
                    row[f"{key}_{axis}"] = value
            rows.append(row)
        return rows

    def slice_rows(self) -> list[dict[str, Any]]:
        """One flat mapping a slice, ready for CSV."""
        return [
            {"index": s, "position_mm": position, "n_lesions": n, "n_lesions_slab": slab}
            for s, (position, n, slab) in enumerate(
                zip(self.slice_positions_mm, self.slice_counts, self.slab_counts, strict=True)
            )
        ]


def slice_share(
    centres_mm: Float64Array, extents_mm: Float64Array, positions_mm: Float64Array, thickness_mm: float
) -> Float64Array:
    """Overlap of lesions with slices over the smaller of both lengths along the normal, shape (n lesions, n slices)."""
    low = np.maximum(centres_mm[:, None] - extents_mm[:, None] / 2, positions_mm[None, :] - thickness_mm / 2)
    high = np.minimum(centres_mm[:, None] + extents_mm[:, None] / 2, positions_mm[None, :] + thickness_mm / 2)
    share: Float64Array = np.maximum(high - low, 0) / np.minimum(extents_mm, thickness_mm)[:, None]
    return share + 1e-9 * (share > 0)


def second_best(counts: Sequence[int] | Int64Array) -> int:
    """Largest number that two slices reach which are no neighbours (indices at least 2 apart)."""
    values = np.asarray(counts, dtype=np.int64)
    if values.size < 3:
        return 0
    before = np.maximum.accumulate(values)[:-2]
    return int(np.minimum(before, values[2:]).max())


def counts_of(slices: Sequence[tuple[int, ...]], n_slices: int) -> tuple[int, ...]:
    """How many of the given index tuples hold each slice."""
    flat: Int64Array = np.array([s for one in slices for s in one], dtype=np.int64)
    return tuple(int(n) for n in np.bincount(flat, minlength=n_slices))


def slice_positions(volume: Volume) -> tuple[Float64Array, Float64Array]:
    """Unit normal of the slices (shape (3,)) and each slice's position along it in mm, in index order."""
    a, b = (volume.grid.directions[:, x] for x in range(3) if x != volume.slice_axis)
    normal = np.cross(a, b)
    normal /= np.linalg.norm(normal)
    if normal @ volume.grid.affine[:3, volume.slice_axis] < 0:
        normal = -normal
    first = np.zeros((volume.n_slices, 3))
    first[:, volume.slice_axis] = np.arange(volume.n_slices)
    return normal, volume.grid.to_ras_mm(first) @ normal
