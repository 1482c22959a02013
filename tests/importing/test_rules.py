"""Which calls a recorder keeps."""

from __future__ import annotations

import pytest

from callreplay.errors import ArgumentError
from callreplay.importing.rules import Rules
from callreplay.model import CallDescription


def told(call_id: str = "a@b") -> CallDescription:
    return CallDescription(
        call_id,
        "sip",
        caller_number="0721555010",
        called_number="112",
        caller_address="10.1.2.3",
        called_address="2001:db8::1",
        called_numbers=["112", "900"],
    )


@pytest.mark.parametrize(
    ("rules", "kept"),
    [
        (Rules(), True),
        (Rules(only=("0721*",)), True),
        (Rules(only=("0722*", "900")), True),
        (Rules(only=("07215550??",)), True),
        (Rules(only=("0722*",)), False),
        (Rules(only=("10.1.0.0/16",)), True),
        (Rules(only=("10.1.2.3",)), True),
        (Rules(only=("2001:db8::/32",)), True),
        (Rules(only=("10.2.0.0/16",)), False),
        (Rules(never=("112",)), False),
        (Rules(only=("0721*",), never=("10.0.0.0/8",)), False),
        (Rules(percent=0), False),
    ],
)
def test_rules(rules: Rules, kept: bool) -> None:
    assert rules.keeps(told()) is kept


def test_a_share_of_calls_is_the_same_for_every_recorder() -> None:
    names = [f"{number}@pbx" for number in range(4000)]
    kept = [Rules(percent=10).keeps(told(name)) for name in names]
    assert 330 < sum(kept) < 470
    assert kept == [Rules(percent=10).keeps(told(name)) for name in names]
    more = [Rules(percent=20).keeps(told(name)) for name in names]
    assert all(one or not other for one, other in zip(more, kept, strict=True))


@pytest.mark.parametrize(
    "bad", [{"percent": 101.0}, {"percent": -1.0}, {"only": ("10.1.0.0/99",)}, {"never": (" ",)}]
)
def test_rules_that_make_no_sense(bad: dict[str, object]) -> None:
    with pytest.raises(ArgumentError):
        Rules(**bad)  # type: ignore[arg-type]
