"""What RTP says of each codec: names, static payload types, clock and sample rates, and octets to media time.

Clock rate (RTP ticks per second) and sample rate (audio samples per second) are two fields, everywhere: G.722 ticks
at 8000 and sounds at 16000. Sources: RFC 3551, RFC 3389, RFC 4733, RFC 7587, RFC 4867.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from callreplay.deferred import dataclass

__all__ = [
    "BY_NAME",
    "STATIC",
    "STEREO",
    "Codec",
    "delay_ns",
    "parse_rtpmap",
    "payload_octets",
    "payload_ticks",
]


@dataclass(frozen=True, slots=True)
class Codec:
    """A codec as negotiated: ``PCMU/8000``.

    ``name`` is the RTP encoding name in upper case; ``clock_rate_hz`` ticks per second of RTP timestamps;
    ``sample_rate_hz`` samples per second of the decoded audio; ``channels`` audio channels in the payload;
    ``kind`` is ``audio``, ``noise`` (RFC 3389), ``event`` (RFC 4733), ``redundant`` (RFC 2198) or ``other``;
    ``fmtp`` the format parameters of the SDP, as written.
    """

    name: str
    clock_rate_hz: int
    sample_rate_hz: int
    channels: int = 1
    kind: str = "audio"
    fmtp: str = ""

    def __str__(self) -> str:
        channels = f"/{self.channels}" if self.channels > 1 else ""
        return f"{self.name}/{self.clock_rate_hz}{channels}"


def _codec(name: str, clock: int, sample: int | None = None, kind: str = "audio", channels: int = 1) -> Codec:
    return Codec(name, clock, sample or clock, channels, kind)


STATIC: Final[dict[int, Codec]] = {
    0: _codec("PCMU", 8000),
    2: _codec("G726-32", 8000),
    3: _codec("GSM", 8000),
    4: _codec("G723", 8000),
    8: _codec("PCMA", 8000),
    9: _codec("G722", 8000, 16000),
    10: _codec("L16", 44100, channels=2),
    11: _codec("L16", 44100),
    13: _codec("CN", 8000, kind="noise"),
    18: _codec("G729", 8000),
    19: _codec("CN", 8000, kind="noise"),
}
"""Payload types fixed by RFC 3551 that carry telephone audio (2 and 19 are retired there and still met)."""

BY_NAME: Final[dict[str, Codec]] = {
    codec.name: codec
    for codec in (
        *STATIC.values(),
        _codec("L16", 8000),
        _codec("G726-16", 8000),
        _codec("G726-24", 8000),
        _codec("G726-32", 8000),
        _codec("G726-40", 8000),
        _codec("AAL2-G726-16", 8000),
        _codec("AAL2-G726-24", 8000),
        _codec("AAL2-G726-32", 8000),
        _codec("AAL2-G726-40", 8000),
        _codec("ILBC", 8000),
        _codec("SPEEX", 8000),
        _codec("AMR", 8000),
        _codec("AMR-WB", 16000),
        _codec("OPUS", 48000),
        _codec("TELEPHONE-EVENT", 8000, kind="event"),
        _codec("TONE", 8000, kind="other"),
        _codec("RED", 8000, kind="redundant"),
        _codec("CN", 8000, kind="noise"),
    )
}
"""Known encoding names (upper case), each with its usual clock rate."""


def parse_rtpmap(encoding: str, fmtp: str = "") -> Codec:
    """The codec of an ``a=rtpmap`` value such as ``opus/48000/2``; unknown names become kind ``other``.

    Raises ValueError if the clock rate or the channel count is not a positive integer.
    """
    name, _, rest = encoding.strip().partition("/")
    rate_text, _, channels_text = rest.partition("/")
    known = BY_NAME.get(name.upper())
    rate = int(rate_text) if rate_text else (known.clock_rate_hz if known else 8000)
    channels = int(channels_text) if channels_text else 1
    if not 0 < rate <= 384_000 or not 0 < channels <= 255:
        raise ValueError(f"rtpmap {encoding!r}: rate or channels out of range")
    if known is None:
        return Codec(name.upper(), rate, rate, channels, "other", fmtp)
    sample = 16000 if known.name == "G722" else rate
    if known.name not in STEREO:
        channels = 1
    if channels > _MOST_CHANNELS:
        return Codec(known.name, rate, sample, channels, "other", fmtp)
    return Codec(known.name, rate, sample, channels, known.kind, fmtp)


STEREO: Final = frozenset({"PCMU", "PCMA", "L16"})
"""Codecs whose payloads may hold several channels, interleaved sample by sample; of others one is decoded."""
_MOST_CHANNELS: Final = 8
_TICK_PER_OCTET: Final = frozenset({"PCMU", "PCMA", "G722"})


def payload_ticks(codec: Codec, size: NDArray[np.integer]) -> NDArray[np.int64]:
    """Media time of payloads of ``size`` octets, in RTP ticks; 0 where the length alone does not tell.

    G.729: 80 ticks for each 10 octets; a trailing 2-octet SID stands for one more frame of 80. Opus, AMR, Speex and
    G.723.1 give 0: their frames must be parsed.
    """
    octets = np.asarray(size, dtype=np.int64)
    ticks = np.zeros_like(octets)
    if codec.name in _TICK_PER_OCTET:
        ticks = octets // codec.channels
    elif codec.name == "L16":
        ticks = octets // (2 * codec.channels)
    elif codec.name == "G729":
        ticks = (octets // 10 + (octets % 10 == 2)) * 80
    elif codec.name == "GSM":
        ticks = octets // 33 * 160
    elif codec.name == "ILBC":
        ticks = np.where(octets % 50 == 0, octets // 50 * 240, octets // 38 * 160).astype(np.int64)
    elif codec.name.startswith(("G726-", "AAL2-G726-")):
        ticks = octets * 8 // (int(codec.name.rsplit("-", 1)[1]) // 8)
    return ticks


def payload_octets(codec: Codec, ticks: int) -> int:
    """Octets of payload that last ``ticks``, 0 where no length does or the codec's frames must be parsed."""
    octets = 0
    if codec.name in _TICK_PER_OCTET:
        octets = ticks * codec.channels
    elif codec.name == "L16":
        octets = 2 * codec.channels * ticks
    elif codec.name == "G729":
        octets = ticks // 80 * 10
    elif codec.name == "GSM":
        octets = ticks // 160 * 33
    elif codec.name == "ILBC":
        octets = ticks // 240 * 50 if ticks % 240 == 0 else ticks // 160 * 38
    elif codec.name.startswith(("G726-", "AAL2-G726-")):
        octets = ticks * (int(codec.name.rsplit("-", 1)[1]) // 8) // 8
    return octets if octets and int(payload_ticks(codec, np.array([octets]))[0]) == ticks else 0


_DELAY_MS: Final = {
    "G722": 1.375,  # 22 samples of its two filter banks
    "G729": 4.89,  # 5 ms of look-ahead, less what the postfilter makes of it: measured
    "OPUS": 6.5,  # RFC 7845's usual pre-skip: 312 samples at 48000
    "AMR": 5.0,  # look-ahead of a subframe, TS 26.090
    "AMR-WB": 5.94,  # look-ahead and the filters to 12.8 kHz and back, TS 26.190
    "G723": 7.5,  # look-ahead of a subframe
    "SPEEX": 10.0,  # 30 ms of algorithmic delay for frames of 20 ms
}


def delay_ns(codec: Codec, packet_ticks: int = 0) -> int:
    """How much later a sound stands in decoded audio than it was spoken, beyond the packet that holds it, in ns.

    That is the codec's look-ahead and its filters. ``packet_ticks`` tells the modes of iLBC apart (RFC 3951).
    """
    if codec.name == "ILBC":
        return 10_000_000 if packet_ticks % 240 == 0 and packet_ticks else 5_000_000
    delay_ms = _DELAY_MS.get(codec.name)
    return round(delay_ms * 1e6) if delay_ms else 0
