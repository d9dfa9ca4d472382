"""Words for contrast agent, negated and not, in many languages; and the many words that only look like them."""

from __future__ import annotations

import re

import pytest

from miliary_seg.domain.sequence import Modality, Sequence
from miliary_seg.load.contrast_words import contrast_words
from miliary_seg.load.kinds import own_kind
from miliary_seg.load.sequence import Clues, identify

GIVEN = [
    "T1POST", "T1 post", "POST AX T1", "T1 POST 5 min", "T1_postGd", "T1 after injection", "T1_axial_postcontrast",
    "Ax T1 +C", "AX T1 C+", "t1 space c+", "3D T1 TFE +GD", "t1_tse_tra_fs_+KM", "T1 FS + C",
    "t1ce", "T1Gd", "T1wCE", "ceT1w", "cet1", "CT1", "AX CE T1", "t1_ce_2021", "T1_GAD", "T1 after Gd-DTPA",
    "MPRAGE Gadovist", "T1 gadobutrol", "t1 clariscan", "T1 enhanced", "T1 contrast enhanced",
    "P1_pre_T1c", "P1_post_T1c",
    "T1 w/ contrast", "T1 W CONTRAST", "T1 c/ contraste", "T1 post iv", "T1_post_contrast_reg",
    # German, French, Spanish, Italian, Portuguese, Dutch, Polish, Russian, Swedish, Turkish
    "t1_mprage_tra_KM", "T1_mit_Kontrast", "T1 nach KM", "T1 injecté", "T1 avec contraste", "T1 après gado",
    "t1 con contraste", "T1 después de contraste", "T1 contrastado", "T1 con mdc", "T1 dopo mdc",
    "T1 com contraste", "T1 pós contraste", "T1 met contrast", "T1 na contrast", "T1 z kontrastem",
    "T1 po kontraście", "T1 с контрастом", "T1 med kontrast", "T1 kontrastlı",
    "T1 con m.d.c.", "T1 после введения КВ", "T1 с гадолинием", "T1 nach KM-Gabe", "T1 KM-verstärkt", "T1 m/kontrast",
    # Chinese, Japanese, Korean
    "T1 增强", "T1增強", "T1 造影後", "T1 조영증강", "T1 强化",
    # doses, abbreviations
    "T1 Gadovist 0.1", "T1 POST CON", "T1_POSTCON", "T1 Gd+", "T1-weighted contrast",
]  # fmt: skip
NOT_GIVEN = [
    "t1_pre", "AXIAL T1 PRE", "T1_precontrast", "T1 native", "T1 nativ", "T1n", "T1 plain", "T1 unenhanced",
    "T1_no_gd", "T1_noGd", "T1 no contrast", "T1 without contrast", "T1_without_KM", "T1 w/o contrast", "T1 W/O",
    "T1 W/O C", "T1 C-", "T1 non contrast", "T1 non-enhanced", "T1 before contrast", "T1 prior to gad",
    "T1 contrast none", "T1 gd no", "Enhance off T1", "sub-01_ce-none_T1w", "sub-01_ce-NO_T1w",
    "T1 ohne KM", "T1 vor KM", "T1 sans injection", "T1 avant injection", "T1 sin contraste", "T1 s/ contraste",
    "T1 antes de contraste", "T1 senza mdc", "T1 prima di mdc", "T1 sem contraste", "T1 zonder contrast",
    "T1 voor contrast", "T1 bez kontrastu", "T1 без контраста", "T1 uten kontrast", "T1 kontrastsız",
    "T1 平扫", "T1 未增强", "T1 造影前", "単純 T1", "T1 비조영", "T1 未强化",
    "T1 C -", "T1 Gd-", "T1 KM-", "T1 KM-frei", "T1 previo a contraste", "T1 antes do contraste", "T1 senza m.d.c.",
    "T1 przed podaniem kontrastu", "T1 до введения", "T1 not given gadolinium", "T1 not contrast enhanced", "T1 basale",
    "T1 fara contrast",
]  # fmt: skip
NO_EVIDENCE = [
    "T1", "t1_se", "P1_T1",
    # treatment, time and place
    "P1_T1_post_op", "T1 post-operative", "T1 postop", "T1_postRT", "T1 post RT", "T1 post treatment", "T1 post chemo",
    "T1 post surgery", "T1 post Bestrahlung", "T1 post tumor resection", "T1 post 3 months", "T1_post6m",
    "T1 post stroke day 3", "T1_postmortem", "T1 Postnatal", "t1_posterior_fossa", "T1 position", "T1 pre op",
    "T1 preop", "T1 pretreatment", "sub-01_ses-post_T1w", "sub-POST01_T1w",
    # processing and software
    "T1_postprocessed", "T1_gdcm", "t1_gadgetron", "T1 contrast normalized", "T1_contrast_stretched", "T1 kmeans",
    "T1 multi contrast", "T1 local contrast", "T1 phase contrast", "T1_native_space", "T1_gdansk",
    # targets of a registration
    "T1_to_T1CE", "T1_2_T1c", "T1_reg2T1ce", "T1_in_T1c_space", "sub-01_space-T1Gd_T1w",
    # initials and surnames
    "KM_T1", "GD_2021_T1", "POSTMA_T1", "Gaddafi_T1", "Gad_T1", "CE_T1", "Gd T1",
    "T1_ref-T1ce", "T1_rescaled_T1ce", "t1_space_t1c", "T1toT1c", "rT1_T1c",
    # a treatment behind plain words, and words that nobody has listed
    "T1 post trauma", "T1 post transplant", "T1 post brain surgery", "T1 post head trauma", "T1 post whole brain RT",
    "T1 pa kontrast", "T1 tanpa contrast", "T1 contrast study", "Contrastino_T1", "T1 same day as contrast CT",
    "T1 Ce Wang", "T1 CE mark", "T1 c-spine", "T1 C-Spine", "T1 GdM",
    # both, which is neither
    "T1 with and without contrast", "T1 W WO", "T1 w/wo contrast", "T1 mit und ohne KM", "T1 avec et sans injection",
    "T1 con e senza mdc", "pre and post contrast T1", "T1 +/- contrast",
]  # fmt: skip
EXPECTED = [*((w, True) for w in GIVEN), *((w, False) for w in NOT_GIVEN), *((w, None) for w in NO_EVIDENCE)]


