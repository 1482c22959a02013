"""The roles of an embedded PostgreSQL: who owns the database, who reads, and what no client may do.

`callreplay_owner` has a random password and is whom the service is; everything in the database is its. ``callreplay``,
the login whose password is published, reads what the role ``callreplay_readonly`` may. Everything here is said again at
every start, so that an installation of an older version comes to the same.
"""

from __future__ import annotations

from typing import Any, Final

import psycopg
from psycopg import sql

from callreplay.store.cluster import NAME, OWNER

__all__ = ["READERS", "WRITERS", "encrypted", "limit_clients", "provide"]

READERS: Final = "callreplay_readonly"
WRITERS: Final = "callreplay_writer"
_CLIENTS: Final = 60
"""Connections of the published login, of 200: it cannot take those that the service needs."""

Plain = psycopg.Connection[tuple[Any, ...]]

# Functions that PostgreSQL lets everybody call, by which one who only reads could fill the disk (large objects) or keep
# the service waiting (advisory locks).
_CLOSED: Final = """
    SELECT oid::regprocedure::text FROM pg_proc
     WHERE pronamespace = 'pg_catalog'::regnamespace AND has_function_privilege(%s, oid, 'EXECUTE')
       AND (proname ~ '^pg_(try_)?advisory_' OR proname ~ '^lo_' OR proname IN ('lowrite', 'loread'))
"""


def encrypted(connection: Plain, role: str, password: str) -> sql.Literal:
    """The password as the server stores it: itself it must not stand in a statement that a log could keep."""
    verifier = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256")
    return sql.Literal(verifier.decode())


def provide(connection: Plain, passwords: dict[str, str], *, writes: bool | None) -> bool:
    """Make the roles and the database where they are missing; ``connection`` is a superuser's, not in a transaction.

    ``writes`` says whether the published login may write calls; None leaves that as it is.

    Returns whether the database is to be given to its owner: it is of an older version, and the published login's.
    """
    for role, attributes in (
        (OWNER, "LOGIN CREATEROLE NOCREATEDB NOSUPERUSER NOREPLICATION NOBYPASSRLS"),
        (
            NAME,
            f"LOGIN NOCREATEROLE NOCREATEDB NOSUPERUSER NOREPLICATION NOBYPASSRLS CONNECTION LIMIT {_CLIENTS}",
        ),
        (READERS, "NOLOGIN"),
        (WRITERS, "NOLOGIN"),
    ):
        there = connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (role,)).fetchone() is not None
        verb = sql.SQL("ALTER" if there else "CREATE")
        connection.execute(sql.SQL("{} ROLE {} " + attributes).format(verb, sql.Identifier(role)))
        if not there and role in (OWNER, NAME):
            set_password(connection, role, passwords["owner_password" if role == OWNER else "password"])
    _memberships(connection, writes)
    name, owner = sql.Identifier(NAME), sql.Identifier(OWNER)
    row = connection.execute(
        "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s", (NAME,)
    ).fetchone()
    if row is None:
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(name, owner))
    # Nobody makes temporary tables, and the databases of the server itself are for those who run it.
    connection.execute(sql.SQL("REVOKE TEMPORARY ON DATABASE {} FROM PUBLIC").format(name))
    connection.execute("REVOKE CONNECT, TEMPORARY ON DATABASE postgres, template1 FROM PUBLIC")
    return row is not None and row[0] != OWNER


def set_password(connection: Plain, role: str, password: str) -> None:
    """Give a role a password."""
    statement = sql.SQL("ALTER ROLE {} PASSWORD {}")
    connection.execute(statement.format(sql.Identifier(role), encrypted(connection, role, password)))


def _memberships(connection: Plain, writes: bool | None) -> None:
    """The published login is a reader, and a writer where that is switched on; of no other role, and it admits none."""
    wanted = {READERS, WRITERS} if writes else {READERS}
    held = connection.execute(
        "SELECT r.rolname, m.admin_option, pg_get_userbyid(m.grantor) FROM pg_auth_members m "
        "JOIN pg_roles r ON r.oid = m.roleid WHERE m.member = %s::regrole",
        (NAME,),
    ).fetchall()
    if writes is None and any(role == WRITERS for role, _, _ in held):
        wanted.add(WRITERS)
    for role, admits, grantor in held:
        if role not in wanted or admits:
            statement = sql.SQL("REVOKE {} FROM {} GRANTED BY {} CASCADE")
            connection.execute(
                statement.format(sql.Identifier(role), sql.Identifier(NAME), sql.Identifier(grantor))
            )
    for role in sorted(wanted):
        connection.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(role), sql.Identifier(NAME)))
    for role in (READERS, WRITERS):
        connection.execute(
            sql.SQL("GRANT {} TO {} WITH ADMIN OPTION").format(sql.Identifier(role), sql.Identifier(OWNER))
        )
    connection.execute(sql.SQL("GRANT pg_use_reserved_connections TO {}").format(sql.Identifier(OWNER)))


def limit_clients(connection: Plain, *, hand_over: bool) -> None:
    """In the database itself: close what readers could do harm by; ``hand_over`` gives everything to the owner.

    ``connection`` is a superuser's. What the published login made in there becomes the owner's, and its sessions end.
    """
    name, owner = sql.Identifier(NAME), sql.Identifier(OWNER)
    if hand_over:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s AND pid <> pg_backend_pid()",
            (NAME,),
        )
        connection.execute(sql.SQL("REASSIGN OWNED BY {} TO {}").format(name, owner))
        connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(name, owner))
        # What it granted itself while all was its own; a grant of the schema follows by migration.
        connection.execute(sql.SQL("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {}").format(name))
        connection.execute(sql.SQL("REVOKE ALL ON SCHEMA public FROM {}").format(name))
    connection.execute(sql.SQL("GRANT CREATE ON SCHEMA public TO {}").format(owner))
    for (function,) in connection.execute(_CLOSED, (NAME,)).fetchall():
        # Its name is the server's own; an identifier would put its arguments within quotes.
        connection.execute(f"REVOKE EXECUTE ON FUNCTION {function} FROM PUBLIC".encode())
        connection.execute(sql.SQL(f"GRANT EXECUTE ON FUNCTION {function} TO {{}}").format(owner))
