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
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from callreplay import order, packets, signalling
from callreplay.audio.decode import decode_leg
from callreplay.audio.external import decode_spans, decoders, silent_spans, undecodable
from callreplay.audio.legs import External, is_native, leg_rate_hz
from callreplay.audio.mix import Renderer, default_rate_hz, timeline_bounds, window_frames
from callreplay.clock import length, utc
from callreplay.codecs import BY_NAME, Codec, parse_rtpmap
from callreplay.errors import ArgumentError, EncryptedError, FormatError
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
from callreplay.outputs.atomic import AtomicFile
from callreplay.outputs.formats import Data, Format, Shape, fit_options, format_of, render
from callreplay.outputs.options import Options
from callreplay.outputs.waveform import Mark
from callreplay.packets import recording
from callreplay.packets.arena import release
from callreplay.report import call_report
from callreplay.sources import Origin, Source, gather, open_files

__all__ = ["Call", "Capture", "Leg", "decoders", "open_capture", "undecodable_codecs"]

Pcm = NDArray[np.int16]

FileId = tuple[int, int]
"""Device and inode: the same under every name that a file has or is given while it is mapped."""

_NS: Final = 1_000_000_000
_MARKS: Final = {GapReason.LOST: "loss", GapReason.CAPTURE: "loss"}
"""Gaps that are marked as loss; all others are silence."""


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
    """

    def __init__(self, media: order.LegMedia) -> None:
        self.side: Final[Side] = media.side
        self.columns: Final[LegColumns] = media.columns
        self.statistics: Final[order.LegStatistics] = media.statistics
        self.events: Final[list[Event]] = media.events
        self.undecoded: list[str] = silent_spans(media.columns, media.side)
        """What of the leg cannot be decoded here, or (once it is asked for) was not: it is silent."""
        self.warnings: list[str] = [*media.warnings, *self.undecoded]
        self.flows: Final[list[Flow]] = list(dict.fromkeys(stream.flow for stream in media.streams))
        self._external: External | None = None
        self._lock = threading.Lock()

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

    def pcm(self, out: Pcm | None = None) -> Pcm:
        """The leg alone, decoded: int16 ``(n,)`` from its first sample on; ``out`` is used if given.

        Lost packets are concealed, but in what PyAV decodes (Opus and others), where they are silent.
        """
        return decode_leg(self.columns, out, external=self.external())

    def external(self) -> External | None:
        """PCM of the spans that PyAV decodes, made once; None where there are none."""
        if all(is_native(span.codec) for span in self.columns.spans):
            return None
        with self._lock:
            if self._external is None:
                self._external, refused = decode_spans(self.columns)
                self.warnings += refused
                self.undecoded += refused
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


class Call:
    """Two legs on one timeline, and what signalling said of them.

    >>> import tempfile
    >>> with open_capture("samples/reservation.pcap") as capture:
    ...     call = capture.calls[0]
    >>> call.title()
    'Ana Pop <0721555010> → Front Desk <2001>, 2026-01-06T08:30:02Z, 0:00:20'
    >>> call.mix().shape, call.mix("mono", rate=16000, start=1.0, end=2.0).shape
    ((159520, 2), (16000,))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     call.save(f"{folder}/call.wav", channels="stereo")
    ...     Path(f"{folder}/call.wav").stat().st_size
    638124
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
    ) -> None:
        self.number: Final = number
        self.description: Final[CallDescription] = media.description or CallDescription("")
        self.caller: Final = Leg(media.caller)
        self.called: Final = Leg(media.called)
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

    @property
    def legs(self) -> tuple[Leg, Leg]:
        """Caller and called."""
        return self.caller, self.called

    @property
    def bounds(self) -> tuple[int, int]:
        """Absolute times (ns) of the first sample and after the last; (0, 0) without any."""
        return timeline_bounds([leg.columns for leg in self.legs])

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

    def mix(
        self,
        channels: str = "stereo",
        rate: int = 0,
        start: float = 0.0,
        end: float | None = None,
        dtmf: str = "mute",
    ) -> Pcm:
        """Both legs on one timeline: int16 ``(n, 2)`` for ``stereo`` (caller left), ``(n,)`` for other channels.

        Raises EncryptedError for SRTP without keys.
        """
        options = Options(
            channels=channels, rate=rate or self.sample_rate_hz, start=start, end=end, dtmf=dtmf
        )
        renderer = self.renderer(options)
        return renderer.read(renderer.frames)

    def stream(
        self, format: str = "wav", *, options: Options | None = None, **values: Any
    ) -> Iterator[bytes]:
        """The bytes of an output file, in order, as they come to be. Keywords: the fields of ``formats.Options``.

        Raises ArgumentError for bad options and EncryptedError for SRTP without keys, both before the first byte.
        """
        return (bytes(part) for part in self._stream(format_of(format), options or Options.of(values), None))

    def save(
        self,
        path: str | os.PathLike[str],
        format: str = "",
        *,
        options: Options | None = None,
        progress: Callable[[float], None] | None = None,
        **values: Any,
    ) -> None:
        """Write an output file, whole or not at all. The format is ``format`` or the suffix's.

        ``progress`` is called with the share done, 0 to 1. Raises as ``stream``, and ArgumentError where ``path`` is a
        file that the call was read from, or a link to one; OutputError or OSError when writing fails, and then nothing
        is left under ``path``.
        """
        if _file_id(path) in self._files:
            raise ArgumentError(
                f"{os.fspath(path)!r} is the capture that the call is read from; write elsewhere"
            )
        form = format_of(format, Path(path))
        data = self._stream(form, options or Options.of(values), progress)
        with AtomicFile(path) as out:
            for part in data:
                out.write(part)

    def prepare(self, form: Format, options: Options) -> tuple[Shape, Options]:
        """What is known of an output before its first sample, and the options with their blanks filled in."""
        self.refuse_encrypted()
        chosen = fit_options(form, options, self.sample_rate_hz)
        start, end = self.bounds
        first, stop = window_frames(start, end, chosen.rate, chosen.start, chosen.end)
        shape = Shape(
            stop - first,
            2 if chosen.channels == "stereo" else 1,
            chosen.rate,
            self.comments(chosen.title),
            marks=lambda: self._marks(chosen, start, end),
        )
        return shape, chosen

    def renderer(self, options: Options) -> Renderer:
        """A renderer of both legs for options whose blanks are filled in."""
        self.refuse_encrypted()
        start, end = self.bounds
        return Renderer(
            [leg.columns for leg in self.legs],
            options.rate,
            options.channels,  # type: ignore[arg-type]  # Options has checked it
            options.start,
            options.end,
            options.dtmf,  # type: ignore[arg-type]
            events=[leg.events for leg in self.legs],
            origin_ns=start,
            stop_ns=end,
            external=[leg.external() for leg in self.legs],
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

    def comments(self, title: str = "") -> dict[str, str]:
        """What a file of this call says of itself: TITLE, DATE, CALLID where signalling gave one, UUID if stored."""
        comments = {"TITLE": title or self.title(), "DATE": utc(self.start_ns)}
        if self.description.call_id:
            comments["CALLID"] = self.description.call_id
        if self.uuid:
            comments["UUID"] = self.uuid
        return comments

    def report(self, *, audio: bool = True) -> dict[str, Any]:
        """Everything known of the call as plain JSON data; ``audio`` decodes the legs to measure level and clipping."""
        return call_report(self, audio=audio and not self.encrypted)

    def _stream(
        self, form: Format, options: Options, progress: Callable[[float], None] | None
    ) -> Iterator[Data]:
        shape, chosen = self.prepare(form, options)
        return render(form, shape, _with_progress(self.renderer(chosen), progress), chosen)

    def _marks(self, options: Options, start_ns: int, end_ns: int) -> list[Mark]:
        """Gaps of the legs as marks of a picture, in seconds from the picture's left edge."""
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


def _with_progress(renderer: Renderer, progress: Callable[[float], None] | None) -> Iterator[Pcm]:
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
        if isinstance(source, Path):
            path = recording.index_path(source)
            return path.read_bytes() if path.is_file() else None
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
        status = Path(path).stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _file_ids(source: Origin | None) -> Iterator[FileId | None]:
    """The files that a source is of, the side index of a stored leg among them."""
    if isinstance(source, Path):
        yield from (_file_id(source), _file_id(recording.index_path(source)))
    elif isinstance(source, packets.Opener):
        for suffix in recording_files(""):
            with contextlib.suppress(OSError):
                with os.fdopen(source.open(suffix), "rb") as file:
                    status = os.fstat(file.fileno())
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

    ``sources``: paths, buffers that hold a whole file, or streams, which are read to their end; pcap, pcapng, snoop,
    rtpdump, MJR or rtpproxy's records, compressed too. Files of one call come in any number and order, signalling here
    and media there, or a leg each; where nothing tells which leg is whose, the first is the caller's. ``codecs`` names
    payload types that no signalling names: ``{97: "opus/48000"}``, with format parameters where they matter:
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
    keys = packets.read_keylog(Path(keylog)) if keylog is not None else None
    read_warnings: list[str] = []
    files, described = open_files(sources, read_warnings)
    beside = [_side_index(file.origin) for file in files]
    known = {each for file in files for each in _file_ids(file.origin)}
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
        Call(number, call, names[0], packets.why_encrypted(call, scans), frozenset(filter(None, known)))
        for number, call in enumerate(media, 1)
    ]
    return Capture(", ".join(names), scans, calls, warnings, aside)
