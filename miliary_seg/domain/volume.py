"""Scans: voxels with their place in the patient and what is known of how they were made."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from miliary_seg.domain.arrays import Float32Array, Float64Array
from miliary_seg.domain.disk_backed import is_on_disk, to_disk
from miliary_seg.domain.display import shown
from miliary_seg.domain.grid import Grid, other_axes
from miliary_seg.domain.reason import Reason
from miliary_seg.domain.sequence import Modality, Sequence, SequenceEvidence
from miliary_seg.errors import GeometryError, UnsuitableImageError, UsageError

AIR_BELOW_HU = -200.0
"""Air is -1000 HU by definition, fat about -100: a CT with air in view reaches below this."""
LESS_THAN_AIR_HU = -1100.0
"""Nothing is less dense than air; padding beyond the scanner's circle is one value."""
DENSE_BONE_HU = 1500.0
"""Cortical bone reaches 1000 to 2000 HU: values beyond this without any air are another scale."""
TISSUE_HU = (0.0, 100.0)
"""Fluid, brain and muscle, with contrast agent too."""
LEAST_TISSUE = 0.02
"""Share of them in a scan with air around the head (0.20 of a real head CT)."""
TYPICAL_HU = (5.0, 100.0)
"""Median of a head without air: brain is 20 to 45 HU, more with bone around it."""
PICTURES = (1.0, 255.0)
"""Highest values of scans that were made pictures; their lowest is 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a volume came from; enough to refer to every slice of it."""

    format: str
    """``DICOM``, ``NIfTI``, ``MGH``, ``NRRD``, ``phantom`` or ``array``."""
    paths: tuple[str, ...] = field(default=(), repr=False)
    """Files used: one, or one per slice in the order of the slice axis."""
    sha256: str = ""
    """Digest over the bytes of the files used, in order."""
    study_instance_uid: str = ""
    series_instance_uid: str = ""
    frame_of_reference_uid: str = ""
    sop_class_uid: str = ""
    """What kind of DICOM image the slices are."""
    sop_instance_uids: tuple[str, ...] = field(default=(), repr=False)
    """One per slice along the slice axis; empty where there are none."""
    instance_numbers: tuple[int, ...] = field(default=(), repr=False)
    """InstanceNumber of each slice along the slice axis, by which viewers and archives list it; empty where not stated
    for every slice."""
    frame_numbers: tuple[int, ...] = field(default=(), repr=False)
    """Frame (from 1) of each slice within its multi-frame instance; empty where instances have one frame."""
    instances: tuple[str, ...] = field(default=(), repr=False)
    """SOPInstanceUIDs of every DICOM image used, each once, whether or not a slice is one of them."""
    acquired: str = field(default="", repr=False)
    """When, as DICOM writes it (``YYYYMMDDHHMMSS.f``): only to tell how far apart two scans are, never written."""
    orientation_source: str = ""
    """``ImageOrientationPatient``, ``sform``, ``qform``, ``stated by the user`` or ``none``."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Volume:
    """One scan, placed in the patient.

    Voxels are copied to float32 (i, j, k) and made read-only, unless they are so already. CT is in HU. MR intensities
    have no unit.
    """

    voxels: Float32Array = field(repr=False)
    grid: Grid
    id: str = "volume"
    """Safe name of the series: letters, digits, dot, dash and underscore only."""
    modality: Modality = Modality.MR
    sequence: SequenceEvidence = field(default_factory=SequenceEvidence)
    slice_axis: int = 2
    """Voxel axis across the acquired slices."""
    slice_thickness_mm: float | None = None
    """Nominal thickness of a slice; None where the file does not say (then the spacing stands in for it)."""
    missing_slices: tuple[int, ...] = ()
    orientation_known: bool = True
    """False where the file states no orientation: then left and right are unknown."""
    resampled: bool = False
    caveats: tuple[Reason, ...] = ()
    source: Source = field(default_factory=lambda: Source(format="array"))

    def __post_init__(self) -> None:
        voxels = self.voxels
        if not (isinstance(voxels, np.ndarray) and voxels.dtype == np.float32 and _is_immutable(voxels)):
            with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is not looked at
                voxels = np.array(self.voxels, dtype=np.float32)
        if voxels.ndim != 3:
            raise UnsuitableImageError(f"a volume needs 3 dimensions, got {voxels.ndim}")
        if voxels.shape != self.grid.shape:
            raise GeometryError(f"voxels are {voxels.shape}, the grid is {self.grid.shape}")
        if self.slice_axis not in (0, 1, 2):
            raise GeometryError(f"slice_axis must be 0, 1 or 2, got {self.slice_axis}")
        voxels.setflags(write=False)
        object.__setattr__(self, "voxels", voxels)

    @classmethod
    def from_array(  # noqa: PLR0913 - what a file's header would say
        cls,
        voxels: ArrayLike,
        affine: ArrayLike | None = None,
        *,
        spacing_mm: ArrayLike | None = None,
        orientation: str = "",
        sequence: str = "unknown",
        slice_axis: int = 2,
        slice_thickness_mm: float | None = None,
    ) -> Volume:
        """A scan from plain arrays.

        Parameters
        ----------
        voxels
            (i, j, k); CT in HU.
        affine
            4 x 4, voxel index to RAS+ mm.
        spacing_mm
            Size of a voxel along i, j, k, where there is no affine.
        orientation
            With ``spacing_mm``: where i, j, k lead to, for instance ``RAS`` or ``LPS``. Empty = not known: then no
            lesion gets a side, and the answer is INDETERMINATE where it would need one.
        sequence
            A value of ``Sequence``; ``ct`` and ``ctc`` make it CT, all others MR.
        slice_axis
            Voxel axis across the acquired slices.
        slice_thickness_mm
            Nominal thickness; None = the slice spacing.

        Raises
        ------
        GeometryError
            If the affine cannot place the voxels, or the slice axis does not exist.
        UnsuitableImageError
            If there are not three dimensions.
        UsageError
            If there is no such sequence or orientation, not exactly one of affine and spacing, or no numbers.

        Examples
        --------
        >>> Volume.from_array(np.zeros((4, 4, 3)), np.diag([1, 1, 5, 1]), sequence="t1c").slice_spacing_mm
        5.0
        >>> Volume.from_array(np.zeros((4, 4, 3)), spacing_mm=(1, 1, 5), orientation="LPS").grid.orientation
        'LPS'
        """
        kind = _sequence(sequence)
        array, axes = _numbers(voxels, "voxels"), orientation or "RAS"
        if (affine is None) is (spacing_mm is None):
            raise UsageError("a scan needs an affine or a spacing_mm, and not both", todo="give one of them")
        if affine is None:
            affine = _affine(_numbers(spacing_mm, "spacing_mm"), axes)
        shape: Any = array.shape if array.ndim == 3 else (1, 1, 1)
        known = SequenceEvidence(sequence=kind, confidence="user", evidence=("stated by the user",))
        return cls(
            voxels=array,
            grid=Grid(shape=shape, affine=_numbers(affine, "the affine")),
            orientation_known=spacing_mm is None or bool(orientation),
            modality=Modality.CT if kind in (Sequence.CT, Sequence.CTC) else Modality.MR,
            sequence=SequenceEvidence() if kind is Sequence.UNKNOWN else known,
            id="array",
            slice_axis=slice_axis,
            slice_thickness_mm=slice_thickness_mm,
        )

    def to_disk(self) -> Volume:
        """The same scan with its voxels on disk (``domain.disk_backed``)."""
        return replace(self, voxels=to_disk(self.voxels))

    def _repr_html_(self) -> str:
        return str(shown("cards.volume", self))

    @property
    def in_hounsfield(self) -> bool:
        """Whether this is CT in HU: tissue is where HU put it, beside air, or (skull and air removed) alone.

        CT that was shifted (0 to 4095, once too often), scaled to 0 to 1, or made a picture of 0 to 255 is not.
        """
        return self.modality is Modality.CT and _in_hounsfield(self.voxels)

    @property
    def in_plane_axes(self) -> tuple[int, int]:
        """The two voxel axes within a slice, ascending."""
        return other_axes(self.slice_axis)

    @property
    def n_slices(self) -> int:
        """Number of acquired slices."""
        return self.grid.shape[self.slice_axis]

    @property
    def slice_normal(self) -> Float64Array:
        """Unit RAS vector across the slices, pointing to growing slice indices."""
        a, b = (self.grid.directions[:, x] for x in range(3) if x != self.slice_axis)
        normal = np.cross(a, b)
        normal *= np.sign(normal @ self.grid.directions[:, self.slice_axis]) / np.linalg.norm(normal)
        unit: Float64Array = normal
        return unit

    @property
    def slice_spacing_mm(self) -> float:
        """Distance in mm between neighbouring slice planes along their normal (not along a sheared column)."""
        return float(self.slice_normal @ self.grid.affine[:3, self.slice_axis])

    @property
    def slice_centres_ras_mm(self) -> Float64Array:
        """Centre of every slice in RAS+ mm, shape (n_slices, 3), in the order of the slice axis."""
        ijk = np.tile((np.array(self.grid.shape, dtype=np.float64) - 1) / 2, (self.n_slices, 1))
        ijk[:, self.slice_axis] = np.arange(self.n_slices)
        return self.grid.to_ras_mm(ijk)

    @property
    def thickness_mm(self) -> float:
        """Slice thickness in mm; the slice spacing where the file does not state one."""
        return self.slice_thickness_mm or self.slice_spacing_mm

    @property
    def gap_mm(self) -> float:
        """Unimaged distance between neighbouring slices (0 where they touch or overlap)."""
        return max(0.0, self.slice_spacing_mm - self.thickness_mm)

    @property
    def plane(self) -> str:
        """``axial``, ``coronal`` or ``sagittal``: the plane nearest to the acquired slices."""
        return ("sagittal", "coronal", "axial")[self.grid.world_axes[self.slice_axis]]


def _in_hounsfield(voxels: Float32Array) -> bool:
    low, high = float(np.nanmin(voxels)), float(np.nanmax(voxels))
    thin = voxels[tuple(slice(None, None, max(1, n // 64)) for n in voxels.shape)]
    if low < AIR_BELOW_HU:
        tissue = float(np.mean((thin > TISSUE_HU[0]) & (thin < TISSUE_HU[1])))
        too_dark = float(np.mean((thin > low) & (thin < LESS_THAN_AIR_HU)))
        return tissue >= LEAST_TISSUE > too_dark
    if high >= DENSE_BONE_HU or (low == 0 and high in PICTURES):
        return False
    shown = thin[thin > low]
    return shown.size == 0 or TYPICAL_HU[0] <= float(np.median(shown)) <= TYPICAL_HU[1]


def _is_immutable(array: NDArray[Any]) -> bool:
    """Whether nobody can change an array any more: it need not be copied."""
    return not array.flags.writeable and (array.base is None or is_on_disk(array))


def _sequence(name: str) -> Sequence:
    word = name.lower() if isinstance(name, str) else name
    if word not in tuple(Sequence):
        raise UsageError(f"no sequence {name!r}", todo=", ".join(Sequence))
    return Sequence(word)


def _numbers(values: ArrayLike | None, what: str) -> NDArray[Any]:
    try:
        array = np.asarray(values)
        if array.dtype.kind not in "buif":
            raise TypeError(array.dtype)
        return array if array.ndim == 3 else array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{what} must be an array of numbers ({type(values).__name__} given)") from error


def _affine(spacing_mm: NDArray[Any], orientation: str) -> Float64Array:
    """Voxel index to RAS+ mm for axes that lead to the letters given."""
    leads = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
    ways = [leads.get(letter, (3, 0)) for letter in orientation.upper()]
    if sorted(axis for axis, _ in ways) != [0, 1, 2]:
        raise UsageError(f"no orientation {orientation!r}", todo="three letters, one of each pair: RL, AP, SI")
    if spacing_mm.shape != (3,) or not (np.isfinite(spacing_mm).all() and (spacing_mm > 0).all()):
        raise GeometryError("spacing_mm must be three lengths in mm above 0", todo="along i, j and k")
    affine = np.eye(4)
    affine[:3, :3] = 0.0
    for voxel_axis, (axis, sign) in enumerate(ways):
        affine[axis, voxel_axis] = sign * spacing_mm[voxel_axis]
    return affine


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """The volumes that one case is decided on."""

    case: str
    volumes: tuple[Volume, ...]
    caveats: tuple[Reason, ...] = ()
    unreadable_series: tuple[str, ...] = ()
    """Identifiers of series that should have been analysed but could not be read."""
    before_contrast: tuple[Volume, ...] = ()
    """Scans before contrast agent that are only compared with those after it, not analysed."""

    def _repr_html_(self) -> str:
        return str(shown("cards.study", self))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelMap:
    """Integer labels on a grid; 0 is background. Labels that are read-only already are kept, others are copied."""

    labels: NDArray[Any] = field(repr=False)
    grid: Grid
    names: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        labels = np.asarray(self.labels)
        if not _is_immutable(labels):
            labels = labels.copy()
        if labels.dtype.kind not in "ui":
            raise UnsuitableImageError(f"labels must be integers, got {labels.dtype}")
        if labels.shape != self.grid.shape:
            raise GeometryError(f"labels are {labels.shape}, the grid is {self.grid.shape}")
        labels.setflags(write=False)
        object.__setattr__(self, "labels", labels)

    def to_disk(self) -> LabelMap:
        """The same labels on disk (``domain.disk_backed``)."""
        return replace(self, labels=to_disk(self.labels))
