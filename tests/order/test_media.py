"""Media time from timestamps held against arrival: the traps of leaping, standing and lying timestamps."""

import struct

import numpy as np
import pytest

from callreplay.codecs import BY_NAME, STATIC
from callreplay.model import GapReason
from callreplay.order.legs import LegMedia, assemble
from tests.scenario.call import Call, Network
from tests.scenario.truth import duration_ms, numbers, placement_errors_ms

JITTERY = Network(20, 120, 0.05, seed=11)


def caller(call: Call, network: Network | None = None) -> LegMedia:
    call.networks = (network or Network(), Network())
    return assemble(call.scan())[0].caller


def reasons(leg: LegMedia) -> list[int]:
    return [
        int(gap["reason"])
        for gap in leg.columns.gaps
        if gap["reason"] not in (GapReason.LATE_START, GapReason.EARLY_END)
    ]


def test_a_clean_call_has_no_gap_and_its_exact_duration() -> None:
    call = Call.between()
    call.caller.talk(10)
    leg = caller(call)
    assert len(leg.columns.gaps) == 0
    assert duration_ms(leg) == pytest.approx(10_000, abs=1e-3)
    assert list(leg.columns.timestamp) == list(range(0, 80_000, 160))
    assert numbers(leg).tolist() == list(range(500))


def test_trap_1_time_comes_from_the_timeline_not_from_counting_samples() -> None:
    call = Call.between()
    call.called.start_ns = call.caller.start_ns + 1_234_000_000
    call.caller.talk(5).advance(3).talk(5)
    call.called.talk(5)
    media = assemble(call.scan())[0]
    assert media.called.start_ns - media.caller.start_ns == pytest.approx(1_234_000_000, abs=100_000)
    assert np.abs(placement_errors_ms(media.caller, call.caller.packets)).max() < 0.1
    late = [gap for gap in media.called.columns.gaps if gap["reason"] == GapReason.LATE_START]
    assert len(late) == 1
    assert late[0]["ticks"] == -late[0]["start"] == 9872


@pytest.mark.parametrize("timestamp_runs", [True, False])
@pytest.mark.parametrize("network", [Network(), JITTERY])
def test_trap_2_hold_takes_its_time_whether_timestamps_run_or_stand(
    timestamp_runs: bool, network: Network
) -> None:
    call = Call.between()
    call.caller.talk(5).advance(10, timestamp_runs=timestamp_runs).talk(5)
    leg = caller(call, network)
    assert np.abs(placement_errors_ms(leg, call.caller.packets)).max() <= 5.0
    holds = [gap for gap in leg.columns.gaps if gap["reason"] == GapReason.HOLD]
    assert len(holds) == 1
    assert holds[0]["ticks"] == pytest.approx(80_000, abs=3 * 160)


def test_trap_3_a_stale_packet_after_hold_is_dropped_and_silence_added_once() -> None:
    call = Call.between()
    call.caller.talk(5)
    stale = call.caller.timestamp
    call.caller.advance(10)
    call.caller.send(struct.pack(">Q", 1 << 40) + bytes(152), timestamp=stale)
    call.caller.talk(5)
    leg = caller(call)
    assert leg.statistics.stale == 1
    assert 1 << 40 not in numbers(leg).tolist()
    assert duration_ms(leg) == pytest.approx(20_000, abs=20)
    assert reasons(leg) == [GapReason.HOLD]


def test_trap_3_a_stale_packet_older_than_all() -> None:
    call = Call.between()
    call.caller.talk(5)
    stale = call.caller.timestamp - 3200
    call.caller.advance(10)
    call.caller.send(struct.pack(">Q", 1 << 40) + bytes(152), timestamp=stale)
    call.caller.talk(5)
    leg = caller(call)
    assert leg.statistics.stale == 1
    assert duration_ms(leg) == pytest.approx(20_000, abs=20)


@pytest.mark.parametrize("leap_s", [2, 86_400, -50, -86_400])
def test_trap_4_a_bogus_leap_never_exceeds_the_capture(leap_s: int) -> None:
    call = Call.between()
    call.caller.talk(5)
    call.caller.timestamp += leap_s * 8000
    call.caller.talk(5)
    leg = caller(call)
    assert duration_ms(leg) == pytest.approx(10_000, abs=20)
    assert leg.statistics.shifts == 1
    assert any("leapt" in text for text in leg.warnings)
    assert np.abs(placement_errors_ms(leg, call.caller.packets)).max() <= 5.0


@pytest.mark.parametrize("leap_s", [1, 40_000, -1, -40_000])
def test_trap_4_one_wild_timestamp_moves_nothing(leap_s: int) -> None:
    call = Call.between()
    call.caller.talk(5)
    call.caller.packets[100].timestamp = (call.caller.packets[100].timestamp + leap_s * 8000) & 0xFFFFFFFF
    leg = caller(call)
    assert np.abs(placement_errors_ms(leg, call.caller.packets)).max() < 0.1
    assert leg.statistics.wild_timestamps == 1
    assert leg.statistics.packets == 250
    assert len(leg.columns.gaps) == 0


