"""``miliary-seg bids`` on a dataset of two participants, with the BIDS validator as judge of both sides."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from miliary_seg.cli import main
from miliary_seg.report.volume_files import write_nifti

pytestmark = pytest.mark.slow
IMAGES = (
    "sub-01/ses-a/anat/sub-01_ses-a_ce-gadolinium_T1w",
    "sub-01/ses-b/anat/sub-01_ses-b_ce-gadolinium_T1w",
    "sub-02/ses-a/anat/sub-02_ses-a_T1w",
    "sub-02/ses-a/anat/sub-02_ses-a_FLAIR",
)


QUICK = ("--set", "locate.deform=false")
"""The fit is not what is tested here."""


@dataclass(frozen=True)
class Done:
    raw: Path
    out: Path


def call(*arguments: object) -> int:
    """The command line in this process, outside of a test's fixtures."""
    before = sys.argv
    sys.argv = ["miliary-seg", *map(str, arguments)]
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    finally:
        sys.argv = before
    return 0


@pytest.fixture(scope="module")
def raw(small_phantom, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("bids") / "raw"
    for image in IMAGES:
        write_nifti(small_phantom.volume, root / f"{image}.nii.gz")
    write_nifti(small_phantom.volume, root / "sub-02/ses-a/anat/sub-02_ses-a_angio.nii.gz")
    # BIDS inheritance: one sidecar for every T1w of the dataset
    (root / "T1w.json").write_text(json.dumps({"SliceThickness": 4.0, "Modality": "MR"}))
    description = {"Name": "heads", "BIDSVersion": "1.10.0", "Authors": ["A B", "C D"], "DatasetDOI": "doi:10.1/2"}
    (root / "dataset_description.json").write_text(json.dumps(description))
    (root / "README.md").write_text("Phantoms, made for a test of miliary-seg. Nobody's heads. " * 4)
    return root


@pytest.fixture(scope="module")
def done(raw) -> Done:
    out = raw.parent / "out"
    labels = ("--participant-label", "01", "sub-02")
    assert call("bids", raw, out, "participant", "group", *labels, "--no-sub", *QUICK) == 0
    return Done(raw, out)


def validated(folder: Path) -> list[str]:
    """Codes of the errors that the BIDS validator finds (it is a program of its own, and works offline)."""
    validator = shutil.which("bids-validator-deno", path=str(Path(sys.executable).parent)) or shutil.which(
        "bids-validator-deno"
    )
    if validator is None:
        pytest.skip("the BIDS validator is not here (pip install bids-validator-deno)")
    run = subprocess.run([validator, str(folder), "--format", "json"], capture_output=True, text=True, check=False)
    issues = json.loads(run.stdout)["issues"]["issues"]
    return [f"{issue['code']} {issue.get('location', '')}" for issue in issues if issue["severity"] == "error"]


def test_input_and_output_are_valid_bids(done):
    assert validated(done.raw) == []
    assert validated(done.out) == []


def test_the_validator_can_find_a_fault(done, tmp_path):
    copy = shutil.copytree(done.out, tmp_path / "copy")
    (copy / "sub-01" / "ses-a" / "anat" / "sub-01_ses-a_lesions.nii.gz").touch()
    (copy / "dataset_description.json").write_text('{"Name": 1}')
    assert len(validated(copy)) >= 2


def test_maps_lie_on_the_grid_of_their_image(done):
    image = nib.load(done.raw / f"{IMAGES[0]}.nii.gz")
    anat = done.out / "sub-01" / "ses-a" / "anat"
    stem = "sub-01_ses-a_ce-gadolinium_space-T1w_desc-"
    maps = {
        name: nib.load(anat / f"{stem}{name}.nii.gz") for name in ("lesions_dseg", "compartments_dseg", "brain_mask")
    }
    for label_map in maps.values():
        assert label_map.shape == image.shape
        np.testing.assert_allclose(label_map.affine, image.affine, atol=1e-3)
    voxels = {name: np.asarray(m.dataobj) for name, m in maps.items()}
    assert set(np.unique(voxels["brain_mask"])) == {0, 1}
    assert ((voxels["compartments_dseg"] > 0) == (voxels["brain_mask"] > 0)).all()
    index = read_tsv(anat / f"{stem}lesions_dseg.tsv")
    assert [int(row["index"]) for row in index] == sorted(set(np.unique(voxels["lesions_dseg"])) - {0})
    assert read_tsv(anat / f"{stem}compartments_dseg.tsv")[0]["name"] == "left_supratentorial"
    sidecar = json.loads((anat / f"{stem}brain_mask.json").read_text())
    assert sidecar["Type"] == "Brain"
    assert sidecar["Sources"] == [f"bids:raw:{IMAGES[0]}.nii.gz"]


def read_tsv(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text("utf-8").splitlines(), delimiter="\t"))


def test_one_session_is_one_study_and_sidecars_are_heard(done):
    folder = done.out / "sub-02" / "ses-a"
    document = json.loads((folder / "sub-02_ses-a_desc-miliary_result.json").read_text())
    by_sequence = {series["sequence"]: series for series in document["series"]}
    assert set(by_sequence) == {"t1", "flair"}
    assert by_sequence["t1"]["geometry"]["slice_thickness_stated"], "inherited from the dataset's T1w.json"
    assert not by_sequence["flair"]["geometry"]["slice_thickness_stated"]
    for series in document["series"]:
        for path in series["files"].values():
            assert (folder / path).is_file()
    enhanced = json.loads((done.out / "sub-01/ses-a/sub-01_ses-a_desc-miliary_result.json").read_text())
    assert enhanced["series"][0]["sequence"] == "t1c"


