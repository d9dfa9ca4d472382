"""Images of a kind of their own: no lesion scan by default, however T1-weighted they may be.

A subtraction shows what changed, an angiogram what flows, a map a number: lesions stand out otherwise on them, or not.
"""

from __future__ import annotations

import re
from functools import lru_cache

from miliary_seg.load.fold import fold, without_humps

_KINDS: tuple[tuple[str, str], ...] = (
    (
        "a subtraction",
        r"sub(?! ?\d)|subs|subtr\w*|substr\w*|soustr\w*|sottra\w*|sustrac\w*|subtrak\w*|minus|差分|减影|減影|"
        r"difference|diff(?= t1)|(?<=t1 )diff|(?<=t1w )diff|post pre",
    ),
    (
        "an angiogram",
        r"cta|mra|mrv|ctv|tof|angio(?:s|gra\w*)?|\w*venogra\w*|\w*arteriogra\w*|\w*angiogra\w*|phase contrast|pca?mra|"
        r"inhance|venc\w*|q ?flow|"
        r"血管造影|血管撮影",
    ),
    ("a projection", r"mip|minip|mnip|maxip|vrt|vr"),
    (
        "a dynamic series",
        r"dce|twist\w*|grasp|tricks|dyn|dynami\w*|keyhole|time resolved|4d|ktrans|tra ?ks|动态|動態",
    ),
    (
        "a perfusion series",
        r"perf|perfus\w*|dsc|pwi|asl|pcasl|pasl|ctp|cbf|cbv|rcbf|rcbv|mtt|ttp|tmax|灌注|灌流",
    ),
    ("a functional or echo-planar series", r"fmri|(?<!ven )bold|epi|ep2d bold|rs fmri|resting state"),
    (
        "a map or a phase image",
        r"field ?map\w*|b[01] ?map|t[12]\*? ?map\w*|qt[12]\w*|mp2rage|spectro\w*|mrs|csi|svs|qsm|ratio|quotient|"
        r"(?:dti|tensor) (?:fa|md|rd|ad)|colfa|"
        r"(?<!in )(?<!out )(?<!opp )(?<!opposed )(?<!out of )phase(?! (?:fh|hf|ap|pa|rl|lr|enc\w*|over\w*|dir\w*))",
    ),
    (
        "an image that was computed, not acquired",
        r"synth(?!strip|morph)\w*|symri|magic|pseudo\w*|virtual|predicted|generated|simulated|calculated|atlas|template|"
        r"fused|fusion|overlay",
    ),
    ("double inversion recovery", r"(?<!\d )dir(?! ?\d+\b)|double inversion"),
    ("a short-inversion fat-suppressed image", r"stir|tirm stir"),
    ("a steady-state image", r"ciss|fiesta\w*|b ?ffe|b ?tfe|true ?fisp|trufi"),
)
_START, _END = r"(?<![^\W_])", r"(?![^\W_])"
_PATTERNS = tuple((kind, re.compile(f"{_START}(?:{pattern}){_END}")) for kind, pattern in _KINDS)
_DIFFUSION = re.compile(r"(?<![a-z])(?:dti|diff\w*|dwi)(?![a-z])")
_SUBJECT = re.compile(r"^sub-[A-Za-z0-9]+")


@lru_cache(maxsize=4096)
def own_kind(words: str) -> tuple[str, str] | None:
    """(kind, word) where a description or name says that this is no plain image; else None.

    Examples
    --------
    >>> own_kind("AX T1 SUB"), own_kind("t1_mprage")
    (('a subtraction', 'sub'), None)
    """
    named = _SUBJECT.sub("", words)
    plain, humps = (
        re.sub(r"[\W_]+", " ", re.sub(r"\*", " * ", fold(w))).strip() for w in (named, without_humps(named))
    )
    for text in (plain, humps):
        for kind, pattern in _PATTERNS:
            found = pattern.search(text)
            if found and not (kind.startswith("double") and _DIFFUSION.search(text)):
                return kind, found.group()
    return None
