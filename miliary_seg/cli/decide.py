"""``miliary-seg decide``: a new answer for a finished case from corrected lesions."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from miliary_seg.cli.lesions import LesionLabels
from miliary_seg.cli.options import AsJson, Force


def decide(  # noqa: PLR0913, PLR0917 - a verb's options are its interface
    case_folder: Annotated[Path, typer.Argument(help="OUTPUT/<case> of a run.", show_default=False)],
    lesions: Annotated[Path, typer.Option("--lesions", help="Corrected lesions: lesions.nii.gz edited, or any file.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for the new answer [CASE_FOLDER/corrected].")
    ] = None,
    series: Annotated[str, typer.Option(help="The series that the lesions belong to.")] = "",
    by: Annotated[str, typer.Option(help="Who corrected them.")] = "",
    lesion_labels: LesionLabels = "",
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Decide a finished case again with lesions that a reader corrected; says what changed."""
    from miliary_seg.correction import correction_document, decide_again, write_correction
    from miliary_seg.settings import LesionsSettings

    settings = replace(LesionsSettings(), labels=lesion_labels) if lesion_labels else None
    found = decide_again(case_folder, lesions, series=series, by=by, settings=settings)
    document = correction_document(found)
    folder = write_correction(found, output or case_folder / "corrected", force=force)
    if as_json:
        typer.echo(json.dumps(document, indent=1))
        return
    changes = document["changes"]
    said = ", ".join(f"{changes[kind]} {kind}" for kind in ("removed", "added", "moved", "redrawn", "unchanged"))
    before = "" if document["verdict"] == document["verdict_before"] else f" (before: {document['verdict_before']})"
    typer.echo(f"{document['case']} {document['series']}: {document['verdict']}{before}")
    typer.echo(f"{document['n_lesions']} lesions: {said}")
    for reason in document["decision"]["reasons"]:
        typer.echo(f"  {reason['code']}: {reason['text']}")
    typer.echo(str(folder))
