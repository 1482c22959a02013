"""Whatever a packet says of a call, the call is filed: a value that no column takes costs itself."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.importing.test_filing import BACK, START, THERE, UTC, capture, record

import callreplay
from callreplay.importing import filing, importer, reading
from callreplay.importing.filing import CallRecord, LegRecord
from callreplay.importing.importer import Job
from callreplay.importing.reading import Reading
from callreplay.model import CallDescription, Event, Flow, MediaDescription
from callreplay.store import records, volumes
from callreplay.store.database import Database
from callreplay.store.rows import CallRow, EventRow, FileRow, clean_json

TEXT = st.text(st.characters(exclude_categories=[]), max_size=300)
ADDRESS = st.one_of(
    TEXT,
    st.sampled_from(
        ["fe80::1%eth0", "fe80::1%", "::ffff:10.0.0.1", "10.0.0.1", "10.0.0.256", "[::1]", "10.0.0.1/8", ""]
    ),
)
NUMBER = st.integers(-(2**70), 2**70)
DESCRIPTION = st.builds(
    CallDescription,
    TEXT,
    TEXT,
    *[TEXT] * 4,
    ADDRESS,
    ADDRESS,
    *[NUMBER] * 3,
    TEXT,
    media=st.lists(st.builds(MediaDescription, st.just("caller"), ADDRESS, NUMBER, st.just({})), max_size=2),
    related=st.lists(TEXT, max_size=3),
    transferred_to=TEXT,
)
ANY = st.one_of(TEXT, NUMBER, st.floats(), st.none(), st.booleans())
FIGURES = st.fixed_dictionaries(
    {},
    optional={
        "codec": TEXT, "codecs": st.lists(TEXT, max_size=3), "payload_type": ANY, "clock_rate": ANY, "ssrc": ANY,
        "duration_ms": ANY, "packets": ANY, "lost": ANY, "duplicates": ANY, "reordered": ANY, "jitter_ms": ANY,
        "mos": ANY, "start_ns": NUMBER, "gaps": st.lists(st.lists(ANY, max_size=3), max_size=3),
    },
)  # fmt: skip
QUALITY = st.dictionaries(
    TEXT, st.recursive(ANY, lambda inner: st.lists(inner, max_size=2), max_leaves=4), max_size=3
)
FLOW = st.sampled_from([THERE, Flow("fe80::1%eth0", 1, "not\0an address", 70_000, "zz", "")])


@pytest.fixture
def shelf(database: Database, tmp_path: Path) -> Path:
    with database.connection() as connection:
        volumes.add(connection, tmp_path / "one")
    return tmp_path / "one"


@given(DESCRIPTION, NUMBER, NUMBER, FIGURES, QUALITY, FLOW, TEXT, TEXT)
@example(
    CallDescription("\ud800\0", caller_address="fe80::1%eth0"),
    0,
    -1,
    {"codec": "x\0y"},
    {"a\0": "\0"},
    THERE,
    "\udcff",
    "\0",
)
@example(  # what the database adds and multiplies
    CallDescription("x"),
    0,
    0,
    dict.fromkeys(("duration_ms", "packets", "lost", "duplicates", "reordered"), 2**63 - 1)
    | {"start_ns": 2**69},
    {},
    THERE,
    "",
    "1",
)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_description_is_filed(
    database: Database,
    shelf: Path,
    said: CallDescription,
    start_ns: int,
    end_ns: int,
    figures: dict[str, Any],
    quality: dict[str, Any],
    flow: Flow,
    name: str,
    digit: str,
) -> None:
    rows = capture(4, name)
    legs = [
        LegRecord("caller", np.arange(0, 8, 2), flow, figures, [Event(digit, start_ns, 1e9)]),
        LegRecord("called", np.arange(1, 8, 2), BACK, figures),
    ]
    call = CallRecord(said, legs, start_ns, end_ns, quality=quality)
    filed = filing.file_call(database, 1, rows, call, UTC)
    with database.connection() as connection:
        stored = records.load(connection, 1, filed.uuid)
    assert stored is not None
    json.dumps(records.as_json(stored, UTC), ensure_ascii=False).encode()
    json.dumps(
        importer._line(call, rows.name, str(filed.uuid), filed.added, filed), ensure_ascii=False
    ).encode()
    (heard,) = callreplay.open(*stored.recordings()).calls
    assert sum(leg.statistics.packets for leg in heard.legs) == 8


@given(st.sampled_from([CallRow, FileRow, EventRow]), st.data())
@settings(max_examples=200, deadline=None)
def test_every_value_of_a_row_goes_through_its_kind(row: type, data: st.DataObject) -> None:
    """A column without a kind is a key of ours: no other may be added without saying what it takes."""
    keys = {
        "uuid",
        "tenant_id",
        "identity",
        "call_uuid",
        "position",
        "volume_id",
        "path",
        "size_bytes",
        "sha256",
    }
    names = {each.name for each in fields(row)}
    assert names - set(row.KINDS) <= keys | ({"leg"} if row is FileRow else set())  # type: ignore[attr-defined]
    name = data.draw(st.sampled_from(sorted(row.KINDS)))  # type: ignore[attr-defined]
    value = data.draw(st.lists(ANY, max_size=3) if name in ("related", "codecs", "gaps") else ANY)
    made = row.KINDS[name](value)  # type: ignore[attr-defined]
    if isinstance(made, str):
        assert "\0" not in made
        made.encode()


def test_json_of_any_depth_is_bounded() -> None:
    deep: Any = "end"
    for _ in range(10_000):
        deep = [deep]
    with pytest.raises(RecursionError):
        json.dumps(deep)
    assert len(json.dumps(clean_json(deep[0] if isinstance(deep, list) else deep, 4))) < 10_000


def test_a_call_that_cannot_be_filed_costs_itself(
    database: Database, shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others of its capture are filed, it is told, and the capture is not tried again for ever."""
    rows = capture(20)
    calls = [record(rows, f"call {number}") for number in range(4)]
    calls[2].legs[0].figures["codec"] = object()
    real = records.add_all

    def refusing(connection: Any, rows: Any) -> None:
        if any(isinstance(row, FileRow) and "object" in row.codec for row in rows):
            raise psycopg.DataError("invalid byte sequence")
        real(connection, rows)

    monkeypatch.setattr(records, "add_all", refusing)
    monkeypatch.setattr(reading, "read", lambda *_, **__: Reading(rows, calls, [], START))
    path = tmp_path / "x.pcap"
    path.write_bytes(b"x")
    outcome = importer.import_one(database, Job(database.url, 1), path)
    assert [call["wireCallId"] for call in outcome.calls] == ["call 0", "call 1", "call 3"]
    assert outcome.lost == ["call 'call 2' was not filed: invalid byte sequence"]
    assert outcome.error.startswith("1 of 4 calls: call 'call 2' was not filed")
    assert outcome.final
    with database.connection() as connection:
        assert len(connection.execute("SELECT FROM calls").fetchall()) == 3
