"""From a file of somebody's lesions to the answer, from the command line; corrected, and decided again."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

Cli = Callable[..., Any]


def truth_map(small_phantom: Any, path: Path, values: np.ndarray | None = None) -> Path:
    labels = small_phantom.labels.labels if values is None else values
    nib.save(nib.Nifti1Image(labels.astype(np.uint8), small_phantom.volume.grid.affine), path)
    return path


def document(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "result.json").read_text())


def read_table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def same_row(a: dict[str, str], b: dict[str, str]) -> bool:
    """Whether two rows say the same; numbers may differ by what ``result.json`` rounds off."""
    return a.keys() == b.keys() and all(a[key] == b[key] or same_number(a[key], b[key]) for key in a)


def same_number(a: str, b: str) -> bool:
    try:
        return float(a) == pytest.approx(float(b), rel=1e-6, abs=1e-6)
    except ValueError:
        return False


@pytest.fixture(scope="module")
def case(small_phantom: Any, small_scan: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished case whose lesions are the phantom's true ones."""
    from miliary_seg.cohort import RunPlan, run_cases
    from miliary_seg.load import find_cases
    from miliary_seg.settings import Settings

    folder = tmp_path_factory.mktemp("given")
    given = truth_map(small_phantom, folder / "truth.nii.gz")
    settings = Settings().updated({"report.editable": "true"})
    plan = RunPlan(output=folder / "out", settings=settings, lesions=str(given))
    (outcome,) = run_cases(find_cases([small_scan]).cases, plan)
    assert outcome.error is None
    assert outcome.folder is not None
    return outcome.folder


def test_given_lesions_go_all_the_way(case: Path, small_phantom: Any) -> None:
    (series,) = document(case)["series"]
    assert len(series["lesions"]) == len(small_phantom.truth.lesions) == 12
    assert series["detection"]["source"]["name"] == "given"
    assert series["detection"]["source"]["format"] == "NIfTI"
    assert "path" not in series["detection"]["source"]
    assert series["detection"]["operating_point"]["name"] == "given"
    assert {lesion["probability"] for lesion in series["lesions"]} == {1.0}
    centres = np.array([lesion["centroid_ras_mm"] for lesion in series["lesions"]])
    wanted = np.array([lesion.centre_ras_mm for lesion in small_phantom.truth.lesions])
    assert np.linalg.norm(centres - wanted, axis=1).max() < 1.6  # mm, a voxel of this coarse head
    codes = [caveat["code"] for caveat in series["caveats"]]
    assert "given_lesions" in codes
    page = (case / "report.html").read_text()
    assert "The lesions come from a file (NIfTI)." in page
    assert "none known: counts are taken as exact" in page
    (row,) = json.loads((case / "complete.json").read_text())["rows"]
    assert row["lesion_source"] == "given (NIfTI)"


def test_the_same_lesions_decide_the_same_again(cli: Cli, case: Path, tmp_path: Path) -> None:
    lesions = next(case.glob("*/lesions.nii.gz"))
    ended = cli("decide", case, "--lesions", lesions, "-o", tmp_path / "new", "--json")
    assert ended.code == 0, ended.err
    new = json.loads(ended.out)
    assert new == json.loads((tmp_path / "new" / "decision.json").read_text())
    assert new["changes"] == {"unchanged": 12, "removed": 0, "added": 0, "moved": 0, "redrawn": 0, "lesions": []}
    old = document(case)["series"][0]["decision"]
    for key in ("verdict", "criteria", "readings", "margin", "evidence_slices", "quadrant_counts", "reasons"):
        assert new["decision"][key] == old[key], (key, new["decision"][key], old[key])
    tables = [read_table(folder / "lesions.csv") for folder in (lesions.parent, tmp_path / "new")]
    for before, after in zip(*tables, strict=True):  # every measurement and place of unchanged lesions
        assert same_row(before, after), (before, after)


