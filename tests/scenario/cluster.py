"""A database cluster that is made once in a run of the tests: initdb, roles and schema take 2 s of CPU.

Tests whose matter is the making itself leave it out.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

from callreplay.store.database import migrate
from callreplay.store.embedded import EmbeddedPostgres

__all__ = ["prepare"]

_FOLDER = "TESTS_CLUSTER_FOLDER"
"""Variable: the run's folder, shared by its workers; tests/conftest.py makes it and takes it away."""
_KEPT = ("cluster", "database.json", "postgresql")
"""What a cluster is in a data directory; the last, a copy of the programs, is there where its account needs one."""


def prepare(data: Path) -> None:
    """Let ``data`` be a data directory whose cluster has been made and has the schema, and nothing in it."""
    data.mkdir(parents=True, exist_ok=True, mode=0o755)
    made = _made()
    words = [str(made / name) for name in _KEPT if (made / name).exists()]
    subprocess.run(["cp", "-a", "--reflink=auto", *words, str(data)], check=True)


def _made() -> Path:
    """The cluster to copy."""
    folder = Path(os.environ[_FOLDER])
    made, fresh = folder / "made", folder / "fresh"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            shutil.rmtree(fresh, ignore_errors=True)
            with EmbeddedPostgres(fresh, port=0, settings={"fsync": "off"}) as server:
                migrate(server.url)
            fresh.rename(made)
    return made
