"""A drawn head with hand-placed lesions as a CaseResult, in any orientation, built from domain nouns alone."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import permutations, product
from typing import Any

import numpy as np
import pytest

from miliary_seg.domain.compartment import Assignment, Compartment, Coverage, Level, Registration, Side
from miliary_seg.domain.decision import (
    CriterionResult,
    Decision,
    EvidenceSlice,
    InterpretationResult,
    StudyDecision,
    Verdict,
)
from miliary_seg.domain.grid import Grid
from miliary_seg.domain.lesion import Candidate, Lesion, Rejection
from miliary_seg.domain.reason import Reason
from miliary_seg.domain.result import CaseResult, Detection, Location, OperatingPoint, SeriesResult
from miliary_seg.domain.sequence import Modality, Polarity, Sequence, SequenceEvidence
from miliary_seg.domain.volume import LabelMap, Source, Volume
from miliary_seg.settings import Settings

CANONICAL_SHAPE = (48, 56, 40)
SPACING_MM = (3.0, 3.0, 4.0)
ORIGIN_MM = (-70.5, -82.5, -78.0)
TENTORIUM_S_MM = -20.0

# right, anterior, superior in mm; radius in mm: left and right, above and below the tentorium
BLOBS = (
    (-36.0, 10.0, 30.0, 4.5),
    (33.0, -20.0, 30.0, 4.5),
    (-27.0, -45.0, -38.0, 4.5),
    (27.0, -45.0, -38.0, 4.5),
    (12.0, 40.0, 10.0, 6.0),
)

ALL_ORIENTATIONS = [
    "".join(ends[flip] for ends, flip in zip(order, flips, strict=True))
    for order in permutations(("LR", "PA", "IS"))
    for flips in product((0, 1), repeat=3)
]


@dataclass
class Recipe:
    """What a test may vary."""

    orientation: str = "LAS"
    plane: str = "axial"
    case: str = "sub-01"
    series_id: str = "t1c-1"
    identified: bool = False
    orientation_known: bool = True
    modality: Modality = Modality.MR
    text: str = ""
    """Put into every free text field."""
    blobs: tuple[tuple[float, float, float, float], ...] = BLOBS
    affine_change: Any = field(default_factory=lambda: np.eye(4))
    verdict: Verdict = Verdict.NOT_MET
    threshold: int = 20


def canonical_affine() -> np.ndarray:
    affine = np.diag([*SPACING_MM, 1.0])
    affine[:3, 3] = ORIGIN_MM
    return affine


def turned(array: np.ndarray, affine: np.ndarray, code: str) -> tuple[np.ndarray, np.ndarray]:
    """Reorder the axes of a RAS array so that they grow as ``code`` says; the affine follows."""
    axes = ["LR", "PA", "IS"]
    order = [next(n for n, ends in enumerate(axes) if letter in ends) for letter in code]
    array = array.transpose(order)
    matrix = affine[:, [*order, 3]].copy()
    for a, letter in enumerate(code):
        if letter in "LPI":
            array = np.flip(array, axis=a)
            matrix[:3, 3] += matrix[:3, a] * (array.shape[a] - 1)
            matrix[:3, a] *= -1
    return np.ascontiguousarray(array), matrix


def world_grid() -> np.ndarray:
    index = np.moveaxis(np.indices(CANONICAL_SHAPE), 0, -1)
    return index * np.array(SPACING_MM) + np.array(ORIGIN_MM)


def build_case(recipe: Recipe) -> CaseResult:
    series = build_series(recipe)
    settings = Settings().with_options(["report.identified=true"] if recipe.identified else [])
    remark = (Reason(code="note", text=recipe.text or "a remark"),)
    return CaseResult(
        case=recipe.case,
        decision=StudyDecision(verdict=recipe.verdict, reasons=remark, deciding_series=(series.id,)),
        series=(series,),
        settings=settings.as_dict(),
        settings_digest=settings.digest,
        software={"name": "miliary-seg", "version": "9.9.9"},
        caveats=remark,
        timings_s={"detect": 1.25},
    )


def build_series(recipe: Recipe) -> SeriesResult:
    world = world_grid()
    brain = ((world / [60.0, 72.0, 66.0]) ** 2).sum(-1) < 1
    head = ((world / [70.0, 82.0, 76.0]) ** 2).sum(-1) < 1
    voxels = 300.0 * head + 500.0 * brain
    labels = np.zeros(CANONICAL_SHAPE, np.uint16)
    for number, (r, a, s, radius) in enumerate(recipe.blobs, start=1):
        labels[((world - [r, a, s]) ** 2).sum(-1) <= radius**2] = number
    voxels[labels > 0] = 1000.0
    if recipe.modality is Modality.CT:
        voxels = np.select([labels > 0, brain, head], [60.0, 35.0, 50.0], -1000.0)
    compartments = np.where(brain, 1 + (world[..., 0] > 0) + 2 * (world[..., 2] < TENTORIUM_S_MM), 0).astype(np.uint8)
    arrays = {
        "voxels": voxels.astype(np.float32),
        "labels": labels,
        "brain": brain,
        "compartments": compartments,
        "midline": world[..., 0].astype(np.float32),
        "tentorium": (TENTORIUM_S_MM - world[..., 2]).astype(np.float32),
    }
    affine = canonical_affine()
    turned_arrays = {name: turned(array, affine, recipe.orientation)[0] for name, array in arrays.items()}
    new_affine = recipe.affine_change @ turned(voxels, affine, recipe.orientation)[1]
    grid = Grid(shape=turned_arrays["voxels"].shape, affine=new_affine)
    across = {"axial": "IS", "coronal": "PA", "sagittal": "LR"}[recipe.plane]
    slice_axis = next(a for a, letter in enumerate(recipe.orientation) if letter in across)
    volume = _volume(recipe, turned_arrays["voxels"], grid, slice_axis)
    lesions, places = _lesions(recipe, turned_arrays["labels"], grid, slice_axis)
    return SeriesResult(
        volume=volume,
        location=_location(recipe, turned_arrays, grid),
        detection=_detection(recipe, lesions, LabelMap(labels=turned_arrays["labels"], grid=grid)),
        assignments=places,
        decision=_decision(recipe, volume, lesions, places),
        caveats=(Reason(code="series_note", text=recipe.text or "a remark"),),
    )


def _volume(recipe: Recipe, voxels: np.ndarray, grid: Grid, slice_axis: int) -> Volume:
    n = grid.shape[slice_axis]
    return Volume(
        voxels=voxels,
        grid=grid,
        id=recipe.series_id,
        modality=recipe.modality,
        sequence=SequenceEvidence(
            sequence=Sequence.T1C if recipe.modality is Modality.MR else Sequence.CTC,
            confidence="high",
            evidence=(recipe.text or "contrast medium stated",),
        ),
        slice_axis=slice_axis,
        orientation_known=recipe.orientation_known,
        source=Source(
            format="DICOM",
            paths=tuple(f"/archive/DOE^JANE/im{k}.dcm" for k in range(n)),
            sha256="ab" * 32,
            study_instance_uid="1.2.826.0.1.99.1.1",
            series_instance_uid="1.2.826.0.1.99.1.2",
            frame_of_reference_uid="1.2.826.0.1.99.1.3",
            sop_class_uid="1.2.840.10008.5.1.4.1.1." + ("4" if recipe.modality is Modality.MR else "2"),
            sop_instance_uids=tuple(f"1.2.826.0.1.99.1.2.{k + 1}" for k in range(n)),
            instances=tuple(f"1.2.826.0.1.99.1.2.{k + 1}" for k in range(n)),
            orientation_source="ImageOrientationPatient",
        ),
    )


def _lesions(
    recipe: Recipe, labels: np.ndarray, grid: Grid, slice_axis: int
) -> tuple[tuple[Lesion, ...], tuple[Assignment, ...]]:
    lesions, places = [], []
    for number, (r, _, s, _) in enumerate(recipe.blobs, start=1):
        voxels = np.argwhere(labels == number)
        centre = voxels.mean(axis=0)
        volume_mm3 = len(voxels) * grid.voxel_volume_mm3
        diameter = float((6 * volume_mm3 / np.pi) ** (1 / 3))
        lesions.append(
            Lesion(
                id=number,
                centroid_ijk=tuple(float(x) for x in centre),
                centroid_ras_mm=tuple(float(x) for x in grid.to_ras_mm(centre)),
                volume_mm3=volume_mm3,
                equivalent_diameter_mm=diameter,
                contrast=7.5,
                probability=0.75,
                slices=tuple(int(k) for k in np.unique(voxels[:, slice_axis])),
                max_diameter_mm=max(9.0, diameter),
                candidate_id=number,
                flags=(recipe.text,) if recipe.text else (),
            )
        )
        places.append(
            Assignment(
                lesion_id=number,
                side=Side.LEFT if r < 0 else Side.RIGHT,
                level=Level.INFRATENTORIAL if s < TENTORIUM_S_MM else Level.SUPRATENTORIAL,
                boundary_distance_mm=min(abs(r), abs(s - TENTORIUM_S_MM)),
                midline_distance_mm=r,
                tentorium_distance_mm=TENTORIUM_S_MM - s,
                side_confidence=0.99,
                level_confidence=float("nan") if number == 1 else 0.97,
            )
        )
    return tuple(lesions), tuple(places)


def _location(recipe: Recipe, arrays: dict[str, np.ndarray], grid: Grid) -> Location:
    return Location(
        brain_mask=arrays["brain"],
        compartments=LabelMap(labels=arrays["compartments"], grid=grid),
        midline_distance_mm=arrays["midline"],
        tentorium_distance_mm=arrays["tentorium"],
        coverage=Coverage(left_infratentorial=0.875),
        registration=Registration(
            trusted=True,
            trust=0.83,
            orientation_known=recipe.orientation_known,
            figures={"overlap_fraction": 0.91, "broken": float("inf")},
            reasons=(Reason(code="look", text=recipe.text or "look at the tentorium"),),
        ),
    )


def _detection(recipe: Recipe, lesions: tuple[Lesion, ...], labels: LabelMap) -> Detection:
    accepted = [
        Candidate(
            id=lesion.id,
            centroid_ijk=lesion.centroid_ijk,
            centroid_ras_mm=lesion.centroid_ras_mm,
            diameter_mm=5.0,
            polarity=Polarity.BRIGHT,
            contrast=7.5,
            probability=0.75,
            features={"log_response": 1.5, "elongation": float("nan")},
        )
        for lesion in lesions
    ]
    refused = Candidate(
        id=len(lesions) + 1,
        centroid_ijk=(1.0, 2.0, 3.0),
        centroid_ras_mm=(-1.0, -2.0, -3.0),
        diameter_mm=2.0,
        polarity=Polarity.BRIGHT,
        contrast=-0.5,
        probability=0.125,
        features={"log_response": -0.25, "only_here": 3.0},
    )
    return Detection(
        candidates=(*accepted, refused),
        rejections=(Rejection(candidate=refused, rule="probability", reason=recipe.text or "below the threshold"),),
        lesions=lesions,
        lesion_labels=labels,
        polarity=Polarity.BRIGHT,
        noise_sigma=12.5,
        operating_point=OperatingPoint(name="balanced", probability_threshold=0.5, measured_recall=0.875),
        detectable_diameter_mm=2.25,
        doubts=(Reason(code="noise", text=recipe.text or "noisy"),),
    )


def _decision(recipe: Recipe, volume: Volume, lesions: tuple[Lesion, ...], places: tuple[Assignment, ...]) -> Decision:
    n = volume.n_slices
    counts = tuple(sum(k in lesion.slices for lesion in lesions) for k in range(n))
    quadrants = {c.name.lower(): sum(p.compartment is c for p in places) for c in Compartment}
    fullest = max(range(n), key=lambda k: counts[k])
    words = recipe.text or "5 lesions"
    return Decision(
        verdict=recipe.verdict,
        reasons=(Reason(code="count", text=words),),
        criteria=(
            CriterionResult(
                name="count",
                statement=recipe.text or "At least 20 lesions per image",
                citation="Bashour 2020",
                observed=words,
                threshold="20",
                verdict=recipe.verdict,
                evidence=(words,),
            ),
        ),
        readings=(
            InterpretationResult(
                name="native/pairwise/independent",
                choices=(("slice", "native"),),
                verdict=recipe.verdict,
                is_default=True,
            ),
            InterpretationResult(
                name="slab/pairwise/independent",
                choices=(("slice", "slab"),),
                verdict=Verdict.MET,
                reasons=(Reason(code="slab", text=words),),
            ),
        ),
        probability=0.125,
        margin=-15,
        threshold=recipe.threshold,
        evidence_slices=(
            EvidenceSlice(
                index=fullest,
                position_mm=12.5,
                centre_ras_mm=None,
                sop_instance_uid=volume.source.sop_instance_uids[fullest],
                n_lesions=counts[fullest],
            ),
        ),
        slice_counts=counts,
        slab_counts=tuple(min(5, c + 1) for c in counts),
        quadrant_counts=(*quadrants.items(), ("unassigned", 0)),
    )


@pytest.fixture(scope="session")
def make_case():
    """``make_case(orientation="RAS", ...)`` -> CaseResult."""
    return lambda **choices: build_case(replace(Recipe(), **choices))


@pytest.fixture(scope="session")
def case(make_case):
    """The plain case."""
    return make_case()


@pytest.fixture(scope="session")
def all_orientations():
    """The 48 ways in which voxel axes can run."""
    return ALL_ORIENTATIONS
