"""Volume -> lesions: scale-normalised Laplacian of Gaussian in mm, a learned rejector, delineation.

The story, in the order of the modules: ``work_grid`` brings the scan into one frame, ``intensity`` makes it clean and
unit-free, ``scale_space`` blurs it to a ladder of widths in mm, ``maxima`` over space and scale become ``candidates``
that ``refine`` places, ``features`` and ``surroundings`` measure each (``feature_table`` says what the figures mean),
``reject`` turns the figures into a probability, ``network`` looks at a picture (``patches``) of those not ruled
out, ``rules`` says why a candidate is no lesion, ``delineate`` finds the voxels of what is accepted, ``measure`` its
size and slices. ``lesions.find`` tells that story in one function.
``signal`` measures any place, detected or not. docs/detection.md has the figures.
"""

from __future__ import annotations

from miliary_seg.detect.feature_table import FEATURES, Feature
from miliary_seg.detect.lesions import find
from miliary_seg.detect.scale_space import ScaleSpace, scale_space
from miliary_seg.detect.signal import brain_spread, signal_at

__all__ = ["FEATURES", "Feature", "ScaleSpace", "brain_spread", "find", "scale_space", "signal_at"]
