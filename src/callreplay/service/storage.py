"""``/CallRecorder/Storage/VOLUME_ID/CALL_PATH``: the stored files, for the user ``player``."""

from __future__ import annotations

import logging
import os
from io import FileIO
from pathlib import Path
from typing import Final

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response

from callreplay.errors import ArgumentError
from callreplay.service import logs
from callreplay.service.addresses import client_address
from callreplay.service.auth import Refused, basic_credentials
from callreplay.service.context import PLAYER_PASSWORD, Problem, service_of
from callreplay.service.files import FileResponse, disposition
from callreplay.store import audit, volumes
from callreplay.store.volumes import VolumeError

__all__ = ["storage"]

_log = logging.getLogger("callreplay.service")

_USER: Final = "player"
_CHALLENGE: Final = {"www-authenticate": 'Basic realm="CallReplay Storage", charset="UTF-8"'}
_TYPES: Final = {
    ".rtp": "application/octet-stream",
    ".pcap": "application/vnd.tcpdump.pcap",
    ".wav": "audio/wav",
}
_FREE: Final = 20  # failures before waiting begins
_LARGEST_ID: Final = 2**31 - 1


def _authorise(request: Request) -> None:
    """Let the user ``player`` pass. Raises Problem (401, 429)."""
    service = service_of(request)
    found = basic_credentials(request.headers.get("authorization", ""))
    if found is None:
        raise Problem(401, "Log in as the player.", headers=_CHALLENGE)
    password, address = str(service.database.setting(PLAYER_PASSWORD)), client_address(request)
    try:
        # Name and password as one, so that a wrong name is no quicker to be told of.
        right = service.auth.is_right(
            f"{_USER}\0{password}", f"{found[0]}\0{found[1]}", "storage", _FREE, address
        )
    except Refused as refused:
        headers = {"retry-after": str(refused.wait_seconds)}
        raise Problem(429, "Too many failed logins. Try again later.", headers=headers) from None
    if not right:
        with service.database.connection() as connection:
            audit.write(connection, "storage.refused", address=address, request_id=logs.request_id.get())
        raise Problem(401, "Log in as the player.", headers=_CHALLENGE)


def _open(request: Request) -> FileIO:
    _authorise(request)
    service = service_of(request)
    text, path = request.path_params["volume"], request.path_params["path"]
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= _LARGEST_ID):
        raise Problem(404, "There is no such volume.")
    with service.database.connection() as connection:
        try:
            volume = volumes.find(connection, number=int(text))
        except ArgumentError:
            raise Problem(404, "There is no such volume.") from None
        try:
            with volume.open() as opened:
                file = FileIO(opened.open(path))
        except VolumeError as error:
            _log.warning("%s", error)
            raise Problem(
                503, "There is no such file on this volume.", detail="the volume cannot be reached"
            ) from None
        except OSError:
            if volume.retired:
                raise Problem(410, "The volume has been deleted, and the file with it.") from None
            raise Problem(404, "There is no such file on this volume.") from None
        try:
            audit.write(
                connection,
                "storage.read",
                actor=_USER,
                target=f"{text}/{path}",
                address=client_address(request),
                request_id=logs.request_id.get(),
                detail={"range": request.headers["range"][:100]} if "range" in request.headers else {},
            )
        except BaseException:
            file.close()
            raise
    return file


async def storage(request: Request) -> Response:
    """Answer with the file."""
    file = await to_thread.run_sync(_open, request)
    status = os.fstat(file.fileno())
    name = request.path_params["path"].rsplit("/", 1)[-1]
    # What was fetched from an object store is a file without a name, another one each time.
    number = status.st_ino if status.st_nlink else 0
    etag = f'"{status.st_size:x}-{status.st_mtime_ns:x}-{number:x}"'
    media_type = _TYPES.get(Path(name).suffix, "application/octet-stream")
    headers = {"content-disposition": disposition(name), "cache-control": "private, no-cache"}
    return FileResponse(
        file, request.method, request.headers, media_type=media_type, etag=etag, headers=headers
    )
