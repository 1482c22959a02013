"""What a list of calls finds, to take along: as CSV or JSON at once, or the audio as a zip, made by a job."""

from __future__ import annotations

import csv
import io
import json
import os
import queue
import time
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from callreplay.errors import CallReplayError
from callreplay.service import engine
from callreplay.service.auth import Visitor
from callreplay.service.context import Problem, Service, base, service_of, zone_of
from callreplay.service.desk import actor_of, in_database, number_of
from callreplay.service.files import FileResponse, disposition
from callreplay.service.listing import fields_of
from callreplay.service.rendering import check_right, page, posted_by, visitor_of
from callreplay.service.transcoder import download_name
from callreplay.store import audit, jobs, records, search
from callreplay.store.audit import Actor
from callreplay.store.database import Database
from callreplay.store.search import CallQuery, ParameterError

__all__ = ["routes"]

_PAGE: Final = 500
_MOST_CALLS: Final = 10_000  # of one zip
_KEPT_SECONDS: Final = 86_400  # a zip is kept for a day
_FORMS: Final = {"wav": {"channels": "stereo"}, "spx": {}}
_NESTED: Final = ("legs", "quality")
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_INDEX: Final = (
    "callId", "file", "beginTime", "callerNumber", "callerName", "calledNumber", "calledName", "length", "error",
)  # fmt: skip


def _query(visitor: Visitor, values: dict[str, str]) -> CallQuery:
    try:
        return CallQuery.parse(fields_of(values), zone_of(visitor.user))
    except ParameterError as error:
        raise Problem(400, "A value is not right", detail=str(error), parameter=error.parameter) from None


# -- a list, at once ------------------------------------------------------------------------------------------------


async def listed(request: Request) -> Response:
    """``GET /CallRecorder/Export?form=csv``: every call that the search parameters find, the earliest first."""
    visitor = await visitor_of(request)
    check_right(visitor, "search")
    values = dict(request.query_params)
    form = values.get("form", "")
    if form not in ("csv", "json"):
        raise Problem(400, "A value is not right", detail="csv or json", parameter="form")
    service, query = service_of(request), _query(visitor, values)
    asked = fields_of(values)
    await in_database(
        request,
        lambda connection: service.audit(
            connection, request, visitor.user, "call.list", "", format=form, asked=asked
        ),
    )
    found = _all(service.database, visitor, query)
    headers = {
        "cache-control": "no-store",
        "content-disposition": disposition(f"calls.{form}", attachment=True),
    }
    if form == "csv":
        return StreamingResponse(_csv(found), media_type="text/csv; charset=utf-8", headers=headers)
    return StreamingResponse(_json(found), media_type="application/json", headers=headers)


def _all(database: Database, visitor: Visitor, query: CallQuery) -> Iterator[list[dict[str, Any]]]:
    """The calls as JSON has them, a page of them at a time."""
    zone, after = zone_of(visitor.user), None
    while True:
        with database.connection() as connection:
            rows = search.find(connection, visitor.reach, query, limit=_PAGE, after=after)
            found = records.complete(connection, rows)
        yield [records.as_json(call, zone) for call in found]
        if len(rows) < _PAGE:
            return
        after = rows[-1]


def _cell(value: Any) -> Any:
    """A value as a spreadsheet has it: a text that it would take for a formula gets an apostrophe before it."""
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    return "'" + value if isinstance(value, str) and value.startswith(_FORMULA) else value


def _csv(pages: Iterator[list[dict[str, Any]]]) -> Iterator[str]:
    head: list[str] = []
    for found in pages:
        out = io.StringIO()
        writer = csv.writer(out)
        if found and not head:
            head = [name for name in found[0] if name not in _NESTED]
            writer.writerow(head)
        writer.writerows([_cell(call[name]) for name in head] for call in found)
        yield out.getvalue()


def _json(pages: Iterator[list[dict[str, Any]]]) -> Iterator[str]:
    before = "["
    for found in pages:
        if found:
            yield before + json.dumps(found, ensure_ascii=False, separators=(",", ":"))[1:-1]
            before = ","
    yield "]" if before == "," else "[]"


# -- the audio, by a job --------------------------------------------------------------------------------------------


async def begin(request: Request) -> Response:
    """``POST /CallRecorder/Export/audio``: begin the job that makes a zip of what is found; leads to its page."""
    visitor, fields = await posted_by(request)
    check_right(visitor, "download")
    form = fields.get("form", "")
    if form not in _FORMS:
        raise Problem(400, "A value is not right", detail=f"one of {', '.join(_FORMS)}", parameter="form")
    query, asked = _query(visitor, fields), fields_of(fields)
    service, actor = service_of(request), actor_of(request, visitor)
    numbers: queue.Queue[int] = queue.Queue()

    def work(database: Database, job: jobs.Job) -> None:
        numbers.put(job.id)
        _make(database, job, _cleared(_folder(service)), visitor, actor, query, form)

    def run() -> int:
        service.works.begin(
            "export",
            work,
            what=" ".join([form, *(f"{name}={value}" for name, value in asked.items())]),
            actor=actor,
            tenant_id=visitor.user.tenant_id,
        )
        return numbers.get(timeout=10)

    number = await to_thread.run_sync(run)
    return RedirectResponse(f"{base(request)}/Export/{number}", 303)


def _zip(folder: Path, job: int) -> Path:
    return folder / f"{job}.zip"


