"""SEG, SR and RT Structure Set: equal to what highdicom makes, in their place in the patient, the same bytes twice."""

from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from highdicom import sr
from pydicom.sr.codedict import codes as known
from skimage.draw import polygon2mask

from miliary_seg.domain.compartment import Region, Tissue
from miliary_seg.domain.decision import EvidenceSlice
from miliary_seg.report.dicom import codes
from miliary_seg.report.dicom.encoding import encoded
from miliary_seg.report.dicom.names import lesion_name, three_digits
from miliary_seg.report.dicom.references import Reference, slice_header, source_images, stamp
from miliary_seg.report.dicom.rtstruct import structure_set
from miliary_seg.report.dicom.seg import BINARY_STORAGE, segmentation
from miliary_seg.report.dicom.sr import measurements
from miliary_seg.report.dicom.sr_groups import ShownOn, decision_group, lesion_group, slice_group

PAGE = Path(__file__).resolve().parents[3] / "docs" / "dicom-outputs.md"
LPS = np.array([-1.0, -1.0, 1.0])


def prepared(case, *, identified=False, date=None):
    series = case.series[0]
    return series, source_images(series.volume), stamp(case, series.volume, date, identified=identified)


def read(content: bytes) -> pydicom.Dataset:
    return pydicom.dcmread(io.BytesIO(content))


def reread(dataset: pydicom.Dataset) -> pydicom.Dataset:
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    return read(buffer.getvalue())


def unpacked(seg: pydicom.Dataset) -> np.ndarray:
    """Frames of a BINARY object, by numpy alone."""
    shape = (seg.NumberOfFrames, seg.Rows, seg.Columns)
    bits = np.unpackbits(np.frombuffer(seg.PixelData, np.uint8), bitorder="little")
    return bits[: np.prod(shape)].reshape(shape)


def world_of(frame: np.ndarray, item, shared) -> np.ndarray:
    """RAS+ mm of the marked pixels of a frame, by PS3.3 C.7.6.2.1.1."""
    along_row, along_column = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float).reshape(2, 3)
    row_mm, column_mm = map(float, shared.PixelMeasuresSequence[0].PixelSpacing)
    row, column = np.nonzero(frame)
    corner = np.array(item.PlanePositionSequence[0].ImagePositionPatient, float)
    return (corner + column[:, None] * along_row * column_mm + row[:, None] * along_column * row_mm) * LPS


def sorted_rows(points: np.ndarray) -> np.ndarray:
    return points[np.lexsort(np.round(points, 3).T)]


def test_every_voxel_in_the_patient_for_all_orientations(make_case, all_orientations):
    for number, code in enumerate(all_orientations):
        case = make_case(orientation=code, plane=("axial", "coronal", "sagittal")[number % 3])
        series, source, marks = prepared(case)
        seg = read(segmentation(series, source, marks))
        found: dict[int, list[np.ndarray]] = {}
        for frame, item in zip(unpacked(seg), seg.PerFrameFunctionalGroupsSequence, strict=True):
            place = world_of(frame, item, seg.SharedFunctionalGroupsSequence[0])
            found.setdefault(item.SegmentIdentificationSequence[0].ReferencedSegmentNumber, []).append(place)
        labels = series.detection.lesion_labels
        assert sorted(found) == list(range(1, labels.labels.max() + 1))
        for segment, places in found.items():
            wanted = labels.grid.to_ras_mm(np.argwhere(labels.labels == segment))
            np.testing.assert_allclose(
                sorted_rows(np.concatenate(places)), sorted_rows(wanted), atol=1e-3, err_msg=code
            )


def oblique() -> np.ndarray:
    turn = np.eye(4)
    a, b = np.radians(17), np.radians(-9)
    turn[:3, :3] = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]]) @ np.array(
        [[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]]
    )
    return turn


