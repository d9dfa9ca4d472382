"""Detection in one scan, step by step: prepare, search, measure, classify, reject, delineate."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from miliary_seg.detect.candidates import GridLevel, coarse_level, find_maxima, fine_level
from miliary_seg.detect.classifier import (
    WITHOUT_NETWORK,
    judged_as,
    operating_point,
    probability,
    rescore,
    thresholds,
)
from miliary_seg.detect.context import add_outlierness, add_ranks, edge_distance_mm
from miliary_seg.detect.delineate import (
    Seeds,
    Size,
    join_pieces,
    label_lesions,
    measure_labels,
    measured_lesion,
    true_radius_mm,
)
from miliary_seg.detect.feature_table import FEATURES
from miliary_seg.detect.features import Features, clear_of_noise, measure_features
from miliary_seg.detect.normalise import RIM_REACH_MM, WorkVolume, prepare
from miliary_seg.detect.patches import PatchSites
from miliary_seg.detect.prevalence import adjust_operating_point, adjust_probability
from miliary_seg.detect.quality import RIM_MM, artefact_doubts, detectable_diameter_mm, lesion_polarity, noise_doubts
from miliary_seg.detect.recall import found_diameter_mm, population
from miliary_seg.detect.refine import radius_mm
from miliary_seg.detect.rejection import CALCIFIED_HU, RULES, broken_rules, same_object
from miliary_seg.detect.white_matter import with_enhancement
from miliary_seg.detect.work_grid import THICK_MM, work_grid
from miliary_seg.domain.arrays import BoolArray, Float64Array, IndexArray, Int32Array
from miliary_seg.domain.lesion import Candidate, Lesion, Rejection
from miliary_seg.domain.reason import Reason
from miliary_seg.domain.result import Detection, OperatingPoint
from miliary_seg.domain.sequence import Modality, Polarity, Sequence
from miliary_seg.domain.volume import LabelMap, Volume
from miliary_seg.errors import GeometryError
from miliary_seg.settings import DetectSettings

CONTRAST_FLOOR = 2.5
"""Fainter blobs, in noise standard deviations, are not kept as candidates."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CandidateTable:
    """Candidates of all grid levels and polarities as columns, on the work grid."""

    index: Float64Array
    radius_mm: Float64Array
    sign: NDArray[np.int_]
    response: Float64Array
    features: Features
    probability: Float64Array

    def __len__(self) -> int:
        return len(self.radius_mm)


def find(volume: Volume, mask: BoolArray, settings: DetectSettings | None = None) -> Detection:
    """Find lesions in one scan.

    Parameters
    ----------
    volume
        The scan.
    mask
        Brain, on the volume's grid (i, j, k).
    settings
        Operating point and polarity; defaults to ``DetectSettings()``.

    Returns
    -------
    Detection
        Also where nothing can be found; ``doubts`` then say why.

    Raises
    ------
    GeometryError
        If the mask does not lie on the volume's grid.
    """
    settings = settings or DetectSettings()
    mask = np.asarray(mask, dtype=bool)
    if mask.shape != volume.grid.shape:
        raise GeometryError(f"the brain mask is {mask.shape}, the scan is {volume.grid.shape}", where=volume.id)
    polarity = lesion_polarity(volume, settings)
    if not mask.any():
        return _nothing(volume, polarity, settings, Reason(code="empty_mask", text="the brain mask is empty"))
    work = prepare(volume.voxels, mask, work_grid(volume, mask), rim_reach_mm(volume.modality))
    if isinstance(work, Reason):
        return _nothing(volume, polarity, settings, work)
    sequence = volume.sequence.sequence
    # BLAS threads inside ours compete for the cores (five times as slow), and sums must not depend on their number.
    with threadpool_limits(limits=1):
        found = search(work, polarity, sequence)
    point = operating_point(settings.sensitivity, sequence, work.thick, polarity)
    points = thresholds(sequence, work.thick, polarity)
    n_certain, n_slices = _n_certain(found, work, point.evidence_probability), mask.any(axis=volume.in_plane_axes).sum()
    point = adjust_operating_point(point, points, n_certain, int(n_slices), volume.slice_spacing_mm)
    found = replace(found, probability=adjust_probability(found.probability, point.prior_odds_ratio))
    return with_enhancement(_judge(volume, work, found, polarity, point), volume, mask)


def rim_reach_mm(modality: Modality) -> float:
    """How far beyond the mask lesions are sought: not on CT, where bone lies there."""
    return 0.0 if modality is Modality.CT else RIM_REACH_MM


