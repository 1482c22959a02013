"""Several files of one call, sorted by what they hold: signalling, media, legs; in any number and any order.

What belongs together is read as one capture. Files that each hold whole calls and have nothing in common are captures
of their own: they are refused with the way to look at them, for together they would make calls that never were.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from callreplay import order, packets, signalling
from callreplay.deferred import dataclass
from callreplay.errors import ArgumentError, CaptureError
from callreplay.model import CallDescription, Message, Stream
from callreplay.packets.opening import PATHS
from callreplay.packets.recognise import JOINABLE, recognise

if TYPE_CHECKING:
    from callreplay.packets.recording import LegIndex

__all__ = ["File", "Gathered", "Origin", "Source", "gather", "metadata_of", "open_files"]

Source = (
    str
    | os.PathLike[str]
    | packets.Opener
    | bytes
    | bytearray
    | memoryview
    | NDArray[np.uint8]
    | packets.Readable
)
Origin = str | packets.Opener
"""What a file came from, where it can be opened again: by its path, or by itself."""
Announced = Callable[[list[Message]], Mapping[tuple[str, int], Set[int]]]

_NS: Final = 1_000_000_000
_GOES_ON_NS: Final = 3600 * _NS
"""A stream of one file goes on in another that begins at most so much later."""
_AT_ONCE_NS: Final = 5 * _NS
_MAX_METADATA: Final = 4 << 20


@dataclass(slots=True, eq=False)
class File:
    """One file, or one member of an archive: its name and its octets in the clear."""

    name: str
    data: NDArray[np.uint8]
    origin: Origin | None = None
    cut: bool = False
    """Its compression ended too soon, which is told."""
    identity: tuple[int, int] | None = None
    """Device and inode of the file that it is, or is in, where that was a regular one."""


@dataclass(slots=True)
class Gathered:
    """What is to be ordered together: one scan, or two of one leg each, the caller's first."""

    scans: list[packets.Scan]
    names: list[str]
    walked: frozenset[int] = frozenset()
    """Which of them have what their side indexes keep already."""


def open_files(
    sources: Sequence[Source], warnings: list[str], names: Sequence[str]
) -> tuple[list[File], list[CallDescription]]:
    """Open what was given: captures, the members of archives, and the calls that rtpengine's metadata tell of.

    Raises as ``packets.open_buffer`` does.
    """
    files: list[File] = []
    described: list[CallDescription] = []
    for source, given in zip(sources, names, strict=True):
        if isinstance(source, PATHS):
            origin: Origin | None = os.fspath(source)
            found, identity = packets.open_path(source, warnings)
        else:
            origin, identity = source if packets.is_opener(source) else None, None
            found = packets.open_octets(source, given, warnings)
        for member in found:
            name = _inside(given, member.name) if len(found) > 1 else given
            call = _metadata(member.data)
            if call is not None:
                described.append(call)
            else:
                files.append(File(name, member.data, origin, member.cut, identity))
    if not files and described:
        raise CaptureError(f"{names[0]}: metadata of a recording, without the recording itself")
    for file in files:
        if isinstance(file.origin, str) and not described:
            described += metadata_of(file.origin)
    return files, described


def _inside(archive: str, member: str) -> str:
    from pathlib import Path

    return f"{archive if packets.is_url(archive) else Path(archive)}/{member}"


def _metadata(data: NDArray[np.uint8]) -> CallDescription | None:
    if len(data) > _MAX_METADATA or 0 in data[:24].tobytes():  # most captures; a text has none
        return None
    from callreplay.signalling import rtpengine

    if not rtpengine.is_metadata(data[:4096].tobytes()):
        return None
    return rtpengine.parse(data.tobytes())


def metadata_of(path: str | os.PathLike[str]) -> list[CallDescription]:
    """What rtpengine's metadata beside its pcap tell of: ``metadata/X.txt`` for ``pcaps/X.pcap``, or ``X.txt``."""
    # Of texts: paths take several times as long, and most calls have none of these files.
    text = os.fspath(path)
    if not text.endswith(".pcap"):
        return []
    folder, name = _split(text)
    if name == ".pcap":
        return []
    text_name = f"{name[:-5]}.txt"
    above = _split(folder)[0]
    for beside in (f"{folder or '.'}/{text_name}", f"{above or '.'}/metadata/{text_name}"):
        if not os.access(beside, os.F_OK):  # to be told so by an exception costs more
            continue
        try:
            status = os.stat(beside)  # noqa: PTH116
            if stat.S_ISREG(status.st_mode) and status.st_size <= _MAX_METADATA:
                from callreplay.signalling import rtpengine

                with open(beside, "rb") as file:  # noqa: PTH123
                    said = file.read()
                call = rtpengine.parse(said) if rtpengine.is_metadata(said[:4096]) else None
                return [call] if call is not None else []
        except OSError:
            continue
    return []


