"""Words of any language in one spelling, so that they can be looked up: no case, no accents."""

from __future__ import annotations

import re
import unicodedata

_NO_DECOMPOSITION = str.maketrans({"ł": "l", "ø": "o", "ı": "i", "æ": "ae", "œ": "oe", "đ": "d", "±": "+/-", "＋": "+"})
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z][a-z])|(?<=[a-z])(?=[A-Z])")


def fold(words: str) -> str:
    """Lower case without accents; every script keeps its letters.

    Examples
    --------
    >>> fold("Après Injecté"), fold("Größe")
    ('apres injecte', 'grosse')
    """
    plain = unicodedata.normalize("NFKD", words.casefold().translate(_NO_DECOMPOSITION))
    return "".join(c for c in plain if not unicodedata.combining(c)).translate(_NO_DECOMPOSITION)


def without_humps(words: str) -> str:
    """``T1postGd`` as three words; capitals alone make none (``T1POST``).

    Examples
    --------
    >>> without_humps("ceT1w_postRT")
    'ce T1w_post RT'
    """
    return _HUMP.sub(" ", words)
