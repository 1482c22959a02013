"""Rows by stream are the rows by arrival, moved."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from tests import captures as c

from callreplay.model import RtpColumns
from callreplay.packets import scan

T = 1_700_000_000_000_000_000


@pytest.mark.parametrize("streams", [1, 2, 7])
def test_rows_by_stream(streams: int) -> None:
    random = np.random.default_rng(streams)
    numbers = [0] * streams
    frames = []
    for at in range(600):
        which = at % streams if at < 2 * streams else int(random.integers(streams))
        numbers[which] += 1
        packet = c.rtp(numbers[which], numbers[which] * 160, 100 + which, payload=random.bytes(160))
        frames.append((T + at * 1_000_000, c.udp(f"10.0.0.{which + 1}", 4000, "10.0.1.1", 5000, packet)))
    data = np.frombuffer(c.pcap(frames), np.uint8)
    plain, moved = scan(data), scan(data, by_stream=True)
    assert len(plain.streams) == len(moved.streams) == streams
    for one, other in zip(plain.streams, moved.streams, strict=True):
        assert (one.ssrc, one.flow, one.packets) == (other.ssrc, other.flow, other.packets)
        assert isinstance(other.rows, slice)
        for field in dataclasses.fields(RtpColumns):
            rows, theirs = (
                getattr(plain.rtp, field.name)[one.rows],
                getattr(moved.rtp, field.name)[other.rows],
            )
            assert (rows == theirs).all(), field.name
            assert len(rows) == one.packets
