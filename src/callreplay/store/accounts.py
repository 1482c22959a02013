"""Who may come in: tenants, users, sessions, API tokens, and the memory of failed logins.

Secrets are never kept: of sessions and tokens, which are random, the SHA-256; of passwords what argon2id made of them.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from psycopg.rows import DictRow

from callreplay.errors import ArgumentError
from callreplay.store.database import Connection, Database
from callreplay.store.search import Reach

__all__ = ["ROLES", "Session", "User"]

ROLES: Final = ("admin", "auditor", "user", "listener")
"""The roles that come with the program; ``callreplay.store.people`` defines more."""
SITE: Final = "default"
"""The tenant of those who run the site: what all tenants share is theirs."""
TOKEN_PREFIX: Final = "crt_"
_USER: Final = (
    "u.id, u.tenant_id, u.login, u.name, u.role, u.language, u.password_hash, u.scope, r.rights, "
    "t.name AS tenant, t.time_zone FROM users u JOIN tenants t ON t.id = u.tenant_id JOIN roles r ON r.name = u.role"
)
ACTIVE: Final = "u.disabled_at IS NULL AND t.disabled_at IS NULL"
"""The condition on users ``u`` and tenants ``t`` that nobody locked out meets."""


@dataclass(frozen=True, slots=True)
class User:
    """A user as requests need one."""

    id: int
    tenant_id: int
    login: str
    name: str
    role: str
    language: str
    password_hash: str
    tenant: str
    time_zone: str
    scope: str
    rights: frozenset[str]

    @property
    def reach(self) -> Reach:
        """Whose calls the user may find. Raises ArgumentError where the scope cannot be read: then none."""
        return Reach.parse(self.tenant_id, self.scope, zone_or_utc(self.time_zone))


def zone_or_utc(name: str) -> ZoneInfo:
    """The zone of that name; UTC where the machine has none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo("UTC")


@dataclass(frozen=True, slots=True)
class Session:
    """A session that is alive, and whose it is."""

    user: User
    csrf_token: str
    language: str


def _user(row: DictRow) -> User:
    return User(**{name: row[name] for name in User.__slots__} | {"rights": frozenset(row["rights"])})


def digest(secret: str) -> bytes:
    """What is kept of a random secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def find_user(connection: Connection, tenant: str, login: str) -> User | None:
    """The active user of that name in that tenant."""
    row = connection.execute(
        f"SELECT {_USER} WHERE t.name = %s AND u.login = %s AND {ACTIVE}", (tenant, login)
    ).fetchone()
    return _user(row) if row else None


def active_user(connection: Connection, user: int) -> User | None:
    """The user of that id, unless the user or the tenant is locked out."""
    row = connection.execute(f"SELECT {_USER} WHERE u.id = %s AND {ACTIVE}", (user,)).fetchone()
    return _user(row) if row else None


def has_users(connection: Connection) -> bool:
    """Whether anyone can log in at all."""
    row = connection.execute("SELECT EXISTS (SELECT FROM users) AS there").fetchone()
    return bool(row and row["there"])


def tenant_id(connection: Connection, name: str) -> int:
    """The id of a tenant. Raises ArgumentError where there is none of that name."""
    row = connection.execute("SELECT id FROM tenants WHERE name = %s", (name,)).fetchone()
    if row is None:
        raise ArgumentError(f"tenant: there is none called {name!r}")
    return int(row["id"])


def open_tenant(database: Database, name: str) -> tuple[int, str]:
    """Id and time zone of a tenant that is not locked. Raises ArgumentError where there is none of that name."""
    with database.connection() as connection:
        row = connection.execute(
            "SELECT id, time_zone FROM tenants WHERE name = %s AND disabled_at IS NULL", (name,)
        ).fetchone()
    if row is None:
        raise ArgumentError(f"tenant: there is none named {name!r}")
    return int(row["id"]), str(row["time_zone"])


def zone_of(name: str) -> ZoneInfo:
    """The time zone of an IANA name. Raises ArgumentError for any other text."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ArgumentError(f"timezone: {name!r} is not an IANA name such as Europe/Riga") from None


def add_tenant(connection: Connection, name: str, time_zone: str = "UTC") -> int:
    """Make a tenant. Raises ArgumentError where the name is taken."""
    row = connection.execute(
        "INSERT INTO tenants (name, time_zone) VALUES (%s, %s) ON CONFLICT (name) DO NOTHING RETURNING id",
        (name, time_zone),
    ).fetchone()
    if row is None:
        raise ArgumentError(f"tenant: {name!r} exists already")
    return int(row["id"])


