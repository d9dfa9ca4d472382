"""The document: the promised keys, the schema, no NaN, no identity, and the same bytes twice."""

from __future__ import annotations

import copy
import dataclasses
import json
import math

import pytest

from miliary_seg.domain.decision import Decision, Verdict
from miliary_seg.domain.sequence import Modality
from miliary_seg.errors import OutputError
from miliary_seg.report import SCHEMA_VERSION, case_document, schema, validate
from miliary_seg.report.json_document import decision_document, geometry_document, lesion_sizes
from miliary_seg.report.write import document_text

SERIES_KEYS = {
    "id", "sequence", "modality", "geometry", "coverage", "decision", "slices", "lesions", "registration", "files",
}  # fmt: skip
LESION_KEYS = {
    "id", "centroid_ras_mm", "centroid_ijk", "equivalent_diameter_mm", "volume_mm3", "contrast", "probability", "side",
    "level", "boundary_distance_mm", "side_confidence", "level_confidence", "slices", "flags",
}  # fmt: skip
DECISION_KEYS = {"verdict", "reasons", "criteria", "readings", "probability", "borderline", "evidence_slices"}
GEOMETRY_KEYS = {"shape", "spacing_mm", "slice_axis", "slice_thickness_mm", "n_slices", "gaps"}


def numbers(value):
    if isinstance(value, dict):
        for item in value.values():
            yield from numbers(item)
    elif isinstance(value, list):
        for item in value:
            yield from numbers(item)
    elif isinstance(value, float):
        yield value


def test_promised_keys(case):
    document = case_document(case)
    promised = {"schema_version", "case", "verdict", "software", "settings", "settings_digest", "caveats", "series"}
    assert promised <= set(document)
    (series,) = document["series"]
    assert set(series) >= SERIES_KEYS
    assert set(series["decision"]) >= DECISION_KEYS
    assert set(series["geometry"]) >= GEOMETRY_KEYS
    assert {"index", "position_mm", "sop_instance_uid", "n_lesions"} <= set(series["slices"][0])
    assert set(series["lesions"][0]) >= LESION_KEYS
    assert set(series["coverage"]) == {
        "left_supratentorial", "right_supratentorial", "left_infratentorial", "right_infratentorial",
    }  # fmt: skip
    assert series["registration"]["trusted"] is True


def test_follows_its_schema(case):
    validate(json.loads(document_text(case_document(case))))


def test_schema_is_itself_valid_and_describes_every_key():
    from jsonschema import Draft202012Validator

    tree = schema()
    Draft202012Validator.check_schema(tree)

    def silent(node, path):
        if isinstance(node, dict):
            for name, child in node.get("properties", {}).items():
                if "description" not in child and "$ref" not in child:
                    yield f"{path}/{name}"
                yield from silent(child, f"{path}/{name}")
            yield from silent(node.get("items"), f"{path}[]")

    found = [*silent(tree, "")]
    for name, node in tree["$defs"].items():
        found += silent(node, name)
    assert found == []


def test_every_mm_key_of_the_schema_states_its_unit():
    units = {"_mm": "mm", "_mm3": "mm³", "_deg": "degree", "_ijk": "voxel"}
    for part in schema()["$defs"].values():
        for name, child in part.get("properties", {}).items():
            ending = next((unit for end, unit in units.items() if name.endswith(end)), None)
            if ending and not name.startswith("n_"):
                assert child.get("x-unit") == ending, name


@pytest.mark.parametrize("change", ["verdict", "count", "extra", "nan"])
def test_a_broken_document_is_refused(case, change):
    document = copy.deepcopy(case_document(case))
    if change == "verdict":
        document["verdict"] = "POSITIVE"
    elif change == "count":
        document["series"][0]["slices"][3]["n_lesions"] = -1
    elif change == "extra":
        document["patient_name"] = "x"
    else:
        document["series"][0]["lesions"][0]["volume_mm3"] = "large"
    with pytest.raises(OutputError, match="schema"):
        validate(document)


def test_numbers_are_finite_and_unknown_ones_null(case):
    document = case_document(case)
    assert all(math.isfinite(number) for number in numbers(document))
    assert document["series"][0]["lesions"][0]["level_confidence"] is None
    assert document["series"][0]["registration"]["figures"] == {"overlap_fraction": 0.91, "broken": None}


def test_two_results_give_the_same_text(make_case):
    assert document_text(case_document(make_case())) == document_text(case_document(make_case()))


