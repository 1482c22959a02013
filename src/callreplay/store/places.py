"""Where a command finds the database where nothing else is said: environment variables and folders."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

__all__ = ["DATABASE_VARIABLE", "DATA_VARIABLE", "default_data_dir", "home_data_dir"]

DATABASE_VARIABLE: Final = "CALLREPLAY_DATABASE_URL"
DATA_VARIABLE: Final = "CALLREPLAY_DATA_DIR"


def default_data_dir() -> Path:
    """``$CALLREPLAY_DATA_DIR``, or else ``home_data_dir``."""
    given = os.environ.get(DATA_VARIABLE)
    return Path(given) if given else home_data_dir()


def home_data_dir() -> Path:
    """``/var/lib/callreplay`` for root and ``callreplay`` in ``$XDG_DATA_HOME`` (``~/.local/share``) for others."""
    if os.geteuid() == 0:
        return Path("/var/lib/callreplay")
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "callreplay"
