from __future__ import annotations

import pytest

from miliary_seg.domain.sequence import Modality, Sequence
from miliary_seg.errors import SettingsError
from miliary_seg.lab.phantom import PRESETS, LesionSpec, MimicSpec, PhantomSpec, ScannerSpec, preset


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (LesionSpec, {"count": -1}),
        (LesionSpec, {"diameter_mm": (5.0, 2.0)}),
        (LesionSpec, {"diameter_mm": (0.0, 2.0)}),
        (LesionSpec, {"contrast": (0.0, 2.0)}),
        (LesionSpec, {"contrast_unit": "hu"}),
        (LesionSpec, {"diameter_law": "normal"}),
        (LesionSpec, {"polarity": "grey"}),
        (LesionSpec, {"side": "middle"}),
        (LesionSpec, {"level": "supra"}),
        (LesionSpec, {"region_weights": (("liver", 1.0),)}),
        (LesionSpec, {"region_weights": (("cortex", -1.0),)}),
        (LesionSpec, {"gap_mm": -1.0}),
        (LesionSpec, {"elongation": 0.5}),
        (LesionSpec, {"ring_fraction": 1.5}),
        (LesionSpec, {"soft_fraction": -0.1}),
        (LesionSpec, {"slice_targets": ((3, -1),)}),
        (LesionSpec, {"slice_targets": ((3, 5), (3, 6))}),
        (LesionSpec, {"max_per_slice": -1}),
        (MimicSpec, {"vessels": -1}),
        (MimicSpec, {"brightness": (0.5, 0.1)}),
        (ScannerSpec, {"plane": "oblique"}),
        (ScannerSpec, {"orientation": "LPR"}),
        (ScannerSpec, {"thickness_mm": 0.0}),
        (ScannerSpec, {"coverage": (0.5, 0.5)}),
        (ScannerSpec, {"profile": "triangle"}),
        (ScannerSpec, {"ringing": 0.9}),
        (PhantomSpec, {"anatomy": -1.0}),
        (PhantomSpec, {"slab_mm": 0.0}),
        (PhantomSpec, {"visible_contrast": -1.0}),
        (PhantomSpec, {"sequence": "t9"}),
    ],
)
def test_a_contradictory_spec_is_refused_by_name(kind, values):
    with pytest.raises(SettingsError) as caught:
        kind(**values)
    assert next(iter(values)) in str(caught.value)


def test_presets_have_their_own_names_and_an_unknown_one_lists_them():
    assert {"miliary", "normal", "one-sided", "supratentorial-only", "few-large", "vessel-rich", "ct-miliary"} <= set(
        PRESETS
    )
    assert all(preset(name).name == name for name in PRESETS)
    with pytest.raises(SettingsError, match="miliary"):
        preset("milliary")


def test_modality_follows_the_sequence():
    assert PhantomSpec(sequence=Sequence.CTC).modality is Modality.CT
    assert PhantomSpec(sequence=Sequence.FLAIR).modality is Modality.MR
