"""Which sequence a series is: evidence from standard attributes, names and parameters; never a silent guess.

Three witnesses are heard: standard attributes (contrast agent, AcquisitionContrast, BIDS entities), the words of
descriptions and file names, and the acquisition parameters. Where they contradict each other, or none speaks, the
answer is ``UNKNOWN`` with the reason. docs/loading.md has the rules and the measured accuracy.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from miliary_seg.domain.arrays import Float32Array
from miliary_seg.domain.reason import Reason
from miliary_seg.domain.sequence import Modality, Sequence, SequenceEvidence

S = Sequence
_START = r"(?:(?<![a-z0-9])|(?<=ax)|(?<=axial)|(?<=sag)|(?<=cor)|(?<=tra)|(?<=2d)|(?<=3d))"
_END = r"(?![a-z0-9])"

_PATTERNS: tuple[tuple[Sequence, str], ...] = (
    # What the criteria do not speak of comes first: its words win over the weighting it may also name.
    (
        S.UNKNOWN,
        rf"{_START}(?:fmri|(?<!ven )bold|perf(?:usion)?|dsc|pcasl|pasl|asl|pwi|tof|mra|mrv|angio\w*|field ?map\w*|"
        rf"b0 ?map|t[12] ?map\w*|t[12]\* ?map|qt[12]\w*|mp2rage|phase|cbf|cbv|mtt|ttp|spectro\w*|epi|ep2d bold){_END}",
    ),
    (S.ADC, rf"{_START}(?:adc|eadc|apparent diffusion){_END}"),
    (S.DWI, rf"{_START}(?:dwi|diff|diffusion|trace|tracew|dti|b ?1000|b ?800|resolve){_END}|{_START}ep ?(?:2d )?b\d+"),
    (S.SWI, rf"{_START}(?:swi|swan|swip|venobold|suscept\w*){_END}"),
    (S.T2STAR, rf"{_START}(?:t2 ?\*|t2 ?star\w*|hemo\w*|t2 (?:gre|ffe)|(?:gre|ffe) t2){_END}"),
    (S.T1, rf"{_START}t1w? ?(?:flair|tirm|ir|inversion)"),
    (S.FLAIR, rf"{_START}(?:t2 ?)?(?:flair\w*|tirm|dark ?fluid|da fl|spcir|spc ir|t2f|fla){_END}"),
    (S.T1, rf"{_START}(?:t1(?![0-9])\w*|mpr|mprage|mp rage|bravo|f?spgr|tfe|vibe|tfl\w*|ir ?fspgr|mdeft|space t1)"),
    (S.T2, rf"{_START}(?:t2(?![0-9*])\w*|ciss|fiesta)"),
    (S.PD, rf"{_START}(?:pd|pdw|pd fs|proton ?dens\w*|dens){_END}"),
)

_GIVEN = (
    rf"{_START}(?:post\w*|gad\w*|gd\w*|gado\w*|dotarem|multihance|prohance|magnevist|omniscan|clariscan|"
    rf"ce|cect|ctc|cta|enh\w*|contrast|km|mit km|with contrast|w contrast|\+ ?c|c ?\+|t1 ?(?:c|ce|gd|gad|post|wc|km)|"
    rf"t1w?post\w*|t1\+c?)(?![a-z0-9])"
)
_NOT_GIVEN = (
    rf"{_START}(?:pre(?: ?contrast| ?gad\w*| ?gd| ?km)?|precontrast|without(?: contrast)?|w/?o(?: contrast| c)?|wo|"
    rf"non ?(?:con\w*|enh\w*)|no contrast|unenhanced|nativ\w*|ohne km|ohne|plain|nect|ncct|t1n|"
    rf"sans (?:iv|contraste)){_END}"
)


def normalise_words(words: str) -> str:
    """Lower case, every run of other characters than letters, digits, ``+`` and ``*`` one blank.

    Examples
    --------
    >>> normalise_words("Ax_T1-MPRAGE +C")
    'ax t1 mprage +c'
    """
    return re.sub(r"[^a-z0-9+*/]+", " ", words.lower()).strip()


@lru_cache(maxsize=4096)
def sequence_words(words: str, *, long_inversion: bool) -> tuple[Sequence, str] | None:
    """The sequence that a description names and the word that says so.

    ``long_inversion`` is False where the inversion time is known to be short: TIRM and FLAIR are T1-weighted then.

    Examples
    --------
    >>> sequence_words("t2_flair_tra", long_inversion=True)[0]
    <Sequence.FLAIR: 'flair'>
    """
    said = normalise_words(words)
    for sequence, pattern in _PATTERNS:
        found = re.search(pattern, said)
        if found is None:
            continue
        if sequence is S.FLAIR and not long_inversion:
            return S.T1, found.group().strip()
        return sequence, found.group().strip()
    return None


@lru_cache(maxsize=4096)
def contrast_words(words: str) -> tuple[bool, str] | None:
    """(given, word) where a description speaks of contrast agent, else None.

    Examples
    --------
    >>> contrast_words("T1POST"), contrast_words("t1_pre")
    ((True, 't1post'), (False, 'pre'))
    """
    said = normalise_words(words)
    without = re.search(_NOT_GIVEN, said)
    if without:
        return False, without.group().strip()
    given = re.search(_GIVEN, said)
    return (True, given.group().strip()) if given else None


AIR_HU, SOFT_TISSUE_HU, BONE_FROM_HU = (-1100.0, -900.0), (10.0, 90.0), 300.0
"""Air around the head, brain and muscle, and bone; MR has no zero level that would put all three in place."""
LEAST_SHARE = 0.05, 0.02, 0.005
"""Share of the voxels that must be air, soft tissue and bone (a real head CT: 0.58, 0.18, 0.06)."""

MR_ASSUMED = Reason(
    code="modality_assumed",
    text="Nothing says whether this is MR or CT; MR is taken, unless air, soft tissue and bone are where HU put them.",
)
CT_SEEN = Reason(
    code="modality_assumed",
    text="Nothing says whether this is MR or CT; CT is taken: air, soft tissue and bone are where HU put them.",
)


def looks_like_hounsfield(voxels: Float32Array) -> bool:
    """Whether air, soft tissue and bone are all where HU put them."""
    thin = voxels[tuple(slice(None, None, max(1, n // 64)) for n in voxels.shape)]
    parts = (
        (thin > AIR_HU[0]) & (thin < AIR_HU[1]),
        (thin > SOFT_TISSUE_HU[0]) & (thin < SOFT_TISSUE_HU[1]),
        thin > BONE_FROM_HU,
    )
    return all(float(part.mean()) >= least for part, least in zip(parts, LEAST_SHARE, strict=True))


def seen_in(
    voxels: Float32Array, modality: Modality, sequence: SequenceEvidence, caveats: list[Reason]
) -> tuple[Modality, SequenceEvidence]:
    """Modality and sequence after a look at the voxels; what was stated stays.

    ``caveats`` is told where CT was taken.
    """
    if MR_ASSUMED not in caveats or sequence.sequence is not Sequence.UNKNOWN or not looks_like_hounsfield(voxels):
        return modality, sequence
    caveats[caveats.index(MR_ASSUMED)] = CT_SEEN
    evidence = ("grey values of air, soft tissue and bone in HU", "nothing speaks of a contrast agent")
    return Modality.CT, SequenceEvidence(sequence=Sequence.CT, confidence="low", evidence=evidence)


ACQUISITION_CONTRAST = {
    "T1": S.T1,
    "T2": S.T2,
    "T2_STAR": S.T2STAR,
    "PROTON_DENSITY": S.PD,
    "FLUID_ATTENUATED": S.FLAIR,
    "DIFFUSION": S.DWI,
}
"""PS3.3 C.8.13.3.1.2, AcquisitionContrast (0008,9209)."""

PREFERENCE = (S.T1C, S.FLAIR, S.DWI, S.SWI, S.T2STAR, S.T2, S.T1, S.PD, S.CTC, S.CT, S.ADC, S.UNKNOWN)
"""Order of the series of a study: those on which metastases are best seen first (docs/loading.md)."""

_COMPATIBLE = {frozenset(pair) for pair in ((S.SWI, S.T2STAR), (S.DWI, S.ADC), (S.T1, S.T1C), (S.CT, S.CTC))}


@dataclass(frozen=True, slots=True, kw_only=True)
class Clues:
    """What the headers and names of one series say. Free text stays in here: it never reaches a message."""

    modality: Modality | None
    words: str = ""
    """Descriptions, protocol and sequence names, or the file name."""
    weak_words: str = ""
    """The name of the folder: heard only where nothing else speaks."""
    contrast_agent: bool | None = None
    """True: stated as given. None: nothing said (an absent or empty attribute says nothing)."""
    contrast_source: str = "ContrastBolusAgent"
    acquisition_contrast: str = ""
    image_type: tuple[str, ...] = ()
    scanning_sequence: tuple[str, ...] = ()
    repetition_time_ms: float | None = None
    echo_time_ms: float | None = None
    inversion_time_ms: float | None = None
    flip_angle_deg: float | None = None
    b_value: float | None = None
    stated: Sequence | None = None
    """From a BIDS suffix: a standard's own word."""


