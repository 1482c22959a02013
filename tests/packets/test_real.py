"""Real captures: packets per stream and signalling messages are those that tshark finds."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from callreplay import packets

VECTORS = Path(
    os.environ.get("CALLREPLAY_VECTORS", Path(__file__).resolve().parents[3] / "shared" / "vectors")
)
SIP = [
    "SIP_DTMF2.cap", "codec-negotiation.pcap", "register-invite-reinvite-bye.pcap", "rtp-protocol.pcap",
    "sccp_hw_conf_register.pcapng", "sip-rtp-g711.pcap", "sip-rtp-g729a.pcap", "skinny.pcap",
]  # fmt: skip


def _vector(name: str) -> Path:
    path = VECTORS / name
    missing = f"no {name} in CALLREPLAY_VECTORS" if not path.exists() else ""
    if not missing and not shutil.which("tshark"):
        missing = "no tshark"
    if missing:
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    return path


def _tshark(path: Path, keep: str, *fields: str) -> list[list[str]]:
    """The fields of the frames that pass the filter ``keep``, a list of columns for each."""
    command = ["tshark", "-n", "-r", str(path), "--enable-heuristic", "rtp_udp", "-Y", keep, "-T", "fields"]
    for name in fields:
        command += ["-e", name]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [line.split("\t") for line in out.splitlines()]


@pytest.mark.parametrize("name", SIP)
def test_packets_of_each_stream_equal_tsharks(name: str) -> None:
    path = _vector(f"sip/{name}")
    rows = _tshark(
        path, "rtp && rtp.version == 2", "ip.src", "udp.srcport", "ip.dst", "udp.dstport", "rtp.ssrc"
    )
    expected = Counter(
        (source, int(sport), destination, int(dport), int(ssrc, 16))
        for source, sport, destination, dport, ssrc in rows
    )
    found = packets.scan(packets.open_buffer(path))
    got = {
        (s.flow.source, s.flow.source_port, s.flow.destination, s.flow.destination_port, s.ssrc): s.packets
        for s in found.streams
    }
    # A lone packet is no stream to us (RFC 3550 A.1 asks for two in sequence).
    assert got == {key: count for key, count in expected.items() if count > 1}


@pytest.mark.parametrize("name", SIP)
def test_messages_equal_tsharks(name: str) -> None:
    path = _vector(f"sip/{name}")
    found = Counter(message.protocol for message in packets.scan(packets.open_buffer(path)).messages)
    methods = _tshark(path, "sip", "sip.Request-Line", "sip.Status-Line")
    sip = sum(len(cell.split(",SIP/2.0")) if cell else 0 for row in methods for cell in row)
    skinny = sum(
        len(row[0].split(",")) for row in _tshark(path, "skinny", "skinny.messageId") if row and row[0]
    )
    assert (found["sip"], found["skinny"]) == (sip, skinny)


@pytest.mark.parametrize(
    "name",
    ["rtpdump/bark.rtp", "rtpdump/voice.rtpdump", "two-leg/call1_alaw.a.rtp", "two-leg/call1_alaw.o.rtp",
     "two-leg/call1_g729.a.rtp", "two-leg/call1_g729.o.rtp", "two-leg/call1_ulaw.a.rtp", "two-leg/call1_ulaw.o.rtp",
     "two-leg/dups.a.rtp", "two-leg/lost.o.rtp"],
)  # fmt: skip
def test_every_record_of_a_dump_is_accounted_for(name: str) -> None:
    found = packets.scan(packets.open_buffer(_vector(name)))
    counts = found.counters
    assert counts["records"] == counts["rtp"] + counts.get("rtcp", 0) + counts.get("non_rtp_udp", 0)
    assert sum(stream.packets for stream in found.streams) == counts["rtp"] > 0
    assert not found.truncated
