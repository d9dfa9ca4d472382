"""participants.tsv is read strictly: what is wrong is said, with the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from miliary_seg.cohort import read_participants
from miliary_seg.errors import InputError


def test_missing_values_are_left_out(participants_file) -> None:
    table = read_participants(participants_file("participant_id age\nsub-01 61\nsub-02 n/a\nsub-03 44.5"))
    assert table.numbers("age") == {"sub-01": 61.0, "sub-03": 44.5}


def test_a_byte_order_mark_and_windows_lines_are_read(tmp_path: Path) -> None:
    path = tmp_path / "participants.tsv"
    path.write_bytes(b"\xef\xbb\xbfparticipant_id\tsubtype\r\nsub-01\tHER2\r\n\r\n")
    assert read_participants(path).text("subtype") == {"sub-01": "HER2"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("participant age\nsub-01 61", "no column 'participant_id'"),
        ("participant_id age\nsub-01 61\nsub-01 62", "line 3 was already in line 2"),
        ("participant_id age\nsub-01", "line 2 has 1 values, the header 2"),
        ("participant_id age\nn/a 61", "line 2 has no participant_id"),
        ("participant_id age age\nsub-01 1 2", "appears twice"),
    ],
)
def test_a_malformed_table_is_refused(participants_file, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_participants(participants_file(text))


@pytest.mark.parametrize("value", ["old", "inf"])
def test_mixed_types_name_the_line(participants_file, value: str) -> None:
    table = read_participants(participants_file(f"participant_id age\nsub-01 61\nsub-02 {value}"))
    with pytest.raises(InputError, match=f"'{value}' in line 3"):
        table.numbers("age")


def test_an_unknown_column_names_the_nearest(participants_file) -> None:
    table = read_participants(participants_file("participant_id subtype\nsub-01 HER2"))
    with pytest.raises(InputError, match="did you mean 'subtype'"):
        table.text("subtyp")


@pytest.mark.parametrize(("content", "said"), [(b"participant_id\nsub-\xe9\n", "not UTF-8"), (b"", "empty")])
def test_unreadable_bytes_are_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "participants.tsv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=said):
        read_participants(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nobody\.tsv"):
        read_participants(tmp_path / "nobody.tsv")