def _split(path: str) -> tuple[str, str]:
    """What ``os.path.split`` gives, in a quarter of its time."""
    head, slash, tail = path.rpartition("/")
    return head.rstrip("/") or head + slash, tail


@dataclass(slots=True, eq=False)
class _Held:
    """What one file holds by itself."""

    file: File
    scan: packets.Scan
    call_ids: set[str]
    whole: bool
    calls: int
    joinable: bool


def gather(
    files: Sequence[File],
    recorded: Sequence[bool],
    indexes: Sequence[LegIndex | None],
    keys: packets.KeyLog | None,
    described: Sequence[CallDescription],
) -> Gathered:
    """Scan ``files`` and put together what belongs together.

    ``recorded`` tells legs that we stored ourselves, ``indexes`` are their side indexes where these can be read.
    Raises ArgumentError where they are captures of their own, or more legs than a call has.
    """
    heard: list[Message] = []

    def announced(messages: list[Message]) -> dict[tuple[str, int], set[int]]:
        return signalling.announced([*signalling.describe([*heard, *messages]), *described])

    if len(files) == 1 or any(recorded):
        if len(files) > 2:
            raise ArgumentError(f"a stored call has two legs, not {len(files)}")
        scans: list[packets.Scan] = []
        walked = set()
        for number, (file, own, index) in enumerate(zip(files, recorded, indexes, strict=True)):
            scan = _walked(file, index) if index is not None and keys is None else None
            if scan is not None:
                walked.add(number)
            else:
                scan = packets.scan(file.data, name=file.name, announced=announced, recorded=own, keys=keys)
            scans.append(scan)
            heard += scans[-1].messages
            if file.cut:  # that its last record is cut as well says nothing new
                scans[-1].warnings = [text for text in scans[-1].warnings if not text.startswith(packets.CUT)]
        return Gathered(scans, [file.name for file in files], frozenset(walked))
    held = [_look(file, announced, keys) for file in files]
    _refuse_strangers(held)
    media = [one for one in held if one.scan.streams]
    if any(not one.joinable for one in media):
        return _as_legs(held, media, described)
    silent = not described and not any(one.scan.messages for one in held)
    if len(media) == 2 and silent and all(one.calls == 1 and not one.whole for one in media):
        # A direction each, and no signalling: the order of the files says whose, and that they are of one call.
        return Gathered([one.scan for one in media], [one.file.name for one in media])
    return _together(files, announced, keys)


def _walked(file: File, index: LegIndex) -> packets.Scan | None:
    from callreplay.packets import stored  # which few captures are

    return stored.walked(file.data, index, file.name)


def _look(file: File, announced: Announced, keys: packets.KeyLog | None) -> _Held:
    kind = recognise(file.data, file.name)
    scan = packets.scan(file.data, name=file.name, announced=announced, keys=keys)
    calls = signalling.calls_of(scan.messages)
    media = order.assemble(scan, calls) if scan.streams else []
    whole = any(not call.caller.empty and not call.called.empty for call in media)
    ids = {call.call_id for call in calls if call.call_id}
    return _Held(file, scan, ids, whole, len(media), kind.number in JOINABLE)


def _refuse_strangers(held: Sequence[_Held]) -> None:
    """Whole calls in several files: parts of one capture where a call or a stream goes on from one to another."""
    whole = [one for one in held if one.whole]
    if len(whole) < 2:
        return
    reached = {0}
    waiting = [0]
    while waiting:
        here = waiting.pop()
        for index, other in enumerate(whole):
            if index not in reached and _related(whole[here], other):
                reached.add(index)
                waiting.append(index)
    strangers = [one for index, one in enumerate(whole) if index not in reached]
    if strangers:
        first, second = whole[0].file.name, strangers[0].file.name
        raise ArgumentError(
            f"{first} and {second} each hold whole calls and have none in common: they are captures of their own, not "
            "files of one. Name one at a time, or give both to `callreplay batch` or `callreplay import`"
        )