def test_trap_5_comfort_noise_with_wild_timestamps_lays_no_line() -> None:
    call = Call.between()
    call.caller.talk(5).noise(timestamp=12345).advance(3).noise(timestamp=99).advance(2).talk(5)
    leg = caller(call)
    assert np.abs(placement_errors_ms(leg, call.caller.packets)).max() < 0.1
    noise = np.flatnonzero(leg.columns.flags & 8)
    assert leg.columns.timestamp[noise].tolist() == pytest.approx([40_000, 64_000], abs=8)
    assert len(leg.columns.spans) == 1


def test_comfort_noise_opens_no_span_and_a_leg_may_begin_and_end_with_it() -> None:
    call = Call.between()
    call.caller.noise().advance(0.5).talk(2).noise().advance(1).noise()
    leg = caller(call)
    assert [str(span.codec) for span in leg.columns.spans] == ["PCMU/8000"]
    assert duration_ms(leg) == pytest.approx(3500, abs=1)
    only = Call.between()
    only.caller.noise().advance(1).noise()
    assert [span.codec.kind for span in caller(only).columns.spans] == ["noise"]


def test_trap_7_g722_ticking_at_16000_throughout() -> None:
    call = Call.between()
    call.caller.use(STATIC[9], 9, 160, 160)
    for _ in range(500):
        call.caller.talk(0.02)
        call.caller.timestamp += 160
    leg = caller(call)
    assert duration_ms(leg) == pytest.approx(10_000, abs=20)
    assert any("16000" in text for text in leg.warnings)
    assert len(leg.columns.gaps) == 0


def test_trap_7_g722_ticking_at_16000_for_the_first_15_packets() -> None:
    call = Call.between()
    call.caller.use(STATIC[9], 9, 160, 160)
    for _ in range(15):
        call.caller.talk(0.02)
        call.caller.timestamp += 160
    call.caller.talk(9.7)
    leg = caller(call)
    assert duration_ms(leg) == pytest.approx(10_000, abs=20)
    assert np.abs(placement_errors_ms(leg, call.caller.packets)).max() <= 5.0
    assert leg.columns.timestamp[-1] == (500 - 1) * 160


def test_trap_6_g722_keeps_clock_and_sample_rate_apart() -> None:
    call = Call.between()
    call.caller.use(STATIC[9], 9, 160, 160).talk(5)
    span = caller(call).columns.spans[0]
    assert (span.codec.clock_rate_hz, span.codec.sample_rate_hz, span.end_tick) == (8000, 16000, 40_000)


def test_trap_8_a_codec_renegotiated_and_back_gives_three_spans_on_one_clock() -> None:
    call = Call.between()
    call.caller.talk(2).use(STATIC[9], 9, 160, 160).talk(2).use(STATIC[0], 0, 160, 160).talk(2)
    leg = caller(call, Network(20, 40, seed=5))
    assert [str(span.codec) for span in leg.columns.spans] == ["PCMU/8000", "G722/8000", "PCMU/8000"]
    assert [span.first for span in leg.columns.spans] == [0, 100, 200]
    starts = [span.anchor_ns - leg.columns.spans[0].anchor_ns for span in leg.columns.spans]
    # G.722 is heard 1.375 ms later than it is spoken, and stands earlier by as much
    assert starts == pytest.approx([0, 1_998_625_000, 4_000_000_000], abs=1000)
    assert len(leg.columns.gaps) == 0
    assert all(leg.columns.timestamp[span.first] == 0 for span in leg.columns.spans)


def test_trap_8_spans_of_another_clock_rate_are_tied_by_arrival() -> None:
    call = Call.between()
    call.caller.talk(3)
    wide = BY_NAME["L16"]
    call.caller.use(type(wide)("L16", 16000, 16000), 97, 640, 320).talk(3).use(STATIC[0], 0, 160, 160).talk(3)
    call.networks = (Network(20, 40, seed=5), Network())
    leg = assemble(call.scan(), hints={97: type(wide)("L16", 16000, 16000)})[0].caller
    assert [span.codec.clock_rate_hz for span in leg.columns.spans] == [8000, 16000, 8000]
    assert np.abs(placement_errors_ms(leg, call.caller.packets)).max() <= 5.0


def test_trap_16_arrival_jitter_makes_no_silence() -> None:
    call = Call.between()
    call.caller.talk(20)
    leg = caller(call, Network(20, 120, seed=9))
    assert len(leg.columns.gaps) == 0
    assert leg.statistics.lost == 0
    assert leg.statistics.reordered > 0


def test_trap_18_many_pauses_add_up_to_the_timeline() -> None:
    call = Call.between()
    for _ in range(200):
        call.caller.talk(0.5).advance(0.733)
    leg = caller(call)
    held = sum(int(gap["ticks"]) for gap in leg.columns.gaps)
    assert leg.columns.spans[0].end_tick == len(leg.columns.offset) * 160 + held
    assert np.abs(placement_errors_ms(leg, call.caller.packets)).max() < 0.1
    assert set(reasons(leg)) == {GapReason.SILENCE}