def test_cases_stored_before_masks_were_judged_are_still_decided_again(cli: Cli, case: Path, tmp_path: Path) -> None:
    old, doubted = tmp_path / "old", tmp_path / "doubted"
    lesions = next(case.glob("*/lesions.nii.gz"))
    for folder in (old, doubted):
        shutil.copytree(case, folder)
        stored = document(folder)
        mask = stored["series"][0].pop("brain_mask")
        assert set(mask) == {"trusted", "trust", "figures", "reasons"}
        figures = stored["series"][0]["registration"]["figures"]
        figures["midline_shift_mm"] = figures.pop("midline_deformation_mm")
        if folder is doubted:
            why = {"code": "mask_incomplete", "text": "the brain mask leaves out 40% of the fitted brain"}
            stored["series"][0]["brain_mask"] = mask | {"trusted": False, "trust": 0.01, "reasons": [why]}
        (folder / "result.json").write_text(json.dumps(stored))
    found = {}
    for folder in (case, old, doubted):
        ended = cli("decide", folder, "--lesions", lesions, "-o", tmp_path / f"new-{folder.name}", "--json")
        assert ended.code == 0, ended.err
        found[folder] = json.loads(ended.out)["decision"]
    assert found[old] == found[case]
    reasons = {item["code"] for criterion in found[doubted]["criteria"] for item in criterion["reasons"]}
    assert "NOT_MET" not in {criterion["verdict"] for criterion in found[doubted]["criteria"]}
    assert {"mask_untrusted", "mask_incomplete"} <= reasons


