"""Every code written into DICOM objects; docs/dicom-outputs.md lists them (a test holds the page to this file).

SNOMED CT, DICOM and UCUM codes are those of PS3.16 and of pydicom's dictionary. What they cannot say is said in the
private scheme ``99MILIARY``, which every object that uses it declares (CodingSchemeIdentificationSequence).
"""

from __future__ import annotations

from typing import NamedTuple

from miliary_seg.domain.compartment import Compartment, Side
from miliary_seg.domain.decision import InterpretationResult, Verdict

SCHEME = "99MILIARY"
SCHEME_NAME = "miliary-seg private codes"


class Code(NamedTuple):
    """A coded concept: value, scheme, meaning."""

    value: str
    scheme: str
    meaning: str


ABNORMAL_STRUCTURE = Code("49755003", "SCT", "Morphologically Abnormal Structure")
BRAIN_LESION = Code("301766008", "SCT", "Lesion of Brain")
BRAIN = Code("12738006", "SCT", "Brain")
LATERALITY = Code("272741003", "SCT", "Laterality")
SIDES = {Side.LEFT: Code("7771000", "SCT", "Left"), Side.RIGHT: Code("24028007", "SCT", "Right")}
FINDING_SITE = Code("363698007", "SCT", "Finding Site")
VOLUME = Code("118565006", "SCT", "Volume")
LONG_AXIS = Code("103339001", "SCT", "Long axis")
N_LESIONS = Code("246206008", "SCT", "Number of lesions")

FINDING = Code("121071", "DCM", "Finding")
TRACKING_ID = Code("112039", "DCM", "Tracking Identifier")
TRACKING_UID = Code("112040", "DCM", "Tracking Unique Identifier")
ALGORITHM_NAME = Code("111001", "DCM", "Algorithm Name")
ALGORITHM_VERSION = Code("111003", "DCM", "Algorithm Version")
ALGORITHM_PARAMETERS = Code("111002", "DCM", "Algorithm Parameters")
MEASUREMENT_GROUP = Code("125007", "DCM", "Measurement Group")
REFERENCED_SEGMENT = Code("121191", "DCM", "Referenced Segment")
SEGMENTATION_SOURCE = Code("121233", "DCM", "Source Image for Segmentation")
MEASUREMENT_SOURCE = Code("121112", "DCM", "Source of Measurement")
PROBABILITY = Code("122157", "DCM", "Probability")
COMMENT = Code("121106", "DCM", "Comment")
SEGMENTATION = Code("113076", "DCM", "Segmentation")
PROCESSED_IMAGE = Code("121322", "DCM", "Source image for image processing operation")
ARTIFICIAL_INTELLIGENCE = Code("123110", "DCM", "Artificial Intelligence")
BASIC_PROFILE = Code("113100", "DCM", "Basic Application Confidentiality Profile")
RETAIN_UIDS = Code("113110", "DCM", "Retain UIDs Option")
BRAIN_MRI = Code("24590-2", "LN", "Brain MRI")
HEAD_CT = Code("24725-4", "LN", "CT Head Report")

CUBIC_MM = Code("mm3", "UCUM", "cubic millimeter")
MM = Code("mm", "UCUM", "millimeter")
NO_UNITS = Code("1", "UCUM", "no units")


def _own(value: str, meaning: str) -> Code:
    return Code(value, SCHEME, meaning)


CRITERIA = _own("CRITERIA", "Proposed criteria of miliary brain metastasis")
DECISION = _own("DECISION", "Pattern against the proposed criteria")
VERDICTS = {verdict: _own(str(verdict), verdict.text.capitalize()) for verdict in Verdict}
THRESHOLD = _own("THRESHOLD", "Lesions per slice asked for by the proposed criteria")
MARGIN = _own("MARGIN", "Count of the deciding slice minus the threshold")
P_MET = _own("P_MET", "Probability that the proposed criteria are met")
COMPARTMENT = _own("COMPARTMENT", "Compartment of the brain")
COMPARTMENTS: dict[Compartment | None, Code] = {
    Compartment.LEFT_SUPRATENTORIAL: _own("LEFT_SUPRA", "Left supratentorial"),
    Compartment.RIGHT_SUPRATENTORIAL: _own("RIGHT_SUPRA", "Right supratentorial"),
    Compartment.LEFT_INFRATENTORIAL: _own("LEFT_INFRA", "Left infratentorial"),
    Compartment.RIGHT_INFRATENTORIAL: _own("RIGHT_INFRA", "Right infratentorial"),
    None: _own("UNASSIGNED", "Compartment unknown"),
}
EQUIVALENT_DIAMETER = _own("EQ_DIAMETER", "Diameter of the sphere of equal volume")
CONTRAST = _own("CONTRAST", "Local contrast over the noise standard deviation")
SIDE_CONFIDENCE = _own("SIDE_CONF", "Probability that the side is right")
LEVEL_CONFIDENCE = _own("LEVEL_CONF", "Probability that the tentorial level is right")
BOUNDARY_DISTANCE = _own("BOUNDARY_DIST", "Distance to the nearer of midline and tentorium")
IMAGE_KIND = _own("IMAGE_KIND", "What was counted on")
IMAGE_KINDS = {
    "slice": _own("SLICE", "Acquired slice"),
    "slab": _own("SLAB", "Thick slab around the slice"),
    "axial plane": _own("AXIAL_PLANE", "Axial reformat through the slice"),
    "axial slab": _own("AXIAL_SLAB", "Thick axial slab through the slice"),
}

READING_LETTERS = {
    ("plane", "acquired"): "A",
    ("plane", "axial"): "X",
    ("slice", "native"): "N",
    ("slice", "equivalent"): "S",
    ("non_contiguous", "pairwise"): "P",
    ("non_contiguous", "separate-runs"): "R",
    ("non_contiguous", "separation-mm"): "M",
    ("bilateral", "independent"): "I",
    ("bilateral", "quadrants"): "Q",
}
"""One letter a choice, in the order of the reading's name; the least number per region follows as digits."""


def reading(result: InterpretationResult) -> Code:
    """Name of one reading of the rule, for instance ``READING_ANPI1``.

    Examples
    --------
    >>> choices = (("plane", "axial"), ("slice", "equivalent"), ("min_per_region", "3"))
    >>> reading(InterpretationResult(name="axial/equivalent/3", choices=choices, verdict=Verdict.MET))
    Code(value='READING_XS3', scheme='99MILIARY', meaning='Reading axial/equivalent/3')
    """
    letters = "".join(READING_LETTERS.get(choice, choice[1]) for choice in result.choices)
    return _own(f"READING_{letters}"[:16], f"Reading {result.name}"[:64])


def all_codes() -> tuple[Code, ...]:
    """Every code of this module (readings excepted), each once, in the order of declaration."""
    found: list[Code] = []
    for value in globals().values():
        found += [c for c in (value.values() if isinstance(value, dict) else [value]) if isinstance(c, Code)]
    return tuple(dict.fromkeys(found))
