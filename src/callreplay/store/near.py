"""Whether a folder is on a disk of this machine: then a look at a file takes microseconds, and hangs on no network.

What the kernel says of mounts is asked for once a minute. Anything that is not known to be near is far.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

__all__ = ["Near"]

_DISKS: Final = frozenset(
    ("ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "zfs", "bcachefs", "tmpfs", "overlay")
)
_ASKED_SECONDS: Final = 60.0
_MOST: Final = 1000


class Near:
    """What is known of folders. One thread uses it; ``look`` may be called by another."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, bool]] = {}

    def known(self, folder: str) -> bool | None:
        """Whether it is near; None where that has to be looked for (``look``, ``note``)."""
        until, is_near = self._known.get(folder, (0.0, False))
        return is_near if time.monotonic() < until else None

    def note(self, folder: str, is_near: bool) -> None:
        """Keep what ``look`` found, for a minute."""
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[folder] = (time.monotonic() + _ASKED_SECONDS, is_near)

    @staticmethod
    def look(folder: str) -> bool:
        """Ask the kernel on what the folder is mounted. It may hang where that is a network."""
        try:
            place = Path(os.path.realpath(folder))
            lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return False
        kinds = {}
        for (
            line
        ) in lines:  # proc(5): the mount point is the fifth field, the type the first behind a lone hyphen
            before, _, after = line.partition(" - ")
            kinds[_plain(before.split(" ")[4])] = after.split(" ", 1)[0]  # the last one covers those before
        return next(
            (kinds[str(each)] in _DISKS for each in (place, *place.parents) if str(each) in kinds), False
        )


def _plain(text: str) -> str:
    for octal, letter in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(octal, letter)
    return text
