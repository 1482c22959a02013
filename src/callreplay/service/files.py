"""Answering with files: byte ranges, entity tags, growing files."""

from __future__ import annotations

import asyncio
import os
import re
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from io import FileIO
from typing import Final
from urllib.parse import quote

from anyio import to_thread
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from callreplay.service.cache import Abandoned, Entry

__all__ = ["FileResponse", "GrowingResponse", "disposition", "parse_range", "watched"]

_BLOCK: Final = 1 << 18
_SOON_SECONDS: Final = 0.05
_RANGE: Final = re.compile(r"bytes=\s*(\d{0,18})-(\d{0,18})\s*", re.ASCII | re.IGNORECASE)


def disposition(name: str, *, attachment: bool = False) -> str:
    """A Content-Disposition for a file of that name (RFC 6266)."""
    plain = re.sub(r"[^A-Za-z0-9 ._+@-]", "_", name)
    extended = "" if plain == name else f"; filename*=UTF-8''{quote(name, safe='')}"
    return f'{"attachment" if attachment else "inline"}; filename="{plain}"{extended}'


def parse_range(header: str, size: int) -> tuple[int, int] | None:
    """First and last octet (RFC 9110 14.1.2) of a single range; None for what is to be ignored.

    Several ranges at once are: a server may answer with the whole (14.2), and no player asks for them.

    Raises:
        ValueError: the range lies outside the file.

    """
    match = _RANGE.fullmatch(header)
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        length = int(match[2])
        if length == 0 or size == 0:
            raise ValueError("outside")
        return max(0, size - length), size - 1
    start = int(match[1])
    stop = int(match[2]) if match[2] else size - 1
    if match[2] and stop < start:
        return None
    if start >= size:
        raise ValueError("outside")
    return start, min(stop, size - 1)


class FileResponse(Response):
    """A whole file, by descriptor, which this response closes: ranges, If-Range, If-None-Match, HEAD."""

    def __init__(
        self,
        file: FileIO | int,
        method: str,
        request_headers: Mapping[str, str],
        *,
        media_type: str,
        etag: str,
        headers: dict[str, str],
    ) -> None:
        # An object, so that it is closed even where nobody sends this response.
        self.file = FileIO(file, closefd=True) if isinstance(file, int) else file
        self.descriptor = self.file.fileno()
        size = os.fstat(self.descriptor).st_size
        status, start, stop = 200, 0, size - 1
        headers = {"accept-ranges": "bytes", "etag": etag, "content-type": media_type, **headers}
        if _matches(request_headers.get("if-none-match", ""), etag):
            status, stop = 304, -1
        elif (
            method == "GET"  # RFC 9110 14.2: with any other method a range is to be ignored
            and "range" in request_headers
            and request_headers.get("if-range", etag) == etag
        ):
            try:
                found = parse_range(request_headers["range"], size)
            except ValueError:
                status, stop = 416, -1
                headers["content-range"] = f"bytes */{size}"
            else:
                if found is not None:
                    status, (start, stop) = 206, found
                    headers["content-range"] = f"bytes {start}-{stop}/{size}"
        self.start, self.length = start, stop - start + 1
        if status != 304:
            headers["content-length"] = str(self.length)
        self.status_code = status
        self.background = None
        self.init_headers(headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await send(
                {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
            )
            position, left = self.start, self.length if scope["method"] != "HEAD" else 0
            while left > 0:
                want = min(left, _BLOCK)
                # The page cache answers a small read faster than a thread could be asked to.
                if want <= 1 << 16:
                    data = os.pread(self.descriptor, want, position)
                else:
                    data = await to_thread.run_sync(os.pread, self.descriptor, want, position)
                if not data:
                    break
                position, left = position + len(data), left - len(data)
                await send({"type": "http.response.body", "body": data, "more_body": left > 0})
            if self.length <= 0 or scope["method"] == "HEAD":
                await send({"type": "http.response.body", "body": b""})
        finally:
            self.file.close()


def _matches(header: str, etag: str) -> bool:
    return bool(header) and any(part.strip().removeprefix("W/") in (etag, "*") for part in header.split(","))


@asynccontextmanager
async def watched(receive: Receive, gone: threading.Event) -> AsyncIterator[None]:
    """Set ``gone`` when the client leaves while the block runs; a request without a body only."""

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        gone.set()

    watching: asyncio.Task[None] | None = None

    def begin() -> None:
        nonlocal watching
        watching = loop.create_task(watch())

    # Most blocks are done before anybody could have left: a timer costs less than a task.
    loop = asyncio.get_running_loop()
    timer = loop.call_later(_SOON_SECONDS, begin)
    try:
        yield
    finally:
        timer.cancel()
        if watching is not None:
            watching.cancel()


class GrowingResponse(Response):
    """The bytes of an entry that is still being made, from the start, as they come."""

    def __init__(
        self,
        entry: Entry,
        *,
        media_type: str,
        headers: dict[str, str],
        run: Callable[..., Awaitable[bytes | None]],
    ) -> None:
        self.entry, self.run = entry, run
        self.status_code = 200
        self.background = None
        self.init_headers({"content-type": media_type, **headers})

    def init_headers(self, headers: Mapping[str, str] | None = None) -> None:
        """No length: it is not known yet."""
        self.raw_headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in (headers or {}).items()
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it. When the work fails the connection is broken off: a half file must not look whole."""
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            if scope["method"] != "HEAD":
                async with watched(receive, self.entry.gone):
                    async for data in _in_thread(self.entry.blocks(), self.run):
                        await send({"type": "http.response.body", "body": data, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        except Abandoned:
            return
        finally:
            self.entry.close()


async def _in_thread(
    blocks: Iterator[bytes], run: Callable[..., Awaitable[bytes | None]]
) -> AsyncIterator[bytes]:
    while (data := await run(next, blocks, None)) is not None:
        yield data