def identify(clues: Clues) -> SequenceEvidence:
    """Sequence, confidence and evidence of one series.

    Examples
    --------
    >>> identify(Clues(modality=Modality.MR, words="t1_mprage_post_gd")).sequence
    <Sequence.T1C: 't1c'>
    >>> identify(Clues(modality=Modality.MR, words="series 5")).sequence
    <Sequence.UNKNOWN: 'unknown'>
    """
    if clues.modality is Modality.CT:
        return _ct(clues)
    votes = _votes(clues)
    if not votes:
        why = "no standard attribute, name or parameter says which sequence this is"
        return SequenceEvidence(evidence=(why,))
    said = tuple(sentence for _, _, sentence in votes)
    doubt = _doubt({sequence for sequence, _, _ in votes}, clues)
    if doubt is not None:
        return SequenceEvidence(evidence=(*said, *doubt))
    sequence, weight, _ = votes[0]
    if len(votes) > 1 and weight == "medium":
        said = (*said, "words and parameters agree")
    if sequence is S.T1:
        return _t1(clues, weight, said)
    return SequenceEvidence(sequence=sequence, confidence=weight, evidence=said)


def _doubt(found: set[Sequence], clues: Clues) -> tuple[str, ...] | None:
    """Why the witnesses give no answer, as sentences to add; None where they do."""
    if Sequence.UNKNOWN in found:
        return ()
    if len(found) > 1 and frozenset(found) not in _COMPATIBLE:
        return ("the witnesses contradict each other",)
    if "EP" in clues.scanning_sequence and found & {S.T1, S.T2, S.PD}:
        return ("echo-planar images are not anatomical T1, T2 or PD",)
    if S.DWI in found and clues.b_value is not None and clues.b_value < 50:
        return (f"a b-value of {clues.b_value:g} s/mm2: the reference image without diffusion weighting",)
    return None


