"""Which sequence a series is, from the words and numbers that people and scanners write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from miliary_seg.domain.sequence import Modality, Sequence
from miliary_seg.errors import AmbiguousInputError
from miliary_seg.load import find_cases, load_study
from miliary_seg.load.sequence import Clues, identify
from miliary_seg.settings import Settings

WORDS = {
    Sequence.T1: [
        "t1_mprage_sag_p2_iso", "Ax T1 FSE", "SAG 3D BRAVO", "sT1W_3D_TFE", "AXIAL T1 PRE", "t1_tse_tra native",
        "3D T1 SPGR without contrast", "T1 FLAIR sag", "t1_crop", "t1_ccbync", "mdeft3d", "T1W", "t1_otsu",
        "BraTS-001-t1n",
    ],
    Sequence.T1C: [
        "t1_mprage_tra_KM", "T1 MPRAGE post GD", "Ax T1 +C", "AX T1 C+", "T1POST", "t1c_brain_only", "t1ce", "T1Gd",
        "3D T1 BRAVO w contrast", "t1_vibe_fs_tra_gado", "MPRAGE Gadovist", "BraTS-001-t1c",
    ],
    Sequence.FLAIR: [
        "AX T2 FLAIR", "t2_tirm_tra_dark-fluid_4mm", "FLAIR_longTR", "study1_FLAIR", "t2_space_dark-fluid",
        "BraTS-001-t2f", "3D_Brain_VIEW_FLAIR_SHC",
    ],
    Sequence.T2: [
        "t2_tse_tra_512", "Ax T2 PROPELLER", "T2W_TSE", "study1_T2W", "t2_2mm",
    ],
    Sequence.DWI: [
        "ep2d_diff_3scan_trace", "DWI b1000", "Ax DWI TRACEW", "resolve_3scan_trace_tra", "DTI 64 dir",
    ],
    Sequence.ADC: [
        "ep2d_diff_ADC", "Apparent Diffusion Coefficient (mm2/s)",
    ],
    Sequence.SWI: [
        "SWI_Images", "Ax SWAN", "VEN_BOLD SWIp",
    ],
    Sequence.T2STAR: [
        "t2*_gre", "T2 FFE hemo", "AX T2 GRE", "T2star",
    ],
    Sequence.PD: [
        "PD_tra", "pd_ccbync", "Proton density",
    ],
    Sequence.UNKNOWN: [
        "TOF 3D multi-slab", "ep2d_bold_moco", "ASL perfusion", "B0map", "series 12", "", "head", "scan_t10",
        "T1 map", "CV_map_neuro_qT1_FA12nTI128",
    ],
}  # fmt: skip
MR_WORDS = [(words, sequence) for sequence, many in WORDS.items() for words in many]


@pytest.mark.parametrize(("words", "sequence"), MR_WORDS, ids=[w or "nothing" for w, _ in MR_WORDS])
def test_words(words: str, sequence: Sequence) -> None:
    found = identify(Clues(modality=Modality.MR, words=words))
    assert found.sequence is sequence
    assert found.evidence
    assert found.confidence == ("none" if sequence is Sequence.UNKNOWN else "high" if sequence is None else "medium")


@pytest.mark.parametrize(
    ("words", "sequence", "confidence"),
    [
        ("Head 5mm", Sequence.CT, "medium"),
        ("CT head without contrast", Sequence.CT, "high"),
        ("NCCT", Sequence.CT, "high"),
        ("CT Kopf mit KM", Sequence.CTC, "medium"),
        ("CECT brain", Sequence.CTC, "medium"),
    ],
)
def test_ct_words(words: str, sequence: Sequence, confidence: str) -> None:
    found = identify(Clues(modality=Modality.CT, words=words))
    assert (found.sequence, found.confidence) == (sequence, confidence)


def mr(
    *kinds: str, tr: float, te: float, ti: float | None = None, flip: float = 90.0, b: float | None = None
) -> Sequence:
    clues = Clues(
        modality=Modality.MR,
        scanning_sequence=kinds,
        repetition_time_ms=tr,
        echo_time_ms=te,
        inversion_time_ms=ti,
        flip_angle_deg=flip,
        b_value=b,
    )
    return identify(clues).sequence


def test_parameters() -> None:
    assert mr("SE", tr=500, te=10) is Sequence.T1
    assert mr("SE", tr=4000, te=100) is Sequence.T2
    assert mr("SE", tr=3000, te=15) is Sequence.PD
    assert mr("SE", "IR", tr=9000, te=120, ti=2500) is Sequence.FLAIR
    assert mr("SE", tr=1500, te=50) is Sequence.UNKNOWN
    assert mr("SE", "IR", tr=4000, te=30, ti=150) is Sequence.UNKNOWN
    assert mr("GR", "IR", tr=2300, te=3, ti=900, flip=9) is Sequence.T1
    assert mr("GR", tr=30, te=5, flip=30) is Sequence.T1
    assert mr("GR", tr=700, te=20, flip=20) is Sequence.T2STAR
    assert mr("GR", tr=10, te=4, flip=5) is Sequence.UNKNOWN
    assert mr("EP", "SE", tr=5000, te=80) is Sequence.UNKNOWN
    assert mr("EP", "SE", tr=5000, te=80, b=1000) is Sequence.DWI
    assert mr(tr=500, te=10) is Sequence.UNKNOWN


def test_witnesses_that_contradict_each_other_give_no_answer() -> None:
    clues = Clues(
        modality=Modality.MR, words="t1_se", scanning_sequence=("SE",), repetition_time_ms=5000, echo_time_ms=110
    )
    found = identify(clues)
    assert found.sequence is Sequence.UNKNOWN
    assert "contradict" in found.evidence[-1]


def test_echo_planar_images_are_not_anatomical() -> None:
    found = identify(Clues(modality=Modality.MR, acquisition_contrast="T2", scanning_sequence=("GR", "EP")))
    assert found.sequence is Sequence.UNKNOWN
    assert "echo-planar" in found.evidence[-1]


def test_the_reference_image_of_diffusion_is_not_diffusion() -> None:
    assert identify(Clues(modality=Modality.MR, words="ep2d_diff", b_value=0.0)).sequence is Sequence.UNKNOWN
    assert identify(Clues(modality=Modality.MR, words="ep2d_diff", b_value=1000.0)).sequence is Sequence.DWI


def test_agreement_is_said() -> None:
    clues = Clues(
        modality=Modality.MR, words="t1_se", scanning_sequence=("SE",), repetition_time_ms=500, echo_time_ms=10
    )
    assert identify(clues).sequence is Sequence.T1
    assert "words and parameters agree" in identify(clues).evidence


def test_short_inversion_makes_a_flair_of_t1_weight() -> None:
    assert identify(Clues(modality=Modality.MR, words="tirm sag", inversion_time_ms=860)).sequence is Sequence.T1


def test_contrast_agent() -> None:
    t1 = {"modality": Modality.MR, "words": "t1 se"}
    stated = identify(Clues(**t1, contrast_agent=True))  # type: ignore[arg-type]
    assert stated.sequence is Sequence.T1C
    assert "ContrastBolusAgent is stated" in stated.evidence
    torn = identify(Clues(modality=Modality.MR, words="t1 se pre contrast", contrast_agent=True))
    assert torn.sequence is Sequence.UNKNOWN
    assert identify(Clues(modality=Modality.CT, contrast_agent=True)).sequence is Sequence.CTC
    assert identify(Clues(modality=Modality.CT, words="native", contrast_agent=True)).sequence is Sequence.UNKNOWN


def test_standard_attributes_are_of_high_confidence() -> None:
    found = identify(Clues(modality=Modality.MR, acquisition_contrast="FLUID_ATTENUATED"))
    assert (found.sequence, found.confidence) == (Sequence.FLAIR, "high")
    assert identify(Clues(modality=Modality.MR, image_type=("DERIVED", "PRIMARY", "ADC"))).sequence is Sequence.ADC
    assert identify(Clues(modality=Modality.MR, weak_words="T2")).confidence == "low"


def test_evidence_quotes_no_free_text() -> None:
    found = identify(Clues(modality=Modality.MR, words="Roe Jane t1 4711 post"))
    assert not any(word in " ".join(found.evidence) for word in ("Roe", "Jane", "4711"))


def test_the_user_knows_better(tmp_path: Path, kit: Any) -> None:
    kit.write(tmp_path / "one", kit.Series(attributes={"SeriesDescription": "series 5"}).datasets())
    assert load_study(tmp_path / "one").volumes[0].sequence.sequence is Sequence.UNKNOWN
    settings = Settings().updated({"load.sequence": "t1c"})
    (volume,) = load_study(tmp_path / "one", settings=settings).volumes
    assert (volume.sequence.sequence, volume.sequence.confidence) == (Sequence.T1C, "user")


def _series(kit: Any, number: int, description: str) -> list[Any]:
    return kit.Series(
        series=f"1.2.7.{number}", seed=number, attributes={"SeriesNumber": number, "SeriesDescription": description}
    ).datasets()


def test_order_of_preference_and_choices(tmp_path: Path, kit: Any) -> None:
    for number, words in (
        (1, "localizer"),
        (2, "t2_tse"),
        (3, "t1_se"),
        (4, "t1_se_post_gd"),
        (5, "flair"),
        (6, "ADC map"),
    ):
        kit.write(tmp_path / str(number), _series(kit, number, words))
    case = find_cases([tmp_path]).cases[0]
    assert [s.sequence.sequence for s in case.eligible] == [Sequence.T1C, Sequence.FLAIR]
    assert case.series[0].why == "analysed, preferred"
    assert {s.why for s in case.series if not s.eligible} == {
        "a localizer",
        "not needed beside 004-t1c, 005-flair; --all-series analyses all",
        "an ADC map: analysed only where load.sequence asks for it",
    }
    every = find_cases([tmp_path], Settings().updated({"load.all_series": True})).cases[0]
    assert [s.sequence.sequence for s in every.eligible] == [Sequence.T1C, Sequence.FLAIR, Sequence.T2, Sequence.T1]
    by_id = Settings().updated({"load.series": "002"})
    assert [v.sequence.sequence for v in load_study(tmp_path, settings=by_id).volumes] == [Sequence.T2]
    by_uid = Settings().updated({"load.series": "1.2.7.3"})
    assert [v.sequence.sequence for v in load_study(tmp_path, settings=by_uid).volumes] == [Sequence.T1]
    flair = Settings().updated({"load.sequence": "flair"})
    assert [v.sequence.confidence for v in load_study(tmp_path, settings=flair).volumes] == ["user"]
    adc = Settings().updated({"load.sequence": "adc"})
    assert [v.sequence.sequence for v in load_study(tmp_path, settings=adc).volumes] == [Sequence.ADC]
    swi = Settings().updated({"load.sequence": "swi"})
    with pytest.raises(AmbiguousInputError, match="several series could be"):
        load_study(tmp_path, settings=swi)


def test_reformatted_series_only_without_an_acquired_one(tmp_path: Path, kit: Any) -> None:
    mpr = kit.Series(series="1.2.8.1", attributes={"ImageType": ["DERIVED", "SECONDARY", "MPR"]}).datasets()
    kit.write(tmp_path / "mpr", mpr)
    assert len(load_study(tmp_path).volumes) == 1
    kit.write(tmp_path / "own", kit.Series(seed=3).datasets())
    case = find_cases([tmp_path]).cases[0]
    assert [s.why for s in case.series] == ["analysed, preferred", "reformatted from another series"]
    mip = kit.Series(
        series="1.2.8.2", attributes={"ImageType": ["DERIVED", "SECONDARY", "PROJECTION IMAGE"]}
    ).datasets()
    kit.write(tmp_path / "mip", mip)
    assert any("PROJECTION" in s.why for s in find_cases([tmp_path]).cases[0].series)