@pytest.mark.filterwarnings("ignore:The string")
@pytest.mark.parametrize("kind", ["binary", "labelmap"])
def test_the_segmentation_is_the_one_that_highdicom_makes(make_case, kind):
    series, source, marks = prepared(make_case(affine_change=oblique()))
    ours = read(segmentation(series, source, marks, kind))
    labels = np.moveaxis(series.detection.lesion_labels.labels, series.volume.slice_axis, 0).transpose(0, 2, 1)
    theirs = hd.seg.Segmentation(
        source_images=[slice_header(source, marks, k) for k in range(series.volume.n_slices)],
        pixel_array=labels.astype(np.uint16),
        segmentation_type=kind.upper(),
        segment_descriptions=[
            hd.seg.SegmentDescription.from_dataset(s) for s in ours.SegmentSequence if s.SegmentNumber
        ],
        series_instance_uid=ours.SeriesInstanceUID,
        series_number=1,
        sop_instance_uid=ours.SOPInstanceUID,
        instance_number=1,
        manufacturer="x",
        manufacturer_model_name="x",
        software_versions="1",
        device_serial_number="1",
        omit_empty_frames=kind == "binary",
    )
    theirs = reread(theirs)
    assert ours.PixelData.rstrip(b"\0") == theirs.PixelData.rstrip(b"\0").rstrip(b"0")  # theirs pads with a digit
    assert ours.NumberOfFrames == theirs.NumberOfFrames
    assert ours.SharedFunctionalGroupsSequence == theirs.SharedFunctionalGroupsSequence
    assert ours.get("DimensionOrganizationType") == theirs.get("DimensionOrganizationType")
    assert {s.ReferencedSOPInstanceUID for s in ours.SourceImageSequence} == set(series.volume.source.instances)
    ranks = [[tuple(i.FrameContentSequence[0].DimensionIndexValues) if kind == "binary" else
              (i.FrameContentSequence[0].DimensionIndexValues,) for i in seg.PerFrameFunctionalGroupsSequence]
             for seg in (ours, theirs)]  # fmt: skip
    assert (
        np.argsort([r[-1] for r in ranks[0]], kind="stable").tolist()
        == np.argsort([r[-1] for r in ranks[1]], kind="stable").tolist()
    ), "the same order of positions"
    for a, b in zip(ours.PerFrameFunctionalGroupsSequence, theirs.PerFrameFunctionalGroupsSequence, strict=True):
        del a.FrameContentSequence, b.FrameContentSequence
        assert a == b


def concept(code: codes.Code) -> sr.CodedConcept:
    return sr.CodedConcept(*code)


def number(name: codes.Code, value: float, unit: codes.Code) -> sr.Measurement:
    shown = value if isinstance(value, int) else three_digits(value)
    made = sr.Measurement(name=concept(name), value=shown, unit=concept(unit))
    measured = made[0].MeasuredValueSequence[0]
    if isinstance(value, int):  # highdicom writes a count of 23 as 23.0
        measured.NumericValue = str(value)
    elif "FloatingPointValue" in measured:  # which the decimal string of three digits already says
        assert float(measured.NumericValue) == measured.FloatingPointValue
        del measured.FloatingPointValue
    return made


def algorithm(marks) -> sr.AlgorithmIdentification:
    return sr.AlgorithmIdentification(
        name="miliary-seg", version=marks.version, parameters=[f"settings {marks.settings_digest}"]
    )


