"""From a capture to its calls.

>>> import callreplay
>>> with callreplay.open("samples/reservation.pcap") as capture:
...     for call in capture.calls:
...         print(call.number, call.duration_s, call.mix("stereo").shape)
1 19.940002 (159520, 2)

Nothing is decoded before it is asked for. A capture stays mapped until the last object that needs it is gone. Objects
may be shared by threads: each rendering has its own native state, and the native engine runs without the GIL.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final, Self, overload

from callreplay import order, packets, signalling
from callreplay.audio.external import decoders, undecodable
from callreplay.call import Call, FileId, file_id
from callreplay.clock import length
from callreplay.codecs import BY_NAME, Codec, parse_rtpmap
from callreplay.errors import ArgumentError, FormatError
from callreplay.leg import Leg
from callreplay.model import INDEX_SUFFIX, CallDescription
from callreplay.reopening import Reopening, pickled
from callreplay.sources import File, Gathered, Source, gather, open_files

if TYPE_CHECKING:
    from types import TracebackType

    from callreplay.packets import Opener, recording

__all__ = ["Call", "Capture", "Leg", "decoders", "open_capture", "undecodable_codecs"]


_STORED_LEG: Final = ".rtp"


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
        self._origin: Reopening | None = None

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
        return Reopening.capture, (pickled(self._origin, self),)

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
    hints: dict[int, Codec] = {}
    if not codecs:
        return hints
    for payload_type, codec in codecs.items():
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


def _side_index(file: File) -> bytes | OSError | None:
    """The octets of the side index of a stored leg, or why they cannot be read; None for any other source."""
    source = file.origin
    try:
        if source is None and packets.is_url(file.name) and file.name.endswith(_STORED_LEG):
            return packets.fetched_beside(file.name, INDEX_SUFFIX)
        if isinstance(source, str):
            path = source + INDEX_SUFFIX
            # Most have none, and to be told so by an exception costs more.
            if not os.access(path, os.F_OK) or not os.path.isfile(path):  # noqa: PTH113
                return None
            with open(path, "rb") as index:  # noqa: PTH123
                return index.read()
        if source is not None and packets.is_opener(source):
            with os.fdopen(source.open(INDEX_SUFFIX), "rb") as opened:
                return opened.read()
    except (FileNotFoundError, ValueError):
        return None
    except OSError as error:  # with the suffix the name may be too long
        return None if error.errno == errno.ENAMETOOLONG else error
    return None


class _Noted:
    """A source that opens itself, and which files it opened: to open them again for that costs as much."""

    def __init__(self, source: Opener) -> None:
        self._source = source
        self.name = source.name
        self.opened = set[FileId]()

    def open(self, suffix: str = "") -> int:
        descriptor = self._source.open(suffix)
        status = os.fstat(descriptor)
        self.opened.add((status.st_dev, status.st_ino))
        return descriptor


def _file_ids(file: File, indexed: bool) -> Iterator[FileId | None]:
    """The files that a source is of, the side index of a stored leg among them."""
    source = file.origin
    if isinstance(source, str):
        yield file.identity or file_id(source)
        if indexed:
            yield file_id(source + INDEX_SUFFIX)
    elif isinstance(source, _Noted):
        yield from source.opened


def _leg_index(found: bytes | OSError | None, name: str, warnings: list[str]) -> recording.LegIndex | None:
    """The side index of a stored leg; None where there is none that can be read."""
    if found is None:
        return None
    from callreplay.packets import recording

    try:
        if isinstance(found, OSError):
            raise found
        return recording.parse_index(found)
    except (FormatError, OSError) as error:
        warnings.append(_without_index(name, error))
        return None


def _without_index(name: str, error: Exception) -> str:
    # The packets are all there: what is lost is fractions of milliseconds and the signalling.
    return f"read without its side index: {name}{INDEX_SUFFIX}: {error}"


def _restored(
    gathered: Gathered, read: Sequence[recording.LegIndex | None], warnings: list[str]
) -> list[recording.LegIndex | None]:
    """Give stored legs back what their side indexes keep; those that are of their legs."""
    indexes = list(read)
    for number, (name, scan, index) in enumerate(zip(gathered.names, gathered.scans, read, strict=True)):
        if index is not None and number not in gathered.walked:
            from callreplay.packets import stored

            try:
                stored.restored(scan, index)
            except FormatError as error:
                warnings.append(_without_index(name, error))
                indexes[number] = None
    return indexes


def _secrets(keylog: str | os.PathLike[str]) -> packets.KeyLog:
    from pathlib import Path

    return packets.read_keylog(Path(keylog))


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
    origin = Reopening(open_capture, tuple(again), codecs=codecs, keylog=keylog)
    keys = _secrets(keylog) if keylog is not None else None
    read_warnings: list[str] = []
    noted = [_Noted(source) if packets.is_opener(source) else source for source in local]
    files, described = open_files(noted, read_warnings, [packets.name_of(source) for source in sources])
    beside = [_side_index(file) for file in files]
    known = {
        each for file, index in zip(files, beside, strict=True) for each in _file_ids(file, index is not None)
    }
    read = [_leg_index(found, file.name, read_warnings) for found, file in zip(beside, files, strict=True)]
    gathered = gather(files, [found is not None for found in beside], read, keys, described)
    scans, names = gathered.scans, gathered.names
    if len(read) != len(scans):
        read = [None] * len(scans)
    stored = any(read)
    indexes = _restored(gathered, read, read_warnings) if stored else read
    if len(indexes) == 2 and [index.side if index else "" for index in indexes] == ["called", "caller"]:
        scans.reverse()
        names.reverse()
    named: dict[int, Codec] = {}
    for scan in scans:
        named |= scan.codecs
    hints = named | hints
    descriptions = signalling.calls_of([message for scan in scans for message in scan.messages])
    descriptions += described
    if stored:
        descriptions += _stored_calls(indexes)
    red = _red_types(descriptions, hints)
    scans = [packets.unpack_red(packets.decrypt_srtp(scan, descriptions), red) for scan in scans]
    warnings = [f"{name}: {text}" for name, scan in zip(names, scans, strict=True) for text in scan.warnings]
    warnings += read_warnings
    reports = [report for scan in scans for report in scan.sender_reports]
    if stored:
        reports += [packets.SenderReport(*row) for index in indexes if index for row in index.reports]
    aside: list[order.Aside] = []
    media = order.assemble(
        scans if len(scans) > 1 else scans[0], descriptions, hints, reports, unplaced=aside
    )
    warnings += [str(one) for one in aside]
    calls = []
    of_files = frozenset(filter(None, known))
    for number, call in enumerate(media, 1):
        why, doubts = packets.judged(call, scans)
        call.warnings += doubts
        calls.append(Call(number, call, names[0], why, of_files, origin))
    capture = Capture(", ".join(names), scans, calls, warnings, aside)
    capture._origin = origin
    return capture