def _n_certain(found: CandidateTable, work: WorkVolume, probability: float) -> int:
    """Distinct objects at least this probable."""
    _, owners = _objects(found, work, np.flatnonzero(found.probability >= probability))
    return len(np.unique(owners))


def _objects(found: CandidateTable, work: WorkVolume, rows: IndexArray) -> tuple[IndexArray, IndexArray]:
    """The given candidates, the strongest response first, and for each the strongest candidate of the same object."""
    rows = rows[np.argsort(-found.response[rows], kind="stable")]
    return rows, rows[same_object(found.index[rows] * np.array(work.spacing_mm), found.radius_mm[rows])]


def search(work: WorkVolume, polarity: Polarity, sequence: Sequence = Sequence.UNKNOWN) -> CandidateTable:
    """All candidates of a scan with features and probability, in order of falling probability."""
    signs = {Polarity.BRIGHT: (1,), Polarity.DARK: (-1,), Polarity.BOTH: (1, -1)}[polarity]
    # One grid after the other, so that only one scale space exists at a time.
    fine = fine_level(work)
    parts = [_search_level(fine, work, sign) for sign in signs]
    del fine
    parts += [_search_level(coarse_level(work, sign), work, sign) for sign in signs]
    index = np.concatenate([part[0] for part in parts])
    radius = np.concatenate([part[1] for part in parts])
    sign = np.concatenate([part[2] for part in parts])
    response = np.concatenate([part[3] for part in parts])
    features = {name: np.concatenate([part[4][name] for part in parts]) for name in parts[0][4]}
    features["edge_mm"] = edge_distance_mm(work.brain, work.spacing_mm, index)
    add_outlierness(features, work, index, sign)
    add_ranks(features, work, sign)
    level, contrast = features["surround_value"], features["contrast"]
    places = PatchSites(index=index, radius_mm=radius, sign=sign, level=level, contrast=contrast)
    kind = judged_as(sequence, polarity)
    chance = probability(features, work.thick, kind)
    if kind not in WITHOUT_NETWORK:
        chance = rescore(work, places, features, chance, kind)
    order = np.lexsort((*index.T, -chance))
    return CandidateTable(
        index=index[order],
        radius_mm=radius[order],
        sign=sign[order],
        response=response[order],
        features={name: values[order] for name, values in features.items()},
        probability=chance[order],
    )


def _search_level(
    grid_level: GridLevel | None, work: WorkVolume, sign: int
) -> tuple[Float64Array, Float64Array, NDArray[np.int_], Float64Array, Features]:
    """Index on the work grid, radius in mm, sign, response and features of the candidates of one grid and polarity."""
    if grid_level is None:
        return (
            np.zeros((0, 3)),
            np.zeros(0),
            np.zeros(0, dtype=int),
            np.zeros(0),
            {name: np.zeros(0) for name in FEATURES},
        )
    blobs = clear_of_noise(grid_level, find_maxima(grid_level, sign), CONTRAST_FLOOR * work.noise, sign)
    block = np.array(grid_level.block)
    radius = radius_mm(blobs.sigma_mm, work.thick)
    features = measure_features(grid_level, blobs, work, sign)
    return blobs.index * block + (block - 1) / 2, radius, np.full(len(blobs), sign), blobs.response, features


def _judge(
    volume: Volume, work: WorkVolume, found: CandidateTable, polarity: Polarity, point: OperatingPoint
) -> Detection:
    """Accept candidates or reject them by a rule, then delineate and measure."""
    candidates = _candidates(volume, work, found)
    rules = broken_rules(found.radius_mm, found.features, found.probability, point.probability_threshold)
    rules[(rules == "") & calcified(volume, candidates)] = "calcified"
    likely, owner = _objects(found, work, np.flatnonzero(rules == ""))
    rules[likely[owner != likely]] = "overlap"
    chance = np.zeros(len(found))
    np.maximum.at(chance, owner, found.probability[likely])
    accepted = np.unique(owner)[np.argsort(-chance[np.unique(owner)], kind="stable")]
    rejections = [
        Rejection(candidate=candidate, rule=rule, reason=RULES[rule])
        for candidate, rule in zip(candidates, rules.tolist(), strict=True)
        if rule
    ]
    labels, sizes = _delineate(volume, work, found, accepted)
    lesions: list[Lesion] = []
    for n, size in zip(accepted, sizes, strict=True):
        if size is None:
            rejections.append(Rejection(candidate=candidates[n], rule="overlap", reason=RULES["overlap"]))
        else:
            in_rim = candidates[n].features["edge_mm"] < RIM_MM
            lesion = measured_lesion(candidates[n], size, len(lesions) + 1, volume.n_slices, in_rim=in_rim)
            lesions.append(replace(lesion, probability=float(chance[n])))
    labels = _renumbered(labels, sizes)
    labels.setflags(write=False)
    half, most = (found_diameter_mm(share, volume.thickness_mm, volume.sequence.sequence) for share in (0.5, 0.9))
    smallest = detectable_diameter_mm(work.noise, max(work.spacing_mm[1:]), volume.thickness_mm)
    return Detection(
        candidates=tuple(candidates),
        rejections=tuple(rejections),
        lesions=tuple(lesions),
        lesion_labels=LabelMap(labels=labels, grid=volume.grid),
        polarity=polarity,
        noise_sigma=work.noise * work.unit,
        operating_point=point,
        diameters_measured_on="" if half is None else population(volume.sequence.sequence),
        half_found_diameter_mm=half,
        detectable_diameter_mm=_larger(smallest, most),
        doubts=(*work.doubts, *noise_doubts(smallest)),
        artefact_doubts=artefact_doubts(lesions),
    )


