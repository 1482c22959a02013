"""A call, as Python programs ask for it: two legs on one timeline, and whatever can be made of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, Literal, Unpack, overload

import numpy as np

from callreplay import order
from callreplay.audio.blocks import Blocks, Float32, Int16, read_all
from callreplay.audio.legs import Concealment
from callreplay.audio.mix import Channels, Renderer, default_rate_hz, timeline_bounds, window_frames
from callreplay.clock import length, utc
from callreplay.errors import ArgumentError, EncryptedError
from callreplay.evidence import Verdict
from callreplay.leg import FloatPcm, Leg, Pcm
from callreplay.model import CallDescription, Side
from callreplay.packets.arena import release
from callreplay.reopening import Reopening, pickled

if TYPE_CHECKING:
    from callreplay.audio.mastered import MasteredRenderer
    from callreplay.audio.mastering import LoudnessBy
    from callreplay.audio.segments import Segment
    from callreplay.audio.speech import Conversation, Detector
    from callreplay.outputs.files import Writable
    from callreplay.outputs.formats import Data, Format, FormatName, Shape
    from callreplay.outputs.option_values import OptionValues
    from callreplay.outputs.options import Options
    from callreplay.outputs.waveform import Marks
    from callreplay.transcripts import Recogniser, Transcript

__all__ = ["Call", "FileId", "file_id"]

FileId = tuple[int, int]
"""Device and inode: the same under every name that a file has or is given while it is mapped."""

_NS: Final = 1_000_000_000
_LONGEST_COMMENT: Final = 1024


class Call:
    """Two legs on one timeline, and what signalling said of them.

    >>> import callreplay, pathlib, tempfile
    >>> with callreplay.open("samples/reservation.pcap") as capture:
    ...     call = capture.calls[0]
    >>> call.title()
    'Ana Pop <0721555010> → Front Desk <2001>, 2026-01-06T08:30:01Z, 0:00:20'
    >>> call.mix().shape, call.mix("mono", rate=16000, start=1.0, end=2.0).shape
    ((159520, 2), (16000,))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     call.save(f"{folder}/call.wav", channels="stereo")
    ...     pathlib.Path(f"{folder}/call.wav").stat().st_size
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
        origin: Reopening | None = None,
    ) -> None:
        self.number: Final = number
        self.description: Final[CallDescription] = media.description or CallDescription("")
        self.caller: Final = Leg(media.caller)
        self.called: Final = Leg(media.called)
        self._origin = origin
        self._bounds: Final = timeline_bounds([self.caller.columns, self.called.columns])
        for leg in (self.caller, self.called):
            leg._origin, leg._number, leg._call_bounds = origin, number, self._bounds
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
        return Reopening.call, (pickled(self._origin, self), self.number), {"uuid": self.uuid}

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
        return [*self.caller.undecoded, *self.called.undecoded]

    def all_warnings(self) -> list[str]:
        """What was odd about the call and its legs, as far as is known yet."""
        return [*self.warnings, *self.caller.warnings, *self.called.warnings]

    def title(self) -> str:
        """One line: who, whom, when, how long."""
        return self._title(self.party("caller"), self.party("called"))

    def _title(self, caller: str, called: str) -> str:
        clock = length(self.duration_s, hours=True)
        return f"{caller} → {called}, {utc(self.start_ns)[:19]}Z, {clock}"

    def party(self, side: Side) -> str:
        """A party's name and number as signalling has them, else its address."""
        said = self.description
        if side == "caller":
            number, name, leg, other = said.caller_number, said.caller_name, self.caller, self.called
        else:
            number, name, leg, other = said.called_number, said.called_name, self.called, self.caller
        if number or name:
            return f"{name} <{number}>" if number and name else number or name
        if leg.flows:
            flow = leg.flows[0]
            return f"{flow.source}:{flow.source_port}"
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

        >>> import callreplay, numpy
        >>> with callreplay.open("samples/reservation.pcap") as capture:
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

    def speech(self, detector: Detector = "native") -> Conversation:
        """Talk time, silence, overlap, interruptions and longest monologues; who talks when: ``Leg.speech``."""
        from callreplay.audio.speech import conversation

        return conversation(self.caller.speech(detector), self.called.speech(detector), self.duration_s)

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

        if isinstance(path, str | os.PathLike) and file_id(path) in self._files:
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
        caller, called = self.party("caller"), self.party("called")
        comments = {
            "TITLE": title or self._title(caller, called),
            "DATE": utc(self.start_ns if start_ns is None else start_ns),
            "CALLER": caller,
            "CALLED": called,
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

    def _marks(self, options: Options, start_ns: int, end_ns: int) -> list[Marks]:
        """Gaps of the legs as marks of a picture, in seconds from the picture's left edge."""
        from callreplay.outputs.waveform import Marks

        shown = {"caller": [self.caller], "called": [self.called]}.get(options.channels, list(self.legs))
        mono = options.channels == "mono"
        marks = []
        for index, leg in enumerate(shown):
            starts, stops, lost = leg.missing(start_ns, end_ns)
            if mono:
                # Of two parties added together, one that is silent is nothing to mark.
                starts, stops, lost = starts[lost], stops[lost], lost[lost]
            marks.append(
                Marks(
                    0 if mono else index,
                    (starts - start_ns) / _NS - options.start,
                    (stops - start_ns) / _NS - options.start,
                    lost,
                )
            )
        return marks


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


def file_id(path: str | os.PathLike[str]) -> FileId | None:
    """Which file that is; None where there is none."""
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return status.st_dev, status.st_ino
