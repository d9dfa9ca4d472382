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
from miliary_seg.load.contrast_words import contrast_words, without_targets
from miliary_seg.load.fold import fold, without_humps
from miliary_seg.load.kinds import own_kind

S = Sequence
_START = r"(?:(?<![a-z0-9])|(?<=ax)|(?<=axial)|(?<=sag)|(?<=cor)|(?<=tra)|(?<=2d)|(?<=3d))"
_END = r"(?![a-z0-9])"

_PATTERNS: tuple[tuple[Sequence, str], ...] = (
    (S.ADC, rf"{_START}(?:adc|eadc|apparent diffusion){_END}"),
    (
        S.DWI,
        rf"{_START}(?:dwi|diff|diffusion|trace|tracew|dti|b ?1000|b ?800|resolve){_END}|{_START}ep ?(?:2d )?b\d+",
    ),
    (S.SWI, rf"{_START}(?:swi(?:p|i|3d)?|swan|venobold|suscept\w*){_END}"),
    (S.T2STAR, rf"{_START}(?:t2 ?\*|t2 ?star\w*|hemo\w*|t2 (?:gre|ffe)|(?:gre|ffe) t2){_END}"),
    (
        S.T1,
        rf"{_START}t1w? ?(?:flair|tirm|ir|inversion)|"
        rf"{_START}t1w?{_END}(?:(?!t2)[^|])*\b(?:dark ?fluid|da fl|tirm|flair){_END}",
    ),
    (S.FLAIR, rf"{_START}(?:t2 ?)?(?:v?flair\w*|tirm|dark ?fluid|da fl|spcir|spc ir|t2f|fla){_END}"),
    (
        S.T1,
        rf"{_START}(?:t1(?![0-9])\w*|(?:ce|gd|c)t1w?{_END}|mpr|mprage|mp rage|bravo|f?spgr|tfe|vibe|tfl\w*|ir ?fspgr|"
        r"mdeft|space t1)",
    ),
    (S.T2, rf"{_START}(?:t2(?![0-9*])\w*)"),
    (S.PD, rf"{_START}(?:pd|pdw|pd fs|proton ?dens\w*|dens){_END}"),
)


def normalise_words(words: str) -> str:
    """Lower case, every run of other characters than letters, digits, ``+`` and ``*`` one blank.

    Examples
    --------
    >>> normalise_words("Ax_T1-MPRAGE +C")
    'ax t1 mprage +c'
    """
    return re.sub(r"[^a-z0-9+*/]+", " ", fold(words)).strip()


def sequence_words(words: str, *, long_inversion: bool) -> tuple[Sequence, str] | None:
    """The sequence that a description names and the word that says so.

    A kind of its own (an angiogram, a subtraction, a map) is ``UNKNOWN``: its word wins over the weighting that it may
    also name. What an image was registered to is not heard.
    ``long_inversion`` is False where the inversion time is known to be short: TIRM and FLAIR are T1-weighted then.

    Examples
    --------
    >>> sequence_words("t2_flair_tra", long_inversion=True)[0]
    <Sequence.FLAIR: 'flair'>
    """
    kind = kind_of(words)
    return (S.UNKNOWN, kind[1]) if kind is not None else _named(words, long_inversion=long_inversion)


def kind_of(words: str, *, ct: bool = False) -> tuple[str, str] | None:
    """(kind, word) of an image of its own kind, by the first description that says what the image is.

    The protocol that a description belongs to (``CTA head``) speaks only where the description does not.
    """
    for part in words.split("|"):
        kind = own_kind(part)
        said = bool(part.strip()) if ct else _named(part, long_inversion=True) is not None
        if kind is not None or said:
            return kind
    return None


