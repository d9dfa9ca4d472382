"""Seeded heads with known lesions, on any host: for tests, the demo, benchmarks and the sample data.

A phantom is made in the order in which a scan comes about: a head (the shipped template bent into an individual, a real
scan, or a label map), slices laid through it, look-alikes and lesions put in with the scanner's blur, then receive
field, motion, ringing and noise. What was put in is the truth, exact and independent of the voxels.

::

    from dataclasses import replace
    from miliary_seg.lab import phantom

    spec = phantom.preset("miliary")                          # or phantom.PhantomSpec(...)
    made = phantom.make(spec, seed=7)                         # on the template
    made.volume, made.labels, made.compartments, made.brain_mask
    made.truth.as_dict()                                      # truth.json
    made.truth.lesion_rows(), made.truth.slice_rows()         # CSV-ready rows

    host = phantom.head_from_volume(volume, brain, compartments=label_map)   # a real scan, voxels kept:
    kept = phantom.ScannerSpec(on_host_grid=True, noise=0.0, bias=0.0)
    made = phantom.make(replace(spec, scanner=kept), host, seed=7)

Files are written elsewhere, since this stage knows no format: ``miliary_seg.report.volume_files.write_nifti`` and
``miliary_seg.report.dicom.images.write_series``. The verb ``miliary-seg phantom`` calls ``preset``, ``make`` and one of
them.
"""

from __future__ import annotations

from miliary_seg.lab.phantom.finish import Phantom
from miliary_seg.lab.phantom.head import Head, head_from_labels, head_from_volume
from miliary_seg.lab.phantom.make import make
from miliary_seg.lab.phantom.presets import PRESETS, preset
from miliary_seg.lab.phantom.series import implanted_series
from miliary_seg.lab.phantom.spec import PLACES, REGIONS, LesionSpec, MimicSpec, PhantomSpec, ScannerSpec
from miliary_seg.lab.phantom.template import template_head
from miliary_seg.lab.phantom.truth import VISIBILITY_RULE, LesionTruth, MimicTruth, Truth

__all__ = [
    "PLACES",
    "PRESETS",
    "REGIONS",
    "VISIBILITY_RULE",
    "Head",
    "LesionSpec",
    "LesionTruth",
    "MimicSpec",
    "MimicTruth",
    "Phantom",
    "PhantomSpec",
    "ScannerSpec",
    "Truth",
    "head_from_labels",
    "head_from_volume",
    "implanted_series",
    "make",
    "preset",
    "template_head",
]
