"""Sizes in octets, as commands take and show them."""

from __future__ import annotations

import typer

from callreplay.errors import ArgumentError
from callreplay.store import sizes

__all__ = ["parse_memory", "parse_size", "show_size"]


def parse_size(text: str) -> int:
    """Octets from ``0``, ``500M``, ``2GiB``, ``1.5T``: decimal units, as disks are sold; binary ones with an i."""
    try:
        return sizes.parse_size(text)
    except ArgumentError as error:
        raise typer.BadParameter(str(error)) from None


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
