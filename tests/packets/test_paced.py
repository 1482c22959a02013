"""Streams no two packets of which stand in sequence in the file: RTP all the same, known by their pace."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from tests import captures as c

import callreplay
from callreplay import packets
from callreplay.errors import EncryptedError

T = 1_700_000_000_000_000_000
A, B = "10.0.0.1", "10.0.0.2"
Records = list[tuple[int, bytes]]


def _leg(
    here: str, there: str, ssrc: int, count: int = 100, ticks: int = 160, first: int = 65_500
) -> Records:
    """20 ms a packet of noise in PCMU; numbers and timestamps wrap on the way."""
    octets = np.random.default_rng(ssrc).integers(0x20, 0x60, (count, 160), dtype=np.uint8)
    ends = (4000, there, 5000) if here == A else (5000, there, 4000)
    start = 2**32 - 40 * ticks
    return [
        (
            T + i * 20_000_000,
            c.udp(
                here,
                *ends,
                c.rtp(
                    (first + i) & 0xFFFF, (start + i * ticks) & 0xFFFFFFFF, ssrc, payload=octets[i].tobytes()
                ),
            ),
        )
        for i in range(count)
    ]


def _shuffled(records: Records) -> Records:
    return random.Random(5).sample(records, len(records))


def _blocks(size: int) -> Callable[[Records], Records]:
    return lambda rows: [row for i in range(0, len(rows), size) for row in rows[i : i + size][::-1]]


def _queues(count: int) -> Callable[[Records], Records]:
    return lambda rows: [row for i in range(count) for row in rows[i::count]]


ORDERS: dict[str, Callable[[Records], Records]] = {
    "two_taps": _queues(2),
    "three_queues": _queues(3),
    "blocks_of_5": _blocks(5),
    "blocks_of_10": _blocks(10),
    "blocks_of_20": _blocks(20),
    "reversed": lambda rows: rows[::-1],
    "shuffled": _shuffled,
}


def _mix(records: Records) -> tuple[list[int], NDArray[np.int16]]:
    """Packets of each leg and the audio of the only call."""
    with callreplay.open(c.pcap(records)) as capture:
        (call,) = capture.calls
        return [leg.statistics.packets for leg in call.legs], call.mix()


@pytest.mark.parametrize("count", [100, 20_000])
@pytest.mark.parametrize("name", ORDERS)
def test_any_order_of_the_file_is_the_same_call(name: str, count: int) -> None:
    """20,000 packets: further apart in the file than numbers of 16 bits can tell."""
    caller, called = _leg(A, B, 1, count), _leg(B, A, 2, count)
    received, audio = _mix(sorted(caller + called))
    found, heard = _mix(ORDERS[name](caller) + ORDERS[name](called))
    assert found == received == [count, count]
    np.testing.assert_array_equal(heard, audio)


@pytest.mark.parametrize("share", [2, 3])
def test_a_leg_of_which_one_of_several_links_was_tapped(share: int) -> None:
    caller, called = _leg(A, B, 1), _leg(B, A, 2)
    found, audio = _mix(sorted(caller[::share] + called))
    assert found == [len(caller[::share]), 100]
    whole = _mix(sorted(caller + called))[1]
    np.testing.assert_array_equal(audio[:, 1], whole[:, 1])
    for packet in range(0, 99, share):
        heard = slice(
            packet * 160 + 40, packet * 160 + 160
        )  # behind the fade from what stands in for the one before
        np.testing.assert_array_equal(audio[heard, 0], whole[heard, 0])


@pytest.mark.parametrize("count", [7, 8])
def test_it_takes_eight_packets(count: int) -> None:
    found = packets.scan(packets.open_buffer(c.pcap(_leg(A, B, 1, count)[::-1])))
    assert [stream.packets for stream in found.streams] == ([8] if count == 8 else [])


@pytest.mark.parametrize("ticks", [160, 240, 320, 441, 960, 1800])
def test_any_clock_of_rfc_3551(ticks: int) -> None:
    found = packets.scan(packets.open_buffer(c.pcap(_queues(2)(_leg(A, B, 1, 40, ticks)))))
    assert [stream.packets for stream in found.streams] == [40]


def test_pauses_losses_and_jitter() -> None:
    """Talk of one second, silence that is not sent, one packet in twenty lost, up to 15 ms late; every other seen."""
    generator = random.Random(7)
    rows: Records = []
    for i in range(0, 1000, 2):
        if i // 50 % 2 == 0 and generator.random() > 0.05:
            number = i // 100 * 50 + i % 50
            packet = c.udp(A, 4000, B, 5000, c.rtp(number, i * 160, 1))
            rows.append((T + i * 20_000_000 + generator.randrange(15_000_000), packet))
    found = packets.scan(packets.open_buffer(c.pcap(rows)))
    assert [stream.packets for stream in found.streams] == [len(rows)]


def test_forty_such_streams_on_one_flow() -> None:
    """More than a flow may have of streams that nothing has proven: they prove themselves one after another."""
    rows = [
        (T + i * 20_000_000, c.udp(A, 4000, B, 5000, c.rtp(i, i * 160, s)))
        for s in range(40)
        for i in range(0, 80, 2)
    ]
    found = packets.scan(packets.open_buffer(c.pcap(rows)))
    assert [stream.packets for stream in found.streams] == [40] * 40


@pytest.mark.parametrize("share", [2, 12, 50, 100])
@pytest.mark.parametrize("count", [8, 100])
def test_encryption_shows_in_them_too(share: int, count: int) -> None:
    """docs/encryption.md: also where few of the packets were captured."""
    for tag in (0, 10):
        generator = np.random.default_rng(share)
        rows = []
        for i in range(0, count * share, share):
            octets = generator.integers(0, 256 if tag else 128, 160 + tag, dtype=np.uint8).tobytes()
            rows.append((T + i * 20_000_000, c.udp(A, 4000, B, 5000, c.rtp(i, i * 160, 1, payload=octets))))
        with callreplay.open(c.pcap(_shuffled(rows))) as capture:
            (call,) = capture.calls
            assert call.caller.statistics.packets == count
            assert not any("encrypted" in warning for warning in call.warnings) or tag
            if tag:
                with pytest.raises(EncryptedError):
                    call.mix()
            else:
                assert call.mix().any()


def test_a_packet_of_another_day_among_them() -> None:
    rows = _leg(A, B, 1)[::-1]
    rows[50] = (0, rows[50][1])
    found = packets.scan(packets.open_buffer(c.pcap(rows)))
    assert [stream.packets for stream in found.streams] == [100]
