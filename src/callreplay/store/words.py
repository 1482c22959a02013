"""What was said in stored calls: kept word by word, found by ``words=``."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any, NamedTuple

from psycopg.types.json import Jsonb

from callreplay.errors import ArgumentError
from callreplay.store.database import Connection
from callreplay.store.search import Reach, is_within

__all__ = ["StoredWord", "StoredWords", "are_kept", "keep_words", "words_of", "words_said"]


class StoredWord(NamedTuple):
    """A word, or some: seconds from the start of the call, and how sure the recogniser was, 0 to 1."""

    start_s: float
    end_s: float
    text: str
    speaker: str
    confidence: float | None


@dataclass(frozen=True, slots=True)
class StoredWords:
    """The words of a call, by time, and the recogniser that heard them."""

    words: tuple[StoredWord, ...]
    made_with: str


def keep_words(
    connection: Connection, reach: Reach | int, call: uuid.UUID, words: Sequence[Any], made_with: str
) -> bool:
    """Keep a call's words (dataclasses of those fields) in place of what there was; False where it is out of reach."""
    if is_within(connection, reach, call) is None:
        return False
    rows = [list(astuple(word)) for word in words]
    if any(len(row) != 5 for row in rows):
        raise ArgumentError("a word is start, end, text, speaker and confidence")
    connection.execute(
        "INSERT INTO call_words (call_uuid, made_with, words, lexemes) "
        "VALUES (%s, %s, %s, strip(to_tsvector('simple', %s))) "
        "ON CONFLICT (call_uuid) DO UPDATE SET made_at = now(), made_with = EXCLUDED.made_with, "
        "words = EXCLUDED.words, lexemes = EXCLUDED.lexemes",
        (call, made_with, Jsonb(rows), " ".join(row[2] for row in rows)),
    )
    return True


def words_said(connection: Connection, reach: Reach | int, call: uuid.UUID) -> StoredWords | None:
    """The words of a call; None where none are kept, or it is out of reach."""
    if is_within(connection, reach, call) is None:
        return None
    return words_of(connection, call)


def words_of(connection: Connection, call: uuid.UUID) -> StoredWords | None:
    """The words of a call that is known to be within reach; None where none are kept."""
    row = connection.execute(
        "SELECT words, made_with FROM call_words WHERE call_uuid = %s", (call,)
    ).fetchone()
    return (
        None
        if row is None
        else StoredWords(tuple(StoredWord(*word) for word in row["words"]), row["made_with"])
    )


def are_kept(connection: Connection, call: uuid.UUID) -> bool:
    """Whether a call, which whoever asks has found, has words."""
    return connection.execute("SELECT FROM call_words WHERE call_uuid = %s", (call,)).fetchone() is not None
