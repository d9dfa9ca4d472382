"""The series of one DICOM study: every stack described, with the reason why it is used or not."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np

from miliary_seg.domain.grid import Grid
from miliary_seg.domain.reason import Reason
from miliary_seg.domain.sequence import Sequence
from miliary_seg.errors import AmbiguousInputError, GeometryError, MiliaryError, UnsuitableImageError
from miliary_seg.load.dicom.geometry import Placement, in_order, place
from miliary_seg.load.dicom.halves import told_of_halves
from miliary_seg.load.dicom.images import DicomImage
from miliary_seg.load.dicom.pixels import read_stored
from miliary_seg.load.dicom.planes import Plane
from miliary_seg.load.dicom.source import DicomSource
from miliary_seg.load.dicom.stacks import Stack, places_of, stacks_of
from miliary_seg.load.inventory import SeriesInfo, case_name, unique_names
from miliary_seg.load.sequence import Clues, identify, not_a_lesion_scan, reference_of_diffusion
from miliary_seg.settings import LoadSettings

LOCALIZER = "a localizer"
_LOCALIZER_WORDS = re.compile(
    r"(?<![a-z])(?:locali[sz]er|loc|scout|smartbrain|topogram|surview|(?:3|three)[ -]?plane|plan ?scan)(?![a-z])"
)
_PERHAPS_LOCALIZER = re.compile(r"(?<![a-z])(?:survey|pilot)(?![a-z])")
"""Words of studies as well ("pilot study"): the geometry decides."""
LOCALIZER_PLANES = 25
"""Localizers have 3 to 21 slices over their directions; a brain takes at least 20 slices of 6 mm and a few more."""
_DERIVED = {
    "PROJECTION IMAGE", "MIP", "MINIP", "MNIP", "MAX_IP", "MIN_IP", "CSA MIP", "FA", "COLFA", "ECC_FA", "TENSOR",
    "EADC", "DIFFUSION MAP", "RELCBF", "RELCBV", "RELMTT", "CBF", "CBV", "MTT", "TTP", "PERFUSION_MAP", "T1 MAP",
    "T2 MAP", "T1_MAP", "T2_MAP", "T2_STAR MAP", "R2_MAP", "R2 STAR MAP", "FIELD_MAP", "FIELD MAP", "SUBTRACT",
    "SUBTRACTION", "SUB", "MEAN", "STDDEV", "CALIBRATION", "DOSE", "SCREENSAVE", "SCREEN SAVE", "PASTED",
    "CSA 3D EDITOR", "CSA RESAMPLED", "VOLUME_RENDER", "VRT",
}  # fmt: skip
"""ImageType values of images computed from others: lesions were not seen by the scanner as they show here."""
_REFORMATTED = {"SECONDARY", "MPR", "CSA MPR", "REFORMATTED", "MPR THICK", "CURVED MPR", "AVERAGE", "MEAN_IP"}


def not_chosen(image: DicomImage, n_planes: int = 0) -> str:
    """Why an image is not for analysis though it can be read; '' where it is.

    ``n_planes`` is the number of planes of its whole series.
    """
    types = set(image.image_type)
    words = image.clues.words.lower().replace("_", " ")
    if types & {"LOCALIZER", "SCOUT"} or _LOCALIZER_WORDS.search(words):
        return LOCALIZER
    if _PERHAPS_LOCALIZER.search(words) and n_planes < LOCALIZER_PLANES:
        return LOCALIZER
    computed = sorted(types & _DERIVED)
    if computed:
        return f"derived: ImageType says {computed[0]}"
    return not_a_lesion_scan(image.clues)


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
            if a.group != b.group and a.kind == b.kind and _parallel(a, b) and not _share_places(a, b):
                return AmbiguousInputError(
                    f"the series falls into {len(stacks)} parts that differ in matrix, spacing, orientation or "
                    f"frame of reference ({', '.join(str(len(stack.planes)) for stack in stacks)} slices)",
                    where=where,
                    todo="give a folder with the files of one part only",
                )
    frames = {stack.frame_of_reference for stack in stacks} - {""}
    if len(frames) > 1:
        return AmbiguousInputError(
            f"one SeriesInstanceUID with {len(frames)} frames of reference: two people, or two positions of one",
            where=where,
            todo="give a folder with the files of one of them",
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


def find_series(
    images: list[DicomImage], blocked: dict[Path, MiliaryError], settings: LoadSettings
) -> list[SeriesInfo]:
    """All stacks of one study.

    ``blocked`` maps a folder to the error of a file in it that looks like DICOM but could not be read: the file may
    belong to any series of that folder, so it stands against all of them.
    """
    by_series: dict[tuple[str, str], list[DicomImage]] = defaultdict(list)
    n_planes: Counter[str] = Counter()
    for image in images:
        n_planes[image.series_uid] += len(image.planes)
    for image in images:
        by_series[image.series_uid, not_chosen(image, n_planes[image.series_uid])].append(image)
    found = []
    for (_, choice), members in by_series.items():
        error = next((image.error for image in members if image.error), None)
        error = error or next((blocked[image.path.parent] for image in members if image.path.parent in blocked), None)
        found += _series(members, None if choice.startswith(LOCALIZER) else error, choice, settings)
    found = told_of_halves(found)
    names = unique_names([series.id for series in found])
    return [replace(series, id=name) for series, name in zip(found, names, strict=True)]


def _series(
    images: list[DicomImage], error: MiliaryError | None, choice: str, settings: LoadSettings
) -> list[SeriesInfo]:
    """The stacks of one series; ``choice`` says why its images are not for analysis."""
    if error is None and not choice:
        try:
            images = _without_copies(images)
        except MiliaryError as conflict:
            error = conflict
    planes = [plane for image in images for plane in image.planes]
    if error or not planes:
        error = error or (None if choice else UnsuitableImageError("no image planes", where=images[0].path))
        return [_described(images, None, error=error, choice=choice)]
    frames = {id(plane.layout): image.frame_of_reference_uid for image in images for plane in image.planes}
    stacks, n_directions = stacks_of(planes, frames)
    if n_directions >= 3 and not choice:
        choice = f"{LOCALIZER}: sliced in three directions"
    error = parts_error(stacks, images[0].path.parent)
    return [_stack(images, stack, error=error, choice=choice, settings=settings) for stack in stacks]


def _without_copies(images: list[DicomImage]) -> list[DicomImage]:
    """Drop files that repeat a SOPInstanceUID with the same pixels.

    Raises
    ------
    AmbiguousInputError
        If two files carry one SOPInstanceUID and different pixels.
    """
    first: dict[str, DicomImage] = {}
    kept = []
    for image in images:
        other = first.setdefault(image.sop_instance_uid, image) if image.sop_instance_uid else image
        if other is image:
            kept.append(image)
        elif not _same_image(other, image):
            raise AmbiguousInputError(
                f"the same SOPInstanceUID as {other.path.name}, with another image",
                where=image.path,
                todo="remove the wrong one",
            )
    return kept


def _same_image(a: DicomImage, b: DicomImage) -> bool:
    places = [[(p.position, p.orientation, p.slope, p.intercept) for p in image.planes] for image in (a, b)]
    if places[0] != places[1]:
        return False
    return bool(np.array_equal(read_stored(a.planes[0].layout)[0], read_stored(b.planes[0].layout)[0]))


def _stack(
    images: list[DicomImage], stack: Stack, *, error: MiliaryError | None, choice: str, settings: LoadSettings
) -> SeriesInfo:
    where = images[0].path.parent
    placement: Placement | None = None
    if choice.startswith(LOCALIZER):
        return _described(images, stack, error=None, choice=choice)
    if stack.kind in ("phase", "imaginary"):
        choice = choice or f"a {stack.kind} image"
    try:
        volume = stack.volumes[0] if stack.volumes else stack.planes
        ordered = in_order(list(volume))
        single = _one_a_place(ordered) if stack.conflicting else ordered
        placement = place(single)
        error = error or _mixed_error(stack, where)
        error = error or placement_error(placement, len(single), stack, where, settings)
    except MiliaryError as problem:
        error = error or problem
    found = _described(images, stack, error=error, choice=choice, placement=placement)
    source = DicomSource(
        stack=stack,
        placement=placement,
        study_uid=images[0].study_uid,
        frame_of_reference_uid=images[0].frame_of_reference_uid,
    )
    return replace(found, source=source)


def _mixed_error(stack: Stack, where: Path) -> MiliaryError | None:
    todo = "give a folder with the files of one image only"
    return AmbiguousInputError(stack.mixed, where=where, todo=todo) if stack.mixed else None


def _one_a_place(ordered: list[Plane]) -> list[Plane]:
    places = places_of(ordered)
    return [plane for k, plane in enumerate(ordered) if k == 0 or places[k] != places[k - 1]]


def _described(
    images: list[DicomImage],
    stack: Stack | None,
    *,
    error: MiliaryError | None,
    choice: str,
    placement: Placement | None = None,
) -> SeriesInfo:
    first = _first_of(images, stack)
    clues = _stack_clues(first, stack)
    sequence = identify(clues)
    choice = choice or reference_of_diffusion(clues)
    if not choice and sequence.sequence is Sequence.ADC:
        choice = "an ADC map: analysed only where load.sequence asks for it"
    number = "x" if first.series_number is None else f"{first.series_number:03d}"
    label = f"-{stack.label}" if stack and stack.label else ""
    found = SeriesInfo(
        id=case_name(f"{number}-{sequence.sequence}{label}".lower().replace(" ", "-"), "series"),
        format="DICOM",
        modality=first.modality,
        sequence=sequence,
        eligible=not error and not choice,
        why=choice or (str(error.what) if error else "can be analysed"),
        n_files=len({plane.layout.path for plane in stack.planes}) if stack else len(images),
        warnings=_warnings(images, placement),
        error=error,
        derived=is_reformatted(first),
        series_instance_uid=first.series_uid,
        series_number=first.series_number,
        paths=tuple(dict.fromkeys(p.layout.path for p in stack.planes)) if stack else tuple(i.path for i in images),
    )
    return _with_geometry(found, stack, placement) if stack and placement else found


def _first_of(images: list[DicomImage], stack: Stack | None) -> DicomImage:
    """The image that speaks for a stack: one of its own, since another of the series may be called otherwise."""
    own = stack.planes[0].layout if stack else None
    return next((image for image in images if any(plane.layout is own for plane in image.planes)), images[0])


def _stack_clues(image: DicomImage, stack: Stack | None) -> Clues:
    """The clues of the series, with what this stack's own planes say of echo and diffusion."""
    if stack is None:
        return image.clues

    traits = stack.planes[0].traits

    def own(name: str, series_value: float | None) -> float | None:
        value = traits.get(name)
        return value if isinstance(value, float) else series_value

    clues = image.clues
    return replace(
        clues,
        contrast_agent={"given": True, "not given": False}.get(str(traits["ContrastBolusAgent"]))
        if "ContrastBolusAgent" in traits
        else clues.contrast_agent,
        echo_time_ms=own("EchoTime", clues.echo_time_ms),
        b_value=own("DiffusionBValue", clues.b_value),
        inversion_time_ms=own("InversionTime", clues.inversion_time_ms),
        repetition_time_ms=own("RepetitionTime", clues.repetition_time_ms),
        flip_angle_deg=own("FlipAngle", clues.flip_angle_deg),
    )


