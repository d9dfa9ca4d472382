"""What can be detected in this scan: bright or dark lesions, the smallest, and patterns that are probably anatomy."""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np
from scipy.special import erf

from miliary_seg.detect.delineate import PSF_MM
from miliary_seg.domain.lesion import Lesion
from miliary_seg.domain.reason import Reason
from miliary_seg.domain.sequence import Polarity, Sequence
from miliary_seg.domain.volume import Volume
from miliary_seg.settings import DetectSettings

DARK_SEQUENCES = frozenset({Sequence.SWI, Sequence.T2STAR, Sequence.ADC})
"""Lesions are dark here (R11 in docs/criteria.md: microbleeds and haemorrhagic foci; restricted diffusion)."""
REFERENCE_CONTRAST = 0.5
"""A lesion that stands out by half of the brain's grey-value range, as an enhancing metastasis does on T1."""
NEEDED_CONTRAST = 8.0
"""Peak contrast over noise from which on most isolated lesions are found (docs/detection.md, smallest lesion)."""
LARGEST_MM = 30.0
RIM_MM = 2.0
"""Lesions nearer than this to the edge of the brain mask are marked ``rim``: cortex, but also dura and vessels."""
PATTERN_COUNT = 20
PATTERN_SHARE = 0.5
"""The pattern is doubted if at least this many lesions were found and more than this share of them lies in the rim."""


def lesion_polarity(volume: Volume, settings: DetectSettings) -> Polarity:
    """Whether lesions are bright or dark: as set, else by sequence; bright if the sequence is unknown."""
    if settings.polarity != "auto":
        return Polarity(settings.polarity)
    return Polarity.DARK if volume.sequence.sequence in DARK_SEQUENCES else Polarity.BRIGHT


def peak_fraction(diameter_mm: float, psf_mm: float, thickness_mm: float) -> float:
    """Fraction of its contrast that a ball keeps at its centre, after blur and averaging over the slice thickness."""
    radius, root = diameter_mm / 2, math.sqrt(2) * psf_mm
    z = np.maximum(np.abs(np.linspace(-0.5, 0.5, 41)) * thickness_mm, 1e-3 * psf_mm)
    inside = 0.5 * (erf((radius - z) / root) + erf((radius + z) / root))
    tails = np.exp(-(((radius - z) / root) ** 2)) - np.exp(-(((radius + z) / root) ** 2))
    return float(np.mean(inside - psf_mm / (z * math.sqrt(2 * math.pi)) * tails))


def detectable_diameter_mm(noise: float, pixel_mm: float, thickness_mm: float) -> float | None:
    """Smallest diameter in mm that is found reliably, or None where even a large lesion would not be.

    Parameters
    ----------
    noise
        Standard deviation in brain spans.
    pixel_mm, thickness_mm
        In-plane spacing and slice thickness.
    """
    psf = max(PSF_MM, 0.5 * pixel_mm)
    for diameter in np.arange(1.0, LARGEST_MM, 0.1):
        if REFERENCE_CONTRAST * peak_fraction(float(diameter), psf, thickness_mm) >= NEEDED_CONTRAST * noise:
            return round(float(diameter), 1)
    return None


def noise_doubts(smallest_mm: float | None) -> tuple[Reason, ...]:
    """A doubt if not even a large lesion (``LARGEST_MM``) would be found reliably: few lesions then prove nothing."""
    if smallest_mm is not None:
        return ()
    text = "in this noise no size of lesion is found reliably (docs/detection.md, smallest lesion)"
    return (Reason(code="nothing_detectable", text=text),)


def artefact_doubts(lesions: Collection[Lesion]) -> tuple[Reason, ...]:
    """Patterns that should not lead to a positive answer."""
    rim = sum("rim" in lesion.flags for lesion in lesions)
    if len(lesions) < PATTERN_COUNT or rim <= PATTERN_SHARE * len(lesions):
        return ()
    text = f"{rim} of {len(lesions)} lesions lie within {RIM_MM:g} mm of the brain's surface: vessels or dura?"
    return (Reason(code="rim_pattern", text=text),)
