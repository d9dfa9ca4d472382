"""Lesions that somebody else found: any usual file of them, onto the grid of the scan that they were found on.

::

    read_lesions(path, volume, settings)   label map, mask, probabilities, DICOM SEG, RTSTRUCT, centres -> GivenLesions
    from_array(labels, volume, settings)   the same from an array or a LabelMap
    from_chances(chances, volume, ...)     the same from probabilities on the grid of the scan
    lesion_volume(path, volumes)           which series of a study a file belongs to
    resolve(pattern, case)                 FILE or PATTERN with {case} {subject} {session} {series} -> files by series

A file is placed by its world coordinates; whatever had to be done to it on the way is a caveat of the result.
docs/howto/own-lesions.md says how each format is understood.
"""

from __future__ import annotations

from miliary_seg.load.lesions.patterns import LesionFiles, resolve
from miliary_seg.load.lesions.read import from_array, from_chances, lesion_volume, read_lesions

__all__ = ["LesionFiles", "from_array", "from_chances", "lesion_volume", "read_lesions", "resolve"]
