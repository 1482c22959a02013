"""Which passwords are refused: those that guessers try first.

The list is that of zxcvbn (MIT): 30,000 passwords of breaches, some 11,000 of them of 8 characters or more. Beside it
what a guesser knows of this program: its name, and the login.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Final

from callreplay.store.cluster import NAME

__all__ = ["is_common"]

_ENDING: Final = re.compile(r"[\W\d_]+$")  # what is put behind a word to make it longer


@cache
def _common() -> frozenset[str]:
    from zxcvbn.frequency_lists import FREQUENCY_LISTS

    return frozenset(FREQUENCY_LISTS["passwords"])


def is_common(password: str, login: str = "") -> bool:
    """Whether a password is among those that are tried first, in any mix of capitals.

    >>> is_common("Baseball"), is_common("Front-Desk-2026", "front-desk"), is_common("horse battery staple")
    (True, True, False)
    """
    folded = password.casefold()
    return folded in _common() or _ENDING.sub("", folded) in {NAME, login.casefold()} - {""}
