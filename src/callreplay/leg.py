"""One direction of a call, as Python programs ask for it."""

from __future__ import annotations

import _thread
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, overload

import numpy as np
from numpy.typing import NDArray

from callreplay import order
from callreplay.audio.blocks import Blocks, Float32, Int16, read_all
from callreplay.audio.external import SpanPcm, decode_spans, silent_spans
from callreplay.audio.legs import External, is_native, leg_rate_hz
from callreplay.audio.mix import Dtmf, Renderer, timeline_bounds
from callreplay.codecs import Codec
from callreplay.gaps import stretches_of
from callreplay.model import Event, Flow, LegColumns, Side
from callreplay.reopening import Reopening, pickled

if TYPE_CHECKING:
    from callreplay.audio.speech import Detector, Talk

__all__ = ["FloatPcm", "Leg", "Pcm"]

Pcm = NDArray[np.int16]
FloatPcm = NDArray[np.float32]

_NS: Final = 1_000_000_000


class Leg:
    """One direction of a call: what one party said. Empty where no packet of it was captured.

    >>> import callreplay
    >>> with callreplay.open("samples/reservation.pcap") as capture:
    ...     leg = capture.calls[0].caller
    >>> leg.side, [str(codec) for codec in leg.codecs], leg.sample_rate_hz
    ('caller', ['PCMU/8000'], 8000)
    >>> leg.statistics.packets, leg.statistics.lost, [event.digit for event in leg.events]
    (990, 7, ['5'])
    >>> pcm = leg.pcm()
    >>> pcm.dtype.name, pcm.shape
    ('int16', (159520,))
    >>> leg.pcm(rate=16000, dtype="float32", start=1.0, end=2.0).shape
    (16000,)
    >>> leg
    <Leg caller: PCMU/8000, 990 packets, 19.9 s>
    """

    def __init__(self, media: order.LegMedia) -> None:
        self.side: Final[Side] = media.side
        self.columns: Final[LegColumns] = media.columns
        self.statistics: Final[order.LegStatistics] = media.statistics
        self.events: Final[list[Event]] = media.events
        self._said: Final[list[str]] = list(media.warnings)
        self._silent: Final[list[str]] = silent_spans(media.columns, media.side)
        flows = [stream.flow for stream in media.streams]
        self.flows: Final[list[Flow]] = flows if len(flows) < 2 else list(dict.fromkeys(flows))
        self._external: dict[int, SpanPcm] | None = None
        self._call_bounds = (0, 0)  # absolute times of its call's start and end
        self._origin: Reopening | None = None
        self._number = 0  # of its call
        self._lock = _thread.allocate_lock()

    def __repr__(self) -> str:
        codecs = ", ".join(map(str, self.codecs))
        if self.empty:
            return f"<Leg {self.side}: empty>"
        return f"<Leg {self.side}: {codecs}, {self.statistics.packets:,} packets, {self.duration_s:.1f} s>"

    def __reduce__(self) -> tuple[Any, ...]:
        return Reopening.leg, (pickled(self._origin, self), self._number, self.side)

    @property
    def duration_s(self) -> float:
        """Seconds from its first sample to the end of its last one."""
        return (self.end_ns - self.start_ns) / _NS

    @property
    def undecoded(self) -> list[str]:
        """What of the leg cannot be decoded here, or (as far as it was asked for) was not: it is silent."""
        if not self._external:
            return list(self._silent)
        refused = (pcm.refused() for pcm in self._external.values())
        return [*self._silent, *filter(None, refused)]

    @property
    def warnings(self) -> list[str]:
        """What was odd about the leg, as far as is known yet."""
        return [*self._said, *self.undecoded]

    @property
    def empty(self) -> bool:
        """Whether the leg has no media at all."""
        return not self.columns.spans

    @property
    def codecs(self) -> list[Codec]:
        """The codecs of the spans, in order of first use."""
        return list(dict.fromkeys(span.codec for span in self.columns.spans))

    @property
    def start_ns(self) -> int:
        """Absolute time of the first sample; 0 for an empty leg."""
        return timeline_bounds([self.columns])[0]

    @property
    def end_ns(self) -> int:
        """Absolute time after the last sample; 0 for an empty leg."""
        return timeline_bounds([self.columns])[1]

    @property
    def sample_rate_hz(self) -> int:
        """Sample rate of ``pcm()``: the highest among the spans."""
        return leg_rate_hz(self.columns)

    @overload
    def pcm(
        self,
        out: Pcm | None = ...,
        *,
        rate: int = ...,
        dtype: Int16 = ...,
        start: float = ...,
        end: float | None = ...,
        timeline: bool = ...,
        dtmf: Dtmf = ...,
    ) -> Pcm: ...
    @overload
    def pcm(
        self,
        out: FloatPcm | None = ...,
        *,
        rate: int = ...,
        dtype: Float32,
        start: float = ...,
        end: float | None = ...,
        timeline: bool = ...,
        dtmf: Dtmf = ...,
    ) -> FloatPcm: ...
    def pcm(
        self,
        out: Any = None,
        *,
        rate: int = 0,
        dtype: Int16 | Float32 = "int16",
        start: float = 0.0,
        end: float | None = None,
        timeline: bool = False,
        dtmf: Dtmf = "keep",
    ) -> Any:
        """The leg alone, decoded: ``(n,)``, from its first sample on, or from the call's.

        ``rate``: 8000 to 48000 Hz; 0 is ``sample_rate_hz``. ``dtype``: ``int16``, or ``float32`` from -1 to 1 (int16
        divided by 32768, made by the native mixer). ``start``, ``end``: a window in seconds. ``timeline``: sample 0 is
        the start of the call and the length is the call's, so that both legs lie side by side, their clocks corrected
        for drift; without it sample 0 is the leg's first, and its clock is taken as right. ``dtmf``: ``keep`` what was
        sent in the audio, ``mute`` or ``tone`` RFC 4733 digits. ``out``: an array of at least that length, of which the
        used part is returned.

        Lost packets are concealed, but in what PyAV decodes (Opus and others), where they are silent. Raises
        ArgumentError for what does not fit.
        """
        return read_all(self._renderer(rate, start, end, timeline, dtmf), dtype, out)

    @overload
    def blocks(
        self,
        seconds: float = ...,
        *,
        rate: int = ...,
        dtype: Int16 = ...,
        start: float = ...,
        end: float | None = ...,
        timeline: bool = ...,
        dtmf: Dtmf = ...,
        out: Pcm | None = ...,
    ) -> Blocks[np.int16]: ...
    @overload
    def blocks(
        self,
        seconds: float = ...,
        *,
        rate: int = ...,
        dtype: Float32,
        start: float = ...,
        end: float | None = ...,
        timeline: bool = ...,
        dtmf: Dtmf = ...,
        out: FloatPcm | None = ...,
    ) -> Blocks[np.float32]: ...
    def blocks(
        self,
        seconds: float = 1.0,
        *,
        rate: int = 0,
        dtype: Int16 | Float32 = "int16",
        start: float = 0.0,
        end: float | None = None,
        timeline: bool = False,
        dtmf: Dtmf = "keep",
        out: Any = None,
    ) -> Blocks[Any]:
        """What ``pcm`` gives, in arrays of ``seconds`` each: see ``Blocks``."""
        return Blocks(self._renderer(rate, start, end, timeline, dtmf), seconds, dtype, out)

    def _renderer(self, rate: int, start: float, end: float | None, timeline: bool, dtmf: Dtmf) -> Renderer:
        bounds = self._call_bounds if timeline else (None, None)
        return Renderer(
            [self.columns],
            rate or self.sample_rate_hz,
            "mono",
            start,
            end,
            dtmf,
            events=[self.events],
            origin_ns=bounds[0],
            stop_ns=bounds[1],
            correct_drift=timeline,
            external=_only(self.external()),
        )

    def speech(self, detector: Detector = "native") -> list[Talk]:
        """Stretches of talk, in order: seconds from the start of the call, and level. See ``audio.speech`` for the law.

        ``detector``: ``native``, ours, or ``silero``, a neural network (``audio.silero``; extra ``[vad]``, without
        which UnsupportedError is raised), some hundreds of times as slow.

        >>> import callreplay
        >>> with callreplay.open("samples/reservation.pcap") as capture:
        ...     [(round(talk.start_s, 1), round(talk.end_s, 1)) for talk in capture.calls[0].caller.speech()][:2]
        [(4.5, 5.1), (5.4, 8.0)]
        """
        from callreplay.audio.speech import meter_of

        rate_hz = self.sample_rate_hz
        if detector == "silero" and rate_hz > 16000:
            rate_hz = 16000
        meter = meter_of(detector, rate_hz, self.offset_s)
        if self.empty:
            return []
        renderer = self._renderer(rate_hz, 0.0, None, False, "keep")
        for block in renderer:
            meter.write(block)
        return meter.result()

    @property
    def offset_s(self) -> float:
        """Where its first sample lies, in seconds from the start of the call."""
        return 0.0 if self.empty else (self.start_ns - self._call_bounds[0]) / _NS

    def external(self) -> External | None:
        """PCM of the spans that PyAV decodes, each packet once and when it is needed; None where there are none."""
        for span in self.columns.spans:
            if not is_native(span.codec):
                break
        else:
            return None
        with self._lock:
            if self._external is None:
                self._external = decode_spans(self.columns)
            return self._external

    def marks(self, start_ns: int, end_ns: int) -> Iterator[tuple[int, int, str]]:
        """Absolute start and stop (ns) and kind (``loss``, ``silence``) of what is missing between two times."""
        starts, stops, lost = self.missing(start_ns, end_ns)
        kinds = ["loss" if one else "silence" for one in lost.tolist()]
        yield from zip(starts.tolist(), stops.tolist(), kinds, strict=True)

    def missing(
        self, start_ns: int, end_ns: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """``marks`` as columns: starts, stops, and which are loss."""
        if self.empty:
            return np.array([start_ns]), np.array([end_ns]), np.array([False])
        spans = self.columns.spans
        starts, stops, lost = stretches_of(
            self.columns.gaps,
            np.array([span.anchor_ns for span in spans], np.int64),
            np.array([span.codec.clock_rate_hz for span in spans], np.float64),
            np.array([1 + span.drift_ppm * 1e-6 for span in spans]),
        )
        silent = []
        reached = start_ns
        for span in sorted(spans, key=lambda span: span.anchor_ns):
            if span.anchor_ns > reached:
                silent.append((reached, span.anchor_ns))
            reached = max(reached, order.ns_of(span, span.end_tick))
        if end_ns > reached:
            silent.append((reached, end_ns))
        if not silent:
            return starts, stops, lost
        more = np.array(silent, np.int64)
        return (
            np.concatenate((starts, more[:, 0])),
            np.concatenate((stops, more[:, 1])),
            np.concatenate((lost, np.zeros(len(more), np.bool_))),
        )


def _only(external: External | None) -> list[External | None] | None:
    return None if external is None else [external]
