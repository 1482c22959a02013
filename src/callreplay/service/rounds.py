"""What a service looks after by itself once a minute, whether anybody asks it for something or not."""

from __future__ import annotations

import logging
import threading
from typing import Final

import psycopg

from callreplay.store import progress
from callreplay.store.database import Database

__all__ = ["Rounds"]

_log = logging.getLogger("callreplay.service")
_SECONDS: Final = 60.0
_END_SECONDS: Final = 5.0


class Rounds:
    """Ends the calls of recorders that are lost, beginning with ``begin``. Any number of services may do it at once."""

    def __init__(self, database: Database, seconds: float = _SECONDS) -> None:
        self._database, self._seconds = database, seconds
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Make the first round now, and others from then on, in a thread."""
        self._over.clear()
        self._thread = threading.Thread(target=self._run, name="rounds", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Make no more rounds."""
        self._over.set()
        if self._thread is not None:
            self._thread.join(_END_SECONDS)
            self._thread = None

    def _run(self) -> None:
        while True:
            self._round()
            if self._over.wait(self._seconds):
                return

    def _round(self) -> None:
        try:
            with self._database.connection() as connection:
                ended = progress.end_lost(connection)
        except psycopg.Error as error:  # the next round comes
            _log.warning("calls of lost recorders: %s", " ".join(str(error).split()))
        else:
            if ended:
                _log.warning("%d calls of recorders that are lost were ended as interrupted", ended)
