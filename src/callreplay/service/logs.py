"""Structured logs: one JSON object a line, with the request's id, and without secrets.

Nothing that could be a password is passed to a logger here; the filter is the second line of defence, for what
libraries log of their own accord.
"""

from __future__ import annotations

import contextvars
import json
import logging
import re
import sys
import time
from typing import Any, Final
from urllib.parse import parse_qsl, unquote_plus, urlencode

__all__ = ["configure", "redact_query", "request_id", "scrub"]

request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="")
SECRET_NAMES: Final = frozenset(
    {"password", "token", "access_token", "player_password", "new_password", "pin"}
)
HIDDEN: Final = "***"
_HIDDEN_NAMES: Final = SECRET_NAMES | {"ticket", "csrf"}
_STANDARD: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime"}
_SECRETS: Final = "|".join(sorted((re.escape(name) for name in SECRET_NAMES), key=len, reverse=True))
# Whatever stands before a name: it may be '&', ';', or '%26' encoded once or more often.
_QUERY_SECRET: Final = re.compile(rf"(?i)({_SECRETS}|ticket|csrf)(\s*(?:=|%(?:25)*3D)\s*)[^&\s\"'<>]*")
_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9_.%-]{1,64}")
_URL_SECRET: Final = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://[^\s/:@]*):[^\s/@]+@")
_HEADER_SECRET: Final = re.compile(r"(?i)\b(basic|bearer)\s+[A-Za-z0-9+/=_.~-]{6,}")
_SELDOM_SECONDS: Final = 10.0
_MOST_TEXTS: Final = 100
_CONTROLS: Final = re.compile("[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_TOKEN: Final = re.compile(r"\bcrt_[A-Za-z0-9_-]{8,}")


def redact_query(query: str) -> str:
    """A query string whose secret values are hidden, whatever the spelling of their names.

    A pair that holds a secret's name anywhere, encoded or not, loses its whole value: where such a value ends is
    another matter for each who reads addresses (``&``, ``;``, ``%26``).
    """
    plain = query.replace("&amp;", "&")
    pairs = parse_qsl(plain, keep_blank_values=True, max_num_fields=200) if plain.count("&") < 200 else []
    shown = []
    for name, value in pairs:
        if _is_secret(f"{name}={value}"):
            shown.append((name if _PLAIN_NAME.fullmatch(name) else HIDDEN, HIDDEN))
        else:
            shown.append((scrub(name), scrub(value)))
    return urlencode(shown, safe="*")


def _is_secret(pair: str) -> bool:
    """Whether a pair names a secret, as it stands or decoded once more (``%2570assword``)."""
    for _ in range(3):
        if any(part.strip().lower() in _HIDDEN_NAMES for part in re.split(r"[?&;=]", pair)[:-1]):
            return True
        pair = unquote_plus(pair)
    return False


def scrub(text: str) -> str:
    """A text without passwords in URLs and query strings, credentials of headers, and tokens."""
    text = _QUERY_SECRET.sub(rf"\1\2{HIDDEN}", text)
    text = _URL_SECRET.sub(rf"\1:{HIDDEN}@", text)
    text = _HEADER_SECRET.sub(rf"\1 {HIDDEN}", text)
    return _TOKEN.sub(HIDDEN, text)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ``time``, ``level``, ``logger``, ``message``, ``requestId``, and the record's extras."""

    def format(self, record: logging.LogRecord) -> str:
        """Format one record."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{moment}.{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": scrub(record.getMessage()),
        }
        if identity := request_id.get():
            line["requestId"] = identity
        for name, value in record.__dict__.items():
            if name not in _STANDARD and not name.startswith("_"):
                line[name] = scrub(value) if isinstance(value, str) else value
        if record.exc_info:
            line["exception"] = scrub(self.formatException(record.exc_info))
        text = json.dumps(line, ensure_ascii=False, default=str)
        # What JSON lets stand and terminals obey: C1 controls, and what turns the direction of a line.
        return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


class _Seldom(logging.Filter):
    """Lets a library's warning through once in ten seconds, and says how often it came meanwhile.

    Strangers make uvicorn and asyncio write as many lines as they like: of damaged requests, of sockets refused.
    """

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, float] = {}
        self._unsaid: dict[str, int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to write it."""
        if record.levelno < logging.WARNING:
            return True
        text, now = str(record.msg)[:200], time.monotonic()
        if now - self._last.get(text, -_SELDOM_SECONDS) < _SELDOM_SECONDS:
            self._unsaid[text] = self._unsaid.get(text, 0) + 1
            return False
        if len(self._last) > _MOST_TEXTS:
            self._last.clear()
            self._unsaid.clear()
        self._last[text] = now
        if unsaid := self._unsaid.pop(text, 0):
            record.unsaid = unsaid
        return True


def configure(level: str = "info") -> None:
    """Send everything to standard error as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    for name in ("uvicorn.error", "asyncio"):
        logging.getLogger(name).filters[:] = [_Seldom()]
    logging.getLogger("uvicorn.access").disabled = True  # it would log query strings; ours does not
    logging.getLogger("psycopg.pool").setLevel(logging.WARNING)
