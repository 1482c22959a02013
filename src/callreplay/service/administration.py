"""The pages of those who run the service: Storage, Users and tokens, Audit."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from callreplay.errors import ArgumentError
from callreplay.service.auth import MAXIMUM_PASSWORD, Visitor
from callreplay.service.context import PLAYER_PASSWORD, Problem, base, service_of, zone_of
from callreplay.service.pages import as_written
from callreplay.service.rendering import page, posted_by, query_of, set_cookie, visitor_of
from callreplay.store import accounts, audit, search, volumes
from callreplay.store.database import Connection
from callreplay.store.search import ParameterError

__all__ = ["routes"]

_AUDIT_ROWS: Final = 100
_AUDIT_FIELDS: Final = ("user", "action", "object", "beginTime", "endTime")
_SHORTEST_PASSWORD: Final = 8
_TOKEN_COOKIE: Final = "callreplay_new_token"
_TOKEN_SECONDS: Final = 60


def _check(is_allowed: bool) -> None:
    if not is_allowed:
        raise Problem(403, "This page is for administrators.")


async def _allowed(request: Request) -> Visitor:
    visitor = await visitor_of(request)
    _check(visitor.is_admin)
    return visitor


async def _changing(request: Request) -> tuple[Visitor, dict[str, str]]:
    visitor, fields = await posted_by(request)
    _check(visitor.is_admin)
    return visitor, fields


async def _in_database(request: Request, work: Callable[[Connection], Any]) -> Any:
    def run() -> Any:
        with service_of(request).database.connection() as connection:
            return work(connection)

    return await to_thread.run_sync(run)


# -- storage --------------------------------------------------------------------------------------------------------


async def storage_page(request: Request) -> Response:
    """Volumes with quota, reserved, used and free; Advanced: the Player Access Password."""
    visitor = await _allowed(request)
    _check(visitor.runs_site)
    service = service_of(request)
    listed = await _in_database(request, volumes.listing)
    shown = await to_thread.run_sync(
        lambda: [(volume, volume.free_bytes, volume.warning) for volume in listed]
    )
    password = await to_thread.run_sync(service.database.setting, PLAYER_PASSWORD)
    saved = "saved" in request.query_params
    values = {"volumes": shown, "player_password": password, "nomenu": False, "saved": saved}
    return page(request, "storage.html", visitor, values)


async def set_player_password(request: Request) -> Response:
    """Storage > Advanced > Player Access Password."""
    visitor, fields = await _changing(request)
    _check(visitor.runs_site)
    password = fields.get("player_password", "")
    if not _SHORTEST_PASSWORD <= len(password) <= MAXIMUM_PASSWORD or not password.isprintable():
        raise Problem(400, "A password has at least 8 characters.", parameter="player_password")
    service = service_of(request)

    def work(connection: Connection) -> None:
        service.audit(connection, request, visitor.user, "storage.player_password", "player")

    await _in_database(request, work)
    await to_thread.run_sync(service.database.set_setting, PLAYER_PASSWORD, password)
    return RedirectResponse(f"{base(request)}/Volumes?saved", 303)


# -- users and tokens -----------------------------------------------------------------------------------------------


async def _users_page(
    request: Request, visitor: Visitor, token: str = "", bad: str = "", status: int = 200
) -> Response:
    def work(connection: Connection) -> tuple[Any, Any]:
        tenant = visitor.user.tenant_id
        return accounts.users(connection, tenant), accounts.tokens(connection, tenant)

    users, tokens = await _in_database(request, work)
    values = {
        "users": users,
        "tokens": tokens,
        "token": token,
        "bad": bad,
        "nomenu": False,
    }
    return page(request, "users.html", visitor, values, status, place=f"{base(request)}/Users", state=())


async def users_page(request: Request) -> Response:
    """The users of the tenant and their API tokens; a token that has just been made, this once."""
    visitor = await _allowed(request)
    token = request.cookies.get(_TOKEN_COOKIE, "")
    if not re.fullmatch(accounts.TOKEN_PREFIX + r"[\w-]{20,100}", token, re.ASCII):
        return await _users_page(request, visitor)
    response = await _users_page(request, visitor, token)
    set_cookie(request, response, _TOKEN_COOKIE, "", 0, f"{base(request)}/Users")
    return response


def _back(request: Request) -> RedirectResponse:
    return RedirectResponse(f"{base(request)}/Users", 303)


def _is_password(text: str) -> bool:
    return _SHORTEST_PASSWORD <= len(text) <= MAXIMUM_PASSWORD


def _name(fields: dict[str, str], longest: int) -> str:
    return fields.get("name", "").replace("\0", "").strip()[:longest]


async def add_user(request: Request) -> Response:
    """Make a user."""
    visitor, fields = await _changing(request)
    login, password, role = (
        fields.get("login", "").strip(),
        fields.get("password", ""),
        fields.get("role", "user"),
    )
    if not re.fullmatch(r"[^\s\x00-\x1f]{1,100}", login) or role not in accounts.ROLES:
        return await _users_page(request, visitor, bad="login", status=400)
    if not _is_password(password):
        return await _users_page(request, visitor, bad="password", status=400)
    service = service_of(request)
    hashed = await to_thread.run_sync(service.auth.hash, password)
    name = _name(fields, 200)

    def work(connection: Connection) -> None:
        accounts.add_user(connection, visitor.user.tenant_id, login, hashed, role=role, name=name)
        service.audit(connection, request, visitor.user, "user.add", login, role=role)

    try:
        await _in_database(request, work)
    except ArgumentError:
        return await _users_page(request, visitor, bad="taken", status=409)
    return _back(request)


def _number(request: Request) -> int:
    text = request.path_params["id"]
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII):
        raise Problem(404, "There is nothing of that number.")
    return int(text)


async def change_user(request: Request) -> Response:
    """Give a user another name and role or another password, or lock the user out or in."""
    visitor, fields = await _changing(request)
    service, user, action = service_of(request), _number(request), fields.get("action", "")
    is_oneself, role, hashed = user == visitor.user.id, fields.get("role", ""), ""
    if action == "password":
        if not _is_password(fields.get("password", "")):
            return await _users_page(request, visitor, bad="password", status=400)
        hashed = await to_thread.run_sync(service.auth.hash, fields["password"])
    elif action == "change":
        if role not in accounts.ROLES:
            return await _users_page(request, visitor, bad="role", status=400)
        if is_oneself and role != visitor.user.role:
            raise Problem(400, "You cannot change your own role.", parameter="role")
    elif action not in ("disable", "enable"):
        raise Problem(400, "There is no such action.", parameter="action")
    elif action == "disable" and is_oneself:
        raise Problem(400, "You cannot lock yourself out.", parameter="action")

    def work(connection: Connection) -> bool:
        tenant = visitor.user.tenant_id
        login = accounts.login_of(connection, tenant, user)
        if login is None:
            return False
        detail = {}
        if action == "password":
            accounts.set_password(connection, tenant, user, hashed)
        elif action == "change":
            accounts.change_user(connection, tenant, user, name=_name(fields, 200), role=role)
            detail = {"role": role}
        else:
            accounts.set_disabled(connection, tenant, user, action == "disable")
        service.audit(connection, request, visitor.user, f"user.{action}", login, **detail)
        return True

    if not await _in_database(request, work):
        raise Problem(404, "There is nothing of that number.")
    return _back(request)


async def add_token(request: Request) -> Response:
    """Make an API token of one's own. The page of users shows it once: a cookie takes it there."""
    visitor, fields = await _changing(request)
    service = service_of(request)
    days = fields.get("days", "")
    lifetime = timedelta(days=int(days)) if re.fullmatch(r"[1-9]\d{0,3}", days, re.ASCII) else None
    name = _name(fields, 100)
    if not name:
        return await _users_page(request, visitor, bad="name", status=400)

    def work(connection: Connection) -> str:
        service.audit(connection, request, visitor.user, "token.add", name)
        return accounts.add_token(connection, visitor.user.id, name, lifetime)

    token = await _in_database(request, work)
    response = _back(request)
    set_cookie(request, response, _TOKEN_COOKIE, token, _TOKEN_SECONDS, f"{base(request)}/Users")
    return response


