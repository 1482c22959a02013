"""Packets of a network interface, by AF_PACKET with a ring of the third version (Linux, packet(7), packet_mmap.rst).

The kernel fills blocks of the ring, each with many packets; a block is ours from when it says so until we say that it
is the kernel's again. Nothing is copied but what a spool keeps.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import fcntl
import mmap
import select
import socket
import struct
from collections.abc import Iterator
from typing import Final

from callreplay.errors import ArgumentError, OutputError

__all__ = ["Ring", "compiled"]

_SOL_PACKET: Final = 263
_ADD_MEMBERSHIP: Final = 1
_RX_RING: Final = 5
_STATISTICS: Final = 6
_VERSION: Final = 10
_V3: Final = 2
_FANOUT: Final = 18
_FANOUT_HASH: Final = 0
_FANOUT_DEFRAG: Final = 0x8000
_PROMISCUOUS: Final = 1
_ATTACH_FILTER: Final = 26
_ETH_P_ALL: Final = 3
_STATUS_USER: Final = 1
_LINKS: Final = {1: 1, 772: 1, 519: 101, 65534: 101, 768: 101, 776: 101, 778: 101}
"""ARPHRD_… to link types of captures: Ethernet, loopback; what has IP at once (raw, none, tunnels)."""
_LOOPBACK: Final = 772


class Ring:
    """An interface's packets, a block at a time; needs CAP_NET_RAW until it is open.

    Args:
        interface: its name.
        octets: of the ring; where the reader is behind by more the kernel drops, and counts what it drops.
        pattern: a filter in the language of pcap-filter(7), '' for all.
        promiscuous: take in what is addressed to others, as a mirror port sends it.
        wait_ms: a block that is not full is handed over after so long.
        fanout: a number that several rings of the interface share: each gets the packets of its share of flows.

    """

    def __init__(
        self,
        interface: str,
        octets: int = 64 << 20,
        pattern: str = "",
        promiscuous: bool = True,
        wait_ms: int = 100,
        fanout: int | None = None,
    ) -> None:
        self.interface = interface
        self.packets = self.drops = 0
        try:
            # Bound to no protocol yet: nothing comes before the ring and the filter are in place.
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        except PermissionError as error:
            raise OutputError(
                f"{interface}: capturing needs CAP_NET_RAW (root, or setcap): {error.strerror}"
            ) from error
        try:
            self._open(interface, octets, pattern, promiscuous, wait_ms, fanout)
        except BaseException:
            self._socket.close()
            raise

    def _open(
        self,
        interface: str,
        octets: int,
        pattern: str,
        promiscuous: bool,
        wait_ms: int,
        fanout: int | None,
    ) -> None:
        raw = self._socket
        try:
            index = socket.if_nametoindex(interface)
        except OSError:
            raise ArgumentError(f"{interface}: no such network interface") from None
        answer = fcntl.ioctl(raw, 0x8927, struct.pack("16s24x", interface.encode()))  # SIOCGIFHWADDR
        hardware = struct.unpack_from("H", answer, 16)[0]
        self.link = _LINKS.get(hardware, 0)
        if not self.link:
            raise ArgumentError(f"{interface}: neither Ethernet nor IP but hardware of type {hardware}")
        self.outgoing = hardware != _LOOPBACK
        """Whether what this host sends counts: on a loopback it comes back and would be met twice."""
        if pattern:
            program = compiled(pattern, self.link)
            code = ctypes.create_string_buffer(program)
            raw.setsockopt(
                socket.SOL_SOCKET,
                _ATTACH_FILTER,
                struct.pack("HP", len(program) // 8, ctypes.addressof(code)),
            )
        raw.setsockopt(_SOL_PACKET, _VERSION, _V3)
        self._block = 1 << 20
        self._blocks = max(4, octets // self._block)
        ring = struct.pack(
            "7I", self._block, self._blocks, 2048, self._block // 2048 * self._blocks, wait_ms, 0, 0
        )
        try:
            raw.setsockopt(_SOL_PACKET, _RX_RING, ring)
            self._map = mmap.mmap(raw.fileno(), self._block * self._blocks)
        except (OSError, ValueError) as error:
            raise OutputError(f"{interface}: no ring of {octets:,} octets: {error}") from error
        self._view = memoryview(self._map)
        self._next = 0
        raw.bind((interface, _ETH_P_ALL))
        if fanout is not None:
            # Fragments are put together first: all of a datagram goes where its flow does.
            value = struct.pack("I", fanout & 0xFFFF | (_FANOUT_HASH | _FANOUT_DEFRAG) << 16)
            try:
                raw.setsockopt(_SOL_PACKET, _FANOUT, value)
            except OSError as error:
                raise OutputError(
                    f"{interface}: its packets cannot be shared out: {error.strerror}"
                ) from error
        if promiscuous:
            raw.setsockopt(_SOL_PACKET, _ADD_MEMBERSHIP, struct.pack("iHH8s", index, _PROMISCUOUS, 0, b""))
        self._poll = select.poll()
        self._poll.register(raw, select.POLLIN | select.POLLERR)

    def fileno(self) -> int:
        """For polling several at a time."""
        return self._socket.fileno()

    def ready(self) -> Iterator[memoryview]:
        """The blocks that are full, or have waited long enough, once round at most; each is given back behind us."""
        for _ in range(self._blocks):
            start = self._next * self._block
            if not struct.unpack_from("I", self._view, start + 8)[0] & _STATUS_USER:
                return
            block = self._view[start : start + self._block]
            try:
                yield block
            finally:
                block.release()
                struct.pack_into("I", self._view, start + 8, 0)
                self._next = (self._next + 1) % self._blocks

    def wait(self, seconds: float) -> None:
        """Until a block is there, or so long."""
        if not struct.unpack_from("I", self._view, self._next * self._block + 8)[0] & _STATUS_USER:
            self._poll.poll(seconds * 1000)

    def statistics(self) -> tuple[int, int]:
        """(packets, packets that the kernel dropped) since this was last asked."""
        packets, drops, _ = struct.unpack("3I", self._socket.getsockopt(_SOL_PACKET, _STATISTICS, 12))
        self.packets += packets
        self.drops += drops
        return packets, drops

    @property
    def closed(self) -> bool:
        """Whether the interface was given back."""
        return self._map.closed

    def close(self) -> None:
        """Give the interface back; a second time does nothing."""
        if self._map.closed:
            return
        self._view.release()
        self._map.close()
        self._socket.close()


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint), ("instructions", ctypes.c_void_p))


def compiled(pattern: str, link: int) -> bytes:
    """A filter's text as instructions, 8 octets each. Raises ArgumentError without libpcap, or where the text errs."""
    name = ctypes.util.find_library("pcap")
    if name is None:
        raise ArgumentError("a filter needs libpcap (Debian: libpcap0.8)")
    library = ctypes.CDLL(name)
    library.pcap_open_dead.restype = ctypes.c_void_p
    library.pcap_geterr.restype = ctypes.c_char_p
    handle = ctypes.c_void_p(library.pcap_open_dead(link if link == 1 else 12, 262144))
    program = _Program()
    try:
        if library.pcap_compile(handle, ctypes.byref(program), pattern.encode(), 1, 0xFFFFFFFF):
            said = library.pcap_geterr(handle) or b""
            raise ArgumentError(f"filter {pattern!r}: {said.decode('utf-8', 'replace')}")
        try:
            return ctypes.string_at(program.instructions or 0, 8 * program.length)
        finally:
            library.pcap_freecode(ctypes.byref(program))
    finally:
        library.pcap_close(handle)
