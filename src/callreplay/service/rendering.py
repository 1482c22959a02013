"""Pages as HTML in the reader's language, and what every page shares: its visitor, its cookies, its posted forms."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote_to_bytes, urlencode
from zoneinfo import ZoneInfo

from anyio import fail_after, to_thread
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.types import Message

from callreplay._version import __version__
from callreplay.clock import length
from callreplay.service import i18n, words
from callreplay.service.auth import Refused, Visitor
from callreplay.service.context import Problem, base, service_of, zone_of
from callreplay.service.static_files import static_version

__all__ = [
    "check_right",
    "is_secure",
    "page",
    "posted",
    "posted_by",
    "problem_page",
    "query_of",
    "session",
    "session_or_ticket",
    "set_cookie",
    "ticket_of",
    "visitor_of",
]

LANGUAGE_COOKIE: Final = "callreplay_language"
YEAR_SECONDS: Final = 31_536_000
_FORM_BYTES: Final = 65_536
_FORM_TYPES: Final = ("application/x-www-form-urlencoded", "multipart/form-data")
_FLAGS: Final = ("nomenu", "saved")  # written bare
_CREDENTIALS: Final = ("password", "lang", "ticket")

Items = Iterable[tuple[str, str]]


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
    catalogue = i18n.translations(language)
    formats = i18n.Formats(language)
    made.install_gettext_translations(catalogue, newstyle=True)  # type: ignore[attr-defined]

    def word(code: str, table: dict[str, str]) -> str:
        return catalogue.gettext(table[code]) if code in table else code

    def status(text: str) -> str:
        if text in words.STATUSES:
            return word(text, words.STATUSES)
        first, space, rest = text.partition(" ")
        return word(first, words.STATUSES) + space + rest

    made.globals["words"] = words
    made.filters |= {
        "clock": lambda milliseconds: length(milliseconds / 1000),
        "number": formats.number,
        "octets": formats.octets,
        "percent": formats.percent,
        "status": status,
        "word": word,
    }
    return made


def query_of(items: Items) -> str:
    """Names and values as a query; the flags of this service bare."""
    return "&".join(
        name if name in _FLAGS and not value else urlencode([(name, value)]) for name, value in items
    )


def language_of(request: Request, visitor: Visitor | None, wanted: str = "") -> str:
    """The language of the pages that a request gets; ``wanted`` is what a posted form asks for."""
    return i18n.choose(
        wanted or request.query_params.get("lang", ""),
        request.cookies.get(LANGUAGE_COOKIE, "") or (visitor.language if visitor else ""),
        visitor.user.language if visitor else "",
        request.headers.get("accept-language", ""),
    )


def _here(request: Request, place: str, state: Items | None) -> str:
    """The address of a page without language and credentials, up to where ``lang=`` goes."""
    if state is None:
        state = request.query_params.multi_items() if request.method in ("GET", "HEAD") else ()
    kept = [(name, value) for name, value in state if name not in _CREDENTIALS]
    if ticket := ticket_of(request):
        kept.append(("ticket", ticket))
    query = query_of(kept)
    return f"{place or request.url.path}?{query}{'&' if query else ''}"


def page(
    request: Request,
    template: str,
    visitor: Visitor | None,
    values: dict[str, Any],
    status: int = 200,
    headers: dict[str, str] | None = None,
    *,
    place: str = "",
    state: Items | None = None,
    wanted: str = "",
) -> Response:
    """Render a template. Every page knows who is logged in, the base path, the language and how it writes times.

    ``place`` and ``state`` are the path and the parameters under which the page can be had again by GET (the request's
    own unless given), ``wanted`` the language that a posted form asks for.
    """
    language = language_of(request, visitor, wanted)
    zone = zone_of(visitor.user) if visitor else ZoneInfo("UTC")
    formats = i18n.Formats(language)

    def moment(time: datetime | None, exact: bool = False) -> Markup | str:
        if time is None:
            return ""
        text = formats.instant(time, zone) if exact else formats.moment(time, zone)
        return Markup('<time datetime="{}">{}</time>').format(time.astimezone(zone).isoformat(), escape(text))

    text = (
        _environment(language)
        .get_template(template)
        .render(
            base=base(request),
            static=f"{base(request)}/static/{static_version()}",
            visitor=visitor,
            language=language,
            languages=i18n.LANGUAGES,
            here=_here(request, place, state),
            moment=moment,
            zone=zone.key,
            version=__version__,
            **values,
        )
    )
    made = {"cache-control": "no-store", "content-language": language, "vary": "Cookie, Accept-Language"}
    response = HTMLResponse(text, status, {**made, **(headers or {})})
    chosen = i18n.known(wanted or request.query_params.get("lang", ""))
    if chosen:
        set_cookie(request, response, LANGUAGE_COOKIE, chosen, YEAR_SECONDS)
    return response


async def problem_page(request: Request, problem: Problem) -> Response:
    """A page that says what went wrong, with the menu of whoever is logged in."""
    nomenu = "nomenu" in request.query_params or bool(request.query_params.get("player"))
    visitor = None
    # What is broken here may be what would tell who is asking.
    if problem.status < 500 and not nomenu:
        visitor = await to_thread.run_sync(session, request)
    values = {"problem": problem, "nomenu": nomenu}
    place = "" if request.method in ("GET", "HEAD") else base(request) + "/"
    return page(request, "problem.html", visitor, values, problem.status, problem.headers, place=place)


def is_secure(request: Request) -> bool:
    """Whether the browser speaks TLS, to us or to a proxy before us."""
    return service_of(request).settings.secure_cookies or request.url.scheme == "https"


def set_cookie(
    request: Request, response: Response, name: str, value: str, seconds: int, path: str = ""
) -> None:
    """Set a cookie that no script reads; where other sites may frame our pages, one that reaches us from there."""
    settings = service_of(request).settings
    secure = is_secure(request)
    path = path or base(request)
    if settings.frame_ancestors and secure:
        attributes = f"Max-Age={seconds}; Path={path}; HttpOnly; Secure; SameSite=None; Partitioned"
    else:
        attributes = f"Max-Age={seconds}; Path={path}; HttpOnly; SameSite=Lax{'; Secure' if secure else ''}"
    response.headers.append("set-cookie", f"{name}={value}; {attributes}")


def session(request: Request) -> Visitor | None:
    """Who comes with a browser: a trusted proxy's header or a session's cookie says it."""
    try:
        return service_of(request).auth.by_browser(request)
    except Refused:
        return None


def session_or_ticket(request: Request, ticket: str) -> Visitor | None:
    """As ``session``; or else who a ticket stands for, and then ``ticket_of`` is the next one."""
    found = session(request)
    if found is None and ticket:
        by_ticket = service_of(request).auth.by_ticket(ticket)
        if by_ticket is not None:
            found, request.state.ticket = by_ticket
    return found


def ticket_of(request: Request) -> str:
    """The ticket for the next page; '' where the visitor has a cookie."""
    return str(getattr(request.state, "ticket", ""))


async def visitor_of(request: Request, ticket: str = "") -> Visitor:
    """The visitor of a page. Raises Problem (401) without a session."""
    found = await to_thread.run_sync(session_or_ticket, request, ticket)
    if found is None:
        raise Problem(401, "Log in first.")
    return found


def check_right(visitor: Visitor, right: str) -> None:
    """Raise Problem (403) where the visitor has not the right."""
    if not visitor.may(right):
        raise Problem(403, "You may not do that.")


async def _body(request: Request) -> bytes:
    """The body of a form. Raises Problem for one that is too large or does not come."""
    length = request.headers.get("content-length", "0")
    if not length.isdigit() or int(length) > _FORM_BYTES:
        raise Problem(413, "The form is too large.")
    octets = bytearray()
    try:
        with fail_after(service_of(request).settings.header_seconds):
            async for part in request.stream():
                octets += part
                if len(octets) > _FORM_BYTES:
                    raise Problem(413, "The form is too large.", headers={"connection": "close"})
    except TimeoutError:
        raise Problem(408, "The form did not come in time.", headers={"connection": "close"}) from None
    except ClientDisconnect:
        raise Problem(400, "The form has too many fields, or files, or is damaged.") from None
    return bytes(octets)


async def posted(request: Request) -> dict[str, str]:
    """The fields of a posted form. Raises Problem for one that is too large, holds files or is not text."""
    octets = await _body(request)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not octets and not kind:
        return {}
    if kind not in _FORM_TYPES:
        raise Problem(415, "Send the form as application/x-www-form-urlencoded or multipart/form-data.")

    async def again() -> Message:
        return {"type": "http.request", "body": octets, "more_body": False}

    try:
        # Starlette would read what is no UTF-8 as Latin-1. Files, which may be anything, are not taken at all.
        (unquote_to_bytes(octets) if kind == _FORM_TYPES[0] else octets).decode("utf-8")
        form = await Request(request.scope, again).form(max_files=0, max_fields=100)
        fields = {name: value for name, value in form.items() if isinstance(value, str)}
        "".join([*fields, *fields.values()]).encode()  # a part may name an encoding that has half characters
    except (HTTPException, ValueError):
        raise Problem(400, "The form has too many fields, or files, or is damaged.") from None
    return fields


async def posted_by(request: Request) -> tuple[Visitor, dict[str, str]]:
    """The visitor and the fields of a form whose CSRF token is right. Raises Problem."""
    # Who is nobody is told so before anything is read.
    visitor = await to_thread.run_sync(session, request)
    if visitor is None and not service_of(request).settings.frame_ancestors:
        raise Problem(401, "Log in first.")
    fields = await posted(request)
    visitor = visitor or await visitor_of(request, fields.get("ticket", ""))
    if not visitor.csrf_token or not hmac.compare_digest(
        fields.get("csrf", "").encode(), visitor.csrf_token.encode()
    ):
        raise Problem(403, "The form is out of date. Go back, reload and try again.")
    return visitor, fields
