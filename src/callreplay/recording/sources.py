"""Where packets come from: interfaces, a stream of pcap or pcapng on standard input, capture agents by HEP3."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import time
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, Protocol

import numpy as np

from callreplay.errors import ArgumentError, CaptureError, OutputError
from callreplay.packets.recognise import PCAP, PCAPNG, recognise
from callreplay.recording import worker
from callreplay.recording.ring import Ring
from callreplay.splitting import datagrams
from callreplay.splitting.remote import key_of
from callreplay.splitting.spooling import Spooler
from callreplay.splitting.stops import Stop

__all__ = ["Agents", "Interface", "Share", "Source", "Stream", "shared"]

_CHUNK: Final = 1 << 20
_HEAD: Final = 28  # octets by which a pcap or a pcapng shows itself
_RAW: Final = 101
_RECORD: Final = struct.Struct("<IIII")
_ENDS_SECONDS: Final = 30.0
_LARGEST: Final = 17 << 20
"""A record that does not end within so much is none."""


class Source(Protocol):
    """Packets for a spooler, as they come."""

    name: str

    def fileno(self) -> int:
        """What becomes readable where there are packets."""

    def begin(self, spooler: Spooler, flush_seconds: float) -> None:
        """Packets are taken from now on, and written at an interval."""

    def pump(self, spooler: Spooler) -> bool:
        """Split what is there; False at the end of all packets."""

    def drops(self) -> int:
        """Packets that the kernel dropped since this was last asked."""

    def close(self) -> None:
        """Let go of it."""


class Interface:
    """A network interface; see `callreplay.recording.ring.Ring`."""

    def __init__(self, ring: Ring) -> None:
        self.name = ring.interface
        self.ring = ring

    def begin(self, spooler: Spooler, flush_seconds: float) -> None:
        pass

    def fileno(self) -> int:
        return self.ring.fileno()

    def pump(self, spooler: Spooler) -> bool:
        for block in self.ring.ready():
            spooler.splitter.block(block, self.ring.link, self.ring.outgoing)
            spooler.drain()
            spooler.splitter.rest()
        return True

    def drops(self) -> int:
        return self.ring.statistics()[1]

    def close(self) -> None:
        self.ring.close()


class Stream:
    """pcap or pcapng, as ``tcpdump -w -`` and ``dumpcap -w -`` write it, from a descriptor."""

    def __init__(self, descriptor: int, name: str = "standard input") -> None:
        self.name = name
        self._descriptor = descriptor
        self._held = bytearray()
        self._begun = False
        self._passed = 0

    def begin(self, spooler: Spooler, flush_seconds: float) -> None:
        pass

    def fileno(self) -> int:
        return self._descriptor

    def pump(self, spooler: Spooler) -> bool:
        """Raises CaptureError where the stream is no capture, damaged or cut: what came before is kept."""
        octets = os.read(self._descriptor, _CHUNK)
        self._held += octets
        if not self._begun and len(self._held) >= _HEAD:
            self._begin(spooler)
        elif self._begun and octets:
            spooler.splitter.feed(np.frombuffer(bytes(self._held), np.uint8))
            self._split(spooler)
        if not octets:
            self._end()
            return False
        return True

    def _end(self) -> None:
        """What is to be said of an end that is none."""
        if not self._begun and not self._held:
            raise CaptureError(f"{self.name}: empty: it ended without a capture")
        if not self._begun:
            raise CaptureError(f"{self.name}: no capture: it ends after {len(self._held)} octets")
        if self._held:
            raise CaptureError(
                f"{self.name}: cut: it ends inside the record that begins at octet {self._passed}"
            )

    def _begin(self, spooler: Spooler) -> None:
        data = np.frombuffer(bytes(self._held), np.uint8)
        found = recognise(data, self.name)
        if found.number not in (PCAP, PCAPNG):
            raise CaptureError(f"{self.name}: {found.name} is not read from a stream; pcap and pcapng are")
        self._begun = True
        spooler.splitter.open(data, found.number, **found.options, stream=True)
        self._split(spooler)

    def _split(self, spooler: Spooler) -> None:
        stop = spooler.drain()
        done = spooler.splitter.used
        spooler.splitter.rest()
        del self._held[:done]
        self._passed += done
        if stop == Stop.DAMAGED or len(self._held) > _LARGEST:
            raise CaptureError(f"{self.name}: damaged at octet {self._passed}")

    def drops(self) -> int:
        return 0

    def close(self) -> None:
        pass


class Agents:
    """Capture agents that send HEP3 in UDP datagrams: signalling, and media where they send that too."""

    def __init__(self, port: int, address: str = "::", octets: int = 32 << 20) -> None:
        if not 0 <= port < 65536:
            raise ArgumentError(f"--hep: {port} is no port")
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        try:
            if family == socket.AF_INET6:
                self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, octets)
            self._socket.bind((address, port))
        except OSError as error:
            self._socket.close()
            raise OutputError(f"port {port} for HEP: {error.strerror}") from error
        self.port: int = self._socket.getsockname()[1]
        self.name = f"HEP on port {self.port}"
        self._out = np.empty(datagrams.OCTETS, np.uint8)

    def begin(self, spooler: Spooler, flush_seconds: float) -> None:
        pass

    def fileno(self) -> int:
        return self._socket.fileno()

    def pump(self, spooler: Spooler) -> bool:
        for _ in range(64):
            used = datagrams.receive(self._socket.fileno(), self.port, time.time_ns(), self._out)
            if not used:
                break
            spooler.splitter.open(self._out[:used], PCAP, nano=True, link=_RAW)
            spooler.drain()
            spooler.splitter.rest()
        return True

    def drops(self) -> int:
        return 0

    def close(self) -> None:
        self._socket.close()


class Share:
    """A worker process that splits its share of the packets of interfaces (`callreplay.recording.worker`)."""

    def __init__(self, number: int, rings: list[Ring], others: list[Ring]) -> None:
        self.number = number
        self.name = ", ".join(ring.interface for ring in rings) + (f" ({number + 1})" if number else "")
        self._drops = 0
        self._warnings: list[str] = []
        self.pid, self._wire = worker.begin(number, rings, others)
        for ring in rings:
            ring.close()

    def begin(self, spooler: Spooler, flush_seconds: float) -> None:
        spooler.far.speakers[self.number] = self._wire
        spooler.far.clocks[self.number] = 0
        folder = str(spooler.open_folder.resolve())
        self._wire.send("begin", folder, spooler.limits.part, flush_seconds)

    def fileno(self) -> int:
        return self._wire.fileno()

    def pump(self, spooler: Spooler) -> bool:
        """Raises OutputError where the worker has died: the next start goes on with what is on the disk."""
        self._wire.flush()
        for what, *said in self._wire.receive():
            self._take(spooler, what, said)
        if self._wire.closed:
            raise OutputError(f"{self.name}: the process that splits its packets has died")
        return True

    def _take(self, spooler: Spooler, what: str, said: list[Any]) -> None:
        if what == "frames":
            self._split(spooler, said[0])
        elif what == "way":
            spooler.far_way(self.number, *said)
        elif what == "closed":
            group, names, junk = said
            spooler.junk += junk
            spooler.far.closed(group, names)
        elif what == "part":
            spooler.far_part(self.number, said[0])
        elif what == "forgot":
            for key in said[0]:
                spooler.board.forget(key_of(self.number, key))
        elif what == "warn":
            self._warnings.append(said[0])
        elif what == "beat":
            clock_ns, heard, packets, drops = said
            spooler.far_heard(self.number, heard)
            spooler.far.clocks[self.number], spooler.far.packets[self.number] = clock_ns, packets
            self._drops += drops

    def _split(self, spooler: Spooler, frames: list[tuple[int, int, int, bytes]]) -> None:
        """Frames with signalling, through this process's splitter: it hears those of all workers."""
        for link, group in groupby(frames, key=itemgetter(0)):
            held = bytearray()
            for _, time_ns, original, octets in group:
                held += _RECORD.pack(time_ns // 10**9, time_ns % 10**9, len(octets), original) + octets
                spooler.far.fed += 1
            spooler.splitter.open(np.frombuffer(bytes(held), np.uint8), PCAP, nano=True, link=link)
            spooler.drain()
            spooler.splitter.rest()

    def drops(self) -> int:
        found, self._drops = self._drops, 0
        return found

    def warnings(self) -> list[str]:
        """What the worker has to say since this was last asked."""
        said, self._warnings = self._warnings, []
        return said

    def close(self) -> None:
        """Have it write what it has, and end."""
        self._wire.send("stop")
        deadline = time.monotonic() + _ENDS_SECONDS
        while not self._wire.closed and time.monotonic() < deadline:
            select.select([self._wire], [], [], 0.1)
            self._wire.flush()
            for _ in self._wire.receive():
                pass
        self._wire.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


def wait(sources: list[Source], seconds: float) -> list[Source]:
    """Those that have packets, within so many seconds."""
    poll = select.poll()
    for source in sources:
        poll.register(source.fileno(), select.POLLIN | select.POLLERR | select.POLLHUP)
    ready = {descriptor for descriptor, _ in poll.poll(seconds * 1000)}
    return [source for source in sources if source.fileno() in ready]


def shared(rings: list[list[Ring]]) -> list[Share]:
    """A worker process for each list of rings, which are its share. Called before the process has threads."""
    every = [ring for own in rings for ring in own]
    made = []
    for number, own in enumerate(rings):
        later = [ring for ring in every if ring not in own and not ring.closed]
        made.append(Share(number, own, later))
    return made
