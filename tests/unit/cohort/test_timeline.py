"""Two visits of one head: aligned, compared lesion by lesion, ordered by date."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest

from miliary_seg.cohort import Change, read_scans, track_lesions
from miliary_seg.cohort.longitudinal.course import course_at
from miliary_seg.cohort.longitudinal.lesion_tracking import match_one_to_one, size_change
from miliary_seg.cohort.longitudinal.timeline import DatedScan, TimelinePlan, timelines
from miliary_seg.detect import signal_at
from miliary_seg.domain.grid import Grid
from miliary_seg.domain.lesion import Lesion
from miliary_seg.domain.sequence import Sequence, SequenceEvidence
from miliary_seg.domain.volume import Volume
from miliary_seg.errors import InputError
from miliary_seg.lab.phantom import LesionSpec, Phantom, PhantomSpec, ScannerSpec, make
from miliary_seg.locate import register_rigid
from miliary_seg.settings import Settings

PLACES = {"stays": (-30.0, -20.0, 30.0), "goes": (30.0, -10.0, 25.0), "comes": (-25.0, -50.0, 30.0)}
DIAMETER_MM = 4.0


def turned(pitch: float, yaw: float, shift: tuple[float, float, float]) -> np.ndarray:
    a, b = np.radians([pitch, yaw])
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = about_x @ about_z, shift
    return matrix


MOVE = turned(9.0, -6.0, (4.0, -7.0, 5.0))


def head(noise_seed: int, person: int = 3) -> Phantom:
    """One person's drawn head, with noise of its own."""
    scanner = ScannerSpec(pixel_mm=1.4, thickness_mm=1.4, margin_mm=8, noise=0.0, bias=0.05)
    made = make(PhantomSpec(lesions=LesionSpec(count=0), scanner=scanner), seed=person)
    voxels = made.volume.voxels
    noise = np.random.default_rng(noise_seed).normal(0, 0.02 * np.percentile(voxels, 95), voxels.shape)
    return replace(made, volume=replace(made.volume, voxels=np.abs(voxels + noise).astype(np.float32)))


def with_balls(volume: Volume, places: list[tuple[float, float, float]], amplitude: float) -> Volume:
    voxels = volume.voxels.copy()
    where = volume.grid.to_ras_mm(np.moveaxis(np.indices(volume.grid.shape), 0, -1))
    for place in places:
        distance = np.linalg.norm(where - np.array(place), axis=-1)
        voxels += amplitude * np.clip((DIAMETER_MM / 2 - distance) / 1.0 + 0.5, 0, 1).astype(np.float32)
    return replace(volume, voxels=voxels)


def lesion(id_: int, place: tuple[float, float, float]) -> Lesion:
    return Lesion(
        id=id_,
        centroid_ras_mm=place,
        centroid_ijk=(0.0, 0.0, 0.0),
        volume_mm3=33.5,
        equivalent_diameter_mm=DIAMETER_MM,
        contrast=10.0,
        probability=0.9,
    )


def moved(place: tuple[float, float, float], matrix: np.ndarray = MOVE) -> tuple[float, float, float]:
    x, y, z = matrix[:3, :3] @ np.array(place) + matrix[:3, 3]
    return float(x), float(y), float(z)


@dataclass
class Visits:
    """Two scans of one head; the later one lies elsewhere in its world."""

    earlier: Volume
    later: Volume
    masks: tuple[np.ndarray, np.ndarray]
    amplitude: float

    def series(self, which: str, lesions: list[Lesion], **volume: object) -> SimpleNamespace:
        scan = replace(getattr(self, which), **volume)
        mask = self.masks[which == "later"]
        fit = SimpleNamespace(orientation_known=True, reoriented=False)
        place = SimpleNamespace(brain_mask=mask, registration=fit)
        detection = SimpleNamespace(noise_sigma=self.amplitude * 0.05)
        return SimpleNamespace(volume=scan, location=place, detection=detection, lesions=lesions)


@pytest.fixture(scope="module")
def visits() -> Visits:
    first, second = head(1), head(2)
    white = float(np.percentile(first.volume.voxels[first.brain_mask], 80))
    earlier = with_balls(first.volume, [PLACES["stays"], PLACES["goes"]], 0.5 * white)
    later = with_balls(second.volume, [PLACES["stays"], PLACES["comes"]], 0.5 * white)
    elsewhere = Grid(shape=later.grid.shape, affine=MOVE @ later.grid.affine)
    return Visits(earlier, replace(later, grid=elsewhere), (first.brain_mask, second.brain_mask), 0.5 * white)