def user_choice(choice: str) -> SequenceEvidence:
    """The sequence as stated by the user."""
    return SequenceEvidence(sequence=Sequence(choice), confidence="user", evidence=("stated by the user",))


def _votes(clues: Clues) -> list[tuple[Sequence, str, str]]:
    """(sequence, confidence, sentence) of every witness, the strongest first."""
    votes: list[tuple[Sequence, str, str]] = []
    if clues.stated:
        votes.append((clues.stated, "high", f"the BIDS suffix says {clues.stated}"))
    if "ADC" in clues.image_type or "ADC" in clues.acquisition_contrast:
        votes.append((S.ADC, "high", "ImageType says ADC"))
    attribute = ACQUISITION_CONTRAST.get(clues.acquisition_contrast)
    if attribute and not votes:
        votes.append((attribute, "high", f"AcquisitionContrast says {clues.acquisition_contrast}"))
    inversion = clues.inversion_time_ms
    word = sequence_words(clues.words, long_inversion=inversion is None or inversion > 1500)
    if word:
        votes.append((word[0], "medium", f"the description or name has the word {word[1]!r}"))
    parameters = _by_parameters(clues)
    if parameters and not (word and word[0] in (S.UNKNOWN, S.ADC)):
        votes.append((parameters[0], "medium", parameters[1]))
    if not votes:
        folder = sequence_words(clues.weak_words, long_inversion=True)
        if folder:
            votes.append((folder[0], "low", f"the folder's name has the word {folder[1]!r}"))
    return votes


