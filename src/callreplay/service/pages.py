"""The pages that people see: login, call list, call details, player. Rendered here; little script of our own."""

from __future__ import annotations

import hmac
import uuid
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from anyio import to_thread
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from callreplay._version import __version__
from callreplay.calls import records, search
from callreplay.calls.records import StoredCall
from callreplay.calls.search import CallQuery, ParameterError
from callreplay.service import i18n
from callreplay.service.auth import COOKIE, Refused, Visitor, client_address
from callreplay.service.context import Grant, Problem, Service, base, service_of, zone_of
from callreplay.service.transcoder import temporary_url

__all__ = ["describe", "home", "login", "logout", "page", "posted", "problem_page", "visitor_of"]

PAGE_ROWS: Final = 50
_FORM_BYTES: Final = 65_536
_LANGUAGE_COOKIE: Final = "callreplay_language"
_TARGETS: Final = ("callDetails", "player", "nomenu")
_TABS: Final = ("general", "media", "events", "advanced")
_DESCRIPTION: Final = 4000


@cache
def _environment(language: str) -> Environment:
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    made.install_gettext_translations(i18n.translations(language), newstyle=True)  # type: ignore[attr-defined]
    made.filters |= {"clock": clock, "octets": octets}
    return made


def clock(milliseconds: float) -> str:
    """``1:02:03`` or ``2:03``."""
    seconds = round(milliseconds / 1000)
    hours, minutes, rest = seconds // 3600, seconds // 60 % 60, seconds % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def octets(size: int) -> str:
    """``1.2 GB``."""
    value = float(size)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            return f"{size} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError


def language_of(request: Request, visitor: Visitor | None) -> str:
    """The language of the pages that a request gets."""
    return i18n.choose(
        request.query_params.get("lang", ""),
        request.cookies.get(_LANGUAGE_COOKIE, "") or (visitor.language if visitor else ""),
        visitor.user.language if visitor else "",
        request.headers.get("accept-language", ""),
    )


