"""Changing who may come in: users, their passwords, roles and scopes, API tokens. One code for pages and commands.

Each function checks what it is given, changes the tenant's own and nobody else's, and leaves its audit row.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import timedelta
from typing import Final
from zoneinfo import ZoneInfo

from psycopg.rows import DictRow

from callreplay.errors import ArgumentError
from callreplay.store import accounts, audit
from callreplay.store.audit import Actor
from callreplay.store.database import Connection, Database
from callreplay.store.passwords import is_common
from callreplay.store.search import Reach

__all__ = [
    "RIGHTS",
    "TOKEN_RIGHTS",
    "Actor",
    "RefusedError",
    "add_tenant",
    "add_token",
    "add_user",
    "change_tenant",
    "change_user",
    "check_password",
    "define_role",
    "delete_user",
    "find",
    "lock_user",
    "reach_of",
    "revoke_token",
    "roles",
    "set_password",
]

RIGHTS: Final = ("search", "play", "download", "rtp", "edit", "delete", "audit", "administer")
"""All that a role may allow; 0010_rights.sql has the same."""
TOKEN_RIGHTS: Final = RIGHTS[:4]
LONGEST_PASSWORD: Final = 1024  # characters; argon2 reads all of them
_LOGIN: Final = re.compile(r"[^\s\x00-\x1f\x7f-\x9f]{1,100}")


class RefusedError(ArgumentError):
    """What was asked for cannot be; ``field`` is what is wrong: login, password, common, role, …, taken, last."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def _note(
    connection: Connection, actor: Actor, tenant: int, action: str, target: str, **detail: object
) -> None:
    audit.note(connection, actor, action, target, tenant_id=tenant, detail=detail)


def check_password(text: str, shortest: int, login: str = "") -> None:
    """Raise RefusedError for a password that is too short or too long, holds a zero character, or is tried first."""
    if not shortest <= len(text) <= LONGEST_PASSWORD or "\0" in text:
        raise RefusedError("password", f"a password has at least {shortest} characters")
    if is_common(text, login):
        raise RefusedError("common", "this password is one of those that are guessed first: choose another")


def roles(connection: Connection) -> dict[str, list[str]]:
    """The roles there are, each with its rights."""
    rows = connection.execute("SELECT name, rights FROM roles ORDER BY built_in DESC, name").fetchall()
    return {row["name"]: [right for right in RIGHTS if right in row["rights"]] for row in rows}


def define_role(connection: Connection, actor: Actor, name: str, rights: Collection[str]) -> None:
    """Make a role, or give one other rights. Those that come with the program stay as they are."""
    if re.fullmatch(r"[a-z][a-z0-9_-]{0,30}", name) is None:
        raise RefusedError("role", "a role's name is of a to z, digits, _ and -")
    unknown = sorted(set(rights) - set(RIGHTS))
    if unknown or not rights:
        raise RefusedError("role", f"rights are some of {', '.join(RIGHTS)}")
    row = connection.execute(
        "INSERT INTO roles AS r (name, rights) VALUES (%s, %s) ON CONFLICT (name) DO UPDATE "
        "SET rights = excluded.rights WHERE NOT r.built_in RETURNING name",
        (name, sorted(set(rights), key=RIGHTS.index)),
    ).fetchone()
    if row is None:
        raise RefusedError("role", f"the role {name} comes with the program")
    site = accounts.tenant_id(connection, accounts.SITE)
    _note(connection, actor, site, "role.define", name, rights=sorted(rights))


def add_tenant(
    connection: Connection, actor: Actor, name: str, time_zone: str, login: str, password_hash: str
) -> int:
    """Make a tenant with its first administrator; its id. Raises ArgumentError, RefusedError where it is a field's."""
    if not name.strip() or len(name) > 100 or not name.isprintable():
        raise RefusedError("name", "a tenant's name has 1 to 100 printable characters")
    if _LOGIN.fullmatch(login) is None:
        raise RefusedError("login", "a login has 1 to 100 characters and no spaces")
    accounts.zone_of(time_zone)
    made = accounts.add_tenant(connection, name.strip(), time_zone)
    accounts.add_user(connection, made, login, password_hash, role="admin")
    _note(connection, actor, made, "tenant.add", name.strip())
    _note(connection, actor, made, "user.add", login)
    return made