def set_time_zone(connection: Connection, tenant: int, time_zone: str) -> None:
    """Set the IANA name of the time zone that a tenant's URLs and pages use."""
    connection.execute("UPDATE tenants SET time_zone = %s WHERE id = %s", (time_zone, tenant))


def lock_tenant(connection: Connection, tenant: int, locked: bool) -> None:
    """Keep a tenant's users out, whatever sessions and tokens they have, or let them in again."""
    connection.execute(
        "UPDATE tenants SET disabled_at = CASE WHEN %s THEN now() END WHERE id = %s", (locked, tenant)
    )


def tenants(connection: Connection) -> list[DictRow]:
    """Every tenant by name: ``name``, ``timeZone``, ``retention``, ``days``, ``users`` (how many), ``disabled``."""
    return connection.execute(
        'SELECT name, time_zone AS "timeZone", retention, retention_days AS days, '
        "(SELECT count(*) FROM users u WHERE u.tenant_id = t.id) AS users, disabled_at IS NOT NULL AS disabled "
        "FROM tenants t ORDER BY name"
    ).fetchall()


def add_user(
    connection: Connection,
    tenant: int,
    login: str,
    password_hash: str,
    *,
    role: str = "user",
    name: str = "",
    email: str = "",
    scope: str = "",
) -> int:
    """Make a user. Raises ArgumentError where the login is taken in that tenant."""
    row = connection.execute(
        "INSERT INTO users (tenant_id, login, password_hash, role, name, email, scope) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (tenant_id, login) DO NOTHING RETURNING id",
        (tenant, login, password_hash, role, name, email, scope),
    ).fetchone()
    if row is None:
        raise ArgumentError(f"login: {login!r} exists already")
    return int(row["id"])


def users(connection: Connection, tenant: int) -> list[DictRow]:
    """The users of a tenant, by login."""
    return connection.execute(
        "SELECT id, login, name, email, role, scope, created_at, last_login_at, disabled_at FROM users "
        "WHERE tenant_id = %s ORDER BY login",
        (tenant,),
    ).fetchall()


def set_password(connection: Connection, tenant: int, user: int, password_hash: str) -> bool:
    """Give a user another password; False where the tenant has no such user.

    The user's sessions end, and no address is known as the user's any more.
    """
    row = connection.execute(
        "UPDATE users SET password_hash = %s WHERE id = %s AND tenant_id = %s RETURNING id",
        (password_hash, user, tenant),
    ).fetchone()
    if row is None:
        return False
    connection.execute("DELETE FROM sessions WHERE user_id = %s", (user,))
    connection.execute("DELETE FROM login_addresses WHERE user_id = %s", (user,))
    return True


def rehash(connection: Connection, user: int, password_hash: str) -> None:
    """Keep the same password hashed with newer parameters."""
    connection.execute("UPDATE users SET password_hash = %s WHERE id = %s", (password_hash, user))


def set_disabled(connection: Connection, tenant: int, user: int, disabled: bool) -> str | None:
    """Lock a user out or in again; the login, or None where the tenant has no such user."""
    row = connection.execute(
        "UPDATE users SET disabled_at = CASE WHEN %s THEN coalesce(disabled_at, now()) END "
        "WHERE id = %s AND tenant_id = %s RETURNING login",
        (disabled, user, tenant),
    ).fetchone()
    if row is None:
        return None
    if disabled:
        connection.execute("DELETE FROM sessions WHERE user_id = %s", (user,))
    return str(row["login"])


# -- sessions -------------------------------------------------------------------------------------------------------


def open_session(connection: Connection, user: int, language: str, lifetime: timedelta) -> str:
    """Make a session; returns the secret that the cookie carries."""
    secret = secrets.token_urlsafe(32)
    connection.execute(
        "INSERT INTO sessions (token_hash, user_id, csrf_token, language, expires_at) "
        "VALUES (%s, %s, %s, %s, now() + %s)",
        (digest(secret), user, secrets.token_urlsafe(24), language, lifetime),
    )
    connection.execute("UPDATE users SET last_login_at = now() WHERE id = %s", (user,))
    connection.execute("DELETE FROM sessions WHERE expires_at < now()")
    return secret


