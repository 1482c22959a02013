"""Backup and restore as commands, with the real PostgreSQL: a restore elsewhere plays, and nothing is half done."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests import programs
from tests.scenario.cluster import prepare

from callreplay.errors import FormatError, OutputError
from callreplay.store.access import opened
from callreplay.store.embedded import EmbeddedPostgres
from callreplay.store.restoring import restore

pytestmark = pytest.mark.database
PROGRAM = Path(sys.executable).with_name("callreplay")
SAMPLES = Path(__file__).resolve().parents[2] / "samples"


def call(*words: object, code: int | None = 0) -> subprocess.CompletedProcess[str]:
    """What a command of the command line says."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CALLREPLAY_")}
    done = programs.run(words, capture_output=True, text=True, env=kept)
    assert code is None or done.returncode == code, done.stderr
    return done


def folder() -> Path:
    """One that PostgreSQL's account can enter."""
    made = Path(tempfile.mkdtemp(prefix="callreplay-backup-"))
    made.chmod(0o755)
    return made


@dataclass
class Archive:
    """An installation with calls on two volumes, one of them outside its data directory, and its backups."""

    root: Path

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def whole(self) -> Path:
        return self.root / "whole.tar"

    @property
    def light(self) -> Path:
        return self.root / "light.tar"


@pytest.fixture(scope="module")
def archive() -> Iterator[Archive]:
    made = Archive(folder())
    try:
        prepare(made.data)
        with EmbeddedPostgres(made.data, port=0, settings={"fsync": "off"}, password="a reader's") as server:
            call("import", SAMPLES / "reservation.pcap", "--data-dir", made.data)
            call("volumes", "add", made.root / "second", "--data-dir", made.data)
            call("import", SAMPLES / "support.pcap", SAMPLES / "wideband.pcapng", "--data-dir", made.data)
            assert call("backup", made.whole, "--recordings", "--data-dir", made.data).stderr.startswith(
                "callreplay: 3 calls, 12 files ("
            )
            call("backup", made.light, "--data-dir", made.data)
            # What is asked of a server by its URL is of that one, and has no password of an embedded one.
            call("backup", made.root / "other.tar", "--database-url", server.url)
        yield made
    finally:
        shutil.rmtree(made.root)


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    made = folder()
    try:
        yield made
    finally:
        shutil.rmtree(made)


def about(path: Path) -> dict[str, object]:
    with tarfile.open(path) as tar:
        file = tar.extractfile("backup.json")
        assert file is not None
        found: dict[str, object] = json.load(file)
    return found


def played(data: Path, wire: str = "reservation@192.0.2.10") -> bytes:
    """The audio of the call of Ana Pop, and that all calls are found and the audit log is whole."""
    with opened("", data) as url:
        found = call("calls", "find", "--json", "--database-url", url).stdout
        assert found.count('"callId"') == 3
        assert call("audit", "verify", "--database-url", url)
        sound = data.parent / "played.wav"
        call("calls", "transcode", "--wire-call-id", wire, "-o", sound, "--database-url", url)
    return sound.read_bytes()


def test_a_restore_elsewhere_plays(archive: Archive, elsewhere: Path) -> None:
    data = elsewhere / "data"
    before = played(archive.data)
    for each in ("data", "second"):  # nothing may come from the old place
        (archive.root / each).rename(archive.root / f"{each}.gone")
    try:
        done = call("restore", archive.whole, "--data-dir", data)
        assert "warning" not in done.stderr
        assert played(data) == before
    finally:
        for each in ("data", "second"):
            (archive.root / f"{each}.gone").rename(archive.root / each)
    names = {path.name for path in data.iterdir()} - {"lock", "users", "port", "postgresql.log", "postgresql"}
    assert names == {"cluster", "database.json", "volumes"}
    with EmbeddedPostgres(data, port=0) as server, psycopg.connect(server.url) as connection:
        paths = [row[0] for row in connection.execute("SELECT path FROM storage_volumes ORDER BY id")]
        assert paths == [str(data / "volumes" / "1"), str(data / "volumes" / "2")]
        psycopg.connect(server.reader_url).close()
        assert "a%20reader" in server.reader_url
    assert "has a database already" in call("restore", archive.whole, "--data-dir", data, code=1).stderr


def test_without_recordings_the_volumes_are_copied_as_one_likes(archive: Archive, elsewhere: Path) -> None:
    data, copy = elsewhere / "data", elsewhere / "copy"
    shutil.copytree(archive.data / "volumes", data / "volumes")
    done = call("restore", archive.light, "--data-dir", data, "--volume", f"Volume 2={copy}")
    assert "volume 1" not in done.stderr
    assert f"warning: volume 2 ({copy}) cannot be reached" in done.stderr
    shutil.copytree(archive.root / "second", copy)
    shutil.rmtree(copy / ".callreplay")  # some copies leave out what begins with a dot
    assert played(data) == played(archive.data)
    assert json.loads((copy / ".callreplay" / "volume.json").read_text())["uuid"]


