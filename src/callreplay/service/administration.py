"""The pages of who comes in and what was done: Users, roles and tokens, one's own account, Audit."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from callreplay.service import keeping, running
from callreplay.service.addresses import client_address, network
from callreplay.service.auth import COOKIE, NO_PASSWORD, Refused, Visitor
from callreplay.service.context import Problem, base, service_of, zone_of
from callreplay.service.desk import actor_of, allowed, changing, check, in_database, number_of
from callreplay.service.files import disposition
from callreplay.service.listing import as_written
from callreplay.service.rendering import page, posted_by, query_of, set_cookie, visitor_of
from callreplay.store import accounts, audit, people, search
from callreplay.store.database import Connection
from callreplay.store.search import ParameterError

__all__ = ["routes"]

_AUDIT_ROWS: Final = 100
_AUDIT_FIELDS: Final = ("user", "action", "object", "beginTime", "endTime")
_TOKEN_COOKIE: Final = "callreplay_new_token"
_TOKEN_SECONDS: Final = 60


# -- users and tokens -----------------------------------------------------------------------------------------------


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

    users, tokens, roles = await in_database(request, work)
    values = {
        "users": users,
        "tokens": tokens,
        "roles": roles,
        "rights": people.TOKEN_RIGHTS,
        "all_rights": people.RIGHTS,
        "shortest": service_of(request).settings.password_length,
        "token": token,
        "bad": bad,
        "nomenu": False,
    }
    return page(request, "users.html", visitor, values, status, place=f"{base(request)}/Users", state=())


async def users_page(request: Request) -> Response:
    """The users of the tenant and their API tokens; a token that has just been made, this once."""
    visitor = await allowed(request)
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


async def _hashed(request: Request, password: str, login: str = "") -> str:
    """What is kept of a password. Raises RefusedError."""
    service = service_of(request)

    def work() -> str:
        people.check_password(password, service.settings.password_length, login)
        return service.auth.hash(password)

    return await service.logins.run(network(client_address(request)), work)


async def add_user(request: Request) -> Response:
    """Make a user."""
    visitor, fields = await changing(request)

    def work(connection: Connection) -> None:
        people.add_user(
            connection,
            actor_of(request, visitor),
            visitor.user.tenant_id,
            fields.get("login", "").strip(),
            hashed,
            role=fields.get("role", "user"),
            name=_name(fields, 200),
            scope=fields.get("scope", ""),
        )

    try:
        hashed = await _hashed(request, fields.get("password", ""), fields.get("login", "").strip())
        await in_database(request, work)
    except people.RefusedError as refusal:
        return await _refused(request, visitor, refusal)
    return _back(request)


async def change_user(request: Request) -> Response:
    """Give a user another name, role, scope or password, lock the user out or in, or delete."""
    visitor, fields = await changing(request)
    user, action, tenant = (
        number_of(request.path_params["id"]),
        fields.get("action", ""),
        visitor.user.tenant_id,
    )
    is_oneself, role, hashed = user == visitor.user.id, fields.get("role"), ""
    if is_oneself and action == "change" and role not in (None, visitor.user.role):
        raise Problem(400, "You cannot change your own role.", parameter="role")
    if is_oneself and action in ("disable", "delete"):
        raise Problem(400, "You cannot lock yourself out.", parameter="action")
    actor = actor_of(request, visitor)
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
        await in_database(request, steps[action])
    except people.RefusedError as refusal:
        return await _refused(request, visitor, refusal)
    return _back(request)


async def add_token(request: Request) -> Response:
    """Make an API token, one's own or another user's. The page of users shows it once: a cookie takes it there."""
    visitor, fields = await changing(request)
    days, tenant = fields.get("days", ""), visitor.user.tenant_id
    lifetime = timedelta(days=int(days)) if re.fullmatch(r"[1-9]\d{0,3}", days, re.ASCII) else None
    rights = [right for right in people.TOKEN_RIGHTS if fields.get(f"right_{right}")]

    def work(connection: Connection) -> str:
        owner = fields.get("user", "").strip()
        user = people.find(connection, tenant, owner) if owner else visitor.user.id
        return people.add_token(
            connection,
            actor_of(request, visitor),
            tenant,
            user,
            _name(fields, 100),
            lifetime,
            rights or None,
        )

    try:
        token = await in_database(request, work)
    except people.RefusedError as refusal:
        return await _refused(request, visitor, refusal)
    response = _back(request)
    set_cookie(request, response, _TOKEN_COOKIE, token, _TOKEN_SECONDS, f"{base(request)}/Users")
    return response


async def define_role(request: Request) -> Response:
    """Make a role, or give one other rights. Roles are those of every tenant: the site's own defines them."""
    visitor, fields = await changing(request, site=True)
    rights = [right for right in people.RIGHTS if fields.get(f"right_{right}")]
    name = fields.get("role", "").strip()
    try:
        await in_database(
            request,
            lambda connection: people.define_role(connection, actor_of(request, visitor), name, rights),
        )
    except people.RefusedError as refusal:
        return await _refused(request, visitor, refusal)
    return _back(request)


