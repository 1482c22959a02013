"""From a capture to its calls, and from a call to anything that can be made of it.

>>> import callreplay
>>> with callreplay.open("samples/reservation.pcap") as capture:
...     for call in capture.calls:
...         print(call.number, call.duration_s, call.mix("stereo").shape)
1 19.940002 (159520, 2)

Nothing is decoded before it is asked for. A capture stays mapped until the last object that needs it is gone. Objects
may be shared by threads: each rendering has its own native state, and the native engine runs without the GIL.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, Self, Unpack, overload

import numpy as np
from numpy.typing import NDArray

from callreplay import order, packets, signalling
from callreplay.audio.blocks import Blocks, Float32, Int16, read_all
from callreplay.audio.external import SpanPcm, decode_spans, decoders, silent_spans, undecodable
from callreplay.audio.legs import Concealment, External, is_native, leg_rate_hz
from callreplay.audio.mix import Channels, Dtmf, Renderer, default_rate_hz, timeline_bounds, window_frames
from callreplay.clock import length, utc
from callreplay.codecs import BY_NAME, Codec, parse_rtpmap
from callreplay.errors import ArgumentError, EncryptedError, FormatError, StateError
from callreplay.evidence import Verdict
from callreplay.model import (
    INDEX_SUFFIX,
    CallDescription,
    Event,
    Flow,
    GapReason,
    LegColumns,
    Side,
    recording_files,
)
from callreplay.packets import recording
from callreplay.packets.arena import release
from callreplay.sources import File, Origin, Source, gather, open_files

if TYPE_CHECKING:
    from callreplay.audio.mastered import MasteredRenderer
    from callreplay.audio.mastering import LoudnessBy
    from callreplay.audio.segments import Segment
    from callreplay.audio.speech import Conversation, Talk
    from callreplay.outputs.files import Writable
    from callreplay.outputs.formats import Data, Format, FormatName, Shape
    from callreplay.outputs.options import Options, OptionValues
    from callreplay.outputs.waveform import Mark
    from callreplay.transcripts import Recogniser, Transcript

__all__ = ["Call", "Capture", "Leg", "decoders", "open_capture", "undecodable_codecs"]

Pcm = NDArray[np.int16]
FloatPcm = NDArray[np.float32]

FileId = tuple[int, int]
"""Device and inode: the same under every name that a file has or is given while it is mapped."""

_NS: Final = 1_000_000_000
_LONGEST_COMMENT: Final = 1024
_MARKS: Final = {GapReason.LOST: "loss", GapReason.CAPTURE: "loss"}
"""Gaps that are marked as loss; all others are silence."""


class _Origin:
    """What a capture was opened from: what pickles carry instead of packets. Opened again once, where that is asked."""

    def __init__(self, sources: tuple[Any, ...], options: dict[str, Any]) -> None:
        self._sources, self._options = sources, options
        self._capture: Capture | None = None

    def __getstate__(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        sources = tuple(bytes(s) if isinstance(s, bytearray | memoryview) else s for s in self._sources)
        return sources, self._options

    def __setstate__(self, state: tuple[tuple[Any, ...], dict[str, Any]]) -> None:
        self._sources, self._options = state
        self._capture = None

    def capture(self) -> Capture:
        """The capture, opened again."""
        if self._capture is None:
            self._capture = open_capture(*self._sources, **self._options)
        return self._capture

    def call(self, number: int) -> Call:
        """One of its calls; StateError where the capture has changed and has no such call any more."""
        calls = self.capture().calls
        if number > len(calls):
            raise StateError(f"{self.capture().name}: call {number} is not in it any more")
        return calls[number - 1]

    def leg(self, number: int, side: Side) -> Leg:
        """A leg of one of its calls."""
        call = self.call(number)
        return call.caller if side == "caller" else call.called


def _pickled(origin: _Origin | None, what: object) -> _Origin:
    if origin is None:
        raise TypeError(f"{what!r} was not opened from a source and cannot be pickled")
    return origin


class Leg:
    """One direction of a call: what one party said. Empty where no packet of it was captured.

    >>> with open_capture("samples/reservation.pcap") as capture:
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
        self.flows: Final[list[Flow]] = list(dict.fromkeys(stream.flow for stream in media.streams))
        self._external: dict[int, SpanPcm] | None = None
        self._call_bounds = (0, 0)  # absolute times of its call's start and end
        self._origin: _Origin | None = None
        self._number = 0  # of its call
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        codecs = ", ".join(map(str, self.codecs))
        if self.empty:
            return f"<Leg {self.side}: empty>"
        return f"<Leg {self.side}: {codecs}, {self.statistics.packets:,} packets, {self.duration_s:.1f} s>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _Origin.leg, (_pickled(self._origin, self), self._number, self.side)

    @property
    def duration_s(self) -> float:
        """Seconds from its first sample to the end of its last one."""
        return (self.end_ns - self.start_ns) / _NS

    @property
    def undecoded(self) -> list[str]:
        """What of the leg cannot be decoded here, or (as far as it was asked for) was not: it is silent."""
        refused = (pcm.refused() for pcm in (self._external or {}).values())
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

    def speech(self) -> list[Talk]:
        """Stretches of talk, in order: seconds from the start of the call, and level. See ``audio.speech`` for the law.

        >>> with open_capture("samples/reservation.pcap") as capture:
        ...     [(round(talk.start_s, 1), round(talk.end_s, 1)) for talk in capture.calls[0].caller.speech()][:2]
        [(4.5, 5.1), (5.4, 8.0)]
        """
        from callreplay.audio.speech import SpeechMeter

        if self.empty:
            return []
        renderer = self._renderer(0, 0.0, None, False, "keep")
        meter = SpeechMeter(renderer.rate_hz, self.offset_s)
        for block in renderer:
            meter.write(block)
        return meter.result()

    @property
    def offset_s(self) -> float:
        """Where its first sample lies, in seconds from the start of the call."""
        return 0.0 if self.empty else (self.start_ns - self._call_bounds[0]) / _NS

    def external(self) -> External | None:
        """PCM of the spans that PyAV decodes, each packet once and when it is needed; None where there are none."""
        if all(is_native(span.codec) for span in self.columns.spans):
            return None
        with self._lock:
            if self._external is None:
                self._external = decode_spans(self.columns)
            return self._external

    def marks(self, start_ns: int, end_ns: int) -> Iterator[tuple[int, int, str]]:
        """Absolute start and stop (ns) and kind (``loss``, ``silence``) of what is missing between two times."""
        if self.empty:
            yield start_ns, end_ns, "silence"
            return
        for gap in self.columns.gaps:
            span = self.columns.spans[int(gap["span"])]
            start = order.ns_of(span, int(gap["start"]))
            stop = order.ns_of(span, int(gap["start"] + gap["ticks"]))
            yield start, stop, _MARKS.get(GapReason(int(gap["reason"])), "silence")
        reached = start_ns
        for span in sorted(self.columns.spans, key=lambda span: span.anchor_ns):
            if span.anchor_ns > reached:
                yield reached, span.anchor_ns, "silence"
            reached = max(reached, order.ns_of(span, span.end_tick))
        if end_ns > reached:
            yield reached, end_ns, "silence"


