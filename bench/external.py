"""An hour of a codec that PyAV decodes: how soon its audio begins, and what memory it takes.

Each call is decoded by a process of its own, in blocks to a wav that goes nowhere. ``first audio``: CPU time until the
first block over that of the whole. ``memory``: what the process grew by, its capture's pages apart, over the audio's
own size at the codec's rate. Needs the extra ``av``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bench._captures import leg, write_pcap

SECONDS: Final = 3600
_TAUGHT: Final = 10  # seconds that are encoded; the hour repeats them
_CODECS: Final = {"OPUS": "111=opus/48000/2", "GSM": "3=GSM/8000", "ILBC": "100=iLBC/8000;mode=20"}
_RATES: Final = {"OPUS": 48000, "GSM": 8000, "ILBC": 8000}

_PROGRAM: Final = """
import json, sys, time
import numpy as np
import callreplay
payload_type, _, name = sys.argv[2].partition("=")

def anonymous():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))

with callreplay.open(sys.argv[1], codecs={int(payload_type): name}) as capture:
    (call,) = capture.calls
    import av
    started, before, most = time.process_time(), anonymous(), 0
    blocks = call.stream("wav", rate=8000)
    size = len(next(blocks))  # a MiB: a minute
    first = time.process_time() - started
    for number, block in enumerate(blocks):
        size += len(block)
        if number % 16 == 0:
            most = max(most, anonymous())
    print(json.dumps({"first": first, "whole": time.process_time() - started, "grown": most - before,
                      "undecoded": call.undecoded, "size": size}))
"""


def opus(seconds: int) -> NDArray[np.uint8]:
    """Packets of 20 ms and 80 octets, of something that sounds."""
    import av

    rate = 48000
    time = np.arange(seconds * rate) / rate
    pitch = 2 * np.pi * np.cumsum(140 + 40 * np.sin(2 * np.pi * 0.7 * time)) / rate
    sound = sum(np.sin(k * pitch) / k for k in range(1, 12)) * (np.sin(2 * np.pi * 1.5 * time) > -0.5)
    pcm = np.asarray(sound * 5000, np.int16)
    context: Any = av.CodecContext.create("libopus", "w")
    context.sample_rate, context.layout, context.format, context.bit_rate = rate, "mono", "s16", 32000
    context.options = {"vbr": "off"}
    packets = []
    for start in range(0, len(pcm), 960):
        frame = av.AudioFrame.from_ndarray(pcm[None, start : start + 960], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
        packets += [bytes(packet) for packet in context.encode(frame)]
    return np.frombuffer(b"".join(packet for packet in packets if len(packet) == 80), np.uint8)


def write(path: Path, codec: str, seconds: int) -> None:
    """A capture of one leg; what is encoded is repeated. GSM and iLBC take nearly any octets."""
    octets = {"OPUS": 80, "GSM": 33, "ILBC": 38}[codec]
    taught = (
        opus(_TAUGHT)
        if codec == "OPUS"
        else np.random.default_rng(1).integers(0, 256, 500 * octets, np.uint8)
    )
    if codec == "GSM":
        taught[::octets] = taught[::octets] & 15 | 0xD0  # its magic
    write_pcap(path, leg(seconds, 0, codec, payload=np.resize(taught, seconds * 50 * octets)))


def measure(path: Path, codec: str) -> dict[str, Any]:
    """What a process tells that decodes the capture."""
    command = [sys.executable, "-c", _PROGRAM, str(path), _CODECS[codec]]
    found: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return found


def rows() -> list[dict[str, Any]]:
    """Two rows of each codec."""
    made = []
    with tempfile.TemporaryDirectory() as folder:
        for codec, rate in _RATES.items():
            path = Path(folder) / f"{codec}.pcap"
            write(path, codec, SECONDS)
            found = measure(path, codec)
            assert found["undecoded"] == [], found
            made += [
                {
                    "name": f"an hour of {codec}: first audio, of the whole",
                    "CPU s": found["first"],
                    "whole CPU s": found["whole"],
                    "ratio": found["first"] / found["whole"],
                    "bar": 0.03,
                    "bar_kind": "at_most",
                },
                {
                    "name": f"an hour of {codec}: memory, of its audio",
                    "MiB": found["grown"] / 2**20,
                    "ratio": found["grown"] / (2 * rate * SECONDS),
                    "bar": 0.2 if codec == "OPUS" else 0.5,
                    "bar_kind": "at_most",
                },
            ]
    return made
