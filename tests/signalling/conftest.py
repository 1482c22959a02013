"""Real captures for the signalling room: messages as tshark, an independent reader, finds them."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from callreplay.model import Flow, Message

_FIELDS = (
    "frame.time_epoch", "ip.src", "ip.dst", "udp.srcport", "udp.dstport", "tcp.srcport", "tcp.dstport",
    "udp.payload", "tcp.payload", "eth.src", "eth.dst",
)  # fmt: skip


def vectors() -> Path:
    """Where the shared vectors are."""
    default = Path(__file__).resolve().parents[3] / "shared" / "vectors"
    return Path(os.environ.get("CALLREPLAY_VECTORS", default))


@cache
def _read(name: str) -> tuple[Message, ...]:
    path = vectors() / "sip" / name
    if not path.exists() or shutil.which("tshark") is None:
        reason = f"{path} or tshark is missing"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    command = ["tshark", "-r", str(path), "-Y", "sip || skinny", "-T", "fields"]
    for field in _FIELDS:
        command += ["-e", field]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    messages: list[Message] = []
    for line in output.splitlines():
        time, source, destination, usrc, udst, tsrc, tdst, upay, tpay, smac, dmac = line.split("\t")
        seconds, _, fraction = time.partition(".")
        arrival = int(seconds) * 10**9 + int(fraction.ljust(9, "0")[:9])
        flow = Flow(source, int(usrc or tsrc), destination, int(udst or tdst), smac, dmac)
        if upay:
            messages.append(Message("sip", arrival, flow, "udp", bytes.fromhex(upay)))
            continue
        data = bytes.fromhex(tpay)
        while len(data) >= 12:
            size = struct.unpack_from("<I", data)[0] + 8
            messages.append(Message("skinny", arrival, flow, "tcp", data[:size]))
            data = data[size:]
    return tuple(messages)


@pytest.fixture
def capture() -> Callable[[str], list[Message]]:
    """``capture(name)``: the signalling messages of ../shared/vectors/sip/``name``."""
    return lambda name: list(_read(name))
