"""The secrets of TLS connections, as SSLKEYLOGFILE has them (RFC 9850): lines of label, client random and secret."""

from __future__ import annotations

import struct
from dataclasses import field
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from callreplay.deferred import dataclass, pattern
from callreplay.errors import CaptureError, FormatError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["KeyLog", "in_capture", "read_keylog"]

_LINE: Final = pattern(rb"([A-Z_0-9]{1,64})[ \t]+([0-9A-Fa-f]{64})[ \t]+([0-9A-Fa-f]{32,128})[ \t]*\r?$")
_MAX_BYTES: Final = 1 << 28
_SECRETS_BLOCK: Final = 10
_TLS_KEY_LOG: Final = 0x544C534B
_MOST_BLOCKS: Final = 4096


@dataclass(slots=True)
class KeyLog:
    """Secrets by label and client random. ``bad`` counts lines that are neither comments nor secrets."""

    secrets: dict[tuple[str, bytes], bytes] = field(default_factory=dict)
    bad: int = 0

    def get(self, label: str, client_random: bytes) -> bytes | None:
        """The secret of that label for the connection of that client random."""
        return self.secrets.get((label, client_random))

    def add(self, text: bytes) -> None:
        """Take the lines of a key log."""
        for line in text.split(b"\n"):
            found = _LINE.match(line)
            if found and len(found[3]) % 2 == 0:
                key = found[1].decode("ascii"), bytes.fromhex(found[2].decode("ascii"))
                self.secrets[key] = bytes.fromhex(found[3].decode("ascii"))
            elif line.strip() and not line.lstrip().startswith(b"#"):
                self.bad += 1


def read_keylog(path: Path) -> KeyLog:
    """Read a key log file. Raises CaptureError where it cannot be read, FormatError where no line of it is a secret."""
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise CaptureError(f"{path}: {error.strerror}") from error
    if len(text) > _MAX_BYTES:
        raise FormatError(f"{path}: a key log of more than {_MAX_BYTES >> 20} MiB")
    found = KeyLog()
    found.add(text)
    if not found.secrets:
        raise FormatError(f"{path}: no key log: none of its lines is a label, a client random and a secret")
    return found


def in_capture(data: NDArray[np.uint8]) -> bytes:
    """The key log that a pcapng carries ahead of its packets (Decryption Secrets Blocks); b'' where there is none."""
    head = data[:12].tobytes()
    if head[:4] != b"\n\r\r\n" or head[8:12] not in (b"\x1a\x2b\x3c\x4d", b"\x4d\x3c\x2b\x1a"):
        return b""
    order = ">" if head[8:12] == b"\x1a\x2b\x3c\x4d" else "<"
    at, found = 0, b""
    for _ in range(_MOST_BLOCKS):
        if at + 20 > len(data):
            break
        kind, length = struct.unpack(order + "II", data[at : at + 8].tobytes())
        if length < 12 or at + length > len(data) or kind in (2, 3, 6):  # packets begin
            break
        if kind == _SECRETS_BLOCK and length >= 20:
            secrets, size = struct.unpack(order + "II", data[at + 8 : at + 16].tobytes())
            if secrets == _TLS_KEY_LOG and size <= min(length - 20, _MAX_BYTES):
                found += data[at + 16 : at + 16 + size].tobytes() + b"\n"
        at += (length + 3) & ~3
    return found
