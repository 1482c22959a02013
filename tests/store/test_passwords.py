"""Passwords that guessers try first."""

from __future__ import annotations

import pytest

from callreplay.store.cluster import DEFAULT_PASSWORD
from callreplay.store.passwords import is_common


@pytest.mark.parametrize(
    "text", ["password", "PassWord", "12345678", "trustno1", "callreplay", DEFAULT_PASSWORD]
)
def test_what_is_tried_first(text: str) -> None:
    assert is_common(text)


@pytest.mark.parametrize(
    "text", ["", "horse battery staple", "a password of some length", "Kj8-xPq2.vv", "ștefan"]
)
def test_what_is_not(text: str) -> None:
    assert not is_common(text)


def test_a_login_is_no_password_whatever_stands_behind_it() -> None:
    assert is_common("Front-Desk_2026!", "front-desk")
    assert not is_common("Front-Desk_2026!", "other")
    assert not is_common("2026!", "")
