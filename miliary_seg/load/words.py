"""The words by which people name sequences in descriptions, protocols and file names, as patterns."""

from __future__ import annotations

import re
from functools import lru_cache

from miliary_seg.domain.sequence import Sequence

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


def plain(words: str) -> str:
    """Lower case, every run of other characters than letters, digits, ``+`` and ``*`` one blank.

    Examples
    --------
    >>> plain("Ax_T1-MPRAGE +C")
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
    said = plain(words)
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
    said = plain(words)
    without = re.search(_NOT_GIVEN, said)
    if without:
        return False, without.group().strip()
    given = re.search(_GIVEN, said)
    return (True, given.group().strip()) if given else None