def change_tenant(
    connection: Connection, actor: Actor, name: str, *, time_zone: str = "", locked: bool | None = None
) -> None:
    """Give a tenant another time zone, or lock it or let it in. Raises ArgumentError for an unknown tenant or zone."""
    tenant = accounts.tenant_id(connection, name)
    detail: dict[str, object] = {}
    if time_zone:
        accounts.zone_of(time_zone)
        accounts.set_time_zone(connection, tenant, time_zone)
        detail["zone"] = time_zone
    if locked is not None:
        accounts.lock_tenant(connection, tenant, locked)
        detail["locked"] = locked
    _note(connection, actor, tenant, "tenant.change", name, **detail)


def find(connection: Connection, tenant: int, login: str) -> int:
    """The id of a tenant's user. Raises RefusedError where there is none."""
    row = connection.execute(
        "SELECT id FROM users WHERE tenant_id = %s AND login = %s", (tenant, login)
    ).fetchone()
    if row is None:
        raise RefusedError("login", f"there is no user {login!r}")
    return int(row["id"])


def reach_of(database: Database, tenant: int, login: str, right: str = "play") -> Reach:
    """What a user of the tenant may find; with '' all of the tenant. Raises RefusedError without the right."""
    if not login:
        return Reach(tenant)
    with database.connection() as connection:
        user = accounts.active_user(connection, find(connection, tenant, login))
    if user is None or right not in user.rights:
        raise RefusedError("login", f"the user {login!r} may not {right}")
    return user.reach


def _check_role(connection: Connection, role: str) -> None:
    if role not in roles(connection):
        raise RefusedError("role", f"there is no role {role!r}")


def _check_scope(connection: Connection, tenant: int, scope: str) -> str:
    row = connection.execute("SELECT time_zone FROM tenants WHERE id = %s", (tenant,)).fetchone()
    assert row is not None
    try:
        Reach.parse(tenant, scope, ZoneInfo(row["time_zone"]))
    except ArgumentError as error:
        raise RefusedError("scope", str(error)) from None
    return "\n".join(line.strip() for line in scope.splitlines() if line.strip())


def add_user(
    connection: Connection,
    actor: Actor,
    tenant: int,
    login: str,
    password_hash: str,
    *,
    role: str = "user",
    name: str = "",
    scope: str = "",
    how: str = "",
) -> int:
    """Make a user; ``how`` says for the audit log where it came from. Raises RefusedError."""
    if _LOGIN.fullmatch(login) is None:
        raise RefusedError("login", "a login has 1 to 100 characters and no spaces")
    _check_role(connection, role)
    scope = _check_scope(connection, tenant, scope)
    try:
        made = accounts.add_user(connection, tenant, login, password_hash, role=role, name=name, scope=scope)
    except ArgumentError as error:
        raise RefusedError("taken", str(error)) from None
    detail = {"role": role, "scope": scope, "how": how}
    _note(
        connection, actor, tenant, "user.add", login, **{key: value for key, value in detail.items() if value}
    )
    return made


def _locked(connection: Connection, tenant: int, user: int) -> DictRow:
    """The user's row, locked, and with it the question who administers the tenant. Raises RefusedError."""
    connection.execute("SELECT 1 FROM tenants WHERE id = %s FOR UPDATE", (tenant,))
    row = connection.execute(
        "SELECT id, login, role, scope FROM users WHERE id = %s AND tenant_id = %s FOR UPDATE", (user, tenant)
    ).fetchone()
    if row is None:
        raise RefusedError("unknown", "there is no such user")
    return row


