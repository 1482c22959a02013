"""Connections, so that strangers cannot spend our sockets: deadlines for headers, limits in all and for an address.

Where a limit is reached the connection that has waited longest without a whole request makes room for the new one: who
opens thousands and says nothing loses his own, and whoever asks is answered. Where every connection is being answered,
the new one is told to come again.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import ssl
from functools import cache
from typing import Any, Final, Protocol

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from callreplay.service import settings
from callreplay.service.addresses import among, network, plain
from callreplay.service.settings import Settings

__all__ = ["Door", "Keeper", "TlsDoor", "raise_descriptor_limit"]

_log = logging.getLogger("callreplay.connections")
_MOST_DESCRIPTORS: Final = 65_536
_LARGEST_HEAD: Final = 65_536  # octets of a request before its body
_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
)
_FULL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
)


def raise_descriptor_limit() -> int:
    """Raise the limit of open descriptors as far as this process may; returns it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


class Guest(Protocol):
    """A connection, as the keeper sees it."""

    client: Any
    transport: Any


class Keeper:
    """Who is connected to one process, and who of them waits."""

    def __init__(self, chosen: Settings, descriptors: int) -> None:
        # A connection that is answered may hold a recording and a cached file too; the database wants its own.
        self.limit = max(8, min(chosen.connections // chosen.workers, descriptors // 2))
        self.limit_of_address = max(1, -(-chosen.address_connections // chosen.workers))
        self.header_seconds = chosen.header_seconds
        self._proxies = chosen.trusted_proxies
        self._all: dict[Guest, str] = {}
        self._waiting: dict[Guest, None] = {}
        self._of_address: dict[str, dict[Guest, None]] = {}

    def admit(self, door: Guest) -> bool:
        """Count a new connection, at another's cost where there are too many; False where none can give way."""
        host = door.client[0] if door.client else None
        # All who come through a proxy of ours have its address.
        address = "" if among(host, self._proxies) else network(plain(host))
        if address and len(self._of_address.get(address, ())) >= self.limit_of_address:
            if not self._make_room(self._of_address[address]):
                return False
        elif len(self._all) >= self.limit and not self._make_room(self._waiting):
            return False
        self._all[door] = address
        self._waiting[door] = None
        if address:
            self._of_address.setdefault(address, {})[door] = None
        return True

    def _make_room(self, among_these: dict[Guest, None]) -> bool:
        oldest = next((door for door in among_these if door in self._waiting), None)
        if oldest is None:
            return False
        self.leave(oldest)
        oldest.transport.abort()
        return True

    def busy(self, door: Guest) -> None:
        """A whole request has come."""
        self._waiting.pop(door, None)

    def waits(self, door: Guest) -> None:
        """The request has been answered."""
        if door in self._all:
            self._waiting[door] = None

    def leave(self, door: Guest) -> None:
        """The connection has ended; a second time does nothing."""
        address = self._all.pop(door, None)
        self._waiting.pop(door, None)
        if address:
            these = self._of_address[address]
            these.pop(door, None)
            if not these:
                del self._of_address[address]


@cache
def keeper() -> Keeper:
    """The one of this process, whose settings are in the environment."""
    return Keeper(settings.load(), resource.getrlimit(resource.RLIMIT_NOFILE)[0])


class Door(HttpToolsProtocol):
    """One connection: uvicorn's on llhttp, counted by the keeper and held to its deadlines and to a size of heads."""

    _deadline: asyncio.TimerHandle | None = None
    _admitted = False
    _head_octets = 0
    _is_in_head = True

    def connection_made(self, transport: Any) -> None:
        """Count it; tell it to come again, and close it, where there is no room."""
        super().connection_made(transport)
        self._admitted = keeper().admit(self)
        if not self._admitted:
            transport.write(_FULL)
            transport.close()
            return
        self._expect(keeper().header_seconds)

    def data_received(self, data: bytes) -> None:
        """Take octets, of those who were let in."""
        if not self._admitted or self.transport.is_closing():
            return
        self._head_octets += len(data)
        super().data_received(data)
        # llhttp keeps what it has told of nowhere, but our lists of it grow.
        if self._is_in_head and self._head_octets > _LARGEST_HEAD and not self.transport.is_closing():
            self.transport.write(_LARGE)
            self.transport.close()

    def on_message_begin(self) -> None:
        """Begin to read a request."""
        self._is_in_head = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; what stands behind a body (RFC 9112 7.1.2) is none."""
        if self._is_in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Answer the request, whose deadline is met."""
        self._is_in_head = False
        super().on_headers_complete()
        if self.cycle is not None and not self.cycle.response_complete:
            self._met()
            keeper().busy(self)

    def on_message_complete(self) -> None:
        """The next head begins."""
        super().on_message_complete()
        self._is_in_head, self._head_octets = True, 0

    def on_response_complete(self) -> None:
        """The next request may take the time of a connection kept alive, and that of headers."""
        if not self.transport.is_closing() and not self.pipeline:  # or the next has come already
            keeper().waits(self)
            self._expect(self.timeout_keep_alive + keeper().header_seconds)
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._met()
        keeper().leave(self)
        super().connection_lost(exc)

    def _expect(self, seconds: float) -> None:
        self._met()
        self._deadline = self.loop.call_later(seconds, self.transport.abort)

    def _met(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


@cache
def _tls() -> ssl.SSLContext:
    """The certificate of this process, whose settings are in the environment."""
    chosen = settings.load()
    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    made.load_cert_chain(chosen.tls_cert, chosen.tls_key)
    return made


class _Early(asyncio.Protocol):
    """Keeps what comes between the end of a handshake and the door's beginning."""

    def __init__(self) -> None:
        self.octets = b""

    def data_received(self, data: bytes) -> None:
        """Keep it; one reading of the socket at most."""
        self.octets += data


class TlsDoor(asyncio.Protocol):
    """A connection that is to speak TLS: counted by the keeper from the moment that it stands.

    asyncio's own way would show it to nobody before its handshake is done: thousands that never begin one would take
    every descriptor. Once it is done a ``Door`` takes its place.
    """

    def __init__(self, **given: Any) -> None:
        self._given = given
        self.transport: Any = None
        self.client: Any = None

    def connection_made(self, transport: Any) -> None:
        """Count it, and begin the handshake; close it where there is no room."""
        self.transport, self.client = transport, transport.get_extra_info("peername")
        if not keeper().admit(self):
            transport.abort()
            return
        transport.pause_reading()
        self._handshake = asyncio.ensure_future(self._shake_hands())

    async def _shake_hands(self) -> None:
        early, loop = _Early(), asyncio.get_running_loop()
        try:
            made = await loop.start_tls(
                self.transport, early, _tls(), server_side=True, ssl_handshake_timeout=keeper().header_seconds
            )
        except OSError:  # of TLS too: what strangers send is no news
            made = None
        finally:
            keeper().leave(self)
        if made is None or made.is_closing():
            self.transport.abort()
            return
        door = Door(**self._given)
        made.set_protocol(door)
        door.connection_made(made)
        if early.octets:
            door.data_received(early.octets)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        keeper().leave(self)
