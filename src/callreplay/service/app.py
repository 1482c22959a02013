"""The ASGI application: routes, and what surrounds every request."""

from __future__ import annotations

import ctypes
import logging
import multiprocessing
import os
import re
import secrets
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import Final
from urllib.parse import unquote_to_bytes

import psycopg
from anyio import to_thread
from psycopg import OperationalError
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from callreplay.service import (
    administration,
    export,
    logs,
    openapi,
    pages,
    rendering,
    settings,
    starting,
    storage,
    transcoder,
)
from callreplay.service.context import BASE, Problem, Service, base, service_of
from callreplay.service.i18n import mark
from callreplay.service.proxies import Proxies
from callreplay.service.settings import Settings, listen_address
from callreplay.service.static_files import Static
from callreplay.service.stored_metrics import stored_text
from callreplay.store import activity
from callreplay.store.database import schema_version

__all__ = ["create_app", "from_environment"]

_log = logging.getLogger("callreplay.service")
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PHRASES: Final = {
    404: mark("There is no such page."),
    405: mark("This address does not take such a request."),
}
_PR_SET_PDEATHSIG: Final = 1  # prctl(2)
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_METRICS_SECONDS: Final = 3.0  # waited for the database; whoever asks waits 10 and wants the rest
_OF_METRICS_DOOR: Final = ("/metrics", "/healthz", "/readyz")


