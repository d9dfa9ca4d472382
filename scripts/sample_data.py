"""Makes the sample scans: one DICOM series that meets the proposed criteria, one NIfTI file that does not."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from miliary_seg.domain.volume import Volume
from miliary_seg.lab.phantom import LesionSpec, MimicSpec, Phantom, PhantomSpec, ScannerSpec, make
from miliary_seg.report.dicom.images import SeriesText, write_series
from miliary_seg.report.volume_files import write_bytes, write_nifti, write_sidecar

SERIES = "dicom_t1c_miliary"
NIFTI = "sub-normal_ce-gadolinium_T1w.nii.gz"
STORED_SCALE = 0.25
"""The NIfTI's grey values are divided by 4 before rounding: less noise to store, steps still a quarter of the noise."""

MILIARY = PhantomSpec(
    name="sample-miliary",
    lesions=LesionSpec(count=800, diameter_mm=(2.5, 5.0), contrast=(32.0, 60.0), gap_mm=2.5),
    mimics=MimicSpec(vessels=40, sheets=4, choroid=4, dots=6, sinuses=True),
    scanner=ScannerSpec(pixel_mm=0.95, thickness_mm=3.0, noise=0.015, bias=0.1, margin_mm=18.0),
)
NORMAL = PhantomSpec(
    name="sample-normal",
    lesions=LesionSpec(count=0),
    mimics=MimicSpec(vessels=50, sheets=8, choroid=4, dots=8, sinuses=True),
    scanner=ScannerSpec(
        pixel_mm=1.3,
        thickness_mm=1.3,
        noise=0.02,
        bias=0.1,
        margin_mm=18.0,
        orientation="RAS",
        rotation_deg=(4.0, -2.0, 3.0),
    ),
)


def main(folder: Path) -> None:
    """Write everything into a folder."""
    miliary, normal = make(MILIARY, seed=2020), make(NORMAL, seed=1417)
    text = SeriesText(date=dt.date(2020, 7, 31), description="T1 AX POST GD PHANTOM", protocol="T1 AX POST GD")
    write_series(miliary.volume, folder / SERIES, text, force=True)
    stored = scaled(normal.volume)
    write_nifti(stored, folder / NIFTI, dtype="int16", force=True)
    write_sidecar(stored, folder / NIFTI.replace(".nii.gz", ".json"), force=True)
    answers = {SERIES: answer(miliary, "MET"), NIFTI: answer(normal, "NOT_MET")}
    write_bytes(folder / "reference_answers.json", (json.dumps(answers, indent=1) + "\n").encode(), force=True)
    write_bytes(folder / f"{SERIES}_lesions.csv", table(miliary.truth.lesion_rows()), force=True)
    for path in sorted(folder.iterdir()):
        size = sum(f.stat().st_size for f in path.rglob("*")) if path.is_dir() else path.stat().st_size
        print(f"{size / 1e6:7.2f} MB  {path.name}")


def scaled(volume: Volume) -> Volume:
    """The volume with smaller grey values."""
    return replace(volume, voxels=np.rint(volume.voxels * np.float32(STORED_SCALE)))


def answer(made: Phantom, verdict: str) -> dict[str, Any]:
    """What a right program says about a sample, and the counts behind it."""
    counts = made.truth.slice_counts
    return {
        "verdict": verdict,
        "truth_meets_rule": made.truth.meets_rule(),
        "n_lesions": len(made.truth.lesions),
        "compartment_counts": made.truth.compartment_counts(),
        "slices_with_20_or_more": [s for s, n in enumerate(counts) if n >= 20],
        "slice_positions_mm": list(made.truth.slice_positions_mm),
        "slice_counts": list(counts),
        "slab_counts": list(made.truth.slab_counts),
        "n_mimics": len(made.truth.mimics),
        "visibility_rule": made.truth.as_dict()["visibility_rule"],
        "seed": made.truth.seed,
        "spec": made.truth.spec,
    }


def table(rows: list[dict[str, Any]]) -> bytes:
    """Rows as CSV, numbers rounded to what matters."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()})
    return text.getvalue().encode()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[1] / "sample_data")
