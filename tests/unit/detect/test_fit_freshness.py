"""What the fit of the rejector keeps is used only while it follows from its scene and the code."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="module")
def fresh():
    path = Path(__file__).parents[3] / "scripts/rejector/fresh.py"
    spec = importlib.util.spec_from_file_location("fresh", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_comment_changes_nothing_and_a_number_does(fresh, tmp_path):
    texts = ['"""A."""\nX = 1\n"""Why."""\n', "# other words\nX  =  1\n", "X = 2\n"]
    digests = []
    for n, text in enumerate(texts):
        path = tmp_path / str(n) / "same.py"
        path.parent.mkdir()
        path.write_text(text, encoding="utf-8")
        digests.append(fresh.of_code(path))
    assert digests[0] == digests[1] != digests[2]


def test_another_scene_is_noticed(fresh, tmp_path):
    scene, table = tmp_path / "scene.npz", tmp_path / "table.npz"
    np.savez(scene, voxels=np.zeros(3))
    before = fresh.of_table(scene)
    assert not fresh.is_fresh(table, before)
    np.savez(table, digest=before)
    assert fresh.is_fresh(table, before)
    np.savez(scene, voxels=np.ones(3))
    assert not fresh.is_fresh(table, fresh.of_table(scene))
    np.savez(table, other=1)
    assert not fresh.is_fresh(table, before)


def test_pictures_follow_from_the_table_and_its_rows(fresh):
    some = fresh.of_pictures("table", np.array([1, 2]))
    assert some == fresh.of_pictures("table", np.array([1, 2], np.int32))
    assert len({some, fresh.of_pictures("table", np.array([1, 3])), fresh.of_pictures("other", np.array([1, 2]))}) == 3
