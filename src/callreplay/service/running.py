"""The pages Jobs (what is under way, and what came of it) and Tenants."""

from __future__ import annotations

import secrets
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from callreplay.errors import CallReplayError
from callreplay.service.addresses import client_address, network
from callreplay.service.auth import Visitor
from callreplay.service.context import Problem, base, service_of
from callreplay.service.desk import actor_of, allowed, changing, forms, in_database, number_of, refused
from callreplay.store import accounts, jobs, people
from callreplay.store.database import Connection

__all__ = ["routes"]


async def jobs_page(request: Request, bad: str = "") -> Response:
    """Jobs of the tenant, for those who run the site of everybody: those under way first."""
    visitor = await allowed(request)
    folders = service_of(request).settings.import_paths if visitor.runs_site else ()

    def find(connection: Connection) -> tuple[list[Any], list[Any]]:
        found = jobs.listing(connection, tenant_id=visitor.user.tenant_id, system=visitor.runs_site)
        return found, accounts.tenants(connection) if folders else []

    found, tenants = await in_database(request, find)
    values = {
        "jobs": found,
        "busy": any(job["state"] == "running" for job in found),
        "folders": folders,
        "tenants": [each["name"] for each in tenants if not each["disabled"]],
    }
    return forms(request, "jobs.html", visitor, values, "Jobs", bad, state=())


async def cancel_job(request: Request) -> Response:
    """Ask a job to end."""
    visitor, _ = await changing(request)
    number = number_of(request.path_params["id"])
    ask = partial(
        jobs.ask_to_stop,
        number=number,
        tenant_id=visitor.user.tenant_id,
        system=visitor.runs_site,
        actor=actor_of(request, visitor),
    )
    if not await in_database(request, ask):
        raise Problem(404, "There is nothing of that number.")
    return RedirectResponse(f"{base(request)}/Jobs", 303)


async def _tenants(request: Request, visitor: Visitor, bad: str = "", **made: Any) -> Response:
    found = await in_database(request, accounts.tenants)
    values = {"tenants": found, "made": made}
    return forms(request, "tenants.html", visitor, values, "Tenants", bad, state=())


async def tenants_page(request: Request) -> Response:
    """The tenants with their time zones, retention and users."""
    return await _tenants(request, await allowed(request, site=True))


async def add_tenant(request: Request) -> Response:
    """Make a tenant and its first administrator, whose password the answer shows this once."""
    visitor, fields = await changing(request, site=True)
    service, password = service_of(request), secrets.token_urlsafe(12)
    name, login = fields.get("name", "").strip(), fields.get("login", "").strip() or "admin"
    zone = fields.get("zone", "").strip() or "UTC"
    hashed = await service.logins.run(network(client_address(request)), service.auth.hash, password)

    def work(connection: Connection) -> None:
        people.add_tenant(connection, actor_of(request, visitor), name, zone, login, hashed)

    try:
        await in_database(request, work)
    except CallReplayError as error:
        return await _tenants(request, visitor, refused(error))
    return await _tenants(request, visitor, name=name, login=login, password=password)


async def change_tenant(request: Request) -> Response:
    """Give a tenant another time zone, lock its users out or let them in."""
    visitor, fields = await changing(request, site=True)
    name, action = fields.get("name", ""), fields.get("action", "")
    if action not in ("zone", "lock", "unlock"):
        raise Problem(400, "There is no such action.", parameter="action")
    if action == "lock" and name == visitor.user.tenant:
        raise Problem(400, "You cannot lock yourself out.", parameter="action")
    change = partial(
        people.change_tenant,
        actor=actor_of(request, visitor),
        name=name,
        time_zone=fields.get("zone", "").strip() if action == "zone" else "",
        locked=None if action == "zone" else action == "lock",
    )
    try:
        await in_database(request, change)
    except CallReplayError as error:
        return await _tenants(request, visitor, refused(error))
    return RedirectResponse(f"{base(request)}/Tenants?saved", 303)


def routes(prefix: str) -> list[Route]:
    """The routes of these pages."""
    return [
        Route(prefix + "/Jobs", jobs_page, methods=["GET"]),
        Route(prefix + "/Jobs/{id}/cancel", cancel_job, methods=["POST"]),
        Route(prefix + "/Tenants", tenants_page, methods=["GET"]),
        Route(prefix + "/Tenants/add", add_tenant, methods=["POST"]),
        Route(prefix + "/Tenants/change", change_tenant, methods=["POST"]),
    ]
