"""Statements of many requests on one connection, from an event loop: no thread, and one way to the server for all.

What is asked while the server is at work waits, and then goes as one batch by libpq's pipeline mode: one transaction,
one commit. Nobody gets an answer before that commit. Where a statement of a batch fails, nothing of the batch has
happened, and each of it is asked again alone.

It is for statements that are short and the same for many. Whoever gets `Unavailable` asks by a connection of the pool.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
from psycopg import pq
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result

from callreplay.store.database import Limits

__all__ = ["Pipeline", "Unavailable"]

_log = logging.getLogger("callreplay.database")
_MOST_OF_A_BATCH: Final = 64
_MOST_PREPARED: Final = 200  # texts differ by the form of a scope
_RETRY_SECONDS: Final = 1.0


class Unavailable(Exception):  # noqa: N818  # an answer
    """There is no connection yet, or it broke off."""


@dataclass(slots=True, eq=False)
class _Asked:
    """A statement with its values, and who waits for its rows."""

    text: bytes
    values: Sequence[bytes | None]
    future: asyncio.Future[list[dict[str, Any]]]
    result: pq.abc.PGresult | None = None

    def end(self, rows: list[dict[str, Any]] | BaseException) -> None:
        if self.future.done():
            return  # whoever asked has gone
        if isinstance(rows, BaseException):
            self.future.set_exception(rows)
        else:
            self.future.set_result(rows)


@dataclass(slots=True)
class _Batch:
    """What is under way: each command's asker, or the text that it prepares, in the order of their results."""

    asked: list[_Asked]
    commands: deque[_Asked | bytes] = field(default_factory=deque)
    error: psycopg.Error | None = None


