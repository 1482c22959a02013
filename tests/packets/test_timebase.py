"""The capture's clock set in mid-capture: told from holds, stalls and files out of order; everything is counted on."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.captures import pcap, rtp, udp
from tests.cases import UNSHRUNK
from tests.scenario.call import Call, Network, Packet

import callreplay


def _records(packets: list[Packet]) -> list[tuple[int, bytes]]:
    return [
        (
            p.arrival_ns,
            udp(
                p.flow.source,
                p.flow.source_port,
                p.flow.destination,
                p.flow.destination_port,
                rtp(p.sequence, p.timestamp, p.ssrc, p.payload_type, p.payload, p.marker),
            ),
        )
        for p in sorted(packets, key=lambda packet: packet.arrival_ns)
    ]


def _call(seconds: float, jitter_ms: float, loss: float, seed: int, host: int = 0) -> list[Packet]:
    call = Call.between((f"10.0.{host}.1", 10000), (f"10.0.{host}.2", 20000))
    call.networks = (Network(20, jitter_ms, loss, seed=seed), Network(30, jitter_ms, loss, seed=seed + 1))
    call.caller.talk(seconds)
    call.called.talk(seconds / 2).advance(0.7).talk(seconds / 2 - 0.7)
    return call.arrived()


def _stepped(records: list[tuple[int, bytes]], share: float, step_s: float) -> bytes:
    at = round(len(records) * share)
    return pcap(
        [(time + round(step_s * 1e9) * (index >= at), frame) for index, (time, frame) in enumerate(records)],
        nano=True,
    )


def _times(capture: callreplay.Capture) -> list[tuple[int, float]]:
    return [(call.start_ns, call.duration_s) for call in capture.calls]


@settings(max_examples=20, deadline=None, phases=UNSHRUNK)
@given(
    step_s=st.one_of(st.floats(1.5, 90_000), st.floats(-90_000, -0.3)),
    share=st.floats(0.1, 0.4),
    jitter_ms=st.sampled_from([0.0, 10.0, 40.0]),
    loss=st.sampled_from([0.0, 0.03]),
    calls=st.integers(1, 3),
    seed=st.integers(0, 50),
)
def test_a_clock_that_is_set_moves_nothing(
    step_s: float, share: float, jitter_ms: float, loss: float, calls: int, seed: int
) -> None:
    records = sorted(
        record
        for host in range(calls)
        for record in _records(_call(12.0, jitter_ms, loss, seed + 2 * host, host))
    )
    with callreplay.open(pcap(records, nano=True)) as plain:
        wanted = _times(plain)
    with callreplay.open(_stepped(records, share, step_s)) as capture:
        found = _times(capture)
        assert any("clock was set" in text for text in capture.warnings)
    assert len(found) == len(wanted)
    for (start, length), (start_wanted, length_wanted) in zip(found, wanted, strict=True):
        assert abs(start - start_wanted) <= 25e6
        assert length == pytest.approx(length_wanted, abs=0.05)


def test_a_clock_that_was_not_set_yet_takes_the_later_time() -> None:
    records = _records(_call(10.0, 0.0, 0.0, 1))
    early = records[0][0] - 30 * 10**9  # the clock of a recorder without a battery begins in 1970
    with callreplay.open(
        _stepped([(time - early, frame) for time, frame in records], 0.4, early * 1e-9)
    ) as capture:
        (call,) = capture.calls
        assert abs(call.start_ns - records[0][0]) < 100_000_000
        assert call.duration_s == pytest.approx(10.0, abs=0.05)


def test_both_on_hold_is_no_step() -> None:
    """Their clocks stand, but one stops and goes on a tenth of a second after the other."""
    call = Call.between()
    for direction, stop, resume in ((call.caller, 4.0, 60.0), (call.called, 4.1, 60.25)):
        direction.talk(stop).advance(resume - stop, timestamp_runs=False).talk(5)
    with callreplay.open(pcap(_records(call.arrived()), nano=True)) as capture:
        assert not any("clock was set" in text for text in capture.warnings)
        assert capture.calls[0].duration_s == pytest.approx(65, abs=0.3)


def test_one_sender_on_hold_is_no_step() -> None:
    call = Call.between()
    call.caller.talk(4).advance(600, timestamp_runs=False).talk(4)
    with callreplay.open(pcap(_records(call.arrived()), nano=True)) as capture:
        assert not any("clock was set" in text for text in capture.warnings)
        assert capture.calls[0].duration_s == pytest.approx(608, abs=0.3)


def test_two_halves_in_the_wrong_order_are_no_step() -> None:
    records = _records(_call(10.0, 5.0, 0.0, 3))
    half = len(records) // 2
    with callreplay.open(pcap(records[half:] + records[:half], nano=True)) as capture:
        assert not any("clock was set" in text for text in capture.warnings)
        assert capture.calls[0].duration_s == pytest.approx(10.0, abs=0.1)


def test_a_gap_of_the_capture_is_no_step() -> None:
    """The capture stood still while both went on: numbers are missing."""
    records = _records(_call(20.0, 5.0, 0.0, 4))
    kept = [record for record in records if not 5e9 < record[0] - records[0][0] < 9e9]
    with callreplay.open(pcap(kept, nano=True)) as capture:
        assert not any("clock was set" in text for text in capture.warnings)
        assert capture.calls[0].duration_s == pytest.approx(20.0, abs=0.1)
        assert np.any(capture.calls[0].caller.columns.gaps["reason"] == 6)