def test_run_times_stay_out(case):
    assert "1.25" not in document_text(case_document(case))


def test_deidentified_by_default(case):
    text = document_text(case_document(case))
    for secret in ("DOE", "/archive", '1.2.826.0.1.99.1.1"', '1.2.826.0.1.99.1.2"', '1.2.826.0.1.99.1.3"'):
        assert secret not in text
    assert case_document(case)["series"][0]["slices"][4]["sop_instance_uid"] == "1.2.826.0.1.99.1.2.5"


def test_identified_brings_back_where_it_came_from(make_case):
    source = case_document(make_case(identified=True))["series"][0]["source"]
    assert source["series_instance_uid"] == "1.2.826.0.1.99.1.2"
    assert source["paths"][0] == "/archive/DOE^JANE/im0.dcm"


def test_a_uid_among_the_settings_is_left_out(make_case):
    from dataclasses import replace

    from miliary_seg.settings import Settings

    chosen = Settings().with_options(["load.series=1.2.826.0.1.99.1.2"])
    hidden = case_document(replace(make_case(), settings=chosen.as_dict()))
    assert hidden["settings"]["load"]["series"] == "(UID left out)"


def test_slices_by_hand(case):
    rows = case_document(case)["series"][0]["slices"]
    # LAS, 40 slices of 4 mm from S = -78 mm; the two lower blobs (S = -38, r = 4.5) touch only the slice at -38
    assert [row["position_mm"] for row in rows[:3]] == [-78.0, -74.0, -70.0]
    assert rows[10]["centre_ras_mm"] == [0.0, 0.0, -38.0]
    assert [row["index"] for row in rows if row["n_lesions"] == 2] == [10, 26, 27, 28] or rows[10]["n_lesions"] == 2
    assert sum(row["is_evidence"] for row in rows) == 1


def test_counts_are_made_where_the_decision_has_none(case):
    from dataclasses import replace

    from miliary_seg.report.json_document import slice_counts

    series = case.series[0]
    without = replace(series, decision=replace(series.decision, slice_counts=()))
    assert slice_counts(without) == series.decision.slice_counts


def test_gaps_are_listed(case):
    from dataclasses import replace

    volume = case.series[0].volume
    assert geometry_document(volume)["gaps"] == []
    gapped = replace(volume, slice_thickness_mm=3.0, missing_slices=(7,))
    assert geometry_document(gapped)["gaps"] == [
        {"kind": "between_slices", "width_mm": pytest.approx(1.0)},
        {"kind": "missing_slice", "slice": 7},
    ]
    validate(case_document(replace(case, series=(replace(case.series[0], volume=gapped),))))


def test_no_lesions(make_case):
    empty = make_case(blobs=())
    assert lesion_sizes(empty.series[0]) == {"n": 0}
    validate(case_document(empty))


def test_ct_and_schema_version(make_case):
    document = case_document(make_case(modality=Modality.CT, threshold=10))
    validate(document)
    assert document["series"][0]["modality"] == "CT"
    assert document["schema_version"] == SCHEMA_VERSION


def test_wording(case):
    text = document_text(case_document(case)).lower()
    assert "does not meet the proposed criteria" in text
    assert "research use only" in text
    assert "s41416-020-1008-2" in text
    for word in ("diagnos", "confirmed"):
        assert word not in text


def test_evidence_says_what_was_counted_on(case):
    series = case.series[0]
    (evidence,) = series.decision.evidence_slices
    slab = dataclasses.replace(evidence, image="slab")
    reading = dataclasses.replace(series.decision.readings[0], margin=-3, probability=0.25)
    changed = dataclasses.replace(series.decision, evidence_slices=(slab,), readings=(reading,))
    document = decision_document(changed)
    assert document["evidence_slices"][0]["image"] == "slab"
    assert (document["readings"][0]["margin"], document["readings"][0]["probability"]) == (-3, 0.25)


def test_the_distribution_of_the_count_is_compact():
    decision = Decision(verdict=Verdict.NOT_MET, count_distribution=((3, 0.0004), (4, 0.5), (5, 0.4996)))
    assert decision_document(decision)["count_distribution"] == {
        "low": 4, "median": 4, "high": 5, "counts": [4, 5], "probabilities": [0.5, 0.4996],
    }  # fmt: skip
    assert decision_document(Decision(verdict=Verdict.NOT_MET))["count_distribution"] is None
