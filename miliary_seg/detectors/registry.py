"""Detectors by name, and the one way in which all of them are run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from difflib import get_close_matches
from importlib.metadata import entry_points
from typing import Any

import numpy as np

from miliary_seg.detect import StatedRates, find, given_detection
from miliary_seg.detectors.protocol import Detector
from miliary_seg.domain.arrays import BoolArray
from miliary_seg.domain.lesion_source import GivenLesions, LesionSource
from miliary_seg.domain.result import Detection
from miliary_seg.domain.volume import LabelMap, Volume
from miliary_seg.errors import InputError, MiliaryError, SettingsError
from miliary_seg.settings import LesionsSettings, Settings

GROUP = "miliary_seg.detectors"
OUR_NAME = "miliary-seg"


class OurDetector:
    """The detector of this program: no weights to fetch, no GPU."""

    def find(
        self, volume: Volume, brain_mask: BoolArray, settings: Settings, *, others: Sequence[Volume] = ()
    ) -> Detection:
        """Find lesions by scale space, trees and a patch network (docs/detection.md); ``others`` are not used."""
        del others
        return find(volume, brain_mask, settings.detect)


def _command() -> Detector:
    from miliary_seg.detectors.command import CommandDetector

    return CommandDetector()


def _onnx() -> Detector:
    from miliary_seg.detectors.onnx import OnnxDetector

    return OnnxDetector()


BUILT_IN: dict[str, Callable[[], Detector]] = {OUR_NAME: OurDetector, "command": _command, "onnx": _onnx}


def detector_names() -> tuple[str, ...]:
    """Names of all detectors: those of this program first, then installed plug-ins."""
    return (*BUILT_IN, *sorted({point.name for point in entry_points(group=GROUP)} - set(BUILT_IN)))


def detector(name: str) -> Detector:
    """One detector by its name.

    Raises
    ------
    SettingsError
        If there is none of that name.
    MiliaryError
        If a plug-in cannot be imported, or has no method ``find``.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]()
    point = next((point for point in entry_points(group=GROUP) if point.name == name), None)
    if point is None:
        near = get_close_matches(name, detector_names(), n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise SettingsError(f"no detector {name!r}", todo=f"{hint}there are {', '.join(detector_names())}")
    try:
        made = point.load()
        made = made() if isinstance(made, type) or not hasattr(made, "find") else made
    except Exception as error:
        what = f"the detector {name} cannot be loaded ({type(error).__name__})"
        raise MiliaryError(what, where=point.value, todo="reinstall the package that brings it") from error
    if not isinstance(made, Detector):
        raise MiliaryError(f"the detector {name} has no method find", where=point.value, todo="see docs/api.md")
    return made


def run_detector(
    one: Detector,
    name: str,
    volume: Volume,
    brain_mask: BoolArray,
    settings: Settings,
    *,
    others: Sequence[Volume] = (),
) -> Detection:
    """Run a detector and check what it returns.

    Raises
    ------
    MiliaryError
        What the detector raises; anything else that it raises becomes an error that names it.
    """
    try:
        found = one.find(volume, brain_mask, settings, others=others)
    except (MiliaryError, MemoryError):
        raise
    except Exception as error:
        what = f"the detector {name} failed ({type(error).__name__})"
        raise MiliaryError(what, where=volume.id, todo="try it alone, or report it to its makers") from error
    if isinstance(found, LabelMap):
        from miliary_seg.load.lesions import from_array

        given = from_array(found, volume, settings.lesions)
        found = replace(given, source=LesionSource(name=name))
    if isinstance(found, GivenLesions):
        found = given_detection(volume, brain_mask, found, stated_rates(settings.lesions), settings.detect)
    return _checked(found, name, volume)


def stated_rates(settings: LesionsSettings) -> StatedRates:
    """What the user states of whoever found the lesions."""
    return StatedRates(
        sensitivity=settings.sensitivity if settings.sensitivity > 0 else None,
        false_positives=settings.false_positives if settings.false_positives >= 0 else None,
    )


def _checked(found: Any, name: str, volume: Volume) -> Detection:
    problem = ""
    if not isinstance(found, Detection):
        problem = f"returned {type(found).__name__}"
    elif found.lesion_labels.grid.shape != volume.grid.shape:
        problem = "returned lesions on another grid"
    elif [lesion.id for lesion in found.lesions] != list(range(1, len(found.lesions) + 1)):
        problem = "did not number its lesions 1, 2, 3 ..."
    elif int(np.max(found.lesion_labels.labels, initial=0)) > len(found.lesions):
        problem = "returned labels that are no lesion of its"
    if problem:
        raise InputError(f"the detector {name} {problem}", where=volume.id, todo="report it to its makers")
    detection: Detection = found
    return detection
