"""What the commands around the database share: its options, and how figures are shown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from callreplay.store.places import DATA_VARIABLE, DATABASE_VARIABLE

if TYPE_CHECKING:
    from callreplay.store.database import Database

__all__ = ["DataOption", "DatabaseOption", "TenantOption", "database", "parse_size", "show_size"]

DatabaseOption = Annotated[
    str,
    typer.Option(
        "--database-url",
        "--database",
        envvar=DATABASE_VARIABLE,
        help="postgresql://… of a server of yours.",
    ),
]
DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        "--data",
        envvar=DATA_VARIABLE,
        help="Data directory of the embedded PostgreSQL, used without --database-url.",
    ),
]
TenantOption = Annotated[str, typer.Option("--tenant", help="Whose calls.")]

_MOST = 2**63  # what a column of the database takes
_UNITS = {
    "": 1,
    "k": 10**3,
    "m": 10**6,
    "g": 10**9,
    "t": 10**12,
    "ki": 2**10,
    "mi": 2**20,
    "gi": 2**30,
    "ti": 2**40,
}


@contextmanager
def database(url: str, data: Path | None, size: int = 4) -> Iterator[Database]:
    """The database that the options name, open."""
    import psycopg

    from callreplay.errors import OutputError
    from callreplay.store.access import opened
    from callreplay.store.database import Database, why
    from callreplay.store.embedded import EmbeddedError

    try:
        with opened(url, data) as found, Database(found, size=size) as connected:
            yield connected
    except EmbeddedError as error:
        raise OutputError(str(error)) from error
    except psycopg.Error as error:
        raise OutputError(why(error)) from error


def parse_size(text: str) -> int:
    """Octets from ``0``, ``500M``, ``2GiB``, ``1.5T``: decimal units, binary ones with an i."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?i?)b?", text.strip(), re.IGNORECASE)
    unit = match[2].lower() if match else "i"
    if match is None or unit not in _UNITS or float(match[1]) * _UNITS[unit] >= _MOST:
        raise typer.BadParameter(f"{text!r} is no size: 0, 500M, 2GiB")
    return round(float(match[1]) * _UNITS[unit])


def show_size(octets: int) -> str:
    """``1.2 GB``."""
    value, unit = float(octets), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            break
        value /= 1000
    return f"{octets} B" if unit == "B" else f"{value:.1f} {unit}"
