"""Every code written into DICOM objects; docs/dicom-outputs.md lists them (a test holds the page to this file).

SNOMED CT, DICOM and UCUM codes are those of PS3.16 and of pydicom's dictionary. What they cannot say is said in the
private scheme ``99MILIARY``, which every object that uses it declares (CodingSchemeIdentificationSequence).
"""

from __future__ import annotations

from typing import NamedTuple

from miliary_seg.domain.compartment import Compartment, Region, Side, Tissue
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
SHORT_AXIS = Code("103340004", "SCT", "Short axis")
BRAIN_STEM = Code("119238007", "SCT", "Brain Stem")
DEEP_GREY = Code("223151", "FMA", "Subcortical gray matter")
REGIONS = {
    Region.FRONTAL_LOBE: Code("83251001", "SCT", "Frontal lobe"),
    Region.PARIETAL_LOBE: Code("16630005", "SCT", "Parietal lobe"),
    Region.TEMPORAL_LOBE: Code("78277001", "SCT", "Temporal lobe"),
    Region.OCCIPITAL_LOBE: Code("31065004", "SCT", "Occipital lobe"),
    Region.INSULA: Code("36169008", "SCT", "Insula"),
    Region.BASAL_GANGLIA: DEEP_GREY,
    Region.THALAMUS: Code("42695009", "SCT", "Thalamus"),
    Region.HYPOTHALAMUS: Code("67923007", "SCT", "Hypothalamus"),
    Region.MIDBRAIN: Code("61962009", "SCT", "Midbrain"),
    Region.PONS: Code("49557009", "SCT", "Pons"),
    Region.MEDULLA: BRAIN_STEM,
    Region.CEREBELLUM: Code("113305005", "SCT", "Cerebellum"),
}
"""Codes of CID 7153 where it has one. Of the basal ganglia and the medulla oblongata no code could be checked against
DICOM's own tables, so that the part that holds them is named."""
N_LESIONS = Code("246206008", "SCT", "Number of lesions")

FINDING = Code("121071", "DCM", "Finding")
TRACKING_ID = Code("112039", "DCM", "Tracking Identifier")
TRACKING_UID = Code("112040", "DCM", "Tracking Unique Identifier")
ALGORITHM_NAME = Code("111001", "DCM", "Algorithm Name")
ALGORITHM_VERSION = Code("111003", "DCM", "Algorithm Version")
ALGORITHM_PARAMETERS = Code("111002", "DCM", "Algorithm Parameters")
MEASUREMENT_GROUP = Code("125007", "DCM", "Measurement Group")
REFERENCED_SEGMENT = Code("121191", "DCM", "Referenced Segment")
SEGMENTED_SERIES = Code("121232", "DCM", "Source Series for Segmentation")
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
N_IN_COMPARTMENT: dict[Compartment | None, Code] = {
    Compartment.LEFT_SUPRATENTORIAL: _own("N_LEFT_SUPRA", "Lesions left supratentorial"),
    Compartment.RIGHT_SUPRATENTORIAL: _own("N_RIGHT_SUPRA", "Lesions right supratentorial"),
    Compartment.LEFT_INFRATENTORIAL: _own("N_LEFT_INFRA", "Lesions left infratentorial"),
    Compartment.RIGHT_INFRATENTORIAL: _own("N_RIGHT_INFRA", "Lesions right infratentorial"),
    None: _own("N_UNASSIGNED", "Lesions of unknown compartment"),
}
TOTAL_VOLUME = _own("TOTAL_VOLUME", "Total volume of the lesions")
N_MEASURABLE = _own("N_MEASURABLE", "Lesions measurable by RANO-BM")
SUM_OF_TARGETS = _own("SUM_OF_TARGETS", "Sum of the longest diameters of up to five measurable lesions")
LARGEST = _own("LARGEST", "Longest diameter of the largest sure lesion")
REGION_CONFIDENCE = _own("REGION_CONF", "Certainty of the finding site")
TISSUE = _own("TISSUE", "Layer of the lobe")
TISSUES = {
    Tissue.CORTEX: _own("CORTEX", "Cortex"),
    Tissue.JUNCTION: _own("JUNCTION", "Grey-white junction"),
    Tissue.WHITE_MATTER: _own("WHITE_MATTER", "White matter"),
}
IMAGE_NUMBER = _own("IMAGE_NUMBER", "Image number (Instance Number)")
CONTRAST = _own("CONTRAST", "Contrast over noise")
SIDE_CONFIDENCE = _own("SIDE_CONF", "Certainty of the side")
LEVEL_CONFIDENCE = _own("LEVEL_CONF", "Certainty of the tentorial level")
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


_WORDS = {
    ("plane", "acquired"): "slices as acquired",
    ("plane", "axial"): "axial reformat",
    ("slice", "native"): "own thickness",
    ("slice", "equivalent"): "thick slices",
    ("non_contiguous", "pairwise"): "not neighbours",
    ("non_contiguous", "separate-runs"): "separate runs",
    ("non_contiguous", "separation-mm"): "millimetres apart",
    ("bilateral", "independent"): "",
    ("bilateral", "quadrants"): "4 quadrants",
}
"""Choices at the open points of the rule in a reader's words, short enough for 64 characters in all."""


def reading(result: InterpretationResult) -> Code:
    """Name of one reading of the rule, for instance ``READING_ANPI1``.

    Examples
    --------
    >>> choices = (("plane", "axial"), ("slice", "equivalent"), ("min_per_region", "3"))
    >>> reading(InterpretationResult(name="axial/equivalent/3", choices=choices, verdict=Verdict.MET))
    Code(value='READING_XS3', scheme='99MILIARY', meaning='Axial reformat, thick slices, 3 a region')
    """
    letters = "".join(READING_LETTERS.get(choice, choice[1]) for choice in result.choices)
    words = [
        f"{value} a region" if point == "min_per_region" and value != "1" else _WORDS.get((point, value), "")
        for point, value in result.choices
    ]
    said = ", ".join(word for word in words if word) or result.name
    return _own(f"READING_{letters}"[:16], (said[0].upper() + said[1:])[:64])


def all_codes() -> tuple[Code, ...]:
    """Every code of this module (readings excepted), each once, in the order of declaration."""
    found: list[Code] = []
    for value in globals().values():
        found += [c for c in (value.values() if isinstance(value, dict) else [value]) if isinstance(c, Code)]
    return tuple(dict.fromkeys(found))
