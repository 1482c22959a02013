"""Rotated captures: which files follow each other, and which of their calls go on in the next.

``tcpdump -C`` and ``-G`` and ``dumpcap -b`` begin a new file where the last one is full; calls go on. Files whose names
are those of one rotation and whose times follow each other are read as one capture. Of a rotation that is not all there
yet, or too long to be read at once, calls that may go on are left to the next reading, which begins with the file in
which the earliest of them began; what the one before has filed it knows by its end (`Carry`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from callreplay import packets
from callreplay.errors import CallReplayError
from callreplay.importing.filing import CallRecord
from callreplay.splitting.spooling import Limits

__all__ = [
    "Carry",
    "Member",
    "again",
    "begins",
    "follows",
    "key",
    "limits",
    "members",
    "pending",
    "rotations",
    "runs",
    "settled",
    "window",
]

_COMPRESSED: Final = re.compile(r"\.(gz|zst)$", re.IGNORECASE)
_DUMPCAP: Final = re.compile(r"^(.*)_(\d{5,})_\d{14}(\.\w+)?$")
_NUMBERED: Final = re.compile(r"^(.*\.(?:pcap|pcapng|cap|dmp|dump))(\d*)$", re.IGNORECASE)
# What strftime makes of dates, times of day and seconds since 1970.
_TIME: Final = re.compile(
    r"(?<!\d)(?:(?:19|20)\d\d[-_.]?\d\d[-_.]?\d\d(?:[T _.-]?\d\d[-_.:h]?\d\d(?:[-_.:m]?\d\d)?)?|1\d{9})(?!\d)"
)

_GAP_NS: Final = 120 * 10**9
_OVERLAP_NS: Final = 2 * 10**9
"""Between the last packet of a file and the first of the next: a quiet line, and packets out of order."""
_ENDED_NS: Final = 5 * 10**9
"""After BYE or a final failure there are retransmissions and the last packets of the other side."""
_QUIET_NS: Final = 180 * 10**9
"""A call that only RTP tells of, or that rings, does not go on after so much silence."""
_HELD_NS: Final = 3600 * 10**9
"""One that was answered may be on hold, or its BYE was lost."""
_MOST_FILES: Final = 256
_MOST_OCTETS: Final = 16 << 30


@dataclass(frozen=True, slots=True)
class Member:
    """A file of a rotation and the times of its packets."""

    path: Path
    first_ns: int
    last_ns: int


@dataclass(frozen=True, slots=True)
class Carry:
    """What a reading leaves to the next: the time up to which it read, and its calls that may go on.

    A call is known by its Call-ID and start, which it has again in a reading that holds all of it.
    """

    until_ns: int = 0
    waiting: frozenset[tuple[str, int]] = frozenset()


def key(path: Path) -> tuple[Path, str, int] | None:
    """(folder, the name's constant part, number) of a name that a rotation may have given; None for any other."""
    name = _COMPRESSED.sub("", path.name)
    found = _DUMPCAP.match(name)
    if found:
        return path.parent, f"{found[1]}_\0{found[3] or ''}", int(found[2])
    number = 0
    found = _NUMBERED.match(name)
    if found and found[2]:
        name, number = found[1], int(found[2])
    timed, times = _TIME.subn("\0", name)
    if times or found:
        return path.parent, timed, number
    return None


def rotations(paths: Iterable[Path]) -> list[Path | tuple[Member, ...]]:
    """The paths in order, those of a rotation together where the first of them stood, in order of time."""
    every = list(paths)
    groups: dict[tuple[Path, str], list[Path]] = {}
    for path in every:
        found = key(path)
        if found is not None:
            groups.setdefault(found[:2], []).append(path)
    place = {path: number for number, path in enumerate(every)}
    together: dict[Path, tuple[int, tuple[Member, ...]]] = {}
    for group in groups.values():
        for run in runs(members(group)) if len(group) > 1 else ():
            if len(run) > 1:
                first = min(place[member.path] for member in run)
                together.update({member.path: (first, run) for member in run})
    units: list[Path | tuple[Member, ...]] = []
    for number, path in enumerate(every):
        first, found_run = together.get(path, (number, ()))
        if first == number:
            units.append(found_run or path)
    return units


def members(paths: Iterable[Path]) -> list[Member]:
    """The times of captures, in order of time; those that have no packets or cannot be read are left out."""
    found = []
    for path in paths:
        try:
            times = packets.span(packets.open_buffer(path, warnings=[]), str(path))
        except (CallReplayError, OSError):
            continue  # read alone, it says what is wrong
        if times is not None:
            found.append(Member(path, *times))
    return sorted(found, key=lambda member: (member.first_ns, key(member.path) or ()))


def runs(found: Sequence[Member]) -> list[tuple[Member, ...]]:
    """Members in order of time, those together that follow each other."""
    parts: list[list[Member]] = []
    for member in found:
        if parts and follows(parts[-1][-1], member):
            parts[-1].append(member)
        else:
            parts.append([member])
    return [tuple(part) for part in parts]


def follows(one: Member, other: Member) -> bool:
    """Whether ``other`` may be the file after ``one``."""
    return one.first_ns <= other.first_ns and -_OVERLAP_NS <= other.first_ns - one.last_ns <= _GAP_NS


def window(run: Sequence[Member], begin: int, new: int) -> int:
    """Where a reading from ``begin`` ends that has at least the member ``new``: not too many files or octets."""
    octets, stop = 0, begin
    while stop < len(run) and stop - begin < _MOST_FILES:
        octets += run[stop].path.stat().st_size
        if stop > new and octets > _MOST_OCTETS:
            break
        stop += 1
    return stop


def again(run: Sequence[Member]) -> int:
    """The first member from which on all may be read again: half of what a reading takes, and always the last."""
    octets = 0
    for at in range(len(run) - 1, -1, -1):
        octets += run[at].path.stat().st_size
        if at < len(run) - 1 and (octets > _MOST_OCTETS // 2 or len(run) - at > _MOST_FILES // 2):
            return at + 1
    return 0


def pending(call: CallRecord, last_ns: int) -> bool:
    """Whether a call may go on after ``last_ns``, the end of what was read."""
    silence_ns = last_ns - call.end_ns
    if call.description.end_ns:
        return silence_ns < _ENDED_NS
    return silence_ns < (_HELD_NS if call.description.status == "answered" else _QUIET_NS)


def limits() -> Limits:
    """When calls are over, for what splits a rotation: as `pending` has it."""
    return Limits(_ENDED_NS / 1e9, _QUIET_NS / 1e9, _HELD_NS / 1e9)


def settled(call: CallRecord, carry: Carry) -> bool:
    """Whether the reading before has dealt with a call: what is left of it here, if not all, has the same end."""
    if not carry.until_ns or (call.description.call_id, call.start_ns) in carry.waiting:
        return False
    return not pending(call, carry.until_ns)


def begins(run: Sequence[Member], start_ns: int) -> int:
    """The first member that may hold packets from ``start_ns`` on."""
    return next((at for at, member in enumerate(run) if member.last_ns >= start_ns), len(run))
