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

__all__ = ["DataOption", "DatabaseOption", "TenantOption", "database"]

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
