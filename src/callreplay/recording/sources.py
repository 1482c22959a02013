"""Where packets come from: interfaces, a stream of pcap or pcapng on standard input, capture agents by HEP3."""

from __future__ import annotations

import os
import select
import socket
import time
from typing import Final, Protocol

import numpy as np

from callreplay.errors import ArgumentError, CaptureError, OutputError
from callreplay.packets.recognise import PCAP, PCAPNG, recognise
from callreplay.recording.ring import Ring
from callreplay.splitting import datagrams
from callreplay.splitting.spooling import Spooler
from callreplay.splitting.stops import Stop

__all__ = ["Agents", "Interface", "Source", "Stream"]

_CHUNK: Final = 1 << 20
_HEAD: Final = 28  # octets by which a pcap or a pcapng shows itself
_RAW: Final = 101
_LARGEST: Final = 17 << 20
"""A record that does not end within so much is none."""


class Source(Protocol):
    """Packets for a spooler, as they come."""

    name: str

    def fileno(self) -> int:
        """What becomes readable where there are packets."""

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


def wait(sources: list[Source], seconds: float) -> list[Source]:
    """Those that have packets, within so many seconds."""
    poll = select.poll()
    for source in sources:
        poll.register(source.fileno(), select.POLLIN | select.POLLERR | select.POLLHUP)
    ready = {descriptor for descriptor, _ in poll.poll(seconds * 1000)}
    return [source for source in sources if source.fileno() in ready]