def _folder(service: Service) -> Path:
    return service.settings.data_path / "exports"


def _cleared(folder: Path) -> Path:
    """The folder, made where it is missing; zips of yesterday go."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.stat().st_mtime < time.time() - _KEPT_SECONDS:
            path.unlink(missing_ok=True)
    return folder


def _make(
    database: Database,
    job: jobs.Job,
    folder: Path,
    visitor: Visitor,
    actor: Actor,
    query: CallQuery,
    form: str,
) -> None:
    part, after = folder / f"{job.id}.part", None
    wanted: list[UUID] = []
    while len(wanted) < _MOST_CALLS:
        with database.connection() as connection:
            rows = search.find(connection, visitor.reach, query, limit=_PAGE, after=after)
        wanted += [row["uuid"] for row in rows if row["length_ms"]]
        if len(rows) < _PAGE or not job.step(0):
            break
        after = rows[-1]
    del wanted[_MOST_CALLS:]
    job.total, job.result = len(wanted), {"calls": 0, "failed": 0}
    index: list[dict[str, Any]] = []
    try:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
            for uuid in wanted:
                line = _add(database, archive, visitor, actor, uuid, form, job.id)
                if line is not None:
                    index.append(line)
                    job.result["failed" if line["error"] else "calls"] += 1
                if not job.step():
                    return
            archive.writestr("index.csv", _index(index))
        job.result["bytes"] = part.stat().st_size
        part.replace(_zip(folder, job.id))
    finally:
        part.unlink(missing_ok=True)


def _add(
    database: Database,
    archive: zipfile.ZipFile,
    visitor: Visitor,
    actor: Actor,
    uuid: UUID,
    form: str,
    job: int,
) -> dict[str, Any] | None:
    """Add a call; the line of the index that tells of it, None where it is gone."""
    with database.connection() as connection:
        call = records.load(connection, visitor.reach, uuid)
        if call is None:
            return None
        detail = {"format": form, "job": job}
        audit.note(
            connection, actor, "call.export", str(uuid), tenant_id=visitor.user.tenant_id, detail=detail
        )
    told = records.as_json(call, zone_of(visitor.user))
    name, error = download_name(call, form), ""
    if name in archive.NameToInfo:
        name = f"{name.rpartition('.')[0]}_{str(uuid)[:8]}{engine.SUFFIXES[form]}"
    try:
        rendering = engine.render(call.recordings(), form, dict(_FORMS[form]), str(uuid))
        data = iter(rendering.data)
        first = next(data, b"")
        with archive.open(zipfile.ZipInfo(name, time.gmtime()[:6]), "w", force_zip64=True) as file:
            file.write(first)
            for block in data:
                file.write(block)
    except (CallReplayError, OSError) as failure:
        error = type(failure).__name__
    return {**told, "file": name, "error": error}


def _index(lines: list[dict[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(_INDEX)
    writer.writerows([_cell(line[name]) for name in _INDEX] for line in lines)
    return out.getvalue()


async def _job(request: Request, visitor: Visitor) -> dict[str, Any]:
    """The visitor's own job of the address. Raises Problem (404)."""
    number = number_of(request.path_params["id"])
    find = partial(
        jobs.own, number=number, kind="export", tenant_id=visitor.user.tenant_id, actor=visitor.user.login
    )
    found: dict[str, Any] | None = await in_database(request, find)
    if found is None:
        raise Problem(404, "There is nothing of that number.")
    return found


async def shown(request: Request) -> Response:
    """How far a zip is, and where to get it."""
    visitor = await visitor_of(request)
    job = await _job(request, visitor)
    there = _zip(_folder(service_of(request)), job["id"]).is_file()
    return page(request, "export.html", visitor, {"job": job, "there": there, "nomenu": False})


async def cancel(request: Request) -> Response:
    """Ask a job to end."""
    visitor, _ = await posted_by(request)
    job = await _job(request, visitor)
    stop = partial(
        jobs.ask_to_stop,
        number=job["id"],
        tenant_id=visitor.user.tenant_id,
        actor=actor_of(request, visitor),
    )
    await in_database(request, stop)
    return RedirectResponse(f"{base(request)}/Export/{job['id']}", 303)


async def fetched(request: Request) -> Response:
    """The zip."""
    visitor = await visitor_of(request)
    check_right(visitor, "download")
    job = await _job(request, visitor)
    path = _zip(_folder(service_of(request)), job["id"])
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise Problem(410, "This temporary address has expired.") from None
    headers = {
        "content-disposition": disposition(f"calls-{job['id']}.zip", attachment=True),
        "cache-control": "no-store",
    }
    etag = f'"{job["id"]}-{os.fstat(file).st_mtime_ns}"'
    return FileResponse(
        file, request.method, request.headers, media_type="application/zip", etag=etag, headers=headers
    )


def routes(prefix: str) -> list[Route]:
    """The routes of exports."""
    return [
        Route(prefix + "/Export", listed, methods=["GET"]),
        Route(prefix + "/Export/audio", begin, methods=["POST"]),
        Route(prefix + "/Export/{id}", shown, methods=["GET"]),
        Route(prefix + "/Export/{id}/cancel", cancel, methods=["POST"]),
        Route(prefix + "/Export/{id}/calls.zip", fetched, methods=["GET", "HEAD"]),
    ]
