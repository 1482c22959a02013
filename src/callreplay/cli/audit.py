"""``callreplay audit``: whether the audit log is what was written."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime
from typing import Annotated

import typer

from callreplay.cli.database import DatabaseOption, DataOption, TenantOption, database
from callreplay.cli.printable import json_text
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
    group = typer.Typer(no_args_is_help=True, help="The audit log: export, verify.")
    app.add_typer(group, name="audit")

    @group.callback()
    def audit() -> None:
        """The audit log."""

    @group.command(name="export")
    def export(
        as_json: Annotated[bool, typer.Option("--json", help="One line of JSON per row; else CSV.")] = False,
        user: Annotated[str, typer.Option("--actor", help="Only what this login did.")] = "",
        action: Annotated[str, typer.Option(help="Only this, as play or call.delete.")] = "",
        target: Annotated[str, typer.Option("--object", help="Only what was done to this.")] = "",
        begin: Annotated[datetime | None, typer.Option(help="From this time on (UTC).")] = None,
        end: Annotated[datetime | None, typer.Option(help="Before this time (UTC).")] = None,
        tenant: TenantOption = "default",
        url: DatabaseOption = "",
        data: DataOption = None,
    ) -> None:
        """Write the rows of a tenant to standard output, the newest first; of tenant default those of no tenant too."""
        from callreplay.store import accounts, audit

        with database(url, data) as opened:
            with opened.connection() as connection:
                tenant_id = accounts.tenant_id(connection, tenant)
            rows = audit.every(
                opened,
                tenant_id,
                system=tenant == accounts.SITE,
                actor=user,
                action=action,
                target=target,
                begin=begin and begin.replace(tzinfo=UTC),
                end=end and end.replace(tzinfo=UTC),
            )
            if not as_json:
                for part in audit.as_csv(rows):
                    sys.stdout.write(part)
                return
            for row in rows:
                typer.echo(json_text(row))

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
