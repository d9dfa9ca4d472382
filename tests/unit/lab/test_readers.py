"""Two readers over a cohort."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from miliary_seg.errors import GeometryError, InputError, UnreadableFileError
from miliary_seg.lab.bench.readers import read_twice, readers_document, readers_sections
from miliary_seg.lab.bench.scoring.kappa import cohens_kappa


def test_kappa_of_cohens_own_example() -> None:
    """Table 1 of Cohen 1960, n = 200: kappa 0.492."""
    table = {("p", "p"): 88, ("p", "n"): 14, ("p", "o"): 18, ("n", "p"): 10, ("n", "n"): 40, ("n", "o"): 10}
    table |= {("o", "p"): 2, ("o", "n"): 6, ("o", "o"): 12}
    pairs = [pair for pair, count in table.items() for _ in range(count)]
    found = cohens_kappa([a for a, _ in pairs], [b for _, b in pairs])
    assert found.n == 200
    assert found.observed == pytest.approx(0.70)
    assert found.expected == pytest.approx(0.41)
    assert found.value == pytest.approx(0.492, abs=5e-4)


def test_kappa_and_its_interval_are_those_of_statsmodels() -> None:
    rates = pytest.importorskip("statsmodels.stats.inter_rater")
    rng = np.random.default_rng(0)
    for _ in range(20):
        table = rng.integers(1, 20, (3, 3))
        pairs = [(i, j) for i in range(3) for j in range(3) for _ in range(table[i, j])]
        found = cohens_kappa([str(a) for a, _ in pairs], [str(b) for _, b in pairs])
        wanted = rates.cohens_kappa(table)
        assert found.value == pytest.approx(wanted.kappa)
        assert found.low == pytest.approx(wanted.kappa_low, abs=1e-6)
        assert found.high == pytest.approx(wanted.kappa_upp, abs=1e-6)


def test_one_answer_throughout_has_no_kappa() -> None:
    found = cohens_kappa(["MET"] * 3, ["MET"] * 3)
    assert (found.value, found.observed) == (None, 1.0)
    assert cohens_kappa([], []).observed is None


def result(folder: Path, case: str, verdict: str, labels: np.ndarray, reader: str = "the detector a") -> None:
    place = folder / case
    (place / "s").mkdir(parents=True)
    nib.save(nib.Nifti1Image(labels.astype(np.uint8), np.eye(4)), place / "s" / "lesions.nii.gz")
    counts = [len(np.unique(labels[..., k])) - 1 for k in range(labels.shape[2])]
    series = {
        "id": "s",
        "decision": {"verdict": verdict},
        "detection": {"source": {"text": reader}},
        "slices": [{"n_lesions": n} for n in counts],
        "lesions": [{}] * int(labels.max()),
        "files": {"lesion_map": "s/lesions.nii.gz"},
    }
    (place / "result.json").write_text(json.dumps({"case": case, "series": [series]}))


def three_lesions(*kept: int) -> np.ndarray:
    labels = np.zeros((8, 8, 6), int)
    for n, k in enumerate(kept, start=1):
        labels[2 * k : 2 * k + 2, 1:3, k] = n
    return labels


def test_two_folders_of_the_same_cases(tmp_path: Path) -> None:
    for case, verdicts, ours, theirs in (
        ("a", ("MET", "MET"), (0, 1, 2), (0, 1, 2)),
        ("b", ("MET", "NOT_MET"), (0, 1, 2), (2,)),
        ("c", ("NOT_MET", "NOT_MET"), (1,), (0, 1)),
    ):
        result(tmp_path / "one", case, verdicts[0], three_lesions(*ours))
        result(tmp_path / "two", case, verdicts[1], three_lesions(*theirs), "a file (NIfTI)")
    found = read_twice(tmp_path / "one", tmp_path / "two")
    assert [(s.n_both, s.n_only_first, s.n_only_second) for s in found.series] == [(3, 0, 0), (1, 2, 0), (1, 0, 1)]
    assert found.series[1].count_difference_mean == pytest.approx(-2 / 3)
    assert found.verdicts.observed == pytest.approx(2 / 3)
    assert found.lesion_agreement == pytest.approx(10 / 13)
    assert json.loads(json.dumps(readers_document(found)))["kappa"]["n"] == 3
    assert [row[0] for row in readers_sections(found)[1].rows] == ["a", "b", "c"]


def test_what_cannot_be_compared(tmp_path: Path) -> None:
    result(tmp_path / "one", "a", "MET", three_lesions(0))
    with pytest.raises(InputError, match="holds a comparison"):
        read_twice(tmp_path / "one")
    with pytest.raises(InputError, match="share no case"):
        read_twice(tmp_path / "one", tmp_path / "none")
    result(tmp_path / "two", "a", "MET", np.zeros((3, 3, 3), int))
    with pytest.raises(GeometryError, match="different scans"):
        read_twice(tmp_path / "one", tmp_path / "two")
    (tmp_path / "two" / "a" / "result.json").write_text("{")
    with pytest.raises(UnreadableFileError):
        read_twice(tmp_path / "one", tmp_path / "two")


def test_comparisons_that_one_folder_holds(tmp_path: Path) -> None:
    result(tmp_path / "one", "a", "MET", three_lesions(0, 1))
    path = tmp_path / "one" / "a" / "result.json"
    document: Any = json.loads(path.read_text())
    document["series"][0]["comparisons"] = [
        {
            "first": {"text": "a file (DICOM SEG)"},
            "second": {"text": "the detector miliary-seg"},
            "verdict_first": "MET",
            "verdict_second": "INDETERMINATE",
            "n_both": 2,
            "n_only_first": 0,
            "n_only_second": 3,
            "slice_counts_first": [1, 1],
            "slice_counts_second": [3, 2],
        }
    ]
    path.write_text(json.dumps(document))
    found = read_twice(tmp_path / "one")
    assert (found.first, found.second) == ("a file (DICOM SEG)", "the detector miliary-seg")
    assert found.series[0].count_difference_largest == 2