class _Surroundings:
    """Request id, security headers, log line and metrics of every request; opens the service when first used."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self.app, self.service = app, service
        ancestors = " ".join(("'self'", *service.settings.frame_ancestors))
        self.policy = (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self'; "
            "connect-src 'self'; font-src 'self'; form-action 'self'; frame-src 'self'; base-uri 'none'; "
            f"frame-ancestors {ancestors}"
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        identity = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        mark = logs.request_id.set(identity)
        scope["callreplay"] = self.service
        started, status, first_byte = time.perf_counter(), 500, 0.0

        async def sending(message: Message) -> None:
            nonlocal status, first_byte
            if message["type"] == "http.response.start":
                status, first_byte = message["status"], time.perf_counter() - started
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = identity
                headers["x-content-type-options"] = "nosniff"
                headers["referrer-policy"] = "no-referrer"
                headers.setdefault("content-security-policy", self.policy)
                if not self.service.settings.frame_ancestors:
                    headers["x-frame-options"] = "SAMEORIGIN"
            await send(message)

        try:
            if problem := self._refusal(scope, headers):
                answer = await _answer(Request(scope, receive), problem)
                await answer(scope, receive, sending)
                return
            if not self.service.is_open and not scope["path"].endswith("/healthz"):
                await to_thread.run_sync(self.service.open)
            await self.app(scope, receive, sending)
        except Exception as error:
            # Here and not in Starlette's outermost layer, whose answer would lack all that surrounds the others.
            if first_byte:
                raise
            answering = _no_database if isinstance(error, OperationalError) else _failure
            response = await answering(Request(scope, receive), error)
            await response(scope, receive, sending)
        finally:
            self._note(scope, status, first_byte, time.perf_counter() - started)
            logs.request_id.reset(mark)

    def _refusal(self, scope: Scope, headers: Headers) -> Problem | None:
        """What is wrong with a request before anybody looks what it asks for."""
        if "transfer-encoding" in headers and "content-length" in headers:
            # RFC 9112 6.3: two lengths are how a request is smuggled past a proxy.
            return Problem(400, "The request has two lengths.", headers={"connection": "close"})
        for octets in (scope.get("raw_path") or b"", scope.get("query_string", b"")):
            try:
                unquote_to_bytes(octets).decode("utf-8")
            except UnicodeDecodeError:
                return Problem(400, "The address is not valid UTF-8.")
        if _at_metrics_door(self.service, scope) and scope["path"] not in _OF_METRICS_DOOR:
            return Problem(404, "There is no such page.")
        return None

    def _note(self, scope: Scope, status: int, first_byte: float, seconds: float) -> None:
        endpoint = scope.get("endpoint")
        route = getattr(endpoint, "__name__", "none")
        # Of what strangers write nothing becomes a label, or they would fill our memory.
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self.service.metrics.requests.labels(method, route, str(status)).inc()
        self.service.metrics.request_seconds.labels(route).observe(first_byte)
        if not _log.isEnabledFor(logging.INFO):
            return
        _log.info(
            "%s %s",
            scope["method"],
            # A temporary URL's token is as good as a key while it lasts.
            re.sub(r"/Temp/[^/]+/", "/Temp/.../", scope["path"]),
            extra={
                "status": status,
                "milliseconds": round(seconds * 1000, 1),
                "query": logs.redact_query(scope.get("query_string", b"").decode("latin-1")),
                "client": scope["client"][0] if scope.get("client") else "",
            },
        )


async def healthz(request: Request) -> Response:
    """The process answers."""
    return PlainTextResponse("ok\n")


def _ready(service: Service) -> str:
    def version() -> str:
        with service.database.connection() as connection:
            return schema_version(connection)

    try:
        return version()
    except psycopg.OperationalError:
        # Of a server that was started again: the first connection may have been to the old one.
        return version()


async def readyz(request: Request) -> Response:
    """The database answers too."""
    service = service_of(request)
    try:
        version = await service.searching.run("readyz", _ready, service)
    except Exception:
        _log.exception("not ready")
        return JSONResponse({"ready": False}, 503)
    return JSONResponse({"ready": True, "schema": version})


def _at_metrics_door(service: Service, scope: Scope) -> bool:
    """Whether a request came to the address that is there for metrics only."""
    if not service.settings.metrics_listen or not scope.get("server"):
        return False
    host, port = listen_address("metrics_listen", service.settings.metrics_listen)
    here = scope["server"]
    # Two sockets of one port differ by their addresses.
    return bool(here[1] == port and (port != service.settings.port or here[0] == host))


async def metrics(request: Request) -> Response:
    """Prometheus metrics."""
    service = service_of(request)
    if not service.settings.metrics and not _at_metrics_door(service, request.scope):
        raise HTTPException(404)
    service.metrics.watch_pool(service.database.statistics)

    def text() -> bytes:
        found = None
        with suppress(psycopg.Error), service.database.connection(_METRICS_SECONDS) as connection:
            found = activity.stored(connection)
        return service.metrics.text() + stored_text(found)  # of several workers: it reads their files

    return Response(await to_thread.run_sync(text), media_type="text/plain; version=0.0.4; charset=utf-8")


async def _to_base(request: Request) -> Response:
    query = request.url.query
    # It may hold a password, which a browser's cache of such answers must not keep.
    headers = {"cache-control": "no-store"} if query else {}
    return RedirectResponse(f"{base(request)}/{'?' if query else ''}{query}", 308, headers=headers)


async def _problem(request: Request, problem: Exception) -> Response:
    assert isinstance(problem, Problem)
    return await _answer(request, problem)


async def _http_problem(request: Request, problem: Exception) -> Response:
    assert isinstance(problem, HTTPException)
    text = _PHRASES.get(problem.status_code, HTTPStatus(problem.status_code).phrase)
    return await _answer(request, Problem(problem.status_code, text, headers=dict(problem.headers or {})))


async def _no_database(request: Request, error: Exception) -> Response:
    """The database is away (PoolTimeout is an OperationalError too): say so, and when to ask again."""
    _log.warning("the database does not answer: %s", error)
    return await _answer(request, Problem(503, "The database does not answer.", headers={"retry-after": "1"}))


async def _failure(request: Request, error: Exception) -> Response:
    _log.exception("a request failed", exc_info=error)
    return await _answer(request, Problem(500, "Something went wrong here. The request's id is in the log."))


async def _answer(request: Request, problem: Problem) -> Response:
    """A problem as a page for browsers, as JSON (RFC 9457) for programs."""
    problem.headers.setdefault("cache-control", "no-store")
    if "text/html" in request.headers.get("accept", ""):
        return await rendering.problem_page(request, problem)
    title = HTTPStatus(problem.status).phrase
    content = {"type": "about:blank", "title": title, "status": problem.status, "detail": str(problem)}
    content |= {
        name: value for name, value in (("parameter", problem.parameter), ("code", problem.code)) if value
    }
    return JSONResponse(content, problem.status, problem.headers, media_type="application/problem+json")


def create_app(chosen: Settings) -> Starlette:
    """The service as an ASGI application.

    ``settings.database_url`` must name a database (``callreplay.store.embedded`` starts one). Run alone, the
    application opens and closes what it needs by its lifespan; mounted in another application, whose lifespan does not
    reach it, it opens at the first request, and ``app.state.service.close()`` closes it.
    """
    service = Service(chosen)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await to_thread.run_sync(service.open)
        yield
        await to_thread.run_sync(service.close)

    get = ["GET", "HEAD"]
    routes = [
        # Routes are tried in this order: what is asked for most comes first.
        Route(BASE + "/Transcoder", transcoder.transcoder, methods=get),
        Route(BASE + "/Temp/{token}/{name}", transcoder.temporary, methods=get),
        Route("/healthz", healthz, methods=get),
        Route("/readyz", readyz, methods=get),
        Route("/metrics", metrics, methods=get),
        Route("/", _to_base, methods=get),
        Route(BASE, _to_base, methods=get),
        Route(BASE + "/", pages.home, methods=get),
        # The specification: "use the base URL with POST method".
        Route(BASE, pages.login, methods=["POST"]),
        Route(BASE + "/", pages.login, methods=["POST"]),
        Route(BASE + "/Login", pages.login, methods=["GET", "POST"]),
        Route(BASE + "/Logout", pages.logout, methods=["POST"]),
        Route(BASE + "/Call/{uuid}/description", pages.describe, methods=["POST"]),
        Route(BASE + "/Call/{uuid}/audio", pages.audio, methods=get),
        Route(BASE + "/Storage/{volume}/{path:path}", storage.storage, methods=get),
        *administration.routes(BASE),
        *export.routes(BASE),
        *starting.routes(BASE),
        Route(BASE + "/openapi.json", openapi.document, methods=get),
        Mount(BASE + "/static", Static(), name="static"),
    ]
    app = Starlette(
        routes=routes,
        lifespan=lifespan,
        exception_handlers={
            Problem: _problem,
            HTTPException: _http_problem,
            OperationalError: _no_database,
        },
    )
    # Starlette would lead an address with a slash too many to a whole URL, made of what the client sent as Host.
    app.router.redirect_slashes = False
    app.state.service = service
    app.add_middleware(_Surroundings, service=service)
    app.add_middleware(Proxies, chosen=chosen)
    return app


def _end_with_parent() -> None:
    """Let this worker be told to stop when the process that started it ends, however it does."""
    parent = multiprocessing.parent_process()
    if parent is None or sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent.pid:  # it ended before we asked
        os.kill(os.getpid(), signal.SIGTERM)


def from_environment() -> Starlette:
    """The application of a worker process, whose settings are in the environment."""
    _end_with_parent()
    chosen = settings.load()
    logs.configure(chosen.log_level)
    return create_app(chosen)
