"""Lesions from a file or an array, as a detector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from miliary_seg.domain.arrays import BoolArray
from miliary_seg.domain.lesion_source import GivenLesions
from miliary_seg.domain.volume import Study, Volume
from miliary_seg.errors import InputError
from miliary_seg.load.lesions import from_array, lesion_volume, read_lesions
from miliary_seg.settings import Settings


class GivenLesionsDetector:
    """Finds what it was given.

    Parameters
    ----------
    lesions
        A path, an array on the scan's grid, a ``LabelMap``, or ``GivenLesions``.
    """

    def __init__(self, lesions: Any) -> None:
        self.lesions = lesions

    def find(
        self, volume: Volume, brain_mask: BoolArray, settings: Settings, *, others: Sequence[Volume] = ()
    ) -> GivenLesions:
        """Read the lesions onto the grid of the scan."""
        del brain_mask, others
        if isinstance(self.lesions, GivenLesions):
            return self.lesions
        if isinstance(self.lesions, (str, Path)):
            return read_lesions(self.lesions, volume, settings.lesions)
        return from_array(self.lesions, volume, settings.lesions)


def lesions_by_series(lesions: Any, study: Study) -> dict[str, GivenLesionsDetector]:
    """Which series of a study has which given lesions.

    Parameters
    ----------
    lesions
        One of what ``GivenLesionsDetector`` takes, or a mapping from series id to that; ``""`` as the key stands for
        the series that a file fits.
    study
        The volumes, the preferred one first.

    Raises
    ------
    InputError
        If a series is named that the study does not hold, or an array fits none.
    MiliaryError
        If a file cannot be read.
    """
    if not isinstance(lesions, Mapping):
        lesions = {"": lesions}
    ids = [volume.id for volume in study.volumes]
    found: dict[str, GivenLesionsDetector] = {}
    for series, one in lesions.items():
        if series and series not in ids:
            what = f"lesions for a series {series!r} that is not analysed"
            raise InputError(what, where=study.case, todo="there are " + ", ".join(ids))
        found[series or ids[_fitting(one, study)]] = GivenLesionsDetector(one)
    return found


def _fitting(lesions: Any, study: Study) -> int:
    if isinstance(lesions, (str, Path)):
        return lesion_volume(lesions, study.volumes)
    shape = getattr(getattr(lesions, "labels", lesions), "shape", None)
    if isinstance(lesions, GivenLesions):
        shape = lesions.labels.grid.shape
    return next((n for n, volume in enumerate(study.volumes) if volume.grid.shape == shape), 0)
