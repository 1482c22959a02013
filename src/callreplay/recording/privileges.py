"""Giving up what only the opening of an interface needs."""

from __future__ import annotations

import ctypes
import os
import pwd
import struct
from typing import Final

from callreplay.errors import ArgumentError, OutputError

__all__ = ["become", "drop_network"]

_NO_NEW_PRIVILEGES: Final = 38
_DROP_FROM_BOUNDS: Final = 24
_NET: Final = (12, 13)
"""CAP_NET_ADMIN and CAP_NET_RAW."""
_VERSION: Final = 0x20080522


def become(name: str) -> None:
    """Be another user for good, with the user's groups. Raises ArgumentError where there is none of the name."""
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise ArgumentError(f"--user: no user {name!r}") from None
    try:
        os.initgroups(name, entry.pw_gid)
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
    except PermissionError as error:
        raise OutputError(f"cannot become {name}: {error.strerror}") from error
    os.environ["HOME"] = entry.pw_dir


def drop_network() -> None:
    """Neither this process nor one that it starts may open interfaces, or configure any, from now on."""
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in _NET:
        libc.prctl(_DROP_FROM_BOUNDS, capability, 0, 0, 0)  # refused without CAP_SETPCAP, and of no need then
    libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    head = ctypes.create_string_buffer(struct.pack("Ii", _VERSION, 0))
    held = ctypes.create_string_buffer(24)
    if libc.capget(head, held):
        return
    words = list(struct.unpack("6I", held.raw))
    mask = ~sum(1 << capability for capability in _NET)
    libc.capset(
        head,
        struct.pack("6I", *(word & mask & 0xFFFFFFFF if n < 3 else word for n, word in enumerate(words))),
    )
