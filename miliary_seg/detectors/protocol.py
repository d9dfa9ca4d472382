"""What a detector is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from miliary_seg.domain.arrays import BoolArray
from miliary_seg.domain.lesion_source import GivenLesions
from miliary_seg.domain.result import Detection
from miliary_seg.domain.volume import LabelMap, Volume
from miliary_seg.settings import Settings


@runtime_checkable
class Detector(Protocol):
    """Finds lesions in one scan.

    Examples
    --------
    The smallest plug-in: whatever is brighter than three standard deviations of the brain is a lesion.

    >>> import numpy as np
    >>> class Bright:
    ...     def find(self, volume, brain_mask, settings, *, others=()):
    ...         brain = volume.voxels[brain_mask]
    ...         bright = (volume.voxels > brain.mean() + 3 * brain.std()) & brain_mask
    ...         return LabelMap(labels=bright.astype(np.uint8), grid=volume.grid)
    >>> isinstance(Bright(), Detector)
    True
    """

    def find(
        self, volume: Volume, brain_mask: BoolArray, settings: Settings, *, others: Sequence[Volume] = ()
    ) -> Detection | GivenLesions | LabelMap:
        """Find the lesions of one scan.

        Parameters
        ----------
        volume
            The scan.
        brain_mask
            Brain on the volume's grid, shape (i, j, k).
        settings
            The whole tree; a plug-in reads what concerns it.
        others
            The other series of the study, each on its own grid and not registered.

        Returns
        -------
        Detection or GivenLesions or LabelMap
            A label map may lie on any grid of the same world; it is turned into lesions as a file of them would be
            (``settings.lesions``), and measured by ``miliary_seg.detect.given_detection``.
        """
        ...
