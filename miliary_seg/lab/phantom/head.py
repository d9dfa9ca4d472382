"""Heads that lesions are put into: a real scan, a map of labels, or the template (``template.py``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from miliary_seg.domain.arrays import BoolArray, Float32Array, Float64Array, UInt8Array
from miliary_seg.domain.grid import Grid
from miliary_seg.domain.sequence import Modality, Sequence
from miliary_seg.domain.volume import LabelMap, Volume
from miliary_seg.errors import GeometryError, NoBrainError, UsageError
from miliary_seg.lab.phantom.spec import REGIONS


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Head:
    """A head before it is imaged, on its own grid."""

    name: str
    voxels: Float32Array
    grid: Grid
    brain: BoolArray
    white_level: float
    """Signal of white matter: the unit of noise and of look-alikes (1 HU on CT)."""
    background: float = 0.0
    regions: UInt8Array | None = None
    """1 + position in ``REGIONS``; 0 = no place for a lesion. None = anywhere in the brain."""
    compartments: UInt8Array | None = None
    """Values of ``domain.compartment.Compartment``; None = not known."""
    fluid: BoolArray | None = None
    """Ventricles and sulci; None = not known."""
    avoid: BoolArray | None = None
    """Where no centre of a lesion that replaces tissue may lie, for instance a known tumour."""
    modality: Modality = Modality.MR
    volume: Volume | None = None
    """The real scan behind it, if there is one."""
    painted_as: Sequence = Sequence.UNKNOWN
    """Whose signals it has, where there is no real scan."""
    sinus_paths: tuple[Float64Array, ...] = field(default=())
    """Courses of the large venous sinuses, each (n, 3) in RAS mm."""

    def __post_init__(self) -> None:
        for name in ("voxels", "brain", "regions", "compartments", "fluid", "avoid"):
            array = getattr(self, name)
            if array is not None and array.shape != self.grid.shape:
                raise GeometryError(f"{name} of the host are {array.shape}, its grid is {self.grid.shape}")
        if not self.brain.any():
            raise NoBrainError("the host's brain mask is empty", where=self.name, todo="give a mask of the brain")

    @property
    def sequence(self) -> Sequence:
        """What it shows; unknown = as the phantom's plan says."""
        return self.painted_as if self.volume is None else self.volume.sequence.sequence


def head_from_volume(
    volume: Volume,
    brain: BoolArray,
    *,
    regions: LabelMap | None = None,
    compartments: LabelMap | None = None,
    avoid: BoolArray | None = None,
) -> Head:
    """Use a real scan as host.

    Parameters
    ----------
    volume
        The scan.
    brain
        Brain mask, shape (i, j, k).
    regions
        Codes 1 + position in ``REGIONS`` on the same grid; None = lesions go anywhere in the brain.
    compartments
        Values of ``Compartment`` on the same grid; needed where side or level of lesions is restricted.
    avoid
        Voxels in which no lesion that replaces tissue may have its centre (a known tumour), shape (i, j, k).

    Raises
    ------
    GeometryError
        If an array does not fit the volume.
    NoBrainError
        If the mask is empty.
    """
    mask = np.asarray(brain, dtype=bool)
    if mask.shape != volume.grid.shape:
        raise GeometryError(f"the brain mask is {mask.shape}, the volume is {volume.grid.shape}", where=volume.id)
    if not mask.any():
        raise NoBrainError("the host's brain mask is empty", where=volume.id, todo="give a mask of the brain")
    voxels = np.nan_to_num(volume.voxels, nan=0.0, posinf=0.0, neginf=0.0)
    is_ct = volume.modality is Modality.CT
    return Head(
        name=volume.id,
        voxels=voxels,
        grid=volume.grid,
        brain=mask,
        white_level=1.0 if is_ct else float(np.median(voxels[mask])),
        background=-1000.0 if is_ct else 0.0,
        regions=_codes(regions, volume.grid, "regions"),
        compartments=_codes(compartments, volume.grid, "compartments"),
        avoid=None if avoid is None else np.asarray(avoid, dtype=bool),
        modality=volume.modality,
        volume=volume,
    )


def head_from_labels(
    labels: LabelMap,
    intensities: Mapping[int, float],
    *,
    regions: Mapping[int, str],
    compartments: Mapping[int, int] | None = None,
    fluid: tuple[int, ...] = (),
    is_ct: bool = False,
) -> Head:
    """Make a head of any contrast from a map of integer labels.

    Parameters
    ----------
    labels
        For instance a FreeSurfer segmentation.
    intensities
        Label -> signal (HU on CT); labels that it leaves out are background.
    regions
        Label -> one of ``REGIONS``; these labels and ``fluid`` make up the brain.
    compartments
        Label -> value of ``Compartment``.
    fluid
        Labels of cerebrospinal fluid.
    is_ct
        Whether intensities are HU.

    Raises
    ------
    UsageError
        If a region's name is not known.
    """
    unknown = sorted(set(regions.values()) - set(REGIONS))
    if unknown:
        raise UsageError(f"unknown region {unknown[0]!r}", todo="one of " + ", ".join(REGIONS))
    keys, inverse = np.unique(labels.labels, return_inverse=True)
    inverse = inverse.reshape(labels.labels.shape)
    background = -1000.0 if is_ct else 0.0
    codes = {label: REGIONS.index(name) + 1 for label, name in regions.items()}

    def looked_up(table: Mapping[int, float], missing: float) -> Float64Array:
        found: Float64Array = np.array([table.get(int(key), missing) for key in keys])[inverse]
        return found

    region_map = looked_up(codes, 0).astype(np.uint8)
    wet = np.isin(labels.labels, fluid)
    signal = looked_up(intensities, background).astype(np.float32)
    white = region_map == REGIONS.index("white") + 1
    body = signal[white] if white.any() else signal[region_map > 0]
    return Head(
        name="labels",
        voxels=signal,
        grid=labels.grid,
        brain=(region_map > 0) | wet,
        white_level=1.0 if is_ct else float(np.median(body)) if body.size else 1.0,
        background=background,
        regions=region_map,
        compartments=None if compartments is None else looked_up(compartments, 0).astype(np.uint8),
        fluid=wet if fluid else None,
        modality=Modality.CT if is_ct else Modality.MR,
    )


def _codes(labels: LabelMap | None, grid: Grid, name: str) -> UInt8Array | None:
    if labels is None:
        return None
    if not labels.grid.same_as(grid):
        raise GeometryError(f"the host's {name} lie on another grid", todo="resample them onto the volume's grid")
    return np.asarray(labels.labels, dtype=np.uint8)