def test_a_lesion_is_the_group_that_highdicom_makes(case):
    series, source, marks = prepared(case)
    lesion, place = (
        series.lesions[0],
        replace(
            series.assignments[0],
            level_confidence=0.97,
            region=Region.PONS,
            region_confidence=0.91234,
            tissue=Tissue.JUNCTION,
            tissue_confidence=0.6,
        ),
    )
    lesion = replace(lesion, max_diameter_mm=4.3678, perpendicular_diameter_mm=3.2111)
    shown = ShownOn(
        segmentation=Reference(sop_class_uid=BINARY_STORAGE, sop_instance_uid="1.2.3.4"),
        number=7,
        series_uid="1.2.3.5",
        images=[replace(source.slices[3], frame=12)],
        image_number=31,
    )
    theirs = sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=marks.uid("lesion 1"), identifier=lesion_name(lesion, place)),
        referenced_segment=sr.ReferencedSegment(
            BINARY_STORAGE,
            "1.2.3.4",
            7,
            source_series=sr.SourceSeriesForSegmentation("1.2.3.5"),
        ),
        finding_type=concept(codes.BRAIN_LESION),
        finding_sites=[
            sr.FindingSite(concept(codes.REGIONS[place.region]), laterality=concept(codes.SIDES[place.side]))
        ],
        measurements=[
            number(codes.VOLUME, lesion.volume_mm3, codes.CUBIC_MM),
            number(codes.LONG_AXIS, 4.37, codes.MM),
            number(codes.SHORT_AXIS, 3.21, codes.MM),
            number(codes.IMAGE_NUMBER, 31, codes.NO_UNITS),
            number(codes.CONTRAST, lesion.contrast, codes.NO_UNITS),
            number(codes.PROBABILITY, lesion.probability, codes.NO_UNITS),
            number(codes.REGION_CONFIDENCE, 0.912, codes.NO_UNITS),
            number(codes.SIDE_CONFIDENCE, place.side_confidence, codes.NO_UNITS),
            number(codes.LEVEL_CONFIDENCE, place.level_confidence, codes.NO_UNITS),
        ],
        qualitative_evaluations=[
            sr.QualitativeEvaluation(concept(codes.COMPARTMENT), concept(codes.COMPARTMENTS[place.compartment])),
            sr.QualitativeEvaluation(concept(codes.TISSUE), concept(codes.TISSUES[Tissue.JUNCTION])),
        ],
    )
    assert lesion_group(lesion, place, shown, marks) == encoded(theirs[0])


def test_a_side_beyond_doubt_goes_without_saying(case):
    series, _, marks = prepared(case)
    shown = ShownOn(segmentation=None, number=1, series_uid="1.2", images=())
    told = [
        lesion_group(series.lesions[1], replace(series.assignments[1], side_confidence=sure), shown, marks)
        for sure in (0.994, 0.996)
    ]
    assert [codes.SIDE_CONFIDENCE.value.encode() in group for group in told] == [True, False]


def test_a_slice_and_the_decision_are_the_groups_that_highdicom_makes(case):
    series, source, marks = prepared(case)
    evidence = EvidenceSlice(index=4, position_mm=1.0, centre_ras_mm=None, sop_instance_uid=None, n_lesions=23)
    image = source.slices[4]
    theirs = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=marks.uid("evidence slice 4"), identifier="Evidence slice 4"),
        finding_type=concept(codes.BRAIN_LESION),
        measurements=[number(codes.N_LESIONS, 23, codes.NO_UNITS), number(codes.THRESHOLD, 20, codes.NO_UNITS)],
        qualitative_evaluations=[
            sr.QualitativeEvaluation(concept(codes.IMAGE_KIND), concept(codes.IMAGE_KINDS["slice"]))
        ],
        source_images=[sr.SourceImageForMeasurementGroup(image.sop_class_uid, image.sop_instance_uid)],
    )
    assert slice_group(evidence, series.decision, source, marks) == encoded(theirs[0])
    decision = series.decision
    theirs = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=marks.uid("decision"), identifier="Decision"),
        finding_type=concept(codes.CRITERIA),
        algorithm_id=algorithm(marks),
        measurements=[
            number(codes.N_LESIONS, len(series.lesions), codes.NO_UNITS),
            number(codes.TOTAL_VOLUME, sum(lesion.volume_mm3 for lesion in series.lesions), codes.CUBIC_MM),
            *(
                number(code, dict(decision.quadrant_counts)[c.name.lower() if c else "unassigned"], codes.NO_UNITS)
                for c, code in codes.N_IN_COMPARTMENT.items()
            ),
            number(codes.N_MEASURABLE, 0, codes.NO_UNITS),
            number(codes.LARGEST, max(lesion.equivalent_diameter_mm for lesion in series.lesions), codes.MM),
            number(codes.THRESHOLD, decision.threshold, codes.NO_UNITS),
            number(codes.MARGIN, decision.margin, codes.NO_UNITS),
            number(codes.P_MET, decision.probability, codes.NO_UNITS),
        ],
        qualitative_evaluations=[
            sr.QualitativeEvaluation(concept(codes.DECISION), concept(codes.VERDICTS[decision.verdict])),
            *(
                sr.QualitativeEvaluation(concept(codes.reading(r)), concept(codes.VERDICTS[r.verdict]))
                for r in decision.readings
            ),
        ],
    )
    assert decision_group(series, marks) == encoded(theirs[0])