def test_a_backup_is_ours_alone_and_says_what_it_has(archive: Archive) -> None:
    assert archive.whole.stat().st_mode & 0o777 == 0o600
    said = about(archive.whole)
    assert (said["calls"], said["recordings"], said["reader_password"]) == (3, True, "a reader's")
    assert about(archive.root / "other.tar")["reader_password"] == ""
    with tarfile.open(archive.whole) as tar:
        names = tar.getnames()
    assert names[:2] == ["backup.json", "database.dump"]
    assert names[-1] == "complete.json"
    assert len(names) == 3 + 12


def test_another_server_s_database_takes_it(
    archive: Archive, server: EmbeddedPostgres, elsewhere: Path
) -> None:
    with psycopg.connect(server.url, autocommit=True) as connection:
        owner = connection.info.user
    with server._superuser() as connection:
        connection.execute(f"CREATE DATABASE restored OWNER {owner}".encode())
    url = server.url.rpartition("/")[0] + "/restored"
    call("restore", archive.whole, "--database-url", url, "--data-dir", elsewhere / "service")
    sound = elsewhere / "played.wav"
    call("calls", "transcode", "--caller-name", "Ana Pop", "-o", sound, "--database-url", url)
    assert sound.read_bytes() == played(archive.data)
    refused = call("restore", archive.whole, "--database-url", url, "--data-dir", elsewhere, code=1)
    assert "the database is not empty" in refused.stderr


def _cut(data: bytes) -> bytes:
    return data[: len(data) // 2]  # what follows complete.json is only padding


def _without_end(data: bytes) -> bytes:
    return _changed(data, lambda name, content: None if name == "complete.json" else (name, content))


def _without_one(data: bytes) -> bytes:
    return _changed(data, lambda name, content: None if name.endswith(".idx") else (name, content))


def _escaping(data: bytes) -> bytes:
    return _changed(data, lambda name, content: (name.replace("volumes/1/", "volumes/1/../../x/"), content))


def _newer(data: bytes) -> bytes:
    return _changed(
        data, lambda name, content: (name, content.replace(b'"format": 1', b'"format": 9')[: len(content)])
    )


def _spoiled(data: bytes) -> bytes:
    return _changed(
        data, lambda name, content: (name, b"PGDMP" + bytes(len(content) - 5) if "dump" in name else content)
    )


def _changed(data: bytes, change: Callable[[str, bytes], tuple[str, bytes] | None]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(data)) as old, tarfile.open(fileobj=out, mode="w") as new:
        for entry in old:
            file = old.extractfile(entry)
            assert file is not None
            kept = change(entry.name, file.read())
            if kept is not None:
                entry.name, content = kept
                entry.size = len(content)
                new.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def _renamed(old: str, new: str) -> Callable[[bytes], bytes]:
    return lambda data: _changed(data, lambda name, content: (name.replace(old, new, 1), content))


def _told(change: Callable[[dict[str, Any]], object]) -> Callable[[bytes], bytes]:
    """With another backup.json."""

    def spoil(data: bytes) -> bytes:
        def changed(name: str, content: bytes) -> tuple[str, bytes]:
            if name != "backup.json":
                return name, content
            about = json.loads(content)
            change(about)
            return name, json.dumps(about).encode()

        return _changed(data, changed)

    return spoil


def _linked(data: bytes) -> bytes:
    """A recording is a link to a file of ours."""
    out = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(data)) as old, tarfile.open(fileobj=out, mode="w") as new:
        for entry in old:
            if entry.name.endswith(".rtp"):
                entry.type, entry.linkname, entry.size = tarfile.SYMTYPE, "/etc/passwd", 0
            new.addfile(entry, old.extractfile(entry) if entry.size else None)
    return out.getvalue()


def _scalar(data: bytes) -> bytes:
    return _changed(data, lambda name, content: (name, b"7" if name == "backup.json" else content))


