"""Whether a description or a file name says that contrast agent was given: negation, treatment and names are heard.

``T1 post`` is enhanced, ``T1 post op`` says nothing; ``ohne KM`` is unenhanced, ``mit und ohne KM`` says nothing;
``T1_KM`` is enhanced, ``KM_T1`` are somebody's initials. What a word needs beside it is a rule of its own, so that
words that nobody has listed (``post Bestrahlung``) are no evidence either.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from miliary_seg.load.fold import fold, without_humps


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_AGENTS = (
    r"gado|gado(?:lin|vist|but|ter|ben|pen|dia|xet|fos|pic|dot|gra|ver|sp)\w*|gadavist|gdtpa|dotarem|dotagraf|clariscan|"
    r"multihance|prohance|magnevist|omniscan|optimark|elucirem|vueway|magnegita|pixxoscan|cyclolux|"
    r"omnipaque|iohex\w*|visipaque|iodix\w*|ultravist|iopr\w*|isovue|iopam\w*|imeron|iomer\w*|optiray|iover\w*|xenetix|"
    r"iobit\w*|accupaque|solutrast"
)
_NOUN = re.compile(
    rf"^(?:contrast(?:s|ed|es?|o|a|i|ad[oa]s?|at[oa]|ante|mittel\w*|stof\w*)?|kontras[tc]\w*|контраст\w*|enh\w*|mdc|"
    rf"injecte\w*|injekt\w*|verstark\w*|гадол\w*|{_AGENTS})$"
)
"""Words for contrast agent, unless something beside them says otherwise."""
_GENERAL = re.compile(r"^(?:contrast\w*|kontras[tc]\w*|контраст\w*)$")
"""Words of every day as well (``contrast study``, ``fara contrast``): no evidence beside a word that is not listed."""
_SHORT = re.compile(r"^(?:km|gd|gad|ce|mc|c)$")
"""Abbreviations that are initials as well: evidence only after a word for a sequence or a plane."""
_WEAK = re.compile(
    r"^(?:inj\w*|iv|bolus|c|civ|pdc|dye|agents?|medium|k|gd|mdk|ку|ив|кв|kl|con|введ\w*|podani\w*|wzmocn\w*)$"
)
"""Evidence only after a preposition (``after injection``)."""
_GLUED = re.compile(
    rf"^(?:t1w?|mprage|spgr|bravo|vibe|space|se|tse|ct|3d)(?:ce|c|wc|gd|gad|km|post\w{{0,4}}|{_AGENTS})$|^(?:ce|gd)(?:t1w?|ct|mr)$|"
    r"^(?:cect|ctc|ct1|cplus|cemr\w*|cemri)$|^post(?:con|contrast\w?|kontrast\w*|gad\w*|gd|km|inj\w*|ce)$|^(?:contrastad[oa]|"
    r"poscontrast\w|postmdc|kontrastli|t1kmplus)$"
)
_NATIVE = re.compile(
    r"^(?:nativ\w*|unenh\w*|non?(?:enh\w*|contrast\w*|con|ce|gd)|plain|nect|ncct|cminus|t1n|pre(?:contrast\w?|gad\w*|gd|km|inj\w*|kontrast\w*)|"
    r"t1w?pre|smc|basale|blanco|kontrastsiz|kontrastfrei|kontrastlos|contrastfree|неконтраст\w*|нативн\w*|бесконтраст\w*)$"
)
_NEGATION = _words(
    "no not non none nil without wo wout sans sin senza sem ohne kein keine keinen keinem zonder geen bez uten "
    "utan uden pas aucun nessun sine nie ingen fara ilman sense без нет не un"
)
_BEFORE = _words(
    "pre before prior previo previa vor vorm voor avant ante antes prima przed fore innan oncesi до перед for"
)
_WITH = _words("with avec mit con com met med cu z ze w plus c с со")
_AFTER = _words("post after nach apres dopo na despues tras apos pos po efter etter после")
_NOT_AFTER_ALL = _words("no none off nil not nein non nie 0 false negative free frei minus nelkul nej ei oncesi")
_FILLERS = _words(
    "the any de di del dell della da do dos du of d i v iv intravenous intraven a al la le l given administered "
    "podaniu podaniem podania introdu to"
)
_PLAIN = re.compile(
    r"^(?:ax|axial\w*|tra|trans(?:ax\w*|v\w*)?|sag\w*|cor|coron\w*|obl\w*|[23]d|iso\w*|\d+(?:mm|min|s|sec|ms|t)?|t1\w*|t2\w*|mpr\w*|mp|rage|bravo|"
    r"f?spgr|tfe|vibe|tfl\w*|t?se|fse|gre|ffe|space|cube|fs|fatsat|fat|sat|spair|spir|dixon|w|wi|weighted|in|opp|water|brain|head|"
    r"neuro|mri?|ct|ir|irfspgr|flash|mdeft|stealth|nav\w*|thin|delay\w*|late|images?|series|seq|reg|registered|n4|bet|stripped|"
    r"defaced|resampled|std|nii|final|copy|whole|wb|dark|fluid|flair|smartbrain|propeller|blade|kopf|schadel|tete|cerebro|"
    r"cabeza|cerveau|testa|crane|craneo|encefalo|axiale?|min|mm|sec|ce|gd|km|c|s[0-9]+|raw|orig|lr|hr|p[0-9]+|nd|norm)$"
)
"""Words that may follow ``post`` or stand before an abbreviation without changing what it means."""
_SEQUENCE = re.compile(
    r"^(?:t1\w*|ct|mpr\w*|rage|bravo|f?spgr|tfe|vibe|tfl\w*|t?se|fse|gre|ffe|space|cube|ax|axial\w*|tra|trans(?:ax\w*|v\w*)?|sag\w*|cor|coron\w*|"
    r"obl\w*|[23]d|fs|fatsat|iso\w*|flash|dixon|ir|w|mri?|brain|head|kopf|schadel|cranio?|crane|cerveau|spin|echo|dyn\w*|plus|"
    r"post|after|nach|apres|dopo|flair|nect|hirn|encefalo|cerebro|tete|testa|cabeza)$"
)
_PLACE = re.compile(
    r"^(?:whole|wb|brain|head|neuro|kopf|schadel|tete|cerebro|cabeza|cerveau|testa|craneo?|encefalo|hirn|late|delay\w*|"
    r"thin|final|images?|series)$"
)
"""Plain words that speak of a treatment as well where a word that nobody has listed follows: ``post brain surgery``."""
_T1 = re.compile(r"^r?t1(?:w|wi|n|to|2)?$")
_SPAN = re.compile(
    r"^(?:m|mo|mos|mon\w*|w|wk\w*|week\w*|y|yr\w*|year\w*|d|day\w*|jahr\w*|woch\w*|tag\w*|mois|mes\w*|h|hr?s?)$"
)
"""``post 3 months`` speaks of a treatment."""
_OTHER_AFTER = re.compile(
    r"^(?:normali\w*|stretch\w*|adjust\w*|match\w*|equali\w*|limited|correct\w*|noise|resolution|ratio|phase|invert\w*|"
    r"weight\w*|transfer|boost\w*|mr|object|dicom|multi\w*|level|scale\w*|harmoni\w*|augment\w*)$"
)
_OTHER_BEFORE = re.compile(
    r"^(?:phase|tissue|multi|dual|high|higher|low|soft|image|gr[ae]y|magneti[sz]ation|inverse|susceptibility|auto|best|edge|"
    r"detail|ai|dl|resolution|local|clahe|bold|mt|t2|intensity|denoised?|sharp\w*)$"
)
_EAST_GIVEN = re.compile(fold("增强|增強|强化|強化|造影|조영|ガドリニウム|钆|对比剂|對比劑"))
_EAST_NOT = re.compile(
    fold(
        "平扫|平掃|(?:未|无|無|非|不|没有|비)(?:增强|增強|强化|強化|造影|조영)|"
        "(?:增强|增強|强化|強化|造影|조영)(?:剂|劑)?(?:前|なし|無し|無|전)|単純"
    )
)
_EAST_VESSELS = re.compile(fold("血管(?:造影|撮影)|혈관조영"))
_BOTH = re.compile(
    r"(?<!\w)(?:with|w|mit|avec|con|com|met|med|c|z|с|post|pre|vor|nach|avant|apres|antes|prima|dopo|voor)\s*"
    r"(?:and|und|et|y|e|en|og|och|i|и|or|/|\+|&)?\s*"
    r"(?:without|wo|ohne|sans|sin|senza|sem|zonder|bez|uten|utan|uden|без|pre|post|nach|vor|apres|despues|dopo|na)(?!\w)"
    r"(?:\s+(?:iv\s+)?(?:contrast\w*|kontrast\w*|km|gd|gad\w*|mdc|injection|iv))?"
)
_TARGET = re.compile(
    r"(?<=[\w ])(?<!\w)(?:to|2|in|into|onto|reg(?:istered)? ?(?:to|2)?|coreg\w* ?(?:to|2)?|warped(?: to)?|"
    r"aligned(?: to)?|on)\s+(?:ce ?)?t1\w*(?: (?:ce|gd|gad|c|post|space|km))*(?!\w)|(?<!\w)\w*?2(?:ce)?t1\w+"
)
"""What an image was registered to says nothing of the image."""
_SPACE = re.compile(
    r"(?:^|(?<=[_\W]))space-(?!(?i:dark|da|fl|flair|ir|sag|cor|tra|ax|iso|fs|p\d)(?![A-Za-z]))[A-Za-z0-9]+(?=[_.]|$)|(?:^|(?<=_))s(?:ub|es)-[A-Za-z0-9]+"
)
_GLUED_BEFORE = re.compile(r"(?<![A-Za-z0-9])(ce|gd)(T1w?|MR)(?![A-Za-z0-9])", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ContrastWords:
    """What was said, and the words that said so (never the rest of the text)."""

    given: bool
    word: str
    torn: bool = False
    """The text says both."""


def without_targets(words: str) -> str:
    """The words without BIDS labels and without what the image was registered to.

    Examples
    --------
    >>> without_targets("T1_to_T1CE")
    't1'
    """
    split = _SPACE.sub(" ", words)
    plain = " ".join(re.sub(r"[\W_]+", " ", fold(without_humps(split))).split())
    return _TARGET.sub(" ", f" {plain}").strip() if _TARGET.search(f" {plain}") else split


@lru_cache(maxsize=4096)
def contrast_words(words: str, *, ct: bool = False) -> ContrastWords | None:
    """What a description, or several parted by ``|``, says of a contrast agent; None where it says nothing.

    Parameters
    ----------
    words
        Free text, as typed by people.
    ct
        Whether this is CT, where a lone ``W`` means with contrast.

    Examples
    --------
    >>> contrast_words("T1POST").given, contrast_words("t1 vor KM").given, contrast_words("T1_post_op")
    (True, False, None)
    """
    said = [found for part in words.split("|") for found in _said(part, ct=ct)]
    if not said:
        return None
    given = [mention for mention in said if mention[0]]
    if given and len(given) < len(said):
        other = next(word for is_given, word in said if not is_given)
        return ContrastWords(given=False, word=f"{given[0][1]} and {other}", torn=True)
    return ContrastWords(given=said[0][0], word=said[0][1])


def _said(part: str, *, ct: bool) -> Iterator[tuple[bool, str]]:
    """(given, word) of every mention in one text."""
    text = _marked(without_targets(part))
    yield from _eastern(text)
    tokens = text.split()
    k = 0
    while k < len(tokens):
        found = _mention(tokens, k, ct=ct)
        if found is None:
            k += 1
        else:
            given, upto = found
            if given is not None:
                yield given, " ".join(tokens[k:upto])
            k = upto


def _eastern(text: str) -> Iterator[tuple[bool, str]]:
    """Scripts that part no words."""
    text = _EAST_VESSELS.sub(" ", text)
    negated = _EAST_NOT.search(text)
    if negated:
        yield False, negated.group()
    given = _EAST_GIVEN.search(_EAST_NOT.sub(" ", text))
    if given:
        yield True, given.group()


def _marked(words: str) -> str:
    """Folded text in which signs that mean something are words, and everything else is a blank."""
    glued = _GLUED_BEFORE.sub(lambda found: found.group().lower(), words)
    text = fold(without_humps(glued)).replace("_", " ")
    text = re.sub(r"(?<![a-z])(?:[a-z]\.){2,}", lambda found: found.group().replace(".", ""), text)  # m.d.c., i.v.
    for pattern, sign in (
        (r"\d+[.,]\d+", "1"),  # a dose, a length
        (r"\+ ?/ ?-", " both "),
        (r"(?<![a-z])w ?[/&] ?wo?(?![a-z])|(?<![a-z])w ?[/&] ?w/o", " both "),
        (r"(?<![a-z])w ?/ ?o(?:ut)?(?![a-z])", " without "),
        (r"(?<![a-z])w/ ?", " with "),
        (r"(?<![a-z])s ?/ ?(?=c\b|contr|gd|gad|iv|km)", " sin "),
        (r"(?<![a-z])c ?/ ?(?=c\b|contr|gd|gad|iv|km)", " con "),
        (r"(?<![a-z])c ?\+(?!\w)|\+ ?c(?![a-z])", " cplus "),
        (r"(?<![a-z0-9])c ?-(?=[\s|)\]]|$)|(?<=[\s(])- ?c(?=\s|$)|^- ?c(?=\s|$)", " cminus "),
        (r"(?<=[a-z])-(?=[\s|)\]]|$)", " minus "),
        (r"(?<![a-z])m ?/ ?(?=k?kontr|km)", " med "),
        (r"\+ ?(?=gd|gad|km|contr|kontr|ce\b)", " plus "),
    ):
        text = re.sub(pattern, sign, text)
    return _BOTH.sub(" both ", " ".join(re.sub(r"[\W_]+", " ", text).split()))


def _mention(tokens: list[str], k: int, *, ct: bool) -> tuple[bool | None, int] | None:
    """(given, end) of a mention that starts at a token; given is None for words that only look like one."""
    word = tokens[k]
    if word == "both" or (_NATIVE.match(word) and tokens[k + 1 : k + 2] == ["space"]):
        return None, max(_past_noun(tokens, k + 1), k + 1)
    if _NATIVE.match(word):
        return False, k + 1
    if word in _NEGATION or word in _BEFORE:
        return _negated(tokens, k)
    if word in _AFTER or word in _WITH:
        return _with(tokens, k, ct=ct)
    parted = word == "t1" and tokens[k + 1 : k + 2] == ["c"] and _is_listed(next(iter(tokens[k + 2 : k + 3]), ""))
    if parted or _GLUED.match(word):
        return _glued(tokens, k, k + 1 + parted)
    short = _SHORT.match(word) and word != "c" and (_after_a_sequence(tokens, k) or _taken_back(tokens, k + 1))
    return _noun(tokens, k) if short or _NOUN.match(word) else None


def _glued(tokens: list[str], k: int, end: int) -> tuple[bool | None, int]:
    """A sequence with its agent in one word; ``T1_ref-T1ce`` does not say which of the two it is."""
    both = end == k + 1 and "t1" in tokens[k] and any(_T1.match(other) for other in tokens)
    return None if both else not _taken_back(tokens, end), end


def _noun(tokens: list[str], k: int) -> tuple[bool | None, int]:
    before, after = tokens[k - 1] if k else "", tokens[k + 1] if k + 1 < len(tokens) else ""
    if _OTHER_AFTER.match(after) or _OTHER_BEFORE.match(before):
        return None, k + 1
    if after and _NOUN.match(after) and not _taken_back(tokens, k + 1):
        return _noun(tokens, k + 1)
    if _taken_back(tokens, k + 1):
        return False, k + 1
    vague = _GENERAL.match(tokens[k]) or _SHORT.match(tokens[k])
    return (None if vague and not (_is_listed(before) and _is_listed(after)) else True), k + 1


def _is_listed(word: str) -> bool:
    """Whether a word beside a mention is known to leave its meaning as it is; an ending or a number does too."""
    known = (_PLAIN, _SEQUENCE, _NOUN, _SHORT, _WEAK, _NATIVE, _GLUED)
    said = word in _WITH or word in _AFTER or word in _FILLERS
    return not word or said or any(c.isdigit() for c in word) or any(pattern.match(word) for pattern in known)


def _taken_back(tokens: list[str], k: int) -> bool:
    return k < len(tokens) and tokens[k] in _NOT_AFTER_ALL


def _after_a_sequence(tokens: list[str], k: int) -> bool:
    """Whether a word for a sequence or a plane stands before, with nothing but plain words between."""
    for earlier in reversed(tokens[:k]):
        if _SEQUENCE.match(earlier):
            return True
        if not (_PLAIN.match(earlier) or _NATIVE.match(earlier)):
            return False
    return False


def _past_noun(tokens: list[str], k: int) -> int:
    """The end of a noun that may stand here, fillers and all; ``k`` where there is none."""
    at = k
    while at < len(tokens) and tokens[at] in _FILLERS and at - k < 3:
        at += 1
    end = at
    while end < len(tokens) and any(kind.match(tokens[end]) for kind in (_NOUN, _SHORT, _WEAK)):
        end += 1
    if end > at:
        return end
    return at if at > k and tokens[at - 1] == "iv" else k


def _negated(tokens: list[str], k: int) -> tuple[bool | None, int] | None:
    word, end = tokens[k], _past_noun(tokens, k + 1)
    if end > k + 1:
        return False, end
    rest = tokens[k + 1 :]
    if word == "pre":
        visit = bool(rest) and bool(_GLUED.match(rest[0]))  # "pre T1c" is a scan before something else
        return (False, k + 1) if _plain_follows(rest) and not visit else None
    if word in ("without", "wo", "ohne", "sans", "senza", "zonder") and not rest:
        return False, k + 1
    return None


def _with(tokens: list[str], k: int, *, ct: bool) -> tuple[bool | None, int] | None:
    word, end = tokens[k], _past_noun(tokens, k + 1)
    rest = tokens[k + 1 :]
    if end > k + 1 and (word not in ("c", "z", "i") or _NOUN.match(tokens[end - 1])):
        if word == "w" and _SHORT.match(tokens[end - 1]) and not ct and tokens[end - 1] != "c":
            return None
        return not _taken_back(tokens, end), end
    if word == "post" and _plain_follows(rest):
        return not _taken_back(tokens, k + 1), k + 1
    if word in ("with", "w") and ct and not rest and k:
        return True, k + 1
    return None


def _plain_follows(rest: list[str]) -> bool:
    """Whether nothing, or nothing but a word of the technique, follows."""
    if not rest:
        return True
    span = len(rest) > 1 and rest[0].isdigit() and bool(_SPAN.match(rest[1]))
    place = bool(_PLACE.match(rest[0])) and not _plain_follows(rest[1:])
    return bool(_PLAIN.match(rest[0])) and not span and not place
