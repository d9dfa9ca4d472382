"""Image planes: one 2-D image each, with its place and its modality LUT, as its own header states them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from miliary_seg.errors import GeometryError, MiliaryError, UnsuitableImageError
from miliary_seg.load.dicom.header import (
    MAX_PIXEL_BYTES,
    Header,
    PixelLayout,
    damaged_pixels,
    items,
    number,
    numbers,
    stated,
    text,
    whole,
    whole_number,
)
from miliary_seg.load.dicom.traits import Trait, classic_traits
from miliary_seg.load.file_boundary import LARGE_BYTES, MAX_RATIO


@dataclass(frozen=True, slots=True, kw_only=True)
class Plane:
    """One image plane in DICOM's own terms (LPS+ mm)."""

    layout: PixelLayout
    frame: int = 0
    """Frame of the file; for a mosaic the tile."""
    tiles: tuple[int, int] = (1, 1)
    """Tiles of the image that this plane is one of: down, across."""
    rows: int
    columns: int
    position: tuple[float, ...]
    """ImagePositionPatient; empty where absent."""
    orientation: tuple[float, ...]
    """ImageOrientationPatient; empty where absent."""
    spacing: tuple[float, ...]
    """PixelSpacing (between rows, between columns); empty where absent."""
    thickness_mm: float | None = None
    slope: float = 1.0
    intercept: float = 0.0
    sop_instance_uid: str = ""
    instance_number: int | None = None
    """InstanceNumber, by which viewers list the image; never used for the order."""
    sop_class_uid: str = ""
    traits: dict[str, Trait] = field(default_factory=dict)
    """What tells planes at one position apart: echo, b-value, time."""

    def check(self) -> None:
        """Refuse what cannot be placed.

        Raises
        ------
        GeometryError
            If position, orientation or spacing are absent, not finite, zero, or not orthonormal (1e-3).
        """
        where = self.layout.path
        for value, keyword in (
            (self.position, "ImagePositionPatient"),
            (self.orientation, "ImageOrientationPatient"),
            (self.spacing, "PixelSpacing"),
        ):
            if not value:
                raise GeometryError(
                    f"{keyword} is absent or not a number", where=where, todo="the slice cannot be placed; export again"
                )
        if min(self.spacing) <= 0:
            raise GeometryError("PixelSpacing is not positive", where=where, todo="export the series again")
        if max(map(abs, self.position)) > 1e5 or max(self.spacing) > 100:
            raise GeometryError("position or spacing is out of any patient's range", where=where, todo="export again")
        row, column = self.orientation[:3], self.orientation[3:]
        lengths = (sum(x * x for x in row) ** 0.5, sum(x * x for x in column) ** 0.5)
        cosine = sum(a * b for a, b in zip(row, column, strict=True))
        if max(abs(length - 1) for length in lengths) > 1e-3 or abs(cosine) > 1e-3:
            raise GeometryError(
                "ImageOrientationPatient is not two perpendicular unit vectors", where=where, todo="export again"
            )


def pixel_layout(header: Header) -> PixelLayout:
    """How the pixels are stored.

    Raises
    ------
    UnsuitableImageError
        Colour, float pixels, impossible bit depths, or sizes that no head needs.
    UnreadableFileError
        No pixels, or fewer than the header promises.
    """
    dataset, path = header.dataset, header.path
    layout = PixelLayout(
        path=path,
        size_bytes=header.size_bytes,
        packing=header.packing,
        body_start=header.body_start,
        offset=header.pixel_offset,
        length=header.pixel_length,
        transfer_syntax=header.transfer_syntax,
        rows=whole(dataset, "Rows"),
        columns=whole(dataset, "Columns"),
        n_frames=max(1, whole(dataset, "NumberOfFrames", 1)),
        bits_allocated=whole(dataset, "BitsAllocated"),
        bits_stored=whole(dataset, "BitsStored"),
        high_bit=whole(dataset, "HighBit", whole(dataset, "BitsStored") - 1),
        signed=whole(dataset, "PixelRepresentation") == 1,
    )
    refuse_colour(dataset, path)
    _check_bits(layout)
    _check_size(layout, header)
    return layout