@pytest.mark.parametrize(
    "dress", [str, lambda w: w.replace(" ", "_"), lambda w: w.replace(" ", "-"), lambda w: f"x1 {w}"]
)
@pytest.mark.parametrize(("words", "given"), EXPECTED, ids=[words for words, _ in EXPECTED])
def test_contrast_words(words: str, given: bool | None, dress) -> None:
    if (
        "/" in words or re.search(r"[CdM] ?-( |$)", words) or "+" in words
    ):  # signs that a file name cannot hold, or that end a word
        dress = str
    said = contrast_words(dress(words))
    assert (said.given if said else None) is given
    assert said is None or not said.torn


@pytest.mark.parametrize(
    ("words", "given"),
    [
        ("CT HEAD W", True), ("CT Brain W/", True), ("HEAD W CONTRAST", True), ("CECT brain", True),
        ("CT Kopf mit KM", True), ("CT cerebral avec injection", True), ("CT encefalo con mdc", True),
        ("CT HEAD W/O", False), ("CT HEAD WO", False), ("NCCT", False), ("CT Kopf nativ", False), ("CT 平扫", False),
        ("HEAD W WO", None), ("CT head w/wo contrast", None), ("CT HEAD WL 80", None), ("Head 5mm", None),
    ],
)  # fmt: skip
def test_on_ct(words: str, given: bool | None) -> None:
    said = contrast_words(words, ct=True)
    assert (said.given if said else None) is given
    expected = {True: Sequence.CTC, False: Sequence.CT, None: Sequence.CT}[given]
    assert identify(Clues(modality=Modality.CT, words=words)).sequence is expected


