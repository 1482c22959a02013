"""The Transcoder: find calls, take the first, render it, answer with a temporary URL; and the temporary URLs."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import re
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final
from zoneinfo import ZoneInfo

import psycopg
from anyio import to_thread
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from callreplay._version import __version__
from callreplay.errors import ArgumentError, CallReplayError, EncryptedError, FormatError, UnsupportedError
from callreplay.live import Spools, archive, follow
from callreplay.outputs.options import Options
from callreplay.service import engine, logs
from callreplay.service.addresses import client_address, network
from callreplay.service.auth import Refused, Visitor
from callreplay.service.cache import Abandoned, Entry
from callreplay.service.context import Grant, Problem, Service, base, reason_of, service_of, zone_of
from callreplay.service.files import FileResponse, GrowingResponse, disposition, watched
from callreplay.store import accounts, audit, progress, records, search
from callreplay.store.accounts import User
from callreplay.store.handle import VolumeError
from callreplay.store.known import Errand, call_of
from callreplay.store.opening import MissingError, StoredFile, statuses
from callreplay.store.pipeline import Unavailable
from callreplay.store.progress import Going
from callreplay.store.records import StoredCall
from callreplay.store.search import CallQuery, ParameterError
from callreplay.store.words import words_of, words_said

__all__ = ["OPTIONS", "WORDS", "option_values", "temporary", "temporary_url", "transcoder"]


_log = logging.getLogger("callreplay.service")
_UTC: Final = ZoneInfo("UTC")
_SHARED_NS: Final = 10 * 10**9
"""Renderings of a call that goes on are shared by who asks within so long."""

OPTIONS: Final[dict[str, tuple[str, Any]]] = {row.url: (row.name, row.kind.read) for row in engine.ROWS}
"""Parameter name to the engine's option (the same name, in camel case) and how its text is read."""


def option_values(parameters: list[tuple[str, str]]) -> dict[str, Any]:
    """The engine's options that the parameters give, whatever the format. Raises ParameterError."""
    found: dict[str, Any] = {}
    for name, text in parameters:
        if name not in OPTIONS or not text:
            continue  # an empty value asks nothing
        option, read = OPTIONS[name]
        if option in found:
            raise ParameterError(name, "given more than once")
        try:
            found[option] = read(text)
            if option != "end":
                engine.check({option: found[option]})
        except ValueError as error:  # ArgumentError is one
            raise ParameterError(name, str(error)) from None
    if "end" in found and found["end"] <= found.get("start", 0.0):
        raise ParameterError("end", "must come after start")
    return found


def _format(parameters: list[tuple[str, str]]) -> str:
    form = _single(parameters, "format") or "wav"
    if form != "json" and form not in engine.MEDIA_TYPES:
        raise ParameterError("format", f"must be one of {', '.join(('json', *engine.MEDIA_TYPES))}")
    return form


def _single(parameters: list[tuple[str, str]], name: str) -> str | None:
    values = [value for key, value in parameters if key == name and value]
    if len(values) > 1:
        raise ParameterError(name, "given more than once")
    return values[0] if values else None


def _credentials(request: Request) -> tuple[tuple[str, str, str] | None, bool]:
    """What the address says of who asks, and whether a password has to be checked. Raises Problem (403)."""
    parameters = request.query_params
    credentials = None
    if parameters.get("password"):
        if not service_of(request).settings.get_login:
            raise Problem(403, "Credentials in URLs are switched off here.", parameter="password")
        credentials = (
            parameters.get("tenant") or "default",
            parameters.get("user", ""),
            parameters["password"],
        )
    basic = request.headers.get("authorization", "")[:5].lower() == "basic"
    return credentials, credentials is not None or basic


def _visitor(request: Request, credentials: tuple[str, str, str] | None = None) -> Visitor:
    """Who calls an API: parameters, Bearer, Basic, a proxy's header or a session. Raises Problem (401, 429)."""
    try:
        visitor = service_of(request).auth.visitor(request, credentials)
    except Refused as refused:
        if refused.wait_seconds:
            headers = {"retry-after": str(refused.wait_seconds)}
            raise Problem(429, "Too many failed logins. Try again later.", headers=headers) from None
        visitor = None
    if visitor is None:
        headers = {"www-authenticate": 'Basic realm="CallReplay", charset="UTF-8", Bearer'}
        raise Problem(401, "Log in first.", headers=headers)
    return visitor


