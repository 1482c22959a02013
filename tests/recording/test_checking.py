"""What `record --check` says of what it heard."""

from __future__ import annotations

import os
import threading
from dataclasses import replace

import pytest
from tests.importing.test_rotation import call
from tests.recording.test_record import send, wire

from callreplay.recording.checking import Heard, advice, check

FINE = Heard("eth1", 10, packets=9000, messages=40, streams=20, rtp=8000)


@pytest.mark.parametrize(
    ("heard", "said"),
    [
        (FINE, "no fault found"),
        (Heard("eth1", 10), "nothing arrives"),
        (replace(FINE, drops=5), "dropped 5 packets"),
        (replace(FINE, messages=0), "no signalling: neither"),
        (replace(FINE, messages=0, encrypted=7), "no signalling in clear: 7 segments"),
        (replace(FINE, streams=0, rtp=0), "no RTP"),
        (replace(FINE, alone=20), "20 of 20 streams have no opposite direction"),
        (replace(FINE, twice=4000), "4,000 of 8,000 RTP packets came twice"),
        (replace(FINE, cut=3), "3 frames are cut short"),
        (replace(FINE, large=3), "ethtool -K eth1 gro off"),
    ],
)
def test_each_fault_has_its_advice(heard: Heard, said: str) -> None:
    (line,) = advice(heard)
    assert said in line


@pytest.mark.skipif(os.geteuid() != 0, reason="capturing needs root")
def test_a_wire_with_one_direction_that_comes_twice() -> None:
    """Signalling, one direction of RTP, each packet two times, and a frame that a card has put together."""
    records = sorted(call(1, 0, 1))
    wanted = [
        record for record in records if b"SIP/2.0" in record[1] or record[1][26:30] == bytes([10, 0, 0, 1])
    ]
    with wire() as (namespace, interface):
        lines: list[str] = []
        thread = threading.Thread(target=lambda: lines.extend(check(interface, 4.0)))
        thread.start()
        thread.join(0.5)
        send(namespace, "crsend", [record for each in wanted for record in (each, each)])
        thread.join()
    assert any("no opposite direction" in line for line in lines), lines
    assert any("came twice" in line for line in lines), lines
    assert not any("no signalling" in line or "no RTP" in line for line in lines), lines
