"""Named phantoms."""

from __future__ import annotations

from dataclasses import replace

from miliary_seg.domain.sequence import Sequence
from miliary_seg.errors import SettingsError
from miliary_seg.lab.phantom.spec import LesionSpec, MimicSpec, PhantomSpec, ScannerSpec

_SOME_VESSELS = MimicSpec(vessels=40, sheets=6, choroid=4, dots=10, sinuses=True)
_MANY_VESSELS = MimicSpec(vessels=160, sheets=30, choroid=10, dots=40, sinuses=True)
_MANY_DOTS = MimicSpec(vessels=20, sheets=4, choroid=4, dots=250, sinuses=True)
_MILIARY = PhantomSpec(
    name="miliary", lesions=LesionSpec(count=600, diameter_mm=(2.0, 5.0), contrast=(25.0, 50.0)), mimics=_SOME_VESSELS
)
_METASTASES = PhantomSpec(
    name="metastases",
    lesions=LesionSpec(
        count=400,
        diameter_mm=(1.5, 8.0),
        enhancement=(0.2, 1.5),
        irregularity=0.2,
        ring_fraction=0.3,
        ring_from_mm=4.0,
        soft_fraction=0.3,
    ),
    mimics=_SOME_VESSELS,
    scanner=ScannerSpec(profile="trapezoid"),
)
_NORMAL = PhantomSpec(name="normal", lesions=LesionSpec(count=0), mimics=_SOME_VESSELS)

PRESETS: dict[str, PhantomSpec] = {
    "miliary": _MILIARY,
    "metastases": _METASTASES,
    "normal": _NORMAL,
    "one-sided": replace(_MILIARY, name="one-sided", lesions=replace(_MILIARY.lesions, side="left")),
    "supratentorial-only": replace(
        _MILIARY, name="supratentorial-only", lesions=replace(_MILIARY.lesions, level="supratentorial")
    ),
    "few-large": replace(
        _MILIARY,
        name="few-large",
        lesions=LesionSpec(count=8, diameter_mm=(8.0, 20.0), contrast=(10.0, 20.0), ring_fraction=0.6, elongation=1.4),
    ),
    "vessel-rich": replace(_NORMAL, name="vessel-rich", mimics=_MANY_VESSELS),
    "pvs-rich": replace(_NORMAL, name="pvs-rich", mimics=_MANY_DOTS),
    "ct-miliary": PhantomSpec(
        name="ct-miliary",
        sequence=Sequence.CTC,
        lesions=LesionSpec(count=350, diameter_mm=(2.5, 6.0), contrast=(6.0, 12.0)),
        mimics=MimicSpec(vessels=20, choroid=2, sinuses=True, brightness=(0.2, 0.6)),
        scanner=ScannerSpec(pixel_mm=0.6, thickness_mm=4.0, noise=4.0),
    ),
}
"""What each shows: ``miliary`` meets the rule; ``metastases`` holds faint and small lesions in place of tissue; the
others fail one part of the rule, or are mimics; docs/phantoms.md."""


def preset(name: str) -> PhantomSpec:
    """Specification by name.

    Raises
    ------
    SettingsError
        If there is no preset of that name.
    """
    try:
        return PRESETS[name]
    except KeyError as error:
        raise SettingsError(f"there is no phantom called {name!r}", todo="one of " + ", ".join(PRESETS)) from error