async def _found(request: Request) -> _Found:
    """Who asks, and what is found for him: in one thread where no password has to be checked. Raises Problem."""
    service = service_of(request)
    if (found := await _found_again(request)) is not None:
        return found
    credentials, hashes = _credentials(request)
    who = network(client_address(request))
    if hashes:
        visitor = await service.logins.run(who, _visitor, request, credentials)
        return await service.searching.run(str(visitor.user.id), _search, request, visitor)

    def visit() -> _Found:
        visitor = _visitor(request)
        service.auth.note_key(request, visitor)
        return _search(request, visitor)

    # Whose turn it is: the user's whom the key was last, or else one of those of this address who are nobody yet.
    return await service.searching.run(service.auth.last_of_key(request) or who, visit)


async def _found_again(request: Request) -> _Found | None:
    """One call of one id, for whoever's session or token was looked up before: one statement, in no thread.

    None where it is not that, or where anything is not as it was: the long way then tells what.
    """
    service = service_of(request)
    known = service.auth.known(request)
    parameters = request.query_params.multi_items()
    if known is None or any(name == "password" for name, _ in parameters):
        return None
    try:
        form, visitor = _format(parameters), Visitor(known.user)
        _check_right(visitor, form)
        query, options = CallQuery.parse(parameters, _UTC), option_values(parameters)
    except (ParameterError, Problem):
        return None
    if form == "json" or query.call_id is None or query != CallQuery(call_id=query.call_id):
        return None
    address, reason = client_address(request), reason_of(request)
    detail = {"format": form, **options}
    errand = Errand(query.call_id, "transcode", address, logs.request_id.get(), reason, detail)
    try:
        rows = await service.pipeline().ask(known.text, known.values(errand))
    except (Unavailable, psycopg.Error):
        return None
    if (call := call_of(rows)) is None:
        return None
    key = await _key_again(service, known.user, call, form, options)
    return _Found(visitor, query, form, options, [call], False, key, bool(key) and service.cache.touch(key))


async def _key_again(
    service: Service, user: User, call: StoredCall, form: str, options: dict[str, Any]
) -> str:
    """The key of a rendering, looked for here where the recordings are near: a thread would cost more."""
    if await _are_near(service, {file["volume_path"] for file in call.files}):
        return _key_of(call, form, options)
    return await service.searching.run(str(user.id), _key_of, call, form, options)


WORDS: Final = "words"
"""The form of a temporary URL that gives a call's words, as JSON: ``[leg, start, end, text]``, leg 0 the caller."""
_PLAYABLE: Final = ("wav", "spx", "png", "peaks", "dat", "zoom", "marks", WORDS, *engine.CAPTIONS)
"""What who may only play gets: audio as the specification has it, and pictures."""


def _check_right(visitor: Visitor, form: str) -> None:
    """Raise Problem (403) where the visitor may not have a call in that form."""
    allowing = {"json": ("search",), "rtp": ("rtp",)}.get(
        form, ("play", "download") if form in _PLAYABLE else ("download",)
    )
    if not any(visitor.may(right) for right in allowing):
        raise Problem(403, "You may not do that.", parameter="format")


@dataclass(frozen=True, slots=True)
class _Found:
    """What a request asks for: calls of one query, the first for a rendering, for json a page or (``every``) all."""

    visitor: Visitor
    query: CallQuery
    form: str
    options: dict[str, Any]
    calls: list[StoredCall]
    every: bool
    key: str = ""
    is_cached: bool = False


def _search(request: Request, visitor: Visitor) -> _Found:
    """Read the parameters and find the calls: one for a rendering, a page of them for json. Leaves an audit row."""
    service = service_of(request)
    parameters = request.query_params.multi_items()
    try:
        form = _format(parameters)
        _check_right(visitor, form)
        query = CallQuery.parse(parameters, zone_of(visitor.user))
        options = option_values(parameters)
        limit, after = _page(service, parameters)
    except ParameterError as error:
        raise Problem(400, "A value is not right", detail=str(error), parameter=error.parameter) from None
    # One call of that id is found by one statement, which needs no transaction around it.
    is_one = query.call_id is not None and form != "json"
    with service.database.reading() if is_one else service.database.connection() as connection:
        if form == "json":
            rows = search.find(connection, visitor.reach, query, limit=limit or _PAGE, after=after)
        else:
            rows = search.find(connection, visitor.reach, query, limit=1)
        calls = records.complete(connection, rows)
        if form == "json":
            asked = {name: value for name, value in parameters if name in _ASKED and value}
            service.audit(connection, request, visitor.user, "search", "", asked=asked, calls=len(calls))
        elif calls:
            service.audit(
                connection, request, visitor.user, "transcode", str(calls[0].uuid), format=form, **options
            )
    key = _key_of(calls[0], form, options) if calls and form != "json" else ""
    is_cached = bool(key) and service.cache.touch(key)
    return _Found(visitor, query, form, options, calls, form == "json" and not limit, key, is_cached)


