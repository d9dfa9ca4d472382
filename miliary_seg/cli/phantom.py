"""``miliary-seg phantom``: make a head with known lesions."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from miliary_seg.cli.options import Force, Output

if TYPE_CHECKING:
    from miliary_seg.lab.phantom import Phantom, PhantomSpec

Pair = tuple[float, float]


def phantom(  # noqa: PLR0913, PLR0917 - a verb's options are its interface
    output: Output,
    preset: Annotated[
        str, typer.Option(help="miliary, normal, one-sided, supratentorial-only, few-large ...")
    ] = "miliary",
    host: Annotated[
        Path | None, typer.Option(help="A scan to put the lesions into; else the shipped template.")
    ] = None,
    file_format: Annotated[str, typer.Option("--format", help="nifti or dicom.")] = "nifti",
    seed: Annotated[int, typer.Option(help="Equal seeds give equal phantoms.")] = 0,
    count: Annotated[int | None, typer.Option(min=0, help="Number of lesions.")] = None,
    diameter_mm: Annotated[Pair | None, typer.Option(help="Smallest and largest diameter in mm.")] = None,
    contrast: Annotated[Pair | None, typer.Option(help="Lowest and highest contrast, in --contrast-unit.")] = None,
    contrast_unit: Annotated[str | None, typer.Option(help="noise (of the scan) or local (around the lesion).")] = None,
    enhancement: Annotated[
        Pair | None,
        typer.Option(help="Lesions replace tissue: fraction above local white matter (0.2 1.5), HU on CT."),
    ] = None,
    second_best: Annotated[
        int | None,
        typer.Option(min=0, help="As many lesions as give this count on the second of two slices."),
    ] = None,
    side: Annotated[str | None, typer.Option(help="left, right or both.")] = None,
    level: Annotated[str | None, typer.Option(help="supratentorial, infratentorial or both.")] = None,
    thickness_mm: Annotated[
        float | None, typer.Option(help="Slice thickness; of a host, no thinner than its own.")
    ] = None,
    force: Force = False,
) -> None:
    """Make a head with known lesions: the scan, truth.json, lesions.csv, slices.csv and the label map."""
    from miliary_seg.lab.host_scan import make_phantom
    from miliary_seg.lab.phantom import preset as preset_named

    wanted = {
        "count": count,
        "diameter_mm": diameter_mm,
        "contrast": contrast,
        "contrast_unit": contrast_unit,
        "enhancement": enhancement,
        "second_best": second_best,
        "side": side,
        "level": level,
    }
    _require_one(contrast or contrast_unit, enhancement)
    spec = _changed(
        preset_named(preset.lower()), {k: v for k, v in wanted.items() if v is not None}, thickness_mm, host
    )
    kind = _format(file_format)
    _require_empty(output, force)
    made = make_phantom(spec, host, seed)
    folder = _written(made, output, kind, force)
    typer.echo(f"{preset}: {len(made.truth.lesions)} lesions, at most {max(made.truth.slice_counts)} a slice  {folder}")


def _changed(spec: PhantomSpec, lesions: dict[str, Any], thickness_mm: float | None, host: Path | None) -> PhantomSpec:
    if "contrast" in lesions or "contrast_unit" in lesions:
        lesions = {"enhancement": None, "second_best": None} | lesions
    changed = replace(spec, lesions=replace(spec.lesions, **lesions))
    if thickness_mm is None:
        return changed
    if host is None:
        return replace(changed, scanner=replace(changed.scanner, thickness_mm=thickness_mm))
    return replace(changed, scanner=replace(changed.scanner, on_host_grid=True, host_thickness_mm=thickness_mm))


def _require_one(contrast: object, enhancement: object) -> None:
    """Contrast is added to tissue, enhancement replaces it: one lesion cannot do both."""
    from miliary_seg.errors import UsageError

    if contrast and enhancement:
        raise UsageError("--contrast and --enhancement exclude each other", todo="give one of them")


def _require_empty(folder: Path, force: bool) -> None:
    """A scan must never lie beside the truth of another phantom."""
    from miliary_seg.errors import OutputError

    if folder.is_dir() and any(folder.iterdir()) and not force:
        raise OutputError("the folder is not empty", where=folder, todo="choose another --output, or --force")


def _format(text: str) -> Literal["nifti", "dicom"]:
    from miliary_seg.errors import UsageError

    if text not in ("nifti", "dicom"):
        raise UsageError(f"--format cannot be {text!r}", todo="nifti or dicom")
    return "dicom" if text == "dicom" else "nifti"


def _written(made: Phantom, folder: Path, file_format: Literal["nifti", "dicom"], force: bool) -> Path:
    from miliary_seg.report.dicom.images import write_series
    from miliary_seg.report.volume_files import write_bytes, write_nifti, write_sidecar

    if file_format == "dicom":
        write_series(made.volume, folder / "dicom", force=force)
    else:
        write_nifti(made.volume, folder / "scan.nii.gz", force=force)
        write_sidecar(made.volume, folder / "scan.json", force=force)
    write_nifti(made.labels, folder / "lesions_truth.nii.gz", force=force)
    truth = json.dumps(made.truth.as_dict(), indent=2) + "\n"
    write_bytes(folder / "truth.json", truth.encode(), force=force)
    for name, rows in (("lesions", made.truth.lesion_rows()), ("slices", made.truth.slice_rows())):
        write_bytes(folder / f"{name}_truth.csv", _csv(rows), force=force)
    return folder


def _csv(rows: list[dict[str, Any]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else ["id"])
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
