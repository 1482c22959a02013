"""``callreplay users``: who may come in, and what each may do. The page of users does the same by the same code."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from callreplay.cli.database import DatabaseOption, DataOption, JsonOption, database
from callreplay.cli.printable import printable
from callreplay.cli.tables import ColumnsOption, CsvOption, Lines, print_rows
from callreplay.errors import ArgumentError

if TYPE_CHECKING:
    from pathlib import Path

    from callreplay.store.database import Connection

__all__ = ["register"]

_GENERATED: Final = 16
LoginArgument = Annotated[str, typer.Argument(metavar="LOGIN")]
TenantOption = Annotated[str, typer.Option("--tenant", help="Whose users.")]
StdinOption = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from standard input; else one is made.")
]
ScopeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--scope",
        help="Only calls that meet callerNumber=…&tag=…, the search's parameters; of several, one. '' takes it off.",
    ),
]


def _do(url: str, data: Path | None, tenant: str, work: Callable[[Connection, int], Any]) -> Any:
    """Run ``work(connection, id of the tenant)`` in one transaction."""
    from callreplay.store import accounts

    with database(url, data) as opened, opened.connection() as connection:
        return work(connection, accounts.tenant_id(connection, tenant))


def _actor() -> Any:
    from callreplay.store.people import Actor

    return Actor("system")


def _password(from_stdin: bool, login: str) -> str:
    from callreplay.service import settings
    from callreplay.store import people

    if not from_stdin:
        return secrets.token_urlsafe(_GENERATED)
    given = sys.stdin.readline().rstrip("\r\n")
    length = os.environ.get(settings.PREFIX + "PASSWORD_LENGTH", "")
    shortest = int(length) if length.isdigit() else settings.SHORTEST_PASSWORD
    people.check_password(given, max(shortest, settings.SHORTEST_PASSWORD), login)
    return given


def _hash(password: str) -> str:
    from argon2 import PasswordHasher

    return PasswordHasher().hash(password)


def _told(login: str, password: str, from_stdin: bool) -> None:
    typer.echo(f"user: {printable(login)}")
    if not from_stdin:
        typer.echo(f"password: {password}")


def _scope(lines: list[str] | None) -> str | None:
    return None if lines is None else "\n".join(lines)


def _add_listing(group: typer.Typer) -> None:
    @group.command(name="list")
    def listing(
        tenant: TenantOption = "default",
        as_json: JsonOption = False,
        as_csv: CsvOption = False,
        columns: ColumnsOption = "",
        url: DatabaseOption = "",
        data: DataOption = None,
    ) -> None:
        """Show the users of a tenant with their roles and scopes."""
        from callreplay.store import accounts

        found = _do(url, data, tenant, accounts.users)
        plain = [
            {
                "login": row["login"],
                "name": row["name"],
                "role": row["role"],
                "scope": row["scope"].splitlines(),
                "lastLogin": row["last_login_at"] and row["last_login_at"].isoformat(),
                "disabled": row["disabled_at"] is not None,
            }
            for row in found
        ]
        if print_rows(plain, as_json=as_json, as_csv=as_csv, columns=columns):
            return
        table = Lines("login", "name", "role", "scope", "last login", "state")
        for row in found:
            last = f"{row['last_login_at']:%Y-%m-%d %H:%M} UTC" if row["last_login_at"] else "never"
            state = "locked out" if row["disabled_at"] else "in use"
            scope = row["scope"].replace("\n", " or ") or "all"
            table.add_row(*map(printable, (row["login"], row["name"], row["role"], scope, last, state)))
        table.print()

    @group.command(name="roles")
    def roles(
        define: Annotated[str, typer.Option(help="A role to make, or to give other rights.")] = "",
        rights: Annotated[str, typer.Option(help="Its rights, separated by commas.")] = "",
        as_json: JsonOption = False,
        as_csv: CsvOption = False,
        columns: ColumnsOption = "",
        url: DatabaseOption = "",
        data: DataOption = None,
    ) -> None:
        """Show the roles with their rights; with --define make one."""
        from callreplay.store import people

        def work(connection: Connection, _: int) -> dict[str, list[str]]:
            if define:
                wanted = [right.strip() for right in rights.split(",") if right.strip()]
                people.define_role(connection, _actor(), define, wanted)
            return people.roles(connection)

        there = _do(url, data, "default", work)
        plain = [{"role": name, "rights": rights} for name, rights in there.items()]
        if not print_rows(plain, as_json=as_json, as_csv=as_csv, columns=columns):
            for name, found in there.items():
                typer.echo(f"{name}: {', '.join(found)}")


def _add_making(group: typer.Typer) -> None:
    @group.command(name="add")
    def add(
        login: LoginArgument,
        role: Annotated[str, typer.Option(help="admin, auditor, user, listener or one of yours.")] = "user",
        name: Annotated[str, typer.Option(help="The name of the person.")] = "",
        scope: ScopeOption = None,
        password_stdin: StdinOption = False,
        tenant: TenantOption = "default",
        url: DatabaseOption = "",
        data: DataOption = None,
    ) -> None:
        """Make a user, and print the password once."""
        from callreplay.store import people

        password = _password(password_stdin, login)
        hashed = _hash(password)
        _do(
            url,
            data,
            tenant,
            lambda connection, tenant_id: people.add_user(
                connection,
                _actor(),
                tenant_id,
                login,
                hashed,
                role=role,
                name=name,
                scope=_scope(scope) or "",
            ),
        )
        _told(login, password, password_stdin)

    @group.command(name="password")
    def password(
        login: LoginArgument,
        password_stdin: StdinOption = False,
        tenant: TenantOption = "default",
        url: DatabaseOption = "",
        data: DataOption = None,
    ) -> None:
        """Give a user another password, and print it once; the user's sessions end."""
        from callreplay.store import people

        made = _password(password_stdin, login)
        hashed = _hash(made)
        _do(
            url,
            data,
            tenant,
            lambda connection, tenant_id: people.set_password(
                connection, _actor(), tenant_id, people.find(connection, tenant_id, login), hashed
            ),
        )
        _told(login, made, password_stdin)

    @group.command(name="role")
    def role(
        login: LoginArgument,
        role: Annotated[str, typer.Argument(metavar="[ROLE]")] = "",
        scope: ScopeOption = None,
        tenant: TenantOption = "default",
        url: DatabaseOption = "",
        data: DataOption = None,
    ) -> None:
        """Give a user another role, another scope, or both."""
        from callreplay.store import people

        if not role and scope is None:
            raise ArgumentError("name a role or a scope")
        _do(
            url,
            data,
            tenant,
            lambda connection, tenant_id: people.change_user(
                connection,
                _actor(),
                tenant_id,
                people.find(connection, tenant_id, login),
                role=role or None,
                scope=_scope(scope),
            ),
        )


