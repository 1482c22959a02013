"""A leg as the native engine takes it: columns checked against their bytes, spans as rows, PCM of others' codecs.

Decoding and mixing both start here.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from callreplay import _core
from callreplay.codecs import Codec
from callreplay.deferred import dataclass
from callreplay.errors import ArgumentError
from callreplay.gaps import columns_of
from callreplay.model import LegColumns, Span

__all__ = [
    "Concealment",
    "External",
    "Filling",
    "LegCounts",
    "Pcm",
    "checked",
    "in_lanes",
    "is_native",
    "leg_rate_hz",
    "native_leg",
]

Pcm = NDArray[np.int16]
Concealment = Literal["exact", "best"]
"""Where a standard fixes what stands for a lost frame (G.729): ``exact`` is the standard's, ``best`` is bridged from
both sides as the losses of every other codec are."""


class Filling(Protocol):
    """PCM of a span that is decoded as far as it is needed (`callreplay.audio.external.SpanPcm`)."""

    def whole(self) -> Pcm:
        """All of it."""

    def room(self) -> Pcm:
        """Where it comes to be: silent as far as it was not filled yet."""

    def fill(self, stop: int) -> None:
        """Decode up to the sample ``stop``."""


External = Mapping[int, "Pcm | Filling"]
"""PCM of spans that the native engine does not decode: span index -> int16 samples from the span's tick 0
on, at its sample rate, silence filled in. A ``numpy.memmap`` keeps a long one out of memory."""


@dataclass(frozen=True, slots=True)
class LegCounts:
    """What became of a leg's packets: samples, at the spans' own rates, and packets that did not fit."""

    decoded_samples: int
    concealed_samples: int
    noise_samples: int
    trimmed_packets: int
    malformed_packets: int


_EXTERNAL: Final = 5
_G726: Final = 6
_NATIVE: Final = {"PCMU": 0, "PCMA": 1, "L16": 2, "G722": 3, "G729": 4} | {
    f"{packing}G726-{rate}": _G726 for packing in ("", "AAL2-") for rate in (16, 24, 32, 40)
}
_COLUMNS: Final[tuple[tuple[str, DTypeLike], ...]] = (
    ("offset", np.int64),
    ("size", np.uint16),
    ("timestamp", np.int64),
    ("sequence", np.int64),
    ("flags", np.uint8),
)
_KINDS: Final = tuple(np.dtype(kind) for _, kind in _COLUMNS)


def is_native(codec: Codec) -> bool:
    """Whether the native engine decodes ``codec``; the others need PCM from elsewhere (``external``)."""
    return codec.name in _NATIVE


def in_lanes(codec: Codec) -> bool:
    """Whether the native engine decodes streams of ``codec`` several at once."""
    return _NATIVE.get(codec.name, _EXTERNAL) in _LANED


_LANED: Final = (_NATIVE["G722"], _NATIVE["G729"], _G726)
_OF_CHANNELS: Final = frozenset({"L16", "PCMU", "PCMA"})
"""Codecs of several channels, which the native engine averages to one."""


def _g722_mode(codec: Codec) -> int:
    """0, 1, 2 for 64, 56, 48 kbit/s; RTP knows 64 only (RFC 3551 4.5.2), some SDP says otherwise in fmtp."""
    given = dict(field.partition("=")[::2] for field in codec.fmtp.replace(" ", "").lower().split(";"))
    return {"56000": 1, "48000": 2}.get(given.get("bitrate", ""), 0)


def _g726_mode(codec: Codec) -> int:
    """Bits of a sample, and 8 where they fill octets from the most significant one on (``CR_G726_AAL2``)."""
    return int(codec.name.rsplit("-", 1)[1]) // 8 | (8 if codec.name.startswith("AAL2-") else 0)


def _mode(codec: Codec, concealment: Concealment) -> int:
    if _NATIVE.get(codec.name) == _G726:
        return _g726_mode(codec)
    if codec.name == "G722":
        return _g722_mode(codec)
    if codec.name == "G729":
        return 1 if concealment == "best" else 0
    return codec.channels if codec.name in _OF_CHANNELS else 0


def _span_row(
    span: Span, index: int, external: External, concealment: Concealment, lazy: bool
) -> _core.SpanRow:
    codec = span.codec
    kind = _NATIVE.get(codec.name, _EXTERNAL)
    if kind == _EXTERNAL and index in external:
        given = external[index]
        if not isinstance(given, np.ndarray) and hasattr(given, "room"):
            given = given.room() if lazy else given.whole()
        pcm = checked(given, np.int16, f"external[{index}]")
    elif index in external:
        raise ArgumentError(f"external[{index}]: {codec} is decoded natively")
    else:
        pcm = None
    # The seed depends on nothing but the span, so the same call gives the same noise.
    seed = zlib.crc32(f"{span.ssrc}:{index}:{span.payload_type}".encode())
    drift_ppb = round(span.drift_ppm * 1000)
    return (
        kind,
        codec.clock_rate_hz,
        codec.sample_rate_hz,
        _mode(codec, concealment),
        span.first,
        span.stop,
        span.end_tick,
        span.anchor_ns,
        drift_ppb,
        seed,
        pcm,
    )


def checked(array: object, dtype: DTypeLike, name: str) -> Any:
    """``array`` itself, if it is a contiguous one-dimensional array of ``dtype``."""
    if not isinstance(array, np.ndarray) or array.dtype != np.dtype(dtype) or array.ndim != 1:
        have = f"{array.dtype}, {array.ndim} axes" if isinstance(array, np.ndarray) else type(array).__name__
        raise ArgumentError(f"{name}: need a one-dimensional array of {np.dtype(dtype)}, not {have}")
    if not array.flags.c_contiguous:
        raise ArgumentError(f"{name}: the array is not contiguous")
    return array


def _as_expected(columns: Sequence[Any]) -> bool:
    """Whether columns are what they should be, all of one length."""
    length = len(columns[0])
    for column, kind in zip(columns, _KINDS, strict=True):
        plain = type(column) is np.ndarray and column.dtype is kind and column.shape == (length,)
        if not (plain and column.flags.c_contiguous):
            return False
    return True


def native_leg(
    leg: LegColumns,
    external: External | None = None,
    concealment: Concealment = "exact",
    *,
    lazy: bool = False,
) -> _core.Leg:
    """Make the native view of ``leg``, checked against its bytes; holds on to every array it looks at.

    With ``lazy`` it is the caller who fills what is `Filling` before it is read.

    Raises ArgumentError for columns of a wrong type or length and for spans, gaps or timestamps out of
    range, and BoundsError if a packet lies outside ``leg.data`` or ``leg.spill``.
    """
    if concealment not in ("exact", "best"):
        raise ArgumentError(f"concealment: {concealment!r} is not exact or best")
    columns: tuple[Any, ...] = (leg.offset, leg.size, leg.timestamp, leg.sequence, leg.flags)
    if not _as_expected(columns):
        for column, (name, dtype) in zip(columns, _COLUMNS, strict=True):
            checked(column, dtype, name)
        if len({len(column) for column in columns}) != 1:
            lengths = ", ".join(f"{name} {len(c)}" for (name, _), c in zip(_COLUMNS, columns, strict=True))
            raise ArgumentError(f"columns differ in length: {lengths}")
    offset, size, timestamp, sequence, flags = columns
    span, start, ticks, reason = columns_of(leg.gaps)
    return _core.Leg(
        checked(leg.data, np.uint8, "data"),
        checked(leg.spill, np.uint8, "spill"),
        offset,
        size,
        timestamp,
        sequence,
        flags,
        [_span_row(row, index, external or {}, concealment, lazy) for index, row in enumerate(leg.spans)],
        span,
        start,
        ticks,
        reason,
    )


def leg_rate_hz(leg: LegColumns) -> int:
    """Tell the highest sample rate among the leg's spans, 8000 if it has none."""
    return max((span.codec.sample_rate_hz for span in leg.spans), default=8000)