def refuse_colour(dataset: Any, path: object) -> None:
    """Refuse everything that is not one grey value a pixel with dark as low (MONOCHROME1 is inverted)."""
    colours, samples = text(dataset, "PhotometricInterpretation").upper(), whole(dataset, "SamplesPerPixel", 1)
    if samples != 1 or colours not in ("MONOCHROME1", "MONOCHROME2"):
        raise UnsuitableImageError(
            f"PhotometricInterpretation is {colours or 'absent'!r} with {samples} samples a pixel: not grey values",
            where=path,
            todo="give the original grey-value series",
        )
    if colours == "MONOCHROME1":
        raise UnsuitableImageError(
            "MONOCHROME1: dark and bright are exchanged", where=path, todo="give the series as acquired"
        )
    if items(dataset, "ModalityLUTSequence"):
        raise UnsuitableImageError(
            "grey values are mapped by a ModalityLUTSequence", where=path, todo="export with slope and intercept"
        )


def modality_lut(dataset: Any, path: object) -> tuple[float, float]:
    """RescaleSlope and RescaleIntercept; absent or empty is identity.

    Raises
    ------
    UnsuitableImageError
        If the slope is zero or either is not a finite number: the grey values are lost.
    """
    values = []
    for keyword, default in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0)):
        found = number(dataset, keyword) if dataset is not None else None
        if found is None and dataset is not None and stated(dataset, keyword):
            raise UnsuitableImageError(f"{keyword} is not a finite number", where=path, todo="export again")
        values.append(default if found is None else found)
    if values[0] == 0:
        raise UnsuitableImageError("RescaleSlope is 0: the grey values are lost", where=path, todo="export again")
    return values[0], values[1]


def classic_plane(header: Header, layout: PixelLayout) -> Plane:
    """The one plane of a classic single-frame image."""
    dataset = header.dataset
    slope, intercept = modality_lut(dataset, header.path)
    return Plane(
        layout=layout,
        rows=layout.rows,
        columns=layout.columns,
        position=numbers(dataset, "ImagePositionPatient", 3),
        orientation=numbers(dataset, "ImageOrientationPatient", 6),
        spacing=numbers(dataset, "PixelSpacing", 2),
        thickness_mm=positive(number(dataset, "SliceThickness")),
        slope=slope,
        intercept=intercept,
        sop_instance_uid=text(dataset, "SOPInstanceUID"),
        instance_number=whole_number(dataset, "InstanceNumber"),
        sop_class_uid=sop_class(dataset),
        traits=classic_traits(dataset),
    )


def sop_class(dataset: Any) -> str:
    """SOPClassUID, or what the meta header says of it."""
    return text(dataset, "SOPClassUID") or text(getattr(dataset, "file_meta", {}), "MediaStorageSOPClassUID")


def positive(value: float | None) -> float | None:
    """The value where it is a positive number (a thickness of 0 says nothing)."""
    return value if value is not None and value > 0 else None


def _check_bits(layout: PixelLayout) -> None:
    problem = ""
    if layout.bits_allocated not in (8, 16, 32):
        problem = f"BitsAllocated is {layout.bits_allocated}"
    elif not 1 <= layout.bits_stored <= layout.bits_allocated:
        problem = f"BitsStored {layout.bits_stored} does not fit BitsAllocated {layout.bits_allocated}"
    elif not layout.bits_stored - 1 <= layout.high_bit < layout.bits_allocated:
        problem = f"HighBit {layout.high_bit} does not fit BitsStored {layout.bits_stored}"
    if problem:
        raise UnsuitableImageError(problem, where=layout.path, todo="export the series again")


def _check_size(layout: PixelLayout, header: Header) -> None:
    error: MiliaryError | None = None
    needed = layout.frame_bytes * layout.n_frames
    if header.pixel_tag != 0x7FE00010:
        raise damaged_pixels(layout, "truncated: no pixels follow the header")
    if min(layout.rows, layout.columns) < 1:
        error = UnsuitableImageError("Rows or Columns is absent or zero", where=layout.path, todo="export again")
    elif needed > MAX_PIXEL_BYTES:
        error = UnsuitableImageError(
            f"the header asks for {needed / 2**30:.0f} GB of pixels", where=layout.path, todo="export again"
        )
    elif needed > max(LARGE_BYTES, MAX_RATIO * layout.size_bytes):
        error = UnsuitableImageError(
            f"{layout.size_bytes >> 10} kB would grow to {needed >> 20} MB of pixels",
            where=layout.path,
            todo="export again",
        )
    elif layout.length >= 0 and needed > layout.length:
        what = f"truncated: the header asks for {needed} bytes of pixels, {layout.length} are there"
        error = damaged_pixels(layout, what)
    elif header.stream_bytes >= 0 and layout.offset + max(layout.length, 0) > header.stream_bytes:
        short = layout.offset + layout.length - header.stream_bytes
        error = damaged_pixels(layout, f"truncated: the file ends {short} bytes before its pixels do")
    if error:
        raise error
