"""Why a DICOM image, stack or series is not analysed: choices (localizer, derived) and errors (gaps, misfits)."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from miliary_seg.errors import AmbiguousInputError, GeometryError, MiliaryError, UnsuitableImageError
from miliary_seg.load.dicom_series import DicomImage
from miliary_seg.load.geometry import Placement
from miliary_seg.load.planes import Plane
from miliary_seg.load.stacks import Stack, places_of
from miliary_seg.settings import LoadSettings

LOCALIZER = "a localizer"
_LOCALIZER_WORDS = re.compile(
    r"(?<![a-z])(?:locali[sz]er|loc|scout|survey|pilot|smartbrain|topogram|surview|"
    r"(?:3|three)[ -]?plane|plan ?scan)(?![a-z])"
)
_DERIVED = {
    "PROJECTION IMAGE", "MIP", "MINIP", "MNIP", "MAX_IP", "MIN_IP", "CSA MIP", "FA", "COLFA", "ECC_FA", "TENSOR",
    "EADC", "DIFFUSION MAP", "RELCBF", "RELCBV", "RELMTT", "CBF", "CBV", "MTT", "TTP", "PERFUSION_MAP", "T1 MAP",
    "T2 MAP", "T1_MAP", "T2_MAP", "T2_STAR MAP", "R2_MAP", "R2 STAR MAP", "FIELD_MAP", "FIELD MAP", "SUBTRACT",
    "SUBTRACTION", "SUB", "MEAN", "STDDEV", "CALIBRATION", "DOSE", "SCREENSAVE", "SCREEN SAVE", "PASTED",
    "CSA 3D EDITOR", "CSA RESAMPLED", "VOLUME_RENDER", "VRT",
}  # fmt: skip
"""ImageType values of images computed from others: lesions were not seen by the scanner as they show here."""
_REFORMATTED = {"SECONDARY", "MPR", "CSA MPR", "REFORMATTED", "MPR THICK", "CURVED MPR", "AVERAGE", "MEAN_IP"}


def not_chosen(image: DicomImage) -> str:
    """Why an image is not for analysis though it can be read; '' where it is."""
    types = set(image.image_type)
    words = image.clues.words.lower().replace("_", " ")
    if types & {"LOCALIZER", "SCOUT"} or _LOCALIZER_WORDS.search(words):
        return LOCALIZER
    computed = sorted(types & _DERIVED)
    if computed:
        return f"derived: ImageType says {computed[0]}"
    return ""


def is_reformatted(image: DicomImage) -> bool:
    """Whether the image was interpolated from another series, which is then the better one."""
    return image.image_type[:1] == ("DERIVED",) and bool(set(image.image_type) & _REFORMATTED)


def placement_error(
    placement: Placement, n_planes: int, stack: Stack, where: Path, settings: LoadSettings
) -> MiliaryError | None:
    """What stands against one placed stack: too few slices, several volumes, gaps, size."""
    if n_planes < settings.min_slices:
        return UnsuitableImageError(
            f"{n_planes} slices, fewer than {settings.min_slices}", where=where, todo="give the whole series"
        )
    voxels = stack.planes[0].rows * stack.planes[0].columns * placement.n_slices
    if voxels > settings.max_voxels:
        return UnsuitableImageError(f"{voxels} voxels, more than load.max_voxels", where=where, todo="raise the cap")
    if stack.volumes and not 0 <= settings.volume < len(stack.volumes):
        return UnsuitableImageError(
            f"4-D: {len(stack.volumes)} volumes at the same positions, told apart by {stack.repeated_by}",
            where=where,
            todo="choose one with load.volume (from 0)",
        )
    return None if settings.resample else _gap_error(placement, where)


def _gap_error(placement: Placement, where: Path) -> MiliaryError | None:
    if placement.missing:
        listed = ", ".join(str(k) for k in placement.missing[:10])
        return GeometryError(
            f"slices are missing at index {listed} (of {placement.n_slices}, counted along the normal)",
            where=where,
            todo="complete the series, or set load.resample to fill the gap",
        )
    if placement.uneven_positions_mm:
        gaps = np.diff(placement.uneven_positions_mm)
        return GeometryError(
            f"uneven slices: {gaps.min():.3f} to {gaps.max():.3f} mm apart",
            where=where,
            todo="set load.resample to put them on an even grid",
        )
    return None


def parts_error(stacks: list[Stack], where: Path) -> MiliaryError | None:
    """Stacks of one kind and direction at different positions are one volume with files that do not fit it."""
    for n, a in enumerate(stacks):
        for b in stacks[:n]:
            if a.kind == b.kind and _parallel(a, b) and not _share_places(a, b):
                return AmbiguousInputError(
                    f"the series falls into {len(stacks)} parts that differ in matrix, spacing, orientation or "
                    f"frame of reference ({', '.join(str(len(stack.planes)) for stack in stacks)} slices)",
                    where=where,
                    todo="give a folder with the files of one part only",
                )
    return None


def _normal(plane: Plane) -> np.ndarray:
    return np.cross(plane.orientation[:3], plane.orientation[3:])


def _parallel(a: Stack, b: Stack) -> bool:
    return bool(abs(float(_normal(a.planes[0]) @ _normal(b.planes[0]))) > np.cos(np.radians(30)))


def _share_places(a: Stack, b: Stack) -> bool:
    """Whether most places of the smaller stack are those of the larger one (echoes, magnitude and phase)."""
    both = [*a.planes, *b.planes]
    places = places_of(both)
    first, second = set(places[: len(a.planes)]), set(places[len(a.planes) :])
    return len(first & second) >= 0.5 * min(len(first), len(second)) and min(len(first), len(second)) > 1