def _only(external: External | None) -> list[External | None] | None:
    return None if external is None else [external]


class Call:
    """Two legs on one timeline, and what signalling said of them.

    >>> import tempfile
    >>> with open_capture("samples/reservation.pcap") as capture:
    ...     call = capture.calls[0]
    >>> call.title()
    'Ana Pop <0721555010> → Front Desk <2001>, 2026-01-06T08:30:01Z, 0:00:20'
    >>> call.mix().shape, call.mix("mono", rate=16000, start=1.0, end=2.0).shape
    ((159520, 2), (16000,))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     call.save(f"{folder}/call.wav", channels="stereo")
    ...     Path(f"{folder}/call.wav").stat().st_size
    639018
    >>> report = call.report()
    >>> report["status"], [round(leg["statistics"]["mos"], 1) for leg in report["legs"]]
    ('answered', [4.4, 4.3])
    """

    def __init__(
        self,
        number: int,
        media: order.CallMedia,
        capture: str,
        encrypted: str = "",
        files: frozenset[FileId] = frozenset(),
        origin: _Origin | None = None,
    ) -> None:
        self.number: Final = number
        self.description: Final[CallDescription] = media.description or CallDescription("")
        self.caller: Final = Leg(media.caller)
        self.called: Final = Leg(media.called)
        self._origin = origin
        self._bounds: Final = timeline_bounds([self.caller.columns, self.called.columns])
        for leg in (self.caller, self.called):
            leg._origin, leg._number, leg._call_bounds = origin, number, self.bounds
        self.sides_inferred: Final = media.sides_inferred
        self.warnings: Final[list[str]] = [*media.guesses, *media.warnings, *self.description.warnings]
        if self.description.begun_before:
            self.warnings.append("begun before the capture: who called whom is inferred")
        self.aside: Final[list[order.Aside]] = media.aside
        """What no leg plays (copies, second senders), and why."""
        self.verdicts: Final[list[Verdict]] = media.verdicts
        """What was weighed to tell whose packets these are, and which dialogs are this call."""
        self.encrypted: Final = encrypted
        self.uuid = ""
        """The number of a stored call, where it has one; it is written into formats that hold comments."""
        self._capture = capture
        self._files = files

    def __repr__(self) -> str:
        codecs = ", ".join(dict.fromkeys(str(codec) for leg in self.legs for codec in leg.codecs))
        return f"<Call {self.number}: {self.title()}, {self.encrypted or codecs or 'no media'}>"

    def __iter__(self) -> Iterator[Leg]:
        return iter(self.legs)

    def __reduce__(self) -> tuple[Any, ...]:
        return _Origin.call, (_pickled(self._origin, self), self.number), {"uuid": self.uuid}

    @property
    def legs(self) -> tuple[Leg, Leg]:
        """Caller and called."""
        return self.caller, self.called

    @property
    def bounds(self) -> tuple[int, int]:
        """Absolute times (ns) of the first sample and after the last; (0, 0) without any."""
        return self._bounds

    @property
    def start_ns(self) -> int:
        """Absolute time of the first sample of either leg; where there is no media, what signalling says."""
        return self.bounds[0] or self.description.start_ns

    @property
    def end_ns(self) -> int:
        """Absolute time after the last sample of either leg."""
        return self.bounds[1] or self.description.end_ns

    @property
    def duration_s(self) -> float:
        """Seconds from the first sample of either leg to the last one; of digits alone, from the first to the last."""
        start, end = self.bounds
        return (end - start) / _NS

    @property
    def sample_rate_hz(self) -> int:
        """The output rate if none is asked for: 16000 where a leg has more than 8000, else 8000."""
        return default_rate_hz([leg.columns for leg in self.legs])

    @property
    def undecoded(self) -> list[str]:
        """What of the call cannot be decoded here, or was not: it is silent in whatever is made of the call."""
        return [line for leg in self.legs for line in leg.undecoded]

    def all_warnings(self) -> list[str]:
        """What was odd about the call and its legs, as far as is known yet."""
        return [*self.warnings, *(line for leg in self.legs for line in leg.warnings)]

    def title(self) -> str:
        """One line: who, whom, when, how long."""
        clock = length(self.duration_s, hours=True)
        return f"{self.party('caller')} → {self.party('called')}, {utc(self.start_ns)[:19]}Z, {clock}"

    def party(self, side: Side) -> str:
        """A party's name and number as signalling has them, else its address."""
        said, leg = self.description, self.caller if side == "caller" else self.called
        number = said.caller_number if side == "caller" else said.called_number
        name = said.caller_name if side == "caller" else said.called_name
        if number or name:
            return f"{name} <{number}>" if number and name else number or name
        other = self.called if side == "caller" else self.caller
        if leg.flows:
            return f"{leg.flows[0].source}:{leg.flows[0].source_port}"
        return f"{other.flows[0].destination}:{other.flows[0].destination_port}" if other.flows else "unknown"

    @overload
    def mix(
        self,
        channels: Channels = ...,
        rate: int = ...,
        start: float = ...,
        end: float | None = ...,
        dtmf: Literal["tone", "mute"] = ...,
        concealment: Concealment = ...,
        *,
        dtype: Int16 = ...,
        out: Pcm | None = ...,
        limiter: bool = ...,
        loudness: float | None = ...,
        loudness_by: LoudnessBy = ...,
    ) -> Pcm: ...
    @overload
    def mix(
        self,
        channels: Channels = ...,
        rate: int = ...,
        start: float = ...,
        end: float | None = ...,
        dtmf: Literal["tone", "mute"] = ...,
        concealment: Concealment = ...,
        *,
        dtype: Float32,
        out: FloatPcm | None = ...,
        limiter: bool = ...,
        loudness: float | None = ...,
        loudness_by: LoudnessBy = ...,
    ) -> FloatPcm: ...
    def mix(
        self,
        channels: Channels = "stereo",
        rate: int = 0,
        start: float = 0.0,
        end: float | None = None,
        dtmf: Literal["tone", "mute"] = "mute",
        concealment: Concealment = "exact",
        *,
        dtype: Int16 | Float32 = "int16",
        out: Any = None,
        limiter: bool = False,
        loudness: float | None = None,
        loudness_by: LoudnessBy = "mix",
    ) -> Any:
        """Both legs on one timeline: ``(n, 2)`` for ``stereo`` (caller left), ``(n,)`` for other channels.

        ``channels``: ``stereo``, ``mono`` (both added), ``caller``, ``called``. ``rate``: 8000 to 48000 Hz; 0 is
        ``sample_rate_hz``. ``start``, ``end``: a window in seconds from the start of the call. ``dtmf``: ``mute`` RFC
        4733 digits or sound them as ``tone``. ``dtype``: ``int16``, or ``float32`` from -1 to 1 (int16 divided by
        32768, made by the native mixer). ``out``: a contiguous array of at least that many frames; its used part is
        returned. ``concealment``, ``limiter``, ``loudness``, ``loudness_by``: as the fields of ``Options``.

        Raises ArgumentError for what does not fit, EncryptedError for SRTP without keys.
        """
        mastering = {"limiter": limiter, "loudness": loudness, "loudness_by": loudness_by}
        renderer = self._mixer(channels, rate, start, end, dtmf, concealment=concealment, **mastering)
        return read_all(renderer, dtype, out)

    @overload
    def blocks(
        self,
        seconds: float = ...,
        channels: Channels = ...,
        rate: int = ...,
        start: float = ...,
        end: float | None = ...,
        dtmf: Literal["tone", "mute"] = ...,
        *,
        dtype: Int16 = ...,
        out: Pcm | None = ...,
    ) -> Blocks[np.int16]: ...
    @overload
    def blocks(
        self,
        seconds: float = ...,
        channels: Channels = ...,
        rate: int = ...,
        start: float = ...,
        end: float | None = ...,
        dtmf: Literal["tone", "mute"] = ...,
        *,
        dtype: Float32,
        out: FloatPcm | None = ...,
    ) -> Blocks[np.float32]: ...
    def blocks(
        self,
        seconds: float = 1.0,
        channels: Channels = "stereo",
        rate: int = 0,
        start: float = 0.0,
        end: float | None = None,
        dtmf: Literal["tone", "mute"] = "mute",
        *,
        dtype: Int16 | Float32 = "int16",
        out: Any = None,
    ) -> Blocks[Any]:
        """What ``mix`` gives, in arrays of ``seconds`` each, in bounded memory: see ``Blocks``.

        >>> import numpy
        >>> with open_capture("samples/reservation.pcap") as capture:
        ...     call = capture.calls[0]
        >>> blocks = call.blocks(5.0, "mono")
        >>> blocks
        <Blocks: 4 of 40000 frames, 1 channels of int16 at 8000 Hz>
        >>> numpy.array_equal(numpy.concatenate(list(blocks)), call.mix("mono"))
        True
        """
        return Blocks(self._mixer(channels, rate, start, end, dtmf), seconds, dtype, out)

    def _mixer(
        self, channels: str, rate: int, start: float, end: float | None, dtmf: str, **more: Any
    ) -> Renderer | MasteredRenderer:
        rate = rate or self.sample_rate_hz
        from callreplay.outputs.options import Options

        return self.renderer(Options(channels=channels, rate=rate, start=start, end=end, dtmf=dtmf, **more))

    def speech(self) -> Conversation:
        """Talk time, silence, overlap, interruptions and longest monologues; who talks when: ``Leg.speech``."""
        from callreplay.audio.speech import conversation

        return conversation(self.caller.speech(), self.called.speech(), self.duration_s)

    def segments(
        self,
        seconds: float = 30.0,
        channels: Channels | Literal["apart"] = "apart",
        *,
        rate: int = 16000,
        dtype: Int16 | Float32 = "int16",
        pause_s: float = 1.0,
        dtmf: Literal["tone", "mute"] = "mute",
    ) -> Iterator[Segment]:
        """The talk in pieces of at most ``seconds``, cut where nobody talks: see ``audio.segments`` for the law.

        ``channels``: ``apart``, each speaker's talk for itself, or as ``mix`` has them. ``rate`` as there, 0 for the
        call's own; ``dtype``: ``int16`` or ``float32``. ``pause_s``: longer pauses are left out. Memory holds a piece.
        """
        from callreplay.pieces import call_segments

        return call_segments(self, seconds, channels, rate=rate, dtype=dtype, pause_s=pause_s, dtmf=dtmf)

    def transcribe(self, recogniser: Recogniser, seconds: float = 30.0) -> Transcript:
        """The words that ``recogniser`` hears: it is given one speaker's ``Utterance`` at a time, float32 at 16 kHz.

        It gives ``(start, end, text)`` or ``(start, end, text, confidence)``, in seconds from the utterance's start.
        """
        from callreplay.transcripts import transcribe

        return transcribe(self, recogniser, seconds)

    def stream(
        self,
        format: FormatName = "wav",
        *,
        options: Options | None = None,
        **values: Unpack[OptionValues],
    ) -> Iterator[bytes]:
        """The bytes of an output file, in order, as they come to be. Keywords: the fields of ``Options``.

        Raises ArgumentError for bad options and EncryptedError for SRTP without keys, both before the first byte.
        """
        from callreplay.outputs.formats import format_of
        from callreplay.outputs.options import Options

        chosen = options or Options.of({**values})
        return (bytes(part) for part in self._stream(format_of(format), chosen, None))

    def save(
        self,
        path: str | os.PathLike[str] | Writable,
        format: FormatName | Literal[""] = "",
        *,
        options: Options | None = None,
        progress: Callable[[float], None] | None = None,
        **values: Unpack[OptionValues],
    ) -> None:
        """Write an output file, whole or not at all. The format is ``format`` or the suffix's.

        ``path`` is a path, ``-`` for standard output, or a binary file object (``write``), which gets the octets as
        they come to be and is left open. Keywords: the fields of ``Options``.

        ``progress`` is called with the share done, 0 to 1. Raises as ``stream``, and ArgumentError where ``path`` is a
        file that the call was read from, or a link to one; OutputError or OSError when writing fails, and then nothing
        is left under ``path``.
        """
        from callreplay.outputs.files import save_to
        from callreplay.outputs.options import Options

        if isinstance(path, str | os.PathLike) and _file_id(path) in self._files:
            raise ArgumentError(
                f"{os.fspath(path)!r} is the capture that the call is read from; write elsewhere"
            )
        save_to(path, format, lambda form: self._stream(form, options or Options.of({**values}), progress))

    def prepare(self, form: Format, options: Options) -> tuple[Shape, Options]:
        """What is known of an output before its first sample, and the options with their blanks filled in."""
        from callreplay.outputs.formats import Shape, fit_options

        self.refuse_encrypted()
        chosen = fit_options(form, options, self.sample_rate_hz)
        start, end = self.bounds
        first, stop = window_frames(start, end, chosen.rate, chosen.start, chosen.end)
        start_ns = (start or self.start_ns) + first * _NS // chosen.rate
        shape = Shape(
            stop - first,
            2 if chosen.channels == "stereo" else 1,
            chosen.rate,
            self.comments(chosen.title, start_ns) if chosen.metadata else {},
            start_ns=start_ns,
            marks=lambda: self._marks(chosen, start, end),
        )
        return shape, chosen

    def renderer(self, options: Options) -> Renderer | MasteredRenderer:
        """A renderer of both legs for options whose blanks are filled in."""
        self.refuse_encrypted()
        channels: Channels = options.channels  # type: ignore[assignment]  # Options has checked it
        if not options.mastered:
            return self._renderer(options, channels, options.start, options.end)
        from callreplay.audio.mastered import MasteredRenderer

        return MasteredRenderer(
            lambda apart: self._renderer(options, apart),
            channels,
            options.start,
            options.end,
            limiter=options.limiter,
            loudness=options.loudness,
            loudness_by=options.loudness_by,  # type: ignore[arg-type]
        )

    def _renderer(
        self, options: Options, channels: Channels, start: float = 0.0, end: float | None = None
    ) -> Renderer:
        first, last = self.bounds
        return Renderer(
            [leg.columns for leg in self.legs],
            options.rate,
            channels,
            start,
            end,
            options.dtmf,  # type: ignore[arg-type]
            events=[leg.events for leg in self.legs],
            origin_ns=first,
            stop_ns=last,
            external=[leg.external() for leg in self.legs],
            concealment=options.concealment,  # type: ignore[arg-type]
        )

    def release(self) -> None:
        """Give back the memory that what was read of the capture takes; what is read again comes from the file."""
        release(*(leg.columns.data for leg in self.legs))

    def refuse_encrypted(self) -> None:
        """Raise EncryptedError where the media is SRTP that could not be decrypted."""
        if self.encrypted:
            raise EncryptedError(
                f"{self._capture}, call {self.number}: the media is SRTP and no key fits it ({self.encrypted})"
            )

    def comments(self, title: str = "", start_ns: int | None = None) -> dict[str, str]:
        """What a file of this call says of itself: TITLE, DATE (of its first sample), CALLER and CALLED as signalling
        has them, CALLID where it gave one, UUID if stored.
        """  # noqa: D205
        comments = {
            "TITLE": title or self.title(),
            "DATE": utc(self.start_ns if start_ns is None else start_ns),
            "CALLER": self.party("caller"),
            "CALLED": self.party("called"),
            "CALLID": self.description.call_id,
            "UUID": self.uuid,
        }
        return {name: _printable(text) for name, text in comments.items() if text}

    def report(self, *, audio: bool = True) -> dict[str, Any]:
        """Everything known of the call as plain JSON data; ``audio`` decodes the legs to measure level and clipping."""
        from callreplay.report import call_report

        return call_report(self, audio=audio and not self.encrypted)

    def _stream(
        self, form: Format, options: Options, progress: Callable[[float], None] | None
    ) -> Iterator[Data]:
        from callreplay.outputs.formats import render

        shape, chosen = self.prepare(form, options)
        return render(form, shape, _with_progress(self.renderer(chosen), progress), chosen)

    def _marks(self, options: Options, start_ns: int, end_ns: int) -> list[Mark]:
        """Gaps of the legs as marks of a picture, in seconds from the picture's left edge."""
        from callreplay.outputs.waveform import Mark

        shown = {"caller": [self.caller], "called": [self.called]}.get(options.channels, list(self.legs))
        mono = options.channels == "mono"
        return [
            Mark(
                0 if mono else index,
                (start - start_ns) / _NS - options.start,
                (stop - start_ns) / _NS - options.start,
                "loss" if kind == "loss" else "silence",
            )
            for index, leg in enumerate(shown)
            for start, stop, kind in leg.marks(start_ns, end_ns)
            # Of two parties added together, one that is silent is nothing to mark.
            if kind == "loss" or not mono
        ]


