"""The bars of the timeline, on the audio: bursts said at known times are heard at those times.

Each leg says a burst of 5 ms about once a second, G.711; the network delays, loses and disorders the packets; the mix
is searched for the bursts. Truth is the time of sending plus the network's smallest delay; where RTCP sender reports
are captured the difference of the two networks' delays is no part of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.captures import pcap, rtcp_sr, rtp, udp
from tests.scenario.call import Call, Direction, Network, Packet

import callreplay

_BURST = np.resize(np.array([0x80, 0x00], np.uint8), 40)
_NS_PER_TICK = 125_000
_DELAYS_MS = (20.0, 50.0)


@dataclass(slots=True)
class Side:
    """One direction: what was sent, what arrived, and the ticks at which its bursts begin."""

    direction: Direction
    arrived: list[Packet]
    bursts: list[int]


def _speech(seconds: float, random: np.random.Generator) -> tuple[bytes, list[int]]:
    octets, starts, at = np.full(round(seconds * 8000), 0xFF, np.uint8), [], 0.3
    while at < seconds - 0.3:
        starts.append(round(at * 8000))
        octets[starts[-1] : starts[-1] + len(_BURST)] = _BURST
        at += 0.7 + 0.6 * random.random()
    return octets.tobytes(), starts


def _say(
    direction: Direction,
    seconds: float,
    ptime_ms: int,
    delay_ms: float,
    jitter: str,
    loss: float,
    seed: int,
    *,
    stretch_s: float = 0.0,
    pause_s: float = 0.0,
) -> Side:
    """Speech of ``seconds``, in stretches with pauses between them if so asked, through a network."""
    random = np.random.default_rng(seed)
    ticks = ptime_ms * 8
    speech, bursts = _speech(seconds, random)
    direction.octets = direction.ticks_per_packet = ticks
    direction.payload = lambda number, octets: speech[number * octets : (number + 1) * octets]
    for _ in range(round(seconds / (stretch_s or seconds))):
        direction.talk(stretch_s or seconds).advance(pause_s)
    network = Network(delay_ms, 120 if jitter == "even" else 0, loss, seed=seed)
    arrived = network.carry(direction.packets, direction.start_ns)
    if jitter == "one-sided":
        for packet in arrived:
            packet.arrival_ns += round(min(120.0, random.exponential(25)) * 1e6)
    return Side(direction, arrived, bursts)


def _record(packet: Packet, body: bytes, arrival_ns: int, rtcp: int = 0) -> tuple[int, bytes]:
    flow = packet.flow
    return arrival_ns, udp(
        flow.source, flow.source_port + rtcp, flow.destination, flow.destination_port + rtcp, body
    )


def _capture(sides: list[Side], reports: bool) -> bytes:
    records = [
        _record(p, rtp(p.sequence, p.timestamp, p.ssrc, 0, p.payload), p.arrival_ns)
        for side in sides
        for p in side.arrived
    ]
    if reports:
        for side in sides:
            packets = side.direction.packets
            for p in packets[:: len(packets) // 8]:
                records.append(_record(p, rtcp_sr(p.ssrc, p.sent_ns, p.timestamp), p.truth_ns, 1))
    return pcap(sorted(records), nano=True)


def _errors_ms(
    side: Side, channel: NDArray[np.int16], start_ns: int, moved_ns: int = 0
) -> NDArray[np.float64]:
    """Where each burst is heard minus where it was said. Bursts beside a lost packet are left to concealment."""
    loud = np.flatnonzero(np.abs(channel.astype(np.int32)) > 20_000)
    heard = loud[np.diff(loud, prepend=-1000) > 100] * _NS_PER_TICK + start_ns
    packets, ticks = side.direction.packets, side.direction.ticks_per_packet
    there = {packet.number for packet in side.arrived}
    errors = []
    for start in side.bursts:
        first, last = start // ticks, (start + len(_BURST)) // ticks
        if any(packets[index].number not in there for index in range(max(0, first - 1), last + 1)):
            continue
        tick_ns = _NS_PER_TICK / (1 + side.direction.ppm * 1e-6)
        said = packets[first].truth_ns + start % ticks * tick_ns + moved_ns
        errors.append(heard[np.argmin(np.abs(heard - said))] - said)
    assert len(errors) > len(side.bursts) // 2
    return np.array(errors) * 1e-6


def _duration_error_ms(call: callreplay.Call, sides: list[Side], moved_ns: int = 0) -> float:
    """The call's duration minus that from the first to the last packet that came through."""
    begins, ends = [], []
    for side, shift in zip(sides, (0, moved_ns), strict=True):
        times = [packet.truth_ns for packet in side.arrived]
        begins.append(min(times) + shift)
        ends.append(max(times) + side.direction.ticks_per_packet * _NS_PER_TICK + shift)
    return call.duration_s * 1e3 - (max(ends) - min(begins)) * 1e-6


# Seed, packet time, jitter, start of the called's leg, sender reports; between them every pair of values. The odd ones
# begin just below the wrap of sequence and timestamp.
_CASES = [
    (0, 10, "even", 0.05, False),
    (1, 20, "even", 12.34, True),
    (2, 30, "one-sided", 0.7, False),
    (3, 60, "one-sided", 0.05, True),
    (4, 20, "one-sided", 12.34, False),
    (5, 60, "even", 0.7, False),
    (6, 10, "one-sided", 0.7, True),
    (7, 30, "even", 0.05, True),
    (8, 20, "none", 0.7, False),
]


