"""Pairing and reading of anybody's files, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from jsonschema import Draft202012Validator

from miliary_seg.domain.decision import Verdict
from miliary_seg.domain.grid import Grid
from miliary_seg.domain.volume import LabelMap
from miliary_seg.errors import (
    AmbiguousInputError,
    GeometryError,
    InputError,
    NoImageError,
    OutputError,
    UnreadableFileError,
    UnsuitableImageError,
    UsageError,
)
from miliary_seg.lab.bench.agreement import ScorePlan, score
from miliary_seg.lab.bench.centres import read_centres
from miliary_seg.lab.bench.document import agreement_document, schema, validate
from miliary_seg.lab.bench.pairs import Source, find_sources, pair_by_name, pair_by_table
from miliary_seg.lab.bench.sides import ReadOptions, instances, read_side
from miliary_seg.lab.bench.write import markdown, write_agreement

SPOTS = ((3, 3, 3), (12, 5, 6), (8, 14, 10))
"""Corners of 2 x 2 x 2 lesions: centres half a voxel further."""


def mask(path: Path, spots=SPOTS, *, values=None, spacing=1.0, dtype=np.uint8) -> Path:
    data = np.zeros((20, 20, 14), dtype=dtype)
    for n, (i, j, k) in enumerate(spots):
        data[i : i + 2, j : j + 2, k : k + 2] = values[n] if values else 1
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, np.diag([spacing, spacing, spacing, 1.0])), path)
    return path


def table(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


CENTRES = "r_mm,a_mm,s_mm,diameter_mm,probability\n3.5,3.5,3.5,2.4,0.9\n12.5,5.5,6.5,2.5,0.4\n18,18,2,,0.3\n"


def test_masks_in_bids_folders_are_paired_by_subject_and_session(tmp_path: Path) -> None:
    for side, suffix in (("ours", "_dseg"), ("theirs", "_desc-manual_mask")):
        for subject in ("sub-01", "sub-02_ses-b"):
            folder = tmp_path / side / Path(*subject.split("_")) / "anat"
            mask(folder / f"{subject}{suffix}.nii.gz", SPOTS[:2] if side == "ours" else SPOTS)
    found = score(ScorePlan(predictions=tmp_path / "ours", references=tmp_path / "theirs"))
    assert [s.given.case for s in found.scores] == ["sub-01", "sub-02_ses-b"]
    assert [s.head for s in found.scores] == ["sub-01", "sub-02"]
    assert found.pooled.figures["sensitivity"].value == pytest.approx(2 / 3)
    assert found.pooled.figures["dice_median"].value == 1.0


def test_a_mask_beside_its_scan_is_the_mask(tmp_path: Path) -> None:
    mask(tmp_path / "a" / "p1" / "t1.nii.gz")
    mask(tmp_path / "a" / "p1" / "lesion_mask.nii.gz")
    mask(tmp_path / "a" / "p2" / "seg.nii.gz")
    for case in ("p1", "p2"):
        mask(tmp_path / "b" / f"{case}_gt.nii.gz")
    pairs, left_out = pair_by_name(tmp_path / "a", tmp_path / "b")
    assert [(p.case, p.prediction.path.name) for p in pairs] == [("p1", "lesion_mask.nii.gz"), ("p2", "seg.nii.gz")]
    assert left_out == []


def test_tables_of_other_things_are_passed_over(tmp_path: Path) -> None:
    """A BIDS dataset holds participants.tsv, and a lookup table beside every segmentation."""
    for side in ("a", "b"):
        mask(tmp_path / side / "sub-1" / "sub-1_dseg.nii.gz")
        table(tmp_path / side / "sub-1" / "sub-1_dseg.tsv", "index\tname\n1\tlesion\n")
        table(tmp_path / side / "participants.tsv", "participant_id\nsub-1\n")
        (tmp_path / side / "notes.csv").write_bytes(b"x,y,z\n\xfc,1,2\n")
    pairs, _ = pair_by_name(tmp_path / "a", tmp_path / "b")
    assert [(p.case, p.prediction.kind) for p in pairs] == [("sub-1", "labels")]


def test_two_masks_of_one_case_are_ambiguous(tmp_path: Path) -> None:
    for name in ("p1_mask.nii.gz", "p1_seg.nii.gz", "p2.nii.gz"):
        mask(tmp_path / "a" / name)
        mask(tmp_path / "b" / name)
    with pytest.raises(AmbiguousInputError, match="p1 has 2 files"):
        pair_by_name(tmp_path / "a", tmp_path / "b")


def test_a_case_on_one_side_only_is_never_left_out_silently(tmp_path: Path) -> None:
    for name in ("p1", "p2"):
        mask(tmp_path / "a" / f"{name}.nii.gz")
    for name in ("p1", "p2", "p3"):
        mask(tmp_path / "b" / f"{name}.nii.gz")
    with pytest.raises(InputError, match="one side only: p3"):
        score(ScorePlan(predictions=tmp_path / "a", references=tmp_path / "b"))
    found = score(ScorePlan(predictions=tmp_path / "a", references=tmp_path / "b", skip_missing=True))
    assert found.left_out == ("p3",)
    with pytest.raises(InputError, match="no case is on both sides"):
        pair_by_name(tmp_path / "a", tmp_path / "b" / "p3.nii.gz")


def test_a_table_of_pairs_with_truths(tmp_path: Path) -> None:
    mask(tmp_path / "x.nii.gz")
    table(tmp_path / "y.csv", CENTRES)
    pairs = table(tmp_path / "pairs.csv", "case,prediction,reference,truth\none,y.csv,x.nii.gz,NOT_MET\n")
    found = score(ScorePlan(pairs=pairs))
    (case,) = found.scores
    assert case.given.truth_met is False
    assert case.rule == "distance"
    assert case.hit.tolist() == [True, False, True]  # the pieces of a mask are numbered along i
    # By the table: lesions of 2.4 mm on slices 3 and 4, of 2.5 mm on 6 and 7, a point on 2; by the mask one more on
    # 10 and 11.
    assert case.count_error.tolist() == [0, 0, 1, 0, 0, 0, 0, 0, 0, 0, -1, -1, 0, 0]
    assert case.marks.hit_scores.tolist() == [0.9, 0.4]
    truths = table(tmp_path / "truth.csv", "case,truth\none,MET\n")
    assert score(ScorePlan(pairs=pairs, truths=truths)).scores[0].given.truth_met is True


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("case,prediction\na,x.nii.gz\n", InputError, "no column reference"),
        ("case,prediction,reference\na,x.nii.gz,none.nii.gz\n", UnreadableFileError, "no such file"),
        ("prediction,reference,truth\nx.nii.gz,x.nii.gz,maybe\n", InputError, "neither MET nor NOT_MET"),
        ("case,prediction,reference\na,x.nii.gz,x.nii.gz\na,x.nii.gz,x.nii.gz\n", InputError, "appear twice: a"),
        ("case,prediction,reference\na,x.nii.gz\n", UnreadableFileError, "line 2 has 2 cells"),
        ("", UnreadableFileError, "empty"),
    ],
)
def test_tables_of_pairs_that_are_refused(tmp_path: Path, text: str, error: type, message: str) -> None:
    mask(tmp_path / "x.nii.gz")
    with pytest.raises(error, match=message):
        pair_by_table(table(tmp_path / "pairs.csv", text))


def test_centres_of_several_cases_in_one_table_and_in_lps(tmp_path: Path) -> None:
    path = table(tmp_path / "all.csv", "case,x,y,z,score\na,1,2,3,0.5\nb,-4,5,6,\n")
    assert {s.case for s in find_sources(path)} == {"a", "b"}
    assert read_centres(path)["b"].centres_ras_mm.tolist() == [[-4, 5, 6]]
    assert read_centres(path, "lps")["b"].centres_ras_mm.tolist() == [[4, -5, 6]]
    ours = table(tmp_path / "ours.csv", "centroid_r_mm,centroid_a_mm,centroid_s_mm,slices\n1,2,3,4;5\n")
    assert read_centres(ours, "lps")[""].centres_ras_mm.tolist() == [[1, 2, 3]]
    assert read_centres(ours)[""].slices == ((4, 5),)


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b"a,b\n1,2\n", InputError, "no columns of lesion centres"),
        (b"x,y,z\n1,2,three\n", InputError, "column z, lesion 1: not a number"),
        (b"x,y,z\n1,,3\n", InputError, "column y, lesion 1"),
        (b"x,y,z\n1,nan,3\n", InputError, "column y"),
        (b"x,y,z,diameter_mm\n1,2,3,0\n", InputError, "diameter is not above 0"),
        (b"x,y,z,x\n1,2,3,4\n", InputError, "share a name"),
        ("x,y,z,reader\n1,2,3,M\xfcller\n".encode("latin-1"), UnreadableFileError, "not UTF-8"),
        (b"", UnreadableFileError, "empty"),
    ],
)
def test_tables_of_centres_that_are_refused(tmp_path: Path, content: bytes, error: type, message: str) -> None:
    path = tmp_path / "c.csv"
    path.write_bytes(content)
    with pytest.raises(error, match=message):
        read_centres(path)
    with pytest.raises(UnreadableFileError, match="cannot read"):
        read_centres(tmp_path / "none.csv")


def test_grids_that_differ_are_matched_in_the_world_or_refused(tmp_path: Path) -> None:
    """The same spots on 1 mm and on 2 mm voxels: centres at 3.5 mm and at 2 * 1 + 1 = 3 mm."""
    fine, coarse = mask(tmp_path / "a.nii.gz"), mask(tmp_path / "b.nii.gz", ((1, 1, 1),), spacing=2.0)
    found = score(ScorePlan(predictions=coarse, references=fine))
    (case,) = found.scores
    assert (case.rule, case.given.notes, case.count_error) == ("distance", ("grids_differ",), None)
    assert case.hit.tolist() == [True, False, False]
    from miliary_seg.lab.bench.scoring import MatchRule

    with pytest.raises(GeometryError, match="one grid"):
        score(ScorePlan(predictions=coarse, references=fine, rule=MatchRule(kind="overlap")))


def test_other_grids_without_orientation_are_refused(tmp_path: Path) -> None:
    bare = mask(tmp_path / "bare.nii.gz", spacing=2.0)
    image = nib.load(bare)
    image.set_sform(None, code=0)
    image.set_qform(None, code=0)
    nib.save(image, tmp_path / "none.nii.gz")
    with pytest.raises(GeometryError, match="states no orientation"):
        score(ScorePlan(predictions=tmp_path / "none.nii.gz", references=mask(tmp_path / "a.nii.gz")))


def test_coordinates_that_look_mirrored_are_said(tmp_path: Path) -> None:
    reference = mask(tmp_path / "a.nii.gz")
    lps = "x,y,z\n" + "".join(f"{-(i + 0.5)},{-(j + 0.5)},{k + 0.5}\n" for i, j, k in (*SPOTS, (15, 15, 2)))
    four = mask(tmp_path / "b.nii.gz", (*SPOTS, (15, 15, 2)))
    centres = table(tmp_path / "c.csv", lps)
    found = score(ScorePlan(predictions=centres, references=four))
    assert found.scores[0].given.notes == ("looks_mirrored",)
    assert found.pooled.figures["sensitivity"].value == 0.0
    right = score(ScorePlan(predictions=centres, references=four, options=ReadOptions(frame="lps")))
    assert right.pooled.figures["sensitivity"].value == 1.0
    assert not score(ScorePlan(predictions=reference, references=four)).scores[0].given.notes


def test_masks_instances_and_classes() -> None:
    grid = Grid(shape=(12, 4, 4), affine=np.eye(4))
    data = np.zeros(grid.shape, dtype=np.int32)
    data[0:2], data[4:6], data[8:10] = 1, 1, 2
    classes = LabelMap(labels=data, grid=grid)
    with pytest.raises(AmbiguousInputError, match="classes or lesions"):
        instances(classes, "auto")
    assert int(instances(classes, "mask").labels.max()) == 3
    assert np.unique(instances(classes, "instances").labels).tolist() == [0, 1, 2]
    one_value = LabelMap(labels=(data > 0) * 255, grid=grid)
    assert int(instances(one_value, "auto").labels.max()) == 3


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ("probabilities", UnsuitableImageError, "fractions"),
        ("negative", UnsuitableImageError, "below 0"),
        ("4d", UnsuitableImageError, "3 volumes"),
        ("truncated", UnreadableFileError, "damaged|truncated"),
        ("text", UnreadableFileError, "not a NIfTI"),
    ],
)
def test_label_maps_that_are_refused(tmp_path: Path, change: str, error: type, message: str) -> None:
    good, bad = mask(tmp_path / "good.nii.gz"), tmp_path / "bad.nii.gz"
    data = np.asarray(nib.load(good).dataobj)
    if change == "probabilities":
        nib.save(nib.Nifti1Image((data * 0.5).astype(np.float32), np.eye(4)), bad)
    elif change == "negative":
        nib.save(nib.Nifti1Image(-data.astype(np.int16), np.eye(4)), bad)
    elif change == "4d":
        nib.save(nib.Nifti1Image(np.stack([data] * 3, axis=3), np.eye(4)), bad)
    else:
        bad.write_bytes(good.read_bytes()[:-40] if change == "truncated" else b"hello")
    with pytest.raises(error, match=message):
        score(ScorePlan(predictions=good, references=bad))


def test_folders_with_nothing_and_calls_that_say_too_little(tmp_path: Path) -> None:
    with pytest.raises(NoImageError, match="no result, mask"):
        find_sources(tmp_path)
    with pytest.raises(UnreadableFileError, match="no such file"):
        find_sources(tmp_path / "none")
    for wrong in ({}, {"predictions": tmp_path}, {"predictions": tmp_path, "references": tmp_path, "pairs": tmp_path}):
        with pytest.raises(UsageError, match="PREDICTIONS and REFERENCES"):
            ScorePlan(**wrong)
    for options in (ReadOptions(frame="mni"), ReadOptions(labels="voxels")):
        with pytest.raises(UsageError, match="cannot be"):
            ScorePlan(pairs=tmp_path, options=options)


def test_a_damaged_result_is_refused(tmp_path: Path) -> None:
    reference = mask(tmp_path / "a.nii.gz")
    for text, message in (("{", "cannot be read"), ("[]", "not a JSON object"), ("{}", "not a result")):
        table(tmp_path / "run" / "result.json", text)
        with pytest.raises(UnreadableFileError, match=message):
            score(ScorePlan(predictions=tmp_path / "run", references=reference))
    table(tmp_path / "truth" / "truth.json", json.dumps({"lesions": [{}], "slice_axis": 2}))
    mask(tmp_path / "truth" / "lesions_truth.nii.gz")
    with pytest.raises(UnreadableFileError, match=r"not a truth\.json"):
        score(ScorePlan(predictions=reference, references=tmp_path / "truth"))


def test_what_is_written(tmp_path: Path) -> None:
    mask(tmp_path / "x.nii.gz")
    table(tmp_path / "y.csv", CENTRES)
    pairs = table(tmp_path / "pairs.csv", "case,prediction,reference,truth\n<b>,y.csv,x.nii.gz,MET\n")
    found = score(ScorePlan(pairs=pairs))
    page = write_agreement(found, tmp_path / "out")
    document = json.loads((tmp_path / "out" / "bench.json").read_text("utf-8"))
    assert document == agreement_document(found)
    Draft202012Validator(schema()).validate(document)
    assert document["pooled"]["figures"]["sensitivity"]["value"] == pytest.approx(2 / 3, abs=1e-6)
    lesions = (tmp_path / "out" / "bench_lesions.csv").read_text("utf-8").splitlines()
    assert [line.split(",")[1] for line in lesions[1:]] == ["found", "missed", "found", "false"]
    html = page.read_text("utf-8")
    assert "<b>" not in html
    assert "&lt;b&gt;" in html
    assert html.count("<svg") == len(list((tmp_path / "out" / "figures").iterdir())) == 3
    again = write_agreement(found, tmp_path / "again")
    assert again.read_bytes() == page.read_bytes()
    with pytest.raises(OutputError, match="already"):
        write_agreement(found, tmp_path / "out")
    write_agreement(found, tmp_path / "out", force=True)
    with pytest.raises(OutputError, match="in the way"):
        write_agreement(found, tmp_path / "x.nii.gz")


def test_broken_documents_are_refused(tmp_path: Path) -> None:
    mask(tmp_path / "a" / "p.nii.gz")
    document = agreement_document(score(ScorePlan(predictions=tmp_path / "a", references=tmp_path / "a")))
    validate(document)
    for change, place in (({"kind": "other"}, "kind"), ({"left_out": [1]}, "left_out/0"), ({"x": 1}, "x")):
        with pytest.raises(OutputError, match=f"bench.json would break its schema at .*{place}"):
            validate(document | change)


def test_the_schema_describes_every_key() -> None:
    Draft202012Validator.check_schema(schema())
    silent = [
        f"{name}.{key}"
        for name, part in schema()["$defs"].items()
        for key, about in part.get("properties", {}).items()
        if "description" not in about and "$ref" not in about
    ]
    assert silent == []


def test_tables_stand_alone_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("miliary_seg.report.figures.find_spec", lambda name: None)
    found = score(ScorePlan(predictions=mask(tmp_path / "x.nii.gz"), references=tmp_path / "x.nii.gz"))
    page = write_agreement(found, tmp_path / "out").read_text("utf-8")
    assert "pip install miliary-seg[figures]" in page
    assert "<svg" not in page
    assert "![" not in (tmp_path / "out" / "bench.md").read_text("utf-8")


def test_markdown_cells_cannot_break_the_table() -> None:
    from miliary_seg.lab.bench.sections import Section

    text = markdown("t", "x", [Section(title="s", header=("a",), rows=(("1|2\n<i>",),))])
    assert r"| 1\|2 &lt;i> |" in text


def test_a_series_of_a_study_is_scored_by_its_own_answer(tmp_path: Path) -> None:
    run = tmp_path / "run" / "a"
    instance = mask(run / "lesions.nii.gz", SPOTS[:1])
    table(run / "lesions.csv", "id,r_mm,a_mm,s_mm,diameter_mm,probability\n1,3.5,3.5,3.5,2.4,0.9\n")
    table(run / "candidates.csv", "id,r_mm,a_mm,s_mm,diameter_mm,probability,rule\n")
    files = {"lesion_map": instance.name, "lesions": "lesions.csv", "candidates": "candidates.csv"}
    grid = {"slice_axis": 2, "orientation_known": True, "affine": np.eye(4).tolist(), "shape": [20, 20, 14]}
    answers = {"flair-1": ("NOT_MET", 0.01), "t1c-2": ("MET", 0.99)}
    series = [
        {"id": name, "files": files, "geometry": grid, "decision": {"verdict": verdict, "probability": chance}}
        for name, (verdict, chance) in answers.items()
    ]
    (run / "result.json").write_text(json.dumps({"verdict": "MET", "series": series}))
    for name, (verdict, chance) in answers.items():
        side = read_side(Source(case="a", path=run, kind="run"), ReadOptions(series=name))
        assert (side.verdict, side.probability) == (Verdict(verdict), chance)