def images_of_frames(seg: pydicom.Dataset) -> set[tuple[int, str]]:
    """Segment and image of every frame."""
    return {
        (
            item.SegmentIdentificationSequence[0].ReferencedSegmentNumber,
            item.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID,
        )
        for item in seg.PerFrameFunctionalGroupsSequence
    }


def test_the_report_refers_to_segments_and_images_and_reads_back(case):
    series, source, marks = prepared(case)
    content = measurements(series, source, marks, "binary")
    assert b"Research use only" in content
    report = sr.srread(io.BytesIO(content))
    seg = read(segmentation(series, source, marks))
    groups = report.content.get_volumetric_roi_measurement_groups()
    assert [g.tracking_identifier for g in groups] == [
        lesion_name(lesion, place) for lesion, place in zip(series.lesions, series.assignments, strict=True)
    ]
    by_number = {item.SegmentNumber: item for item in seg.SegmentSequence}
    for group, lesion in zip(groups, series.lesions, strict=True):
        referred = group.referenced_segment
        assert referred.referenced_sop_instance_uid == seg.SOPInstanceUID
        assert by_number[referred.referenced_segment_numbers[0]].TrackingUID == group.tracking_uid
        volume = group.get_measurements(name=known.SCT.Volume)[0]
        assert volume.value == three_digits(lesion.volume_mm3)
        assert referred.source_series_for_segmentation.value == series.volume.source.series_instance_uid
        images = {uid for number, uid in images_of_frames(seg) if number == referred.referenced_segment_numbers[0]}
        assert images == {series.volume.source.sop_instance_uids[k] for k in lesion.slices}
    evidence = {uid for *_, uid, _ in report.get_evidence()}
    assert evidence == {*series.volume.source.instances, seg.SOPInstanceUID}
    assert (report.CompletionFlag, report.VerificationFlag, report.PreliminaryFlag) == (
        "COMPLETE",
        "UNVERIFIED",
        "PRELIMINARY",
    )
    assert [s.CodingSchemeDesignator for s in report.CodingSchemeIdentificationSequence] == ["99MILIARY"]


def test_a_report_without_lesions_and_one_without_segmentation(case, make_case):
    series, source, marks = prepared(make_case(blobs=()))
    report = sr.srread(io.BytesIO(measurements(series, source, marks, None)))
    (decision, *_) = report.content.get_image_measurement_groups()
    assert decision.get_measurements(name=concept(codes.N_LESIONS))[0].value == 0
    assert not report.content.get_volumetric_roi_measurement_groups()
    series, source, marks = prepared(case)
    report = sr.srread(io.BytesIO(measurements(series, source, marks, None)))
    groups = report.content.get_image_measurement_groups()
    assert [g.tracking_identifier for g in groups if g.tracking_identifier.endswith("mm")] == [
        lesion_name(lesion, place) for lesion, place in zip(series.lesions, series.assignments, strict=True)
    ]


@pytest.mark.parametrize(("code", "plane"), [("LAS", "axial"), ("RPI", "coronal"), ("SLA", "sagittal")])
def test_outlines_read_back_to_the_mask(make_case, code, plane):
    series, source, marks = prepared(make_case(orientation=code, plane=plane, affine_change=oblique()))
    content = read(structure_set(series, source, marks))
    volume, labels = series.volume, series.detection.lesion_labels.labels
    columns, rows = (a for a in range(3) if a != volume.slice_axis)
    back = np.zeros_like(labels)
    for region in content.ROIContourSequence:
        for contour in region.ContourSequence:
            points = np.array(contour.ContourData, float).reshape(-1, 3) * LPS
            ijk = volume.grid.to_ijk(points)
            index = int(np.round(ijk[0, volume.slice_axis]))
            assert np.abs(ijk[:, volume.slice_axis] - index).max() < 1e-4, "in the plane of its image"
            image = contour.ContourImageSequence[0].ReferencedSOPInstanceUID
            assert image == volume.source.sop_instance_uids[index]
            corners = ijk[:, [rows, columns]]
            plane_mask = polygon2mask((volume.grid.shape[rows], volume.grid.shape[columns]), corners)
            view = np.moveaxis(back, volume.slice_axis, 0)[index]
            view[plane_mask.T] = region.ReferencedROINumber
    np.testing.assert_array_equal(back, labels)
    named = {r.ROINumber: r.ROIName for r in content.StructureSetROISequence}
    pairs = zip(series.lesions, series.assignments, strict=True)
    assert named == {n: lesion_name(*pair) for n, pair in enumerate(pairs, start=1)}


