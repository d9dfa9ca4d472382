"""A doubt or an explanation as data: a stable code and a sentence."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why an answer is what it is, or what to be careful about.

    The code is stable (scripts hold on to it); the text is for people and never holds a patient's identity.
    """

    code: str
    text: str