def _key_of(call: StoredCall, form: str, options: dict[str, Any]) -> str:
    """The key of a rendering that is made of recordings; '' where there is none, which whoever opens it tells."""
    if not call.files or call.row["status"] == progress.IN_PROGRESS or form in engine.CAPTIONS:
        return ""
    try:
        return _key(call, call.recordings(), form, options)
    except (CallReplayError, OSError):
        return ""


def _page(service: Service, parameters: list[tuple[str, str]]) -> tuple[int, uuid.UUID | None]:
    limit, after = service.settings.json_limit, None
    if (text := _single(parameters, "limit")) is not None:
        if not re.fullmatch(r"\d{1,4}", text, re.ASCII) or not 1 <= int(text) <= search.MAXIMUM_LIMIT:
            raise ParameterError("limit", f"must be 1 to {search.MAXIMUM_LIMIT}")
        limit = int(text)
    if (text := _single(parameters, "after")) is not None:
        after = search.parse_uuid("after", text)
    return limit, after


_ASKED: Final = (*search.PARAMETERS, "limit", "after")
_PAGE: Final = 500
"""Calls found and told at a time where all are asked for: a list of any length takes the memory of a page."""


async def _all(service: Service, found: _Found) -> AsyncIterator[bytes]:
    """The list of every call that matches, a page of them found. A failure half way cuts it off: it is no JSON then."""
    zone, calls = zone_of(found.visitor.user), found.calls
    before = b"["
    while calls:
        yield before + await to_thread.run_sync(_objects, calls, zone)
        before = b","
        calls = (
            await service.searching.run(str(found.visitor.user.id), _page_after, service, found, calls[-1])
            if len(calls) == _PAGE
            else []
        )
    yield b"]"