def _with_geometry(found: SeriesInfo, stack: Stack, placement: Placement) -> SeriesInfo:
    plane = stack.planes[0]
    shape = (plane.columns, plane.rows, placement.n_slices)
    grid = Grid(shape=shape, affine=placement.affine)
    return replace(
        found,
        shape=(*shape, len(stack.volumes)) if stack.volumes else shape,
        spacing_mm=grid.spacing_mm,
        orientation=grid.orientation,
        plane=("sagittal", "coronal", "axial")[grid.world_axes[2]],
        slice_thickness_mm=plane.thickness_mm,
    )


def _warnings(images: list[DicomImage], placement: Placement | None) -> tuple[Reason, ...]:
    warnings = []
    if any(image.lossy for image in images):
        warnings.append(Reason(code="lossy_compression", text="The images were compressed with loss."))
    promised = max((image.images_in_acquisition for image in images), default=0)
    if promised > sum(max(1, len(image.planes)) for image in images):
        text = f"The header speaks of {promised} images of this acquisition, {len(images)} are here."
        warnings.append(Reason(code="fewer_images_than_stated", text=text))
    if placement and placement.tilt_deg:
        text = f"The gantry was tilted by {placement.tilt_deg:.1f} degrees: the grid is sheared, as acquired."
        warnings.append(Reason(code="gantry_tilt", text=text))
    if placement and placement.missing:
        listed = ", ".join(str(k) for k in placement.missing[:10])
        warnings.append(Reason(code="missing_slices", text=f"Slices are missing at index {listed}."))
    if placement and placement.uneven_positions_mm:
        warnings.append(Reason(code="uneven_slices", text="The slices are unevenly spaced."))
    return tuple(warnings)
