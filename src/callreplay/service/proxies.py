"""Proxies before the service: whom their headers tell of is believed of those that are named, and of nobody else."""

from __future__ import annotations

import logging
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from callreplay.service.addresses import TRUSTED, among
from callreplay.service.settings import Settings

__all__ = ["Proxies"]

_log = logging.getLogger("callreplay.proxies")
_MOST_TOLD: Final = 16


class Proxies:
    """Puts the client's address and scheme in place of a proxy's; says once where a proxy is not named."""

    def __init__(self, app: ASGIApp, chosen: Settings) -> None:
        self.app, self.named = app, chosen.trusted_proxies
        self.behind = ProxyHeadersMiddleware(app, trusted_hosts=list(chosen.trusted_proxies))  # type: ignore[arg-type]
        self._told: set[str] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        peer = scope["client"][0] if scope.get("client") else ""
        scope[TRUSTED] = among(peer, self.named)
        if scope[TRUSTED]:
            await self.behind(scope, receive, send)  # type: ignore[arg-type]
            return
        headers = Headers(scope=scope)
        if ("x-forwarded-for" in headers or "forwarded" in headers) and peer not in self._told:
            self._tell(peer)
        await self.app(scope, receive, send)

    def _tell(self, peer: str) -> None:
        if len(self._told) < _MOST_TOLD:
            self._told.add(peer)
            _log.warning(
                "requests from %s tell of clients behind it, and trusted_proxies does not name it: if it is a proxy of "
                "yours, all its clients count as one address, and whoever guesses passwords slows all of them down",
                peer,
            )
