"""Sizes in octets, as people write them."""

from __future__ import annotations

import re
from typing import Final

from callreplay.errors import ArgumentError

__all__ = ["exact_size", "parse_size"]

_MOST: Final = 2**63  # what a column of the database takes
_UNITS: Final = {
    "": 1,
    "k": 10**3,
    "m": 10**6,
    "g": 10**9,
    "t": 10**12,
    "ki": 2**10,
    "mi": 2**20,
    "gi": 2**30,
    "ti": 2**40,
}


def parse_size(text: str) -> int:
    """Octets from ``0``, ``500M``, ``2GiB``, ``1.5T``: decimal units, as disks are sold; binary ones with an i.

    Raises ArgumentError.
    """
    match = re.fullmatch(r"(\d{1,19}(?:\.\d{1,9})?)\s*([kmgt]?i?)b?", text.strip(), re.IGNORECASE | re.ASCII)
    unit = match[2].lower() if match else "i"
    if match is None or unit not in _UNITS or float(match[1]) * _UNITS[unit] >= _MOST:
        raise ArgumentError(f"{text!r} is no size: 0, 500M, 2GiB")
    return round(float(match[1]) * _UNITS[unit])


def exact_size(octets: int) -> str:
    """What ``parse_size`` reads as exactly so many octets: ``500 GB``, ``2 GiB``, ``1234567 B``."""
    fitting = [(size, unit) for unit, size in _UNITS.items() if unit and octets and octets % size == 0]
    if not fitting:
        return f"{octets} B" if octets else "0"
    size, unit = max(fitting)
    return f"{octets // size} {unit[0].upper() if unit[0] != 'k' else 'k'}{unit[1:]}B"
