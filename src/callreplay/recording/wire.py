"""What two processes of a recorder say to each other: objects over a socket, in order, neither waiting to be heard."""

from __future__ import annotations

import pickle
import socket
import struct
from collections.abc import Iterator
from typing import Any, Final

__all__ = ["Wire"]

_SIZE: Final = struct.Struct("<I")
_CHUNK: Final = 1 << 18


class Wire:
    """One end. What the socket does not take now is kept, and goes with the next ``send`` or ``flush``."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        end.setblocking(False)
        self._out, self._in = bytearray(), bytearray()
        self.closed = False
        """The other end is gone."""

    @classmethod
    def pair(cls) -> tuple[Wire, Wire]:
        """Both ends."""
        one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        for end in (one, other):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        return cls(one), cls(other)

    def fileno(self) -> int:
        """For polling."""
        return self._socket.fileno()

    @property
    def waiting(self) -> int:
        """Octets that are not sent yet."""
        return len(self._out)

    def send(self, *message: Any) -> None:
        """A message, of things that ``pickle`` takes."""
        octets = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        self._out += _SIZE.pack(len(octets)) + octets
        self.flush()

    def flush(self) -> None:
        """Send what the socket takes."""
        try:
            while self._out and not self.closed:
                del self._out[: self._socket.send(self._out[:_CHUNK])]
        except BlockingIOError:
            return
        except OSError:
            self.closed = True

    def receive(self) -> Iterator[tuple[Any, ...]]:
        """The messages that are there."""
        try:
            while not self.closed:
                octets = self._socket.recv(_CHUNK)
                self.closed = not octets
                self._in += octets
        except BlockingIOError:
            pass
        except OSError:
            self.closed = True
        while len(self._in) >= _SIZE.size:
            (size,) = _SIZE.unpack_from(self._in)
            if len(self._in) < _SIZE.size + size:
                return
            octets = bytes(self._in[_SIZE.size : _SIZE.size + size])
            del self._in[: _SIZE.size + size]
            yield pickle.loads(octets)  # of a process of ours, over a socket that nobody else has

    def close(self) -> None:
        """Let go of it."""
        self._socket.close()
        self.closed = True