@lru_cache(maxsize=4096)
def _named(words: str, *, long_inversion: bool) -> tuple[Sequence, str] | None:
    named = [without_targets(part) for part in words.split("|")]
    for parts in (named, [without_humps(part) for part in named]):
        said = " | ".join(normalise_words(part) for part in parts)
        for sequence, pattern in _PATTERNS:
            found = re.search(pattern, said)
            if found is None:
                continue
            word = found.group().strip()
            # A plain word of the technique is quoted, never what stands between two of them.
            word = word if len(word.split()) <= 2 else f"{word.split()[0]} ... {word.split()[-1]}"
            return (S.T1, word) if sequence is S.FLAIR and not long_inversion else (sequence, word)
    return None


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
    evidence = ("grey values of air, soft tissue and bone in HU", UNPROVEN)
    return Modality.CT, SequenceEvidence(
        sequence=Sequence.CT, confidence="low", evidence=evidence, contrast_unproven=True
    )


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
    """True: stated as given; False: stated as not given; None: nothing said (an empty attribute says nothing)."""
    contrast_source: str = "ContrastBolusAgent"
    contrast_conflict: str = ""
    """Both sides, where a name and a sidecar state otherwise."""
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

    The witnesses are weighed, not ranked: where they contradict each other there is no sequence, and ``conflict``
    names both sides.

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
    if votes:
        return _weighed(votes, clues)
    why = "no standard attribute, name or parameter says which sequence this is"
    return SequenceEvidence(evidence=(why,))


def _weighed(votes: list[tuple[Sequence, str, str]], clues: Clues) -> SequenceEvidence:
    said = tuple(sentence for _, _, sentence in votes)
    found = {sequence for sequence, _, _ in votes}
    if Sequence.UNKNOWN in found:
        return SequenceEvidence(evidence=said)
    if len(found) > 1 and frozenset(found) not in _COMPATIBLE:
        other = next(sentence for sequence, _, sentence in votes if sequence is not votes[0][0])
        doubt = "the witnesses contradict each other"
        return SequenceEvidence(evidence=(*said, doubt), conflict=f"{votes[0][2]}, but {other}")
    doubt = _doubt(found, clues)
    if doubt:
        return SequenceEvidence(evidence=(*said, doubt))
    sequence, weight, _ = votes[0]
    if len(votes) > 1 and weight == "medium":
        said = (*said, "words and parameters agree")
    if sequence is S.T1:
        return _enhanced(clues, weight, said, (S.T1, S.T1C))
    return SequenceEvidence(sequence=sequence, confidence=weight, evidence=said)


def reference_of_diffusion(clues: Clues) -> str:
    """That an image is the one without diffusion weighting (b0), which is no lesion scan; '' for all others."""
    if clues.b_value is None or clues.b_value >= LOWEST_B:
        return ""
    said = sequence_words(clues.words, long_inversion=True)
    if "EP" in clues.scanning_sequence or (said is not None and said[0] in (S.DWI, S.ADC)):
        return f"the reference image of diffusion (b {clues.b_value:g}): {NO_LESION_SCAN}"
    return ""


LOWEST_B = 50.0
"""s/mm2; below, tissue shows by T2 and not by diffusion."""


@lru_cache(maxsize=4096)
def described_as(description: str) -> str | None:
    """What one description alone names, as a word to compare planes by; None where it names nothing."""
    word = sequence_words(description, long_inversion=True)
    contrast = contrast_words(description)
    said = [str(word[0])] if word else []
    said += [] if contrast is None else ["with contrast" if contrast.given else "without contrast"]
    return " ".join(said) or None


_ENDING = re.compile(
    r"^(?P<owner>.+?)[_\-. ]+(?:ce-[a-z0-9]+[_\-. ]+)?"
    r"(?:(?:ce|gd)?t1[a-z0-9]*|t2[a-z0-9]*|flair|pdw?|dwi|adc|swi|ct[a-z0-9]?|mprage)"
    r"(?:[_\-. ]+(?:brain|space|post|pre|gd|gad\w*|contrast|(?:un)?stripped|n4|t?se|[23]d|ax|sag|cor|tra|w|ce?|km))*$",
    re.IGNORECASE,
)
"""A name, and at its end nothing but words of a sequence."""


