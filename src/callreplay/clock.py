"""Times and lengths as texts: one way to write each, wherever it is shown."""

from __future__ import annotations

import datetime
from functools import lru_cache
from typing import Final

__all__ = ["length", "moment", "utc"]

_NS: Final = 1_000_000_000


def moment(ns: int) -> datetime.datetime:
    """The time ``ns`` nanoseconds after the epoch, in UTC, cut to whole microseconds."""
    whole = datetime.datetime.fromtimestamp(ns // _NS, datetime.UTC)
    return whole.replace(microsecond=ns % _NS // 1000)


@lru_cache(32)  # the start of a call is told in its title, its tags and its row
def utc(ns: int) -> str:
    """ISO 8601 with microseconds and a Z."""
    return moment(ns).isoformat(timespec="microseconds").replace("+00:00", "Z")


def length(seconds: float, *, hours: bool = False, tenths: bool = False) -> str:
    """``1:02:03``, or ``2:03`` below an hour unless ``hours``; with ``tenths`` cut to ``2:03.4``, else rounded.

    >>> length(62.6), length(62.6, hours=True), length(62.6, tenths=True)
    ('1:03', '0:01:03', '1:02.6')
    """
    whole = int(seconds + 1e-9) if tenths else round(seconds)
    text = f"{whole // 3600}:{whole // 60 % 60:02}" if hours or whole >= 3600 else f"{whole // 60}"
    text += f":{whole % 60:02}"
    return text + f".{round((seconds - whole) * 10)}" if tenths else text
