"""What a viewer lists: each lesion by number, place and size, and its anatomic region in codes."""

from __future__ import annotations

import math

from miliary_seg.domain.compartment import Assignment, Side
from miliary_seg.domain.lesion import Lesion
from miliary_seg.report.dicom import codes
from miliary_seg.report.dicom.codes import Code

_SIDES = {Side.LEFT: "L ", Side.RIGHT: "R ", None: ""}


def lesion_name(lesion: Lesion, place: Assignment | None) -> str:
    """Number, side, region and longest diameter; what is not known is left out.

    Examples
    --------
    >>> lesion_name(Lesion(id=12, centroid_ras_mm=(0, 0, 0), centroid_ijk=(0, 0, 0), volume_mm3=34.0, contrast=9.0,
    ...                    equivalent_diameter_mm=4.02, max_diameter_mm=4.24, probability=0.9), None)
    '12 brain 4.2 mm'
    """
    where = "brain"
    if place is not None:
        where = place.region.text if place.region else str(place.level or "brain")
        where = _SIDES[place.side] + where
    size = lesion.max_diameter_mm or lesion.equivalent_diameter_mm
    return f"{lesion.id} {where} {size:.1f} mm"


def region_code(place: Assignment | None) -> Code:
    """The anatomic region, or the brain where it is not known."""
    return codes.BRAIN if place is None or place.region is None else codes.REGIONS[place.region]


def three_digits(value: float) -> float:
    """A measured number with three significant digits: more are not measured.

    Examples
    --------
    >>> three_digits(33.5103), three_digits(0.99874), three_digits(1234.5)
    (33.5, 0.999, 1230.0)
    """
    if not math.isfinite(value) or value == 0:
        return value
    return round(value, 2 - math.floor(math.log10(abs(value))))
