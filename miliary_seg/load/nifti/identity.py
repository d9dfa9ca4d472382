"""Who the patient is, as far as the files beside an image say so: read only to keep it out of the names of cases.

The rule is that of DICOM (``load.dicom.naming``): a user's own file name is kept, unless it holds a word of the
patient's name or number; then a digest of the file takes its place, the same in every run.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

from miliary_seg.load.inventory import case_name
from miliary_seg.load.masks import stem
from miliary_seg.load.nifti.sidecar import read_sidecar

KEYS = ("PatientName", "PatientID", "OtherPatientIDs", "AccessionNumber", "PatientBirthDate", "PatientFamilyName")
"""Of the sidecar: dcm2niix writes the first ones unless it is told to leave them out."""
SHORTEST = 3
"""Shorter words, initials among them, would be found in any name."""
DIGEST_BYTES = 1 << 16


def nifti_name(path: Path, default: str = "case") -> str:
    """Safe name of a file's case: its own, or a digest where that holds the patient's name or number.

    Parameters
    ----------
    path
        The image.
    default
        For a file whose name has no usable letter.
    """
    name = stem(path)
    return hidden_name(path) if names_patient(name, path) else case_name(name, default)


def hidden_name(path: Path) -> str:
    """``case-`` and a digest of the file's beginning."""
    with path.open("rb") as file:
        return f"case-{hashlib.sha256(file.read(DIGEST_BYTES)).hexdigest()[:8]}"


def names_patient(words: str, path: Path) -> bool:
    """Whether a text holds a word of the patient's name or number as the sidecar of an image states them."""
    plain = _plain(words)
    return any(word in plain for word in _identity(read_sidecar(path)))


def _identity(sidecar: dict[str, Any]) -> set[str]:
    stated = [str(sidecar[key]) for key in KEYS if isinstance(sidecar.get(key), (str, int))]
    words = (_plain(word) for text in stated for word in [text, *re.split(r"[\^=,;\s]+", text)])
    return {word for word in words if len(word) >= SHORTEST}


def _plain(words: str) -> str:
    return "".join(c for c in words.lower() if c.isalnum())
