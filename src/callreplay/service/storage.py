"""``/CallRecorder/Storage/VOLUME_ID/CALL_PATH``: the stored files, for the user ``player``."""

from __future__ import annotations

import hmac
import logging
import os
from pathlib import Path
from typing import Final

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response

from callreplay.errors import ArgumentError
from callreplay.service import logs
from callreplay.service.auth import basic_credentials, client_address, network
from callreplay.service.context import PLAYER_PASSWORD, Problem, service_of
from callreplay.service.files import FileResponse, disposition
from callreplay.store import accounts, audit, volumes
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
    keys = {f"storage\0{network(client_address(request))}".encode(): _FREE}
    with service.database.connection() as connection:
        wait = accounts.wait_seconds(connection, keys)
    if wait > 0:
        raise Problem(
            429, "Too many failed logins. Try again later.", headers={"retry-after": str(int(wait) + 1)}
        )
    password = str(service.database.setting(PLAYER_PASSWORD))
    right = hmac.compare_digest(found[1].encode("utf-8", "surrogatepass"), password.encode())
    if found[0] != _USER or not right:
        with service.database.connection() as connection:
            accounts.note_failure(connection, keys)
            audit.write(
                connection,
                "storage.refused",
                address=client_address(request),
                request_id=logs.request_id.get(),
            )
        raise Problem(401, "Log in as the player.", headers=_CHALLENGE)


def _open(request: Request) -> int:
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
                descriptor = opened.open(path)
        except VolumeError as error:
            _log.warning("%s", error)
            text = "There is no such file on this volume."
            raise Problem(503, text, detail="the volume cannot be reached") from None
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
            os.close(descriptor)
            raise
    return descriptor


async def storage(request: Request) -> Response:
    """Answer with the file."""
    descriptor = await to_thread.run_sync(_open, request)
    status = os.fstat(descriptor)
    name = request.path_params["path"].rsplit("/", 1)[-1]
    etag = f'"{status.st_size:x}-{status.st_mtime_ns:x}-{status.st_ino:x}"'
    media_type = _TYPES.get(Path(name).suffix, "application/octet-stream")
    headers = {"content-disposition": disposition(name), "cache-control": "private, no-cache"}
    return FileResponse(
        descriptor, request.method, request.headers, media_type=media_type, etag=etag, headers=headers
    )
