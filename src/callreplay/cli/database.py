"""What the commands around the database share: its options, and how figures are shown."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from callreplay.store.places import DATA_VARIABLE, DATABASE_VARIABLE

if TYPE_CHECKING:
    from callreplay.store.database import Database

__all__ = [
    "DataOption",
    "DatabaseOption",
    "JsonLinesOption",
    "JsonOption",
    "SpeechOption",
    "TenantOption",
    "TimezoneOption",
    "UserOption",
    "database",
]

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
TimezoneOption = Annotated[str, typer.Option(help="IANA zone of the names' hours; else the tenant's.")]
SpeechOption = Annotated[
    bool,
    typer.Option(
        "--speech/--no-speech",
        envvar="CALLREPLAY_SPEECH",
        help="Find out who talks how long in each call (it is decoded for that: see docs/speech.md).",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="As JSON.")]
JsonLinesOption = Annotated[bool, typer.Option("--json", help="One line of JSON per call.")]
UserOption = Annotated[
    str, typer.Option("--user", help="Only calls that this user of the tenant may find and play.")
]


@contextmanager
def database(
    url: str, data: Path | None, size: int = 4, *, build: bool = False, volume: bool = False
) -> Iterator[Database]:
    """The database that the options name, open; ``build`` and ``volume`` as of `callreplay.store.access.opened`."""
    import psycopg

    from callreplay.errors import OutputError
    from callreplay.store.access import opened
    from callreplay.store.cluster import EmbeddedError
    from callreplay.store.database import Database, why

    try:
        with opened(url, data, build=build, volume=volume) as found, Database(found, size=size) as connected:
            yield connected
    except EmbeddedError as error:
        raise OutputError(str(error)) from error
    except psycopg.Error as error:
        raise OutputError(why(error)) from error