def find_session(connection: Connection, secret: str, idle: timedelta) -> Session | None:
    """The session of that secret, where it is neither over nor idle for too long."""
    return _session(connection, digest(secret), idle)


def _session(connection: Connection, key: bytes, idle: timedelta) -> Session | None:
    row = connection.execute(
        f"SELECT s.csrf_token, s.language AS session_language, s.seen_at < now() - interval '1 minute' AS stale, "
        f"{_USER} JOIN sessions s ON s.user_id = u.id "
        f"WHERE s.token_hash = %s AND s.expires_at > now() AND s.seen_at > now() - %s AND {ACTIVE}",
        (key, idle),
    ).fetchone()
    if row is None:
        return None
    if row["stale"]:
        connection.execute("UPDATE sessions SET seen_at = now() WHERE token_hash = %s", (key,))
    return Session(_user(row), row["csrf_token"], row["session_language"])


def close_session(connection: Connection, secret: str) -> None:
    """End a session."""
    connection.execute("DELETE FROM sessions WHERE token_hash = %s", (digest(secret),))


def open_ticket(connection: Connection, secret: str, seconds: int) -> str:
    """Make a ticket that stands for a session once, within so many seconds."""
    ticket = secrets.token_urlsafe(32)
    connection.execute("DELETE FROM session_tickets WHERE expires_at < now()")
    connection.execute(
        "INSERT INTO session_tickets (ticket_hash, session_hash, expires_at) "
        "SELECT %s, token_hash, now() + make_interval(secs => %s) FROM sessions WHERE token_hash = %s",
        (digest(ticket), seconds, digest(secret)),
    )
    return ticket


def use_ticket(
    connection: Connection, ticket: str, idle: timedelta, seconds: int
) -> tuple[Session, str] | None:
    """The session that a ticket stands for, and the next ticket; None where it was used or is none. Now it is used."""
    row = connection.execute(
        "DELETE FROM session_tickets WHERE ticket_hash = %s AND expires_at > now() RETURNING session_hash",
        (digest(ticket),),
    ).fetchone()
    if row is None:
        return None
    key = bytes(row["session_hash"])
    found = _session(connection, key, idle)
    if found is None:
        return None
    following = secrets.token_urlsafe(32)
    connection.execute(
        "INSERT INTO session_tickets (ticket_hash, session_hash, expires_at) "
        "VALUES (%s, %s, now() + make_interval(secs => %s))",
        (digest(following), key, seconds),
    )
    return found, following


# -- API tokens -----------------------------------------------------------------------------------------------------


def add_token(
    connection: Connection,
    user: int,
    name: str,
    lifetime: timedelta | None = None,
    *,
    rights: list[str] | None = None,
    made_by: str = "",
) -> str:
    """Make an API token with some of its owner's rights (None: all); it is returned this once."""
    token = TOKEN_PREFIX + secrets.token_urlsafe(32)
    connection.execute(
        "INSERT INTO api_tokens (user_id, name, token_hash, hint, expires_at, rights, made_by) "
        "VALUES (%s, %s, %s, %s, now() + %s, %s, %s)",
        (user, name, digest(token), token[: len(TOKEN_PREFIX) + 4], lifetime, rights, made_by),
    )
    return token


def find_token(connection: Connection, token: str) -> User | None:
    """Whose token that is, where it is valid: the user with such rights as the token has."""
    row = connection.execute(
        "SELECT a.id AS token_id, a.rights AS token_rights, "
        f"a.last_used_at IS NULL OR a.last_used_at < now() - interval '1 minute' AS stale, "
        f"{_USER} JOIN api_tokens a ON a.user_id = u.id WHERE a.token_hash = %s AND a.revoked_at IS NULL "
        f"AND (a.expires_at IS NULL OR a.expires_at > now()) AND {ACTIVE}",
        (digest(token),),
    ).fetchone()
    if row is None:
        return None
    if row["stale"]:
        connection.execute("UPDATE api_tokens SET last_used_at = now() WHERE id = %s", (row["token_id"],))
    user = _user(row)
    if row["token_rights"] is None:
        return user
    return replace(user, rights=user.rights & frozenset(row["token_rights"]))


def tokens(connection: Connection, tenant: int) -> list[DictRow]:
    """The tokens of a tenant that are not revoked, newest first."""
    return connection.execute(
        "SELECT a.id, a.name, a.hint, a.created_at, a.last_used_at, a.expires_at, a.rights, u.login FROM api_tokens a "
        "JOIN users u ON u.id = a.user_id WHERE u.tenant_id = %s AND a.revoked_at IS NULL ORDER BY a.id DESC",
        (tenant,),
    ).fetchall()


