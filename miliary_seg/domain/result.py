"""Results: what each stage hands on, and what one case comes to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from miliary_seg.domain.appearance import Appearance
from miliary_seg.domain.arrays import BoolArray, Float32Array, Float64Array
from miliary_seg.domain.comparison import Comparison
from miliary_seg.domain.compartment import Assignment, Compartment, Coverage, MaskTrust, Registration, TemplateMap
from miliary_seg.domain.course import Course
from miliary_seg.domain.decision import Decision, StudyDecision
from miliary_seg.domain.disk_backed import to_disk
from miliary_seg.domain.display import shown
from miliary_seg.domain.lesion import Candidate, Lesion, Point, Rejection
from miliary_seg.domain.lesion_source import OURS, LesionSource
from miliary_seg.domain.pair import ContrastPair, FlairPair
from miliary_seg.domain.pattern import Pattern
from miliary_seg.domain.reason import Reason
from miliary_seg.domain.sequence import Polarity
from miliary_seg.domain.volume import LabelMap, Volume
from miliary_seg.errors import UsageError

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """Where the brain and its compartments lie in one scan (arrays on the scan's own grid)."""

    brain_mask: BoolArray = field(compare=False, repr=False)
    compartments: LabelMap = field(compare=False, repr=False)
    """Labels of ``Compartment`` inside the brain mask, 0 outside."""
    midline_distance_mm: Float32Array = field(compare=False, repr=False)
    """Signed, negative on the left; every voxel of the grid."""
    tentorium_distance_mm: Float32Array = field(compare=False, repr=False)
    """Signed, negative above; every voxel of the grid."""
    coverage: Coverage
    registration: Registration
    mask_trust: MaskTrust = field(default_factory=MaskTrust)
    template: TemplateMap | None = field(default=None, compare=False, repr=False)
    """Where each place lies in the atlas; None where no head was found."""
    appearance: Appearance | None = field(default=None, compare=False, repr=False)
    """What the picture looks like; None without a trusted fit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingPoint:
    """How sensitive the detector was set, with what was measured at that setting (docs/detection.md)."""

    name: str
    """``high``, ``balanced`` or ``specific``."""
    probability_threshold: float
    measured_recall: float | None = None
    measured_false_positives_per_slice: float | None = None
    measured_on: str = ""
    """On what recall and false positives were measured; empty where they were stated by a user."""
    evidence_probability: float = 0.0
    """Lesions less probable than this count on slices, but are no evidence for a side or level."""
    evidence_false_positives_per_slice: float | None = None
    """Measured rate of false lesions at least that probable."""
    prior_odds_ratio: float = 1.0
    """Odds of lesions among this scan's candidates over those of the training scenes; above 1 only where the scan
    surely holds many lesions. The lesions' probabilities hold after it (docs/detection.md)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PossibleMass:
    """A place that may be a mass: told and shown, never counted."""

    centroid_ijk: Point
    centroid_ras_mm: Point
    diameter_mm: float
    """Of the ball of the same volume."""
    slices: tuple[int, int]
    """First and last slice of the acquired plane."""
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """What the detector found in one scan."""

    candidates: tuple[Candidate, ...] = field(repr=False)
    rejections: tuple[Rejection, ...] = field(repr=False)
    lesions: tuple[Lesion, ...] = field(repr=False)
    lesion_labels: LabelMap = field(compare=False, repr=False)
    """Instance labels on the scan's grid: n = lesion id n."""
    polarity: Polarity
    noise_sigma: float
    """Robust standard deviation of the noise inside the brain, in the scan's intensity unit."""
    operating_point: OperatingPoint
    diameters_measured_on: str = ""
    """On what the next two figures were measured; empty where there are none."""
    half_found_diameter_mm: float | None = None
    """Diameter from which on half of the lesions at 50 % above local white matter are found on slices as thick as
    these; None where that was not measured (``detect/recall.py``)."""
    detectable_diameter_mm: float | None = None
    """The same for nine in ten, or what the noise of this scan allows where that is larger."""
    doubts: tuple[Reason, ...] = ()
    """Doubts about the image (noise, saturation, motion): they make a negative answer indeterminate."""
    artefact_doubts: tuple[Reason, ...] = ()
    """Artefact patterns (vessels, skull base, sulci, ringing) that carry the count: they make a positive one so."""
    source: LesionSource = OURS
    """Who found the lesions."""
    caveats: tuple[Reason, ...] = ()
    """What was done with lesions that others found, on the way to the scan's grid; masses that may be there."""
    possible_masses: tuple[PossibleMass, ...] = ()
    """Places of the masses that the caveats name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesResult:
    """One analysed series."""

    volume: Volume = field(compare=False)
    location: Location
    detection: Detection
    assignments: tuple[Assignment, ...] = field(repr=False)
    decision: Decision
    caveats: tuple[Reason, ...] = ()
    pattern: Pattern | None = None
    """Uniformity, dominance and homogeneity of the lesion set: described, never used for the answer."""
    comparisons: tuple[Comparison, ...] = ()
    """Other detectors on the same scan, against the one whose lesions these are."""
    pair: ContrastPair | None = None
    """The scan before contrast agent that this one was, or was to be, compared with; None where there is none."""
    flair: FlairPair | None = None
    """The FLAIR on which its lesions were, or were to be, looked up; None where there is none."""

    def to_disk(self) -> SeriesResult:
        """The same result with everything that has a value for each voxel on disk (``domain.disk_backed``)."""
        location = replace(
            self.location,
            brain_mask=to_disk(self.location.brain_mask),
            compartments=self.location.compartments.to_disk(),
            midline_distance_mm=to_disk(self.location.midline_distance_mm),
            tentorium_distance_mm=to_disk(self.location.tentorium_distance_mm),
        )
        detection = replace(self.detection, lesion_labels=self.detection.lesion_labels.to_disk())
        return replace(self, volume=self.volume.to_disk(), location=location, detection=detection)

    @property
    def id(self) -> str:
        """Safe name of the series."""
        return self.volume.id

    @property
    def lesions(self) -> tuple[Lesion, ...]:
        """Accepted lesions."""
        return self.detection.lesions

    @property
    def assignment_of(self) -> dict[int, Assignment]:
        """Lesion id -> where that lesion lies."""
        return {place.lesion_id: place for place in self.assignments}

    @property
    def compartment_of(self) -> dict[int, Compartment | None]:
        """Lesion id -> its compartment; None where side or level is unknown."""
        return {place.lesion_id: place.compartment for place in self.assignments}

    @property
    def orientation_known(self) -> bool:
        """Whether the file states an orientation and the head does not contradict it: pictures may name sides."""
        return self.volume.orientation_known and not self.location.registration.reoriented

    def lesions_frame(self) -> DataFrame:
        """``lesions.csv`` as a pandas DataFrame: one row a lesion, units in ``frame.attrs["units"]``.

        Raises
        ------
        MissingLibraryError
            If pandas is not installed (extra ``notebook``); it is an ImportError too.
        """
        frame: DataFrame = shown("frames.lesions", self)
        return frame

    def slices_frame(self) -> DataFrame:
        """``slices.csv`` as a pandas DataFrame: one row a slice; raises as ``lesions_frame``."""
        frame: DataFrame = shown("frames.slices", self)
        return frame

    def candidates_frame(self) -> DataFrame:
        """``candidates.csv`` as a pandas DataFrame: every candidate; raises as ``lesions_frame``."""
        frame: DataFrame = shown("frames.candidates", self)
        return frame

    def plot_counts(self, ax: Any = None) -> Any:
        """Draw lesions per slice with the threshold (matplotlib); returns the axes."""
        return shown("plots.counts", self, ax)

    def plot_slices(self, indices: Sequence[int] | None = None, *, marked: bool = True) -> Any:
        """Draw slices with their lesions outlined (matplotlib): the evidence where ``indices`` is None."""
        return shown("plots.slices", self, indices, marked=marked)

    def plot_planes(self, at_ras_mm: Sequence[float] | None = None) -> Any:
        """Draw three planes through a point, by default the most probable lesion (matplotlib)."""
        return shown("plots.planes", self, at_ras_mm)

    def view(self) -> Any:
        """Show scan and lesions in NiiVue (ipyniivue), or three planes where that is not installed."""
        return shown("viewer.view", self)

    def _repr_html_(self) -> str:
        return str(shown("cards.series", self))

    def lesion_rows(self) -> list[dict[str, Any]]:
        """One mapping a lesion, measurements and assignment together: as in result.json, numbers not rounded."""
        rows: list[dict[str, Any]] = shown("frames.lesion_rows", self)
        return rows


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """Everything that one case came to; equal for equal input, settings and version."""

    case: str
    decision: StudyDecision
    series: tuple[SeriesResult, ...]
    settings: dict[str, Any] = field(repr=False)
    settings_digest: str
    software: dict[str, str]
    caveats: tuple[Reason, ...] = ()
    timings_s: dict[str, float] = field(default_factory=dict, compare=False)
    course: Course | None = field(default=None, repr=False)
    """What became of the patient's lesions since an earlier scan, where one was compared."""
    writer: Callable[[CaseResult, Path, bool, datetime | None], Path] | None = field(
        default=None, compare=False, repr=False
    )

    def series_of(self, series: str = "") -> SeriesResult:
        """One series: the one named, else the one that the verdict rests on, else the preferred one.

        Raises
        ------
        UsageError
            If the case holds no series of that name.
        """
        wanted = series or next(iter(self.decision.deciding_series), self.series[0].id)
        found = next((item for item in self.series if item.id == wanted), None)
        if found is None:
            raise UsageError(f"no series {wanted!r}", where=self.case, todo=", ".join(item.id for item in self.series))
        return found

    def plot_counts(self, series: str = "", ax: Any = None) -> Any:
        """Draw lesions per slice of one series (``series_of``); returns matplotlib axes."""
        return self.series_of(series).plot_counts(ax)

    def plot_slices(self, indices: Sequence[int] | None = None, *, series: str = "", marked: bool = True) -> Any:
        """Draw slices of one series (``series_of``) with their lesions outlined; returns matplotlib axes."""
        return self.series_of(series).plot_slices(indices, marked=marked)

    def view(self, series: str = "") -> Any:
        """Show one series (``series_of``) in NiiVue, or as three planes where ipyniivue is not installed."""
        return self.series_of(series).view()

    def _repr_html_(self) -> str:
        return str(shown("cards.case", self))

    def write(self, output: str | Path, *, force: bool = False, date: datetime | None = None) -> Path:
        """Write the same files as ``miliary-seg run`` under ``output/<case>/`` and return that folder.

        Parameters
        ----------
        output
            Folder for results.
        force
            Replace an earlier result.
        date
            Date and time for the DICOM objects: results know no clock. None = ``SOURCE_DATE_EPOCH``, else the study's
            own date (``report.identified``) or none.

        Raises
        ------
        OutputError
            If the folder exists already (without ``force``) or cannot be written.
        PartialOutputError
            If a DICOM object cannot be made; everything else has been written.
        """
        if self.writer is None:
            raise TypeError("this CaseResult was built by hand and has no writer; use miliary_seg.report.write_case")
        return self.writer(self, Path(output), force, date)


__all__ = [
    "CaseResult",
    "Detection",
    "Float64Array",
    "Location",
    "OperatingPoint",
    "PossibleMass",
    "SeriesResult",
]
