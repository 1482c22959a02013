"""PostgreSQL's own programs for the whole of a database: ``pg_dump`` into a file, ``pg_restore`` out of it.

The wheel of the embedded server brings both. For another server the programs of its own version are taken where they
are installed: what a newer ``pg_dump`` writes an older server may not understand.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from callreplay.errors import OutputError
from callreplay.store.cluster import EmbeddedError, find_server

__all__ = ["dump", "load"]

_DEBIAN: Final = "/usr/lib/postgresql/{}/bin"


def dump(url: str, server_version: int, snapshot: str, file: IO[bytes]) -> None:
    """Write the database at ``url``, as the exported ``snapshot`` sees it, to ``file`` in PostgreSQL's custom format.

    ``server_version`` is that of the server, as ``server_version_num`` has it. Raises OutputError.
    """
    program = _program("pg_dump", server_version // 10_000)
    _run([program, "--format=custom", "--no-owner", f"--snapshot={snapshot}"], url, stdout=file)


def load(url: str, server_version: int, file: IO[bytes]) -> None:
    """Put a dump into the database at ``url``, all of it or nothing. Raises OutputError."""
    program = _program("pg_restore", server_version // 10_000)
    # The one comment is on the extension pg_trgm, which may be an administrator's.
    _run([program, "--no-owner", "--no-comments", "--single-transaction"], url, stdin=file)


def _program(name: str, major: int) -> Path:
    """The program of version ``major``, or else the newest one that there is.

    Raises OutputError where there is none that is at least as new.
    """
    found = {_major(path): path for path in reversed(list(_candidates(name, major)))}
    usable = [version for version in found if version >= major]
    if not usable:
        raise OutputError(
            f"{name} of PostgreSQL {major} or newer is needed: install postgresql-client-{major}"
        )
    return found[min(usable)]


def _candidates(name: str, major: int) -> Iterator[Path]:
    with contextlib.suppress(EmbeddedError):
        yield find_server() / name
    for place in (_DEBIAN.format(major), None):
        if there := shutil.which(name, path=place):
            yield Path(there)


def _major(program: Path) -> int:
    said = subprocess.run([program, "--version"], check=False, capture_output=True, text=True).stdout
    match = re.search(r"\(PostgreSQL\) (\d+)", said)
    return int(match[1]) if match else 0


def _run(command: list[str | Path], url: str, **streams: Any) -> None:
    # The password travels in the environment: arguments are everybody's to read.
    place: dict[str, Any] = conninfo_to_dict(url)
    password = place.pop("password", None)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CALLREPLAY_")}
    if password is not None:
        environment["PGPASSWORD"] = str(password)
    done: Any = subprocess.run(
        [*command, "--no-password", f"--dbname={make_conninfo(**place)}"],
        check=False,
        stderr=subprocess.PIPE,
        env=environment,
        **({"stdin": subprocess.DEVNULL} | streams),
    )
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no word of why"]
        what = next((line for line in lines if "error" in line.lower()), lines[-1])
        raise OutputError(f"{Path(command[0]).name} failed: {what}")
