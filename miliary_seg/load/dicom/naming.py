"""Names of DICOM cases: from the path, never from the patient.

The user's own names are kept, except where one holds a patient's name or number as the headers state them: then the
case is named by a digest of its StudyInstanceUID, which is the same in every run. What is asked of a folder below the
named path is asked of that path's own name as well: it too would get into the ledger, the logs and every file.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from miliary_seg.load.dicom.images import DicomImage
from miliary_seg.load.inventory import case_name
from miliary_seg.load.masks import stem


def dicom_names(root: Path, studies: list[list[DicomImage]]) -> list[tuple[str, ...]]:
    """Safe names of each study, the first preferred: each follows from the study's own files, not from its neighbours.

    The folders between the named path and the study's files; that path's own name where there are none. The longer
    names have that path's name too, then a digest of the StudyInstanceUID.
    """
    own = stem(root) if root.is_file() else root.resolve().name
    everybody = [image for images in studies for image in images[:1]]
    identifies = _identifies(own, everybody)
    base = "case" if identifies else case_name(own)
    return [_names(base, identifies, _folder(root, images), images) for images in studies]


def _names(base: str, identifies: bool, folder: str, images: list[DicomImage]) -> tuple[str, ...]:
    unique = f"{base}-{_digest(images)}"
    if _identifies(folder, images):
        return (unique,)
    if not folder:
        return (unique,) if identifies else (base, unique)
    name = case_name(folder)
    return name, case_name(f"{base}-{folder}"), case_name(f"{name}-{_digest(images)}")


def _folder(root: Path, images: list[DicomImage]) -> str:
    """The folders between the root and the study's files, as far as all its files share them."""
    common = Path(os.path.commonpath([image.path.parent for image in images]))
    try:
        parts = common.relative_to(root).parts
    except ValueError:
        return ""
    return "-".join(parts)


def _identifies(folder: str, images: list[DicomImage]) -> bool:
    plain = "".join(c for c in folder.lower() if c.isalnum())
    return any(word in plain for image in images for word in image.identity)


def _digest(images: list[DicomImage]) -> str:
    uid = images[0].study_uid or str(images[0].path.parent)
    return hashlib.sha256(uid.encode()).hexdigest()[:8]
