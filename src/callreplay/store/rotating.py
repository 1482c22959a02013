"""The embedded server's log is kept short, while the server writes it.

The server has the file open for as long as it lives, so what is in it is copied to ``NAME.1`` and the file is emptied:
the server appends, and goes on at its new end. A line that is written in between is lost.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

__all__ = ["LIMIT_BYTES", "rotate"]

LIMIT_BYTES: Final = 16 << 20
_KEPT: Final = 3
_MODE: Final = 0o600


def rotate(path: Path, limit_bytes: int = LIMIT_BYTES, kept: int = _KEPT) -> bool:
    """Begin the log ``path`` anew where it is longer than ``limit_bytes``; whether it was.

    ``kept`` older ones stay beside it, ``NAME.1`` the newest. Raises OSError.
    """
    try:
        if path.stat().st_size <= limit_bytes:
            return False
    except FileNotFoundError:
        return False
    older = [path, *(path.with_name(f"{path.name}.{number}") for number in range(1, kept + 1))]
    for number in range(kept, 1, -1):
        if older[number - 1].exists():
            older[number - 1].replace(older[number])
    older[1].unlink(missing_ok=True)
    descriptor = os.open(older[1], os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
    with os.fdopen(descriptor, "wb") as copy, path.open("r+b") as log:
        shutil.copyfileobj(log, copy, 1 << 20)
        log.truncate(0)
    return True
