"""Codecs beyond the engine's own, decoded through PyAV (extra ``av``).

Opus, GSM, iLBC, AMR, AMR-WB, G.723.1 and Speex. Each codec is a small recipe: how RTP payloads become the frames
that libavcodec takes, and how many samples each yields.
A span is decoded packet by packet in media order, as far as it is asked for, and placed by its timestamps; lost packets
stay silent. Only frames that an AMR payload itself marks as lost are concealed, by the decoder.

Sources of the payload formats: RFC 3551 (GSM, G.723.1), RFC 3952 (iLBC), RFC 4867 (AMR), RFC 5574 (Speex),
RFC 7587 (Opus).
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import chain
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from callreplay.codecs import Codec
from callreplay.deferred import dataclass
from callreplay.errors import UnsupportedError

__all__ = [
    "RECIPES",
    "available",
    "decode_payloads",
    "is_external",
    "missing_message",
    "stream_payloads",
    "version",
]

Pcm = NDArray[np.int16]
_READ_BYTES: Final = 4096  # that a demuxer reads ahead: two seconds of iLBC


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one codec is decoded: payloads in media order, taken as they are needed, to a PCM array each."""

    decode: Callable[[Codec, Iterable[bytes]], Iterator[Pcm]]


def available() -> bool:
    """Whether PyAV can be imported."""
    try:
        import av  # noqa: F401
    except ImportError:
        return False
    return True


def version() -> str:
    """Which PyAV it is; '' where it cannot be imported."""
    return _version() if available() else ""


@cache
def _version() -> str:
    # Half a millisecond, for every request that looks for what is cached.
    from importlib.metadata import version as version_of  # which takes some megabytes

    return f"av {version_of('av')}"


def is_external(codec: Codec) -> bool:
    """Whether the codec is decoded here and not by the native engine."""
    return codec.name in RECIPES


def missing_message(codec: Codec) -> str:
    """What the report says when the extra is missing."""
    return f"{codec} needs PyAV: pip install 'callreplay[av]'"


def _mono(frame: Any) -> Pcm:
    """A frame of any sample format as int16 mono."""
    data = frame.to_ndarray()
    channels = len(frame.layout.channels)
    if not frame.format.is_planar:
        data = data.reshape(-1, channels).T
    mixed = data[0] if channels == 1 else data.mean(axis=0)
    if np.issubdtype(data.dtype, np.floating):
        mixed = np.rint(np.clip(mixed * 32768.0, -32768, 32767))
    return np.ascontiguousarray(mixed, dtype=np.int16)


def _context(name: str, codec: Codec, extradata: bytes = b"") -> Any:
    import av

    context: Any = av.CodecContext.create(name, "r")
    context.sample_rate = codec.sample_rate_hz
    context.layout = "mono"
    if extradata:
        context.extradata = extradata
    return context


def _feed(context: Any, data: bytes) -> Pcm:
    """Decode one packet; data that the decoder refuses yields nothing."""
    import av

    try:
        frames = context.decode(av.Packet(data))
    except av.FFmpegError:
        return np.zeros(0, np.int16)
    return np.concatenate([_mono(frame) for frame in frames]) if frames else np.zeros(0, np.int16)


def _by_frames(name: str, split: Callable[[bytes], Iterable[bytes]]) -> Recipe:
    def decode(codec: Codec, payloads: Iterable[bytes]) -> Iterator[Pcm]:
        context = _context(name, codec)
        for payload in payloads:
            parts = [_feed(context, frame) for frame in split(payload)]
            yield np.concatenate(parts) if parts else np.zeros(0, np.int16)

    return Recipe(decode)


class _File:
    """A file that comes to be as it is read: a header, then the frames of payloads."""

    def __init__(self, frames: Iterator[tuple[bytes, int]]) -> None:
        self._frames, self._left = frames, b""
        self.samples: deque[int] = deque()
        """Of each payload that was read and not taken from here yet."""

    def read(self, size: int) -> bytes:
        """Some octets, ``size`` at most; none at the end."""
        while not self._left and self.next_payload():
            pass
        given, self._left = self._left[:size], self._left[size:]
        return given

    def next_payload(self) -> bool:
        """Take one more payload; False where there is none."""
        octets, samples = next(self._frames, (b"", -1))
        if samples < 0:
            return False
        self._left += octets
        self.samples.append(samples)
        return True

    @property
    def is_empty(self) -> bool:
        """Whether no octet waits to be read."""
        return not self._left

    def prepend(self, octets: bytes) -> None:
        """Put octets before those that wait."""
        self._left = octets + self._left


