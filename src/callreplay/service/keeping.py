"""Where calls are kept and for how long: the pages Storage and Retention, and a call's tags and legal hold."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from anyio import to_thread
from psycopg.rows import DictRow
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from callreplay.errors import CallReplayError
from callreplay.service.auth import MAXIMUM_PASSWORD, Visitor
from callreplay.service.context import PLAYER_PASSWORD, Problem, base, service_of, zone_of
from callreplay.service.desk import actor_of, allowed, changing, check, forms, in_database, number_of, refused
from callreplay.service.rendering import check_right, posted_by, query_of, ticket_of
from callreplay.store import joining, retention, search, volumes
from callreplay.store.database import Connection, Database
from callreplay.store.jobs import Job, counted
from callreplay.store.objects import UNBOUNDED
from callreplay.store.passwords import is_common
from callreplay.store.sizes import exact_size, parse_size
from callreplay.store.volumes import Volume

__all__ = ["routes"]

_SHORTEST_PASSWORD: Final = 8
_NEXT: Final = 25  # calls that would go next
_LOOKED_AT: Final = 500  # calls of a number that are counted before they are erased
_REASON: Final = 500


def _text(fields: dict[str, str], name: str, longest: int = 300) -> str:
    return fields.get(name, "").replace("\0", "").strip()[:longest]


def _to(request: Request, place: str, **said: str) -> RedirectResponse:
    query = query_of(said.items())
    return RedirectResponse(f"{base(request)}/{place}{'?' if query else ''}{query}", 303)


# -- storage --------------------------------------------------------------------------------------------------------


def _shown(volume: Volume, calls: int) -> dict[str, Any]:
    free = volume.free_bytes
    free = -1 if free >= UNBOUNDED else free  # there is nothing to tell
    room = volume.quota_bytes or (volume.used_bytes + max(free, 0))
    return {
        "volume": volume,
        "calls": calls,
        "free": free,
        "room": max(room, 1),
        "warning": volume.warning,
        "quota": exact_size(volume.quota_bytes),
        "reserved": exact_size(volume.reserved_bytes),
    }


async def _storage(request: Request, visitor: Visitor, bad: str = "") -> Response:
    service = service_of(request)

    def found(connection: Connection) -> list[dict[str, Any]]:
        return [
            _shown(volume, joining.calls_on(connection, volume)) for volume in volumes.listing(connection)
        ]

    values = {
        "volumes": await in_database(request, found),
        "player_password": await to_thread.run_sync(service.database.setting, PLAYER_PASSWORD),
    }
    return forms(request, "storage.html", visitor, values, "Volumes", bad, state=())


async def storage_page(request: Request) -> Response:
    """Volumes with quota, reserved, used and free, and what can be done to each; the Player Access Password."""
    return await _storage(request, await allowed(request, site=True))


async def set_player_password(request: Request) -> Response:
    """Storage > Advanced > Player Access Password."""
    visitor, fields = await changing(request, site=True)
    password = fields.get("player_password", "")
    if not _SHORTEST_PASSWORD <= len(password) <= MAXIMUM_PASSWORD or not password.isprintable():
        raise Problem(400, "A password has at least 8 characters.", parameter="player_password")
    if await to_thread.run_sync(is_common, password, "player"):
        raise Problem(
            400, "This password is one of those that are guessed first.", parameter="player_password"
        )
    service = service_of(request)

    def work(connection: Connection) -> None:
        service.audit(connection, request, visitor.user, "storage.player_password", "player")

    await in_database(request, work)
    await to_thread.run_sync(service.database.set_setting, PLAYER_PASSWORD, password)
    return _to(request, "Volumes", saved="")


async def add_volume(request: Request) -> Response:
    """Add a folder as a volume."""
    visitor, fields = await changing(request, site=True)
    path = _text(fields, "path", 4096)

    def work(connection: Connection) -> None:
        volumes.add(
            connection,
            path,
            name=_text(fields, "name", 200),
            quota_bytes=parse_size(_text(fields, "quota") or "0"),
            reserved_bytes=parse_size(_text(fields, "reserved") or "0"),
            actor=actor_of(request, visitor),
        )

    if not path.startswith("/"):
        return await _storage(request, visitor, "Path: it begins with /")
    return await _volumes_changed(request, visitor, work)


async def _volumes_changed(request: Request, visitor: Visitor, work: Callable[[Connection], Any]) -> Response:
    try:
        await in_database(request, work)
    except CallReplayError as error:
        return await _storage(request, visitor, refused(error))
    return _to(request, "Volumes", saved="")


async def change_volume(request: Request) -> Response:
    """Give a volume another name, quota or reserve; move it, join it into another, retire it or take it back."""
    visitor, fields = await changing(request, site=True)
    number, action = number_of(request.path_params["id"]), fields.get("action", "")
    actor = actor_of(request, visitor)
    if action == "join":
        return await _join(request, visitor, number, number_of(fields.get("into", "")))

    def work(connection: Connection) -> None:
        volume = volumes.find(connection, number=number)
        if action == "change":
            quota, reserved = (parse_size(_text(fields, name) or "0") for name in ("quota", "reserved"))
            volumes.change(
                connection,
                volume,
                name=_text(fields, "name", 200),
                quota_bytes=quota,
                reserved_bytes=reserved,
                actor=actor,
            )
        elif action == "move":
            volumes.move(connection, volume, _text(fields, "path", 4096), actor=actor)
        elif action == "retire":
            volumes.retire(connection, volume, actor=actor)
        else:
            volumes.change(connection, volume, in_use=True, actor=actor)

    if action not in ("change", "move", "retire", "use"):
        raise Problem(400, "There is no such action.", parameter="action")
    return await _volumes_changed(request, visitor, work)


async def _join(request: Request, visitor: Visitor, source: int, target: int) -> Response:
    actor = actor_of(request, visitor)

    def look(connection: Connection) -> tuple[Volume, Volume, int]:
        found = volumes.find(connection, number=source)
        return found, volumes.find(connection, number=target), joining.calls_on(connection, found)

    def join(database: Database, job: Job) -> None:
        with database.connection() as connection:
            done = joining.join(connection, one, other, actor=actor, step=job.step)
        job.result = {"calls": done.calls, "bytes": done.size_bytes, "failed": len(done.failed)}
        job.done = done.calls + len(done.failed)

    try:
        one, other, calls = await in_database(request, look)
    except CallReplayError as error:
        return await _storage(request, visitor, refused(error))
    begin = partial(
        service_of(request).works.begin,
        "join",
        join,
        what=f"{one.name} → {other.name}",
        actor=actor,
        total=calls,
    )
    await to_thread.run_sync(begin)
    return _to(request, "Jobs")


# -- retention ------------------------------------------------------------------------------------------------------


def _tried(request: Request, visitor: Visitor) -> retention.Policy | None:
    policy, days = request.query_params.get("policy", ""), request.query_params.get("days", "")
    if policy not in retention.POLICIES:
        return None
    is_number = policy == "period" and re.fullmatch(r"\d{1,5}", days, re.ASCII)
    return retention.Policy(visitor.user.tenant, policy, int(days) if is_number else None)


def _next(database: Database, tenant: int, tried: retention.Policy | None) -> list[retention.Removal]:
    return list(islice(retention.retain(database, dry_run=True, tried=tried, only=tenant), _NEXT + 1))


async def _retention(request: Request, visitor: Visitor, bad: str = "") -> Response:
    service, tenant = service_of(request), visitor.user.tenant_id
    number = _text(dict(request.query_params), "number", 256)
    tried = _tried(request, visitor)

    def found(connection: Connection) -> tuple[DictRow, list[DictRow], list[DictRow]]:
        return (
            retention.policy_of(connection, tenant),
            retention.tags(connection, tenant),
            retention.held(connection, tenant),
        )

    policy, tags, held = await in_database(request, found)
    going: list[retention.Removal] = []
    erased: list[retention.Removal] = []
    try:
        going = await to_thread.run_sync(_next, service.database, tenant, tried)
        if number:
            check(_may_erase(visitor))
            removals = retention.erase(service.database, visitor.user.tenant, number, dry_run=True)
            erased = await to_thread.run_sync(lambda: list(islice(removals, _LOOKED_AT + 1)))
    except CallReplayError as error:
        bad = bad or refused(error)
    values = {
        "policy": policy,
        "policies": retention.POLICIES,
        "tags": tags,
        "held": held,
        "tried": tried,
        "going": going[:_NEXT],
        "more": len(going) > _NEXT,
        "number": number,
        "reason": _text(dict(request.query_params), "reason", _REASON),
        "erased": [each for each in erased if not each.error][:_LOOKED_AT],
        "kept": sum(bool(each.error) for each in erased),
        "many": len(erased) > _LOOKED_AT,
        "may_erase": _may_erase(visitor),
    }
    return forms(request, "retention.html", visitor, values, "Retention", bad)


def _may_erase(visitor: Visitor) -> bool:
    """Who is bound to a part of the calls erases no number's: others' calls may be among them."""
    return visitor.may("delete") and not visitor.user.scope


async def retention_page(request: Request) -> Response:
    """The tenant's policy, its tags, what is under legal hold, what would go next; erasing by number."""
    return await _retention(request, await allowed(request))


