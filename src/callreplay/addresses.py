"""IP addresses as texts: read once for each, since a busy capture names the same few thousand all the time."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import ipaddress

__all__ = ["canonical", "is_multicast", "is_private", "packed"]

_MOST_KNOWN: Final = 1 << 14
_LONGEST: Final = 64


def canonical(address: str) -> str:
    """An address in its one shortest form; ValueError for any other text.

    >>> canonical("192.0.2.1"), canonical("2001:DB8:0:0::1")
    ('192.0.2.1', '2001:db8::1')
    """
    return str(_address(address)) if _quartet(address) is None else address  # IPv4 has no other form


def packed(address: str) -> bytes:
    """The octets of an address, 4 or 16; ValueError for any other text."""
    octets = _quartet(address)
    return _address(address).packed if octets is None else octets


def _quartet(address: str) -> bytes | None:
    """The octets of an IPv4 address in its usual form. Nearly all are: `ipaddress` takes fifteen times as long."""
    parts = address.split(".", 4)
    if len(parts) != 4:
        return None
    for part in parts:
        if (
            not 0 < len(part) < 4
            or not part.isascii()
            or not part.isdigit()
            or (part[0] == "0" and part != "0")
        ):
            return None
    try:
        return bytes(map(int, parts))
    except ValueError:
        return None  # above 255


def is_private(address: str) -> bool:
    """Whether an address is none of the Internet; ValueError for any other text."""
    return _address(address).is_private


def is_multicast(address: str) -> bool:
    """Whether an address is that of a group; ValueError for any other text."""
    octets = _quartet(address)
    if octets is not None:
        return octets[0] >> 4 == 14  # 224.0.0.0/4, RFC 5771
    return _address(address).is_multicast


@lru_cache(maxsize=_MOST_KNOWN)
def _known(address: str) -> _Facts:
    return _Facts(_read(address))


def _read(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    import ipaddress  # few captures have an address for it

    return ipaddress.ip_address(address)


class _Facts:
    __slots__ = ("is_multicast", "is_private", "packed", "text")

    def __init__(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
        self.text = str(address)
        self.packed = address.packed
        self.is_private = address.is_private
        self.is_multicast = address.is_multicast

    def __str__(self) -> str:
        return self.text


def _address(address: str) -> _Facts:
    if len(address) > _LONGEST:
        return _Facts(_read(address))
    return _known(address)