def _by_container(
    container: str, header: bytes, frames: Iterator[tuple[bytes, int]], options: dict[str, str]
) -> Iterator[Pcm]:
    """Decoders whose mode PyAV can only set through a demuxer: the payloads become a file, read as it is decoded.

    ``frames`` gives octets and samples of each payload; as the samples are known, what is decoded can be cut back into
    packets.
    """
    import av

    file = _File(frames)
    while file.is_empty and file.next_payload():
        if file.is_empty:
            yield np.zeros(file.samples.popleft(), np.int16)
    if file.is_empty:
        return
    file.prepend(header)
    pcm = np.zeros(0, np.int16)
    # A demuxer of raw octets knows all that there is to know before it looks at any.
    source: Any = av.open(
        file, format=container, options={"probesize": "2048", **options}, buffer_size=_READ_BYTES
    )
    with source:
        for packet in source.demux(audio=0):
            try:
                pcm = np.concatenate([pcm, *(_mono(frame) for frame in packet.decode())])
            except av.FFmpegError:
                continue
            while file.samples and file.samples[0] <= len(pcm):
                count = file.samples.popleft()
                yield pcm[:count]
                pcm = pcm[count:]
    # What the decoder kept to itself at the end is missing from the last payloads.
    while file.samples:
        count = file.samples.popleft()
        yield pcm[:count]
        pcm = pcm[count:]


def _whole(size: int) -> Callable[[bytes], list[bytes]]:
    return lambda payload: [payload[i : i + size] for i in range(0, len(payload) - size + 1, size)]


_G723_SIZES: Final = {0: 24, 1: 20, 2: 4}


def _g723_frames(payload: bytes) -> list[bytes]:
    frames, at = [], 0
    while at < len(payload):
        size = _G723_SIZES.get(payload[at] & 3, 1)
        if at + size > len(payload):
            break
        frames.append(payload[at : at + size])
        at += size
    return frames


def _ilbc_size(codec: Codec, payload: bytes) -> int:
    """38 octets (20 ms) or 50 (30 ms): fmtp says, or else the length of the first payload that is not empty."""
    if "mode=20" in codec.fmtp.replace(" ", ""):
        return 38
    if "mode=30" in codec.fmtp.replace(" ", ""):
        return 50
    return 50 if len(payload) % 50 == 0 else 38


def _ilbc(codec: Codec, payloads: Iterable[bytes]) -> Iterator[Pcm]:
    given = iter(payloads)
    empty, first = 0, b""
    for first in given:
        if first:
            break
        empty += 1
    size = _ilbc_size(codec, first)
    header, samples = (b"#!iLBC20\n", 160) if size == 38 else (b"#!iLBC30\n", 240)
    yield from (np.zeros(0, np.int16) for _ in range(empty))

    def frames() -> Iterator[tuple[bytes, int]]:
        for payload in chain([first] if first else [], given):
            count = len(payload) // size
            yield payload[: count * size], count * samples

    yield from _by_container("ilbc", header, frames(), {})


# Speech bits of each AMR frame type; SID is type 8 (narrowband) or 9 (wideband), 15 is "nothing".
_AMR_BITS: Final = (95, 103, 118, 134, 148, 159, 204, 244, 39)
_AMR_WB_BITS: Final = (132, 177, 253, 285, 317, 365, 397, 461, 477, 40)


class _Bits:
    """Reads an octet string bit by bit, most significant first."""

    def __init__(self, data: bytes) -> None:
        self.value, self.left = int.from_bytes(data, "big"), len(data) * 8

    def take(self, count: int) -> int:
        if count > self.left:
            raise EOFError
        self.left -= count
        return self.value >> self.left & ((1 << count) - 1)


