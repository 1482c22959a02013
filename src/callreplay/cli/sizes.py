"""Sizes in octets, as commands take and show them."""

from __future__ import annotations

import re

import typer

__all__ = ["parse_memory", "parse_size", "show_size"]

_MOST = 2**63  # what a column of the database takes
_UNITS = {
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
    """Octets from ``0``, ``500M``, ``2GiB``, ``1.5T``: decimal units, as disks are sold; binary ones with an i."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?i?)b?", text.strip(), re.IGNORECASE)
    unit = match[2].lower() if match else "i"
    if match is None or unit not in _UNITS or float(match[1]) * _UNITS[unit] >= _MOST:
        raise typer.BadParameter(f"{text!r} is no size: 0, 500M, 2GiB")
    return round(float(match[1]) * _UNITS[unit])


def parse_memory(text: str) -> int:
    """A size above 0, for memory: as `parse_size`."""
    size = parse_size(text)
    if not size:
        raise typer.BadParameter(f"{text!r} is no size above 0")
    return size


def show_size(octets: int) -> str:
    """``1.2 GB``."""
    value, unit = float(octets), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            break
        value /= 1000
    return f"{octets} B" if unit == "B" else f"{value:.1f} {unit}"
