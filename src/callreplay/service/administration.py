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

from callreplay.calls import accounts, audit, volumes
from callreplay.calls.database import Connection
from callreplay.errors import ArgumentError
from callreplay.service.auth import MAXIMUM_PASSWORD, Visitor
from callreplay.service.context import PLAYER_PASSWORD, Problem, base, service_of
from callreplay.service.pages import page, posted_by, visitor_of

__all__ = ["routes"]

_AUDIT_ROWS: Final = 100
_SHORTEST_PASSWORD: Final = 8


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
    values = {"volumes": shown, "player_password": password, "nomenu": False, "saved": saved, "bad": ""}
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
        "roles": accounts.ROLES,
        "nomenu": False,
    }
    return page(request, "users.html", visitor, values, status)


async def users_page(request: Request) -> Response:
    """The users of the tenant and their API tokens."""
    return await _users_page(request, await _allowed(request))


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
    if not _SHORTEST_PASSWORD <= len(password) <= MAXIMUM_PASSWORD:
        return await _users_page(request, visitor, bad="password", status=400)
    service = service_of(request)
    hashed = await to_thread.run_sync(service.auth.hash, password)
    name = fields.get("name", "").replace("\0", "").strip()[:200]

    def work(connection: Connection) -> None:
        accounts.add_user(connection, visitor.user.tenant_id, login, hashed, role=role, name=name)
        service.audit(connection, request, visitor.user, "user.add", login, role=role)

    try:
        await _in_database(request, work)
    except ArgumentError:
        return await _users_page(request, visitor, bad="taken", status=409)
    return RedirectResponse(f"{base(request)}/Users", 303)


def _number(request: Request) -> int:
    text = request.path_params["id"]
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII):
        raise Problem(404, "There is nothing of that number.")
    return int(text)


async def change_user(request: Request) -> Response:
    """Lock a user out or in, or give the user another password."""
    visitor, fields = await _changing(request)
    service, user = service_of(request), _number(request)
    hashed, disabled = "", fields.get("action") == "disable"
    if fields.get("action") == "password":
        password = fields.get("password", "")
        if not _SHORTEST_PASSWORD <= len(password) <= MAXIMUM_PASSWORD:
            return await _users_page(request, visitor, bad="password", status=400)
        hashed = await to_thread.run_sync(service.auth.hash, password)
    elif fields.get("action") not in ("disable", "enable"):
        raise Problem(400, "There is no such action.", parameter="action")
    if disabled and user == visitor.user.id:
        raise Problem(400, "You cannot lock yourself out.", parameter="action")

    def work(connection: Connection) -> bool:
        tenant = visitor.user.tenant_id
        if hashed:
            done = accounts.set_password(connection, tenant, user, hashed)
        else:
            done = accounts.set_disabled(connection, tenant, user, disabled) is not None
        if done:
            service.audit(connection, request, visitor.user, f"user.{fields['action']}", str(user))
        return done

    if not await _in_database(request, work):
        raise Problem(404, "There is nothing of that number.")
    return RedirectResponse(f"{base(request)}/Users", 303)


async def add_token(request: Request) -> Response:
    """Make an API token of one's own; it is shown this once."""
    visitor, fields = await _changing(request)
    service = service_of(request)
    days = fields.get("days", "")
    lifetime = timedelta(days=int(days)) if re.fullmatch(r"[1-9]\d{0,3}", days, re.ASCII) else None
    name = fields.get("name", "").replace("\0", "").strip()[:100]

    def work(connection: Connection) -> str:
        service.audit(connection, request, visitor.user, "token.add", name)
        return accounts.add_token(connection, visitor.user.id, name, lifetime)

    return await _users_page(request, visitor, token=await _in_database(request, work))


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
    return RedirectResponse(f"{base(request)}/Users", 303)


# -- audit ----------------------------------------------------------------------------------------------------------


async def audit_page(request: Request) -> Response:
    """What happened, newest first."""
    visitor = await visitor_of(request)
    _check(visitor.may_audit)
    before = request.query_params.get("before", "")
    last = int(before) if re.fullmatch(r"\d{1,18}", before, re.ASCII) else None
    target = request.query_params.get("object", "").replace("\0", "")[:300]

    def work(connection: Connection) -> Any:
        return audit.listing(
            connection,
            visitor.user.tenant_id,
            system=visitor.of_site,
            before=last,
            target=target,
            limit=_AUDIT_ROWS + 1,
        )

    rows = await _in_database(request, work)
    values = {
        "rows": rows[:_AUDIT_ROWS],
        "older": rows[_AUDIT_ROWS - 1]["id"] if len(rows) > _AUDIT_ROWS else None,
        "object": target,
        "nomenu": False,
    }
    return page(request, "audit.html", visitor, values)


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