def _related(one: _Held, other: _Held) -> bool:
    first, second = (one, other) if one.scan.first_ns <= other.scan.first_ns else (other, one)
    if second.scan.first_ns - first.scan.last_ns > _GOES_ON_NS:
        return False
    if one.call_ids & other.call_ids:
        return True
    streams = {
        (stream.flow.source, stream.flow.source_port, stream.ssrc): stream for stream in first.scan.streams
    }
    return any(
        _goes_on(first.scan, streams[key], second.scan, stream)
        for stream in second.scan.streams
        if (key := (stream.flow.source, stream.flow.source_port, stream.ssrc)) in streams
    )


def _goes_on(scan: packets.Scan, stream: Stream, later: packets.Scan, following: Stream) -> bool:
    """Whether a stream of one file goes on in another: its numbers, as many as the time between the files asks for."""
    last, first = scan.rtp, later.rtp
    here, there = _row(stream, -1, len(last.offset)), _row(following, 0, len(first.offset))
    pause_ns = int(first.arrival_ns[there]) - int(last.arrival_ns[here])
    if not -_AT_ONCE_NS < pause_ns < _GOES_ON_NS:
        return False
    step = (int(first.sequence[there]) - int(last.sequence[here]) + 0x8000) % 0x10000 - 0x8000
    ticks = (int(first.timestamp[there]) - int(last.timestamp[here]) + (1 << 31)) % (1 << 32) - (1 << 31)
    # Clocks from 8 to 48 kHz; numbers go on by no more than a packet a millisecond.
    slack = 8000 * _AT_ONCE_NS // _NS
    fits = pause_ns * 8000 // _NS - slack <= ticks <= pause_ns * 48000 // _NS + 6 * slack
    return fits and -300 < step < max(300, pause_ns // 1_000_000)


def _row(stream: Stream, which: int, total: int) -> int:
    rows = stream.rows
    if isinstance(rows, slice):
        every = range(*rows.indices(total))
        return every[which]
    return int(rows[which])


def _together(files: Sequence[File], announced: Announced, keys: packets.KeyLog | None) -> Gathered:
    """All files as one capture."""
    data, spans = packets.lay_together([file.data for file in files])
    parts = [packets.Part(*span, file.name) for span, file in zip(spans, files, strict=True)]
    name = ", ".join(file.name for file in files)
    return Gathered([packets.scan(data, name=name, parts=parts, announced=announced, keys=keys)], [name])


def _as_legs(held: Sequence[_Held], media: Sequence[_Held], described: Sequence[CallDescription]) -> Gathered:
    """Files without the addresses of both ends (rtpdump, MJR, rtpproxy) are a leg each; others may say of what call."""
    if len(media) > 2:
        listed = ", ".join(one.file.name for one in media)
        raise ArgumentError(f"a call has two legs, and these are {len(media)} files of media: {listed}")
    messages = sorted((m for one in held for m in one.scan.messages), key=lambda message: message.arrival_ns)
    calls = [*described, *signalling.calls_of(messages)]
    legs = sorted(media, key=lambda one: _leg_rank(one, calls)) if len(media) == 2 else list(media)
    for one in held:
        if one not in legs:
            legs[0].scan.messages = sorted(
                [*legs[0].scan.messages, *one.scan.messages], key=lambda message: message.arrival_ns
            )
            legs[0].scan.warnings += [f"{one.file.name}: {text}" for text in one.scan.warnings]
    return Gathered([one.scan for one in legs], [one.file.name for one in legs])


def _leg_rank(one: _Held, calls: Iterable[CallDescription]) -> int:
    """0 for the caller's leg, 2 for the called's, 1 where neither signalling nor the name tells."""
    for stream in one.scan.streams:
        flow = stream.flow
        for call in calls:
            for row in call.media:
                if flow.destination_port == row.port and flow.destination in ("", row.address):
                    return 2 if row.side == "caller" else 0
                if flow.source_port == row.port and flow.source in ("", row.address):
                    return 0 if row.side == "caller" else 2
    # rtpproxy: originator and answerer, whatever has been added behind.
    name = one.file.name.lower()
    return 0 if ".o.rtp" in name else 2 if ".a.rtp" in name else 1