def _add_ending(group: typer.Typer) -> None:
    @group.command(name="disable")
    def disable(
        login: LoginArgument,
        tenant: TenantOption = "default",
        url: DatabaseOption = "",
        data: DataOption = None,
    ) -> None:
        """Lock a user out: sessions, tokens and temporary addresses end."""
        _lock(url, data, tenant, login, True)

    @group.command(name="enable")
    def enable(
        login: LoginArgument,
        tenant: TenantOption = "default",
        url: DatabaseOption = "",
        data: DataOption = None,
    ) -> None:
        """Let a user in again."""
        _lock(url, data, tenant, login, False)

    @group.command(name="delete")
    def delete(
        login: LoginArgument,
        tenant: TenantOption = "default",
        url: DatabaseOption = "",
        data: DataOption = None,
    ) -> None:
        """Delete a user with sessions and tokens; the audit log keeps the name."""
        from callreplay.store import people

        _do(
            url,
            data,
            tenant,
            lambda connection, tenant_id: people.delete_user(
                connection, _actor(), tenant_id, people.find(connection, tenant_id, login)
            ),
        )

    @group.command(name="token")
    def token(
        login: LoginArgument,
        name: Annotated[str, typer.Option(help="What it is for.")],
        rights: Annotated[
            str, typer.Option(help="Some of search,play,download,rtp; left out: all of the user.")
        ] = "",
        days: Annotated[int, typer.Option(min=0, help="Days until it expires; 0: never.")] = 0,
        tenant: TenantOption = "default",
        url: DatabaseOption = "",
        data: DataOption = None,
    ) -> None:
        """Make an API token of a user, and print it once."""
        from callreplay.store import people

        wanted = [right.strip() for right in rights.split(",") if right.strip()]
        made = _do(
            url,
            data,
            tenant,
            lambda connection, tenant_id: people.add_token(
                connection,
                _actor(),
                tenant_id,
                people.find(connection, tenant_id, login),
                name,
                timedelta(days=days) if days else None,
                wanted or None,
            ),
        )
        typer.echo(f"token: {made}")


def _lock(url: str, data: Path | None, tenant: str, login: str, locked: bool) -> None:
    from callreplay.store import people

    _do(
        url,
        data,
        tenant,
        lambda connection, tenant_id: people.lock_user(
            connection, _actor(), tenant_id, people.find(connection, tenant_id, login), locked
        ),
    )


def register(app: typer.Typer) -> None:
    """Add the command group."""
    group = typer.Typer(
        no_args_is_help=True,
        help="Users: list, add, password, role, disable, enable, delete, token; and what roles there are.",
    )
    app.add_typer(group, name="users")
    _add_listing(group)
    _add_making(group)
    _add_ending(group)
