"""Temporary files without a name, and room for them; the library for them is loaded when one is asked for."""

from __future__ import annotations

from typing import IO

__all__ = ["folder", "room", "temporary_file"]


def temporary_file() -> IO[bytes]:
    """A file that is gone when it is closed. Raises OSError where the folder for them is full or not writable."""
    import tempfile

    return tempfile.TemporaryFile(prefix="callreplay-")


def folder() -> str:
    """Where temporary files lie."""
    import tempfile

    return tempfile.gettempdir()


def room() -> int:
    """Octets that are free there."""
    import shutil

    return shutil.disk_usage(folder()).free