def revoke_token(connection: Connection, tenant: int, token: int) -> bool:
    """End a token; False where the tenant has no such token."""
    row = connection.execute(
        "UPDATE api_tokens a SET revoked_at = now() FROM users u WHERE u.id = a.user_id AND a.id = %s "
        "AND u.tenant_id = %s AND a.revoked_at IS NULL RETURNING a.id",
        (token, tenant),
    ).fetchone()
    return row is not None


# -- failed logins --------------------------------------------------------------------------------------------------

_FORGET: Final = timedelta(hours=1)
_LONGEST_WAIT: Final = 900.0
_MOST_FAILURES: Final = 100_000  # rows of login_failures; the oldest go first
_MOST_ADDRESSES: Final = 32  # remembered of a user


def wait_seconds(connection: Connection, keys: dict[bytes, int]) -> float:
    """How long someone must wait. ``keys`` gives for each key how many failures are free of charge.

    After those the wait doubles with each failure from one second on, to a quarter of an hour.
    """
    rows = connection.execute(
        "SELECT key, failures, extract(epoch FROM now() - failed_at)::float AS age "
        "FROM login_failures WHERE key = ANY(%s) AND failed_at > now() - %s",
        (list(keys), _FORGET),
    ).fetchall()
    return max([0.0, *(_wait(row, keys[bytes(row["key"])]) for row in rows)])


def have_failed(connection: Connection, keys: Iterable[bytes]) -> bool:
    """Whether a failed login is remembered under any of the keys."""
    row = connection.execute(
        "SELECT EXISTS (SELECT FROM login_failures "
        "WHERE key = ANY(%s) AND failures > 0 AND failed_at > now() - %s) AS failed",
        (list(keys), _FORGET),
    ).fetchone()
    return bool(row and row["failed"])


@dataclass(frozen=True, slots=True)
class Turn:
    """A guess that was counted as failed before it was looked at; ``before`` is what was remembered of each key."""

    before: dict[bytes, tuple[int, datetime]] = field(default_factory=dict)


def take_turn(
    connection: Connection, strict: dict[bytes, int], login: dict[bytes, int], *, is_known: bool
) -> Turn | float:
    """Count a guess as failed, before it is tried; or how many seconds it must wait, and then it is not counted.

    Guesses at one key come here one by one, whichever process they are in: of a hundred at once no more are tried than
    of a hundred one after the other. ``strict`` and ``login`` give for each key how many failures are free of charge.
    """
    keys = sorted({**strict, **login})
    for key in keys:
        connection.execute(
            "INSERT INTO login_failures AS f (key, failures, failed_at) VALUES (%s, 0, now()) "
            "ON CONFLICT (key) DO UPDATE SET failures = f.failures",  # and nobody else's until we are done
            (key,),
        )
    # clock_timestamp(): now() is when the transaction began, and it may have waited for the lock.
    rows = connection.execute(
        "SELECT key, CASE WHEN failed_at < now() - %s THEN 0 ELSE failures END AS failures, failed_at, "
        "extract(epoch FROM clock_timestamp() - failed_at)::float AS age "
        "FROM login_failures WHERE key = ANY(%s) ORDER BY key FOR UPDATE",
        (_FORGET, keys),
    ).fetchall()
    found = {bytes(row["key"]): row for row in rows}
    wait = max((_wait(found[key], free) for key, free in strict.items()), default=0.0)
    if wait <= 0 and not is_known and any(found[key]["failures"] for key in strict):
        # Guesses from everywhere slow each of their addresses down, and nobody else: strangers who fail on purpose
        # would keep the user out.
        wait = max((_wait(found[key], free) for key, free in login.items()), default=0.0)
    if wait > 0:
        connection.execute("DELETE FROM login_failures WHERE key = ANY(%s) AND failures <= 0", (keys,))
        return wait
    connection.execute(
        "UPDATE login_failures SET failed_at = clock_timestamp(), "
        "failures = CASE WHEN failed_at < now() - %s THEN 1 ELSE failures + 1 END WHERE key = ANY(%s)",
        (_FORGET, keys),
    )
    _forget_old(connection)
    return Turn({key: (row["failures"], row["failed_at"]) for key, row in found.items()})


