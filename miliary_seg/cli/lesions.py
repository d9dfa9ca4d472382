"""Options for lesions that others found, shared by ``run``, ``bids`` and ``decide``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from miliary_seg.errors import UsageError

Lesions = Annotated[
    str,
    typer.Option(
        "--lesions",
        metavar="FILE_OR_PATTERN",
        help="Lesions that others found: NIfTI, NRRD, MGH, DICOM SEG, RTSTRUCT, CSV or JSON of centres, Slicer "
        "markups; {case}, {subject}, {session}, {series} stand for each one's.",
    ),
]
LesionLabels = Annotated[
    str, typer.Option(metavar="VALUES", help="Which labels: auto, instances, mask, or 1,3 or names such as GTV*.")
]
Split = Annotated[bool, typer.Option("--split", help="Split touching lesions at their necks.")]
LesionFrame = Annotated[str, typer.Option(help="Frame of a table of centres that does not say it: ras or lps.")]
LesionSensitivity = Annotated[
    float | None, typer.Option(min=1e-6, max=1.0, help="Share of true lesions that whoever found these finds.")
]
FalsePositives = Annotated[
    float | None, typer.Option(min=0.0, help="Mean number of false lesions a scan of whoever found these.")
]
Detectors = Annotated[
    list[str] | None,
    typer.Option("--detector", metavar="NAME", help="miliary-seg, command, onnx or a plug-in; a second is compared."),
]


def lesion_options(
    labels: str,
    split: bool,
    frame: str,
    rates: tuple[float | None, float | None],
    detectors: list[str] | None = None,
) -> dict[str, str]:
    """Settings that the options stand for."""
    said = {"lesions.labels": labels, "lesions.frame": frame, "detector.names": ",".join(detectors or ())}
    said |= {"lesions.split": "true"} if split else {}
    names = ("lesions.sensitivity", "lesions.false_positives")
    return said | {name: str(rate) for name, rate in zip(names, rates, strict=True) if rate is not None}


def lesion_pattern(lesions: str) -> str:
    """An absolute pattern: workers may run elsewhere. Empty stays empty.

    Raises
    ------
    UsageError
        If it has a field that nothing fills.
    """
    if not lesions:
        return ""
    from miliary_seg.load.lesions.patterns import check_pattern

    check_pattern(lesions)
    return str(Path(lesions).expanduser().absolute())


def require_lesions_for_each(lesions: str, n_cases: int) -> None:
    """Refuse one file for several cases.

    Raises
    ------
    UsageError
        If the pattern names the same file for all of them.
    """
    if not lesions or n_cases <= 1:
        return
    from miliary_seg.load.lesions.patterns import names_each

    if not names_each(lesions):
        what = f"--lesions names one file, but {n_cases} cases were found"
        raise UsageError(what, todo="a pattern such as masks/{case}.nii.gz, or one case")