@pytest.fixture(scope="module")
def alignment(visits: Visits):
    earlier, later = visits.series("earlier", []), visits.series("later", [])
    return register_rigid(earlier.volume, earlier.location, later.volume, later.location)


def test_two_visits_are_aligned_to_a_fraction_of_a_voxel(alignment) -> None:
    assert alignment.trusted
    for place in PLACES.values():
        there = alignment.matrix[:3, :3] @ np.array(place) + alignment.matrix[:3, 3]
        assert np.linalg.norm(there - np.array(moved(place))) < 0.3
    assert alignment.overlap_fraction > 0.98


def test_other_contrast_and_orientation_align_as_well(visits: Visits) -> None:
    later = visits.series("later", [])
    flipped = np.diag([-1.0, 1.0, 1.0, 1.0])
    flipped[0, 3] = later.volume.grid.shape[0] - 1
    voxels = 500 - later.volume.voxels[::-1]  # inverted grey values, stored from the other side
    grid = Grid(shape=later.volume.grid.shape, affine=later.volume.grid.affine @ flipped)
    other = replace(later.volume, voxels=voxels, grid=grid)
    place = SimpleNamespace(brain_mask=visits.masks[1][::-1])
    earlier = visits.series("earlier", [])
    found = register_rigid(earlier.volume, earlier.location, other, place)
    assert np.abs(found.matrix - MOVE)[:3, 3].max() < 0.7
    assert found.trusted


def test_too_little_brain_is_not_aligned(visits: Visits) -> None:
    earlier = visits.series("earlier", [])
    speck = np.zeros_like(visits.masks[0])
    speck[20:26, 20:26, 20:26] = True
    later = visits.series("later", [])
    found = register_rigid(earlier.volume, SimpleNamespace(brain_mask=speck), later.volume, later.location)
    assert [reason.code for reason in found.reasons] == ["alignment_impossible"]