async def revoke_token(request: Request) -> Response:
    """End an API token."""
    visitor, _ = await _changing(request)
    service, token = service_of(request), _number(request)

    def work(connection: Connection) -> bool:
        done = accounts.revoke_token(connection, visitor.user.tenant_id, token)
        if done:
            service.audit(connection, request, visitor.user, "token.revoke", str(token))
        return done

    if not await _in_database(request, work):
        raise Problem(404, "There is nothing of that number.")
    return _back(request)


# -- audit ----------------------------------------------------------------------------------------------------------


async def audit_page(request: Request) -> Response:
    """What happened, newest first: by user, action, object and time."""
    visitor = await visitor_of(request)
    _check(visitor.may_audit)
    asked = {
        name: as_written(name, request.query_params.get(name, "").replace("\0", "").strip()[:300])
        for name in _AUDIT_FIELDS
    }
    before = request.query_params.get("before", "")
    zone, times, bad, rows = zone_of(visitor.user), {}, None, []
    try:
        if asked["beginTime"]:
            times["begin"] = search.parse_time("beginTime", asked["beginTime"], zone)
        if asked["endTime"]:
            times["end"] = search.parse_time("endTime", asked["endTime"], zone, last=True) + timedelta(
                seconds=1
            )
    except ParameterError as error:
        bad = error

    def work(connection: Connection) -> Any:
        return audit.listing(
            connection,
            visitor.user.tenant_id,
            system=visitor.of_site,
            before=int(before) if re.fullmatch(r"\d{1,18}", before, re.ASCII) else None,
            actor=asked["user"],
            action=asked["action"],
            target=asked["object"],
            limit=_AUDIT_ROWS + 1,
            **times,
        )

    if bad is None:
        rows = await _in_database(request, work)
    values = {
        "rows": rows[:_AUDIT_ROWS],
        "older": f"before={rows[_AUDIT_ROWS - 1]['id']}" if len(rows) > _AUDIT_ROWS else "",
        "is_first": not before,
        "query": query_of((name, value) for name, value in asked.items() if value),
        "fields": asked,
        "bad": bad,
        "nomenu": False,
    }
    return page(request, "audit.html", visitor, values, 400 if bad else 200)


def routes(prefix: str) -> list[Route]:
    """The routes of these pages."""
    return [
        Route(prefix + "/Volumes", storage_page, methods=["GET"]),
        Route(prefix + "/Volumes/player", set_player_password, methods=["POST"]),
        Route(prefix + "/Users", users_page, methods=["GET"]),
        Route(prefix + "/Users/add", add_user, methods=["POST"]),
        Route(prefix + "/Users/{id}", change_user, methods=["POST"]),
        Route(prefix + "/Tokens/add", add_token, methods=["POST"]),
        Route(prefix + "/Tokens/{id}/revoke", revoke_token, methods=["POST"]),
        Route(prefix + "/Audit", audit_page, methods=["GET"]),
    ]