def calcified(volume: Volume, candidates: list[Candidate]) -> BoolArray:
    """Whether each candidate is too dense for a lesion; never outside of CT in HU."""
    if not (volume.modality is Modality.CT and volume.in_hounsfield and candidates):
        return np.zeros(len(candidates), dtype=np.bool_)
    centres = np.array([candidate.centroid_ijk for candidate in candidates]).T
    dense: BoolArray = ndi.map_coordinates(volume.voxels, centres, order=1, mode="nearest") > CALCIFIED_HU
    return dense


def _larger(by_noise: float | None, by_recall: float | None) -> float | None:
    """Smallest lesion that is found reliably; None where noise hides every size or recall was not measured."""
    return None if by_noise is None or by_recall is None else max(by_noise, by_recall)


def _delineate(
    volume: Volume, work: WorkVolume, found: CandidateTable, accepted: IndexArray
) -> tuple[Int32Array, list[Size | None]]:
    labels = np.zeros(volume.grid.shape, dtype=np.int32)
    seeds = Seeds(
        index=work.grid.to_cropped(found.index[accepted]),
        radius_mm=found.radius_mm[accepted],
        sign=found.sign[accepted],
    )
    values, cropped = work.grid.cropped(volume.voxels), work.grid.cropped(labels)
    label_lesions(values, work.grid.input_spacing_mm, seeds, cropped)
    join_pieces(values, cropped, found.features["contrast"][accepted] * work.unit, seeds.sign)
    return labels, measure_labels(labels, volume, len(accepted))


def _renumbered(labels: Int32Array, sizes: list[Size | None]) -> Int32Array:
    """Renumber labels without gaps, after lesions without a voxel were left out."""
    if all(size is not None for size in sizes):
        return labels
    present = np.array([size is not None for size in sizes])
    table = np.concatenate([[0], np.where(present, np.cumsum(present), 0)]).astype(np.int32)
    renumbered: Int32Array = table[labels]
    return renumbered


def _candidates(volume: Volume, work: WorkVolume, found: CandidateTable) -> list[Candidate]:
    ijk = work.grid.to_ijk(found.index)
    ras = volume.grid.to_ras_mm(ijk)
    diameter = 2 * true_radius_mm(found.radius_mm, work.spacing_mm[1])
    names = list(found.features)
    table = np.column_stack([found.features[name] for name in names]).tolist()
    columns = (ijk.tolist(), ras.tolist(), diameter.tolist(), found.sign.tolist(), found.probability.tolist(), table)
    return [
        Candidate(
            id=n,
            centroid_ijk=(i, j, k),
            centroid_ras_mm=(x, y, z),
            diameter_mm=size,
            polarity=Polarity.BRIGHT if sign > 0 else Polarity.DARK,
            contrast=row[names.index("contrast_to_noise")],
            probability=chance,
            features=dict(zip(names, row, strict=True)),
        )
        for n, ((i, j, k), (x, y, z), size, sign, chance, row) in enumerate(zip(*columns, strict=True), start=1)
    ]


def _nothing(volume: Volume, polarity: Polarity, settings: DetectSettings, doubt: Reason) -> Detection:
    """A scan in which nothing can be found, with the reason as a doubt."""
    return Detection(
        candidates=(),
        rejections=(),
        lesions=(),
        lesion_labels=LabelMap(labels=np.zeros(volume.grid.shape, dtype=np.int32), grid=volume.grid),
        polarity=polarity,
        noise_sigma=0.0,
        operating_point=operating_point(
            settings.sensitivity, volume.sequence.sequence, volume.slice_spacing_mm > THICK_MM, polarity
        ),
        doubts=(doubt,),
    )
