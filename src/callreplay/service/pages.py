"""The pages of calls: login, call list, call details, player. Rendered here; little script of our own."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from callreplay.service import engine, i18n, listing
from callreplay.service.addresses import client_address, network
from callreplay.service.auth import COOKIE, Refused, Visitor
from callreplay.service.context import Grant, Problem, Service, base, reason_of, service_of
from callreplay.service.rendering import (
    LANGUAGE_COOKIE,
    YEAR_SECONDS,
    check_right,
    is_secure,
    page,
    posted,
    posted_by,
    problem_page,
    query_of,
    session_or_ticket,
    set_cookie,
    ticket_of,
    visitor_of,
)
from callreplay.service.transcoder import WORDS, option_values, temporary_url
from callreplay.store import records, search, words
from callreplay.store.progress import IN_PROGRESS
from callreplay.store.records import StoredCall
from callreplay.store.search import ParameterError

__all__ = ["audio", "describe", "home", "login", "logout"]

_TABS: Final = ("general", "media", "events", "advanced")
_PLACE: Final = (*search.PARAMETERS, "sort", "after", "before")  # what makes a page of the list
_PART: Final = ("start", "end")  # seconds: the part of a call that a link is for
_TARGET: Final = (*_PLACE, "callDetails", "player", "tab", "nomenu", *_PART)  # what makes a page of calls
_DOWNLOADS: Final = ("wav", "spx", "png")
_DESCRIPTION: Final = 4000


def _kept(values: dict[str, str], names: tuple[str, ...]) -> list[tuple[str, str]]:
    return [
        (name, values[name]) for name in names if values.get(name) or (name == "nomenu" and name in values)
    ]


# -- logging in -----------------------------------------------------------------------------------------------------


def _form(
    request: Request, values: dict[str, str], message: str = "", status: int = 200, wait: int = 0
) -> Response:
    shown = {
        "user": values.get("user", ""),
        "tenant": values.get("tenant", ""),
        "kept": _kept(values, _TARGET),
        "message": message,
        "wait": wait,
        "nomenu": "nomenu" in values or bool(values.get("player")),
    }
    return page(
        request,
        "login.html",
        None,
        shown,
        status,
        {"retry-after": str(wait)} if wait else {},
        place=base(request) + "/",
        state=_kept(values, (*_TARGET, "user", "tenant")),
        wanted=values.get("lang", ""),
    )


async def _enter(request: Request, values: dict[str, str], location: str) -> Response:
    """Log in with the values; lead to ``location``, or show the form again."""
    service = service_of(request)
    language = i18n.known(values.get("lang", ""))
    try:
        secret = await service.logins.run(
            network(client_address(request)),
            service.auth.log_in,
            values.get("tenant") or "default",
            values.get("user", ""),
            values.get("password", ""),
            language,
            client_address(request),
        )
    except Refused as refused:
        if refused.wait_seconds:
            return _form(request, values, "wait", 429, refused.wait_seconds)
        return _form(request, values, "wrong", 401)
    if service.settings.frame_ancestors and not is_secure(request) and _is_framed(values):
        # A frame on another site gets no cookie of ours back over plain http: its page is fetched with a ticket.
        ticket = await to_thread.run_sync(service.auth.open_ticket, secret)
        location += f"&{query_of([('ticket', ticket)])}"
    response = RedirectResponse(location, 303, headers={"cache-control": "no-store"})
    set_cookie(request, response, COOKIE, secret, service.settings.session_seconds)
    if language:
        set_cookie(request, response, LANGUAGE_COOKIE, language, YEAR_SECONDS)
    return response


def _is_framed(values: dict[str, str]) -> bool:
    """Whether a page is asked for that is fit for a frame."""
    return bool(values.get("player") or values.get("callDetails"))


def _address(request: Request, items: list[tuple[str, str]]) -> str:
    query = query_of(items)
    return base(request) + "/" + (f"?{query}" if query else "")


async def login(request: Request) -> Response:
    """``POST /CallRecorder/Login``, and the base URL: the keys of the login URL as form fields, or in the query."""
    if request.method != "POST":
        return RedirectResponse(base(request) + "/", 303)
    fields = await posted(request)
    values = {**request.query_params, **fields}
    if request.query_params.get("password") and not service_of(request).settings.get_login:
        return _form(request, values, "get", 403)
    return await _enter(request, values, _address(request, _kept(values, (*_TARGET, "lang"))))


async def logout(request: Request) -> Response:
    """End the session."""
    visitor, _ = await posted_by(request)
    service = service_of(request)
    secret = request.cookies.get(COOKIE, "")
    await to_thread.run_sync(service.auth.log_out, visitor, secret, client_address(request))
    response = RedirectResponse(base(request) + "/", 303)
    set_cookie(request, response, COOKIE, "", 0)
    return response


async def home(request: Request) -> Response:
    """``GET /CallRecorder/``: log in by URL, the call list, Call Details, or the player."""
    values = dict(request.query_params)
    service = service_of(request)
    if values.get("password"):
        if not service.settings.get_login:
            return _form(request, values, "get", 403)
        # The same URL without the credentials: what a browser keeps in its history.
        rest = [
            (name, value)
            for name, value in request.query_params.multi_items()
            if name not in ("user", "password", "tenant", "nomenu")
        ]
        if "nomenu" in values:
            rest.append(("nomenu", ""))
        return await _enter(request, values, _address(request, rest))
    visitor = await to_thread.run_sync(session_or_ticket, request, values.get("ticket", ""))
    if visitor is None or (
        values.get("user")
        and (values["user"], values.get("tenant") or "default") != (visitor.user.login, visitor.user.tenant)
    ):
        return _form(request, values)
    name = next((name for name in ("player", "callDetails") if values.get(name)), "")
    try:
        call = search.parse_uuid(name, values[name]) if name else None
    except ParameterError:
        # A page for programs too, as for every other value of the list that is not right.
        return await problem_page(request, Problem(400, "This value is not right: %(name)s", parameter=name))
    whose = str(visitor.user.id)
    if call is not None and name == "player":
        return await service.searching.run(whose, _player, request, service, visitor, call)
    return await service.searching.run(whose, _list, request, service, visitor, values, call)


# -- the list -------------------------------------------------------------------------------------------------------


COLUMNS_COOKIE: Final = "callreplay_columns"


def _chips(fields: dict[str, str], asked: list[tuple[str, str]]) -> list[dict[str, str]]:
    """What is asked for, each with the query of the same list without it."""
    return [
        {
            "label": row.label,
            "value": fields[row.url],
            "kind": row.kind.name,
            "without": query_of([each for each in asked if each[0] != row.url]),
        }
        for row in search.ROWS
        if row.url in fields
    ]


def _tidied(
    request: Request,
    visitor: Visitor,
    values: dict[str, str],
    fields: dict[str, str],
    kept: list[tuple[str, str]],
) -> Response | None:
    """The address that the search form or the choice of columns leads to; None where neither was sent."""
    if not ("q" in values or "column" in values):
        return None
    line = listing.line_of(visitor, values.get("q", ""), fields)
    if line.unknown:
        return None
    response = RedirectResponse(
        _address(request, [*line.fields.items(), *kept]), 303, headers={"cache-control": "no-store"}
    )
    if "column" in values:
        names = listing.chosen_columns(request.query_params.getlist("column"))
        set_cookie(request, response, COLUMNS_COOKIE, "-".join(names), YEAR_SECONDS)
    return response


def _list(
    request: Request, service: Service, visitor: Visitor, values: dict[str, str], call: UUID | None
) -> Response:
    check_right(visitor, "search")
    fields = listing.fields_of(values)
    order = listing.Order.parse(values.get("sort", ""))
    kept = [("sort", order.text)] if order.text else []
    kept += [("nomenu", "")] if "nomenu" in values else []
    if ticket := ticket_of(request):
        kept.append(("ticket", ticket))
    if (tidied := _tidied(request, visitor, values, fields, kept)) is not None:
        return tidied
    details = None if call is None else _load(request, service, visitor, call, "details")
    asked = [*fields.items(), *kept]
    state = [*asked, *_kept(values, ("after", "before"))]
    unknown = listing.line_of(visitor, values.get("q", ""), fields).unknown
    shown: dict[str, Any] = {
        "parameters": search.ROWS,
        "labels": {row.url: row.label for row in search.ROWS},
        "fields": fields,
        "line": values.get("q", ""),
        "unknown": unknown,
        "chips": _chips(fields, asked),
        "undated": query_of([each for each in asked if each[0] not in search.TIMES]),
        "unsorted": query_of([each for each in asked if each[0] != "sort"]),
        "columns": listing.chosen_columns(request.cookies.get(COLUMNS_COOKIE, "").split("-")),
        "heads": listing.COLUMNS,
        "order": order,
        "kept": kept,
        "nomenu": "nomenu" in values,
        "details": details,
        "beside": (None, None),
        "tab": values["tab"] if values.get("tab") in _TABS else "general",
        "tabs": _TABS,
        "saved": "saved" in values,
        "bad": None,
        "found": listing.Found(),
        "counted": listing.COUNTED_ROWS,
        "asked": query_of(asked),
        "asked_items": asked,
        "state": state,
        "query": query_of(state),
        "loss_percent": records.loss_percent,
        "batches": bool(service.settings.batch_path),
    }
    status = 400 if unknown else 200
    if details is None or "nomenu" not in values:
        try:
            shown["found"] = listing.find(service, visitor, values, fields, order)
            if details is not None:
                shown["beside"] = listing.neighbours(service, visitor, fields, order, details.row)
        except ParameterError as error:
            shown["bad"], status = error, 400
    if details is not None:
        shown |= {"strips": _strips(details), "media": _media(request, visitor, details)}
        shown["silent"] = engine.silent_codecs(details)
    return page(request, "calls.html", visitor, shown, status)


# -- one call -------------------------------------------------------------------------------------------------------


def _load(request: Request, service: Service, visitor: Visitor, call: UUID, shown: str) -> StoredCall:
    """The call, which the visitor sees now: an audit row says so. Raises Problem (404)."""
    with service.database.connection() as connection:
        found = records.load(connection, visitor.reach, call)
        if found is not None:
            found.has_words = words.are_kept(connection, call)
            service.audit(connection, request, visitor.user, "call.view", str(call), page=shown)
    if found is None:
        raise Problem(404, "There is no such call.")
    return found


def _strips(call: StoredCall) -> dict[int, list[dict[str, Any]]]:
    """The gaps of each file, placed on a strip that is 1000 wide."""
    scale = 1000 / max(call.row["duration_ms"], 1)
    return {
        file["id"]: [
            {
                "x": round(scale * start, 2),
                "width": max(round(scale * length, 2), 1.5),
                "start": start,
                "length": length,
                "reason": str(reason),
            }
            for start, length, reason in file["gaps"][:2000]
        ]
        for file in call.files
    }


def _media(request: Request, visitor: Visitor, call: StoredCall) -> dict[str, str]:
    """Temporary URLs that the player needs; none where there is nothing to play."""
    if not visitor.may("play"):
        return {"denied": "denied"}
    if call.row["status"] == IN_PROGRESS:
        longest = service_of(request).settings.session_seconds
        grant = Grant(
            str(call.uuid),
            visitor.user.id,
            "wav",
            {"channels": "stereo"},
            longest,
            "play",
            reason_of(request),
        )
        return {"live": temporary_url(request, grant, call)}
    if not call.files:
        return {}
    try:
        for file in call.recordings():
            file.status()
    except OSError:
        return {"missing": "missing"}

    # The browser asks for parts of the audio while it plays: a long call, paused now and then, outlasts a usual URL.
    longest = service_of(request).settings.session_seconds
    lasting = min(4 * call.row["duration_ms"] // 1000, longest)

    def url(form: str, action: str = "", **options: Any) -> str:
        grant = Grant(str(call.uuid), visitor.user.id, form, options, lasting, action, reason_of(request))
        return temporary_url(request, grant, call)

    links = {}
    if ticket_of(request):
        # Without a cookie the Transcoder would not know who asks.
        links = {form: url(form, "fetch") for form in _DOWNLOADS}
    if call.has_words:
        links["words"] = url(WORDS)
    return {
        **links,
        "audio": url("wav", "play", channels="stereo"),
        "zoom": url("zoom", channels="stereo"),
        "marks": url("marks"),
        "spectrogram": url(
            "png",
            channels="stereo",
            spectrogram=True,
            width=_SPECTROGRAM[0],
            height=_SPECTROGRAM[1],
            axis=False,
        ),
        "part": _part(request),
        "origins": " ".join(("self", *service_of(request).settings.frame_ancestors)),
    }


async def audio(request: Request) -> Response:
    """``GET /CallRecorder/Call/UUID/audio``: a call's sound, to be played in the list. Leads to a temporary URL."""
    visitor = await visitor_of(request)
    check_right(visitor, "play")
    service = service_of(request)
    try:
        call = search.parse_uuid("callId", request.path_params["uuid"])
    except ParameterError:
        raise Problem(404, "There is no such call.") from None

    def load() -> StoredCall | None:
        with service.database.connection() as connection:
            return records.load(connection, visitor.reach, call)

    found = await service.searching.run(str(visitor.user.id), load)
    if found is None:
        raise Problem(404, "There is no such call.")
    place = _media(request, visitor, found).get("audio")
    if place is None:
        raise Problem(404, "The call has no recording.")
    return RedirectResponse(place, 302, headers={"cache-control": "no-store"})


