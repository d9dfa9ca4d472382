"""A word for none is no agent; and an agent is heard wherever a header or a sidecar states it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from miliary_seg.domain.sequence import Sequence
from miliary_seg.load import find_cases
from miliary_seg.load.agent import agent_named
from miliary_seg.load.dicom.agent import agent_stated

NONE = [
    "No contrast", "None given", "NIL", "0 ml", "0.0 mL", "keine", "ohne KM", "NONE", "not given", "Nicht gegeben",
    "sans", "aucun", "senza mdc", "sin contraste", "geen", "ingen", "нет", "无", "なし", "Unenhanced", "0", 0, 0.0,
    ["NONE"], "refused", "withheld", "no", "N", "native", "w/o",
]  # fmt: skip
SILENT = ["", "--", "-", "...", "n/a", "N/A", "unknown", None, [], "Oral Telebrix", "barium oral", "per os", "no oral"]
AGENT = [
    "GADOLINIUM", "Gadovist 7.5 ml", "Dotarem 0.5 mmol/ml", "Magnevist 15 ml", "Omnipaque 300 IV", "iohexol", "Gd-DTPA",
    "Nonionic iodine", "Clariscan", "YES", "10 ml", 7.5, ["GADOLINIUM"], ["NONE", "Gadovist"], "no oral, IV Omnipaque",
]  # fmt: skip
SAID = [*((v, False) for v in NONE), *((v, None) for v in SILENT), *((v, True) for v in AGENT)]


@pytest.mark.parametrize(("value", "expected"), SAID, ids=[str(v) for v, _ in SAID])
def test_what_is_written_where_an_agent_belongs(value: Any, expected: bool | None) -> None:
    assert agent_named(value) is expected


CODE_GD = {"CodeValue": "C-B0322", "CodingSchemeDesignator": "SRT", "CodeMeaning": "Gadolinium"}
CODE_NONE = {"CodeValue": "R-40775", "CodingSchemeDesignator": "SRT", "CodeMeaning": "None"}


def _header(kit: Any, said: dict[str, Any]) -> Any:
    from pydicom.dataset import Dataset

    ds = Dataset()
    for keyword, value in said.items():
        setattr(ds, keyword, [kit.item(**value)] if isinstance(value, dict) else value)
    return ds


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, None),
        ({"ContrastBolusAgent": ""}, None),
        ({"ContrastBolusAgent": "None given"}, False),
        ({"ContrastBolusAgent": "", "ContrastBolusVolume": 0}, False),
        ({"ContrastBolusAgent": "Gadovist"}, True),
        ({"ContrastBolusAgentSequence": CODE_GD}, True),
        ({"ContrastBolusAgentSequence": CODE_NONE}, False),
        ({"ContrastBolusIngredient": "GADOLINIUM"}, True),
        ({"ContrastBolusVolume": 7.5}, True),
        ({"ContrastBolusTotalDose": "15"}, True),
        ({"ContrastBolusStartTime": "101500"}, True),
        ({"ContrastBolusRoute": "IV"}, True),
        ({"ContrastBolusRoute": "ORAL"}, None),
        ({"ContrastBolusAgent": "Omnipaque", "ContrastBolusRoute": "Oral route"}, None),
        ({"ContrastBolusUsageSequence": {"ContrastBolusAgentAdministered": "NO"}, "ContrastBolusAgent": "Gd"}, False),
        ({"UnassignedSharedConvertedAttributesSequence": {"ContrastBolusAgent": "Gadovist"}}, True),
    ],
)
def test_headers(kit: Any, said: dict[str, Any], expected: bool | None) -> None:
    assert agent_stated(_header(kit, said)) is expected


def _series(kit: Any, folder: Path, **said: Any) -> Any:
    attributes = {"SeriesDescription": "t1_se", **said}
    kit.write(folder, kit.Series(attributes=attributes).datasets())
    return find_cases([folder]).cases[0].series[0].sequence


def test_a_header_that_says_none_makes_no_enhanced_scan(tmp_path: Path, kit: Any) -> None:
    assert _series(kit, tmp_path / "a", ContrastBolusAgent="No contrast").sequence is Sequence.T1
    assert _series(kit, tmp_path / "b", ContrastBolusVolume=10).sequence is Sequence.T1C
    torn = _series(kit, tmp_path / "c", ContrastBolusAgent="None", SeriesDescription="t1 post gd")
    assert torn.sequence is Sequence.UNKNOWN
    assert "none was given" in torn.conflict
    assert "post gd" in torn.conflict


@pytest.mark.parametrize(
    ("name", "sidecar", "sequence"),
    [
        ("sub-01_ce-none_T1w", {}, Sequence.T1),
        ("sub-01_ce-gd_T1w", {}, Sequence.T1C),
        ("sub-01_T1w", {"ContrastBolusIngredient": "NONE"}, Sequence.T1),
        ("sub-01_T1w", {"ContrastBolusIngredient": "n/a"}, Sequence.T1),
        ("sub-01_T1w", {"ContrastBolusIngredient": ["NONE"]}, Sequence.T1),
        ("sub-01_T1w", {"ContrastBolusIngredient": "GADOLINIUM"}, Sequence.T1C),
        ("sub-01_T1w", {"ContrastBolusAgent": "Dotarem"}, Sequence.T1C),
        ("scan_T1", {"ContrastBolusAgent": "Dotarem"}, Sequence.T1C),
        ("sub-01_ce-gd_T1w", {"ContrastBolusIngredient": "NONE"}, Sequence.UNKNOWN),
    ],
)
def test_bids_names_and_sidecars(tmp_path: Path, name: str, sidecar: dict[str, Any], sequence: Sequence) -> None:
    voxels = np.random.default_rng(0).normal(100, 9, (20, 20, 12)).astype(np.float32)
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), tmp_path / f"{name}.nii.gz")
    (tmp_path / f"{name}.json").write_text(json.dumps(sidecar))
    found = find_cases([tmp_path]).cases[0].series[0].sequence
    assert found.sequence is sequence
    assert bool(found.conflict) is (sequence is Sequence.UNKNOWN)
