"""The quick pass over a header says what pydicom says, and leaves the rest to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.sequence import Sequence as Items

from miliary_seg.load.dicom import header as headers
from miliary_seg.load.dicom.header import quiet_pydicom, read_header
from miliary_seg.load.dicom.images import read_image
from miliary_seg.load.dicom.quick_header import quick_dataset

IMPLICIT, EXPLICIT, BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"


def dressed(kit: Any, syntax: str) -> Any:
    """A slice with nested sequences of both kinds of length, private blocks and another character set."""
    ds = kit.Series(syntax=syntax).datasets()[0]
    ds.SpecificCharacterSet, ds.PatientName = "ISO_IR 192", "Größe^Ærøskøbing"
    ds.ContrastBolusAgentSequence = Items([kit.item(CodeMeaning="Gadolinium")])
    ds.ReferencedImageSequence = Items([
        kit.item(ReferencedSOPInstanceUID="1.2.3", PurposeOfReferenceCodeSequence=kit.item(CodeMeaning="x")),
        kit.item(ReferencedSOPInstanceUID="1.2.4"),
    ])  # fmt: skip
    ds["ReferencedImageSequence"].is_undefined_length = True
    for item in ds.ReferencedImageSequence:
        item.is_undefined_length_sequence_item = True
    ds.private_block(0x0029, "SIEMENS CSA HEADER", create=True).add_new(0x10, "OB", bytes(range(200)))
    ds.private_block(0x2005, "Philips", create=True).add_new(0x10, "LO", "stepped over")
    return ds


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT])
def test_the_same_as_pydicom(tmp_path: Path, kit: Any, syntax: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (path,) = kit.write(tmp_path, [dressed(kit, syntax)])
    assert quick_dataset(path.read_bytes()) is not None
    quick, image = read_header(path), read_image(path)
    monkeypatch.setattr(headers, "quick_dataset", lambda _start: None)
    slow, slow_image = read_header(path), read_image(path)
    for header in (quick, slow):
        assert header.dataset.PatientName == "Größe^Ærøskøbing"
        assert [item.ReferencedSOPInstanceUID for item in header.dataset.ReferencedImageSequence] == ["1.2.3", "1.2.4"]
        assert header.dataset.private_block(0x0029, "SIEMENS CSA HEADER")[0x10].value == bytes(range(200))
    figures = ("transfer_syntax", "pixel_tag", "pixel_offset", "pixel_length", "stream_bytes", "size_bytes")
    assert [getattr(quick, f) for f in figures] == [getattr(slow, f) for f in figures]
    assert repr(image) == repr(slow_image)
    assert image == slow_image


def test_what_is_unusual_is_left_to_pydicom(tmp_path: Path, kit: Any) -> None:
    (plain,) = kit.write(tmp_path / "plain", [dressed(kit, EXPLICIT)])
    (big,) = kit.write(tmp_path / "big", [kit.Series(syntax=BIG).datasets()[0]])
    data = plain.read_bytes()
    at = data.index(b"\x08\x00\x60\x00CS")
    odd_vr = data[: at + 4] + b"ZZ" + data[at + 6 :]
    out_of_order = data[:at] + b"\x08\x00\x01\x00" + data[at + 4 :]
    for start in (big.read_bytes(), data[132:], data[:300], odd_vr, out_of_order, b"", bytes(500)):
        assert quick_dataset(start) is None


def test_no_mutation_breaks_it(tmp_path: Path, kit: Any) -> None:
    (path,) = kit.write(tmp_path, [dressed(kit, EXPLICIT)])
    data, random = path.read_bytes(), np.random.default_rng(0)
    for _ in range(2000):
        broken = bytearray(data)
        for place in random.integers(132, len(data) - 100, 3):
            broken[place] = random.integers(256)
        with quiet_pydicom():
            found = quick_dataset(bytes(broken))
        assert found is None or 132 < found[2] < len(data)