def _objects(calls: list[StoredCall], zone: ZoneInfo) -> bytes:
    made = [records.as_json(call, zone) | {"warnings": engine.undecoded(call)} for call in calls]
    return json.dumps(made, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()[1:-1]


def _page_after(service: Service, found: _Found, last: StoredCall) -> list[StoredCall]:
    with service.database.connection() as connection:
        rows = search.find(connection, found.visitor.reach, found.query, limit=_PAGE, after=last.row)
        return records.complete(connection, rows)


async def _json(service: Service, found: _Found) -> Response:
    headers = {"cache-control": "no-store"}
    if found.every and len(found.calls) == _PAGE:
        return StreamingResponse(_all(service, found), media_type="application/json", headers=headers)
    octets = await to_thread.run_sync(_objects, found.calls, zone_of(found.visitor.user))
    return Response(b"[" + octets + b"]", media_type="application/json", headers=headers)


async def transcoder(request: Request) -> Response:
    """``GET /CallRecorder/Transcoder``."""
    service = service_of(request)
    found = await _found(request)
    if found.form == "json":
        return await _json(service, found)
    if not found.calls:
        raise Problem(404, "No call matches.")
    call, form, options = found.calls[0], found.form, found.options
    user = found.visitor.user.id
    grant = Grant(str(call.uuid), user, form, options, 0, "fetch", reason_of(request))
    if not found.is_cached:
        gone = threading.Event()
        async with watched(request.receive, gone):
            (await open_entry(service, call, form, options, user, gone, found.key)).close()
    headers = {"cache-control": "no-store", **warning_header(call, form)}
    return RedirectResponse(temporary_url(request, grant, call), 302, headers=headers)


def warning_header(call: StoredCall, form: str) -> dict[str, str]:
    """``X-CallReplay-Warning``: what of the call is silent because it cannot be decoded here; none where all can."""
    said = engine.undecoded(call) if form != "rtp" else []
    # Names of codecs are a capture's: a header is a line of printable ASCII.
    return {"x-callreplay-warning": re.sub(r"[^ -~]", "?", "; ".join(said))} if said else {}


def temporary_url(request: Request, grant: Grant, call: StoredCall) -> str:
    """The path of a temporary URL; its last part is the name to save under."""
    return f"{base(request)}/Temp/{service_of(request).sign(grant)}/{download_name(call, grant.form)}"


def download_name(call: StoredCall, form: str) -> str:
    """``2012-06-20_22-07-47_81267_8666685394.wav``, in UTC where no recording's name says the local time."""
    if call.files:
        stem = re.sub(r"-\d+$", "", call.files[0]["path"].rsplit("/", 1)[-1].rsplit(".", 1)[0])
    else:
        row = call.row
        stem = f"{row['started_at']:%Y-%m-%d_%H-%M-%S}_{row['caller_number']}_{row['called_number']}"
    return re.sub(r"[^A-Za-z0-9._+@-]+", "-", stem)[:120] + engine.SUFFIXES.get(form, ".json")


async def open_entry(
    service: Service,
    call: StoredCall,
    form: str,
    options: dict[str, Any],
    user: int = 0,
    gone: threading.Event | None = None,
    key: str = "",
) -> Entry:
    """The rendering of a call for a user, cached or begun. Who gets it closes it. Raises Problem.

    ``gone`` is set when the one who asked has left. ``key`` is the rendering's in the cache, where that is known.
    """
    if form in engine.CAPTIONS:
        return await service.waiting.run(str(user), _open_captions, service, call, form, options, user)
    if not call.files and call.row["status"] != progress.IN_PROGRESS:
        raise Problem(404, "The call has no recording.")
    try:
        return await _opened(service, call, form, options, str(user), gone or threading.Event(), key)
    except Abandoned:
        raise Problem(503, "Nobody waits for this any more.") from None
    except MissingError:
        raise _missing() from None
    except VolumeError as error:
        _log.warning("%s", error)
        raise Problem(
            503,
            "The call's recording is missing from its volume.",
            detail="the volume cannot be reached",
            code="missing",
        ) from None
    except EncryptedError as error:
        raise Problem(422, "The call is encrypted", detail=_without_paths(error), code="encrypted") from None
    except ImportError:
        raise Problem(501, "This installation cannot write that format.", parameter="format") from None
    except UnsupportedError as error:
        raise Problem(501, "This installation cannot do that", detail=_without_paths(error)) from None
    except FormatError as error:
        if isinstance(error.__cause__, MissingError):  # removed since it was looked at
            raise _missing() from None
        raise Problem(422, "The recording cannot be read", detail=_without_paths(error)) from None
    except ArgumentError as error:
        text, parameter = _without_paths(error), _parameter_of(error)
        raise Problem(400, "A value is not right", detail=text, parameter=parameter) from None
    except (CallReplayError, OSError) as error:
        raise _broken(error) from error


def _missing() -> Problem:
    return Problem(404, "The call's recording is missing from its volume.", code="missing")


def _broken(error: Exception) -> Problem:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Problem(507, "There is no room left to render in.")
    _log.error("a recording cannot be rendered", exc_info=error)
    return Problem(500, "The recording cannot be rendered.")


def _parameter_of(error: ArgumentError) -> str:
    """The first parameter that the engine's message names, by its name in the URL; '' where it names none."""
    names = {option: name for name, (option, _) in OPTIONS.items()}
    return next((names[word] for word in re.findall(r"\w+", str(error)) if word in names), "")


def _without_paths(error: Exception) -> str:
    """An error's text without the directories of this machine."""
    return re.sub(r"(?:/[^/\s:,]+)+/", "", str(error))


def _key(call: StoredCall, files: list[StoredFile], form: str, options: dict[str, Any]) -> str:
    """The key of a rendering in the cache. Raises OSError where a recording cannot be looked at."""
    digest = _digest(call, form, options)
    for file, status in zip(files, statuses(files), strict=True):
        digest.update(repr((file.path.rpartition("/")[2], status.st_size, status.st_mtime_ns)).encode())
    return str(digest.hexdigest())


async def _opened(
    service: Service,
    call: StoredCall,
    form: str,
    options: dict[str, Any],
    user: str,
    gone: threading.Event,
    key: str,
) -> Entry:
    """What ``open_entry`` gives; where recordings and cache are near, no thread waits for whoever makes it."""
    waiting = service.waiting
    if call.row["status"] == progress.IN_PROGRESS:
        return await waiting.run(user, _open_live, service, call, form, options, user, gone)
    files = call.recordings()
    if not key and await _are_near(service, {file.volume_path for file in files}):
        key = _key(call, files, form, options)
    elif not key:
        key = await waiting.run(user, _key, call, files, form, options)
    make = _measured(service, form, lambda: engine.render(files, form, options, str(call.uuid)))
    if not await _are_near(service, {str(service.cache.folder)}):
        return await waiting.run(user, service.cache.open, key, make, owner=user, gone=gone)
    async with waiting.turn(user):
        return await service.cache.open_soon(key, make, owner=user, gone=gone)


async def _are_near(service: Service, folders: Iterable[str]) -> bool:
    """Whether all are on disks of this machine, where a look takes less than a thread would."""
    for folder in folders:
        if service.near.known(folder) is None:
            service.near.note(folder, await to_thread.run_sync(service.near.look, folder))
    return all(service.near.known(folder) for folder in folders)


def _digest(call: StoredCall, form: str, options: dict[str, Any]) -> Any:
    return hashlib.sha256(
        repr((__version__, engine.decoders(), str(call.uuid), form, sorted(options.items()))).encode()
    )


def _open_live(
    service: Service,
    call: StoredCall,
    form: str,
    options: dict[str, Any],
    user: str,
    gone: threading.Event,
) -> Entry:
    """Of a call that goes on: WAV to its end, as it comes; any other form of what there is so far."""

    def look() -> Going | None:
        with service.database.connection() as connection:
            return progress.going(connection, call.uuid)

    going = look()
    if going is None:
        raise Problem(409, "The call has just ended. Ask again.")
    # Whoever asks within the same seconds gets the same; of audio, from its beginning.
    digest, call_id = _digest(call, form, options), str(call.row["wire_call_id"])
    digest.update(repr((going.files, going.clock_ns // _SHARED_NS)).encode())
    with Spools(going) as spools:
        spools.read()
        if spools.call(call_id) is None:
            raise Problem(404, "The call has no recording.")

    def render() -> engine.Rendering:
        spools = Spools(going)
        if form == "wav":
            return engine.Rendering(0.0, _closing(spools, follow(spools, call_id, Options(**options), look)))
        if form == "rtp":
            return engine.Rendering(0.0, _closing(spools, archive(spools)))
        with spools:
            spools.read()
            found = spools.call(call_id)
        if found is None:
            raise MissingError(going.folder)
        return engine.render_call(found, form, options, str(call.uuid))

    make = _measured(service, form, render)
    return service.cache.open(digest.hexdigest(), make, owner=user, gone=gone, apart=form == "wav")


def _closing(spools: Spools, data: Iterator[bytes]) -> Iterator[bytes]:
    with spools:
        yield from data


def _measured(
    service: Service, form: str, render: Callable[[], engine.Rendering]
) -> Callable[[], Iterator[bytes]]:
    """What makes the bytes of a rendering, counted."""
    started = time.perf_counter()

    def make() -> Iterator[bytes]:
        metrics = service.metrics
        begun = time.perf_counter()
        try:
            rendering = render()
            for number, data in enumerate(rendering.data):
                if number == 0:
                    metrics.first_byte.observe(time.perf_counter() - started)
                yield data
        except BaseException:
            metrics.transcodes.labels(form, "failed").inc()
            raise
        metrics.transcodes.labels(form, "done").inc()
        metrics.transcode_seconds.labels(form).inc(time.perf_counter() - begun)
        metrics.audio_seconds.labels(form).inc(rendering.seconds)

    return make


def _open_captions(
    service: Service, call: StoredCall, form: str, options: dict[str, Any], user: int
) -> Entry:
    with service.database.connection() as connection:
        said = words_of(connection, call.uuid)
    if said is None:
        raise Problem(404, "The call has no words.", parameter="format")
    text = engine.captions(call, said.words, form, options)
    key = hashlib.sha256(repr((str(call.uuid), form)).encode() + text)
    return service.cache.open(key.hexdigest(), lambda: iter((text,)), owner=str(user))


def _granted(service: Service, grant: Grant) -> tuple[StoredCall, User]:
    """The call that a grant is for, and the user whose it is. Raises Problem (404, 410)."""
    with service.database.connection() as connection:
        user = accounts.active_user(connection, grant.user_id)
        if user is None:
            raise Problem(410, "This temporary address has expired.")
        call = records.load(connection, user.reach, uuid.UUID(grant.call))
    if call is None:
        raise Problem(404, "The call has been deleted.")
    _check_right(Visitor(user), grant.form)
    return call, user


def _note_use(request: Request, grant: Grant, user: User) -> None:
    """One audit row for each address that was used, however many ranges a browser asks for."""
    service = service_of(request)
    playback = hashlib.sha256(request.path_params["token"].encode()).hexdigest()[:16]
    with service.database.connection() as connection:
        audit.write_once(
            connection,
            grant.action,
            once=playback,
            tenant_id=user.tenant_id,
            actor=user.login,
            target=grant.call,
            address=client_address(request),
            request_id=logs.request_id.get(),
            reason=grant.reason,
        )


def _narrowed(grant: Grant, parameters: list[tuple[str, str]]) -> Grant:
    """What ``start`` and ``end`` behind a temporary URL ask for: a part of what it allows. Raises Problem (400)."""
    asked = [(name, text) for name, text in parameters if name in ("start", "end") and text]
    if not asked or grant.form in ("rtp", "marks"):
        return grant
    try:
        part = option_values(asked)
    except ParameterError as error:
        raise Problem(400, "A value is not right", detail=str(error), parameter=error.parameter) from None
    first, last = grant.options.get("start", 0.0), grant.options.get("end", float("inf"))
    if part.get("start", first) < first or part.get("end", last) > last:
        raise Problem(400, "A value is not right", detail="outside of what the address is for")
    return replace(grant, options=grant.options | part)


def _words(service: Service, call: StoredCall, user: User) -> Response:
    with service.database.connection() as connection:
        kept = words_said(connection, user.reach, call.uuid)
    rows = () if kept is None else kept.words
    said = [(int(speaker == "called"), start, end, text) for start, end, text, speaker, _ in rows]
    octets = json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode()
    return Response(octets, media_type="application/json", headers={"cache-control": "no-store"})


async def temporary(request: Request) -> Response:
    """``GET /CallRecorder/Temp/TOKEN/NAME``; ``start`` and ``end`` ask for a part of what the address is for."""
    service = service_of(request)
    grant = _narrowed(service.unsign(request.path_params["token"]), request.query_params.multi_items())
    call, user = await to_thread.run_sync(_granted, service, grant)
    if grant.form == WORDS:
        return await to_thread.run_sync(_words, service, call, user)
    is_saved = "download" in request.query_params
    if is_saved and "download" not in user.rights:
        raise Problem(403, "You may not do that.", parameter="download")
    headers = {
        "content-disposition": disposition(download_name(call, grant.form), attachment=is_saved),
        "cache-control": _kept(call, service.settings.url_seconds),
        **warning_header(call, grant.form),
    }
    gone = threading.Event()
    async with watched(request.receive, gone), AsyncExitStack() as owned:
        entry = await open_entry(service, call, grant.form, grant.options, user.id, gone)
        owned.enter_context(entry)
        if grant.action and request.method == "GET":
            await to_thread.run_sync(_note_use, request, grant, user)
        goes_on = call.row["status"] == progress.IN_PROGRESS
        response = await _answer(
            request, entry, grant.form, headers, user.id, goes_on and grant.form == "wav"
        )
        owned.pop_all()  # the response closes what it answers with
        return response


def _kept(call: StoredCall, seconds: int) -> str:
    """How long an answer may be kept: of a call that goes on, the next one is longer."""
    return "no-store" if call.row["status"] == progress.IN_PROGRESS else f"private, max-age={seconds}"


async def _answer(
    request: Request, entry: Entry, form: str, headers: dict[str, str], user: int, goes_on: bool
) -> Response:
    service, media_type = service_of(request), engine.MEDIA_TYPES[form]
    part = request.headers.get("range", "bytes=0-") if request.method == "GET" else "bytes=0-"
    if entry.size is None and goes_on:
        part = "bytes=0-"  # its parts have no place before the call is over: it comes from the beginning
    if entry.size is None and part.replace(" ", "").lower() != "bytes=0-":
        # A part of what is not there yet: its place is known once the whole is.
        try:
            await service.waiting.run(str(user), entry.wait)
        except Abandoned:
            raise Problem(503, "Nobody waits for this any more.") from None
        except (CallReplayError, OSError) as error:
            raise _broken(error) from error
    if entry.size is None:
        return GrowingResponse(
            entry, media_type=media_type, headers=headers, run=partial(service.waiting.run, str(user))
        )
    etag = '"' + hashlib.sha256(f"{entry.key}-{entry.size}".encode()).hexdigest()[:32] + '"'
    return FileResponse(
        entry.take(), request.method, request.headers, media_type=media_type, etag=etag, headers=headers
    )
