"""Every word that a page can show stands in every catalogue; nothing else is left to be read in English."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from gettext import NullTranslations
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po
from psycopg.types.json import Jsonb

from callreplay.model import GapReason
from callreplay.service import engine, i18n, rendering, words
from callreplay.service.app import create_app
from callreplay.service.settings import Settings
from callreplay.store import query, readings, search

from .test_embedding import serving

if TYPE_CHECKING:
    from .conftest import Running

SERVICE = Path(i18n.__file__).parent
OTHERS = sorted(set(i18n.LANGUAGES) - {"en"})
Message = str | tuple[str, str]

# What reaches a page from Python: the function and the place of the text among its arguments.
MARKED = {"mark": 0, "Problem": 1, "ParameterError": 1}
# Refusals of these modules are shown to programs, and on pages as an English detail.
FOR_PROGRAMS = ("transcoder.py", "engine.py")


def in_templates() -> set[Message]:
    found: set[Message] = set()
    for _, _, message, _, _ in extract_from_dir(SERVICE / "templates", [("**.html", "jinja2")]):
        found.add(message if isinstance(message, str) else (message[0], message[1]))
    return found


def in_python() -> tuple[set[Message], list[str]]:
    """The marked texts, and the places where what is marked is no literal text."""
    found: set[Message] = set()
    loose = []
    for path in (
        *SERVICE.glob("*.py"),
        *(Path(str(module.__file__)) for module in (query, readings, search)),
    ):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
            if name not in MARKED or (name == "ParameterError" and path.name in FOR_PROGRAMS):
                continue
            assert isinstance(node, ast.Call)
            text = node.args[MARKED[name]]
            if isinstance(text, ast.Constant):
                found.add(str(text.value))
            else:
                loose.append(f"{path.name}: {ast.unparse(node)[:80]}")
    return found, loose


def catalogue(language: str) -> Catalog:
    with (i18n.LOCALES / f"{language}.po").open("rb") as file:
        return read_po(file, locale=language)


def texts(message: Any) -> list[str]:
    return list(message) if isinstance(message, tuple) else [message]


def test_what_is_marked_in_python_is_a_literal_text() -> None:
    _, loose = in_python()
    # Starlette's own refusals: the phrases of the two that occur are marked in a table.
    assert [each for each in loose if not each.startswith("app.py: Problem(problem.status_code, text")] == []


@pytest.mark.parametrize("language", OTHERS)
def test_every_catalogue_has_every_message_and_nothing_else(language: str) -> None:
    asked = in_templates() | in_python()[0]
    assert len(asked) > 180
    kept: dict[Message, Any] = {}
    for message in catalogue(language):
        if message.id:
            identity = message.id if isinstance(message.id, str) else (message.id[0], message.id[1])
            kept[identity] = message
    assert sorted(map(str, asked - kept.keys())) == [], "missing"
    assert sorted(map(str, kept.keys() - asked)) == [], "stale"


@pytest.mark.parametrize("language", OTHERS)
def test_every_message_is_whole(language: str) -> None:
    made = catalogue(language)
    for message in made:
        if not message.id:
            continue
        assert not message.fuzzy, message.id
        said, asked = texts(message.string), texts(message.id)
        assert len(said) == (made.num_plurals if message.pluralizable else 1), message.id
        for text in said:
            assert text.strip(), message.id
            wanted = set(re.findall(r"%\(\w+\)s", asked[-1]))
            assert set(re.findall(r"%\(\w+\)s", text)) == wanted, message.id
            assert text[-1] in ".:…" or asked[0][-1] not in ".:…", message.id


def test_the_words_are_those_of_the_database() -> None:
    assert set(words.GAPS) == {reason.name.lower() for reason in GapReason}
    written = set()
    for path in (SERVICE.parent).rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        if "audit" in source:
            written |= set(
                re.findall(
                    r'"((?:login|logout|play|transcode|(?:storage|call|user|token|volume)\.[a-z_]+))"', source
                )
            )
    others = {"user.login", "storage.html"}
    assert {name for name in written if name not in words.ACTIONS} - others == set()
    for name in ("change", "password", "disable", "enable"):  # made of the form's action
        assert f"user.{name}" in words.ACTIONS


@pytest.mark.parametrize("path", sorted((SERVICE / "static").glob("*.js")), ids=lambda path: path.name)
def test_no_script_says_anything_itself(path: Path) -> None:
    """What a page says stands in its template, where gettext sees it."""
    source = path.read_text(encoding="utf-8")
    source = re.sub(r"^\s*//.*$|/\*.*?\*/", "", source, flags=re.MULTILINE)
    literals = [a or b for a, b in re.findall(r'"([^"\n]*)"|`([^`]*)`', source)]
    assert literals or not set('"`') & set(source)
    is_prose = re.compile(r"[A-Z][a-z]+|[^\W\d_]+(?: [^\W\d_]+)+[.!?…]?")
    names = {"CallReplay", "Home", "End", "Escape", "Enter"}
    assert [text for text in literals if is_prose.fullmatch(text.strip()) and text not in names] == []
    # What is put into a page: clocks, numbers, and texts that the template or the service has.
    shown = re.compile(r"`/ \$\{clock\(|`\$\{clock\(|clock\(|count\.toLocale|await navigator|text\b")
    assert [value for value in re.findall(r"textContent = (.*?);", source) if not shown.match(value)] == []


class Shown(HTMLParser):
    """What a reader sees or hears of a page: texts, labels, titles; times, codes and other languages' names apart."""

    NAMED = ("aria-label", "title", "placeholder", "alt")
    SILENT = frozenset({"script", "style", "time", "code", "textarea"})

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._open: list[tuple[str, bool]] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        is_silent = tag in self.SILENT or (tag != "html" and "lang" in given)
        is_silent = is_silent or given.get("translate") == "no"
        if tag not in ("meta", "link", "input", "img", "path", "rect", "br"):
            self._open.append((tag, is_silent))
        self.texts += [value for name in self.NAMED if (value := given.get(name))]

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        if data.strip() and not any(silent for _, silent in self._open):
            self.texts.append(data.strip())