def _amr_frames(codec: Codec, payload: bytes) -> list[tuple[bytes, int]]:
    """RFC 4867 payload (octet-aligned or bandwidth-efficient, one channel) to storage-format frames."""
    wide = codec.name == "AMR-WB"
    sizes = _AMR_WB_BITS if wide else _AMR_BITS
    samples = 320 if wide else 160
    aligned = "octet-align=1" in codec.fmtp.replace(" ", "")
    bits = _Bits(payload)
    frames: list[tuple[bytes, int]] = []
    try:
        bits.take(8 if aligned else 4)  # codec mode request
        types: list[tuple[int, int]] = []
        more = 1
        while more:
            more, frame_type, good = bits.take(1), bits.take(4), bits.take(1)
            if aligned:
                bits.take(2)
            types.append((frame_type, good))
        for frame_type, good in types:
            count = sizes[frame_type] if frame_type < len(sizes) else 0
            octets = (count + 7) // 8
            data = bits.take(count) << (octets * 8 - count)
            if aligned:
                bits.take(octets * 8 - count)
            frames.append((bytes([frame_type << 3 | good << 2]) + data.to_bytes(octets, "big"), samples))
    except EOFError:
        pass  # a truncated payload gives the frames that are whole
    return frames


def _amr(codec: Codec, payloads: Iterable[bytes]) -> Iterator[Pcm]:
    """Frame by frame: one that the decoder refuses is silence of its length, and what follows keeps its place.

    libavcodec's own decoders refuse SID frames and the narrowband one "no data"; opencore's make comfort noise of both,
    as TS 26.092 and 26.192 say, and conceal frames marked as lost.
    """
    import av

    wide = codec.name == "AMR-WB"
    names = ("libopencore_amrwb", "amrwb") if wide else ("libopencore_amrnb", "amrnb")
    context = _context(next(name for name in names if name in av.codecs_available), codec)
    for payload in payloads:
        parts = []
        for frame, samples in _amr_frames(codec, payload):
            part = _feed(context, frame)
            parts.append(part if len(part) == samples else np.zeros(samples, np.int16))
        yield np.concatenate(parts) if parts else np.zeros(0, np.int16)


_SPEEX_SIZES: Final = {8000: (0, 160), 16000: (1, 320), 32000: (2, 640)}


def _speex(codec: Codec, payloads: Iterable[bytes]) -> Iterator[Pcm]:
    mode, frame = _SPEEX_SIZES.get(codec.clock_rate_hz, (0, 160))
    extradata = struct.pack(
        "<8s20s13i", b"Speex   ", b"1.2", 1, 80, codec.clock_rate_hz, mode, 4, 1, -1, frame, 0, 1, 0, 0, 0
    )
    context = _context("speex", codec, extradata)
    for payload in payloads:
        yield _feed(context, payload)


RECIPES: Final[dict[str, Recipe]] = {
    "OPUS": _by_frames("opus", lambda payload: [payload] if payload else []),
    "GSM": _by_frames("gsm", _whole(33)),
    "G723": _by_frames("g723_1", _g723_frames),
    "ILBC": Recipe(_ilbc),
    "AMR": Recipe(_amr),
    "AMR-WB": Recipe(_amr),
    "SPEEX": Recipe(_speex),
}


def decode_payloads(codec: Codec, payloads: Iterable[bytes]) -> list[Pcm]:
    """Decode payloads of one span in media order: one int16 mono array at ``codec.sample_rate_hz`` each.

    Raises UnsupportedError when PyAV is missing or the codec has no recipe. Damaged payloads give short arrays.
    """
    return list(stream_payloads(codec, payloads))


def stream_payloads(codec: Codec, payloads: Iterable[bytes]) -> Iterator[Pcm]:
    """As `decode_payloads`, one after the other as they are asked for."""
    recipe = RECIPES.get(codec.name)
    if recipe is None:
        raise UnsupportedError(f"{codec} is not supported")
    if not available():
        raise UnsupportedError(missing_message(codec))
    return recipe.decode(codec, payloads)