class Pipeline:
    """One connection to ``url`` of one event loop, made when it is first asked for, and again when it broke off."""

    def __init__(self, url: str, limits: Limits) -> None:
        self._url, self._limits = url, limits
        self._loop = asyncio.get_running_loop()
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._tried_at = -_RETRY_SECONDS
        self._prepared: dict[bytes, bytes] = {}
        self._waiting: deque[_Asked] = deque()
        self._alone: deque[_Asked] = deque()
        self._batch: _Batch | None = None
        self._is_due = self._is_closed = self._writes = False

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop whose it is."""
        return self._loop

    async def ask(self, text: bytes, values: Sequence[bytes | None]) -> list[dict[str, Any]]:
        """The rows of a statement, as dictionaries, once its transaction is committed.

        ``text`` has its parameters as ``$1``; ``values`` are in PostgreSQL's text format.

        Raises:
            Unavailable: there is no connection (yet), or it broke off: it may have happened or not.
            psycopg.Error: the statement failed, and nothing of it has happened.

        """
        if self._connection is None:
            self._connect_soon()
            raise Unavailable
        asked = _Asked(text, values, self._loop.create_future())
        self._waiting.append(asked)
        self._send_soon()
        return await asked.future

    def close(self) -> None:
        """Give the connection back; in the thread of its event loop, or when that runs no more."""
        self._is_closed = True
        if self._connecting is not None:
            self._connecting.cancel()
        self._drop()

    # -- the connection -----------------------------------------------------------------------------------------------

    def _connect_soon(self) -> None:
        now = time.monotonic()
        if self._is_closed or self._connecting is not None or now - self._tried_at < _RETRY_SECONDS:
            return
        self._tried_at = now
        self._connecting = self._loop.create_task(self._connect())

    async def _connect(self) -> None:
        try:
            made = await psycopg.AsyncConnection.connect(
                self._url,
                options=self._limits.options(),
                application_name="callreplay",
                autocommit=True,
                connect_timeout=10,
            )
            try:
                made.pgconn.nonblocking = 1
                made.pgconn.enter_pipeline_mode()
            except BaseException:
                await made.close()
                raise
        except psycopg.Error as error:
            _log.debug("no connection for short statements: %s", error)
            return
        finally:
            self._connecting = None
        self._connection, self._transformer = made, Transformer(made)
        self._socket = made.pgconn.socket  # a connection that broke off tells it no more
        self._loop.add_reader(self._socket, self._read)

    def _drop(self) -> None:
        """Forget the connection; whoever waits is told."""
        connection, self._connection = self._connection, None
        if connection is not None:
            if not self._loop.is_closed():
                # One that broke off is closed by libpq; of such a socket no loop can take one of two watches back.
                for forget in (self._loop.remove_reader, self._loop.remove_writer):
                    with contextlib.suppress(OSError):
                        forget(self._socket)
            connection.pgconn.finish()
        self._prepared.clear()
        self._writes = False
        batch, self._batch = self._batch, None
        left = [*(batch.asked if batch else ()), *self._alone, *self._waiting]
        self._alone.clear()
        self._waiting.clear()
        for asked in left:
            if not self._loop.is_closed():
                asked.end(Unavailable())

    # -- there --------------------------------------------------------------------------------------------------------

    def _send_soon(self) -> None:
        # Not at once: what else this turn of the loop asks goes along.
        if self._batch is None and not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._send)

    def _send(self) -> None:
        self._is_due = False
        if self._connection is None or self._batch is not None:
            return
        if self._alone:
            taken = [self._alone.popleft()]
        else:
            taken = [self._waiting.popleft() for _ in range(min(len(self._waiting), _MOST_OF_A_BATCH))]
        if not taken:
            return
        self._batch = _Batch(taken)
        try:
            self._put(self._batch, self._connection.pgconn)
            self._flush()
        except psycopg.Error:
            self._drop()

    def _put(self, batch: _Batch, server: pq.abc.PGconn) -> None:
        preparing: dict[bytes, bytes] = {}
        for asked in batch.asked:
            name = self._prepared.get(asked.text) or preparing.get(asked.text)
            if name is None and len(self._prepared) + len(preparing) < _MOST_PREPARED:
                name = preparing[asked.text] = b"callreplay_%d" % (len(self._prepared) + len(preparing))
                server.send_prepare(name, asked.text)
                batch.commands.append(asked.text)
            if name is None:
                server.send_query_params(asked.text, asked.values)
            else:
                server.send_query_prepared(name, asked.values)
            batch.commands.append(asked)
        self._preparing = preparing
        server.pipeline_sync()

    def _flush(self) -> None:
        assert self._connection is not None
        server = self._connection.pgconn
        left = server.flush()
        if server.status != pq.ConnStatus.OK:
            # What writes reads as well; where that finds the end, libpq closes the socket, and no event will tell.
            raise psycopg.OperationalError("the connection broke off while it was written to")
        if left:
            if not self._writes:
                self._writes = True
                self._loop.add_writer(self._socket, self._write)
        elif self._writes:
            self._writes = False
            self._loop.remove_writer(self._socket)

    def _write(self) -> None:
        try:
            self._flush()
        except psycopg.Error:
            self._drop()
        else:
            self._read()  # what came while it was written: the socket has it no more, so no event would tell of it

    # -- and back -----------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        assert self._connection is not None
        server = self._connection.pgconn
        try:
            server.consume_input()
            ends = 0  # one follows each command; two show that there is nothing more to come
            while self._batch is not None and ends < 2 and not server.is_busy():
                result = server.get_result()
                ends = 0 if result is not None else ends + 1
                if result is not None:
                    self._take(self._batch, result)
            if server.status != pq.ConnStatus.OK or ends > 1:
                self._drop()
        except psycopg.Error as error:
            _log.debug("the connection for short statements broke off: %s", error)
            self._drop()

    def _take(self, batch: _Batch, result: pq.abc.PGresult) -> None:
        if result.status == pq.ExecStatus.PIPELINE_SYNC:
            self._end(batch)
            return
        command = batch.commands.popleft() if batch.commands else None
        if result.status in (pq.ExecStatus.FATAL_ERROR, pq.ExecStatus.PIPELINE_ABORTED):
            if batch.error is None:
                batch.error = error_from_result(result)
        elif isinstance(command, bytes):
            self._prepared[command] = self._preparing[command]
        elif command is not None:
            command.result = result

    def _end(self, batch: _Batch) -> None:
        """The batch is committed, or has failed: then each of it is asked alone, which tells whose fault it was."""
        self._batch = None
        if batch.error is None:
            for asked in batch.asked:
                asked.end(self._rows(asked))
        elif len(batch.asked) == 1:
            batch.asked[0].end(batch.error)
        else:
            self._alone.extend(batch.asked)
        if self._alone or self._waiting:
            self._send_soon()

    def _rows(self, asked: _Asked) -> list[dict[str, Any]] | BaseException:
        result = asked.result
        if result is None:
            return Unavailable()
        names = [(result.fname(column) or b"").decode() for column in range(result.nfields)]
        try:
            self._transformer.set_pgresult(result)
            return self._transformer.load_rows(
                0, result.ntuples, lambda values: dict(zip(names, values, strict=True))
            )
        except psycopg.Error as error:
            return error
