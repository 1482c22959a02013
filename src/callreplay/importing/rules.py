"""Which calls of a recorder are kept: by numbers, by addresses, and one in so many, as signalling tells them."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from hashlib import blake2b

from callreplay.errors import ArgumentError
from callreplay.model import CallDescription

__all__ = ["Rules"]


@dataclass(frozen=True, slots=True)
class Rules:
    """What is to be kept. A call is where one of ``only`` fits (or there is none), none of ``never`` does, and by lot.

    ``only`` and ``never`` are numbers, with ``*`` and ``?`` for what may differ, and networks (``10.1.0.0/16``) or
    addresses: of either party. ``percent`` of the calls are kept; which, their Call-IDs decide, so that every recorder
    that sees a call decides alike. Calls without signalling have no numbers, but addresses.
    """

    only: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    percent: float = 100.0

    def __post_init__(self) -> None:
        """Raise ArgumentError for what makes no sense."""
        if not 0 <= self.percent <= 100:
            raise ArgumentError(f"percent: 0 to 100, not {self.percent:g}")
        for pattern in (*self.only, *self.never):
            if not pattern.strip():
                raise ArgumentError("a rule is a number, a network or an address, not an empty text")
            if "/" in pattern:
                _network(pattern)

    def keeps(self, call: CallDescription) -> bool:
        """Whether a call is to be kept."""
        numbers = {call.caller_number, call.called_number, *call.called_numbers} - {""}
        addresses = {call.caller_address, call.called_address} - {""}
        if self.only and not any(_fits(pattern, numbers, addresses) for pattern in self.only):
            return False
        if any(_fits(pattern, numbers, addresses) for pattern in self.never):
            return False
        if self.percent >= 100:
            return True
        name = call.call_id or f"{call.caller_address} {call.called_address} {call.start_ns}"
        lot = int.from_bytes(blake2b(name.encode("utf-8", "replace"), digest_size=4).digest(), "big")
        return lot < self.percent / 100 * (1 << 32)


def _network(pattern: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(pattern, strict=False)
    except ValueError as error:
        raise ArgumentError(f"{pattern}: {error}") from None


def _fits(pattern: str, numbers: set[str], addresses: set[str]) -> bool:
    if "/" in pattern:
        network = _network(pattern)
        return any(_within(address, network) for address in addresses)
    return pattern in addresses or any(fnmatchcase(number, pattern) for number in numbers)


def _within(address: str, network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    try:
        return ipaddress.ip_address(address) in network
    except ValueError:
        return False
