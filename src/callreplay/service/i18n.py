"""Languages of the pages: gettext catalogues beside this file, compiled when first used; how each writes numbers."""

from __future__ import annotations

import gettext
import io
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from babel import Locale, dates, numbers
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from callreplay.parameters import mark

__all__ = ["LANGUAGES", "Formats", "choose", "known", "mark", "translations"]

LOCALES: Final = Path(__file__).parent / "locales"
LANGUAGES: Final = {"en": "English", "ro": "Română", "de": "Deutsch", "fr": "Français", "es": "Español"}
"""Language code to its own name."""
# American dates read 1/2/2026, which the rest of those who read English take for February.
_TERRITORIES: Final = {"en": "en_GB"}
# CLDR's short forms of these change with the number in German ("1,0 kbyte", "1,2 kB").
_OCTETS: Final = {"fr": ("o", "ko", "Mo", "Go", "To")}
_BYTES: Final = ("B", "kB", "MB", "GB", "TB")


@cache
def translations(language: str) -> gettext.NullTranslations:
    """The catalogue of a language; English stands in the sources."""
    path = LOCALES / f"{language}.po"
    if language not in LANGUAGES or not path.is_file():
        return gettext.NullTranslations()
    with path.open("rb") as file:
        catalog = read_po(file, locale=language)
    compiled = io.BytesIO()
    write_mo(compiled, catalog)
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


@dataclass(frozen=True, slots=True)
class Formats:
    """How a language writes numbers, sizes and times (CLDR, by Babel)."""

    language: str

    @property
    def locale(self) -> Locale:
        """Babel's locale."""
        return Locale.parse(_TERRITORIES.get(self.language, self.language))

    def number(self, value: float, decimals: int = 0) -> str:
        """``1,234.5``."""
        pattern = "#,##0" + ("." + "0" * decimals if decimals else "")
        return numbers.format_decimal(value, pattern, locale=self.locale)

    def percent(self, value: float, decimals: int = 2) -> str:
        """``1.25%`` of a value in percent."""
        pattern = str(self.locale.percent_formats[None].pattern)
        pattern = pattern.replace("#,##0", "#,##0." + "0" * decimals)
        return numbers.format_percent(value / 100, pattern, locale=self.locale)

    def octets(self, size: int) -> str:
        """``1.2 GB``."""
        units = _OCTETS.get(self.language, _BYTES)
        value, power = float(size), 0
        # 999.95 would be written 1000.0.
        while value >= 999.95 and power < len(units) - 1:
            value, power = value / 1000, power + 1
        return f"{self.number(value, 1 if power else 0)}\xa0{units[power]}"

    def moment(self, time: datetime, zone: ZoneInfo) -> str:
        """Day and time to the second, as the clock of ``zone`` showed it."""
        return str(dates.format_datetime(time, "medium", tzinfo=zone, locale=self.locale))

    def instant(self, time: datetime, zone: ZoneInfo) -> str:
        """The time of day to the millisecond."""
        local = time.astimezone(zone)
        point = numbers.get_decimal_symbol(self.locale)
        return f"{local:%H:%M:%S}{point}{local.microsecond // 1000:03}"


def known(code: str) -> str:
    """The language that ``code`` (``de``, ``de-AT``, ``DE_at``) means, '' where there is none."""
    short = code.strip().replace("_", "-").split("-")[0].lower()
    return short if short in LANGUAGES else ""


def choose(wanted: str, session: str, user: str, accept: str) -> str:
    """The language of a page: the URL's, else the session's, the user's, the browser's (Accept-Language), English."""
    for code in (wanted, session, user):
        if code and (found := known(code)):
            return found
    offers = []
    for position, part in enumerate(accept.split(",")[:20]):
        code, _, weight = part.partition(";q=")
        try:
            quality = float(weight) if weight else 1.0
        except ValueError:
            quality = 0.0
        if quality > 0 and (found := known(code)):
            offers.append((-quality, position, found))
    return min(offers)[2] if offers else "en"
