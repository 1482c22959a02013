"""One statement for a request of somebody who was known a moment ago: who asks, the call, and its audit row.

What was known is not believed: the statement finds the call only where the session or the API token stands, and tenant,
login, scope, rights and time zone of its user are in the database what they were. No row means ask again the long way,
which tells what has changed. The audit row is written by the same statement, so no call is found without one.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from psycopg.adapt import PyFormat, Transformer

from callreplay.store import accounts
from callreplay.store.accounts import User
from callreplay.store.records import StoredCall
from callreplay.store.search import within

__all__ = ["Errand", "Known", "call_of"]

_CALL: Final = (
    "uuid", "status", "wire_call_id", "started_at", "caller_number", "called_number", "caller_name", "called_name",
)  # fmt: skip
"""What of a call a rendering needs besides its recordings."""
_FILE: Final = ("leg", "position", "volume_id", "path", "codec", "codecs")
# As accounts.find_session and find_token find them; where the time of last use is due to be written, the long way does.
_SESSION: Final = """
      JOIN sessions s ON s.user_id = u.id
     WHERE s.token_hash = $1 AND s.expires_at > now() AND s.seen_at > now() - $2::interval
       AND s.seen_at >= now() - interval '1 minute'
       AND r.rights @> $8::text[] AND r.rights <@ $8::text[]"""
_TOKEN: Final = """
      JOIN api_tokens a ON a.user_id = u.id
      CROSS JOIN LATERAL (SELECT ARRAY(SELECT unnest(r.rights) INTERSECT SELECT unnest(coalesce(a.rights, r.rights)))
                          AS rights) AS given
     WHERE a.token_hash = $1 AND a.revoked_at IS NULL AND (a.expires_at IS NULL OR a.expires_at > now())
       AND a.last_used_at >= now() - $2::interval
       AND given.rights @> $8::text[] AND given.rights <@ $8::text[]"""
_TOKEN_SECONDS: Final = 60  # as find_token
_STATEMENT: Final = """
WITH who AS MATERIALIZED (
    SELECT FROM users u JOIN tenants t ON t.id = u.tenant_id JOIN roles r ON r.name = u.role {shown} AND {active}
       AND u.id = $3 AND u.tenant_id = $4 AND u.login = $5 AND u.scope = $6 AND t.time_zone = $7),
found AS MATERIALIZED (SELECT * FROM calls WHERE EXISTS (SELECT FROM who) AND {within}),
noted AS (
    INSERT INTO audit_log (tenant_id, actor, action, object, address, request_id, reason, detail)
    SELECT $4, $5, $10, uuid::text, $11::inet, $12, $13, $14::jsonb FROM found)
SELECT {call}, {file}, v.path AS volume_path, v.uuid AS volume_uuid
  FROM found c LEFT JOIN call_files f ON f.call_uuid = c.uuid LEFT JOIN storage_volumes v ON v.id = f.volume_id
 ORDER BY f.position, f.id
"""
_NAMES: Final = {"tenant": 4, "call_id": 9}  # what of the condition has a place of its own
_FIRST_FREE: Final = 15


@dataclass(frozen=True, slots=True)
class Errand:
    """What is asked: a call, and what its audit row says."""

    call: uuid.UUID
    action: str
    address: str | None
    request_id: str
    reason: str
    detail: dict[str, Any]


class Known:
    """A user as he was found, and the statement that finds calls for him. Times may travel in any zone.

    By the secret of a session, which may rest for ``idle``; or by that of an API token where ``idle`` is None. Raises
    ArgumentError where the scope cannot be read.
    """

    def __init__(self, user: User, secret: str, idle: timedelta | None) -> None:
        self.user = user
        condition, values = within(user.reach, uuid.UUID(int=0))
        text, further = _numbered(condition, values)
        self.text = _STATEMENT.format(
            shown=_TOKEN if idle is None else _SESSION,
            active=accounts.ACTIVE,
            within=text,
            call=", ".join(f"c.{name}" for name in _CALL),
            file=", ".join(f"f.{name}" for name in _FILE),
        ).encode()
        self._before: tuple[bytes | None, ...] = (
            b"\\x" + accounts.digest(secret).hex().encode(),
            f"{_TOKEN_SECONDS if idle is None else idle.total_seconds()} s".encode(),
            str(user.id).encode(),
            str(user.tenant_id).encode(),
            *(text.encode() for text in (user.login, user.scope, user.time_zone)),
            ("{" + ",".join(sorted(user.rights)) + "}").encode(),
        )
        self._further = further

    def values(self, errand: Errand) -> list[bytes | None]:
        """The values of the statement."""
        return [
            *self._before,
            str(errand.call).encode(),
            errand.action.encode(),
            errand.address.encode() if errand.address else None,
            errand.request_id.encode(),
            errand.reason.encode(),
            json.dumps(errand.detail).encode(),
            *self._further,
        ]


def _numbered(condition: str, values: dict[str, Any]) -> tuple[str, list[bytes | None]]:
    """A condition with the places of the statement for names, and the values of those that have none of their own."""
    places = dict(_NAMES)
    further: list[Any] = []

    def place(found: re.Match[str]) -> str:
        name = found[1]
        if name is None:
            return "%"
        if name not in places:
            places[name] = _FIRST_FREE + len(further)
            further.append(values[name])
        return f"${places[name]}"

    text = re.sub(r"%%|%\((\w+)\)s", place, condition)
    return text, list(_texts(further))


def _texts(values: Sequence[Any]) -> Sequence[bytes | None]:
    dumped = Transformer().dump_sequence(values, [PyFormat.TEXT] * len(values))
    return [None if each is None else bytes(each) for each in dumped]


def call_of(rows: Sequence[dict[str, Any]]) -> StoredCall | None:
    """The call of the statement's rows, with what ``_CALL`` and ``_FILE`` name; None where there is none."""
    if not rows:
        return None
    return StoredCall(
        {name: rows[0][name] for name in _CALL},
        [{name: row[name] for name in row if name not in _CALL} for row in rows if row["path"] is not None],
    )
