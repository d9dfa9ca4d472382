"""Names of the files that one case becomes."""

from __future__ import annotations

from miliary_seg.domain.result import CaseResult
from miliary_seg.report.sanitise import safe_name

RESULT = "result.json"
REPORT = "report.html"
CASES = "cases.csv"
CASES_PARQUET = "cases.parquet"
INDEX = "index.html"
THUMBNAIL = "thumbnail.png"
LESION_MAP = "lesions.nii.gz"
COMPARTMENT_MAP = "compartments.nii.gz"
LOCATION = "location.npz"
LABEL_COLOURS = "lesions.itksnap.txt"
SLICER_SEGMENTATION = "lesions.seg.nrrd"
LESIONS = "lesions.csv"
SLICES = "slices.csv"
CANDIDATES = "candidates.csv"
SEGMENTATION = "lesions.seg.dcm"
MEASUREMENTS = "measurements.sr.dcm"
STRUCTURE_SET = "lesions.rtstruct.dcm"
CORRECTED = "corrected"
"""Folder of a reader's corrections (``miliary-seg decide``): it outlives a new run of the case."""
IMAGES = "images"
"""Folder of DICOM images, written where the input was none and DICOM objects are asked for."""


def case_folder(case: str) -> str:
    """Folder of a case below the output folder."""
    return safe_name(case)


def series_folders(result: CaseResult) -> dict[str, str]:
    """Series id -> its folder below the case's folder; distinct and never one of the case's own files.

    Two ids that differ only in case would fall together on some file systems: they get a number.
    """
    folders: dict[str, str] = {}
    taken = {RESULT, REPORT, CORRECTED}
    for series in result.series:
        base = name = safe_name(series.id)
        number = 2
        while name.lower() in taken:
            name = f"{base}-{number}"
            number += 1
        taken.add(name.lower())
        folders[series.id] = name
    return folders


def series_files(folder: str, *, compartments: bool) -> dict[str, str]:
    """Kind of file -> path below the case's folder, with forward slashes.

    There is a compartment map only where both sides and levels may be used.
    """
    return {
        "lesion_map": f"{folder}/{LESION_MAP}",
        **({"compartment_map": f"{folder}/{COMPARTMENT_MAP}"} if compartments else {}),
        "lesions": f"{folder}/{LESIONS}",
        "slices": f"{folder}/{SLICES}",
        "candidates": f"{folder}/{CANDIDATES}",
        "location": f"{folder}/{LOCATION}",
    }


def editable_files(folder: str) -> dict[str, str]:
    """Kind of file -> path, of what is written for editors."""
    return {
        "label_colours": f"{folder}/{LABEL_COLOURS}",
        "slicer_segmentation": f"{folder}/{SLICER_SEGMENTATION}",
    }
