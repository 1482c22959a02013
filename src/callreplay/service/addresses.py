"""Addresses of clients: what counts as one, which are of a proxy that is believed."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import Any, Final

from starlette.requests import Request
from starlette.types import Scope

__all__ = ["among", "client_address", "is_trusted", "network", "plain"]

TRUSTED: Final = "callreplay.trusted_proxy"
_REMEMBERED: Final = 4096  # addresses whose reading is kept: they come again and again


@lru_cache(_REMEMBERED)
def plain(host: str | None) -> str | None:
    """An IP address as it is written; None for what is none (a socket's path, the name of a test client)."""
    try:
        return str(ipaddress.ip_address(host or ""))
    except ValueError:
        return None


def client_address(request: Request) -> str | None:
    """The client's address as the server saw it; None where it is not an IP address."""
    return plain(request.client.host) if request.client else None


@lru_cache(_REMEMBERED)
def network(address: str | None) -> str:
    """What counts as one address: a guesser has all of an IPv6 /64 to himself. '' where there is none."""
    if address is None:
        return ""
    made = ipaddress.ip_address(address)
    if isinstance(made, ipaddress.IPv4Address):
        return str(made)
    if made.ipv4_mapped is not None:
        return str(made.ipv4_mapped)
    return str(ipaddress.ip_address(int(made) >> 64 << 64))


@lru_cache(_REMEMBERED)
def among(address: str | None, networks: tuple[str, ...]) -> bool:
    """Whether an IP address is one of ``networks``: addresses or CIDR networks."""
    text = plain(address)
    if text is None:
        return False
    found: Any = ipaddress.ip_address(text)
    found = getattr(found, "ipv4_mapped", None) or found
    return any(found in ipaddress.ip_network(each, strict=False) for each in networks)


def is_trusted(scope: Scope) -> bool:
    """Whether a request came straight from a proxy of ours."""
    return bool(scope.get(TRUSTED))