class Marked(NullTranslations):
    """A language in which every text stands in brackets."""

    def gettext(self, message: str) -> str:
        return f"⟦{message}⟧"

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        return f"⟦{msgid1 if n == 1 else msgid2}⟧"


@pytest.fixture
def bracketed(service: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    """The service with that language, over the database of the one that runs."""
    monkeypatch.setattr(i18n, "translations", lambda language: Marked())
    rendering._environment.cache_clear()
    app = create_app(Settings(database_url=service.database_url, data_dir=str(tmp_path)))
    with (
        serving(app) as base,
        httpx.Client(base_url=base, timeout=30, headers={"accept": "text/html"}) as client,
    ):
        yield client
    rendering._environment.cache_clear()


@pytest.mark.database
def test_no_page_has_a_word_that_no_catalogue_could_translate(
    service: Running, call: dict[str, Any], bracketed: httpx.Client
) -> None:
    uuid = call["callId"]
    service.rows(
        "INSERT INTO call_events (call_uuid, at, leg, kind, detail) VALUES (%s, now(), 'caller', 'dtmf', '5')",
        uuid,
    )
    service.rows("UPDATE storage_volumes SET reserved_bytes = 1000000000000000000 WHERE id = 1")
    recorded = service.rows("SELECT id, gaps FROM call_files WHERE call_uuid = %s", uuid)
    service.rows("UPDATE call_files SET gaps = '[[0, 40, \"lost\"]]' WHERE call_uuid = %s", uuid)
    pages = ["?user=admin&tenant=default", f"?user=admin&password=no&callDetails={uuid}"]
    inside = [
        "",
        "?callerIP=x",
        "?callerName=nobody",
        f"?player={uuid}",
        "?callDetails=x",
        *(f"?callDetails={uuid}&tab={tab}&saved" for tab in ("general", "media", "events", "advanced")),
        *("Users", "Volumes?saved", "Audit", "Audit?user=nobody", "Audit?beginTime=x"),
        *("Retention?saved", "Retention?policy=period&days=1&number=0721555010", "Tenants", "Jobs"),
        *("Nothing", "Temp/x/y", "Transcoder?format=exe"),
    ]
    # Data, and names of the product and of standards.
    names = r"CallReplay( [\d.]+)?|MOS|SHA-256|SSRC|SIP|UTC|Hz|ms|[kMGT]?B|wav|spx|png|csv|PCM[UA]|G7\d\d|admin|default"
    names += "|CSV|JSON|/mnt/calls|callerNumber=0721"
    data: set[str] = set(engine.MEDIA_TYPES) | {"x", "nobody"}  # what is asked for above
    for table, columns in {
        "calls": "caller_name called_name caller_number called_number description",
        "call_files": "codec",
        "users": "login name",
        "storage_volumes": "name",
        "api_tokens": "name",
        "audit_log": "actor reason",
        "tenants": "name time_zone",
        "jobs": "what actor",
    }.items():
        for row in service.rows(f"SELECT DISTINCT {', '.join(columns.split())} FROM {table}"):
            data |= {str(value) for value in row.values() if value}
    known = "|".join([*map(re.escape, sorted(data, key=len, reverse=True)), names])
    left: dict[str, list[str]] = {}

    def read(path: str) -> None:
        answer = bracketed.get("/CallRecorder/" + path)
        shown = Shown()
        shown.feed(answer.text)
        assert shown.texts, path
        for text in shown.texts:
            rest = re.sub(r"⟦[^⟦⟧]*(⟦[^⟦⟧]*⟧[^⟦⟧]*)*⟧", "", text)
            rest = re.sub(rf"(?<!\w)({known})(?!\w)", "", rest)
            if re.search(r"[^\W\d_]", rest):
                left.setdefault(path, []).append(text)

    for path in pages:
        read(path)
    service.rows("DELETE FROM login_failures")
    answer = bracketed.post("/CallRecorder/Login", data={"user": "admin", "password": service.password})
    assert answer.status_code == 303
    for path in inside:
        read(path)
    service.rows("UPDATE storage_volumes SET reserved_bytes = 0 WHERE id = 1")
    for row in recorded:
        service.rows("UPDATE call_files SET gaps = %s WHERE id = %s", Jsonb(row["gaps"]), row["id"])
    service.rows("DELETE FROM call_events WHERE call_uuid = %s AND at > now() - interval '1 hour'", uuid)
    assert json.dumps(left, ensure_ascii=False) == "{}"


# -- numbers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("language", "number", "percent", "sizes"),
    [
        ("en", "12,345.7", "1.25%", ["0 B", "999 B", "1.0 kB", "1.0 MB", "1,500.0 TB"]),
        ("de", "12.345,7", "1,25 %", ["0 B", "999 B", "1,0 kB", "1,0 MB", "1.500,0 TB"]),
        ("fr", "12 345,7", "1,25 %", ["0 o", "999 o", "1,0 ko", "1,0 Mo", "1 500,0 To"]),
        ("es", "12.345,7", "1,25 %", ["0 B", "999 B", "1,0 kB", "1,0 MB", "1.500,0 TB"]),
        ("ro", "12.345,7", "1,25 %", ["0 B", "999 B", "1,0 kB", "1,0 MB", "1.500,0 TB"]),
    ],
)
def test_numbers_and_sizes(language: str, number: str, percent: str, sizes: list[str]) -> None:
    formats = i18n.Formats(language)

    def plain(text: str) -> str:
        return text.replace("\xa0", " ").replace("\u202f", " ")

    assert plain(formats.number(12345.678, 1)) == number
    assert plain(formats.percent(1.25)) == percent
    assert [plain(formats.octets(size)) for size in (0, 999, 1000, 999_950, 1_500 * 10**12)] == sizes


def test_an_instant_is_of_the_zone_and_exact() -> None:
    time = datetime(2026, 7, 1, 22, 5, 6, 789_999, tzinfo=UTC)
    zone = ZoneInfo("Europe/Bucharest")
    assert i18n.Formats("en").instant(time, zone) == "01:05:06.789"
    assert i18n.Formats("de").instant(time, zone) == "01:05:06,789"


@pytest.mark.parametrize(
    ("offered", "language"),
    [
        ("de-AT,de;q=0.9,en;q=0.8", "de"),
        ("ja, fr;q=0.2, es;q=0.3", "es"),
        ("", "en"),
        ("de;q=0", "en"),
        ("x;q=y", "en"),
    ],
)
def test_the_browsers_language_counts_where_nobody_chose(offered: str, language: str) -> None:
    assert i18n.choose("", "", "", offered) == language
    assert i18n.choose("ro", "fr", "es", offered) == "ro"
    assert i18n.choose("klingon", "", "es-MX", offered) == "es"
