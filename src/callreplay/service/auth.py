"""Who is asking: passwords, sessions, Basic, Bearer, and the slowing down of those who guess."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
import math
import secrets
import threading
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError
from starlette.requests import Request

from callreplay.cores import cores
from callreplay.service import logs
from callreplay.service.metrics import Metrics
from callreplay.service.settings import Settings
from callreplay.store import accounts, audit
from callreplay.store.accounts import User
from callreplay.store.database import Connection, Database

__all__ = ["COOKIE", "Authenticator", "Refused", "Visitor", "basic_credentials", "client_address"]

COOKIE: Final = "callreplay_session"
MAXIMUM_PASSWORD: Final = 1024  # characters; argon2 reads all of them
# Failures before waiting begins.
_FREE_BY_PAIR: Final = 5  # a login from one address
_FREE_BY_ADDRESS: Final = 10
_FREE_BY_LOGIN: Final = 10  # from wherever
_REMEMBERED_SECONDS: Final = 60.0


class Refused(Exception):  # noqa: N818  # not an error of ours: an answer
    """The credentials are wrong (``wait_seconds`` 0), or it is too early to try again."""

    def __init__(self, wait_seconds: float = 0.0) -> None:
        super().__init__("refused")
        self.wait_seconds = math.ceil(wait_seconds)


@dataclass(frozen=True, slots=True)
class Visitor:
    """An authenticated user. ``csrf_token`` is '' unless the user came by a session's cookie."""

    user: User
    csrf_token: str = ""
    language: str = ""

    @property
    def is_admin(self) -> bool:
        """Whether the user may change things."""
        return self.user.role == "admin"

    @property
    def runs_site(self) -> bool:
        """Whether the user may see and change what all tenants share: an administrator of the site's own tenant."""
        return self.is_admin and self.of_site

    @property
    def of_site(self) -> bool:
        """Whether the user belongs to the site's own tenant."""
        return self.user.tenant == accounts.SITE

    @property
    def may_audit(self) -> bool:
        """Whether the user may read the audit log."""
        return self.user.role in ("admin", "auditor")


def client_address(request: Request) -> str | None:
    """The client's address as the server saw it; None where it is not an IP address."""
    try:
        return str(ipaddress.ip_address(request.client.host)) if request.client else None
    except ValueError:
        return None


def network(address: str | None) -> str:
    """What counts as one address: a guesser has all of an IPv6 /64 to himself. '' where there is none."""
    if address is None:
        return ""
    made = ipaddress.ip_address(address)
    if isinstance(made, ipaddress.IPv4Address):
        return str(made)
    if made.ipv4_mapped is not None:
        return str(made.ipv4_mapped)
    return str(ipaddress.ip_address(int(made) >> 64 << 64))


@dataclass(frozen=True, slots=True)
class _Keys:
    """Under what failures are remembered (hashed: a mistyped login may be a password)."""

    pair: bytes  # login and address
    address: bytes | None
    login: bytes

    @classmethod
    def of(cls, tenant: str, login: str, address: str | None) -> _Keys:
        place = network(address)
        pair = _hash("pair", tenant, login, place)
        return cls(pair, _hash("address", place) if place else None, _hash("login", tenant, login))

    @property
    def strict(self) -> dict[bytes, int]:
        """Those that nobody passes while they are hot."""
        keys = {self.pair: _FREE_BY_PAIR}
        if self.address is not None:
            keys[self.address] = _FREE_BY_ADDRESS
        return keys


def _hash(*parts: str) -> bytes:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).digest()