def page(
    request: Request,
    template: str,
    visitor: Visitor | None,
    values: dict[str, Any],
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> Response:
    """Render a template. Every page knows who is logged in, the base path, the language and a time formatter."""
    language = language_of(request, visitor)
    zone = zone_of(visitor.user) if visitor else ZoneInfo("UTC")

    def moment(time: datetime | None, form: str = "%Y-%m-%d %H:%M:%S") -> str:
        return time.astimezone(zone).strftime(form) if time else ""

    text = (
        _environment(language)
        .get_template(template)
        .render(
            base=base(request),
            visitor=visitor,
            language=language,
            languages=i18n.LANGUAGES,
            moment=moment,
            zone=zone.key,
            version=__version__,
            **values,
        )
    )
    made = {"cache-control": "no-store", "content-language": language, **(headers or {})}
    response = HTMLResponse(text, status, made)
    wanted = i18n.known(request.query_params.get("lang", ""))
    if wanted:
        _set_cookie(request, response, _LANGUAGE_COOKIE, wanted, 31_536_000)
    return response


def problem_page(request: Request, status: int, text: str, headers: dict[str, str]) -> Response:
    """A page that says what went wrong."""
    return page(
        request, "problem.html", None, {"status": status, "text": text, "nomenu": True}, status, headers
    )


def _set_cookie(request: Request, response: Response, name: str, value: str, seconds: int) -> None:
    settings = service_of(request).settings
    secure = settings.secure_cookies or request.url.scheme == "https"
    path = base(request)
    if settings.frame_ancestors and secure:
        # Pages of other sites may frame ours: only such a cookie reaches us from there.
        attributes = f"Max-Age={seconds}; Path={path}; HttpOnly; Secure; SameSite=None; Partitioned"
    else:
        attributes = f"Max-Age={seconds}; Path={path}; HttpOnly; SameSite=Lax{'; Secure' if secure else ''}"
    response.headers.append("set-cookie", f"{name}={value}; {attributes}")


def _session(request: Request) -> Visitor | None:
    return service_of(request).auth.by_session(request.cookies.get(COOKIE, ""))


async def visitor_of(request: Request) -> Visitor:
    """The visitor of a page. Raises Problem (401) without a session."""
    found = await to_thread.run_sync(_session, request)
    if found is None:
        raise Problem(401, "Log in first.")
    return found


async def posted(request: Request) -> dict[str, str]:
    """The fields of a posted form. Raises Problem for one that is too large, holds files or is not text."""
    if int(request.headers.get("content-length") or _FORM_BYTES + 1) > _FORM_BYTES:
        raise Problem(413, "The form is too large.")
    if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        raise Problem(415, "Send the form as application/x-www-form-urlencoded.")
    form = await request.form(max_fields=100)
    return {name: value for name, value in form.items() if isinstance(value, str)}


async def posted_by(request: Request) -> tuple[Visitor, dict[str, str]]:
    """The visitor and the fields of a form whose CSRF token is right. Raises Problem."""
    visitor = await visitor_of(request)
    fields = await posted(request)
    if not hmac.compare_digest(fields.get("csrf", "").encode(), visitor.csrf_token.encode()):
        raise Problem(403, "The form is out of date. Go back, reload and try again.")
    return visitor, fields


# -- logging in -----------------------------------------------------------------------------------------------------


def _target(request: Request, values: dict[str, str]) -> str:
    """Where a login leads: this service's own page that the values name."""
    kept = [(name, values[name]) for name in ("callDetails", "player", "lang") if values.get(name)]
    query = urlencode(kept)
    if "nomenu" in values:
        query += "&nomenu" if query else "nomenu"
    return base(request) + "/" + (f"?{query}" if query else "")


def _form(
    request: Request, values: dict[str, str], message: str = "", status: int = 200, wait: int = 0
) -> Response:
    framed = "nomenu" in values or bool(values.get("player"))
    shown = {
        "user": values.get("user", ""),
        "tenant": values.get("tenant", ""),
        "kept": [(name, values[name]) for name in _TARGETS if name in values],
        "message": message,
        "wait": wait,
        "nomenu": framed,
    }
    headers = {"retry-after": str(wait)} if wait else {}
    return page(request, "login.html", None, shown, status, headers)


async def _enter(request: Request, values: dict[str, str], location: str) -> Response:
    """Log in with the values; lead to ``location``, or show the form again."""
    service = service_of(request)
    language = i18n.known(values.get("lang", ""))
    try:
        secret = await to_thread.run_sync(
            service.auth.log_in,
            values.get("tenant") or "default",
            values.get("user", ""),
            values.get("password", ""),
            language,
            client_address(request),
            limiter=service.waiting,
        )
    except Refused as refused:
        if refused.wait_seconds:
            return _form(request, values, "wait", 429, refused.wait_seconds)
        return _form(request, values, "wrong", 401)
    response = RedirectResponse(location, 303, headers={"cache-control": "no-store"})
    _set_cookie(request, response, COOKIE, secret, service.settings.session_seconds)
    if language:
        _set_cookie(request, response, _LANGUAGE_COOKIE, language, 31_536_000)
    return response


async def login(request: Request) -> Response:
    """``POST /CallRecorder/Login``: the keys of the login URL as form fields."""
    if request.method != "POST":
        return RedirectResponse(base(request) + "/", 303)
    values = await posted(request)
    return await _enter(request, values, _target(request, values))


async def logout(request: Request) -> Response:
    """End the session."""
    visitor, _ = await posted_by(request)
    service = service_of(request)
    secret = request.cookies.get(COOKIE, "")
    await to_thread.run_sync(service.auth.log_out, visitor, secret, client_address(request))
    response = RedirectResponse(base(request) + "/", 303)
    _set_cookie(request, response, COOKIE, "", 0)
    return response


async def home(request: Request) -> Response:
    """``GET /CallRecorder/``: log in by URL, the call list, Call Details, or the player."""
    values = dict(request.query_params)
    service = service_of(request)
    if "password" in values:
        if not service.settings.get_login:
            return _form(request, values, "get", 403)
        # The same URL without the credentials: what a browser keeps in its history.
        rest = [
            (name, value)
            for name, value in request.query_params.multi_items()
            if name not in ("user", "password", "tenant", "nomenu")
        ]
        query = urlencode(rest)
        if "nomenu" in values:
            query += "&nomenu" if query else "nomenu"
        return await _enter(request, values, base(request) + "/" + (f"?{query}" if query else ""))
    visitor = await to_thread.run_sync(_session, request)
    if visitor is None or (
        values.get("user")
        and (values["user"], values.get("tenant") or "default") != (visitor.user.login, visitor.user.tenant)
    ):
        return _form(request, values)
    if "player" in values:
        return await to_thread.run_sync(_player, request, service, visitor, values["player"])
    return await to_thread.run_sync(_list, request, service, visitor, values)


# -- calls ----------------------------------------------------------------------------------------------------------


def _load(service: Service, visitor: Visitor, text: str) -> StoredCall | None:
    try:
        call = search.parse_uuid("callDetails", text)
    except ParameterError:
        return None
    with service.database.connection() as connection:
        return records.load(connection, visitor.user.tenant_id, call)


def _list(request: Request, service: Service, visitor: Visitor, values: dict[str, str]) -> Response:
    details: StoredCall | None = None
    if "callDetails" in values:
        details = _load(service, visitor, values["callDetails"])
        if details is None:
            raise Problem(404, "There is no such call.")
    fields = {name: values[name].strip() for name in search.PARAMETERS if values.get(name, "").strip()}
    nomenu = "nomenu" in values
    shown: dict[str, Any] = {
        "fields": fields,
        "nomenu": nomenu,
        "details": details,
        "tab": values["tab"] if values.get("tab") in _TABS else "general",
        "tabs": _TABS,
        "saved": "saved" in values,
        "bad": "",
        "rows": [],
        "next": "",
        "query": urlencode(fields),
        "loss_percent": records.loss_percent,
    }
    status = 200
    if not (nomenu and details):
        status = _find(service, visitor, values, fields, shown)
    if details is not None:
        shown |= _details(request, visitor, details)
    return page(request, "calls.html", visitor, shown, status)


def _find(
    service: Service, visitor: Visitor, values: dict[str, str], fields: dict[str, str], shown: dict[str, Any]
) -> int:
    """Fill in a page of rows; the status."""
    try:
        query = CallQuery.parse(
            {name: _as_written(name, text) for name, text in fields.items()}, zone_of(visitor.user)
        )
        after: uuid.UUID | None = search.parse_uuid("after", values["after"]) if values.get("after") else None
    except ParameterError as error:
        shown["bad"] = error.parameter
        return 400
    with service.database.connection() as connection:
        rows = search.find(
            connection, visitor.user.tenant_id, query, limit=PAGE_ROWS + 1, after=after, newest_first=True
        )
    shown["rows"] = rows[:PAGE_ROWS]
    if len(rows) > PAGE_ROWS:
        shown["next"] = urlencode({**fields, "after": str(rows[PAGE_ROWS - 1]["uuid"])})
    return 200


def _as_written(name: str, text: str) -> str:
    """A time of a browser's date and time field as the URLs write it."""
    if name not in ("beginTime", "endTime") or "T" not in text:
        return text
    day, _, time = text.partition("T")
    whole = time if time.count(":") == 2 else f"{time}:{'59' if name == 'endTime' else '00'}"
    return f"{day.replace('-', '.')}-{whole.replace(':', '.')}"


def _details(request: Request, visitor: Visitor, call: StoredCall) -> dict[str, Any]:
    duration = max(call.row["duration_ms"], 1)
    strips = {
        file["id"]: [
            (
                round(1000 * gap[0] / duration, 2),
                max(round(1000 * gap[1] / duration, 2), 1.5),
                str(gap[2]),
                gap[0],
                gap[1],
            )
            for gap in file["gaps"][:2000]
        ]
        for file in call.files
    }
    return {"strips": strips, "media": _media(request, visitor, call)}


def _media(request: Request, visitor: Visitor, call: StoredCall) -> dict[str, str]:
    """Temporary URLs that the player needs; none where there is no recording."""
    if not call.files:
        return {}

    # The browser asks for parts of the audio while it plays: a long call, paused now and then, outlasts a usual URL.
    longest = service_of(request).settings.session_seconds
    lasting = min(4 * call.row["duration_ms"] // 1000, longest)

    def url(form: str, **options: Any) -> str:
        grant = Grant(str(call.uuid), visitor.user.tenant_id, form, options, lasting)
        return temporary_url(request, grant, call)

    # About two thousand buckets, whatever the length, at 8000 or 16000 samples a second.
    per_pixel = max(64, min(1 << 20, call.row["duration_ms"] * 8 // 2000))
    return {
        "audio": url("wav", channels="stereo"),
        "peaks": url("peaks", channels="stereo", samples_per_pixel=per_pixel, bits=8),
    }


def _player(request: Request, service: Service, visitor: Visitor, text: str) -> Response:
    call = _load(service, visitor, text)
    if call is None:
        raise Problem(404, "There is no such call.")
    with service.database.connection() as connection:
        service.audit(connection, request, visitor.user, "play", str(call.uuid))
    shown = {"call": call, "media": _media(request, visitor, call), "nomenu": True}
    return page(request, "player.html", visitor, shown)


async def describe(request: Request) -> Response:
    """Set a call's description."""
    visitor, fields = await posted_by(request)
    service = service_of(request)
    try:
        call = search.parse_uuid("callId", request.path_params["uuid"])
    except ParameterError:
        raise Problem(404, "There is no such call.") from None
    description = fields.get("description", "").replace("\0", "")[:_DESCRIPTION]

    def change() -> bool:
        with service.database.connection() as connection:
            done = records.describe(connection, visitor.user.tenant_id, call, description)
            if done:
                service.audit(connection, request, visitor.user, "call.describe", str(call))
            return done

    if not await to_thread.run_sync(change):
        raise Problem(404, "There is no such call.")
    extra = "&nomenu" if "nomenu" in fields else ""
    return RedirectResponse(f"{base(request)}/?callDetails={call}&saved{extra}", 303)
