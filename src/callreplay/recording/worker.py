"""A process that splits its share of an interface's packets; what it hears of calls it hands to the recorder.

The kernel shares packets out by a hash of their sockets (PACKET_FANOUT_HASH), so that signalling and media of a call
meet different workers. Therefore none of them decides: frames with signalling go to the recorder's own splitter, which
hears the messages of all, and each first packet of a way waits for the recorder's word. All others stay here: they go
to the way's spool at once, as they do without workers.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from callreplay.recording.ring import Ring
from callreplay.recording.wire import Wire
from callreplay.splitting.remote import file_name
from callreplay.splitting.splitter import Splitter
from callreplay.splitting.spooling import make_room, sync
from callreplay.splitting.stops import Stop

__all__ = ["Worker"]

_RUN: Final = 1 << 16
_NS: Final = 10**9
_STALE_NS: Final = 600 * _NS
_TIDY_SECONDS: Final = 60.0
_BUFFERED: Final = 64 << 20
_WAIT_MS: Final = 100


@dataclass(slots=True)
class Worker:
    """The ``number``-th of several, from 0 on; ``rings`` are its own, one for each interface."""

    number: int
    rings: Sequence[Ring]
    wire: Wire
    splitter: Splitter = field(default_factory=Splitter)
    _folder: int = -1
    _part_ns: int = 0
    _flush_seconds: float = 1.0
    _ways: dict[int, int] = field(default_factory=dict)
    _keys: dict[int, int] = field(default_factory=dict)
    _made: int = 0
    _spools: dict[int, int] = field(default_factory=dict)
    _parts: dict[int, int] = field(default_factory=dict)
    _told_ns: dict[int, int] = field(default_factory=dict)
    _frames: list[tuple[int, int, int, bytes]] = field(default_factory=list)
    _answered: int = -1
    _over: bool = False
    _tidy_at: float = 0.0

    def run(self) -> None:
        """Split until the recorder says that it is over, or is gone."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        poll = select.poll()
        poll.register(self.wire, select.POLLIN)
        while self._folder < 0 and not self._over:  # packets wait in the ring
            poll.poll(_WAIT_MS)
            self._listen()
        for ring in self.rings:
            poll.register(ring, select.POLLIN | select.POLLERR)
        due = time.monotonic() + self._flush_seconds
        while not self._over:
            poll.poll(_WAIT_MS)
            self._listen()
            for ring in self.rings:
                for block in ring.ready():
                    self.splitter.block(block, ring.link, ring.outgoing)
                    self._drain()
                    self.splitter.rest()
                    self._hand_on()
            if time.monotonic() >= due:
                self._beat()
                due = time.monotonic() + self._flush_seconds
        if self._folder >= 0:
            self._beat()

    # Packets

    def _drain(self) -> None:
        splitter = self.splitter
        while True:
            stop = splitter.run(_RUN)
            if stop == Stop.WAY:
                self._ask()
            elif stop in (Stop.MESSAGE, Stop.SEGMENT):
                self._frames.append(splitter.pending_frame())
            elif stop != Stop.MORE:
                break
            if splitter.buffered > _BUFFERED:
                make_room(splitter, self._folder, self._wait)

    def _hand_on(self) -> None:
        if self._frames:
            self.wire.send("frames", self._frames)
            self._frames = []

    def _ask(self) -> None:
        """Which call the way that begins is of: asked after all that came before, and waited for."""
        self._hand_on()
        way, _, media, _, _, _ = self.splitter.pending()
        key = self._keys.get(way)
        if key is None:
            self._made += 1
            key = self._keys[way] = self._made
            self._ways[key] = way
        source, sport, destination, dport = self.splitter.way(way)
        self.wire.send("way", key, (source, sport), (destination, dport), self.splitter.last_ns, media)
        while self._answered != key and not self._over:
            select.select([self.wire], [self.wire] if self.wire.waiting else [], [], _WAIT_MS / 1000)
            self.wire.flush()
            self._listen()
        spool = self.splitter.spool_of(way)
        if spool >= 0:
            self.splitter.keep(spool)
        else:
            self.splitter.leave(way)

    # The recorder's word

    def _listen(self) -> None:
        self.wire.flush()
        for what, *said in self.wire.receive():
            getattr(self, f"_on_{what}")(*said)
        self._over = self._over or self.wire.closed

    def _on_begin(self, folder: str, part_seconds: float, flush_seconds: float) -> None:
        self._folder = os.open(Path(folder), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._part_ns, self._flush_seconds = int(part_seconds * _NS), flush_seconds

    def _on_place(self, key: int, number: int, believed: bool) -> None:
        way = self._ways.get(key)
        if way is None:
            return
        spool = self._spools.get(number)
        if spool is None:
            spool = self.splitter.spool(file_name(self.number, number, 0).encode(), believed)
            if spool < 0:
                return
            self._spools[number], self._parts[number] = spool, 0
        elif believed:
            self.splitter.believe(spool)
        self.splitter.place(way, spool)

    def _on_answer(self, key: int) -> None:
        self._answered = key

    def _on_close(self, group: int, numbers: list[int], keys: list[int], wanted: bool) -> None:
        """The group is over: its files, once they are written; ``junk`` spools had nothing of RTP."""
        names, junk = [], 0
        for key in keys:
            self._forget(key)
        for number in numbers:
            spool = self._spools.pop(number, -1)
            part = self._parts.pop(number, 0)
            self._told_ns.pop(number, None)
            if spool < 0:
                continue
            if wanted or part:
                self.splitter.believe(spool)
            if self.splitter.believed(spool):
                self._write(spool)
                if self.splitter.figures(spool)[1]:
                    names.append(file_name(self.number, number, part))
            else:
                junk += 1
            self.splitter.drop(spool)
        self.wire.send("closed", group, names, junk)

    def _on_stop(self) -> None:
        self._over = True

    def _forget(self, key: int) -> None:
        way = self._ways.pop(key, None)
        if way is not None:
            del self._keys[way]
            self.splitter.forget(way)

    # Disk

    def _beat(self) -> None:
        self._hand_on()
        try:
            self.splitter.flush(self._folder)
            sync(self._folder)
        except OSError as error:
            self.wire.send("warn", error.strerror or str(error))
        heard = {}
        for number, spool in self._spools.items():
            octets, _, packets, first_ns, last_ns = self.splitter.figures(spool)
            if last_ns != self._told_ns.get(number, 0):
                heard[number] = self._told_ns[number] = last_ns
            if packets and octets and last_ns - first_ns > self._part_ns and self.splitter.believed(spool):
                self._go_on(number, spool)
        drops = sum(ring.statistics()[1] for ring in self.rings)
        self.wire.send("beat", self.splitter.last_ns, heard, self.splitter.counters()["records"], drops)
        if time.monotonic() > self._tidy_at:
            self._tidy_at = time.monotonic() + _TIDY_SECONDS
            keys = [self._keys[way] for way in self.splitter.stale(self.splitter.last_ns - _STALE_NS)
                    if way in self._keys]  # fmt: skip
            for key in keys:
                self._forget(key)
            self.wire.send("forgot", keys)

    def _go_on(self, number: int, spool: int) -> None:
        """A file has gone on for long: the next begins."""
        self._write(spool)
        if self.splitter.figures(spool)[0] == self.splitter.figures(spool)[1]:
            self._parts[number] += 1
            self.splitter.rename(spool, file_name(self.number, number, self._parts[number]).encode())
            self.wire.send("part", number)

    def _write(self, spool: int) -> None:
        """What is buffered of a spool. Where the disk takes nothing, packets wait in the ring, and the kernel drops."""
        while True:
            try:
                self.splitter.flush(self._folder, 1, [spool])
                return
            except OSError as error:
                self.wire.send("warn", error.strerror or str(error))
                if self.wire.closed:
                    return
                time.sleep(1)

    def _wait(self, error: OSError) -> bool:
        if not self.wire.closed:
            self.wire.send("warn", error.strerror or str(error))
        return not self.wire.closed


def begin(number: int, rings: Sequence[Ring], others: Sequence[Any]) -> tuple[int, Wire]:
    """Fork the worker: its process id and the recorder's end of its wire. Before threads are, and once no more."""
    ours, theirs = Wire.pair()
    pid = os.fork()
    if pid:
        theirs.close()
        return pid, ours
    code = 1
    try:
        ours.close()
        for other in others:
            other.close()
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        Worker(number, rings, theirs).run()
        code = 0
    finally:
        os._exit(code)
