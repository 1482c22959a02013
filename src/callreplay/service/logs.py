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
from urllib.parse import parse_qsl, urlencode

__all__ = ["configure", "redact_query", "request_id", "scrub"]

request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="")
SECRET_NAMES: Final = frozenset(
    {"password", "token", "access_token", "player_password", "new_password", "pin"}
)
HIDDEN: Final = "***"
_STANDARD: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime"}
_QUERY_SECRET: Final = re.compile(r"(?i)\b(password|access_token|token|pin)(=|%3D)[^&\s\"']*")
_URL_SECRET: Final = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://[^\s/:@]*):[^\s/@]+@")
_HEADER_SECRET: Final = re.compile(r"(?i)\b(basic|bearer)\s+[A-Za-z0-9+/=_.~-]{6,}")
_TOKEN: Final = re.compile(r"\bcrt_[A-Za-z0-9_-]{8,}")


def redact_query(query: str) -> str:
    """A query string whose secret values are hidden, whatever the spelling of their names."""
    pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=200) if query.count("&") < 200 else []
    return urlencode(
        [(name, HIDDEN if name.strip().lower() in SECRET_NAMES else value) for name, value in pairs], safe="*"
    )


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
        return json.dumps(line, ensure_ascii=False, default=str)


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
    logging.getLogger("uvicorn.access").disabled = True  # it would log query strings; ours does not
    logging.getLogger("psycopg.pool").setLevel(logging.WARNING)