def _by_parameters(clues: Clues) -> tuple[Sequence, str] | None:
    """Sequence by its timing; bounds are the usual ones for 1.5 T and 3 T brain protocols (docs/loading.md)."""
    kinds, tr, te = set(clues.scanning_sequence), clues.repetition_time_ms, clues.echo_time_ms
    if clues.b_value is not None and clues.b_value >= 500:
        return S.DWI, f"a b-value of {clues.b_value:g} s/mm2"
    if tr is None or te is None or "EP" in kinds or not kinds:
        return None
    timing = f"timing: TR {tr:g} ms, TE {te:g} ms"
    if clues.inversion_time_ms:
        timing += f", TI {clues.inversion_time_ms:g} ms"
    sequence = _gradient_echo(clues, te) if "GR" in kinds else _spin_echo(clues, tr, te)
    return (sequence, timing) if sequence else None


def _gradient_echo(clues: Clues, te: float) -> Sequence | None:
    inversion, flip = clues.inversion_time_ms or 0.0, clues.flip_angle_deg or 0.0
    if te < 10 and (300 <= inversion <= 1400 or flip >= 12):
        return S.T1
    return S.T2STAR if te >= 15 and 0 < flip < 40 else None


def _spin_echo(clues: Clues, tr: float, te: float) -> Sequence | None:
    inversion = clues.inversion_time_ms or 0.0
    if inversion > 1500 and te > 60:
        return S.FLAIR
    if tr < 1200 and te < 35:
        return S.T1
    if tr > 1800 and inversion == 0:
        return S.T2 if te >= 65 else S.PD if te <= 40 else None
    return None


def _t1(clues: Clues, weight: str, said: tuple[str, ...]) -> SequenceEvidence:
    """T1: with or without contrast agent."""
    given = clues.contrast_agent
    word = contrast_words(clues.words)
    if given and word and not word[0]:
        doubt = f"{clues.contrast_source} is stated, but the description says {word[1]!r}"
        return SequenceEvidence(evidence=(*said, doubt))
    if given:
        reason = f"{clues.contrast_source} is stated"
        return SequenceEvidence(sequence=S.T1C, confidence=_least(weight, "high"), evidence=(*said, reason))
    if word and word[0]:
        reason = f"the description or name says contrast: {word[1]!r}"
        return SequenceEvidence(sequence=S.T1C, confidence=_least(weight, "medium"), evidence=(*said, reason))
    reason = f"the description or name says {word[1]!r}" if word else "nothing speaks of a contrast agent"
    return SequenceEvidence(sequence=S.T1, confidence=weight, evidence=(*said, reason))


def _ct(clues: Clues) -> SequenceEvidence:
    """CT: with or without contrast agent."""
    word = contrast_words(clues.words)
    base = "the modality is CT"
    if clues.contrast_agent and word and not word[0]:
        doubt = f"{clues.contrast_source} is stated, but the description says {word[1]!r}"
        return SequenceEvidence(evidence=(base, doubt))
    if clues.contrast_agent:
        return SequenceEvidence(
            sequence=S.CTC, confidence="high", evidence=(base, f"{clues.contrast_source} is stated")
        )
    if word and word[0]:
        return SequenceEvidence(
            sequence=S.CTC, confidence="medium", evidence=(base, f"the description or name says {word[1]!r}")
        )
    reason = f"the description or name says {word[1]!r}" if word else "nothing speaks of a contrast agent"
    return SequenceEvidence(sequence=S.CT, confidence="high" if word else "medium", evidence=(base, reason))


def _least(*weights: str) -> str:
    return min(weights, key=("none", "low", "medium", "high", "user").index)
