"""What the pages of those who run the service share: who may see them, and how their forms reach the database."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response

from callreplay.errors import CallReplayError
from callreplay.service import logs
from callreplay.service.addresses import client_address
from callreplay.service.auth import Visitor
from callreplay.service.context import Problem, base, service_of
from callreplay.service.rendering import Items, page, posted_by, visitor_of
from callreplay.store.audit import Actor
from callreplay.store.database import Connection

__all__ = ["actor_of", "allowed", "changing", "check", "forms", "in_database", "number_of", "refused"]


def check(is_allowed: bool) -> None:
    """Raise Problem (403) unless the visitor may see the page."""
    if not is_allowed:
        raise Problem(403, "This page is for administrators.")


async def allowed(request: Request, *, site: bool = False) -> Visitor:
    """The administrator who asks for a page; with ``site`` one of the site's own tenant. Raises Problem (401, 403)."""
    visitor = await visitor_of(request)
    check(visitor.runs_site if site else visitor.is_admin)
    return visitor


async def changing(request: Request, *, site: bool = False) -> tuple[Visitor, dict[str, str]]:
    """The administrator who posts a form, and its fields. Raises Problem."""
    visitor, fields = await posted_by(request)
    check(visitor.runs_site if site else visitor.is_admin)
    return visitor, fields


def forms(
    request: Request,
    template: str,
    visitor: Visitor,
    values: dict[str, Any],
    place: str,
    bad: str = "",
    state: Items | None = None,
) -> Response:
    """A page of forms at ``place``, which says that what was posted is saved or, with status 400, what was ``bad``."""
    common = {"saved": "saved" in request.query_params, "bad": bad, "nomenu": False}
    status = 400 if bad else 200
    return page(
        request, template, visitor, values | common, status, place=f"{base(request)}/{place}", state=state
    )


def actor_of(request: Request, visitor: Visitor) -> Actor:
    """Whom the audit log names."""
    return Actor(visitor.user.login, client_address(request), logs.request_id.get())


async def in_database(request: Request, work: Callable[[Connection], Any]) -> Any:
    """Run ``work`` in one transaction, in a thread."""

    def run() -> Any:
        with service_of(request).database.connection() as connection:
            return work(connection)

    return await to_thread.run_sync(run)


def number_of(text: str) -> int:
    """The number in an address or a form. Raises Problem (404)."""
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII):
        raise Problem(404, "There is nothing of that number.")
    return int(text)


def refused(error: CallReplayError) -> str:
    """What the store says to a value, as a page shows it: in English, as the engine's words are."""
    text = str(error)
    return text[:1].upper() + text[1:]