def _wait(row: DictRow, free: int) -> float:
    over = row["failures"] - free
    return 0.0 if over < 0 else min(2.0 ** min(over, 16), _LONGEST_WAIT) - float(row["age"])


def note_wrong(connection: Connection, turn: Turn) -> None:
    """The guess was wrong: the wait begins now, and not when its trial began."""
    for key in sorted(turn.before):
        connection.execute("UPDATE login_failures SET failed_at = clock_timestamp() WHERE key = %s", (key,))


def give_back(connection: Connection, turn: Turn) -> None:
    """The guess was right: it is not counted any more."""
    for key in sorted(turn.before):
        failures, failed_at = turn.before[key]
        connection.execute(
            "UPDATE login_failures SET failures = failures - 1, "
            "failed_at = CASE WHEN failures = %s THEN %s ELSE failed_at END WHERE key = %s",
            (failures + 1, failed_at, key),
        )
    connection.execute(
        "DELETE FROM login_failures WHERE key = ANY(%s) AND failures <= 0", (list(turn.before),)
    )


def note_failure(connection: Connection, keys: Iterable[bytes]) -> None:
    """Remember a failed login under each key, and forget the old ones."""
    for key in sorted(keys):
        connection.execute(
            "INSERT INTO login_failures AS f (key, failures, failed_at) VALUES (%s, 1, now()) "
            "ON CONFLICT (key) DO UPDATE SET failed_at = now(), "
            "failures = CASE WHEN f.failed_at < now() - %s THEN 1 ELSE f.failures + 1 END",
            (key, _FORGET),
        )
    _forget_old(connection)


def _forget_old(connection: Connection) -> None:
    # Last, and past rows that others hold: nobody waits for anybody in a ring.
    connection.execute(
        "DELETE FROM login_failures WHERE key IN (SELECT key FROM login_failures WHERE failed_at < greatest("
        "now() - %s, (SELECT failed_at FROM login_failures ORDER BY failed_at DESC OFFSET %s LIMIT 1)) "
        "FOR UPDATE SKIP LOCKED)",
        (_FORGET, _MOST_FAILURES),
    )


def forgive(connection: Connection, pair: bytes, address: bytes | None) -> None:
    """A login succeeded: the failures of ``pair`` are forgotten, and those of ``address`` less by them.

    The address keeps its failures with other logins: a guesser cannot clear them with an account of his own.
    """
    keys = [pair] if address is None else [pair, address]
    rows = connection.execute(  # in the order of note_failure
        "SELECT key, failures FROM login_failures WHERE key = ANY(%s) ORDER BY key FOR UPDATE", (keys,)
    ).fetchall()
    failures = {bytes(row["key"]): int(row["failures"]) for row in rows}
    own = failures.get(pair, 0)
    done = [key for key in keys if failures.get(key, 0) <= own]
    connection.execute("DELETE FROM login_failures WHERE key = ANY(%s)", (done,))
    connection.execute(
        "UPDATE login_failures SET failures = failures - %s WHERE key = %s AND NOT key = ANY(%s)",
        (own, address, done),
    )


def knows_address(connection: Connection, user: int, address: bytes) -> bool:
    """Whether the user has logged in from there."""
    row = connection.execute(
        "SELECT EXISTS (SELECT FROM login_addresses WHERE user_id = %s AND address = %s) AS known",
        (user, address),
    ).fetchone()
    return bool(row and row["known"])


def note_address(connection: Connection, user: int, address: bytes) -> None:
    """The user has logged in from there; the user's oldest addresses are forgotten."""
    connection.execute(
        "INSERT INTO login_addresses (user_id, address) VALUES (%s, %s) "
        "ON CONFLICT (user_id, address) DO UPDATE SET seen_at = now()",
        (user, address),
    )
    connection.execute(
        "DELETE FROM login_addresses WHERE user_id = %s AND address IN (SELECT address FROM login_addresses "
        "WHERE user_id = %s ORDER BY seen_at DESC OFFSET %s)",
        (user, user, _MOST_ADDRESSES),
    )


def first_admin(connection: Connection, login: str, password_hash: str) -> bool:
    """Make the first user of the site's own tenant, an administrator; False where there is a user already."""
    connection.execute("LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE")
    if has_users(connection):
        return False
    add_user(
        connection, tenant_id(connection, SITE), login, password_hash, role="admin", name="Administrator"
    )
    return True
