"""Names beneath a directory descriptor: what is opened, made, linked or removed lies in that directory's tree.

Linux resolves a path so in one call (openat2 with RESOLVE_BENEATH, 5.6 and newer); elsewhere every component is opened
relative to the one before. Either way no symbolic link is followed and no ``..`` is known, whatever changes meanwhile.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import sys
from collections.abc import Iterator
from typing import Any, Final

__all__ = ["folder_beneath", "make_folders", "open_beneath", "open_checked", "parts_of"]

_OPENAT2: Final = 437  # the same number on every architecture of Linux
_RESOLVE: Final = (
    0x02 | 0x04 | 0x08
)  # RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH (openat2(2))
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ABSENT: Final = frozenset((errno.ENOSYS, errno.EPERM, errno.E2BIG))
"""An older kernel, or a sandbox that does not know the call. A file that may not be opened says EACCES."""
_NO_PARTS: Final = frozenset(("", ".", ".."))
_AGAIN: Final = 8  # tries where a name was moved during the walk (EAGAIN of openat2)


class _How(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_CODING: Final = (sys.getfilesystemencoding(), sys.getfilesystemencodeerrors())


def _found_syscall() -> Any:
    """The C library's ``syscall`` with the arguments of openat2, of this module alone; None but on Linux."""
    if sys.platform != "linux":
        return None
    found = ctypes.CDLL(None, use_errno=True).syscall
    found.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.POINTER(_How), ctypes.c_size_t)
    found.restype = ctypes.c_long
    return found


_syscall = _found_syscall()
_HOW_OCTETS: Final = ctypes.sizeof(_How)


def parts_of(path: str) -> list[str]:
    """The components of a relative path. Raises FileNotFoundError for one that is none, or would leave the folder."""
    parts = path.split("/")
    if "\0" in path or not _NO_PARTS.isdisjoint(parts):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    return parts


def open_beneath(folder: int, path: str, flags: int, mode: int = 0o640) -> int:
    """Open ``path`` in the directory ``folder`` and return its descriptor. Raises OSError.

    FileNotFoundError for a path that would leave the directory; ELOOP (openat2) or ENOTDIR (walk) at a link.
    """
    parts_of(path)
    return open_checked(folder, path, flags, mode)


def open_checked(folder: int, path: str, flags: int, mode: int = 0o640) -> int:
    """As ``open_beneath`` for a path that ``parts_of`` has been asked about."""
    flags |= os.O_NOFOLLOW | os.O_CLOEXEC
    found = _openat2(folder, path, flags, mode)
    return _walk(folder, path, flags, mode) if found is None else found


def _openat2(folder: int, path: str, flags: int, mode: int) -> int | None:
    """The descriptor; None where the kernel has no such call."""
    if _syscall is None:
        return None
    how = _How(flags, mode if flags & os.O_CREAT else 0, _RESOLVE)
    name = path.encode(*_CODING)  # os.fsencode() of a text
    for _ in range(_AGAIN):
        found: int = _syscall(_OPENAT2, folder, name, how, _HOW_OCTETS)
        if found >= 0:
            return found
        number = ctypes.get_errno()
        if number in _ABSENT:
            return None
        if number not in (errno.EAGAIN, errno.EINTR):
            raise OSError(number, os.strerror(number), path)
    return None


def _walk(folder: int, path: str, flags: int, mode: int) -> int:
    parts = parts_of(path)
    with _parent(folder, parts) as parent:
        return os.open(parts[-1], flags, mode, dir_fd=parent)


@contextlib.contextmanager
def _parent(folder: int, parts: list[str]) -> Iterator[int]:
    at = os.dup(folder)
    try:
        for part in parts[:-1]:
            below = os.open(part, _FOLDER, dir_fd=at)
            os.close(at)
            at = below
        yield at
    finally:
        os.close(at)


@contextlib.contextmanager
def folder_beneath(folder: int, path: str) -> Iterator[int]:
    """A descriptor of the directory ``path`` in ``folder`` ('' for itself) for the block. Raises OSError."""
    found = open_beneath(folder, path, _FOLDER) if path else os.dup(folder)
    try:
        yield found
    finally:
        os.close(found)


def make_folders(folder: int, path: str, mode: int = 0o750) -> list[str]:
    """Make ``path`` in ``folder`` with what is missing above it; the directories whose entries are to be synced."""
    parts = parts_of(path)
    changed = [path]
    for count in range(1, len(parts) + 1):
        above = "/".join(parts[: count - 1])
        with folder_beneath(folder, above) as parent, contextlib.suppress(FileExistsError):
            os.mkdir(parts[count - 1], mode, dir_fd=parent)
            changed.append(above)
    return changed
