"""Volume -> lesions: scale-normalised Laplacian of Gaussian in mm, a learned rejector, delineation.

In the order of the work: ``work_grid`` brings the scan into one frame, ``normalise`` makes it clean and unit-free,
``blur`` makes a scale space, a ladder of widths in mm, ``maxima`` over space and scale become ``candidates`` that
``refine`` places, ``features`` and ``context`` measure each (``feature_table`` says what the figures mean),
``classifier`` turns the figures and a small picture (``patches``) into a probability, which ``prevalence`` adjusts to
the scan, ``rejection`` says why a candidate is no lesion, ``delineate`` finds the voxels, size and slices of what is
accepted. ``pipeline.find`` does all of it, ``given`` measures lesions that others found in the same way. ``masses``
looks for what is too large for that scale space, on blocks (``mass_map``) as regions (``mass_regions``). ``quality``
says what can be detected in this scan and ``recall`` what share of lesions is found on such slices; ``white_matter``
gives the level that enhancement is measured against; ``uptake`` subtracts a scan before contrast agent
and ``flair`` ranks lesions on a FLAIR; ``local_contrast`` measures any point, detected or not. The public names are
imported when first used. How it works, limits and figures: docs/detection.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from miliary_seg.lazy_names import lazy_names

if TYPE_CHECKING:
    from miliary_seg.detect.blur import ScaleSpace, scale_space
    from miliary_seg.detect.feature_table import FEATURES, Feature
    from miliary_seg.detect.flair import FlairRanks, flair_ranks, with_flair_percentile
    from miliary_seg.detect.given import StatedRates, given_detection
    from miliary_seg.detect.local_contrast import brain_spread, signal_at
    from miliary_seg.detect.masses import find_masses, with_masses
    from miliary_seg.detect.pipeline import find
    from miliary_seg.detect.uptake import MatchedScan, match, with_uptake

_HOME = {
    "blur": ("ScaleSpace", "scale_space"),
    "feature_table": ("FEATURES", "Feature"),
    "flair": ("FlairRanks", "flair_ranks", "with_flair_percentile"),
    "given": ("StatedRates", "given_detection"),
    "local_contrast": ("brain_spread", "signal_at"),
    "masses": ("find_masses", "with_masses"),
    "pipeline": ("find",),
    "uptake": ("MatchedScan", "match", "with_uptake"),
}
"""Where each public name is. No module may have the name of one of them: once imported, it would hide it."""

__all__ = [
    "FEATURES",
    "Feature",
    "FlairRanks",
    "MatchedScan",
    "ScaleSpace",
    "StatedRates",
    "brain_spread",
    "find",
    "find_masses",
    "flair_ranks",
    "given_detection",
    "match",
    "scale_space",
    "signal_at",
    "with_flair_percentile",
    "with_masses",
    "with_uptake",
]

__getattr__, __dir__ = lazy_names(__name__, _HOME)
