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

from callreplay.service import logs
from callreplay.service.addresses import client_address, network
from callreplay.service.auth import COOKIE, MAXIMUM_PASSWORD, NO_PASSWORD, Refused, Visitor
from callreplay.service.context import PLAYER_PASSWORD, Problem, base, service_of, zone_of
from callreplay.service.listing import as_written
from callreplay.service.rendering import page, posted_by, query_of, set_cookie, visitor_of
from callreplay.store import accounts, audit, people, search, volumes
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


def _actor(request: Request, visitor: Visitor) -> people.Actor:
    return people.Actor(visitor.user.login, client_address(request), logs.request_id.get())


async def _users_page(
    request: Request, visitor: Visitor, token: str = "", bad: str = "", status: int = 200
) -> Response:
    def work(connection: Connection) -> tuple[Any, Any, Any]:
        tenant = visitor.user.tenant_id
        return (
            accounts.users(connection, tenant),
            accounts.tokens(connection, tenant),
            people.roles(connection),
        )

    users, tokens, roles = await _in_database(request, work)
    values = {
        "users": users,
        "tokens": tokens,
        "roles": roles,
        "rights": people.TOKEN_RIGHTS,
        "shortest": service_of(request).settings.password_length,
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


def _name(fields: dict[str, str], longest: int) -> str:
    return fields.get("name", "").replace("\0", "").strip()[:longest]


async def _refused(request: Request, visitor: Visitor, refusal: people.RefusedError) -> Response:
    if refusal.field == "unknown":
        raise Problem(404, "There is nothing of that number.")
    return await _users_page(
        request, visitor, bad=refusal.field, status=409 if refusal.field in ("taken", "last") else 400
    )


async def _hashed(request: Request, password: str) -> str:
    """What is kept of a password. Raises Refusal."""
    service = service_of(request)
    people.check_password(password, service.settings.password_length)
    return await service.logins.run(network(client_address(request)), service.auth.hash, password)


async def add_user(request: Request) -> Response:
    """Make a user."""
    visitor, fields = await _changing(request)

    def work(connection: Connection) -> None:
        people.add_user(
            connection,
            _actor(request, visitor),
            visitor.user.tenant_id,
            fields.get("login", "").strip(),
            hashed,
            role=fields.get("role", "user"),
            name=_name(fields, 200),
            scope=fields.get("scope", ""),
        )

    try:
        hashed = await _hashed(request, fields.get("password", ""))
        await _in_database(request, work)
    except people.RefusedError as refusal:
        return await _refused(request, visitor, refusal)
    return _back(request)


def _number(request: Request) -> int:
    text = request.path_params["id"]
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII):
        raise Problem(404, "There is nothing of that number.")
    return int(text)


async def change_user(request: Request) -> Response:
    """Give a user another name, role, scope or password, lock the user out or in, or delete."""
    visitor, fields = await _changing(request)
    user, action, tenant = _number(request), fields.get("action", ""), visitor.user.tenant_id
    is_oneself, role, hashed = user == visitor.user.id, fields.get("role"), ""
    if is_oneself and action == "change" and role not in (None, visitor.user.role):
        raise Problem(400, "You cannot change your own role.", parameter="role")
    if is_oneself and action in ("disable", "delete"):
        raise Problem(400, "You cannot lock yourself out.", parameter="action")
    actor = _actor(request, visitor)
    steps: dict[str, Callable[[Connection], None]] = {
        "password": lambda connection: people.set_password(connection, actor, tenant, user, hashed),
        "change": lambda connection: people.change_user(
            connection,
            actor,
            tenant,
            user,
            name=_name(fields, 200),
            role=role,
            scope=None if is_oneself else fields.get("scope"),
        ),
        "disable": lambda connection: people.lock_user(connection, actor, tenant, user, True),
        "enable": lambda connection: people.lock_user(connection, actor, tenant, user, False),
        "delete": lambda connection: people.delete_user(connection, actor, tenant, user),
    }
    if action not in steps:
        raise Problem(400, "There is no such action.", parameter="action")
    try:
        if action == "password":
            hashed = await _hashed(request, fields.get("password", ""))
        await _in_database(request, steps[action])
    except people.RefusedError as refusal:
        return await _refused(request, visitor, refusal)
    return _back(request)


