"""``callreplay audit``: whether the audit log is what was written."""

from __future__ import annotations

import re
import sys
from typing import Annotated

import typer

from callreplay.cli.database import DatabaseOption, DataOption, database
from callreplay.errors import ArgumentError

__all__ = ["register"]


def _head(text: str) -> tuple[int, str] | None:
    if not text:
        return None
    found = re.fullmatch(r"(\d{1,18}):([0-9a-f]{64})", text)
    if found is None:
        raise ArgumentError("head: ROW:HASH, as an earlier verification showed it")
    return int(found[1]), found[2]


def register(app: typer.Typer) -> None:
    """Add the command group."""
    group = typer.Typer(no_args_is_help=True, help="The audit log: verify.")
    app.add_typer(group, name="audit")

    @group.callback()
    def audit() -> None:
        """The audit log."""

    @group.command(name="verify")
    def verify(
        head: Annotated[
            str,
            typer.Option(help="ROW:HASH of an earlier verification, kept elsewhere: it must still be there."),
        ] = "",
        url: DatabaseOption = "",
        data: DataOption = None,
    ) -> None:
        """Check the chain of hashes over the audit log, and show its end. Status 1 where it is broken."""
        from callreplay.store import audit

        wanted = _head(head)
        with database(url, data) as opened, opened.connection() as connection:
            found = audit.verify(connection, wanted)
        if found.error:
            print(f"callreplay: {found.error}", file=sys.stderr)
            raise typer.Exit(1)
        typer.echo(f"{found.rows} rows, whole; head {found.rows}:{found.head}")
