"""Scripts and styles, under an address that changes with them: a browser asks for each once, and never has old ones."""

from __future__ import annotations

import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Final

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

__all__ = ["Static", "static_version"]

_FOLDER: Final = Path(__file__).parent / "static"
_VERSIONED: Final = re.compile(r"v-([0-9a-f]{12})/")


@cache
def static_version() -> str:
    """Names the files as they are: ``v-`` and twelve digits of a hash. Modules import each other beneath it."""
    digest = hashlib.sha256()
    for path in sorted(_FOLDER.iterdir()):
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode() + content)
    return f"v-{digest.hexdigest()[:12]}"


class Static(StaticFiles):
    """The files at ``/static/VERSION/NAME``, to be kept for a year; under any other version, to be asked for again.

    A page of an older release that is still open gets today's files, and must not keep them under its address.
    """

    def __init__(self) -> None:
        super().__init__(directory=_FOLDER)

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Answer with the file at a path below the mount."""
        found = _VERSIONED.match(path)
        response = await super().get_response(path[found.end() :] if found else path, scope)
        is_current = found is not None and found[0] == static_version() + "/"
        response.headers["cache-control"] = (
            "public, max-age=31536000, immutable" if is_current else "no-cache"
        )
        return response