def test_masks_that_do_not_cover_each_other_are_not_trusted(visits: Visits) -> None:
    earlier, later = visits.series("earlier", []), visits.series("later", [])
    half = visits.masks[1].copy()
    half[: half.shape[0] // 2] = False
    found = register_rigid(earlier.volume, earlier.location, later.volume, SimpleNamespace(brain_mask=half))
    assert "alignment_overlap" in [reason.code for reason in found.reasons]


def test_a_mirrored_visit_and_another_person_are_recognised(visits: Visits) -> None:
    earlier, later = visits.series("earlier", []), visits.series("later", [])
    mirrored = replace(later.volume, voxels=later.volume.voxels[::-1].copy())
    place = SimpleNamespace(brain_mask=visits.masks[1][::-1].copy())
    found = register_rigid(earlier.volume, earlier.location, mirrored, place)
    assert [reason.code for reason in found.reasons] == ["alignment_mirrored"]
    other = head(2, person=4)
    place = SimpleNamespace(brain_mask=other.brain_mask)
    found = register_rigid(earlier.volume, earlier.location, other.volume, place)
    assert "alignment_person" in [reason.code for reason in found.reasons]


def fates_of(visits: Visits, alignment, earlier: list[Lesion], later: list[Lesion]) -> list:
    return list(track_lesions(visits.series("earlier", earlier), visits.series("later", later), alignment))


def test_each_lesion_has_its_fate(visits: Visits, alignment) -> None:
    earlier = [lesion(1, PLACES["stays"]), lesion(2, PLACES["goes"])]
    later = [lesion(1, moved(PLACES["comes"])), lesion(2, moved(PLACES["stays"]))]
    found = {(f.earlier_id, f.later_id): (f.fate, f.why) for f in fates_of(visits, alignment, earlier, later)}
    assert found == {
        (1, 2): (Change.PERSISTING, "matched"),
        (2, None): (Change.RESOLVED, "signal"),
        (None, 1): (Change.NEW, "signal"),
    }


def test_a_lesion_that_one_detector_missed_is_not_new(visits: Visits, alignment) -> None:
    only_later = fates_of(visits, alignment, [], [lesion(1, moved(PLACES["stays"]))])
    only_earlier = fates_of(visits, alignment, [lesion(1, PLACES["stays"])], [])
    for fate in (*only_later, *only_earlier):
        assert (fate.fate, fate.why) == (Change.PERSISTING, "signal")
        assert 0.8 < fate.signal_ratio < 1.25


def test_outside_of_the_other_scan_is_uncertain(visits: Visits, alignment) -> None:
    fates = fates_of(visits, alignment, [lesion(1, (0.0, 0.0, 160.0))], [])
    assert [(f.fate, f.why) for f in fates] == [(Change.UNCERTAIN, "out_of_view")]


def test_what_the_other_scan_could_not_show_is_uncertain(visits: Visits, alignment) -> None:
    earlier, later = visits.series("earlier", [lesion(1, PLACES["goes"])]), visits.series("later", [])
    later.detection = SimpleNamespace(noise_sigma=visits.amplitude * 5)
    assert [f.why for f in track_lesions(earlier, later, alignment)] == ["too_faint"]


def test_no_signal_of_its_own_proves_nothing(visits: Visits, alignment) -> None:
    nowhere = lesion(1, (0.0, -20.0, 25.0))  # nothing bright is there on either visit
    assert [f.why for f in fates_of(visits, alignment, [nowhere], [])] == ["too_faint"]


@pytest.mark.parametrize("doubt", [{"orientation_known": False}, {"reoriented": True}])
def test_scans_without_sides_leave_all_uncertain(visits: Visits, alignment, doubt: dict[str, bool]) -> None:
    earlier, later = visits.series("earlier", [lesion(1, PLACES["stays"])]), visits.series("later", [])
    vars(later.location.registration).update(doubt)
    assert [(f.fate, f.why) for f in track_lesions(earlier, later, alignment)] == [(Change.UNCERTAIN, "sides_unknown")]


def test_unknown_is_not_the_same_sequence_as_unknown(visits: Visits, alignment) -> None:
    unknown = SequenceEvidence(sequence=Sequence.UNKNOWN)
    earlier = visits.series("earlier", [lesion(1, PLACES["goes"])], sequence=unknown)
    later = visits.series("later", [], sequence=unknown)
    assert [f.why for f in track_lesions(earlier, later, alignment)] == ["other_sequence"]


def test_another_sequence_proves_nothing_new(visits: Visits, alignment) -> None:
    flair = SequenceEvidence(sequence=Sequence.FLAIR)
    earlier = visits.series("earlier", [lesion(1, PLACES["stays"])], sequence=flair)
    later = visits.series("later", [lesion(1, moved(PLACES["stays"])), lesion(2, moved(PLACES["comes"]))])
    assert [(f.fate, f.why) for f in track_lesions(earlier, later, alignment)] == [
        (Change.PERSISTING, "matched"),
        (Change.UNCERTAIN, "other_sequence"),
    ]


def test_scans_that_do_not_align_leave_all_uncertain(visits: Visits, alignment) -> None:
    from miliary_seg.domain.reason import Reason

    lost = replace(alignment, reasons=(Reason(code="alignment_unstable", text="apart"),))
    fates = fates_of(visits, lost, [lesion(1, PLACES["stays"])], [lesion(1, moved(PLACES["stays"]))])
    assert {(f.fate, f.why) for f in fates} == {(Change.UNCERTAIN, "not_aligned")}
    assert len(fates) == 2


def test_sizes_are_told_apart_by_rano_bm_and_a_voxel(visits: Visits) -> None:
    scan = visits.earlier  # 1.4 mm
    changes = {
        (4.0, 5.3): "stable",  # by a third, but less than a voxel
        (4.0, 5.5): "grown",
        (10.0, 11.5): "stable",  # by more than a voxel, but 15 %
        (10.0, 12.0): "grown",
        (10.0, 7.5): "stable",
        (10.0, 7.0): "shrunk",
    }
    for (before, now), expected in changes.items():
        pair = [replace(lesion(1, (0, 0, 0)), equivalent_diameter_mm=mm) for mm in (before, now)]
        assert size_change(*pair, scan, scan) == expected
    assert size_change(*pair, scan, replace(scan, slice_thickness_mm=3.0)) is None


def test_the_page_of_a_case_says_what_became_of_its_lesions() -> None:
    kinds = [("persisting", "grown", 1, 1), ("persisting", "stable", 2, 2), ("persisting", None, None, 3)]
    kinds += [("new", None, None, 4), ("resolved", None, 5, None)]
    fates = [
        {"fate": fate, "size_change": size, "earlier_id": a, "later_id": b, "why": "signal", "signal_ratio": 0.1}
        for fate, size, a, b in kinds
    ]
    fates.append({**fates[-1], "fate": "uncertain", "why": "too_faint"})
    visits = [
        {"case": "p_1", "date": "2020-01-01", "verdict": "INDETERMINATE", "why": "out of view; too thick"},
        {"case": "p_2", "date": "2020-03-01", "verdict": "MET", "why": ""},
    ]
    interval = {"earlier": "p_1", "later": "p_2", "days": 60, "fates": fates}
    course = course_at(interval, visits, True, "p <1>")
    assert course.counts == {"grown": 1, "stable": 1, "size not compared": 1, "new": 1, "gone": 1, "uncertain": 1}
    assert course.became == {1: "grown", 2: "stable", 3: "size not compared", 4: "new"}
    assert course.causes == {"so faint that the later scan could not show it": 1}
    assert course.undecided == {"2020-01-01": "out of view; too thick"}
    assert "met on the scan of 2020-03-01; the pattern may be older (left open by 2020-01-01)" in course.text
    assert "converted" in course.text
    assert "<" not in course.page


def test_matching_prefers_more_pairs_to_nearer_ones() -> None:
    pairs, distances = match_one_to_one([(0, 0, 0), (2.5, 0, 0)], [(1.2, 0, 0), (-2.9, 0, 0)], 3.0)
    assert pairs == [(0, 1), (1, 0)]
    assert distances == pytest.approx([2.9, 1.3])
    assert match_one_to_one([], [(0, 0, 0)], 3.0) == ([], [])


def test_signal_of_a_ball_is_its_amplitude() -> None:
    grid = Grid(shape=(41, 41, 41), affine=np.diag([0.5, 0.5, 0.5, 1.0]))
    where = grid.to_ras_mm(np.moveaxis(np.indices(grid.shape), 0, -1))
    ball = (np.linalg.norm(where - 10.0, axis=-1) <= 2.0) * 7.0 + 100.0
    volume = Volume(voxels=ball.astype(np.float32), grid=grid)
    centre, size = np.array([[10.0, 10.0, 10.0]]), np.array([4.0])
    assert signal_at(volume, centre, size)[0, 13] == pytest.approx(7.0, abs=0.5)
    shift = np.eye(4)
    shift[:3, 3] = (3, 0, 0)
    assert signal_at(volume, centre - (3, 0, 0), size, shift)[0, 13] == pytest.approx(7.0, abs=0.5)
    slab = signal_at(volume, centre, size, slab_mm=np.array([0.0, 0.0, 8.0]))[0, 13]
    assert 2.0 < slab < 5.0  # the chord of a 4 mm ball is about half of 8 mm
    assert np.isnan(signal_at(volume, centre + 50, size)).all()


@pytest.fixture
def table(tmp_path: Path) -> Callable[[str], Path]:
    (tmp_path / "scan.nii.gz").touch()

    def write(text: str) -> Path:
        path = tmp_path / "scans.tsv"
        path.write_text("\n".join("\t".join(line.split()) for line in text.strip().splitlines()), "utf-8")
        return path

    return write


def test_scans_are_ordered_by_date(table) -> None:
    rows = "participant_id date path\nb 2020-05-01 scan.nii.gz\nb 2019-12-31 scan.nii.gz\na 2021-01-01 scan.nii.gz"
    assert [scan.case for scan in read_scans(table(rows))] == ["a_20210101", "b_20191231", "b_20200501"]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("participant_id date\na 2020-01-01", "no column 'path'"),
        ("participant_id date path\na 01.02.2020 scan.nii.gz", "line 2 is no date"),
        ("participant_id date path\na 2020-01-01 other.nii.gz", "line 2 is not there"),
        ("participant_id date path\na 2020-01-01 scan.nii.gz\na 2020-01-01 scan.nii.gz", "two scans on 2020-01-01"),
        ("participant_id date path", "names no scan"),
        ("participant_id date path\na 2020-01-01", "lacks a participant or a path"),
    ],
)
def test_a_bad_table_of_scans_is_refused(table, rows: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_scans(table(rows))


def fake_result(verdict: str) -> SimpleNamespace:
    decision = SimpleNamespace(verdict=verdict, reasons=())
    return SimpleNamespace(decision=decision, series_of=lambda: SimpleNamespace(lesions=(), decision=decision))


@pytest.mark.parametrize(
    ("verdicts", "earlier", "expected"),
    [
        (["NOT_MET", "MET"], True, ("became_met", "conversion", "2020-02-01")),
        (["MET", "NOT_MET"], False, ("met_at_first_scan", "de_novo", "2020-01-01")),
        (["NOT_MET", "NOT_MET"], True, ("never_met", "not_applicable", None)),
        (["INDETERMINATE", "NOT_MET"], True, ("undetermined", "not_applicable", None)),
        (["INDETERMINATE", "MET"], True, ("undetermined", "conversion", "2020-02-01")),
        ([None, "MET"], None, ("undetermined", "unknown", "2020-02-01")),
        (["NOT_MET", "MET"], None, ("became_met", "unknown", "2020-02-01")),
        ([None, None], None, ("undetermined", "not_applicable", None)),
    ],
)
def test_the_course_of_a_patient(monkeypatch, tmp_path: Path, verdicts, earlier, expected) -> None:
    from miliary_seg.cohort.longitudinal import timeline

    def visited(scan: DatedScan, *_: object) -> object:
        verdict = verdicts[scan.date.month - 1]
        result = None if verdict is None else fake_result(verdict)
        return timeline._Visit(scan=scan, result=result, error=None if result else InputError("bad"))

    monkeypatch.setattr(timeline, "_visited", visited)
    monkeypatch.setattr(timeline, "compare", lambda *a: {})
    from datetime import date

    scans = [DatedScan(participant="p", date=date(2020, month, 1), path=tmp_path) for month in (1, 2)]
    known = None if earlier is None else {"p": earlier}
    plan = TimelinePlan(output=tmp_path, settings=Settings(), earlier_metastases=known)
    (patient,) = timelines(scans, plan)
    assert (patient["course"], patient["origin"], patient["first_met"]) == expected


def test_an_answer_outlives_a_file_that_could_not_be_written(monkeypatch, tmp_path: Path) -> None:
    from datetime import date

    from miliary_seg.cohort.longitudinal import timeline
    from miliary_seg.domain.volume import Study
    from miliary_seg.errors import PartialOutputError

    class Result(SimpleNamespace):
        def write(self, *_: object, **__: object) -> None:
            raise PartialOutputError("no DICOM output")

    result = Result(**vars(fake_result("MET")))
    monkeypatch.setattr("miliary_seg.load.load_study", lambda *a, **k: Study(case="x", volumes=()))
    monkeypatch.setattr("miliary_seg.pipeline.analyze", lambda *a: result)
    scan = DatedScan(participant="p", date=date(2020, 1, 1), path=tmp_path)
    visit = timeline._described(timeline._visited(scan, TimelinePlan(output=tmp_path, settings=Settings())))
    assert visit["verdict"] == "MET"
    assert visit["error"] is not None


def test_the_verb_compares_two_visits_and_names_what_failed(visits: Visits, cli, tmp_path: Path) -> None:
    for name in ("earlier", "later"):
        volume = getattr(visits, name)
        nib.save(nib.Nifti1Image(volume.voxels, volume.grid.affine), tmp_path / f"{name}_T1w.nii.gz")
    (tmp_path / "broken.nii.gz").write_text("no scan")
    rows = ["participant_id date path", "p 2020-01-01 earlier_T1w.nii.gz", "p 2020-03-01 later_T1w.nii.gz"]
    rows.append("p 2020-04-01 broken.nii.gz")
    table = tmp_path / "scans.tsv"
    table.write_text("\n".join(row.replace(" ", "\t") for row in rows), "utf-8")
    done = cli("cohort", "timeline", table, "-o", tmp_path / "out")
    assert done.code == 1, done.err
    assert "p_20200401" in done.err
    assert "p: 3 scans, " in done.out
    folder = tmp_path / "out" / "timeline"
    (patient,) = json.loads((folder / "timeline.json").read_text("utf-8"))["patients"]
    (interval,) = patient["intervals"]
    assert interval["days"] == 60
    assert interval["alignment"]["trusted"]
    assert sum(interval[f"n_{fate}"] for fate in Change) == len(interval["fates"])
    assert (interval["n_earlier"], interval["n_later"]) == tuple(v["n_lesions"] for v in patient["visits"][:2])
    rows_written = list(csv.DictReader((folder / "fates.csv").read_text("utf-8").splitlines()))
    assert len(rows_written) == len(interval["fates"])
    assert {"new", "persisting"} <= {row["fate"] for row in rows_written}
    page = (folder / "timeline.html").read_text("utf-8")
    assert page.count('alt="later scan at the same place"') == sum(
        row["fate"] != "persisting" or row["size_change"] in {"grown", "shrunk"} for row in rows_written
    )
    case_page = (tmp_path / "out" / "cases" / "p_20200301" / "report.html").read_text("utf-8")
    assert "60 days before this one" in case_page
    assert '<h2 id="patient-p">' in page
    assert 'href="../../timeline/timeline.html#patient-p"' in case_page
    assert "2020-03-01" in page
    assert "not analysed" in page
    again = cli("cohort", "timeline", table, "-o", tmp_path / "out")
    assert again.code == 6