def test_trap_20_duration_is_last_minus_first_however_the_stream_begins() -> None:
    call = Call.between()
    call.caller.timestamp = 0
    call.caller.talk(1)
    call.caller.timestamp = 0x7FFF0000  # begins anew elsewhere after a second
    call.caller.talk(9)
    assert duration_ms(caller(call)) == pytest.approx(10_000, abs=20)


@pytest.mark.parametrize("every", [1, 2])
def test_lying_markers_change_nothing(every: int) -> None:
    plain, marked = Call.between(), Call.between()
    for call in (plain, marked):
        call.caller.talk(5).advance(0.4).talk(5)
    for packet in marked.caller.packets[::every]:
        packet.marker = True
    one, other = caller(plain).columns, caller(marked).columns
    assert np.array_equal(one.timestamp, other.timestamp)
    assert np.array_equal(one.gaps, other.gaps)


def test_a_leap_with_marker_is_decided_by_arrival() -> None:
    call = Call.between()
    call.caller.talk(5)
    call.caller.timestamp += 4 * 8000  # voipmonitor 25.1: below five seconds, marked, and not true
    first = len(call.caller.packets)
    call.caller.talk(5)
    call.caller.packets[first].marker = True
    assert duration_ms(caller(call)) == pytest.approx(10_000, abs=20)


def test_true_silence_is_not_loss() -> None:
    call = Call.between()
    call.caller.talk(3).advance(0.9).talk(3)
    leg = caller(call, Network(20, 10, seed=3))
    assert leg.statistics.lost == 0
    assert reasons(leg) == [GapReason.SILENCE]
    assert int(leg.columns.gaps[0]["ticks"]) == 7200


def test_hold_and_resume_without_a_new_ssrc() -> None:
    call = Call.between()
    for _ in range(3):
        call.caller.talk(2).advance(20, timestamp_runs=False)
    call.caller.talk(2)
    leg = caller(call)
    assert len(leg.columns.spans) == 1
    assert duration_ms(leg) == pytest.approx(68_000, abs=20)
    assert reasons(leg) == [GapReason.HOLD] * 3


def test_short_pauses_with_standing_timestamps_do_not_pile_up() -> None:
    call = Call.between()
    for _ in range(60):  # an IVR stringing prompts together
        call.caller.talk(1).advance(0.15, timestamp_runs=False)
    leg = caller(call)
    assert np.abs(placement_errors_ms(leg, call.caller.packets)).max() <= 210
    assert duration_ms(leg) == pytest.approx(60 * 1150 - 150, abs=210)


def test_a_burst_after_a_stall_is_no_pause() -> None:
    call = Call.between()
    call.caller.talk(20)
    network = Network(20, 0, extra_delay_ms=lambda s: max(0.0, (12.0 - s) * 1e3) if 10 <= s < 12 else 0.0)
    leg = caller(call, network)
    assert len(leg.columns.gaps) == 0
    assert np.abs(placement_errors_ms(leg, call.caller.packets)).max() < 0.1
    assert leg.statistics.late > 80


def test_packet_time_changes_in_mid_call() -> None:
    call = Call.between()
    call.caller.talk(2).use(STATIC[0], 0, 240, 240).talk(3).use(STATIC[0], 0, 80, 80).talk(2)
    leg = caller(call)
    assert len(leg.columns.spans) == 1
    assert len(leg.columns.gaps) == 0
    assert duration_ms(leg) == pytest.approx(7000, abs=1)


def test_overlapping_timestamps_lose_no_audio() -> None:
    call = Call.between()
    for _ in range(100):
        call.caller.talk(0.02)
        call.caller.timestamp -= 1  # the sender's step is a tick short
    leg = caller(call)
    assert np.all(np.diff(leg.columns.timestamp) >= 160)


def test_loss_is_told_from_silence_within_one_gap() -> None:
    call = Call.between()
    call.caller.talk(2).advance(1).talk(2)
    del call.caller.packets[98:100]  # the last two before the pause
    leg = caller(call)
    gaps = leg.columns.gaps
    assert [(int(g["reason"]), int(g["ticks"]), int(g["packets"])) for g in gaps] == [
        (GapReason.LOST, 320, 2),
        (GapReason.SILENCE, 8000, 0),
    ]


def test_payloads_that_do_not_tell_their_length() -> None:
    opus = BY_NAME["OPUS"]
    call = Call.between()
    call.caller.use(opus, 111, 60, 960).talk(5).advance(2.5).talk(5)
    call.networks = (Network(20, 10, seed=2), Network())
    leg = assemble(call.scan(), hints={111: opus})[0].caller
    assert duration_ms(leg) == pytest.approx(12_500, abs=20)
    assert reasons(leg) == [GapReason.HOLD]