def test_what_says_both_is_a_contradiction() -> None:
    said = contrast_words("T1 nativ KM")
    assert said is not None
    assert said.torn
    found = identify(Clues(modality=Modality.MR, words="T1 post GD | T1 sin contraste"))
    assert found.sequence is Sequence.UNKNOWN
    assert "post gd" in found.conflict
    assert "sin contraste" in found.conflict


@pytest.mark.parametrize("words", [w for w, given in EXPECTED if given is None and w not in ("T1", "t1_se", "P1_T1")])
def test_no_t1_is_enhanced_without_evidence(words: str) -> None:
    found = identify(Clues(modality=Modality.MR, words=words))
    assert found.sequence in (Sequence.T1, Sequence.UNKNOWN)
    assert not found.evidence[-1].startswith("the description or name says contrast")


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("T1_sub", "a subtraction"), ("SUB AX T1", "a subtraction"), ("post minus pre", "a subtraction"),
        ("T1 Subtraktion", "a subtraction"), ("T1 soustraction", "a subtraction"), ("CTA head", "an angiogram"),
        ("TOF 3D multi-slab", "an angiogram"), ("MIP cor", "a projection"), ("t1 DCE", "a dynamic series"),
        ("t1_twist_tra", "a dynamic series"), ("t1_grasp", "a dynamic series"), ("T1 perf", "a perfusion series"),
        ("DIR 3D", "double inversion recovery"), ("STIR cor", "a short-inversion fat-suppressed image"),
        ("t2_ciss", "a steady-state image"), ("FIESTA-C", "a steady-state image"), ("T1 map", "a map or a phase image"),
        ("t1_mprage", None), ("sub-01_T1w", None), ("T1_sub_01", None), ("subject12_T1", None), ("DTI 64 dir", None),
        ("direct_T1", None), ("mipav_T1", None), ("VEN_BOLD SWIp", None), ("t1_vibe_dixon", None),
        ("T1 post-pre", "a subtraction"), ("T1 diff", "a subtraction"), ("T1 VENC 80", "an angiogram"),
        ("T1 ratio", "a map or a phase image"), ("DTI FA", "a map or a phase image"),
        ("SWI phase", "a map or a phase image"), ("t1_vibe_in_phase", None), ("T1 opp phase", None),
        ("T1 phase FH", None), ("T1 perfect", None), ("T1_synthstrip", None), ("T1_angiogenesis", None),
        ("SyMRI T1w", "an image that was computed, not acquired"),
        ("virtual contrast T1", "an image that was computed, not acquired"),
        ("T1 template", "an image that was computed, not acquired"), ("bTFE", "a steady-state image"),
    ],
)  # fmt: skip
def test_kinds_of_their_own(words: str, kind: str | None) -> None:
    found = own_kind(words)
    assert (found[0] if found else None) == kind
    assert kind is None or identify(Clues(modality=Modality.MR, words=words)).sequence is Sequence.UNKNOWN


@pytest.mark.parametrize(
    ("words", "sequence"),
    [
        ("t1 tse dark-fluid", Sequence.T1), ("t1_tirm_sag", Sequence.T1), ("t1_tse_tra_dark-fluid", Sequence.T1),
        ("T1_to_FLAIR", Sequence.T1), ("FLAIR_to_T1", Sequence.FLAIR), ("t2_space_dark-fluid", Sequence.FLAIR),
        ("FLAIR_reg_T1", Sequence.FLAIR),
        ("T2w_in_T1c_space", Sequence.T2), ("sub-01_space-T1Gd_FLAIR", Sequence.FLAIR),
        ("CT1", Sequence.T1C), ("case7_CT1", Sequence.T1C), ("myT1w", Sequence.T1),
    ],
)  # fmt: skip
def test_sequence_words(words: str, sequence: Sequence) -> None:
    assert identify(Clues(modality=Modality.MR, words=words)).sequence is sequence
