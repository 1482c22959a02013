"""How evenly the octets of payloads are spread: told from the first of them where the rest can change nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callreplay.packets.rows import examine

ENOUGH = 801.0


def _examine(payloads: list[bytes], enough: float) -> tuple[float, tuple[int, ...]]:
    sizes = np.array([len(payload) for payload in payloads], np.uint16)
    data = np.frombuffer(b"".join(payloads) or b"\0", np.uint8)
    count = len(payloads)
    number = np.arange(count)
    types, chi, *others = examine(
        data,
        np.zeros(0, np.uint8),
        np.cumsum(sizes, dtype=np.int64) - sizes,
        sizes,
        np.zeros(count, np.uint8),
        number.astype(np.uint16),
        (number * 160).astype(np.uint32),
        np.zeros(count, np.uint8),
        number.astype(np.int32),
        enough,
    )
    return chi, (types, *others)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 200), st.floats(0, 0.4), st.integers(0, 200))
def test_what_is_told_early_is_so(seed: int, count: int, peak: float, even_from: int) -> None:
    """Octets of which some are one value, even from a payload on: as of a call that is encrypted in its middle."""
    dice = np.random.default_rng(seed)
    payloads = []
    for number in range(count):
        octets = dice.integers(0, 256, int(dice.integers(0, 200)), np.uint8)
        if number < even_from:
            octets[dice.random(len(octets)) < peak] = 0xFF
        payloads.append(octets.tobytes())
    whole, facts = _examine(payloads, float("inf"))
    early, same = _examine(payloads, ENOUGH)
    assert same == facts
    total = facts[1]
    counted = np.bincount(np.frombuffer(b"".join(payloads), np.uint8), minlength=256)
    expected = ((counted - total / 256) ** 2).sum() / (total / 256) if total else 0.0
    assert whole == pytest.approx(expected)
    assert early <= whole + 1e-6
    if early < ENOUGH:
        assert early == whole


def test_payloads_in_the_clear_are_told_from_a_few() -> None:
    dice = np.random.default_rng(1)
    payloads = [
        np.where(dice.random(160) < 0.5, 0xFF, dice.integers(0, 256, 160)).astype(np.uint8).tobytes()
    ] * 200
    whole, _ = _examine(payloads, float("inf"))
    early, _ = _examine(payloads, ENOUGH)
    assert ENOUGH <= early < whole / 10
