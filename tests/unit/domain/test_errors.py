from __future__ import annotations

import copy
import pickle
import re

import pytest

from miliary_seg import errors
from miliary_seg.errors import MiliaryError, NoBrainError

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, MiliaryError)]
EXIT_CODES = {
    "MiliaryError": 1,
    "UsageError": 2,
    "InputError": 3,
    "GeometryError": 4,
    "SettingsError": 5,
    "OutputError": 6,
    "MissingLibraryError": 1,
}


@pytest.mark.parametrize("kind", KINDS)
def test_errors_cross_process_borders_with_all_their_parts(kind: type[MiliaryError]) -> None:
    error = kind("is truncated", where="a/b.nii.gz", todo="copy it again")
    for same in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(same) is kind
        assert (same.what, same.where, same.todo, str(same)) == (error.what, error.where, error.todo, str(error))


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_has_its_own_code_and_the_exit_code_of_its_branch(kind: type[MiliaryError]) -> None:
    assert [other for other in KINDS if other.code == kind.code] == [kind]
    branch = next((base for base in kind.__mro__ if base.__base__ is MiliaryError), kind)
    assert kind.exit_code == EXIT_CODES.get(branch.__name__, 1)
    assert len(re.findall(rf"\b{kind.__name__}\b", errors.__doc__ or "")) == 1, "drawn in the tree"


@pytest.mark.parametrize(
    ("where", "todo", "text"),
    [
        ("", "", "no brain"),
        ("s1", "", "s1: no brain"),
        ("", "look", "no brain; look"),
        ("s1", "look", "s1: no brain; look"),
    ],
)
def test_the_message_says_where_what_and_what_to_do(where: str, todo: str, text: str) -> None:
    assert str(NoBrainError("no brain", where=where, todo=todo)) == text
