"""Ranges, entity tags and methods, asked of the response classes through ASGI."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from callreplay.service.files import FileResponse

CONTENT = bytes(range(250)) * 2
ETAG = '"abc"'
SIZE = len(CONTENT)


def ask(folder: Path, method: str = "GET", **headers: str) -> httpx.Response:
    path = folder / "file"
    path.write_bytes(CONTENT)

    async def answer(request: Request) -> Response:
        return FileResponse(
            os.open(path, os.O_RDONLY), request.method, request.headers,
            media_type="audio/wav", etag=ETAG, headers={"cache-control": "private"},
        )  # fmt: skip

    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(Starlette(routes=[Route("/", answer)]))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.request(
                method, "/", headers={k.replace("_", "-"): v for k, v in headers.items()}
            )

    before = len(list(Path("/proc/self/fd").iterdir()))
    got = asyncio.run(run())
    assert len(list(Path("/proc/self/fd").iterdir())) == before, "the descriptor is closed"
    assert got.headers["etag"] == ETAG
    assert got.headers["cache-control"] == "private"
    assert got.headers["accept-ranges"] == "bytes"
    return got


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=10-19", 10, 19),
        ("bytes=10-", 10, SIZE - 1),
        ("bytes=0-", 0, SIZE - 1),
        ("bytes=10-99999", 10, SIZE - 1),
        ("bytes=-1", SIZE - 1, SIZE - 1),
        ("bytes=-99999", 0, SIZE - 1),
        (f"bytes={SIZE - 1}-", SIZE - 1, SIZE - 1),
        ("Bytes= 5-6", 5, 6),
    ],
)
def test_a_range(tmp_path: Path, asked: str, first: int, last: int) -> None:
    got = ask(tmp_path, range=asked)
    assert got.status_code == 206
    assert got.headers["content-range"] == f"bytes {first}-{last}/{SIZE}"
    assert got.content == CONTENT[first : last + 1]
    assert got.headers["content-length"] == str(len(got.content))
    assert got.headers["content-type"] == "audio/wav"


@pytest.mark.parametrize("asked", [f"bytes={SIZE}-", "bytes=99999-100000", "bytes=-0"])
def test_a_range_beyond_the_end(tmp_path: Path, asked: str) -> None:
    got = ask(tmp_path, range=asked)
    assert (got.status_code, got.content) == (416, b"")
    assert got.headers["content-range"] == f"bytes */{SIZE}"


@pytest.mark.parametrize(
    "asked",
    ["bytes=0-1,5-6", "bytes=0-0,-1", "bytes=9-5", "bytes=-", "bytes=x-1", "samples=0-1", "", "bytes=1"],
)
def test_what_is_no_single_range_is_answered_with_the_whole(tmp_path: Path, asked: str) -> None:
    got = ask(tmp_path, range=asked)
    assert (got.status_code, got.content) == (200, CONTENT)
    assert "content-range" not in got.headers


@pytest.mark.parametrize(
    ("condition", "status"),
    [(ETAG, 206), ('"other"', 200), (f"W/{ETAG}", 200), ("Tue, 24 Nov 2026 10:00:00 GMT", 200)],
)
def test_if_range_compares_strongly(tmp_path: Path, condition: str, status: int) -> None:
    got = ask(tmp_path, range="bytes=0-9", if_range=condition)
    assert got.status_code == status
    assert got.content == (CONTENT[:10] if status == 206 else CONTENT)


@pytest.mark.parametrize(
    ("condition", "status"),
    [(ETAG, 304), (f'"x", W/{ETAG}', 304), ("*", 304), ('"other"', 206), ("abc", 206)],
)
def test_if_none_match_comes_before_the_range(tmp_path: Path, condition: str, status: int) -> None:
    got = ask(tmp_path, if_none_match=condition, range="bytes=0-9")
    assert got.status_code == status
    assert got.content == (b"" if status == 304 else CONTENT[:10])


def test_head_tells_of_the_whole_and_ignores_ranges(tmp_path: Path) -> None:
    for headers in ({}, {"range": "bytes=0-9"}, {"range": "bytes=99999-"}):
        got = ask(tmp_path, "HEAD", **headers)
        assert (got.status_code, got.content, got.headers["content-length"]) == (200, b"", str(SIZE))
    assert ask(tmp_path, "HEAD", if_none_match=ETAG).status_code == 304
