"""``callreplay tenants``: whose calls there are, each with users, a time zone and a retention of its own."""

from __future__ import annotations

import secrets
from typing import Annotated

import typer

from callreplay.cli.database import DatabaseOption, DataOption, JsonOption, database
from callreplay.cli.printable import printable
from callreplay.cli.tables import ColumnsOption, CsvOption, Lines, print_rows

__all__ = ["register"]

NameArgument = Annotated[str, typer.Argument(metavar="NAME")]


def register(app: typer.Typer) -> None:
    """Add the command group."""
    group = typer.Typer(no_args_is_help=True, help="Tenants: list, add, change.")
    app.add_typer(group, name="tenants")

    @group.command(name="list")
    def listing(
        as_json: JsonOption = False,
        as_csv: CsvOption = False,
        columns: ColumnsOption = "",
        url: DatabaseOption = "",
        data: DataOption = None,
    ) -> None:
        """Show the tenants with their time zones, retention and numbers of users."""
        from callreplay.store import accounts

        with database(url, data) as opened, opened.connection() as connection:
            found = accounts.tenants(connection)
        if print_rows(found, as_json=as_json, as_csv=as_csv, columns=columns):
            return
        table = Lines("name", "time zone", "retention", "users", "state")
        for row in found:
            days = f" {row['days']} days" if row["days"] else ""
            state = "locked out" if row["disabled"] else "in use"
            table.add_row(row["name"], row["timeZone"], row["retention"] + days, str(row["users"]), state)
        table.print()

    @group.command(name="add")
    def add(
        name: NameArgument,
        timezone: Annotated[
            str, typer.Option(help="IANA zone of its URLs, pages and files' names: Europe/Riga.")
        ] = "UTC",
        login: Annotated[str, typer.Option(help="Login of its first administrator.")] = "admin",
        url: DatabaseOption = "",
        data: DataOption = None,
    ) -> None:
        """Make a tenant and its first administrator, whose password is printed once."""
        from argon2 import PasswordHasher

        from callreplay.store import accounts, audit, people

        accounts.zone_of(timezone)
        password = secrets.token_urlsafe(12)
        with database(url, data, build=True) as opened, opened.connection() as connection:
            people.add_tenant(
                connection, audit.SYSTEM, name, timezone, login, PasswordHasher().hash(password)
            )
        typer.echo(f"user: {printable(login)}\npassword: {password}")

    @group.command(name="change")
    def change(
        name: NameArgument,
        timezone: Annotated[str, typer.Option(help="Its new IANA zone.")] = "",
        locked: Annotated[
            bool | None, typer.Option("--lock/--unlock", help="Keep its users out, or let them in again.")
        ] = None,
        url: DatabaseOption = "",
        data: DataOption = None,
    ) -> None:
        """Change a tenant's time zone, or lock it."""
        from callreplay.store import audit, people

        with database(url, data) as opened, opened.connection() as connection:
            people.change_tenant(connection, audit.SYSTEM, name, time_zone=timezone, locked=locked)
