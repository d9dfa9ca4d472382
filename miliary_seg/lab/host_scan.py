"""Lesions put into a scan of the user's own: the scan is read and located, then it hosts a phantom."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from miliary_seg.errors import NoBrainError
from miliary_seg.lab.phantom import Head, Phantom, PhantomSpec, ScannerSpec, head_from_volume, make
from miliary_seg.settings import Settings


def make_phantom(spec: PhantomSpec, host: Path | None = None, seed: int = 0) -> Phantom:
    """Make a phantom on the shipped template, or put its lesions into a scan of the user's own.

    On a user's scan the voxels and the grid stay as they are (it has noise of its own; with ``host_thickness_mm`` its
    slices are averaged); brain and compartments come from the registration: sides and levels of the truth are as good.

    Raises
    ------
    MiliaryError
        If the scan cannot be read, shows no brain or one that the atlas does not fit, or the lesions cannot be placed
        as wanted.
    """
    if host is None:
        return make(spec, seed=seed)
    thickness, profile = spec.scanner.host_thickness_mm, spec.scanner.profile
    kept = ScannerSpec(on_host_grid=True, host_thickness_mm=thickness, profile=profile, noise=0.0, bias=0.0)
    return make(replace(spec, scanner=kept), head_from_scan(host, Settings()), seed)


def head_from_scan(path: Path, settings: Settings) -> Head:
    """The preferred volume of a path as a host, with brain and compartments from the registration.

    Raises
    ------
    MiliaryError
        If it cannot be read or shows no brain.
    NoBrainError
        If the atlas fit is not trusted.
    """
    from miliary_seg.load import load_study
    from miliary_seg.locate import locate

    volume = load_study(path, settings=settings).volumes[0]
    place = locate(volume, settings.locate)
    if not place.registration.trusted:
        what = "the atlas fit of the host is not trusted: sides and levels of the truth could be wrong"
        raise NoBrainError(what, where=path, todo="give another host")
    return head_from_volume(volume, place.brain_mask, compartments=place.compartments)