@pytest.mark.parametrize(
    ("spoil", "wanted"),
    [
        (_linked, r"it has|\.rtp in it is no file"),
        (_scalar, "backup.json in it cannot be read"),
        (_renamed("backup.json", "about.json"), "does not begin with backup.json"),
        (_renamed("volumes/1/", "volumes/3/"), "it has volumes/3/"),
        (_renamed("volumes/1/", f"volumes/{'9' * 5000}/"), "it has volumes/999"),
        (_renamed("volumes/1/", "elsewhere/1/"), "it has elsewhere/1/"),
        (_renamed("volumes/1/", "volumes/1/.callreplay/"), "cannot be written"),
        (_told(lambda about: about["volumes"][0].update(home="../x")), "volume 1 lies outside"),
        (_told(lambda about: about["volumes"][0].update(home="/tmp/x")), "volume 1 lies outside"),
        (_told(lambda about: about["volumes"][0].update(home=5)), "backup.json in it cannot be read"),
        (_told(lambda about: about["volumes"][0].update(uuid="5")), "backup.json in it cannot be read"),
        (_told(lambda about: about.update(volumes=[5])), "backup.json in it cannot be read"),
        (_told(lambda about: about.update(roles=[["x"]])), "backup.json in it cannot be read"),
        (_told(lambda about: about.pop("calls")), "backup.json in it cannot be read"),
        (_cut, "damaged|early"),
        (_without_end, "ends early"),
        (_without_one, "files of it are missing"),
        (_escaping, "cannot be written"),
        (_newer, "format 9"),
        (_spoiled, "pg_restore failed"),
        (lambda _: b"not a tar file" * 100, "no backup"),
        (lambda _: b"", "no backup"),
    ],
    ids=[
        "link",
        "scalar",
        "begins",
        "volume",
        "number",
        "top",
        "marker",
        "up",
        "root",
        "home",
        "uuid",
        "volumes",
        "roles",
        "calls",
        "cut",
        "no end",
        "file gone",
        "escaping",
        "newer",
        "dump",
        "text",
        "empty",
    ],
)
def test_what_is_no_whole_backup_leaves_nothing(
    archive: Archive, elsewhere: Path, spoil: Callable[[bytes], bytes], wanted: str
) -> None:
    data = elsewhere / "data"
    with pytest.raises((FormatError, OutputError), match=wanted):
        restore(io.BytesIO(spoil(archive.whole.read_bytes())), data)
    assert {path.name for path in data.iterdir()} <= {"lock", "volumes"}
    assert not [path for path in (data / "volumes").rglob("*") if path.is_file()]
    assert not (elsewhere / "x").exists()


@pytest.mark.parametrize("home", [".", "cluster/base", "postgresql", "restoring"])
def test_recordings_do_not_go_among_what_the_program_keeps(
    home: str, archive: Archive, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the database nor the programs that run it are written over by what a backup says."""
    data = elsewhere / "data"
    put: list[str] = []

    def stop(*_: object, **__: object) -> None:
        put.extend(str(path.relative_to(data)) for path in data.rglob("*.rtp"))
        raise FormatError("far enough")

    monkeypatch.setattr("callreplay.store.restoring.EmbeddedPostgres", stop)
    spoilt = _told(lambda about: about["volumes"][0].update(home=home))(archive.whole.read_bytes())
    with pytest.raises(FormatError, match="far enough"):
        restore(io.BytesIO(spoilt), data)
    assert len(put) == 6
    assert {path[:10] for path in put} == {"volumes/1/", "volumes/2/"}
    assert {path.name for path in data.iterdir()} <= {"lock", "volumes"}


def test_a_backup_that_cannot_be_whole_is_not_there(archive: Archive, elsewhere: Path) -> None:
    marker = archive.root / "second" / ".callreplay"
    marker.rename(archive.root / "marker")
    try:
        done = call("backup", elsewhere / "b.tar", "--recordings", "--data-dir", archive.data, code=1)
    finally:
        (archive.root / "marker").rename(marker)
    assert "volume 2" in done.stderr
    assert list(elsewhere.iterdir()) == []
    lost = next(path for path in (archive.root / "second").rglob("*.rtp"))
    lost.rename(archive.root / "lost")
    try:
        done = call("backup", elsewhere / "b.tar", "--recordings", "--data-dir", archive.data, code=1)
    finally:
        (archive.root / "lost").rename(lost)
    assert f"not there: volume 2 ({archive.root}/second): " in done.stderr
    assert tarfile.is_tarfile(elsewhere / "b.tar"), "all the rest is worth having"
    missing = call("backup", elsewhere / "no" / "b.tar", "--data-dir", archive.data, code=1)
    assert "is not a folder" in missing.stderr


@pytest.mark.parametrize("text", ["2", "=x", "2="])
def test_a_volume_is_named_with_its_folder(text: str, archive: Archive, elsewhere: Path) -> None:
    done = call("restore", archive.light, "--data-dir", elsewhere / "d", "--volume", text, code=2)
    assert "ID=FOLDER" in done.stderr


def test_a_volume_that_the_backup_has_not(archive: Archive, elsewhere: Path) -> None:
    done = call("restore", archive.light, "--data-dir", elsewhere / "d", "--volume", "9=/tmp", code=2)
    assert "none of the id or name '9'" in done.stderr
