"""Jobs of stored calls: what a query on the database finds, with the files of each call as its captures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

from callreplay.batch.jobs import Job
from callreplay.errors import ArgumentError
from callreplay.store import accounts, records, search
from callreplay.store.database import Database

__all__ = ["find_stored_jobs"]

_PAGE: Final = 1000


def find_stored_jobs(database: Database, tenant: str, query: str) -> list[Job]:
    """The calls of a tenant that meet ``callerNumber=…&beginTime=…``, the Transcoder's parameters; earliest first.

    An output is named by the day and the uuid of its call, ``2026.03.01/UUID``. Calls without media give no job.
    ArgumentError names a parameter that is malformed or unknown: a mistyped one would ask for everything.
    """
    tenant_id, zone_name = accounts.open_tenant(database, tenant)
    zone = ZoneInfo(zone_name)
    pairs = parse_qsl(query.lstrip("?"), keep_blank_values=True)
    unknown = [name for name, _ in pairs if name not in search.PARAMETERS]
    if unknown or (query and not pairs):
        raise ArgumentError(f"query: there is no parameter {(unknown or [query])[0]!r}")
    wanted = search.CallQuery.parse(pairs, zone)
    return [job for call in _calls(database, tenant_id, wanted) if (job := _job(call, zone)).captures]


def _calls(database: Database, tenant_id: int, wanted: search.CallQuery) -> Iterator[records.StoredCall]:
    after = None
    while True:
        with database.connection() as connection:
            rows = search.find(connection, tenant_id, wanted, limit=_PAGE, after=after)
            yield from records.complete(connection, rows)
        if len(rows) < _PAGE:
            return
        after = rows[-1]["uuid"]


def _job(call: records.StoredCall, zone: ZoneInfo) -> Job:
    files = tuple(call.recordings())
    size = modified_ns = 0
    error = ""
    for file in files:
        try:
            status = file.status()
        except OSError as failure:
            error = error or str(failure)
        else:
            size, modified_ns = size + status.st_size, max(modified_ns, status.st_mtime_ns)
    name = f"{call.row['started_at'].astimezone(zone):%Y.%m.%d}/{call.uuid}"
    captures = tuple(file.name for file in files)
    return Job(captures, name, size=size, modified_ns=modified_ns, error=error, stored=files)
