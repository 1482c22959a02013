"""Codecs beyond the engine's own, decoded through PyAV (extra ``av``).

Opus, GSM, iLBC, AMR, AMR-WB, G.726, G.723.1 and Speex. Each codec is a small recipe: how RTP payloads become the frames
that libavcodec takes, and how many samples each yields.
A span is decoded whole, packet by packet in media order, and placed by its timestamps; lost packets stay silent. Only
frames that an AMR payload itself marks as lost are concealed, by the decoder.

Sources of the payload formats: RFC 3551 (GSM, G.723.1, G.726), RFC 3952 (iLBC), RFC 4867 (AMR), RFC 5574 (Speex),
RFC 7587 (Opus).
"""

from __future__ import annotations

import importlib.metadata
import io
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from callreplay.codecs import Codec
from callreplay.errors import UnsupportedError

__all__ = ["RECIPES", "available", "decode_payloads", "is_external", "missing_message", "version"]

Pcm = NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one codec is decoded: payloads in media order to one PCM array each (possibly empty)."""

    decode: Callable[[Codec, list[bytes]], Iterator[Pcm]]


def available() -> bool:
    """Whether PyAV can be imported."""
    try:
        import av  # noqa: F401
    except ImportError:
        return False
    return True


def version() -> str:
    """Which PyAV it is; '' where it cannot be imported."""
    return f"av {importlib.metadata.version('av')}" if available() else ""


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
    def decode(codec: Codec, payloads: list[bytes]) -> Iterator[Pcm]:
        context = _context(name, codec)
        for payload in payloads:
            parts = [_feed(context, frame) for frame in split(payload)]
            yield np.concatenate(parts) if parts else np.zeros(0, np.int16)

    return Recipe(decode)


def _by_container(
    container: str,
    header: Callable[[Codec, list[bytes]], bytes],
    frames: Callable[[Codec, bytes], list[tuple[bytes, int]]],
    options: Callable[[Codec], dict[str, str]] = lambda _: {},
) -> Recipe:
    """Decoders whose mode PyAV can only set through a demuxer: the payloads become a file in memory.

    ``frames`` splits a payload into (octets, samples) pairs; every frame's samples are known, so the decoded file can
    be cut back into packets.
    """

    def decode(codec: Codec, payloads: list[bytes]) -> Iterator[Pcm]:
        import av

        split = [frames(codec, payload) for payload in payloads]
        body = b"".join(octets for packet in split for octets, _ in packet)
        wanted = [sum(samples for _, samples in packet) for packet in split]
        if not body:
            yield from (np.zeros(0, np.int16) for _ in payloads)
            return
        pieces: list[Pcm] = []
        source: Any = av.open(
            io.BytesIO(header(codec, payloads) + body), format=container, options=options(codec)
        )
        with source:
            for packet in source.demux(audio=0):
                try:
                    pieces += [_mono(frame) for frame in packet.decode()]
                except av.FFmpegError:
                    continue
        pcm = np.concatenate(pieces) if pieces else np.zeros(0, np.int16)
        start = 0
        for count in wanted:
            yield pcm[start : start + count]
            start += count

    return Recipe(decode)


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


def _ilbc_size(codec: Codec, payloads: list[bytes]) -> int:
    """38 octets (20 ms) or 50 (30 ms): fmtp says, or else the first payload's length."""
    if "mode=20" in codec.fmtp.replace(" ", ""):
        return 38
    if "mode=30" in codec.fmtp.replace(" ", ""):
        return 50
    first = next((len(payload) for payload in payloads if payload), 50)
    return 50 if first % 50 == 0 else 38


def _ilbc(codec: Codec, payloads: list[bytes]) -> Iterator[Pcm]:
    size = _ilbc_size(codec, payloads)
    recipe = _by_container(
        "ilbc",
        lambda *_: b"#!iLBC20\n" if size == 38 else b"#!iLBC30\n",
        lambda _, payload: [(frame, 160 if size == 38 else 240) for frame in _whole(size)(payload)],
    )
    return recipe.decode(codec, payloads)


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


def _amr(codec: Codec, payloads: list[bytes]) -> Iterator[Pcm]:
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


def _g726_bits(codec: Codec) -> int:
    return int(codec.name.rsplit("-", 1)[1]) // 8


def _g726(container: str) -> Recipe:
    return _by_container(
        container,
        lambda *_: b"",
        lambda codec, payload: [(payload, len(payload) * 8 // _g726_bits(codec))],
        lambda codec: {"code_size": str(_g726_bits(codec)), "sample_rate": "8000"},
    )


_SPEEX_SIZES: Final = {8000: (0, 160), 16000: (1, 320), 32000: (2, 640)}


def _speex(codec: Codec, payloads: list[bytes]) -> Iterator[Pcm]:
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
    **{f"G726-{rate}": _g726("g726le") for rate in (16, 24, 32, 40)},
    **{f"AAL2-G726-{rate}": _g726("g726") for rate in (16, 24, 32, 40)},
}


def decode_payloads(codec: Codec, payloads: list[bytes]) -> list[Pcm]:
    """Decode payloads of one span in media order: one int16 mono array at ``codec.sample_rate_hz`` each.

    Raises UnsupportedError when PyAV is missing or the codec has no recipe. Damaged payloads give short arrays.
    """
    recipe = RECIPES.get(codec.name)
    if recipe is None:
        raise UnsupportedError(f"{codec} is not supported")
    if not available():
        raise UnsupportedError(missing_message(codec))
    return list(recipe.decode(codec, payloads))
