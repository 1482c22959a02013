"""Make the sample calls: ``python samples/make.py`` (from the project's root; needs espeak-ng and ffmpeg).

Two voices talk; each becomes a leg of RTP with SIP around it, then the network happens to it: jitter, loss and
reordering from a fixed seed. The captures in git are what this script wrote.
"""

from __future__ import annotations

import random
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.captures import Interface, event, pcap, pcapng, rtp, sdp, sip, udp  # noqa: E402

MS = 1_000_000
PACKET_MS = 20
CODECS = {"PCMU": (0, "mulaw", 8000, 160), "PCMA": (8, "alaw", 8000, 160), "G722": (9, "g722", 16000, 160)}
EVENTS = 101


@dataclass
class Party:
    """One end: its phone, its number and name, its voice."""

    number: str
    name: str
    address: str
    port: int
    voice: str
    ssrc: int

    @property
    def uri(self) -> str:
        return f"<sip:{self.number}@{self.address}>"


@dataclass
class Scene:
    """A call to make. ``lines``: who speaks (0 caller, 1 called) and what; ``digits``: seconds and DTMF digit."""

    name: str
    start_ns: int
    codec: str
    caller: Party
    called: Party
    lines: list[tuple[int, str]]
    digits: list[tuple[float, str]] = field(default_factory=list)
    loss: float = 0.01
    jitter_ms: float = 25
    seed: int = 1


def speak(text: str, voice: str, rate: int) -> bytes:
    """int16 PCM of the text."""
    wav = subprocess.run(
        ["espeak-ng", "-v", voice, "-s", "150", "--stdout", text], capture_output=True, check=True
    )
    command = ["ffmpeg", "-v", "error", "-i", "-", "-f", "s16le", "-ar", str(rate), "-ac", "1", "-"]
    return subprocess.run(command, input=wav.stdout, capture_output=True, check=True).stdout


def encode(pcm: bytes, codec: str) -> bytes:
    """RTP payload octets of a whole leg."""
    _, name, rate, _ = CODECS[codec]
    command = ["ffmpeg", "-v", "error", "-f", "s16le", "-ar", str(rate), "-ac", "1", "-i", "-"]
    command += ["-f", name, "-"] if name != "g722" else ["-c:a", "g722", "-f", "g722", "-"]
    return subprocess.run(command, input=pcm, capture_output=True, check=True).stdout


def dialogue(scene: Scene) -> tuple[list[bytes], float]:
    """The PCM of both legs on one timeline, and its length in seconds."""
    rate = CODECS[scene.codec][2]
    legs = [bytearray(), bytearray()]
    at = rate // 2
    for side, text in scene.lines:
        pcm = speak(text, (scene.caller, scene.called)[side].voice, rate)
        legs[side] += bytes(max(0, 2 * at - len(legs[side]))) + pcm
        at += len(pcm) // 2 + rate // 3
    return [bytes(leg) + bytes(2 * at - len(leg)) for leg in legs], at / rate


