"""The count of files while a folder is looked through."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from miliary_seg.cli.progress import SHOW_EVERY, counting_files
from miliary_seg.load import find_cases, inspect


def test_every_file_is_counted(tmp_path: Path, kit: Any) -> None:
    kit.write(tmp_path, kit.Series().datasets())
    (tmp_path / "notes.txt").write_text("x", encoding="utf-8")
    seen: list[int] = []
    find_cases([tmp_path], progress=seen.append)
    assert seen == [1, 2, 3, 4, 5, 6]
    inspect([tmp_path], progress=seen.append)
    assert seen == [1, 2, 3, 4, 5, 6] * 2


def test_nothing_is_drawn_where_stderr_is_no_terminal(capsys: Any) -> None:
    with counting_files() as progress:
        for n in range(3 * SHOW_EVERY):
            progress(n)
    assert capsys.readouterr() == ("", "")


def test_the_bar_is_drawn_on_a_terminal(capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with counting_files() as progress:
        progress(SHOW_EVERY)
    out, err = capsys.readouterr()
    assert out == ""
    assert "files looked at" in err