def owner_and_sequence(name: str) -> tuple[str, str]:
    """The part of a file name that says whose scan it is, and the words of the sequence at its end; ('', '') without.

    Examples
    --------
    >>> owner_and_sequence("BraTS-MET-00002-000-t1c"), owner_and_sequence("T1")
    (('BraTS-MET-00002-000', 't1c'), ('', ''))
    """
    found = _ENDING.match(name)
    if found is None or _named(found["owner"], long_inversion=True) is not None:
        return "", ""
    said = name[len(found["owner"]) :].strip("_-. ")
    return (found["owner"], said.lower()) if _named(said, long_inversion=True) else ("", "")


NO_LESION_SCAN = "no lesion scan by default; name it with load.series to analyse it"


def not_a_lesion_scan(clues: Clues) -> str:
    """Why a series of its own kind is not analysed unless the user asks for it; '' for a plain image."""
    kind = None if clues.stated else kind_of(clues.words, ct=clues.modality is Modality.CT)
    return f"{kind[0]}: {NO_LESION_SCAN}" if kind else ""


def _doubt(found: set[Sequence], clues: Clues) -> str:
    """Why the witnesses give no answer though they agree; '' where they do."""
    if "EP" in clues.scanning_sequence and found & {S.T1, S.T2, S.PD}:
        return "echo-planar images are not anatomical T1, T2 or PD"
    if S.DWI in found and clues.b_value is not None and clues.b_value < LOWEST_B:
        return f"a b-value of {clues.b_value:g} s/mm2: the reference image without diffusion weighting"
    return ""


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


UNPROVEN = "nothing speaks of a contrast agent"


def _enhanced(
    clues: Clues, weight: str, said: tuple[str, ...], kinds: tuple[Sequence, Sequence], *, sure_if_said: bool = False
) -> SequenceEvidence:
    """With or without contrast agent: ``kinds`` are the sequences without and with it."""
    word = contrast_words(clues.words, ct=clues.modality is Modality.CT)
    agent = clues.contrast_agent
    spoken = f"the description or name says {word.word!r}" if word else ""
    stated = "" if agent is None else f"{clues.contrast_source} {'is stated' if agent else 'says that none was given'}"
    if clues.contrast_conflict:
        return SequenceEvidence(evidence=(*said, clues.contrast_conflict), conflict=clues.contrast_conflict)
    if word and word.torn:
        return SequenceEvidence(evidence=(*said, spoken), conflict=f"{spoken}: with contrast agent and without")
    if word and agent is not None and agent is not word.given:
        return SequenceEvidence(evidence=(*said, f"{stated}, but {spoken}"), conflict=f"{stated}, but {spoken}")
    if agent or (word and word.given):
        strength = _least(weight, "high" if agent else "medium")
        reasons = tuple(reason for reason in (stated, spoken) if reason)
        return SequenceEvidence(sequence=kinds[1], confidence=strength, evidence=(*said, *reasons))
    reasons = tuple(reason for reason in (stated, spoken) if reason) or (UNPROVEN,)
    return SequenceEvidence(
        sequence=kinds[0],
        confidence="high" if sure_if_said and reasons != (UNPROVEN,) else weight,
        evidence=(*said, *reasons),
        contrast_unproven=reasons == (UNPROVEN,),
    )


def _ct(clues: Clues) -> SequenceEvidence:
    """CT: with or without contrast agent, unless it is an angiogram, a projection or a map."""
    base = ("the modality is CT",)
    kind = kind_of(clues.words, ct=True)
    if kind is not None:
        return SequenceEvidence(evidence=(*base, f"the description or name has the word {kind[1]!r}"))
    weight = "high" if clues.contrast_agent else "medium"
    return _enhanced(clues, weight, base, (S.CT, S.CTC), sure_if_said=True)


def _least(*weights: str) -> str:
    return min(weights, key=("none", "low", "medium", "high", "user").index)
