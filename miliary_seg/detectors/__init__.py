"""Who looks for lesions: our detector, a file of somebody's, any program, a network, or a plug-in of yours.

::

    detector(name)                 a plug-in by its name: miliary-seg, command, onnx, or an entry point
    run_detector(detector, ...)    its lesions, checked, as a Detection
    GivenLesionsDetector(lesions)  lesions from a file or an array

A plug-in is a class with one method, ``find`` (``Detector``), named in the entry-point group
``miliary_seg.detectors`` of any installed package. docs/howto/own-lesions.md shows one.
"""

from __future__ import annotations

from miliary_seg.detectors.files import GivenLesionsDetector, lesions_by_series
from miliary_seg.detectors.protocol import Detector
from miliary_seg.detectors.registry import detector, detector_names, run_detector

__all__ = ["Detector", "GivenLesionsDetector", "detector", "detector_names", "lesions_by_series", "run_detector"]
