"""Languages of the pages: gettext catalogues beside this file, compiled when first used."""

from __future__ import annotations

import gettext
import io
from functools import cache
from pathlib import Path
from typing import Final

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

__all__ = ["LANGUAGES", "choose", "translations"]

LOCALES: Final = Path(__file__).parent / "locales"
LANGUAGES: Final = {"en": "English", "ro": "Română", "de": "Deutsch", "fr": "Français", "es": "Español"}
"""Language code to its own name."""


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
