"""Imports and batches that the pages start: what ``callreplay import`` and ``callreplay batch --query`` do, as jobs.

For administrators of the site's own tenant, and only within the folders that the settings name: what a browser asks for
reads no other file of this machine, and writes nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from callreplay.batch import BatchSettings, Row, run_batch
from callreplay.batch.stored import find_stored_jobs
from callreplay.errors import ArgumentError, CallReplayError
from callreplay.importing import importer, sources
from callreplay.importing.tally import Tally, run
from callreplay.outputs.options import Options
from callreplay.service.context import Problem, base, service_of
from callreplay.service.desk import actor_of, changing, in_database, refused
from callreplay.service.listing import fields_of
from callreplay.store import accounts, audit, jobs
from callreplay.store.audit import Actor
from callreplay.store.database import Connection, Database

__all__ = ["FORMS", "routes"]

FORMS: Final[dict[str, dict[str, Any]]] = {"wav": {"channels": "stereo"}, "spx": {}}
_PROCESSES: Final = 2  # an import's: a damaged capture ends one of them, never the service


# -- imports --------------------------------------------------------------------------------------------------------


def _beneath(folders: Sequence[str], folder: str, path: str) -> Path:
    """``path`` in ``folder``, one of those that are allowed. Raises ArgumentError for any other place."""
    if folder not in folders or "\0" in path:
        raise ArgumentError("folder: none of those that import_paths names")
    root = Path(folder).resolve()
    found = (root / path.strip().lstrip("/")).resolve()
    if found != root and root not in found.parents:
        raise ArgumentError(f"{path}: outside of the folder")
    if not found.exists():
        raise ArgumentError(f"{path or folder}: no such file or folder")
    return found


async def begin_import(request: Request) -> Response:
    """Import the captures of a folder, or one of them, for a tenant: a job."""
    from callreplay.service.running import jobs_page

    visitor, fields = await changing(request, site=True)
    settings = service_of(request).settings
    folders = settings.import_paths
    folder, text = fields.get("folder", ""), fields.get("path", "")
    tenant, actor = fields.get("tenant", "") or visitor.user.tenant, actor_of(request, visitor)

    def look() -> tuple[int, str, list[tuple[Path, bool]]]:
        place = _beneath(folders, folder, text)
        root = Path(folder).resolve()
        # A link in the folder may lead out of it.
        chosen = [each for each in sources.captures([str(place)], []) if root in each[0].resolve().parents]
        if not chosen:
            raise ArgumentError(f"{text or folder}: no file was found")
        return *accounts.open_tenant(service_of(request).database, tenant), chosen

    try:
        tenant_id, zone, chosen = await to_thread.run_sync(look)
    except (CallReplayError, OSError, ValueError) as error:
        return await jobs_page(request, refused(ArgumentError(str(error))))

    def work(database: Database, job: jobs.Job) -> None:
        _note(database, actor, tenant_id, job, "import", folder=folder, path=text)
        wanted = importer.Job(database.url, tenant_id, zone, speech=settings.speech)
        for _ in run(database, wanted, chosen, _PROCESSES, Tally(), job):
            pass

    what = str(Path(folder, text.strip().lstrip("/")))
    begin = partial(service_of(request).works.begin, "import", work, what=what, actor=actor)
    await to_thread.run_sync(partial(begin, tenant_id=tenant_id, total=len(chosen)))
    return RedirectResponse(f"{base(request)}/Jobs", 303)


def _note(database: Database, actor: Actor, tenant_id: int, job: jobs.Job, kind: str, **said: Any) -> None:
    with database.connection() as connection:
        detail = {"kind": kind, **said}
        audit.note(connection, actor, "job.start", str(job.id), tenant_id=tenant_id, detail=detail)


# -- batches --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Told:
    """Tells the job what comes of a batch, and the audit log of every call that was written."""

    database: Database
    job: jobs.Job
    actor: Actor
    tenant_id: int
    form: str

    def start(self, todo: Sequence[Any]) -> None:
        self.job.total = len(todo)
        self.job.result = {"calls": 0, "failed": 0}

    def row(self, row: Row) -> None:
        self.job.result["failed" if row.error else "calls"] += 1
        if not row.error:
            uuid = Path(row.output).stem
            with self.database.connection() as connection:
                self._audit(connection, str(UUID(uuid)))
        self.job.step()

    def _audit(self, connection: Connection, uuid: str) -> None:
        detail = {"format": self.form, "job": self.job.id}
        audit.note(connection, self.actor, "call.export", uuid, tenant_id=self.tenant_id, detail=detail)


async def begin_batch(request: Request) -> Response:
    """Render what the list finds into a folder of this machine: a job."""
    visitor, fields = await changing(request, site=True)
    settings, form = service_of(request).settings, fields.get("form", "")
    if form not in FORMS:
        raise Problem(400, "A value is not right", detail=f"one of {', '.join(FORMS)}", parameter="form")
    if not settings.batch_path:
        raise Problem(403, "You may not do that.", parameter="batch_path")
    actor, user, asked = actor_of(request, visitor), visitor.user, fields_of(fields)
    query = urlencode(list(asked.items()))
    folder = Path(settings.batch_path).expanduser()

    def work(database: Database, job: jobs.Job) -> None:
        place = folder / f"{job.id}"
        _note(database, actor, user.tenant_id, job, "batch", format=form, asked=asked, folder=str(place))
        found = find_stored_jobs(database, user.tenant, query, user.login)
        told = _Told(database, job, actor, user.tenant_id, form)
        told.start(found)
        if not found:
            return
        chosen = BatchSettings(str(place), form, Options(**FORMS[form]))
        summary = run_batch(found, chosen, on_start=told.start, on_row=told.row, stop=job.asked.is_set)
        job.is_cancelled = summary.interrupted

    await in_database(request, lambda _: None)  # a database that is away is told of here
    what = f"{query or 'all calls'} → {folder} ({form})"
    begin = partial(service_of(request).works.begin, "batch", work, what=what, actor=actor)
    await to_thread.run_sync(partial(begin, tenant_id=user.tenant_id))
    return RedirectResponse(f"{base(request)}/Jobs", 303)


def routes(prefix: str) -> list[Route]:
    """The routes of what is started."""
    return [
        Route(prefix + "/Jobs/import", begin_import, methods=["POST"]),
        Route(prefix + "/Jobs/batch", begin_batch, methods=["POST"]),
    ]
