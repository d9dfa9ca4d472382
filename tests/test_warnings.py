"""Which warnings fail a test: ours and those about values, never what other libraries say of each other."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

OURS, THEIRS = "miliary_seg.detect.candidates", "skimage.morphology.grayreconstruct"


def warn(module: str, category: type[Warning], text: str = "Setting the shape has been deprecated.") -> None:
    with warnings.catch_warnings(record=True):  # under the filters of pyproject.toml, unseen
        warnings.warn_explicit(text, category, "file.py", 1, module=module, registry={})


@pytest.mark.parametrize(
    "category", [DeprecationWarning, PendingDeprecationWarning, FutureWarning, UserWarning, SyntaxWarning]
)
def test_another_library_may_be_old(category):
    for module in (THEIRS, "numpy.lib", "miliary_segments"):
        warn(module, category)
    for module in (OURS, "miliary_seg", "tests.unit.load.test_bombs"):
        with pytest.raises(category):
            warn(module, category)


def test_what_is_wrong_with_values_is_an_error_wherever_it_is_seen():
    with pytest.raises(RuntimeWarning):
        np.array([]).mean()
    with pytest.raises(RuntimeWarning):
        warn(THEIRS, RuntimeWarning)


def test_a_file_that_we_leave_open_is_an_error_and_their_database_is_not():
    warn(OURS, ResourceWarning, "unclosed database in <sqlite3.Connection object at 0x7f53c51f5d50>")
    for text in ("unclosed file <_io.TextIOWrapper name='x'>", "subprocess 12 is still running"):
        with pytest.raises(ResourceWarning):
            warn(THEIRS, ResourceWarning, text)