def test_a_correction_says_what_changed(cli: Cli, case: Path, tmp_path: Path) -> None:
    file = next(case.glob("*/lesions.nii.gz"))
    image = nib.load(file)
    labels = np.asarray(image.dataobj).copy()
    labels[labels == 3] = 0  # removed
    moved = labels == 5
    labels[moved] = 0
    labels[np.roll(moved, 2, axis=0)] = 5
    middle = tuple(n // 2 for n in labels.shape)
    free = np.argwhere((labels == 0) & (np.abs(np.indices(labels.shape) - np.reshape(middle, (3, 1, 1, 1))).sum(0) < 9))
    labels[tuple(free[0])] = 1  # painted with a number that is taken: a lesion of its own all the same
    nib.save(nib.Nifti1Image(labels, image.affine), tmp_path / "corrected.nii.gz")
    ended = cli("decide", case, "--lesions", tmp_path / "corrected.nii.gz", "-o", tmp_path / "new", "--by", "reader 2")
    assert ended.code == 0, ended.err
    assert "12 lesions: 1 removed, 1 added, 1 moved, 0 redrawn, 10 unchanged" in ended.out
    new = json.loads((tmp_path / "new" / "decision.json").read_text())
    assert new["corrected_by"] == "reader 2"
    by_kind = {change["what"]: change for change in new["changes"]["lesions"]}
    assert by_kind["removed"]["id_before"] == 3
    assert by_kind["moved"]["shift_mm"] == pytest.approx(2 * 1.6, rel=0.02)
    rows = {row["id"]: row for row in read_table(tmp_path / "new" / "lesions.csv")}
    assert len(rows) == 12
    moved_row = rows[str(by_kind["moved"]["id_after"])]
    stored = next(row for row in document(case)["series"][0]["lesions"] if row["id"] == 5)
    assert same_number(moved_row["perpendicular_diameter_mm"], str(stored["perpendicular_diameter_mm"]))
    assert (moved_row["polarity"], moved_row["flags"]) == (stored["polarity"], ";".join(stored["flags"]))
    assert cli("decide", case, "--lesions", file, "-o", tmp_path / "new").code == 6  # there already


def test_a_mask_without_numbers_is_taken_apart_along_the_old_lesions(cli: Cli, case: Path, tmp_path: Path) -> None:
    file = next(case.glob("*/lesions.nii.gz"))
    image = nib.load(file)
    mask = (np.asarray(image.dataobj) > 0).astype(np.uint8)
    nib.save(nib.Nifti1Image(mask, image.affine), tmp_path / "mask.nii.gz")
    ended = cli("decide", case, "--lesions", tmp_path / "mask.nii.gz", "-o", tmp_path / "new")
    assert "12 lesions: 0 removed, 0 added, 0 moved, 0 redrawn, 12 unchanged" in ended.out


def test_the_files_for_editors_decide_the_same(cli: Cli, case: Path, tmp_path: Path) -> None:
    slicer = next(case.glob("*/lesions.seg.nrrd"))
    ended = cli("decide", case, "--lesions", slicer, "-o", tmp_path / "new")
    assert "12 unchanged" in ended.out
    colours = next(case.glob("*/lesions.itksnap.txt")).read_text().splitlines()
    assert sum(not line.startswith("#") for line in colours) == 13
    assert "lesion 1, " in colours[5]


def test_places_of_changed_lesions_are_those_of_a_new_run(cli: Cli, case: Path, tmp_path: Path) -> None:
    """Half of the lesions lose a voxel: sides, levels and distances as a full analysis gives them."""
    from miliary_seg.correction import decide_again

    file = next(case.glob("*/lesions.nii.gz"))
    image = nib.load(file)
    labels = np.asarray(image.dataobj).copy()
    for number in range(1, 7):
        labels[tuple(np.argwhere(labels == number)[0])] = 0
    nib.save(nib.Nifti1Image(labels, image.affine), tmp_path / "less.nii.gz")
    found = decide_again(case, tmp_path / "less.nii.gz").series
    before = {row["id"]: row for row in document(case)["series"][0]["lesions"]}
    for lesion, place in zip(found.lesions, found.assignments, strict=True):
        near = min(
            before.values(), key=lambda row: np.linalg.norm(np.subtract(row["centroid_ras_mm"], lesion.centroid_ras_mm))
        )
        for key in ("midline_distance_mm", "tentorium_distance_mm"):
            kept, wanted = (float(np.clip(mm, -31.75, 31.75)) for mm in (getattr(place, key), near[key]))
            assert kept == pytest.approx(wanted, abs=0.8), key
        assert str(place.side) == near["side"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--lesions", "missing.nii.gz"), 3, "no such lesion file"),
        (("--lesions", "{patient}.nii.gz"), 2, "has a field"),
        (("--lesions", "truth.nii.gz", "--lesion-labels", "77"), 3, "none of the labels"),
        (("--lesions", "far.nii.gz"), 4, "outside of the scan"),
        (("--lesions", "all.nii.gz"), 3, "mask of the brain"),
        (("--lesions", "truth.nii.gz", "--false-positives", "-3"), 2, ""),
        (("--detector", "nobody"), 5, "no detector 'nobody'"),
    ],
)
def test_what_is_refused(  # noqa: PLR0917 - a table of cases
    cli: Cli, small_phantom: Any, small_scan: Path, tmp_path: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    truth_map(small_phantom, tmp_path / "truth.nii.gz")
    truth_map(small_phantom, tmp_path / "all.nii.gz", np.asarray(small_phantom.brain_mask))
    far = nib.load(tmp_path / "truth.nii.gz")
    far.affine[:3, 3] += 900
    nib.save(nib.Nifti1Image(np.asarray(far.dataobj), far.affine), tmp_path / "far.nii.gz")
    placed = [str(tmp_path / word) if word.endswith(".nii.gz") else word for word in arguments]
    ended = cli("run", small_scan, "-o", tmp_path / "out", *placed)
    assert ended.code == code, ended.err
    assert words in ended.err
    assert not list((tmp_path / "out").glob("*/result.json"))


def test_one_file_for_several_cases_is_refused(cli: Cli, small_scan: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"sub-{name}_ce-gd_T1w.nii.gz").write_bytes(small_scan.read_bytes())
    ended = cli("run", tmp_path, "-o", tmp_path / "out", "--lesions", small_scan)
    assert ended.code == 2
    assert "one file, but 2 cases" in ended.err


def test_folders_that_cannot_be_decided_again(cli: Cli, case: Path, tmp_path: Path) -> None:
    ended = cli("decide", tmp_path, "--lesions", tmp_path / "a.nii.gz")
    assert ended.code == 3
    assert "no folder of a finished case" in ended.err
    (tmp_path / "result.json").write_text("{}")
    assert cli("decide", tmp_path, "--lesions", tmp_path / "a.nii.gz").code == 3
    ended = cli("decide", case, "--lesions", tmp_path / "result.json")
    assert ended.code == 3
