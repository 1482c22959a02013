"""Jobs that pages begin: a thread each, which ends with the service."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

from callreplay.errors import CallReplayError
from callreplay.store import jobs
from callreplay.store.audit import Actor
from callreplay.store.database import Database

__all__ = ["Works"]

_log = logging.getLogger("callreplay.service")
_BEGIN_SECONDS: Final = 5.0
_END_SECONDS: Final = 10.0


class Works:
    """The jobs of one service. Each has a database of its own, whose statements may take as long as work does."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._guard = threading.Lock()
        self._running: dict[threading.Thread, threading.Event | None] = {}

    def begin(
        self,
        kind: str,
        do: Callable[[Database, jobs.Job], None],
        *,
        what: str = "",
        actor: Actor,
        tenant_id: int | None = None,
        total: int | None = None,
    ) -> None:
        """Run ``do(database, job)`` in a thread; returns when the job can be seen."""
        begun = threading.Event()

        def run() -> None:
            try:
                with (
                    Database(self._url, size=3) as database,
                    jobs.running(
                        database, kind, what=what, actor=actor, tenant_id=tenant_id, total=total
                    ) as job,
                ):
                    with self._guard:
                        self._running[threading.current_thread()] = job.asked
                    begun.set()
                    do(database, job)
            except (CallReplayError, OSError) as error:
                _log.warning("job %s: %s", kind, error)
            except Exception:
                _log.exception("job %s failed", kind)
            finally:
                begun.set()
                with self._guard:
                    self._running.pop(threading.current_thread(), None)

        thread = threading.Thread(target=run, name=f"job {kind}", daemon=True)
        with self._guard:
            self._running[thread] = None
        thread.start()
        begun.wait(_BEGIN_SECONDS)

    def close(self) -> None:
        """Ask every job to end, and wait for them a while."""
        with self._guard:
            running = dict(self._running)
        for asked in running.values():
            if asked is not None:
                asked.set()
        for thread in running:
            thread.join(_END_SECONDS)