def test_equal_input_gives_equal_bytes_and_anything_else_another_instance(make_case):
    def objects(case, **stamped):
        series, source, marks = prepared(case, **stamped)
        return (
            segmentation(series, source, marks),
            measurements(series, source, marks, "binary"),
            structure_set(series, source, marks),
        )

    first, second = objects(make_case()), objects(make_case())
    assert first == second
    day = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
    other = [objects(replace(make_case(), settings_digest="f" * 64)), objects(make_case(), date=day)]
    uids = {read(content).SOPInstanceUID for group in (first, *other) for content in group}
    assert len(uids) == 9
    assert (read(other[1][0]).ContentDate, read(other[1][0]).ContentTime) == ("20260304", "050607")
    assert read(other[1][2]).StructureSetDate == "20260304"


def test_frames_of_a_multi_frame_image_are_named(case):
    series = case.series[0]
    n = series.volume.n_slices
    source = replace(
        series.volume.source,
        sop_class_uid="1.2.840.10008.5.1.4.1.1.4.1",
        sop_instance_uids=("1.2.3.5",) * n,
        instances=("1.2.3.5",),
        frame_numbers=tuple(range(n, 0, -1)),
    )
    case = replace(case, series=(replace(series, volume=replace(series.volume, source=source)),))
    series, images, marks = prepared(case)
    seg = read(segmentation(series, images, marks))
    for item in seg.PerFrameFunctionalGroupsSequence:
        index = item.FrameContentSequence[0].DimensionIndexValues[-1] - 1
        origin = item.DerivationImageSequence[0].SourceImageSequence[0]
        assert (origin.ReferencedSOPInstanceUID, origin.ReferencedFrameNumber) == ("1.2.3.5", n - index)
    assert len(seg.SourceImageSequence) == 1


def test_interpolated_slices_refer_to_no_image(case):
    series = case.series[0]
    case = replace(case, series=(replace(series, volume=replace(series.volume, resampled=True)),))
    seg = read(segmentation(*prepared(case)))
    assert all(not item.DerivationImageSequence for item in seg.PerFrameFunctionalGroupsSequence)
    assert len(seg.SourceImageSequence) == series.volume.n_slices


NOT_IN_DICOM = {"49557009", "67923007"}
"""Pons and hypothalamus: SNOMED CT codes as HL7 gives them for AAPM TG-263 (codex-radiation-therapy), not in PS3.16."""


def test_codes_are_those_of_the_dictionaries_and_of_the_page():
    schemes = {"SCT": known.SCT, "DCM": known.DCM, "UCUM": known.UCUM, "LN": known.LN, "FMA": known.FMA}
    for code in codes.all_codes():
        assert len(code.value) <= 16
        assert len(code.meaning) <= 64
        if code.scheme != codes.SCHEME and code.value not in NOT_IN_DICOM:
            theirs = {str(c.value): str(c.meaning) for c in (getattr(schemes[code.scheme], n) for n in dir_of(code))}
            assert code.value in theirs, code
    rows = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| `") and line.count("|") == 4]
    listed = [row for row in rows if row.split("|")[2].strip() in {"SCT", "DCM", "LN", "UCUM", "FMA", codes.SCHEME}]
    assert listed == [f"| `{c.value}` | {c.scheme} | {c.meaning} |" for c in codes.all_codes()]


def dir_of(code: codes.Code) -> list[str]:
    from pydicom.sr._concepts_dict import concepts

    return [name for name, entries in concepts[code.scheme].items() if code.value in entries]


def test_highdicom_is_not_imported_before_it_is_needed():
    script = "import sys, miliary_seg.report, miliary_seg.cli; print({'highdicom', 'pydicom'} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert said == "set()\n"
