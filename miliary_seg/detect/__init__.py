"""Volume -> lesions: scale-normalised Laplacian of Gaussian in mm, a learned rejector, delineation.

In the order of the work: ``work_grid`` brings the scan into one frame, ``normalise`` makes it clean and unit-free,
``scale_space`` blurs it to a ladder of widths in mm, ``maxima`` over space and scale become ``candidates`` that
``refine`` places, ``features`` and ``context`` measure each (``feature_table`` says what the figures mean),
``classifier`` turns the figures and a small picture (``patches``) into a probability, which ``prevalence`` adjusts to
the scan, ``rejection`` says why a candidate is no lesion, ``delineate`` finds the voxels, size and slices of what is
accepted. ``pipeline.find`` does all of it, ``given`` measures lesions that others found in the same way. ``masses``
looks for what is too large for that scale space, on blocks (``mass_map``) as regions (``mass_regions``). ``quality``
says what can be detected in this scan and ``recall`` what share of lesions is found on such slices; ``white_matter``
gives the level that enhancement is measured against; ``uptake`` subtracts a scan before contrast agent;
``local_contrast`` measures any point, detected or not. How it
works, limits and figures: docs/detection.md.
"""

from __future__ import annotations

from miliary_seg.detect.feature_table import FEATURES, Feature
from miliary_seg.detect.given import StatedRates, given_detection
from miliary_seg.detect.local_contrast import brain_spread, signal_at
from miliary_seg.detect.masses import find_masses, with_masses
from miliary_seg.detect.pipeline import find
from miliary_seg.detect.scale_space import ScaleSpace, scale_space
from miliary_seg.detect.uptake import MatchedScan, match, with_uptake

__all__ = [
    "FEATURES",
    "Feature",
    "MatchedScan",
    "ScaleSpace",
    "StatedRates",
    "brain_spread",
    "find",
    "find_masses",
    "given_detection",
    "match",
    "scale_space",
    "signal_at",
    "with_masses",
    "with_uptake",
]
