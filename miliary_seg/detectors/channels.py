"""Other sequences of a study on the grid of one of them, for detectors that look at several."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage as ndi

from miliary_seg.domain.arrays import BoolArray, Float32Array, Float64Array
from miliary_seg.domain.grid import Grid
from miliary_seg.domain.volume import Volume
from miliary_seg.errors import InputError

SYNONYMS = {"t1n": "t1", "t1gd": "t1c", "t1ce": "t1c", "t2w": "t2", "t2f": "flair", "t1w": "t1"}
"""Names of BraTS and others for what is called otherwise here."""


def channels(
    volume: Volume, brain_mask: BoolArray, others: Sequence[Volume], wanted: Sequence[str]
) -> list[Float32Array]:
    """Voxels of every wanted sequence on the grid of ``volume``.

    Parameters
    ----------
    volume
        The scan that is analysed.
    brain_mask
        Its brain, which the others are registered to.
    others
        The other series of the study.
    wanted
        Sequences in the order of the channels; ``scan`` or an empty name stands for the scan itself.

    Raises
    ------
    InputError
        If a sequence is missing, several series show it, or it cannot be registered.
    """
    return [_channel(volume, brain_mask, others, SYNONYMS.get(name, name)) for name in wanted]


def _channel(volume: Volume, brain_mask: BoolArray, others: Sequence[Volume], name: str) -> Float32Array:
    if name in ("", "scan", str(volume.sequence.sequence)):
        return volume.voxels
    found = [other for other in others if str(other.sequence.sequence) == name]
    if len(found) != 1:
        what = f"the detector needs one {name} beside the scan, and the study holds {len(found)}"
        raise InputError(what, where=volume.id, todo="add it to the study, or choose another detector")
    other = found[0]
    if other.grid.same_as(volume.grid):
        return other.voxels
    return sampled(other, volume.grid, _registered(volume, brain_mask, other))


def _registered(volume: Volume, brain_mask: BoolArray, other: Volume) -> Float64Array:
    """RAS+ mm of the scan to RAS+ mm of the other series."""
    from dataclasses import replace

    from miliary_seg.locate import locate
    from miliary_seg.locate.rigid import register_rigid

    place = locate(other)
    fit = register_rigid(volume, replace(place, brain_mask=brain_mask), other, place)
    if fit.trusted:
        return fit.matrix
    frame = volume.source.frame_of_reference_uid
    if frame and frame == other.source.frame_of_reference_uid:
        return np.eye(4)
    why = "; ".join(reason.text for reason in fit.reasons)
    what = f"series {other.id} cannot be laid on the scan ({why})"
    raise InputError(what, where=volume.id, todo="register it yourself, and give both on one grid")


def sampled(volume: Volume, grid: Grid, to_volume: Float64Array | None = None) -> Float32Array:
    """Linear interpolation of a volume at the voxels of a grid; the least value of the volume outside of it."""
    matrix = np.linalg.inv(volume.grid.affine) @ (np.eye(4) if to_volume is None else to_volume) @ grid.affine
    least = float(np.nanmin(volume.voxels))
    result: Float32Array = ndi.affine_transform(
        volume.voxels, matrix[:3, :3], matrix[:3, 3], grid.shape, order=1, mode="constant", cval=least
    ).astype(np.float32, copy=False)
    return result
