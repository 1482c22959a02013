"""Spools on disk: what a packet's group is decided, its spool is written to, and, once its calls are over, handed on.

A folder holds ``open-N`` (files of groups that go on, of the N-th start) and ``closed`` (notes: for each group that
is to be imported the files that are its own). Notes are the journal: a file that a note names is imported with it
and removed after that; every other file is split again by the next start (`callreplay.splitting.recovery`).
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from uuid import UUID

from callreplay.model import Flow, Message
from callreplay.packets.messages import MessageReader
from callreplay.splitting.frames import segments
from callreplay.splitting.groups import Board, Group
from callreplay.splitting.hearing import Hearing
from callreplay.splitting.remote import Closing, Far, file_name, key_of, worker_of
from callreplay.splitting.splitter import Splitter
from callreplay.splitting.stops import Stop

_log = logging.getLogger(__name__)

__all__ = ["CLOSED", "Closed", "Limits", "Spooler", "make_room", "sync"]

CLOSED: Final = "closed"
_NS: Final = 10**9
_RUN: Final = 1 << 16
_SWEEP_NS: Final = _NS
_SET_BACK_NS: Final = 60 * _NS
_LOOK_NS: Final = 20 * _NS
"""A group is looked at so often, whatever was heard of it."""
_TOGETHER_NS: Final = 3 * _NS
_STALE_NS: Final = 600 * _NS
_GAP_NS: Final = 5 * _NS
"""So long a segment of TCP that was not captured is waited for."""
_BUFFERED: Final = 64 << 20
_BACKLOG: Final = 256 << 20
"""Octets that may wait in memory where the disk takes none."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When a group is over, in seconds of capture time.

    ``ended``: after BYE or a final failure. ``quiet``: without a packet, of what only RTP tells of or was not answered.
    ``held``: without a packet, of an answered call. ``part``: how long one file of a call may go on. ``parts``: files
    of one call, after which it is imported as far as it came.
    """

    ended: float = 5.0
    quiet: float = 180.0
    held: float = 3600.0
    part: float = 3600.0
    parts: int = 24


@dataclass(frozen=True, slots=True)
class Closed:
    """A group to be imported: its note, its files (in order of their beginning), and drops of the kernel meanwhile."""

    note: Path
    files: tuple[Path, ...]
    drops: int = 0
    row: UUID | None = None
    """That the call had in the database while it went on."""


@dataclass(slots=True)
class Spooler:
    """Splits what its ``splitter`` is given. ``closed`` gets each group whose calls are over, once it is on the disk.

    ``durable``: files are synced at each ``flush``, and only what was synced is handed on. Without, as for the import
    of a capture that stays where it is, groups are handed on at once.
    """

    folder: Path
    epoch: int
    closed: Callable[[Closed], None]
    limits: Limits = field(default_factory=Limits)
    durable: bool = True
    splitter: Splitter = field(default_factory=Splitter)
    breathe: Callable[[], None] = lambda: None
    """Called now and then while a source is split."""
    board: Board = field(init=False)
    hearing: Hearing = field(init=False)
    junk: int = 0
    """Spools of what looked like RTP and was none."""
    groups: int = 0
    """Groups handed on."""
    _directory: int = -1
    _flows: dict[int, Flow] = field(default_factory=dict)
    _texts: dict[bytes, str] = field(default_factory=dict)
    _reader: MessageReader = field(init=False)
    _sequence: int = 1
    _made: int = 0
    _names_of: dict[int, str] = field(default_factory=dict)
    _swept_ns: int = 0
    _tidied_ns: int = 0
    _waiting: list[Closed] = field(default_factory=list)
    far: Far = field(default_factory=Far)
    _far_groups: dict[tuple[int, int], Group] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.board = Board(self)
        self.hearing = Hearing(self.board)
        self._reader = MessageReader(self._flow, {})
        (self.folder / CLOSED).mkdir(parents=True, exist_ok=True)
        self.open_folder.mkdir(exist_ok=True)
        self._directory = os.open(self.open_folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    @property
    def open_folder(self) -> Path:
        """Where files are written."""
        return self.folder / f"open-{self.epoch}"

    def shut(self) -> None:
        """Let go of the folder; what is open stays there for the next start."""
        if self._directory >= 0:
            os.close(self._directory)
            self._directory = -1

    # Packets

    def drain(self) -> Stop:
        """Split all that the splitter has been given; END, CUT or DAMAGED."""
        splitter = self.splitter
        while True:
            stop = splitter.run(_RUN, self._swept_ns + _SWEEP_NS)
            if stop == Stop.WAY:
                self._way()
            elif stop == Stop.MESSAGE:
                self._message()
            elif stop == Stop.SEGMENT:
                self._segment()
            elif stop != Stop.MORE:
                return Stop(stop)
            else:
                self.breathe()
            if not -_SET_BACK_NS < splitter.last_ns - self._swept_ns < _SWEEP_NS:
                self.sweep(splitter.last_ns)
            if splitter.buffered > _BUFFERED:
                self._write_out()

    def _way(self) -> None:
        way, _, media, _, _, _ = self.splitter.pending()
        source, sport, destination, dport = self.splitter.way(way)
        ends = (self._text(source), sport), (self._text(destination), dport)
        if self.board.add_way(way, *ends, self.splitter.last_ns, media) is None:
            self.splitter.leave(way)
        elif (spool := self.splitter.spool_of(way)) >= 0:
            self.splitter.keep(spool)

    def _message(self) -> None:
        way, _, _, now_ns, _, _ = self.splitter.pending()
        message = Message("sip", now_ns, self._flow(way), "udp", self.splitter.payload())
        group = self.hearing.take(message, self.splitter.last_ns)
        if group is not None and (spool := self.spool_for(group)) >= 0:
            self.splitter.keep(spool)

    def _segment(self) -> None:
        way, kind, _, now_ns, sequence, flags = self.splitter.pending()
        self._write_messages(self._reader.take(way, kind, now_ns, self.splitter.payload(), sequence, flags))

    def _write_messages(self, messages: Iterable[Message]) -> None:
        for message in messages:
            group = self.hearing.take(message, self.splitter.last_ns)
            if group is None or (spool := self.spool_for(group)) < 0:
                continue
            for frame in segments(message.flow, message.payload, self._sequence):
                self.splitter.write(spool, message.arrival_ns, frame)
            self._sequence = (self._sequence + len(message.payload) + 1) & 0xFFFFFFFF

    def _text(self, address: bytes) -> str:
        text = self._texts.get(address)
        if text is None:
            if len(self._texts) > 1 << 17:
                self._texts.clear()
            family = socket.AF_INET6 if len(address) == 16 else socket.AF_INET
            text = self._texts[address] = socket.inet_ntop(family, address) if any(address) else ""
        return text

    def _flow(self, way: int) -> Flow:
        flow = self._flows.get(way)
        if flow is None:
            source, sport, destination, dport = self.splitter.way(way)
            flow = self._flows[way] = Flow(self._text(source), sport, self._text(destination), dport)
        return flow

    # What the board asks for

    def spool_for(self, group: Group) -> int:
        """The spool of a group; -1 where there are too many."""
        if not group.spools:
            name = self._name()
            spool = self.splitter.spool(name.encode(), bool(group.talks))
            if spool < 0:
                return -1
            self._names_of[spool] = name
            group.spools.append(spool)
            group.changed = True
        return group.spools[0]

    def _name(self) -> str:
        self._made += 1
        return f"{self._made:x}.pcapng"

    def _rename(self, spool: int) -> None:
        self._names_of[spool] = self._name()
        self.splitter.rename(spool, self._names_of[spool].encode())

    def _let_go(self, spool: int) -> None:
        self.splitter.drop(spool)
        self._names_of.pop(spool, None)

    def put(self, way: int, group: Group) -> None:
        """From now on the packets of a way go to the group's spool."""
        worker, key = worker_of(way)
        if worker >= 0:
            number = next((each for at, each in group.remote if at == worker), group.number)
            if (worker, number) not in group.remote:
                group.remote[worker, number] = 0
                group.changed = True
            self._far_groups[worker, number] = group
            self.far.speakers[worker].send("place", key, number, bool(group.talks))
            return
        spool = self.spool_for(group)
        if spool >= 0:
            self.splitter.place(way, spool)

    # Workers

    def far_way(
        self,
        worker: int,
        key: int,
        source: tuple[bytes, int],
        target: tuple[bytes, int],
        now_ns: int,
        media: bool,
    ) -> None:
        """A worker met a way and waits to hear where it goes."""
        ends = (self._text(source[0]), source[1]), (self._text(target[0]), target[1])
        self.board.add_way(key_of(worker, key), *ends, max(now_ns, self.splitter.last_ns), media)
        self.far.speakers[worker].send("answer", key)

    def far_part(self, worker: int, number: int) -> None:
        """A worker has begun a new file of a group."""
        group = self._far_groups.get((worker, number))
        if group is not None and (group := group.standing).remote.get((worker, number)) is not None:
            group.files.append(file_name(worker, number, group.remote[worker, number]))
            group.remote[worker, number] += 1
            group.changed = True

    def far_heard(self, worker: int, heard: dict[int, int]) -> None:
        """When a worker met the last packets of groups."""
        for number, last_ns in heard.items():
            group = self._far_groups.get((worker, number))
            if group is not None:
                group.standing.heard_ns = max(group.standing.heard_ns, last_ns)

    @property
    def clock_ns(self) -> int:
        """What came before is on the disk once this process has flushed."""
        return max(self.splitter.last_ns, min(self.far.clocks.values(), default=0))

    # Time

    def sweep(self, now_ns: int) -> None:
        """Hand on the groups that are over at ``now_ns`` of the capture's clock."""
        self._swept_ns = now_ns
        self._write_messages(self._reader.overdue(now_ns - _GAP_NS))
        for group in list(self.board.groups.values()):
            if group.merged_into is not None or 0 < group.due_ns - now_ns < _LOOK_NS:
                continue
            if self._is_over(group, now_ns):
                self.close(group, now_ns)
            elif now_ns - group.begun_ns > self.limits.part * _NS:
                self._go_on(group, now_ns)
        if now_ns - self._tidied_ns > _STALE_NS // 10:
            self._tidied_ns = now_ns
            self.hearing.tidy(now_ns)
            for way in self.splitter.stale(now_ns - _STALE_NS):
                self._forget(way)
                self.board.forget(way)

    def _is_over(self, group: Group, now_ns: int) -> bool:
        limits = self.limits
        over_ns = [talk.over_ns for talk in group.talks]
        if over_ns and all(over_ns):
            due_ns = max(over_ns) + int(limits.ended * _NS)
        else:
            heard_ns = max((talk.last_ns for talk in group.talks), default=group.begun_ns)
            held = any(talk.answered and not talk.over_ns for talk in group.talks)
            silent = limits.held if held else limits.quiet
            due_ns = max(heard_ns, self._last_of(group)) + int(silent * _NS)
        # Packets that come meanwhile only put it off.
        group.due_ns = min(due_ns, group.begun_ns + int(limits.part * _NS), now_ns + _LOOK_NS - 1)
        return now_ns >= due_ns

    def _last_of(self, group: Group) -> int:
        return max(self.splitter.last_of(group.spools), group.heard_ns)

    def _go_on(self, group: Group, now_ns: int) -> None:
        """Begin a new file where one has gone on for long; a call of too many files is handed on as far as it came."""
        for spool in group.spools:
            _, _, packets, first_ns, last_ns = self.splitter.figures(spool)
            if packets and last_ns - first_ns > self.limits.part * _NS and self.splitter.believed(spool):
                self.splitter.flush(self._directory, 1, [spool])
                group.files.append(self._names_of[spool])
                self._rename(spool)
                group.changed = True
        if len(group.files) >= self.limits.parts:
            self.close(group, now_ns)

    def finish(self) -> None:
        """Hand on everything, over or not."""
        self._write_messages(self._reader.overdue(1 << 62))
        for group in list(self.board.groups.values()):
            if group.merged_into is None:
                self.close(group, self.splitter.last_ns)
        self.flush()

    def close(self, group: Group, now_ns: int) -> None:
        """Hand a group on; its ways and talks are free for others."""
        second = self.board.lone(group)
        if second is not None:
            ends = [self._last_of(each) for each in (group, second)]
            if abs(ends[0] - ends[1]) <= _TOGETHER_NS:
                group = self.board.merge(group, second)
        for talk in group.talks:
            self.hearing.close(talk, now_ns)
        wanted = bool(group.talks) or bool(group.files)
        far = self._far_ways(self.board.close(group))
        names = list(group.files)
        for spool in group.spools:
            if wanted:
                self.splitter.believe(spool)
            if not self.splitter.believed(spool):
                self.junk += 1
            else:
                self.splitter.flush(self._directory, 1, [spool])
                if self.splitter.figures(spool)[1]:
                    names.append(self._names_of[spool])
            self._let_go(spool)
        if not group.remote:
            self._hand_on(names, group)
            return
        workers: dict[int, list[int]] = {}
        for worker, number in group.remote:
            workers.setdefault(worker, []).append(number)
            self._far_groups.pop((worker, number), None)
        self.far.closing[group.number] = Closing(
            names, lambda found: self._hand_on(found, group), len(workers)
        )
        for worker, numbers in workers.items():
            self.far.speakers[worker].send("close", group.number, numbers, far.get(worker, []), wanted)

    def _far_ways(self, ways: Iterable[int]) -> dict[int, list[int]]:
        """Forget the ways that are our own; those of workers, by worker."""
        far: dict[int, list[int]] = {}
        for way in ways:
            worker, key = worker_of(way)
            if worker < 0:
                self._forget(way)
            else:
                far.setdefault(worker, []).append(key)
        return far

    def _hand_on(self, names: list[str], group: Group) -> None:
        if names:
            self._note(names, group)
        elif group.row is not None:
            self.board.orphans.append(group.row)

    def files_of(self, group: Group) -> tuple[str, ...]:
        """The files that a group's packets are in, or will be, relative to the folder."""
        names = [*group.files, *(self._names_of[spool] for spool in group.spools)]
        names += [file_name(*far, part) for far, part in group.remote.items()]
        return tuple(f"{self.open_folder.name}/{name}" for name in names)

    def _forget(self, way: int) -> None:
        self.splitter.forget(way)
        self._flows.pop(way, None)
        self._reader.forget(way)

    def _note(self, names: list[str], group: Group) -> None:
        self.groups += 1
        note = self.folder / CLOSED / f"{self.epoch}-{group.number}.json"
        files = [f"{self.open_folder.name}/{name}" for name in names]
        part = note.with_suffix(".part")
        one = Closed(note, tuple(self.folder / name for name in files), group.drops, group.row)
        if self.durable:
            said = {"files": files, "drops": group.drops, "row": str(group.row or "")}
            part.write_text(json.dumps(said), "ascii")
            part.rename(note)
        if self.durable:
            self._waiting.append(one)
        else:
            self.closed(one)

    def dropped(self, packets: int) -> None:
        """The kernel dropped packets: each group that goes on may have lost some."""
        for group in self.board.groups.values():
            group.drops += packets

    # Disk

    def _write_out(self) -> None:
        make_room(self.splitter, self._directory, self._wait)

    def _wait(self, error: OSError) -> bool:
        if not self.durable:
            raise error
        _log.error("%s: %s; waiting for room", self.folder, error.strerror)
        return True

    def flush(self) -> None:
        """Write and sync what is buffered, then hand on what is closed. Raises OSError where the disk takes no more."""
        self.splitter.flush(self._directory)
        if self.durable:
            sync(self._directory)
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            self.closed(one)


def make_room(splitter: Splitter, directory: int, wait: Callable[[OSError], bool]) -> None:
    """Write what is buffered in memory.

    Where the disk takes nothing, packets wait in memory, up to ``_BACKLOG``, and then, as long as ``wait`` says so, in
    the kernel, which counts its drops.
    """
    while True:
        try:
            splitter.flush(directory, 1 << 14)
            return
        except OSError as error:
            if splitter.buffered <= _BACKLOG or not wait(error):
                return
            time.sleep(1)


def sync(descriptor: int) -> None:
    """Sync the file system of an open folder: one call for thousands of files."""
    if _libc.syncfs(descriptor):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


_libc: Final = ctypes.CDLL(None, use_errno=True)
