"""What a release has stored or published is read and given for ever."""

from __future__ import annotations

import json
import lzma
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jsonschema
import psycopg
import pytest

import callreplay
from callreplay import report
from callreplay.model import INDEX_SUFFIX
from callreplay.packets.recording import index_path, read_index
from callreplay.store.access import opened
from callreplay.store.embedded import EmbeddedPostgres
from callreplay.store.restoring import restore

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RELEASES = sorted(path for path in HERE.iterdir() if (path / "leg.json").is_file())


def told(path: Path) -> dict[str, Any]:
    """A side index as plain data."""
    index = read_index(index_path(path))
    return {
        "side": index.side,
        "call": json.loads(json.dumps(asdict(index.call), default=str)),
        "streams": json.loads(json.dumps([asdict(stream) for stream in index.streams], default=str)),
        "records": len(index.arrival_ns),
        "arrival_ns": [int(index.arrival_ns[0]), int(index.arrival_ns[-1])],
        "octets": int(index.length.sum()),
        "flags": int(index.flags.astype(int).sum()),
        "inferred": index.inferred,
        "reports": [list(each) for each in index.reports],
    }


def holds(old: Any, new: Any, where: str = "") -> None:
    """Everything that was told is told still, and the same; more may be."""
    if isinstance(old, dict):
        for name, value in old.items():
            assert name in new, f"{where}.{name} is lost"
            holds(value, new[name], f"{where}.{name}")
    elif isinstance(old, list) and old and isinstance(old[0], dict):
        assert len(old) == len(new), where
        for number, (one, other) in enumerate(zip(old, new, strict=True)):
            holds(one, other, f"{where}[{number}]")
    else:
        assert old == new, where


@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.name)
def test_a_stored_leg_says_what_it_said(release: Path) -> None:
    stored = release / "caller.rtp"
    assert stored.with_name(stored.name + INDEX_SUFFIX).is_file()
    holds(json.loads((release / "leg.json").read_text()), told(stored))
    with callreplay.open(stored) as capture:
        (call,) = capture.calls
        assert call.description.call_id == "reservation@192.0.2.10"
        assert str(call.party("caller")) == "Ana Pop <0721555010>"
        assert [str(codec) for codec in call.legs[0].codecs] == ["PCMU/8000"]
        assert call.mix("caller").any()


def test_there_is_a_release_to_read() -> None:
    assert RELEASES


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="callreplay-golden-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


@pytest.mark.database
@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.name)
def test_a_backup_of_a_release_is_restored_and_plays(release: Path, folder: Path) -> None:
    """Its schema is that of its time: it is brought to today's."""
    with lzma.open(release / "backup.tar.xz") as source:
        done = restore(source, folder / "data")
    assert (done.calls, done.files, done.warnings) == (1, 4, [])
    program = Path(sys.executable).with_name("callreplay")
    with opened("", folder / "data") as url:
        words = ["calls", "transcode", "--caller-name", "Ana Pop", "--database-url", url]
        subprocess.run([program, *words, "-o", folder / "x.wav"], check=True)
        with psycopg.connect(url) as connection:
            rows = connection.execute("SELECT caller_name, tenant, legal_hold FROM call_list").fetchall()
    assert rows == [("Ana Pop", "default", False)]
    assert (folder / "x.wav").stat().st_size > 20_000


@pytest.mark.database
def test_views_give_every_column_that_they_ever_gave(server: EmbeddedPostgres) -> None:
    columns: dict[str, dict[str, str]] = {}
    with psycopg.connect(server.url) as connection:
        rows = connection.execute(
            "SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_class c "
            "JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped "
            "WHERE c.relnamespace = 'public'::regnamespace AND c.relname = ANY (%s) ORDER BY c.relname, a.attnum",
            (["call_list", "call_media", "volume_usage", "calls", "call_files", "storage_volumes"],),
        )
        for table, column, kind in rows:
            columns.setdefault(table, {})[column] = kind
    if "CALLREPLAY_GOLDEN" in os.environ:
        (HERE / "views.json").write_text(json.dumps(columns, indent=1) + "\n")
    holds(json.loads((HERE / "views.json").read_text()), columns)


def _reports() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted([*(ROOT / "samples").glob("*.pcap*"), HERE / "0.1.0" / "caller.rtp"]):
        for audio in (True, False):
            with callreplay.open(path) as capture:
                yield f"{path.name} {audio}", json.loads(json.dumps(capture.report(audio=audio)))


def test_reports_are_as_their_schema_says() -> None:
    validator = jsonschema.Draft202012Validator(report.schema())
    validator.check_schema(report.schema())
    for name, found in _reports():
        errors = [f"{name} {error.json_path}: {error.message}" for error in validator.iter_errors(found)]
        assert not errors
    assert list(validator.iter_errors({"calls": []}))


def test_every_field_of_statistics_is_in_the_schema() -> None:
    from callreplay.order.statistics import LegStatistics

    properties = report.schema()["$defs"]["statistics"]["properties"]
    assert list(properties) == list(LegStatistics.__dataclass_fields__)
    for name, definition in report.schema()["$defs"].items():
        for field, said in definition["properties"].items():
            assert "$ref" in said or said["description"].endswith("."), f"{name}.{field}"
