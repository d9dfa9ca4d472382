"""``miliary-seg demo``: the whole thing on the sample data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from miliary_seg.cli.options import Force, Output
from miliary_seg.cli.run import run_inputs
from miliary_seg.errors import NoImageError


def demo(
    output: Output = Path("demo_output"),
    sample_data: Annotated[
        Path | None, typer.Option(help="Folder of the sample scans; default: this checkout's.")
    ] = None,
    force: Force = False,
) -> None:
    """Analyse the sample scans and say where the reports are."""
    from miliary_seg.cli.outcomes import OutcomePrinter
    from miliary_seg.cohort import BatchOptions, RunPlan
    from miliary_seg.settings import Settings

    folder = sample_data or Path(__file__).resolve().parents[2] / "sample_data"
    if not folder.is_dir():
        todo = "run it from a checkout, or give --sample-data"
        raise NoImageError("the sample scans are not here", where=folder, todo=todo)
    scans = sorted(p for p in folder.iterdir() if p.is_dir() or p.name.endswith(".nii.gz"))
    plan = RunPlan(output=output, settings=Settings(), force=force)
    run_inputs(scans, plan, BatchOptions(), printer=OutcomePrinter())