def _check_others_administer(connection: Connection, tenant: int, user: int) -> None:
    row = connection.execute(
        "SELECT EXISTS (SELECT FROM users u JOIN roles r ON r.name = u.role WHERE u.id = %(user)s "
        "AND 'administer' = ANY(r.rights) AND u.disabled_at IS NULL) AS administers, "
        "EXISTS (SELECT FROM users u JOIN roles r ON r.name = u.role WHERE u.tenant_id = %(tenant)s "
        "AND u.id <> %(user)s AND 'administer' = ANY(r.rights) AND u.disabled_at IS NULL) AS others",
        {"tenant": tenant, "user": user},
    ).fetchone()
    assert row is not None
    if row["administers"] and not row["others"]:
        raise RefusedError("last", "the tenant would have no administrator")


def change_user(
    connection: Connection,
    actor: Actor,
    tenant: int,
    user: int,
    *,
    name: str | None = None,
    role: str | None = None,
    scope: str | None = None,
) -> None:
    """Give a user another name, role or scope; None leaves it. Raises RefusedError."""
    row = _locked(connection, tenant, user)
    detail: dict[str, object] = {}
    if role is not None and role != row["role"]:
        _check_role(connection, role)
        if "administer" not in roles(connection)[role]:
            _check_others_administer(connection, tenant, user)
        detail["role"] = role
    if scope is not None:
        scope = _check_scope(connection, tenant, scope)
        if scope != row["scope"]:
            detail["scope"] = scope
    connection.execute(
        "UPDATE users SET name = coalesce(%s, name), role = coalesce(%s, role), scope = coalesce(%s, scope) "
        "WHERE id = %s",
        (name, role, scope, user),
    )
    _note(connection, actor, tenant, "user.change", row["login"], **detail)


def set_password(connection: Connection, actor: Actor, tenant: int, user: int, password_hash: str) -> None:
    """Give a user another password; the user's sessions end. Raises RefusedError."""
    row = _locked(connection, tenant, user)
    accounts.set_password(connection, tenant, user, password_hash)
    _note(connection, actor, tenant, "user.password", row["login"])


def lock_user(connection: Connection, actor: Actor, tenant: int, user: int, locked: bool) -> None:
    """Lock a user out, or let in again. Sessions and temporary addresses end. Raises RefusedError."""
    row = _locked(connection, tenant, user)
    if locked:
        _check_others_administer(connection, tenant, user)
    accounts.set_disabled(connection, tenant, user, locked)
    _note(connection, actor, tenant, "user.disable" if locked else "user.enable", row["login"])


def delete_user(connection: Connection, actor: Actor, tenant: int, user: int) -> None:
    """Delete a user with sessions and tokens; the audit log keeps the name. Raises RefusedError."""
    row = _locked(connection, tenant, user)
    _check_others_administer(connection, tenant, user)
    connection.execute("DELETE FROM users WHERE id = %s", (user,))
    _note(connection, actor, tenant, "user.delete", row["login"])


def add_token(
    connection: Connection,
    actor: Actor,
    tenant: int,
    user: int,
    name: str,
    lifetime: timedelta | None,
    rights: Collection[str] | None = None,
) -> str:
    """Make an API token of a user, with some of the user's rights (None: all); returned this once.

    Raises RefusedError.
    """
    row = _locked(connection, tenant, user)
    if not name:
        raise RefusedError("name", "a token has a name")
    if rights is not None and (not rights or set(rights) - set(TOKEN_RIGHTS)):
        raise RefusedError("rights", f"a token's rights are some of {', '.join(TOKEN_RIGHTS)}")
    kept = None if rights is None else sorted(set(rights), key=RIGHTS.index)
    token = accounts.add_token(connection, user, name, lifetime, rights=kept, made_by=actor.login)
    days = None if lifetime is None else lifetime.days
    _note(connection, actor, tenant, "token.add", name, user=row["login"], rights=kept, days=days)
    return token


def revoke_token(connection: Connection, actor: Actor, tenant: int, token: int) -> None:
    """End an API token. Raises RefusedError."""
    if not accounts.revoke_token(connection, tenant, token):
        raise RefusedError("unknown", "there is no such token")
    _note(connection, actor, tenant, "token.revoke", str(token))