def basic_credentials(header: str) -> tuple[str, str] | None:
    """User and password of an Authorization header of scheme Basic (RFC 7617)."""
    scheme, _, value = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        text = base64.b64decode(value.strip(), validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None
    user, colon, password = text.partition(":")
    return (user, password) if colon else None


class Authenticator:
    """Checks credentials against the database."""

    def __init__(self, database: Database, settings: Settings, metrics: Metrics) -> None:
        self.database, self.settings, self.metrics = database, settings, metrics
        self._hasher = PasswordHasher()
        # An unknown login costs as long as a wrong password, so that the time tells nothing.
        self._nobody = self._hasher.hash(secrets.token_urlsafe(16))
        # argon2 is slow by design; a client that sends Basic with every request pays once a minute.
        self._remember_key = secrets.token_bytes(32)
        self._remembered: dict[bytes, float] = {}
        self._guard = threading.Lock()
        # argon2 takes 64 MiB and four threads a time: bounded, or a flood of logins would take all memory.
        self._hashing = threading.BoundedSemaphore(min(4, cores()))
        # Clients that come at once with one password wait for the first of them, whose result all may use.
        self._turns = [threading.Lock() for _ in range(64)]

    def hash(self, password: str) -> str:
        """What is kept of a password (argon2id)."""
        with self._hashing:
            return self._hasher.hash(password)

    def check(self, tenant: str, login: str, password: str, address: str | None) -> User:
        """The user with these credentials.

        Raises:
            Refused: tenant, login or password is wrong, or there were too many failures.

        """
        keys, place = _Keys.of(tenant, login, address), _hash(network(address))
        with self.database.connection() as connection:
            user = accounts.find_user(connection, tenant, login) if _storable(tenant, login) else None
            is_known = user is not None and accounts.knows_address(connection, user.id, place)
            wait = accounts.wait_seconds(connection, keys.strict)
            if wait <= 0 and not is_known and accounts.have_failed(connection, keys.strict):
                # Guesses from everywhere slow each of their addresses down, and nobody else: strangers who fail on
                # purpose would keep the user out.
                wait = accounts.wait_seconds(connection, {keys.login: _FREE_BY_LOGIN})
        if wait > 0:
            self.metrics.logins.labels("throttled").inc()
            raise Refused(wait)
        if self._verify(user, password):
            assert user is not None
            if not is_known:
                with self.database.connection() as connection:
                    accounts.note_address(connection, user.id, place)
            return user
        self.metrics.logins.labels("refused").inc()
        with self.database.connection() as connection:
            accounts.note_failure(connection, (*keys.strict, keys.login))
            audit.write(
                connection,
                "login.refused",
                tenant_id=user.tenant_id if user else None,
                actor=user.login if user else "",
                address=address,
                request_id=logs.request_id.get(),
            )
        raise Refused

    def _verify(self, user: User | None, password: str) -> bool:
        if len(password) > MAXIMUM_PASSWORD:
            password = ""
        kept = user.password_hash if user else self._nobody
        key = hmac.digest(
            self._remember_key, kept.encode() + b"\0" + password.encode("utf-8", "surrogatepass"), "sha256"
        )
        with self._turns[key[0] % len(self._turns)]:
            now = time.monotonic()
            if user is not None and self._remembered.get(key, 0.0) > now:
                return True
            try:
                with self._hashing:
                    self._hasher.verify(kept, password)
            except (Argon2Error, InvalidHashError, UnicodeEncodeError):
                return False
            if user is None:
                return False
            with self._guard:
                self._remembered = {k: until for k, until in self._remembered.items() if until > now}
                self._remembered[key] = now + _REMEMBERED_SECONDS
        if self._hasher.check_needs_rehash(kept):
            with self.database.connection() as connection:
                accounts.rehash(connection, user.id, self.hash(password))
        return True

    def log_in(self, tenant: str, login: str, password: str, language: str, address: str | None) -> str:
        """Check and open a session; returns the cookie's secret. Raises Refused."""
        user = self.check(tenant, login, password, address)
        with self.database.connection() as connection:
            keys = _Keys.of(tenant, login, address)
            accounts.forgive(connection, keys.pair, keys.address)
            accounts.note_address(connection, user.id, _hash(network(address)))
            secret = accounts.open_session(
                connection, user.id, language, timedelta(seconds=self.settings.session_seconds)
            )
            self._audit(connection, user, "login", address)
        self.metrics.logins.labels("accepted").inc()
        return secret

    def _audit(self, connection: Connection, user: User, action: str, address: str | None) -> None:
        audit.write(
            connection,
            action,
            tenant_id=user.tenant_id,
            actor=user.login,
            target=user.login,
            address=address,
            request_id=logs.request_id.get(),
        )

    def log_out(self, visitor: Visitor, secret: str, address: str | None) -> None:
        """End a session."""
        with self.database.connection() as connection:
            accounts.close_session(connection, secret)
            self._audit(connection, visitor.user, "logout", address)

    def by_session(self, secret: str) -> Visitor | None:
        """Whose session that is."""
        if not secret or len(secret) > 256:
            return None
        with self.database.connection() as connection:
            session = accounts.find_session(
                connection, secret, timedelta(seconds=self.settings.session_idle_seconds)
            )
        return Visitor(session.user, session.csrf_token, session.language) if session else None

    def by_token(self, token: str, address: str | None) -> Visitor:
        """Whose API token that is. Raises Refused."""
        keys = {_hash("address", network(address)): _FREE_BY_ADDRESS * 10}
        with self.database.connection() as connection:
            wait = accounts.wait_seconds(connection, keys)
            if wait > 0:
                raise Refused(wait)
            user = accounts.find_token(connection, token)
            if user is None:
                accounts.note_failure(connection, keys)
        if user is None:
            raise Refused
        return Visitor(user)

    def visitor(self, request: Request, credentials: tuple[str, str, str] | None = None) -> Visitor | None:
        """Who is asking: by ``credentials`` (tenant, login, password), Bearer, Basic, or a session's cookie.

        None where nothing was offered. Raises Refused where something was, and is wrong.
        """
        address = client_address(request)
        if credentials is not None:
            return Visitor(self.check(*credentials, address))
        header = request.headers.get("authorization", "")
        scheme, _, value = header.partition(" ")
        if scheme.lower() == "bearer":
            return self.by_token(value.strip()[:256], address)
        if scheme.lower() == "basic":
            found = basic_credentials(header)
            if found is None:
                raise Refused
            tenant = request.query_params.get("tenant") or "default"
            return Visitor(self.check(tenant, *found, address))
        return self.by_session(request.cookies.get(COOKIE, ""))


def _storable(*texts: str) -> bool:
    """Whether PostgreSQL could hold the texts at all."""
    try:
        return all("\0" not in text and len(text.encode("utf-8")) <= 1024 for text in texts)
    except UnicodeEncodeError:
        return False
