"""What commands find out of stored calls and keep with them: figures of speech, words."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

from callreplay.capture import Capture, open_capture
from callreplay.cli.printable import printable
from callreplay.errors import ArgumentError

if TYPE_CHECKING:
    from callreplay.batch.jobs import Job
    from callreplay.store.database import Connection, Database
    from callreplay.store.search import Reach

__all__ = ["keep_each"]

T = TypeVar("T")


def keep_each(
    opened: Database,
    jobs: Sequence[Job],
    tenant: str,
    user: str,
    find: Callable[[Capture], T],
    keep: Callable[[Connection, Reach | int, UUID, T], object],
) -> int:
    """Find something out of each stored call, and keep it as it is done; how many failed, each of which is told.

    OSError and ValueError of ``find`` and ``keep`` cost that call alone.
    """
    from callreplay.store import accounts, people

    tenant_id, _ = accounts.open_tenant(opened, tenant)
    reach = people.reach_of(opened, tenant_id, user)
    failed = 0
    for job in jobs:
        uuid = UUID(job.name.rpartition("/")[2])
        try:
            if job.error:
                raise ArgumentError(job.error)
            with open_capture(*job.stored) as capture:
                found = find(capture)
            with opened.connection() as connection:
                keep(connection, reach, uuid, found)
        except (OSError, ValueError) as error:
            failed += 1
            print(printable(f"callreplay: {uuid}: {error}"), file=sys.stderr)
    return failed