def _printable(text: str) -> str:
    """What a wire said, fit for a field of a file: on one line, and not endless."""
    text = text[:_LONGEST_COMMENT]
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def _with_progress(
    renderer: Renderer | MasteredRenderer, progress: Callable[[float], None] | None
) -> Iterator[Pcm]:
    done = 0
    for block in renderer:
        yield block
        done += len(block)
        if progress is not None:
            progress(done / renderer.frames)


class Capture:
    """One capture, in one file or several: its calls, and what reading it brought to light.

    >>> with open_capture("samples/support.pcap") as capture:
    ...     report = capture.report(audio=False)
    >>> report["containers"], report["truncated"], len(report["calls"])
    (['pcap'], False, 1)
    """

    def __init__(
        self,
        name: str,
        scans: list[packets.Scan],
        calls: list[Call],
        warnings: list[str],
        aside: Sequence[order.Aside] = (),
    ) -> None:
        self.name: Final = name
        self.aside: Final = list(aside)
        """What belongs to no call at all: what signalling announced as video and the like."""
        self.scans: Final = scans
        self.calls: Final = calls
        self.warnings: Final = warnings
        self._origin: _Origin | None = None

    def __repr__(self) -> str:
        calls = f"{len(self.calls)} call" + ("" if len(self.calls) == 1 else "s")
        audio = length(sum(call.duration_s for call in self.calls), hours=True)
        return f"<Capture {self.name!r}: {calls}, {audio}>"

    def __len__(self) -> int:
        return len(self.calls)

    def __bool__(self) -> bool:
        return True  # one without calls is a capture all the same

    def __iter__(self) -> Iterator[Call]:
        return iter(self.calls)

    @overload
    def __getitem__(self, index: int) -> Call: ...
    @overload
    def __getitem__(self, index: slice) -> list[Call]: ...
    def __getitem__(self, index: int | slice) -> Call | list[Call]:
        """Call by position, from 0."""
        return self.calls[index]

    def __reduce__(self) -> tuple[Any, ...]:
        return _Origin.capture, (_pickled(self._origin, self),)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the capture. Calls and legs that are still held keep what they need."""
        self.scans.clear()
        self.calls.clear()

    def why_empty(self) -> str:
        """For a capture without calls: what was in it instead."""
        counts = self.counters()
        seen = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()) if count)
        return seen or "it holds no packets"

    def counters(self) -> dict[str, int]:
        """Counts of what was met and passed over, added up over the captures."""
        total: dict[str, int] = {}
        for scan in self.scans:
            for name, count in scan.counters.items():
                total[str(name)] = total.get(str(name), 0) + int(count)
        return total

    def report(self, *, audio: bool = True) -> dict[str, Any]:
        """The capture and its calls as plain JSON data; see ``Call.report``."""
        return {
            "name": self.name,
            "containers": [scan.container for scan in self.scans],
            "truncated": any(scan.truncated for scan in self.scans),
            "counters": self.counters(),
            "warnings": list(self.warnings),
            "set_aside": [one.report() for one in self.aside],
            "unread_signalling": [asdict(one) for scan in self.scans for one in scan.unread],
            "calls": [call.report(audio=audio) for call in self.calls],
        }


def undecodable_codecs(names: Iterable[str]) -> list[str]:
    """What cannot be decoded here of codecs by their names (``OPUS/48000``), a line each; empty where all can.

    >>> undecodable_codecs(["PCMU/8000", "EVS/16000"])
    ['EVS/16000 cannot be decoded']
    """
    found = []
    for name in dict.fromkeys(filter(None, names)):
        try:
            why = undecodable(parse_rtpmap(name))
        except ValueError:
            why = f"{name} cannot be decoded"
        found += [why] if why else []
    return found


def _hints(codecs: Mapping[int, str | Codec] | None) -> dict[int, Codec]:
    """Payload types to codecs. A name may have format parameters after it: ``AMR/8000;octet-align=1``."""
    hints = {}
    for payload_type, codec in (codecs or {}).items():
        if not 0 <= payload_type <= 127:
            raise ArgumentError(f"payload type {payload_type} is not 0 to 127")
        if isinstance(codec, Codec):
            hints[payload_type] = codec
            continue
        encoding, _, fmtp = codec.partition(";")
        try:
            hint = parse_rtpmap(encoding, fmtp.strip())
        except ValueError as error:
            raise ArgumentError(f"codec {payload_type}={codec}: {error}") from error
        if hint.name not in BY_NAME or (hint.kind == "other" and BY_NAME[hint.name].kind != "other"):
            known = ", ".join(sorted(name for name, each in BY_NAME.items() if each.kind != "other"))
            raise ArgumentError(f"codec {payload_type}={codec}: {encoding} is none that is known: {known}")
        hints[payload_type] = hint
    return hints


def _red_types(descriptions: list[CallDescription], hints: Mapping[int, Codec]) -> set[int]:
    """Payload types that signalling or a hint calls RED (RFC 2198)."""
    named = [hints, *(media.payload_types for call in descriptions for media in call.media)]
    return {pt for types in named for pt, codec in types.items() if codec.name.lower() == "red"}


def _side_index(source: Origin | None) -> bytes | OSError | None:
    """The octets of the side index of a stored leg, or why they cannot be read; None for any other source."""
    try:
        if isinstance(source, str):
            path = source + INDEX_SUFFIX
            return Path(path).read_bytes() if os.path.isfile(path) else None  # noqa: PTH113
        if isinstance(source, packets.Opener):
            with os.fdopen(source.open(INDEX_SUFFIX), "rb") as file:
                return file.read()
    except (FileNotFoundError, ValueError):
        return None
    except OSError as error:  # with the suffix the name may be too long
        return None if error.errno == errno.ENAMETOOLONG else error
    return None


def _file_id(path: str | os.PathLike[str]) -> FileId | None:
    """Which file that is; None where there is none."""
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _file_ids(file: File, indexed: bool) -> Iterator[FileId | None]:
    """The files that a source is of, the side index of a stored leg among them."""
    source = file.origin
    if isinstance(source, str):
        yield file.identity or _file_id(source)
        if indexed:
            yield _file_id(source + INDEX_SUFFIX)
    elif isinstance(source, packets.Opener):
        for suffix in recording_files(""):
            with contextlib.suppress(OSError):
                with os.fdopen(source.open(suffix), "rb") as opened:
                    status = os.fstat(opened.fileno())
                yield status.st_dev, status.st_ino


def _restore(
    found: bytes | OSError | None, name: str, scan: packets.Scan, warnings: list[str]
) -> recording.LegIndex | None:
    """Give a stored leg back what its side index keeps; None where there is none."""
    if found is None:
        return None
    try:
        if isinstance(found, OSError):
            raise found
        index = recording.parse_index(found)
        scan.streams = recording.restore(index, scan.rtp, scan.streams)
    except (FormatError, OSError) as error:
        # The packets are all there: what is lost is fractions of milliseconds and the signalling.
        warnings.append(f"read without its side index: {name}{INDEX_SUFFIX}: {error}")
        return None
    return index


def _stored_calls(indexes: list[recording.LegIndex | None]) -> list[CallDescription]:
    """What signalling said of stored legs, once for the legs of one call."""
    found: list[CallDescription] = []
    for index in indexes:
        if index and not index.inferred and index.call not in found:
            found.append(index.call)
    return found


def open_capture(
    *sources: Source,
    codecs: Mapping[int, str | Codec] | None = None,
    keylog: str | os.PathLike[str] | None = None,
) -> Capture:
    """Read a capture, in one file or several, and put its calls in order.

    ``sources``: paths, URLs (``https://…``; ``s3://``, ``gs://``, ``az://`` with obstore; any that fsspec knows),
    buffers that hold a whole file, or binary file objects, which are read to their end; pcap, pcapng, snoop, rtpdump,
    MJR or rtpproxy's records, compressed too. Files of one call come in any number and order, signalling here and media
    there, or a leg each; where nothing tells which leg is whose, the first is the caller's. ``codecs`` names payload
    types that no signalling names: ``{97: "opus/48000"}``, with format parameters where they matter:
    ``{97: "AMR/8000;octet-align=1"}``. ``keylog`` is a file with secrets of TLS connections (SSLKEYLOGFILE), so that
    SIP inside them is read.

    >>> with open_capture("samples/reservation.pcap") as capture:
    ...     [call.party("called") for call in capture.calls]
    ['Front Desk <2001>']
    >>> open_capture(b"a text, no packets")
    Traceback (most recent call last):
        ...
    callreplay.errors.CaptureError: <buffer>: not a capture: starts with 61 20 74 65 78 74 2c 20, which is neither ...

    Raises CaptureError for a file that is no capture or cannot be read, ArgumentError for bad hints and for files that
    are captures of their own, UnsupportedError where an extra is missing. Damage inside a capture is no error: it is in
    the reports.
    """
    if not sources:
        raise ArgumentError("a capture is needed")
    hints = _hints(codecs)
    local: list[Any] = [packets.localised(source) for source in sources]
    # What was read from a file object cannot be read from it again; what a URL names can.
    again = [g if packets.is_url(g) else s for g, s in zip(sources, local, strict=True)]
    origin = _Origin(tuple(again), {"codecs": codecs, "keylog": keylog})
    keys = packets.read_keylog(Path(keylog)) if keylog is not None else None
    read_warnings: list[str] = []
    files, described = open_files(local, read_warnings, [packets.name_of(source) for source in sources])
    beside = [_side_index(file.origin) for file in files]
    known = {
        each for file, index in zip(files, beside, strict=True) for each in _file_ids(file, index is not None)
    }
    gathered = gather(files, [found is not None for found in beside], keys, described)
    scans, names = gathered.scans, gathered.names
    if len(beside) != len(scans):
        beside = [None] * len(scans)
    indexes = [_restore(*leg, read_warnings) for leg in zip(beside, names, scans, strict=True)]
    if [index.side if index else "" for index in indexes] == ["called", "caller"]:
        scans.reverse()
        names.reverse()
    hints = {kind: codec for scan in scans for kind, codec in scan.codecs.items()} | hints
    descriptions = signalling.calls_of([message for scan in scans for message in scan.messages])
    descriptions += described
    descriptions += _stored_calls(indexes)
    red = _red_types(descriptions, hints)
    scans = [packets.unpack_red(packets.decrypt_srtp(scan, descriptions), red) for scan in scans]
    warnings = [f"{name}: {text}" for name, scan in zip(names, scans, strict=True) for text in scan.warnings]
    warnings += read_warnings
    reports = [report for scan in scans for report in scan.sender_reports]
    reports += [packets.SenderReport(*row) for index in indexes if index for row in index.reports]
    aside: list[order.Aside] = []
    media = order.assemble(
        scans if len(scans) > 1 else scans[0], descriptions, hints, reports, unplaced=aside
    )
    warnings += [str(one) for one in aside]
    for call in media:
        call.warnings += packets.doubts(call, scans)
    calls = [
        Call(
            number, call, names[0], packets.why_encrypted(call, scans), frozenset(filter(None, known)), origin
        )
        for number, call in enumerate(media, 1)
    ]
    capture = Capture(", ".join(names), scans, calls, warnings, aside)
    capture._origin = origin
    return capture