async def add_token(request: Request) -> Response:
    """Make an API token, one's own or another user's. The page of users shows it once: a cookie takes it there."""
    visitor, fields = await _changing(request)
    days, tenant = fields.get("days", ""), visitor.user.tenant_id
    lifetime = timedelta(days=int(days)) if re.fullmatch(r"[1-9]\d{0,3}", days, re.ASCII) else None
    rights = [right for right in people.TOKEN_RIGHTS if fields.get(f"right_{right}")]

    def work(connection: Connection) -> str:
        owner = fields.get("user", "").strip()
        user = people.find(connection, tenant, owner) if owner else visitor.user.id
        return people.add_token(
            connection,
            _actor(request, visitor),
            tenant,
            user,
            _name(fields, 100),
            lifetime,
            rights or None,
        )

    try:
        token = await _in_database(request, work)
    except people.RefusedError as refusal:
        return await _refused(request, visitor, refusal)
    response = _back(request)
    set_cookie(request, response, _TOKEN_COOKIE, token, _TOKEN_SECONDS, f"{base(request)}/Users")
    return response


async def revoke_token(request: Request) -> Response:
    """End an API token."""
    visitor, _ = await _changing(request)
    token = _number(request)
    try:
        await _in_database(
            request,
            lambda connection: people.revoke_token(
                connection, _actor(request, visitor), visitor.user.tenant_id, token
            ),
        )
    except people.RefusedError as refusal:
        return await _refused(request, visitor, refusal)
    return _back(request)


# -- one's own account ----------------------------------------------------------------------------------------------


def _account_page(request: Request, visitor: Visitor, bad: str = "", status: int = 200) -> Response:
    values = {
        "bad": bad,
        "saved": "saved" in request.query_params,
        "shortest": service_of(request).settings.password_length,
        "has_password": visitor.user.password_hash != NO_PASSWORD,
        "nomenu": False,
    }
    return page(request, "account.html", visitor, values, status, place=f"{base(request)}/Account", state=())


async def account_page(request: Request) -> Response:
    """Where users change their own password."""
    return _account_page(request, await visitor_of(request))


async def change_own_password(request: Request) -> Response:
    """Change one's own password, with the one that there is; every other session ends."""
    visitor, fields = await posted_by(request)
    service, user = service_of(request), visitor.user
    if user.password_hash == NO_PASSWORD:
        return _account_page(request, visitor, "none", 400)
    who, address = network(client_address(request)), client_address(request)
    try:
        await service.logins.run(
            who, service.auth.check, user.tenant, user.login, fields.get("password", ""), address
        )
    except Refused as refused:
        bad = "wait" if refused.wait_seconds else "wrong"
        return _account_page(request, visitor, bad, 429 if refused.wait_seconds else 403)
    try:
        hashed = await _hashed(request, fields.get("new_password", ""))
    except people.RefusedError:
        return _account_page(request, visitor, "password", 400)
    await _in_database(
        request,
        lambda connection: people.set_password(
            connection, _actor(request, visitor), user.tenant_id, user.id, hashed
        ),
    )
    secret = await to_thread.run_sync(service.auth.open_session, user, visitor.language, address)
    response = RedirectResponse(f"{base(request)}/Account?saved", 303)
    set_cookie(request, response, COOKIE, secret, service.settings.session_seconds)
    return response


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
        Route(prefix + "/Account", account_page, methods=["GET"]),
        Route(prefix + "/Account/password", change_own_password, methods=["POST"]),
        Route(prefix + "/Tokens/add", add_token, methods=["POST"]),
        Route(prefix + "/Tokens/{id}/revoke", revoke_token, methods=["POST"]),
        Route(prefix + "/Audit", audit_page, methods=["GET"]),
    ]
