"""How one scanner sees a head: grid, slices, the head without lesions, and what each lesion shows there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import ndimage as ndi

from miliary_seg.domain.arrays import BoolArray, Float32Array, Float64Array
from miliary_seg.domain.grid import other_axes
from miliary_seg.domain.volume import Volume
from miliary_seg.lab.phantom.head import Head
from miliary_seg.lab.phantom.place import Placed, Slices
from miliary_seg.lab.phantom.render import Optics, Patch, lesion_patch
from miliary_seg.lab.phantom.scanner import acquire, noise_sigma, optics_for, resampled_labels
from miliary_seg.lab.phantom.spec import ScannerSpec
from miliary_seg.lab.phantom.truth import HALF, slice_positions

CALM_PIXELS = 1.0
"""Blur in plane of the head without lesions before a lesion is compared with it: the largest of many noisy voxels would
otherwise pass for signal."""
CALM_LIMIT = 2.0
"""Most that this blur may change a voxel, in noise standard deviations: 95 % of the noise, and no edge."""
SAME_AS_SLAB = 0.6
"""Slices at least this share of the slab apart (3 mm of 5 mm) are slabs themselves."""
KEPT_VIEWS = 4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Implant:
    """One lesion that replaces its tissue."""

    body: Placed
    place: str
    enhancement: float
    """Asked: fraction above local white matter, in HU on CT; negative for dark lesions."""
    white: float
    """Local level of white matter, in the scan's intensity unit."""
    lift: float
    """Signal of the lesion minus that of local white matter, in the scan's intensity unit."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seen:
    """What a lesion shows on the slices of one scan."""

    patch: Patch | None
    share: Float64Array
    """Overlap with each slice (``truth.slice_share``)."""
    peaks: Float64Array
    """Peak above local white matter on each slice, in the scan's intensity unit; sign as for bright lesions."""
    slices: tuple[int, ...]
    """Where it counts."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class View:
    """One scanner's view of a head."""

    scanner: ScannerSpec
    optics: Optics
    slices: Slices
    bare: Float32Array
    """The head without lesions and without the scanner's noise."""
    calm: Float32Array
    """The same with the noise of a real host averaged out."""
    brain: BoolArray
    sigma: float
    visible_contrast: float
    visible_enhancement: float

    def seen(self, lesion: Implant) -> Seen:
        """Peaks and countable slices of one lesion."""
        share = self.slices.shares(lesion.body)
        peaks = np.full(share.size, -np.inf)
        patch = patch_of(lesion, self.optics)
        if patch is not None:
            axis = self.optics.slice_axis
            above = standing_out(patch.coverage, patch.signal, self.calm[patch.where], lesion)
            peaks[patch.where[axis]] = above.max(axis=other_axes(axis))
        visible = (share >= HALF) & (peaks >= self.floor(lesion.white, self.sigma))
        return Seen(patch=patch, share=share, peaks=peaks, slices=tuple(np.flatnonzero(visible).tolist()))

    def floor(self, white: float, sigma: float) -> float:
        """Least peak that counts, in the scan's intensity unit."""
        return max(self.visible_contrast * sigma, self.visible_enhancement * abs(white), 1e-9)

    def slabs(self, lesion: Implant, seen: Seen, slab_mm: float) -> tuple[int, ...]:
        """Where the lesion would count on slabs of ``slab_mm`` that start at the near edge of each slice."""
        step = self.optics.slice_spacing_mm
        if step >= SAME_AS_SLAB * slab_mm or seen.patch is None:
            return seen.slices
        axis, n = self.optics.slice_axis, self.optics.grid.shape[self.optics.slice_axis]
        sign = 1.0 if len(self.slices.positions_mm) < 2 or np.diff(self.slices.positions_mm)[0] > 0 else -1.0
        middles = self.slices.positions_mm + sign * (slab_mm - step) / 2
        share = Slices(normal=self.slices.normal, positions_mm=middles, thickness_mm=slab_mm).shares(lesion.body)
        span = int(np.ceil(slab_mm / step)) + 1
        low, high = max(0, seen.patch.where[axis].start - span), min(n, seen.patch.where[axis].stop + span)
        rows = np.arange(low, high)
        near, far = np.maximum(rows[:, None], rows), np.minimum(rows[:, None] + slab_mm / step, rows + 1.0)
        weight = np.maximum(far - near, 0) / np.maximum(np.maximum(far - near, 0).sum(axis=1), 1e-9)[:, None]
        inner = np.moveaxis(self.calm[_with(seen.patch.where, axis, slice(low, high))], axis, 0)
        tissue = np.tensordot(weight, inner, 1)
        own = weight[:, seen.patch.where[axis].start - low : seen.patch.where[axis].stop - low]
        cover, signal = (
            np.tensordot(own, np.moveaxis(a, axis, 0), 1) for a in (seen.patch.coverage, seen.patch.signal)
        )
        peaks = np.full(n, -np.inf)
        peaks[low:high] = standing_out(cover, signal, tissue, lesion).max(axis=(1, 2))
        floor = self.floor(lesion.white, self.sigma * np.sqrt(step / slab_mm))
        return tuple(np.flatnonzero((share >= HALF) & (peaks >= floor)).tolist())