async def change_retention(request: Request) -> Response:
    """Set the policy or a tag's days, note a backup."""
    visitor, fields = await changing(request)
    actor, tenant = actor_of(request, visitor), visitor.user.tenant
    days = _text(fields, "days")
    many = int(days) if re.fullmatch(r"\d{1,5}", days, re.ASCII) else None

    def policy(connection: Connection) -> None:
        chosen = fields.get("policy", "")
        retention.set_policy(connection, tenant, chosen, many if chosen == "period" else None, actor=actor)

    def tag(connection: Connection) -> None:
        retention.set_tag(connection, tenant, _text(fields, "tag", 100), many, actor=actor)

    def backup(connection: Connection) -> None:
        before = _moment(_text(fields, "before"), zone_of(visitor.user))
        retention.note_backup(connection, tenant, before, actor=actor)

    steps = {"policy": policy, "tag": tag, "backup": backup}
    action = fields.get("action", "")
    if action not in steps:
        raise Problem(400, "There is no such action.", parameter="action")
    try:
        await in_database(request, steps[action])
    except CallReplayError as error:
        return await _retention(request, visitor, refused(error))
    return _to(request, "Retention", saved="")


def _moment(text: str, zone: ZoneInfo) -> datetime:
    """The time of a form's field, on the clock of the tenant's zone."""
    try:
        return datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Problem(400, "This value is not right: %(name)s", parameter="before") from None


