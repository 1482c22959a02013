"""What every part of one running service shares."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from zoneinfo import ZoneInfo

from itsdangerous import BadSignature, URLSafeSerializer
from starlette.requests import Request

from callreplay.service import logs
from callreplay.service.addresses import client_address
from callreplay.service.auth import Authenticator
from callreplay.service.cache import Cache
from callreplay.service.fair import Fair
from callreplay.service.metrics import Metrics
from callreplay.service.rounds import Rounds
from callreplay.service.settings import Settings
from callreplay.service.work import Works
from callreplay.store import accounts, audit
from callreplay.store.accounts import User
from callreplay.store.database import SERVICE, Connection, Database, migrate
from callreplay.store.near import Near
from callreplay.store.pipeline import Pipeline

__all__ = [
    "BASE",
    "PLAYER_PASSWORD",
    "Grant",
    "Problem",
    "Service",
    "base",
    "reason_of",
    "service_of",
    "zone_of",
]

BASE: Final = "/CallRecorder"
PLAYER_PASSWORD: Final = "storage.player_password"
_SIGNING_KEY: Final = "urls.signing_key"
_WAITING_THREADS: Final = 128
_WAITING_THREADS_EACH: Final = 8  # of one user
_SEARCH_THREADS: Final = 32
_SEARCH_THREADS_EACH: Final = 8
_LOGIN_THREADS: Final = 32
_LOGIN_THREADS_EACH: Final = 4  # of one address
_CLOSE_SECONDS: Final = 5.0
_CLOCK_SECONDS: Final = 5  # by which clocks of one machine may differ from one moment to the next


class Problem(Exception):  # noqa: N818  # an answer
    """An answer other than success: a status, a text for people, and the parameter at fault if any.

    ``text`` stands in the catalogues of the pages' languages, ``%(name)s`` in it for the parameter; ``detail`` is what
    the engine says, in English. ``code`` is for programs that must tell problems of one status apart.
    """

    def __init__(
        self,
        status: int,
        text: str,
        *,
        detail: str = "",
        parameter: str = "",
        code: str = "",
        headers: dict[str, str] | None = None,
    ) -> None:
        said = text % {"name": parameter}
        super().__init__(f"{said}: {detail}" if detail else said)
        self.status, self.text, self.detail = status, text, detail
        self.parameter, self.code = parameter, code
        self.headers = headers or {}


@dataclass(frozen=True, slots=True)
class Grant:
    """What a temporary URL allows: one call in one form, ``extra_seconds`` longer than such URLs usually last.

    It is ``user_id``'s, and ends when that user is locked out, or may no longer find the call. ``action`` is what its
    first use is called in the audit log ('' where the page that it belongs to has its row), ``reason`` why.
    """

    call: str
    user_id: int
    form: str
    options: dict[str, Any]
    extra_seconds: int = 0
    action: str = ""
    reason: str = ""


class Service:
    """Database, cache and the rest. It opens when it is first used, so that it may be mounted anywhere."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        self.settings, self.clock = settings, clock
        self.metrics = Metrics()
        self.database = Database(settings.database_url, size=settings.db_pool, limits=SERVICE)
        self.auth = Authenticator(self.database, settings, self.metrics)
        self.works = Works(settings.database_url)
        self._rounds = Rounds(self.database)
        self._opening = threading.Lock()
        self._cache: Cache | None = None
        self._signer: URLSafeSerializer | None = None
        self.waiting = Fair(_WAITING_THREADS, _WAITING_THREADS_EACH)
        self.searching = Fair(_SEARCH_THREADS, _SEARCH_THREADS_EACH)
        self.logins = Fair(_LOGIN_THREADS, _LOGIN_THREADS_EACH)
        self.near = Near()
        self._pipeline: Pipeline | None = None

    def open(self) -> None:
        """Migrate, connect, and read or make the secrets; a second time does nothing."""
        with self._opening:
            if self._signer is not None:
                return
            migrate(self.settings.database_url)
            self.database.open()
            self._cache = Cache(
                self.settings.data_path / "cache",
                self.settings.cache_bytes,
                self.settings.transcode_slots,
                self.metrics,
            )
            self.database.first_setting(PLAYER_PASSWORD, secrets.token_urlsafe(12))
            key = self.database.first_setting(_SIGNING_KEY, secrets.token_urlsafe(48))
            self.auth.csrf_key = hashlib.sha256(f"csrf\0{key}".encode()).digest()
            # As itsdangerous would derive the key for each token anew ("hmac").
            self._signer = URLSafeSerializer(
                hmac.digest(key.encode(), b"callreplay.temp", "sha256"),
                salt="callreplay.temp",
                signer_kwargs={"key_derivation": "none", "digest_method": hashlib.sha256},
            )
            self._rounds.begin()

    def close(self) -> None:
        """Give the connections back."""
        with self._opening:
            if self._signer is not None:
                self._signer = None
                self._rounds.close()
                self.works.close()
                self.cache.close()
                self._close_pipeline()
                self.database.close()

    def pipeline(self) -> Pipeline:
        """The connection for short statements of the event loop that runs. Raises RuntimeError where none runs."""
        if self._pipeline is None or self._pipeline.loop is not asyncio.get_running_loop():
            self._close_pipeline()
            self._pipeline = Pipeline(self.settings.database_url, SERVICE)
        return self._pipeline

    def _close_pipeline(self) -> None:
        pipeline, self._pipeline = self._pipeline, None
        if pipeline is None:
            return
        if not pipeline.loop.is_running() or pipeline.loop is running_loop():
            pipeline.close()
            return
        done = threading.Event()

        def close() -> None:
            pipeline.close()
            done.set()

        pipeline.loop.call_soon_threadsafe(close)
        done.wait(_CLOSE_SECONDS)

    @property
    def is_open(self) -> bool:
        """Whether ``open`` has been done."""
        return self._signer is not None

    @property
    def cache(self) -> Cache:
        """The cache of transcoded calls."""
        assert self._cache is not None
        return self._cache

    def sign(self, grant: Grant) -> str:
        """The token of a temporary URL."""
        assert self._signer is not None
        token = self._signer.dumps([int(self.clock()), *(getattr(grant, name) for name in Grant.__slots__)])
        return token if isinstance(token, str) else token.decode("ascii")

    def unsign(self, token: str) -> Grant:
        """What a token allows. Raises Problem: 410 when it expired, 404 when it is none of ours."""
        assert self._signer is not None
        try:
            signed, *fields = self._signer.loads(token)
            grant = Grant(*fields)
            age = self.clock() - signed
        except (BadSignature, TypeError, ValueError):
            raise Problem(404, "There is no such address.") from None
        if age < -_CLOCK_SECONDS:
            # Of a clock that was wrong: such an address would last for as long as it was, and longer.
            raise Problem(404, "There is no such address.")
        if age > self.settings.url_seconds + grant.extra_seconds:
            raise Problem(410, "This temporary address has expired.")
        return grant

    def audit(
        self,
        connection: Connection,
        request: Request,
        user: User | None,
        action: str,
        target: str,
        **detail: Any,
    ) -> None:
        """Add a row to the audit log."""
        audit.write(
            connection,
            action,
            tenant_id=user.tenant_id if user else None,
            actor=user.login if user else "",
            target=target,
            address=client_address(request),
            request_id=logs.request_id.get(),
            reason=reason_of(request),
            detail=detail,
        )


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop of this thread, where it has one."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def reason_of(request: Request) -> str:
    """Why someone asks, as the URL says."""
    return request.query_params.get("reason", "").replace("\0", "")[:500]


def service_of(request: Request) -> Service:
    """The service that a request came to."""
    found: Service = request.scope["callreplay"]
    return found


def base(request: Request) -> str:
    """``/CallRecorder``, behind the prefix under which the application is mounted."""
    return str(request.scope.get("root_path", "")).rstrip("/") + BASE


def zone_of(user: User) -> ZoneInfo:
    """The time zone of a user's tenant."""
    return accounts.zone_or_utc(user.time_zone)
