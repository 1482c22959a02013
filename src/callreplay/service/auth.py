"""Who is asking: passwords, sessions, Basic, Bearer, and the slowing down of those who guess."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import logging
import math
import os
import secrets
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError
from starlette.requests import Request

from callreplay.cores import cores
from callreplay.errors import ArgumentError
from callreplay.service import logs
from callreplay.service.addresses import client_address, is_trusted, network
from callreplay.service.metrics import Metrics
from callreplay.service.settings import Settings
from callreplay.store import accounts, audit, people
from callreplay.store.accounts import User
from callreplay.store.database import Connection, Database
from callreplay.store.known import Known
from callreplay.store.search import Reach

__all__ = ["COOKIE", "Authenticator", "Refused", "Visitor", "basic_credentials"]

_log = logging.getLogger("callreplay.auth")
COOKIE: Final = "callreplay_session"
MAXIMUM_PASSWORD: Final = people.LONGEST_PASSWORD
NO_PASSWORD: Final = "!"
"""In place of a hash: users that a proxy logs in have no password."""
# Failures before waiting begins.
_FREE_BY_PAIR: Final = 5  # a login from one address
_FREE_BY_ADDRESS: Final = 10
_FREE_BY_LOGIN: Final = 10  # from wherever
_REMEMBERED_SECONDS: Final = 60.0
_MOST_REMEMBERED: Final = 10_000
_TICKET_SECONDS: Final = 300
_NICER: Final = 5


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

    def may(self, right: str) -> bool:
        """Whether the user, or the token that the user came by, has a right: one of ``people.RIGHTS``."""
        return right in self.user.rights

    @property
    def reach(self) -> Reach:
        """Whose calls the user may find."""
        return self.user.reach

    @property
    def is_admin(self) -> bool:
        """Whether the user may change who comes in."""
        return self.may("administer")

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
        return self.may("audit")


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
        self._keys: dict[bytes, _Owner] = {}
        self._guard = threading.Lock()
        # argon2 takes 64 MiB and four threads a time. Few threads do nothing else, and give way: a flood of logins
        # takes neither the memory nor the processors of those who are in.
        self._hashing = ThreadPoolExecutor(min(4, cores()), "hash", _give_way)
        self.csrf_key = b""  # of visitors without a session; the service sets it when it opens
        # Clients that come at once with one password wait for the first of them, whose result all may use.
        self._turns = [threading.Lock() for _ in range(64)]

    def hash(self, password: str) -> str:
        """What is kept of a password (argon2id)."""
        return self._hashing.submit(self._hasher.hash, password).result()

    def check(self, tenant: str, login: str, password: str, address: str | None) -> User:
        """The user with these credentials. What was forgotten at that address is forgiven there.

        Raises:
            Refused: tenant, login or password is wrong, or there were too many failures.

        """
        keys, place = _Keys.of(tenant, login, address), _hash(network(address))
        with self.database.connection() as connection:
            user = accounts.find_user(connection, tenant, login) if _storable(tenant, login) else None
            is_known = user is not None and accounts.knows_address(connection, user.id, place)
            # Whoever must wait anyway is told so at once; who need not takes a turn, where it counts, before the hash.
            self._refuse_early(accounts.wait_seconds(connection, keys.strict))
            has_failed = accounts.have_failed(connection, keys.strict)
        key = self._memory_key(user.password_hash if user else self._nobody, password, network(address))
        with self._turns[key[0] % len(self._turns)]:
            if user is not None and self._is_remembered(key):
                if has_failed:
                    with self.database.connection() as connection:
                        accounts.forgive(connection, keys.pair, keys.address)
                return user
            guess = _Guess(user, password[: MAXIMUM_PASSWORD + 1], keys, place, address, is_known)
            running = copy_context()
            self._hashing.submit(running.run, self._try, guess).result()
            self._remember(key)
            assert user is not None
            return user

    def _refuse_early(self, wait: float) -> None:
        if wait > 0:
            self.metrics.logins.labels("throttled").inc()
            raise Refused(wait)

    def _try(self, guess: _Guess) -> None:
        """Try a guess, in a thread of those that hash. Raises Refused."""
        with self.database.connection() as connection:
            turn = accounts.take_turn(
                connection, guess.keys.strict, {guess.keys.login: _FREE_BY_LOGIN}, is_known=guess.is_known
            )
        if not isinstance(turn, accounts.Turn):
            self.metrics.logins.labels("throttled").inc()
            raise Refused(turn)
        user = guess.user
        if not self._verify(user, guess.password) or user is None:
            self.metrics.logins.labels("refused").inc()
            with self.database.connection() as connection:
                accounts.note_wrong(connection, turn)
                audit.write(
                    connection,
                    "login.refused",
                    tenant_id=user.tenant_id if user else None,
                    actor=user.login if user else "",
                    address=guess.address,
                    request_id=logs.request_id.get(),
                )
            raise Refused
        renewed = self._hasher.check_needs_rehash(user.password_hash)
        hashed = self._hasher.hash(guess.password) if renewed else ""
        with self.database.connection() as connection:
            accounts.give_back(connection, turn)
            accounts.forgive(connection, guess.keys.pair, guess.keys.address)
            accounts.note_address(connection, user.id, guess.place)
            if hashed:
                accounts.rehash(connection, user.id, hashed)

    def _verify(self, user: User | None, password: str) -> bool:
        kept = user.password_hash if user else self._nobody
        if kept == NO_PASSWORD:
            kept = self._nobody
        try:
            self._hasher.verify(kept, "" if len(password) > MAXIMUM_PASSWORD else password)
        except (Argon2Error, InvalidHashError, UnicodeEncodeError):
            return False
        return True

    # -- what was right a moment ago ----------------------------------------------------------------------------------

    def _memory_key(self, *parts: str) -> bytes:
        return hmac.digest(self._remember_key, "\0".join(parts).encode("utf-8", "surrogatepass"), "sha256")

    def _is_remembered(self, key: bytes) -> bool:
        with self._guard:
            return self._remembered.get(key, 0.0) > time.monotonic()

    def _remember(self, key: bytes) -> None:
        now = time.monotonic()
        with self._guard:
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered = {each: until for each, until in self._remembered.items() if until > now}
            if len(self._remembered) < _MOST_REMEMBERED:
                self._remembered[key] = now + _REMEMBERED_SECONDS

    # -- whose keys were whose: for taking turns, and to ask again whether it still is so -----------------------------

    def note_key(self, request: Request, visitor: Visitor) -> None:
        """Remember whose a cookie or an Authorization header has just been found to be."""
        shown = _shown(request)
        if not shown:
            return
        key = self._memory_key(shown)
        had = self._keys.get(key)
        if had is not None and had.user == visitor.user:
            return
        known = None
        with suppress(ArgumentError):  # a scope that cannot be read finds nothing
            if token := _token(request):
                known = Known(visitor.user, token, None)
            elif self._is_by_cookie(request) and visitor.csrf_token:
                idle = timedelta(seconds=self.settings.session_idle_seconds)
                known = Known(visitor.user, shown, idle)
        with self._guard:
            if len(self._keys) >= _MOST_REMEMBERED:
                self._keys.clear()
            self._keys[key] = _Owner(visitor.user, known)

    def last_of_key(self, request: Request) -> str:
        """The user whose the key of a request was last; '' where nobody's."""
        shown = _shown(request)
        owner = self._keys.get(self._memory_key(shown)) if shown else None
        return str(owner.user.id) if owner else ""

    def known(self, request: Request) -> Known | None:
        """The user whose session's cookie or API token it was last, to be asked for again; it lets nobody in."""
        if not (self._is_by_cookie(request) or _token(request)):
            return None
        owner = self._keys.get(self._memory_key(shown)) if (shown := _shown(request)) else None
        return owner.known if owner else None

    def _is_by_cookie(self, request: Request) -> bool:
        """Whether nothing but a session's cookie may say who asks."""
        return not self.settings.auth_header and "authorization" not in request.headers

    def is_right(self, right: str, given: str, purpose: str, free: int, address: str | None) -> bool:
        """Whether ``given`` is the secret ``right``; wrong guesses at ``purpose`` from one address are slowed down.

        Raises:
            Refused: there were too many failures.

        """
        keys = {_hash(purpose, network(address)): free}
        with self.database.connection() as connection:
            self._refuse_early(accounts.wait_seconds(connection, keys))
        key = self._memory_key(purpose, right, given, network(address))
        with self._turns[key[0] % len(self._turns)]:
            if self._is_remembered(key):
                return True
            with self.database.connection() as connection:
                turn = accounts.take_turn(connection, keys, {}, is_known=True)
            if not isinstance(turn, accounts.Turn):
                raise Refused(turn)
            if not hmac.compare_digest(given.encode("utf-8", "surrogatepass"), right.encode()):
                return False
            with self.database.connection() as connection:
                accounts.give_back(connection, turn)
            self._remember(key)
            return True

    # -- sessions, tokens, headers ------------------------------------------------------------------------------------

    def log_in(self, tenant: str, login: str, password: str, language: str, address: str | None) -> str:
        """Check and open a session; returns the cookie's secret. Raises Refused."""
        user = self.check(tenant, login, password, address)
        return self.open_session(user, language, address)

    def open_session(self, user: User, language: str, address: str | None) -> str:
        """Open a session of a user who has been checked; returns the cookie's secret."""
        with self.database.connection() as connection:
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
        with self.database.reading() as connection:
            session = accounts.find_session(
                connection, secret, timedelta(seconds=self.settings.session_idle_seconds)
            )
        return Visitor(session.user, session.csrf_token, session.language) if session else None

    def open_ticket(self, secret: str) -> str:
        """A ticket that stands for a session once."""
        with self.database.connection() as connection:
            return accounts.open_ticket(connection, secret, _TICKET_SECONDS)

    def by_ticket(self, ticket: str) -> tuple[Visitor, str] | None:
        """Whose session a ticket stands for, and the next ticket; the ticket has been used then."""
        if not ticket or len(ticket) > 256:
            return None
        with self.database.connection() as connection:
            idle = timedelta(seconds=self.settings.session_idle_seconds)
            found = accounts.use_ticket(connection, ticket, idle, _TICKET_SECONDS)
        if found is None:
            return None
        session, following = found
        return Visitor(session.user, session.csrf_token, session.language), following

    def by_header(self, login: str, csrf_token: str, address: str | None) -> Visitor:
        """The user whom a trusted proxy names, made at first sight. Raises Refused where the user is locked out."""
        with self.database.connection() as connection:
            user = accounts.find_user(connection, accounts.SITE, login)
            if user is None:
                self._make(connection, login, address)
                user = accounts.find_user(connection, accounts.SITE, login)
        if user is None:
            raise Refused
        return Visitor(user, csrf_token)

    def _make(self, connection: Connection, login: str, address: str | None) -> None:
        actor = people.Actor("system", address, logs.request_id.get())
        tenant = accounts.tenant_id(connection, accounts.SITE)
        role, header = self.settings.auth_role, self.settings.auth_header
        try:
            people.add_user(connection, actor, tenant, login, NO_PASSWORD, role=role, how=header)
        except people.RefusedError as refusal:
            if refusal.field != "taken":  # then it is locked out, or another request has just made it
                _log.warning("the user that %s names cannot be made: %s", header, refusal)
                raise Refused from None

    def by_token(self, token: str, address: str | None) -> Visitor:
        """Whose API token that is. Raises Refused."""
        keys = {_hash("address", network(address)): _FREE_BY_ADDRESS * 10}
        with self.database.reading() as connection:
            wait = accounts.wait_seconds(connection, keys)
            user = None if wait > 0 else accounts.find_token(connection, token)
        if wait > 0:
            raise Refused(wait)
        if user is None:
            with self.database.connection() as connection:
                accounts.note_failure(connection, keys)
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
        scheme = header.partition(" ")[0]
        if scheme.lower() == "bearer":
            return self.by_token(_token(request), address)
        if scheme.lower() == "basic":
            found = basic_credentials(header)
            if found is None:
                raise Refused
            tenant = request.query_params.get("tenant") or "default"
            return Visitor(self.check(tenant, *found, address))
        return self.by_browser(request)

    def by_browser(self, request: Request) -> Visitor | None:
        """Whom a proxy that has the last word names, or whose session the cookie is. Raises Refused."""
        if (login := self._named(request)) is not None:
            key = self.csrf_key
            token = hmac.new(key, b"csrf\0" + login.encode(), "sha256").hexdigest()
            return self.by_header(login, token, client_address(request))
        return self.by_session(request.cookies.get(COOKIE, ""))

    def _named(self, request: Request) -> str | None:
        """The login in the header of a trusted proxy; None where there is none. Raises Refused for one that is odd."""
        name = self.settings.auth_header
        if not name or not is_trusted(request.scope):
            return None
        given = request.headers.getlist(name)
        if not given or given == [""]:
            return None
        try:
            login = given[0].encode("latin-1").decode("utf-8").strip()
        except UnicodeDecodeError:
            raise Refused from None
        if len(given) > 1 or not login.isprintable() or not _storable(login):
            raise Refused
        return login


@dataclass(frozen=True, slots=True)
class _Owner:
    """Whose a key was last; ``known`` where it is a session's cookie or an API token."""

    user: User
    known: Known | None


def _token(request: Request) -> str:
    """The API token that a request shows; '' where it shows none."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    return value.strip()[:256] if scheme.lower() == "bearer" else ""


def _shown(request: Request) -> str:
    return request.headers.get("authorization", "") or request.cookies.get(COOKIE, "")


@dataclass(frozen=True, slots=True)
class _Guess:
    """A password to be tried, and where failures are remembered."""

    user: User | None
    password: str
    keys: _Keys
    place: bytes
    address: str | None
    is_known: bool


def _give_way() -> None:
    """Less priority for this thread and those that argon2 starts from it."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0) + _NICER)


def _storable(*texts: str) -> bool:
    """Whether PostgreSQL could hold the texts at all."""
    try:
        return all("\0" not in text and len(text.encode("utf-8")) <= 1024 for text in texts)
    except UnicodeEncodeError:
        return False