@pytest.mark.parametrize(("seed", "ptime_ms", "jitter", "late_s", "reports"), _CASES)
def test_every_burst_is_heard_within_5_ms(
    seed: int, ptime_ms: int, jitter: str, late_s: float, reports: bool
) -> None:
    """Jitter of +-60 ms (evenly, or one-sided with a tail), a tenth of the packets lost."""
    scene = Call.between()
    scene.called.start_ns += round(late_s * 1e9)
    if seed % 2:
        for direction in (scene.caller, scene.called):
            direction.timestamp, direction.sequence = (1 << 32) - 8000 * 4, 65536 - 150
    sides = [
        _say(direction, 30.0, ptime_ms, delay, jitter, 0.1, 2 * seed + number)
        for number, (direction, delay) in enumerate(
            zip((scene.caller, scene.called), _DELAYS_MS, strict=True)
        )
    ]
    (call,) = callreplay.open(_capture(sides, reports)).calls
    if call.caller.columns.spans[0].ssrc != scene.caller.ssrc:  # the jitter let the called be heard first
        sides.reverse()
    report = call.report()
    assert any("sender reports moved" in text for text in report["warnings"]) == reports
    moved_ns = (
        round((sides[0].direction is scene.caller or -1) * (_DELAYS_MS[0] - _DELAYS_MS[1]) * 1e6) * reports
    )
    mixed = call.mix("stereo")
    for number, side in enumerate(sides):
        errors = _errors_ms(side, mixed[:, number], call.start_ns, moved_ns * number)
        assert np.abs(errors).max() <= 5.0
    assert abs(_duration_error_ms(call, sides, moved_ns)) <= min(
        ptime_ms, 10
    )  # 0.1 in fact: one frame is the bar
    assert len(mixed) == pytest.approx(call.duration_s * 8000, abs=1)
    for side, leg in zip(sides, report["legs"], strict=True):
        assert leg["statistics"]["lost"] > 0
        assert leg["statistics"]["packets"] == len(side.arrived)


@pytest.mark.parametrize(("ppm", "jitter"), [(300.0, "even"), (-300.0, "one-sided")])
def test_an_hour_of_drift_ends_within_10_ms(ppm: float, jitter: str) -> None:
    """One leg's clock is 300 ppm wrong: uncorrected, its last words would stand 1080 ms from their place.

    It speaks 18 of every 60 s, as people do, which leaves the clock less to be known by than unbroken speech would.
    """
    scene = Call.between()
    scene.caller.ppm = ppm
    scene.called.start_ns += 700_000_000
    sides = [
        _say(scene.caller, 1080.0, 60, 20.0, jitter, 0.1, 1, stretch_s=18.0, pause_s=42.0),
        _say(scene.called, 60.0, 20, 50.0, jitter, 0.1, 2),
    ]
    (call,) = callreplay.open(_capture(sides, reports=False)).calls
    mixed = call.mix("stereo")
    errors = _errors_ms(sides[0], mixed[:, 0], call.start_ns)
    assert np.abs(errors[-20:]).max() <= 10.0
    assert np.abs(errors).max() <= 10.0
    assert np.abs(_errors_ms(sides[1], mixed[:, 1], call.start_ns)).max() <= 5.0
    assert call.duration_s > 3500
    assert abs(_duration_error_ms(call, sides)) <= 20
    assert call.report()["legs"][0]["statistics"]["drift_ppm"] == pytest.approx(ppm, abs=2)


def _perfect(seconds: float, pause_s: float = 0.0) -> list[tuple[int, bytes]]:
    """Two legs without jitter, half a packet apart, of noise; a pause in the middle that the timestamps show."""
    random, records = np.random.default_rng(3), []
    packets = round(seconds * 50)
    for ssrc, ends, late_ns in (
        (1, ("10.0.0.1", 4000, "10.0.0.2", 5000), 0),
        (2, ("10.0.0.2", 5000, "10.0.0.1", 4000), 7_000_000),
    ):
        for i in range(packets):
            at = i + round(pause_s * 50) * (i >= packets // 2)
            body = rtp(i, at * 160, ssrc, 0, random.integers(0, 128, 160, dtype=np.uint8).tobytes())
            records.append((1_700_000_000_000_000_000 + at * 20_000_000 + late_ns, udp(*ends, body)))
    return sorted(records)


def _placed(records: list[tuple[int, bytes]]) -> tuple[list[int], list[float], list[int], NDArray[np.int16]]:
    """Anchor, jitter and late packets of each leg, and the mix."""
    with callreplay.open(pcap(records)) as capture:
        (call,) = capture.calls
        anchors = [span.anchor_ns for leg in call.legs for span in leg.columns.spans]
        statistics = [leg.statistics for leg in call.legs]
        return anchors, [s.jitter_ms for s in statistics], [s.late for s in statistics], call.mix()


@pytest.mark.parametrize("legs", [1, 2])
@pytest.mark.parametrize("pause_s", [0.0, 30.0])
@pytest.mark.parametrize("wrong_ns", [0, 4_000_000_000 * 10**9])
def test_a_record_of_another_day_moves_nothing(legs: int, pause_s: float, wrong_ns: int) -> None:
    """First and last ones, those about the pause, and some between."""
    records = _perfect(4.0, pause_s)[:: 3 - legs]
    anchors, jitter, late, audio = _placed(records)
    count = len(records)
    for damaged in (0, 1, 2, 37, 38, *range(count // 2 - 3, count // 2 + 3), count - 2, count - 1):
        wild = [(wrong_ns if i == damaged else time, frame) for i, (time, frame) in enumerate(records)]
        found = _placed(wild)
        assert found[0] == anchors, damaged
        assert found[1] == pytest.approx(jitter, abs=1e-5)
        assert found[2] == late
        np.testing.assert_array_equal(found[3], audio)
