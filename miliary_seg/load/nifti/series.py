"""NIfTI files into series: header, BIDS name, sidecar and file name; why a file is used or not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from miliary_seg.domain.grid import Grid
from miliary_seg.domain.reason import Reason
from miliary_seg.domain.sequence import Modality, Sequence
from miliary_seg.errors import GeometryError, MiliaryError, UnsuitableImageError
from miliary_seg.load.agent import agent_named
from miliary_seg.load.inventory import SeriesInfo
from miliary_seg.load.masks import label_reason, stem
from miliary_seg.load.nifti.header import NiftiHeader, slice_axis_of
from miliary_seg.load.nifti.identity import nifti_name
from miliary_seg.load.nifti.sidecar import items, milliseconds, number, read_sidecar, text
from miliary_seg.load.nifti.volume import read_nifti_header
from miliary_seg.load.sequence import MR_ASSUMED, Clues, identify, not_a_lesion_scan
from miliary_seg.settings import LoadSettings

_BIDS = re.compile(r"^(sub-[A-Za-z0-9]+)(?:_(ses-[A-Za-z0-9]+))?(?:_[a-z]+-[A-Za-z0-9]+)*_([A-Za-z0-9]+)$")
_SUFFIXES: dict[str, Sequence | None] = {
    "T1w": Sequence.T1, "T2w": Sequence.T2, "FLAIR": Sequence.FLAIR, "PDw": Sequence.PD, "T2starw": Sequence.T2STAR,
    "dwi": Sequence.DWI, "swi": Sequence.SWI, "SWI": Sequence.SWI, "ct": Sequence.CT, "CT": Sequence.CT,
    "ADC": Sequence.ADC, "trace": Sequence.DWI, "T1c": Sequence.T1, "ceT1w": Sequence.T1,
}  # fmt: skip
_CT_WORDS = re.compile(r"(?<![a-z])(?:s?cct|s?ct|ncct|cta|cect|ctp?head|head ?ct)(?![a-z0-9])")


GAPLESS_MM = 1.5
"""Spacing up to which slices come from 3-D acquisitions, which have no gaps (docs/loading.md)."""


def bids_case(path: Path) -> str:
    """``sub-X`` or ``sub-X_ses-Y`` of a BIDS file name; '' for any other name.

    Examples
    --------
    >>> bids_case(Path("sub-01_ses-2_ce-GADOLINIUM_T1w.nii.gz"))
    'sub-01_ses-2'
    """
    match = _BIDS.match(stem(path))
    return "_".join(part for part in match.groups()[:2] if part) if match else ""


def find_nifti(path: Path, settings: LoadSettings, *, named_by_user: bool) -> SeriesInfo:
    """Describe one file.

    Raises
    ------
    MiliaryError
        If the file cannot be used at all (unreadable, colour, contradictory geometry).
    """
    header = read_nifti_header(path, settings.max_voxels)
    clues, thickness = _clues(path)
    error = _error(header, settings)
    choice = "" if named_by_user or error else label_reason(header)
    sequence = identify(clues)
    if not choice and sequence.sequence is Sequence.ADC and settings.sequence != "adc":
        choice = "an ADC map: analysed only where load.sequence asks for it"
    choice = choice or ("" if error or named_by_user else not_a_lesion_scan(clues))
    grid = Grid(shape=header.shape, affine=header.affine)
    axis, how = slice_axis_of(header)
    shape = (*header.shape, header.n_volumes) if header.n_volumes > 1 else header.shape
    return SeriesInfo(
        id=nifti_name(path, "volume"),
        format=header.format,
        modality=clues.modality or Modality.MR,
        sequence=sequence,
        eligible=not choice and error is None,
        why=choice or (error.what if error else "can be analysed"),
        shape=shape,
        spacing_mm=grid.spacing_mm,
        orientation=grid.orientation if header.orientation_source != "none" else "unknown",
        plane=("sagittal", "coronal", "axial")[grid.world_axes[axis]],
        slice_axis=axis,
        slice_thickness_mm=thickness,
        n_files=1,
        warnings=(*_warnings(header, how), *_modality_warning(clues), *_thickness_warning(thickness, grid, axis)),
        error=error,
        paths=(path,),
        source=header,
    )


def _error(header: NiftiHeader, settings: LoadSettings) -> MiliaryError | None:
    axis = slice_axis_of(header)[0]
    if header.n_volumes > 1 and settings.volume < 0:
        return UnsuitableImageError(
            f"4-D: {header.n_volumes} volumes", where=header.path, todo="choose one with load.volume (from 0)"
        )
    if settings.volume >= header.n_volumes and header.n_volumes > 1:
        return UnsuitableImageError(
            f"there is no volume {settings.volume}: the file has {header.n_volumes}", where=header.path, todo="from 0"
        )
    if header.shape[axis] < settings.min_slices:
        return UnsuitableImageError(
            f"{header.shape[axis]} slices, fewer than {settings.min_slices}", where=header.path, todo="give a 3-D scan"
        )
    if header.orientation_source == "none" and not settings.assume_orientation:
        return GeometryError(
            "the file states no orientation: left and right are unknown",
            where=header.path,
            todo="state it (--set load.assume_orientation=RAS), or =unknown to analyse without sides",
        )
    return None


def _warnings(header: NiftiHeader, how: str) -> tuple[Reason, ...]:
    notes = [Reason(code=code, text=text) for code, text in header.notes]
    if header.orientation_source == "none":
        text = "The file states no orientation; left and right are what the user stated, or unknown."
        notes.append(Reason(code="orientation_unknown", text=text))
    if how.startswith("spacing"):
        notes.append(Reason(code="slice_axis_assumed", text=f"Slices: {how}."))
    return tuple(notes)


def _thickness_warning(thickness: float | None, grid: Grid, axis: int) -> tuple[Reason, ...]:
    """Gaps between slices cannot be seen where no thickness is stated; thin slices are acquired without gaps."""
    if thickness is not None or grid.spacing_mm[axis] <= GAPLESS_MM:
        return ()
    text = f"No slice thickness is stated: slices of {grid.spacing_mm[axis]:.1f} mm without gaps are taken."
    return (Reason(code="thickness_assumed", text=text),)


def _modality_warning(clues: Clues) -> tuple[Reason, ...]:
    if clues.modality is not None:
        return ()
    return (MR_ASSUMED,)


def _clues(path: Path) -> tuple[Clues, float | None]:
    """What the name and the BIDS sidecar say, and the slice thickness of the sidecar."""
    name = stem(path)
    sidecar = read_sidecar(path)
    match = _BIDS.match(name)
    suffix = match.group(3) if match else ""
    # The words of a BIDS name are its entities and suffix: a subject label says nothing of the sequence.
    words = re.sub(r"^sub-[A-Za-z0-9]+(_ses-[A-Za-z0-9]+)?", "", name) if match else name
    stated = _SUFFIXES.get(suffix)
    contrast, source, torn = _agent(name, suffix, sidecar)
    modality = _modality(sidecar, stated, f"{name} {path.parent.name if match else ''}")
    clues = Clues(
        modality=modality,
        words=" | ".join(
            [words, *(text(sidecar, key) for key in ("SeriesDescription", "ProtocolName", "SequenceName"))]
        ),
        weak_words="" if match else path.parent.name,
        contrast_agent=contrast,
        contrast_source=source,
        contrast_conflict=torn,
        image_type=tuple(str(part).upper() for part in items(sidecar, "ImageType")),
        scanning_sequence=tuple(text(sidecar, "ScanningSequence").upper().replace("_", "\\").split("\\")),
        repetition_time_ms=milliseconds(sidecar, "RepetitionTime"),
        echo_time_ms=milliseconds(sidecar, "EchoTime"),
        inversion_time_ms=milliseconds(sidecar, "InversionTime"),
        flip_angle_deg=number(sidecar, "FlipAngle"),
        stated=None if modality is Modality.CT else stated,
    )
    return clues, number(sidecar, "SliceThickness")


_CE = re.compile(r"_ce-([A-Za-z0-9]+)")
_AGENT_KEYS = ("ContrastBolusIngredient", "ContrastBolusAgent", "ContrastBolusAgentSequence", "ContrastBolusVolume",
               "ContrastBolusTotalDose")  # fmt: skip


def _agent(name: str, suffix: str, sidecar: dict[str, Any]) -> tuple[bool | None, str, str]:
    """What BIDS name and sidecar say of a contrast agent, which of them says it, and what contradicts it."""
    entity = _CE.search(name)
    said = {"the BIDS entity ce-": agent_named(entity.group(1)) if entity else None}
    said["the BIDS suffix"] = True if suffix in ("T1c", "ceT1w") else None
    said |= {key: agent_named(sidecar.get(key)) for key in _AGENT_KEYS}
    heard = {source: given for source, given in said.items() if given is not None}
    if not heard:
        return None, "ContrastBolusAgent", ""
    source, given = next(iter(heard.items()))
    other = next((name for name, value in heard.items() if value is not given), "")
    sides = (source, other) if given else (other, source)
    return given, source, f"{sides[0]} names a contrast agent, but {sides[1]} says none" if other else ""


def _modality(sidecar: dict[str, Any], stated: Sequence | None, words: str) -> Modality | None:
    said = text(sidecar, "Modality").upper()
    if said in ("MR", "CT"):
        return Modality(said)
    if stated is not None:
        return Modality.CT if stated is Sequence.CT else Modality.MR
    plain = re.sub(r"[^a-z0-9]+", " ", words.lower())
    if _CT_WORDS.search(plain):
        return Modality.CT
    return Modality.MR if identify(Clues(modality=None, words=words)).sequence is not Sequence.UNKNOWN else None
