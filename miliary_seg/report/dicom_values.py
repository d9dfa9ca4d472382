"""What classic MR and CT images say of their acquisition, and how they store their values."""

from __future__ import annotations

from typing import Any

import numpy as np

from miliary_seg.domain.grid import Float64Array
from miliary_seg.domain.sequence import Modality, Sequence
from miliary_seg.domain.volume import Volume

CT_INTERCEPT_HU = -1024.0
"""Stored 0 is -1024 HU, as scanners write it."""
MAX_STORED = 65535
DIRECT_RANGE = (200.0, 32767.0)
"""MR volumes whose largest value lies here are stored as rounded values without a rescale."""
PARAMETERS: dict[Sequence, tuple[list[str], list[str], str, float, float, float | None]] = {
    Sequence.T1: (["SE"], ["SK"], "2D", 500.0, 10.0, None),
    Sequence.T1C: (["SE"], ["SK"], "2D", 500.0, 10.0, None),
    Sequence.T2: (["SE"], ["SK"], "2D", 4500.0, 100.0, None),
    Sequence.FLAIR: (["SE", "IR"], ["SK"], "2D", 9000.0, 120.0, 2500.0),
    Sequence.DWI: (["EP", "SE"], ["NONE"], "2D", 5000.0, 85.0, None),
    Sequence.ADC: (["EP", "SE"], ["NONE"], "2D", 5000.0, 85.0, None),
    Sequence.SWI: (["GR"], ["SP"], "3D", 28.0, 20.0, None),
    Sequence.T2STAR: (["GR"], ["SP"], "2D", 600.0, 20.0, None),
    Sequence.PD: (["SE"], ["SK"], "2D", 3000.0, 15.0, None),
}
"""ScanningSequence, SequenceVariant, MRAcquisitionType, RepetitionTime, EchoTime, InversionTime (ms), as usual."""


_UNKNOWN_CT: dict[str, Any] = {"KVP": None, "RescaleType": "HU"}
_UNKNOWN_MR: dict[str, Any] = {
    "ScanningSequence": "RM",
    "SequenceVariant": "NONE",
    **dict.fromkeys(("ScanOptions", "MRAcquisitionType"), ""),
    **dict.fromkeys(("RepetitionTime", "EchoTime", "EchoTrainLength"), None),
}
"""Of an unknown acquisition: type 2 attributes empty; those that must have a value (PS3.3 C.8.3.1) say as
little as they can (``RM``, research mode)."""


def acquisition(volume: Volume, contrast_agent: str, *, synthetic: bool) -> dict[str, Any]:
    """Attributes of the acquisition: as usual for a phantom's sequence, none made up for a scan."""
    sequence = volume.sequence.sequence
    if not synthetic:
        contrast = {"ContrastBolusAgent": ""} if sequence in {Sequence.T1C, Sequence.CTC} else {}
        return contrast | (_UNKNOWN_CT if volume.modality is Modality.CT else _UNKNOWN_MR)
    agent = contrast_agent or {Sequence.T1C: "GADOLINIUM", Sequence.CTC: "IODINE"}.get(sequence, "")
    values: dict[str, Any] = {"ContrastBolusAgent": agent} if agent else {}
    if volume.modality is Modality.CT:
        return values | {"KVP": "120", "RescaleType": "HU", "ConvolutionKernel": "PHANTOM"}
    scanning, variant, kind, repetition, echo, inversion = PARAMETERS.get(sequence, PARAMETERS[Sequence.T1])
    values |= {
        "ScanningSequence": scanning,
        "SequenceVariant": variant,
        "ScanOptions": "",
        "MRAcquisitionType": kind,
        "RepetitionTime": f"{repetition:g}",
        "EchoTime": f"{echo:g}",
        "EchoTrainLength": 1,
        "MagneticFieldStrength": "3",
    }
    return values | ({} if inversion is None else {"InversionTime": f"{inversion:g}"})


def stored_values(volume: Volume, *, synthetic: bool) -> tuple[np.ndarray[Any, np.dtype[np.uint16]], float, float]:
    """Unsigned 16-bit values with the slope and intercept that lead back."""
    voxels = volume.voxels.astype(np.float64)
    low, high = float(voxels.min()), float(voxels.max())
    is_ct = volume.modality is Modality.CT
    if not synthetic:
        slope, intercept = _kept_values(voxels, CT_INTERCEPT_HU if is_ct else 0.0)
    elif is_ct:
        slope, intercept = 1.0, CT_INTERCEPT_HU
    elif low >= 0 and DIRECT_RANGE[0] <= high <= DIRECT_RANGE[1]:
        slope, intercept = 1.0, 0.0
    else:
        slope, intercept = max((high - low) / DIRECT_RANGE[1], 1e-12), low
    whole = np.clip(np.rint((voxels - intercept) / slope), 0, MAX_STORED)
    return whole.astype(np.uint16), slope, intercept


def _kept_values(voxels: Float64Array, usual: float) -> tuple[float, float]:
    """Slope and intercept that keep whole numbers as they are, and others to 1/65535 of their range."""
    low, high = float(voxels.min()), float(voxels.max())
    intercept = usual if low >= usual and high - usual <= MAX_STORED else low
    if high - intercept <= MAX_STORED and np.array_equal(voxels, np.rint(voxels)):
        return 1.0, intercept
    return (high - low) / MAX_STORED or 1.0, low