def standing_out(coverage: Float32Array, signal: Float32Array, tissue: Float32Array, lesion: Implant) -> Float32Array:
    """How far each voxel stands out, in the scan's intensity unit.

    The lesser of its distance from local white matter and of what the lesion changed in it: tissue that is itself
    brighter than white matter, a vessel or grey matter on FLAIR, shows no lesion by that.
    """
    mixed = coverage * (lesion.white - tissue) + lesion.lift * signal
    sign = 1.0 if lesion.lift >= 0 else -1.0
    above = sign * mixed + np.minimum(sign * (tissue - lesion.white), 0)
    out: Float32Array = np.where(coverage > 1e-3, above, -np.inf)
    return out


def mixed_in(image: Float32Array, lesions: list[Implant], patches: list[Patch | None]) -> Float32Array:
    """A copy of an image in which lesions have taken the place of tissue, by their part of each voxel."""
    out = image.copy()
    for one, patch in zip(lesions, patches, strict=True):
        if patch is not None:
            inside = np.minimum(patch.coverage, 1)
            out[patch.where] += (
                inside * (np.float32(one.white) - out[patch.where]) + np.float32(one.lift) * patch.signal
            )
    return out


def patch_of(lesion: Implant, optics: Optics) -> Patch | None:
    """The lesion as a scanner renders it."""
    body = lesion.body
    return lesion_patch(optics, body.centre_ras_mm, body.axes_mm, body.kind, body.outline)


def slices_of(optics: Optics) -> Slices:
    """Planes of a scan."""
    probe = Volume(voxels=np.zeros(optics.grid.shape, np.float32), grid=optics.grid, slice_axis=optics.slice_axis)
    normal, positions = slice_positions(probe)
    return Slices(normal=normal, positions_mm=positions, thickness_mm=optics.thickness_mm)


def sigma_of(image: Float32Array, brain: BoolArray, head: Head, optics: Optics, scanner: ScannerSpec) -> float:
    """Noise of the finished scan: the host's own where its voxels are kept, and what is added."""
    own = noise_sigma(image, brain, optics.slice_axis) if scanner.on_host_grid else 0.0
    return float(np.hypot(own, scanner.noise * head.white_level))


@lru_cache(maxsize=KEPT_VIEWS)
def view_of(head: Head, scanner: ScannerSpec, visible_contrast: float, visible_enhancement: float) -> View:
    """View of a head through a scanner; the last few are kept, since one head serves many phantoms.

    Parameters
    ----------
    head
        Without lesions.
    scanner
        How it is imaged.
    visible_contrast, visible_enhancement
        As in ``PhantomSpec``.
    """
    optics = optics_for(head, scanner)
    bare = acquire(head, optics)
    brain = resampled_labels(head.brain, head, optics).astype(bool)
    own_noise = noise_sigma(bare, brain, optics.slice_axis) if scanner.on_host_grid else 0.0
    return View(
        scanner=scanner,
        optics=optics,
        slices=slices_of(optics),
        bare=bare,
        calm=_calm(bare, brain, optics.slice_axis, own_noise),
        brain=brain,
        sigma=float(np.hypot(own_noise, scanner.noise * head.white_level)),
        visible_contrast=visible_contrast,
        visible_enhancement=visible_enhancement,
    )


def _calm(bare: Float32Array, brain: BoolArray, slice_axis: int, own_noise: float) -> Float32Array:
    """Blurred in plane, but no voxel moved by more than noise would: edges stay where they are."""
    if own_noise == 0 or not brain.any():
        return bare
    pixels = [0.0 if a == slice_axis else CALM_PIXELS for a in range(3)]
    box = ndi.find_objects(brain.astype(np.uint8))[0]
    most = np.float32(CALM_LIMIT * own_noise)
    calm = bare.copy()
    blurred = ndi.gaussian_filter(bare[box], pixels, truncate=2.0)
    calm[box] = np.clip(blurred, bare[box] - most, bare[box] + most)
    return calm


def _with(where: tuple[slice, slice, slice], axis: int, other: slice) -> tuple[slice, slice, slice]:
    """A box with one of its sides replaced."""
    i, j, k = (other if a == axis else side for a, side in enumerate(where))
    return i, j, k
