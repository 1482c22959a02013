"""The E-model at points that G.107 and G.113 give."""

import doctest
from itertools import pairwise

import pytest

from callreplay.codecs import BY_NAME, STATIC, Codec
from callreplay.order import mos
from callreplay.order.mos import burst_ratio, estimate


def rated(name: str, loss: float, **extra: float) -> float:
    quality = estimate(BY_NAME[name], loss, **extra)
    assert quality is not None
    return quality.r


def test_default_is_93_2_and_mos_4_41() -> None:
    quality = estimate(STATIC[0], 0.0)
    assert quality is not None
    assert quality.r == pytest.approx(93.2)
    assert quality.mos == pytest.approx(4.41, abs=0.005)
    assert not quality.assumed


def test_equipment_impairment_of_g729_and_its_loss() -> None:
    assert rated("G729", 0) == pytest.approx(82.2)
    # 7-29 by hand: 11 + 84 * 2 / (2 + 19) = 19
    assert rated("G729", 2) == pytest.approx(93.2 - 19.0)


def test_bursts_hurt_more_than_scattered_loss() -> None:
    assert rated("PCMU", 3, ratio=2.0) < rated("PCMU", 3)


def test_delay_hurts_beyond_100_ms() -> None:
    assert rated("PCMU", 0, delay_ms=100) == pytest.approx(93.2)
    assert rated("PCMU", 0, delay_ms=150) > 92
    assert rated("PCMU", 0, delay_ms=400) == pytest.approx(93.2 - 24.4, abs=1.5)


def test_everything_lost_is_the_worst() -> None:
    quality = estimate(STATIC[0], 100.0, 50.0)
    assert quality is not None
    assert 1.0 <= quality.mos < 1.2


def test_mos_never_rises_with_loss() -> None:
    found = [estimate(STATIC[18], loss / 4) for loss in range(401)]
    values = [quality.mos for quality in found if quality]
    assert len(values) == 401
    assert all(one >= other for one, other in pairwise(values))


def test_unlisted_codecs_are_marked_or_left_out() -> None:
    quality = estimate(BY_NAME["G722"], 1.0)
    assert quality is not None
    assert quality.assumed
    assert estimate(Codec("UNKNOWN", 8000, 8000, kind="other"), 0.0) is None


def test_burst_ratio_of_random_loss_is_one() -> None:
    assert burst_ratio(0, 0, 100) == 1.0
    assert burst_ratio(100, 90, 1000) == pytest.approx(1.0)


def test_the_example_of_the_documentation_runs() -> None:
    assert doctest.testmod(mos).failed == 0
