"""Placement on the one timeline, against calls whose truth is known: the bars of the specification."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callreplay.order.legs import assemble
from callreplay.order.placing import short_floor, window_minima
from callreplay.order.timeline import fit_clock
from tests.scenario.call import Call, Network
from tests.scenario.truth import duration_ms, placement_errors_ms

JITTER_60 = 120.0  # evenly within 120 ms is +-60 ms about the middle


@pytest.mark.parametrize("seed", range(8))
def test_placement_within_5_ms_with_60_ms_jitter_and_10_percent_loss(seed: int) -> None:
    call = Call.between()
    call.networks = (Network(20, JITTER_60, 0.1, seed=seed), Network(35, JITTER_60, 0.1, seed=seed + 100))
    call.called.start_ns += 500_000_000
    call.caller.talk(30)
    call.called.talk(12).advance(7.5).talk(10)
    media = assemble(call.scan())[0]
    for leg, direction in zip(media.legs, (call.caller, call.called), strict=True):
        errors = placement_errors_ms(leg, direction.packets)
        assert np.abs(errors).max() <= 5.0
        assert leg.statistics.lost > 0


@pytest.mark.slow
@pytest.mark.parametrize("ppm", [300.0, -300.0])
def test_placement_within_10_ms_after_60_minutes_of_300_ppm(ppm: float) -> None:
    call = Call.between()
    call.caller.ppm = ppm
    call.caller.payload = call.called.payload = None
    call.networks = (Network(20, JITTER_60, 0.1, seed=3), Network(20, JITTER_60, 0.1, seed=4))
    call.caller.talk(3600)
    call.called.talk(60)
    media = assemble(call.scan())[0]
    errors = placement_errors_ms(media.caller, call.caller.packets)
    assert np.abs(errors).max() <= 10.0
    assert np.abs(errors[-50:]).max() <= 10.0
    assert media.caller.columns.spans[0].drift_ppm == pytest.approx(ppm, abs=2.0)
    true = call.caller.packets[-1].sent_ns - call.caller.packets[0].sent_ns
    assert abs(duration_ms(media.caller) - true * 1e-6 - 20) <= 20


def test_trap_17_drift_of_2000_ppm_is_followed() -> None:
    call = Call.between()
    call.caller.ppm = 2000.0
    call.networks = (Network(20, JITTER_60, 0.05, seed=5), Network())
    call.caller.talk(240)
    media = assemble(call.scan())[0]
    assert media.caller.columns.spans[0].drift_ppm == pytest.approx(2000.0, abs=15.0)
    assert np.abs(placement_errors_ms(media.caller, call.caller.packets)).max() <= 10.0
    assert media.caller.statistics.drift_corrected


def test_a_route_change_is_not_drift() -> None:
    call = Call.between()
    call.networks = (
        Network(20, JITTER_60, 0.05, seed=6, extra_delay_ms=lambda s: 80.0 if s > 200 else 0.0),
        Network(),
    )
    call.caller.talk(400)
    media = assemble(call.scan())[0]
    assert media.caller.columns.spans[0].drift_ppm == 0.0
    errors = placement_errors_ms(media.caller, call.caller.packets)
    assert np.abs(errors).max() <= 5.0


def test_drift_that_is_worth_less_than_a_millisecond_is_left_alone() -> None:
    call = Call.between()
    call.caller.ppm = 6.0
    call.networks = (Network(20, 10, seed=7), Network())
    call.caller.talk(120)
    leg = assemble(call.scan())[0].caller
    assert leg.columns.spans[0].drift_ppm == 0.0
    assert leg.statistics.drift_ppm == pytest.approx(6.0, abs=8.0)


def test_the_first_packet_does_not_anchor() -> None:
    call = Call.between()
    call.caller.talk(10)
    call.networks = (Network(20, 0, extra_delay_ms=lambda s: 400.0 if s < 0.1 else 0.0), Network())
    media = assemble(call.scan())[0]
    assert np.abs(placement_errors_ms(media.caller, call.caller.packets)).max() <= 0.1


def test_a_leg_of_one_packet_has_a_clock() -> None:
    clock = fit_clock(np.zeros(1, np.int64), np.array([5_000_000_000], np.int64), np.zeros(1, np.uint8), 8000)
    assert clock.anchor_ns == 5_000_000_000
    assert clock.drift_ppm == 0.0


def test_no_rows_no_clock() -> None:
    clock = fit_clock(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.uint8), 8000)
    assert clock.anchor_ns == 0


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32),
    st.integers(1, 900),
    st.sampled_from([0.0, 0.01, 0.2]),
    st.sampled_from([160, 1600, 8000]),
    st.sampled_from([0.0, 1e6, 400e6]),
)
def test_the_short_way_to_an_envelope_comes_to_what_the_windows_come_to(
    seed: int, rows: int, odd: float, window: int, jitter_ns: float
) -> None:
    rng = np.random.default_rng(seed)
    timestamp = np.cumsum(rng.choice([160, 160, 160, 4000, -320], rows)).astype(np.int64)
    arrival = (timestamp * 125_000.0 + rng.exponential(jitter_ns, rows) + 10**18).astype(np.int64)
    early = rng.random(rows) < odd / 10
    arrival[early] -= 200_000_000
    flags = rng.choice([0, 8, 128], rows, p=[1 - odd, odd / 2, odd / 2]).astype(np.uint8)
    found = short_floor(timestamp, arrival, flags, 8000, window, 60.0, 60e6, 160)
    _, ticks, least, _ = window_minima(timestamp, arrival, flags, int(arrival[0]), 125_000.0, window, 160)
    levels = sorted(least.tolist())
    glitch = 4 <= len(levels) < 50 and levels[1] - levels[0] > 60e6
    if not 0 < len(levels) < 100 or ticks[-1] / 8000 - ticks[0] / 8000 >= 60 or glitch:
        assert found is None
    else:
        assert found == levels[len(levels) // 50]