async def run_retention(request: Request) -> Response:
    """Let go what is to go, now: a job, over every tenant as the command does."""
    visitor, _ = await changing(request, site=True)
    actor = actor_of(request, visitor)

    def run(database: Database, job: Job) -> None:
        with database.connection() as connection:
            volumes.reconcile(connection)
        for _ in counted(job, retention.retain(database, actor=actor.login)):
            pass

    await to_thread.run_sync(partial(service_of(request).works.begin, "retain", run, actor=actor))
    return _to(request, "Jobs")


async def erase(request: Request) -> Response:
    """Erase a number's calls: a job."""
    visitor, fields = await changing(request)
    check(_may_erase(visitor))
    number, reason = _text(fields, "number", 256), _text(fields, "reason", _REASON)
    actor, tenant = actor_of(request, visitor), visitor.user.tenant

    def run(database: Database, job: Job) -> None:
        removals = retention.erase(database, tenant, number, actor=actor.login, reason=reason)
        for _ in counted(job, removals):
            pass

    if not number:
        return await _retention(request, visitor, "Number: whose calls are to be erased")
    begin = partial(
        service_of(request).works.begin,
        "erase",
        run,
        what=number,
        actor=actor,
        tenant_id=visitor.user.tenant_id,
    )
    await to_thread.run_sync(begin)
    return _to(request, "Jobs")


# -- one call -------------------------------------------------------------------------------------------------------


async def _of_call(
    request: Request,
    visitor: Visitor,
    fields: dict[str, str],
    work: Callable[[Connection, UUID], bool],
) -> Response:
    """Change a call that the visitor may find; back to where the form stood."""
    try:
        call = search.parse_uuid("callId", request.path_params["uuid"] or _text(fields, "call"))
    except search.ParameterError:
        raise Problem(404, "There is no such call.") from None

    def run(connection: Connection) -> bool:
        return search.is_within(connection, visitor.reach, call) is not None and work(connection, call)

    if not await in_database(request, run):
        raise Problem(404, "There is no such call.")
    if fields.get("from") == "Retention":
        return _to(request, "Retention", saved="")
    place = [(name, fields[name]) for name in (*search.PARAMETERS, "after", "before") if fields.get(name)]
    place += [("callDetails", str(call)), ("saved", "")]
    place += [("nomenu", "")] if "nomenu" in fields else []
    if ticket := ticket_of(request):
        place.append(("ticket", ticket))
    return RedirectResponse(f"{base(request)}/?{query_of(place)}", 303)


async def hold(request: Request) -> Response:
    """Put a call under legal hold, or release it."""
    visitor, fields = await changing(request)
    actor, held = actor_of(request, visitor), fields.get("action") != "release"
    reason, tenant = _text(fields, "reason", _REASON), visitor.user.tenant_id
    return await _of_call(
        request,
        visitor,
        fields,
        lambda connection, call: retention.hold(
            connection, call, held, actor=actor, reason=reason, tenant_id=tenant
        ),
    )


async def tag(request: Request) -> Response:
    """Give a call the tags of the form's field, which has them with commas between, and no others."""
    visitor, fields = await posted_by(request)
    check_right(visitor, "edit")
    actor = actor_of(request, visitor)
    wanted = [each for part in _text(fields, "tags", 2000).split(",") if (each := part.strip()[:100])][:50]

    def work(connection: Connection, call: UUID) -> bool:
        row = search.is_within(connection, visitor.reach, call)
        gone = [each for each in (row["tags"] if row else ()) if each not in wanted]
        return retention.tag(connection, call, wanted, gone, actor=actor)

    return await _of_call(request, visitor, fields, work)


def routes(prefix: str) -> list[Route]:
    """The routes of these pages."""
    return [
        Route(prefix + "/Volumes", storage_page, methods=["GET"]),
        Route(prefix + "/Volumes/player", set_player_password, methods=["POST"]),
        Route(prefix + "/Volumes/add", add_volume, methods=["POST"]),
        Route(prefix + "/Volumes/{id}", change_volume, methods=["POST"]),
        Route(prefix + "/Retention", retention_page, methods=["GET"]),
        Route(prefix + "/Retention/change", change_retention, methods=["POST"]),
        Route(prefix + "/Retention/run", run_retention, methods=["POST"]),
        Route(prefix + "/Retention/erase", erase, methods=["POST"]),
        Route(prefix + "/Call/{uuid}/hold", hold, methods=["POST"]),
        Route(prefix + "/Call/{uuid}/tags", tag, methods=["POST"]),
    ]
