"""``callreplay jobs``: what is under way, and what came of it. The page of jobs shows the same."""

from __future__ import annotations

from typing import Annotated

import typer

from callreplay.cli.database import DatabaseOption, DataOption, JsonOption, database
from callreplay.cli.printable import printable
from callreplay.cli.tables import ColumnsOption, CsvOption, Lines, print_rows
from callreplay.errors import ArgumentError

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command group."""
    group = typer.Typer(no_args_is_help=True, help="Imports, batches and other long work: list, cancel.")
    app.add_typer(group, name="jobs")

    @group.command(name="list")
    def listing(
        as_json: JsonOption = False,
        as_csv: CsvOption = False,
        columns: ColumnsOption = "",
        url: DatabaseOption = "",
        data: DataOption = None,
    ) -> None:
        """Show the jobs of every tenant, those under way first."""
        from callreplay.store import accounts, jobs

        with database(url, data) as opened, opened.connection() as connection:
            site = accounts.tenant_id(connection, accounts.SITE)
            found = jobs.listing(connection, site, system=True)
        if print_rows(found, as_json=as_json, as_csv=as_csv, columns=columns):
            return
        table = Lines("id", "kind", "what", "by", "state", "done", "of")
        for row in found:
            total = "?" if row["total"] is None else str(row["total"])
            state = row["state"] + (f": {row['error']}" if row["error"] else "")
            what, actor = printable(row["what"]), printable(row["actor"])
            table.add_row(str(row["id"]), row["kind"], what, actor, printable(state), str(row["done"]), total)
        table.print()

    @group.command(name="cancel")
    def cancel(
        number: Annotated[int, typer.Argument(metavar="ID")],
        url: DatabaseOption = "",
        data: DataOption = None,
    ) -> None:
        """Ask a job to end; it does between two calls or captures."""
        from callreplay.store import accounts, jobs

        with database(url, data) as opened, opened.connection() as connection:
            site = accounts.tenant_id(connection, accounts.SITE)
            if not jobs.ask_to_stop(connection, number, site, system=True):
                raise ArgumentError(f"there is no job {number} under way")