def test_tables_have_a_dictionary_with_every_column(done):
    for table in done.out.rglob("*_desc-miliary_*.tsv"):
        rows = read_tsv(table)
        words = json.loads(table.with_suffix(".json").read_text())
        assert rows
        assert list(rows[0]) == list(words)
        assert all(cell != "" for row in rows for cell in row.values()), "n/a where nothing is known"
    lesions = next(done.out.rglob("*_desc-miliary_lesions.json"))
    assert json.loads(lesions.read_text())["volume_mm3"]["Units"] == "mm³"


def test_the_dataset_describes_itself(done):
    description = json.loads((done.out / "dataset_description.json").read_text())
    assert description["DatasetType"] == "derivative"
    assert description["GeneratedBy"][0]["Name"] == "miliary-seg"
    assert description["SourceDatasets"] == [{"URL": "../raw/", "DOI": "doi:10.1/2"}]
    assert description["Authors"] == ["A B", "C D"]
    assert "Bashour" in (done.out / "logs" / "CITATION.md").read_text()


def test_every_participant_has_a_page(done):
    report = (done.out / "sub-02" / "ses-a" / "sub-02_ses-a_desc-miliary_report.html").read_text()
    assert (done.out / "sub-02.html").read_text() == report, "one session: the report itself"
    page = (done.out / "sub-01.html").read_text()
    for session in ("a", "b"):
        link = f"sub-01/ses-{session}/sub-01_ses-{session}_desc-miliary_report.html"
        assert f'href="{link}"' in page
        assert (done.out / link).is_file()


def test_the_group_level_counts_participants(done):
    summary = json.loads((done.out / "group_desc-miliary_summary.json").read_text())
    assert (summary["n_participants"], summary["n_sessions"]) == (2, 3)
    assert summary["incidence_of_participants"]["screened"]["total"] == 2
    rows = read_tsv(done.out / "group_desc-miliary_cases.tsv")
    assert [(row["participant_id"], row["session_id"]) for row in rows] == [
        ("sub-01", "ses-a"),
        ("sub-01", "ses-b"),
        ("sub-02", "ses-a"),
        ("sub-02", "ses-a"),
    ]
    page = (done.out / "group.html").read_text()
    assert 'href="sub-02/ses-a/sub-02_ses-a_desc-miliary_report.html"' in page
    assert page.count("data:image/png;base64,") == 3, "a picture a session"


def test_a_second_call_keeps_what_is_finished_and_a_changed_sidecar_does_not(done, cli):
    again = cli("bids", done.raw, done.out, "participant", "--participant-label", "02", *QUICK)
    assert again.code == 0
    assert "sub-02_ses-a: kept" in again.err
    sidecar = done.raw / "T1w.json"
    before = sidecar.read_text()
    sidecar.write_text(before.replace("4.0", "3.5"))
    try:
        changed = cli("bids", done.raw, done.out, "participant", "--participant-label", "02", *QUICK)
    finally:
        sidecar.write_text(before)
    assert "kept" not in changed.err
    document = json.loads((done.out / "sub-02/ses-a/sub-02_ses-a_desc-miliary_result.json").read_text())
    assert 3.5 in [series["geometry"]["slice_thickness_mm"] for series in document["series"]]


def test_a_dry_run_writes_nothing(raw, tmp_path, cli):
    said = cli("bids", raw, tmp_path / "o", "participant", "--dry-run", "-v", "--session-id", "a", "-m", "T1w", "FLAIR")
    assert said.code == 0
    assert "use  sub-02_ses-a_FLAIR.nii.gz" in said.out
    assert "skip sub-02_ses-a_angio.nii.gz: angio is not among T1w FLAIR" in said.out
    assert "ses-b" not in said.out
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("{raw}", "{raw}", "participant"), 2, "raw data"),
        (("{out}", "{new}", "group"), 3, "no BIDS dataset"),
        (("{raw}", "{new}", "participant", "--participant-label", "09"), 3, "no participant 09"),
        (("{raw}", "{new}", "participant", "-m", "bold"), 2, "bold"),
        (("{raw}", "{new}", "group"), 3, "no session is finished"),
        (("{raw}", "{new}", "everything"), 2, ""),
    ],
)
def test_wrong_calls_say_what_and_write_nothing(raw, tmp_path, cli, arguments, code, words):
    places = {"raw": raw, "out": tmp_path / "nothing", "new": tmp_path / "new"}
    ended = cli("bids", *(argument.format(**places) for argument in arguments))
    assert ended.code == code
    assert words in ended.err
    assert not (tmp_path / "new").exists() or not any((tmp_path / "new").rglob("sub-*"))


def test_the_version_needs_no_dataset(cli):
    assert cli("bids", "--version").out.startswith("miliary-seg ")


def test_other_settings_are_refused_before_anything_is_analysed(done, cli):
    ended = cli("bids", done.raw, done.out, "participant", "--set", "decide.min_per_region=2", *QUICK)
    assert ended.code == 6
    assert "decide.min_per_region" in ended.err
    assert "deform = false" in (done.out / "settings.toml").read_text()


def test_sessions_of_different_settings_are_not_pooled(done, tmp_path, cli):
    copy = shutil.copytree(done.out, tmp_path / "copy")
    mark = copy / "sub-01" / "ses-a" / "complete.json"
    document = json.loads(mark.read_text())
    document["origin"]["settings_digest"] = "0" * 64
    mark.write_text(json.dumps(document))
    ended = cli("bids", done.raw, copy, "group")
    assert ended.code == 6
    assert "sub-01_ses-a differ" in ended.err
