"""Whether what is written where a contrast agent belongs names one: "None given" is not an agent.

One place for DICOM attributes and sidecars: the same words stand in both.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from miliary_seg.load.fold import fold

_SAYS_NOTHING = re.compile(r"^(?:n ?/ ?a|na|nan|unk(?:nown|n)?|null|undefined|not (?:stated|known|recorded)|x+|y n)$")
"""Fillers of forms: neither an agent nor the lack of one."""
_FORM = re.compile(r"^(?:n ?/ ?a\b|(?:na|unknown)\b)")
_NOT_GIVEN = re.compile(
    r"^(?:n|no|none|nil|non|nein|neg(?:ative)?|false|off|kein\w*|ohne|without|w ?/? ?o|wo|sans|sin|senza|sem|zonder|"
    r"geen|bez|uten|utan|uden|pas d\w*|aucun\w*|nessun\w*|ningun\w*|nenhum\w*|nada|nativ\w*|plain|unenhanced|"
    r"non ?(?:contrast|enhanced)|brak|ingen|yok|pre ?contrast|нет|без|无|無|なし|없음|平扫)(?![a-z])"
    r"|(?:not|never|un)\s?(?:given|administered|used|applied|injected|performed)|nicht (?:gegeben|verabreicht)|"
    r"\b(?:none|nil|refused|declined|withheld|cancel\w*|contraindicated)\b"
)
_NO_DOSE = re.compile(r"^0*(?:[.,]0*)?\s*(?:ml|cc|mg|g|mmol\w*|l)?$")
_ORAL = re.compile(r"\b(?:oral\w*|per os|p ?o|enteral|rectal\w*|peroral|barium|gastro\w+|telebrix gastro)\b")


def agent_named(value: object) -> bool | None:
    """What a text where an agent belongs says: True an agent, False none given, None nothing.

    An agent that was swallowed does not reach the brain: nothing is said of it.

    Examples
    --------
    >>> agent_named("Gadovist 7.5 ml"), agent_named("None given"), agent_named("--")
    (True, False, None)
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, (int, float)):
        return value > 0
    if isinstance(value, (list, tuple)):
        return any_agent(agent_named(part) for part in value)
    words = re.sub(r"[^\w+*/.,]+", " ", fold(str(value)).replace("_", " ")).strip(" .,/")
    plain = re.sub(r"[.,]", " ", words)
    if words and _NO_DOSE.match(words):
        return False
    return None if _FORM.match(plain) else _worded(re.sub(r"^(?:no|without) (?:oral|po)\b", "", plain).strip())


def _worded(plain: str) -> bool | None:
    if not any(c.isalnum() for c in plain) or _SAYS_NOTHING.match(plain):
        return None
    if _NOT_GIVEN.search(plain):
        return False
    return None if swallowed(plain) else True


def swallowed(words: str) -> bool:
    """Whether a route is one that does not reach the brain's vessels.

    Examples
    --------
    >>> swallowed("ORAL"), swallowed("IV")
    (True, False)
    """
    return bool(_ORAL.search(fold(words)))


def any_agent(said: Iterable[bool | None]) -> bool | None:
    """True where anybody names an agent, else False where anybody says none, else None."""
    answers = set(said)
    return True if True in answers else False if False in answers else None