def media(scene: Scene, answer_ns: int) -> tuple[list[tuple[int, bytes]], int]:
    """Both legs as packets with their arrival times, and the time of the last."""
    legs, seconds = dialogue(scene)
    payload_type, _, _, octets = CODECS[scene.codec]
    dice = random.Random(scene.seed)
    records = []
    for side, pcm in enumerate(legs):
        here, there = (scene.caller, scene.called) if side == 0 else (scene.called, scene.caller)
        payload = encode(pcm, scene.codec)
        first_seq, first_ts = dice.randrange(65536), dice.randrange(2**32)
        sent = 0
        for index in range(len(payload) // octets):
            data = payload[index * octets : (index + 1) * octets]
            kind, ts, marker = payload_type, first_ts + index * octets, index == 0
            for second, digit in scene.digits if side == 0 else []:
                step = index - round(second * 1000 / PACKET_MS)
                if 0 <= step < 8:
                    code = "0123456789*#".index(digit)
                    data = event(code, (min(step, 5) + 1) * octets, end=step >= 5)
                    kind, ts, marker = EVENTS, first_ts + (index - step) * octets, step == 0
            packet = rtp(first_seq + sent, ts, here.ssrc, kind, data, marker)
            sent += 1
            if dice.random() < scene.loss:
                continue
            delay = 8 + abs(dice.gauss(0, scene.jitter_ms / 3))
            arrival = answer_ns + index * PACKET_MS * MS + int(delay * MS)
            records.append((arrival, udp(here.address, here.port, there.address, there.port, packet)))
    return records, answer_ns + int(seconds * 1e9)


def signalling(scene: Scene, answer_ns: int, end_ns: int) -> list[tuple[int, bytes]]:
    """INVITE, ringing, answer, ACK, BYE."""
    caller, called = scene.caller, scene.called
    payload_type, _, _, _ = CODECS[scene.codec]
    formats = {payload_type: f"{scene.codec}/8000", EVENTS: "telephone-event/8000"}
    call_id = f"{scene.name}@{caller.address}"
    offer, answer = (sdp(party.address, party.port, formats) for party in (caller, called))
    sender, to = f'"{caller.name}" {caller.uri};tag=c1', f'"{called.name}" {called.uri}'

    def message(
        at: int, from_caller: bool, start: str, cseq: str, body: str = "", tagged: bool = True
    ) -> tuple[int, bytes]:
        text = sip(
            start, call_id=call_id, sender=sender, to=to + (";tag=d2" if tagged else ""), cseq=cseq, body=body
        )
        here, there = (caller, called) if from_caller else (called, caller)
        return at, udp(here.address, 5060, there.address, 5060, text)

    request = f"sip:{called.number}@{called.address} SIP/2.0"
    return [
        message(scene.start_ns, True, f"INVITE {request}", "1 INVITE", offer, tagged=False),
        message(scene.start_ns + 40 * MS, False, "SIP/2.0 100 Trying", "1 INVITE", tagged=False),
        message(scene.start_ns + 180 * MS, False, "SIP/2.0 180 Ringing", "1 INVITE"),
        message(answer_ns - 15 * MS, False, "SIP/2.0 200 OK", "1 INVITE", answer),
        message(answer_ns - 5 * MS, True, f"ACK {request}", "1 ACK"),
        message(end_ns + 30 * MS, True, f"BYE {request}", "2 BYE"),
        message(end_ns + 45 * MS, False, "SIP/2.0 200 OK", "2 BYE"),
    ]


def records(scene: Scene) -> list[tuple[int, bytes]]:
    """The whole capture, in order of arrival."""
    answer_ns = scene.start_ns + 2_000 * MS
    packets, end_ns = media(scene, answer_ns)
    return sorted([*packets, *signalling(scene, answer_ns, end_ns)])


SCENES = [
    Scene(
        "reservation",
        1_767_688_200_000_000_000,
        "PCMU",
        Party("0721555010", "Ana Pop", "192.0.2.10", 16384, "en-gb+f3", 0x1A2B3C4D),
        Party("2001", "Front Desk", "192.0.2.20", 20480, "en-us+m3", 0x5E6F7081),
        [
            (1, "Good morning, Hotel Meridian, how may I help you?"),
            (0, "Hello. I would like to book a room for two nights."),
            (1, "Of course. Please press five to confirm that this call is recorded."),
            (0, "Just a moment. There."),
            (1, "Thank you. Your room is booked. Goodbye."),
        ],
        digits=[(13.4, "5")],
    ),
    Scene(
        "support",
        1_767_693_845_250_000_000,
        "PCMA",
        Party("81267", "Workshop", "198.51.100.7", 10000, "en-us+m1", 0x0BADF00D),
        Party("8666685394", "Support", "203.0.113.40", 12000, "en-gb+f2", 0x0DDBA11A),
        [
            (1, "Support desk, what seems to be the trouble?"),
            (0, "The line crackles, and every tenth word gets lost."),
            (1, "I hear it too. We will look at the network."),
        ],
        loss=0.06,
        jitter_ms=60,
        seed=2,
    ),
    Scene(
        "wideband",
        1_767_700_000_500_000_000,
        "G722",
        Party("301", "Studio", "192.0.2.31", 40000, "en-us+f4", 0x31415926),
        Party("302", "Control Room", "192.0.2.32", 40002, "en-gb+m2", 0x27182818),
        [
            (0, "Do you hear the difference? Six, seven, sixty six."),
            (1, "Crystal clear. This is wideband audio."),
        ],
        loss=0.005,
        seed=3,
    ),
]


def main() -> None:
    """Write every scene into this folder."""
    here = Path(__file__).resolve().parent
    for scene in SCENES[:2]:
        (here / f"{scene.name}.pcap").write_bytes(pcap(records(scene)))
    (here / "wideband.pcapng").write_bytes(pcapng(records(SCENES[2]), [Interface(resolution=9)]))


if __name__ == "__main__":
    main()
