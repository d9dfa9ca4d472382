"""Masks and label maps lie beside scans everywhere; found in a folder they are told apart and not analysed."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from miliary_seg.load.nifti import n_distinct_whole, stored_volume
from miliary_seg.load.nifti_header import NiftiHeader

_NAMES = re.compile(
    r"(?<![a-z])(?:dseg|probseg|seg|segmentations?|\w*mask|labels?|aseg|aparc\w*|parc|rois?|lesions?|gt|"
    r"gold[_ -]?standard|ground[_ -]?truth|truth|annotations?|compartments\w*)(?![a-z])"
)
_SUSPICIOUS_RATIO = 0.06
"""Label maps pack to less than 3 % of their size, scans to more than 20 % (docs/loading.md)."""


def label_reason(header: NiftiHeader) -> str:
    """Why this file is a mask or a label map; '' where it is not. Voxels are read only where the size is suspicious."""
    if _NAMES.search(stem(header.path).lower()):
        return "a mask or label map, by its name"
    size = header.data_path.stat().st_size
    packed = size < 0.9 * header.volume_bytes * header.n_volumes
    suspicious = size < _SUSPICIOUS_RATIO * header.volume_bytes if packed else np.dtype(header.dtype).itemsize == 1
    if not suspicious or header.n_volumes > 1:
        return ""
    n_values = n_distinct_whole(stored_volume(header))
    return f"a mask or label map: it holds {n_values} whole numbers only" if n_values is not None else ""


def stem(path: Path) -> str:
    """File name without the endings of NIfTI, MGH and NRRD.

    Examples
    --------
    >>> stem(Path("a/sub-01_T1w.nii.gz"))
    'sub-01_T1w'
    """
    return re.sub(r"\.(nii|hdr|img|mgh|mgz|nrrd|nhdr|zip)?(\.gz|\.bz2)?$", "", path.name, flags=re.IGNORECASE)