_SPECTROGRAM: Final = (1600, 400)  # pixels: a waveform's place on a dense screen


def _part(request: Request) -> str:
    """The part of the call that the address asks for, as a media fragment; '' for all of it, or for what is no part."""
    found = [(name, text) for name in _PART if (text := request.query_params.get(name, ""))]
    try:
        part = option_values(found)
    except ParameterError:
        return ""
    if not part:
        return ""
    return f"{part.get('start', 0):g}" + (f",{part['end']:g}" if "end" in part else "")


def _player(request: Request, service: Service, visitor: Visitor, uuid: UUID) -> Response:
    check_right(visitor, "play")
    call = _load(request, service, visitor, uuid, "player")
    shown = {
        "call": call,
        "media": _media(request, visitor, call),
        "silent": engine.silent_codecs(call),
        "nomenu": True,
    }
    return page(request, "player.html", visitor, shown)


async def describe(request: Request) -> Response:
    """Set a call's description."""
    visitor, fields = await posted_by(request)
    check_right(visitor, "edit")
    service = service_of(request)
    try:
        call = search.parse_uuid("callId", request.path_params["uuid"])
    except ParameterError:
        raise Problem(404, "There is no such call.") from None
    description = fields.get("description", "").replace("\0", "")[:_DESCRIPTION]

    def change() -> bool:
        with service.database.connection() as connection:
            done = records.describe(connection, visitor.reach, call, description)
            if done:
                service.audit(connection, request, visitor.user, "call.describe", str(call))
            return done

    if not await to_thread.run_sync(change):
        raise Problem(404, "There is no such call.")
    place = [*_kept(fields, _PLACE), ("callDetails", str(call)), ("saved", "")]
    place += _kept(fields, ("nomenu",))
    if ticket := ticket_of(request):
        place.append(("ticket", ticket))
    return RedirectResponse(_address(request, place), 303)