async def revoke_token(request: Request) -> Response:
    """End an API token."""
    visitor, _ = await changing(request)
    token = number_of(request.path_params["id"])
    try:
        await in_database(
            request,
            lambda connection: people.revoke_token(
                connection, actor_of(request, visitor), visitor.user.tenant_id, token
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
        hashed = await _hashed(request, fields.get("new_password", ""), user.login)
    except people.RefusedError as refusal:
        return _account_page(request, visitor, refusal.field, 400)
    await in_database(
        request,
        lambda connection: people.set_password(
            connection, actor_of(request, visitor), user.tenant_id, user.id, hashed
        ),
    )
    secret = await to_thread.run_sync(service.auth.open_session, user, visitor.language, address)
    response = RedirectResponse(f"{base(request)}/Account?saved", 303)
    set_cookie(request, response, COOKIE, secret, service.settings.session_seconds)
    return response


# -- audit ----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Asked:
    """Which rows of the audit log a request asks for; ``bad`` is what is wrong with a time."""

    fields: dict[str, str]
    filters: dict[str, Any]
    bad: ParameterError | None = None


def _asked(request: Request, visitor: Visitor) -> _Asked:
    fields = {
        name: as_written(name, request.query_params.get(name, "").replace("\0", "").strip()[:300])
        for name in _AUDIT_FIELDS
    }
    zone, bad = zone_of(visitor.user), None
    filters: dict[str, Any] = {
        "system": visitor.of_site,
        "actor": fields["user"],
        "action": fields["action"],
        "target": fields["object"],
    }
    try:
        if fields["beginTime"]:
            filters["begin"] = search.parse_time("beginTime", fields["beginTime"], zone)
        if fields["endTime"]:
            end = search.parse_time("endTime", fields["endTime"], zone, last=True)
            filters["end"] = end + timedelta(seconds=1)
    except ParameterError as error:
        bad = error
    return _Asked(fields, filters, bad)


async def _auditor(request: Request) -> Visitor:
    visitor = await visitor_of(request)
    check(visitor.may_audit)
    return visitor


async def audit_page(request: Request, chain: audit.Chain | None = None) -> Response:
    """What happened, newest first: by user, action, object and time."""
    visitor = await _auditor(request)
    asked = _asked(request, visitor)
    before, rows = request.query_params.get("before", ""), []

    def work(connection: Connection) -> Any:
        place = int(before) if re.fullmatch(r"\d{1,18}", before, re.ASCII) else None
        tenant = visitor.user.tenant_id
        return audit.listing(connection, tenant, before=place, limit=_AUDIT_ROWS + 1, **asked.filters)

    if asked.bad is None:
        rows = await in_database(request, work)
    values = {
        "rows": rows[:_AUDIT_ROWS],
        "older": f"before={rows[_AUDIT_ROWS - 1]['id']}" if len(rows) > _AUDIT_ROWS else "",
        "is_first": not before,
        "query": query_of((name, value) for name, value in asked.fields.items() if value),
        "fields": asked.fields,
        "bad": asked.bad,
        "chain": chain,
        "nomenu": False,
    }
    status = 400 if asked.bad else 200
    return page(request, "audit.html", visitor, values, status, place=f"{base(request)}/Audit")


async def export_audit(request: Request) -> Response:
    """The rows that the page's filters find, all of them, as CSV or JSON lines. Taking them along is a row itself."""
    visitor = await _auditor(request)
    asked, form = _asked(request, visitor), request.query_params.get("format", "csv")
    if asked.bad is not None or form not in ("csv", "json"):
        raise Problem(400, "A value is not right", parameter=asked.bad.parameter if asked.bad else "format")
    service = service_of(request)
    said = {name: value for name, value in asked.fields.items() if value}

    def work(connection: Connection) -> None:
        service.audit(connection, request, visitor.user, "audit.export", "", format=form, asked=said)

    await in_database(request, work)
    rows = audit.every(service.database, visitor.user.tenant_id, **asked.filters)
    parts = (
        audit.as_csv(rows) if form == "csv" else (f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
    )
    headers = {
        "cache-control": "no-store",
        "content-disposition": disposition(f"audit.{'csv' if form == 'csv' else 'jsonl'}", attachment=True),
    }
    media_type = "text/csv; charset=utf-8" if form == "csv" else "application/jsonl"
    return StreamingResponse(parts, media_type=media_type, headers=headers)


async def verify_audit(request: Request) -> Response:
    """Check the chain of hashes over the audit log: of every tenant's rows, so for those who run the site."""
    visitor, _ = await posted_by(request)
    check(visitor.runs_site and visitor.may_audit)
    return await audit_page(request, await in_database(request, audit.verify))


def routes(prefix: str) -> list[Route]:
    """The routes of these pages."""
    return [
        Route(prefix + "/Users", users_page, methods=["GET"]),
        Route(prefix + "/Users/add", add_user, methods=["POST"]),
        Route(prefix + "/Users/roles", define_role, methods=["POST"]),
        Route(prefix + "/Users/{id}", change_user, methods=["POST"]),
        Route(prefix + "/Account", account_page, methods=["GET"]),
        Route(prefix + "/Account/password", change_own_password, methods=["POST"]),
        Route(prefix + "/Tokens/add", add_token, methods=["POST"]),
        Route(prefix + "/Tokens/{id}/revoke", revoke_token, methods=["POST"]),
        Route(prefix + "/Audit", audit_page, methods=["GET"]),
        Route(prefix + "/Audit/export", export_audit, methods=["GET"]),
        Route(prefix + "/Audit/verify", verify_audit, methods=["POST"]),
        *keeping.routes(prefix),
        *running.routes(prefix),
    ]
