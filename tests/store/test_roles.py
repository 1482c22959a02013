"""Who may do what in the database: through the published login, through roles an administrator makes, through SQL."""

from __future__ import annotations

import csv
import io
import json
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row
from tests.importing.test_filing import UTC, capture, record
from tests.scenario.cluster import prepare

from callreplay.importing import filing
from callreplay.store import audit, volumes
from callreplay.store.access import ready
from callreplay.store.cluster import DEFAULT_PASSWORD, NAME, OWNER, SUPERUSER, EmbeddedError, is_loopback
from callreplay.store.database import Database, connect, migrate
from callreplay.store.embedded import EmbeddedPostgres

SETTINGS = {"fsync": "off", "shared_buffers": "32MB"}
OPEN = ("call_list", "call_media", "volume_usage", "calls", "call_files", "storage_volumes")


def reader(server: EmbeddedPostgres) -> psycopg.Connection[dict[str, Any]]:
    return psycopg.connect(server.reader_url, row_factory=dict_row, autocommit=True)


def test_the_published_login_reads_what_is_named_and_nothing_else(
    server: EmbeddedPostgres, database: Database, tmp_path: Path
) -> None:
    with database.connection() as connection:
        volumes.add(connection, tmp_path / "v")
        tables = [
            str(row["name"])
            for row in connection.execute(
                "SELECT c.relname AS name FROM pg_class c WHERE relnamespace = 'public'::regnamespace "
                "AND relkind IN ('r', 'v', 'm', 'S')"
            )
        ]
    rows = capture(20)
    filing.file_call(database, 1, rows, record(rows), UTC)
    assert DEFAULT_PASSWORD in server.reader_url
    assert DEFAULT_PASSWORD not in server.url
    with reader(server) as connection:
        for name in OPEN:
            found = connection.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(name))).fetchall()
            assert len(found) == {"call_media": 2, "call_files": 2}.get(name, 1), name
        assert {"users", "sessions", "settings", "api_tokens", "audit_log", "reader_roles"} < set(tables)
        for name in set(tables) - set(OPEN):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(name)))
        for name in tables:
            for statement in ("DELETE FROM {}", "TRUNCATE {}", "DROP TABLE {}", "LOCK TABLE {}"):
                with pytest.raises(psycopg.Error):
                    connection.execute(sql.SQL(statement).format(sql.Identifier(name)))


def test_what_a_stranger_did_with_the_published_login(server: EmbeddedPostgres, database: Database) -> None:
    """Each statement of the attack, and what would fill the disk or keep the service waiting."""
    refused = (
        "INSERT INTO storage_volumes (name, path) VALUES ('etc', '/etc')",
        "UPDATE call_files SET path = '../../../etc/shadow'",
        "INSERT INTO sessions (token_hash, user_id, csrf_token, expires_at) VALUES ('x', 1, 'x', now() + '1 day')",
        "DELETE FROM audit_log",
        "SELECT value FROM settings",
        "SELECT password_hash FROM users",
        "CREATE TABLE mine (x integer)",
        "CREATE TEMPORARY TABLE mine (x integer)",
        "CREATE SCHEMA mine",
        "CREATE FUNCTION mine() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        "CREATE ROLE mine",
        "CREATE DATABASE mine",
        "ALTER ROLE callreplay CREATEROLE",
        "GRANT callreplay_readonly TO postgres",
        "SET ROLE callreplay_owner",
        "SET SESSION AUTHORIZATION callreplay_owner",
        "COPY calls TO '/tmp/calls'",
        "COPY calls TO PROGRAM 'cat'",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT lo_create(0)",
        "SELECT lo_import('/etc/passwd')",
        "SELECT lo_from_bytea(0, 'x')",
        "SELECT pg_advisory_lock(1667329132)",
        "SELECT pg_try_advisory_xact_lock_shared(1, 2)",
        "SELECT rolpassword FROM pg_authid",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'callreplay_owner'",
    )
    with reader(server) as connection:
        for statement in refused:
            with pytest.raises(psycopg.Error):
                connection.execute(statement.encode())
    for name in ("postgres", "template1"):
        with pytest.raises(psycopg.OperationalError, match="permission denied"):
            psycopg.connect(server.reader_url.removesuffix(NAME) + name).close()


def test_a_role_of_an_administrator_sees_its_tenants(
    server: EmbeddedPostgres, database: Database, tmp_path: Path
) -> None:
    rows = capture(20)
    with database.connection() as connection:
        volumes.add(connection, tmp_path / "v")
        connection.execute("INSERT INTO tenants (name) VALUES ('acme')")
    for tenant, call in ((1, "default's"), (2, "acme's")):
        filing.file_call(database, tenant, rows, record(rows, call), UTC)
    with connect(server.url) as owner:
        owner.execute("DROP ROLE IF EXISTS bi")
        owner.execute("CREATE ROLE bi LOGIN PASSWORD 'reads' IN ROLE callreplay_readonly")
        owner.commit()
        url = server.reader_url.replace(f"//{NAME}:{DEFAULT_PASSWORD}", "//bi:reads")

        def seen() -> dict[str, int]:
            with psycopg.connect(url, autocommit=True, row_factory=dict_row) as connection:
                connection.execute("SET search_path = pg_temp, public")
                return {
                    name: len(connection.execute(f"SELECT * FROM public.{name}".encode()).fetchall())
                    for name in ("calls", "call_files", "call_list", "call_media")
                }

        assert set(seen().values()) == {0}, "a role that nobody gave a tenant sees none"
        owner.execute("INSERT INTO reader_roles (role, tenant_id) VALUES ('bi', 2)")
        owner.commit()
        assert seen() == {"calls": 1, "call_files": 2, "call_list": 1, "call_media": 2}
        with psycopg.connect(url) as plain:
            assert plain.execute("SELECT wire_call_id FROM calls").fetchall() == [("acme's",)]
        owner.execute("DROP ROLE bi")


def test_writing_by_sql_is_a_switch(database: Database, server: EmbeddedPostgres, tmp_path: Path) -> None:
    rows = capture(20)
    with database.connection() as connection:
        volumes.add(connection, tmp_path / "v")
    filed = filing.file_call(database, 1, rows, record(rows), UTC)
    with connect(server.url) as owner, reader(server) as client:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            client.execute("UPDATE calls SET description = 'by SQL'")
        owner.execute("GRANT callreplay_writer TO callreplay")  # what --db-writes does (below, at a start)
        owner.commit()
        try:
            assert client.execute("UPDATE calls SET description = 'by SQL'").rowcount == 1
            # What is written by SQL is not believed: neither a path above the volume nor another folder.
            client.execute("UPDATE call_files SET path = '../../../../etc/passwd' WHERE position = 1")
            for statement in (
                "UPDATE storage_volumes SET path = '/etc'",
                "DELETE FROM audit_log",
                "TABLE sessions",
            ):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    client.execute(statement.encode())
        finally:
            owner.execute("REVOKE callreplay_writer FROM callreplay")
    with database.connection() as connection:
        (volume,) = volumes.listing(connection)
        (path,) = connection.execute("SELECT path FROM call_files WHERE position = 1").fetchall()
    with volume.open() as opened, pytest.raises(FileNotFoundError):
        opened.open(path["path"])
    assert filed.added


def test_the_audit_log_is_a_chain(database: Database) -> None:
    def check(head: tuple[int, str] | None = None) -> audit.Chain:
        with database.connection() as connection:
            return audit.verify(connection, head)

    assert check() == audit.Chain(0, audit._GENESIS.hex())
    for number in range(5):
        with database.connection() as connection:
            audit.write(connection, "test", target=f"{number} ä", detail={"a": [1, None]}, address="::1")
            audit.write(connection, "test", target=f"{number} b")
    whole = check()
    assert (whole.rows, whole.error) == (10, "")
    head = (whole.rows, whole.head)
    with database.connection() as connection:
        audit.write(connection, "later")
    assert check(head).error == ""
    for statement, said in (
        (
            "UPDATE audit_log SET actor = 'nobody' WHERE id = 4",
            "row 4 of the audit log is not what was written",
        ),
        ("DELETE FROM audit_log WHERE id = 4", "row 4 of the audit log was taken out"),
        (
            "DELETE FROM audit_log WHERE id = 4; DELETE FROM audit_chain WHERE audit_id = 4",
            "the chain has a gap",
        ),
        (
            "ALTER TABLE audit_log DISABLE TRIGGER audit_log_chain; INSERT INTO audit_log (action) VALUES ('x')",
            "is not in the chain",
        ),
        (
            "DELETE FROM audit_chain WHERE position > 8; DELETE FROM audit_log WHERE id > 8",
            "does not end where",
        ),
    ):
        with database.connection() as connection:
            connection.execute(statement.encode())
            assert said in audit.verify(connection).error
            connection.rollback()
    with database.connection() as connection:
        connection.execute("DELETE FROM audit_chain WHERE position > 8; DELETE FROM audit_log WHERE id > 8")
        connection.execute(
            "UPDATE audit_head SET (position, hash) = (SELECT position, hash FROM audit_chain WHERE position = 8)"
        )
        assert audit.verify(connection).error == "", (
            "an end cut off shows by the head that was kept elsewhere"
        )
        assert "its end was cut off" in audit.verify(connection, head).error
        connection.rollback()


def test_rows_of_the_audit_log_are_only_added(database: Database, server: EmbeddedPostgres) -> None:
    with database.connection() as connection:
        audit.write(connection, "test")
    with connect(server.url) as owner, reader(server) as client:
        owner.execute("GRANT ALL ON audit_log TO callreplay")
        owner.execute(f"GRANT USAGE ON SEQUENCE audit_log_id_seq TO {NAME}".encode())
        owner.commit()
        try:
            client.execute("INSERT INTO audit_log (action) VALUES ('added')")
            for statement in (
                "UPDATE audit_log SET actor = ''",
                "DELETE FROM audit_log",
                "TRUNCATE audit_log",
            ):
                with pytest.raises(psycopg.errors.InsufficientPrivilege, match="only ever added"):
                    client.execute(statement.encode())
        finally:
            owner.execute("REVOKE ALL ON audit_log FROM callreplay")
            owner.execute(f"REVOKE ALL ON SEQUENCE audit_log_id_seq FROM {NAME}".encode())
    with database.connection() as connection:
        assert audit.verify(connection).rows == 2


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="callreplay-roles-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


def test_an_installation_of_an_older_version_is_handed_over(folder: Path) -> None:
    """Its database belongs to the published login, its volumes have no markers, and one of them is not mounted."""
    rows = capture(20)
    with EmbeddedPostgres(folder, port=0, settings=SETTINGS) as server:
        with server._superuser() as root:
            root.execute(f"DROP DATABASE {NAME}".encode())
            root.execute(f"ALTER ROLE {NAME} CREATEROLE".encode())
            root.execute(f"DROP OWNED BY {OWNER}".encode())
            for role in (OWNER, "callreplay_readonly", "callreplay_writer"):
                root.execute(f"DROP ROLE {role}".encode())
            root.execute(f"CREATE DATABASE {NAME} OWNER {NAME}".encode())
        migrate(server.reader_url, "0003")
        with psycopg.connect(server.reader_url) as old:
            for name in ("", "same", "same", "gone"):
                path = folder / f"v{old.execute('SELECT count(*) FROM storage_volumes').fetchone()[0]}"  # type: ignore[index]
                path.mkdir()
                old.execute("INSERT INTO storage_volumes (name, path) VALUES (%s, %s)", (name, str(path)))
            old.execute("INSERT INTO audit_log (action) VALUES ('old'), ('older')")
            uuid = old.execute(
                "INSERT INTO calls (tenant_id, identity, started_at, ended_at) "
                "VALUES (1, 'x', now(), now()) RETURNING uuid"
            ).fetchone()
            old.execute(
                "INSERT INTO call_files (call_uuid, leg, volume_id, path) VALUES (%s, 'caller', 1, 'a/b.rtp'), "
                "(%s, 'called', 4, 'a/c.rtp')",
                (uuid[0], uuid[0]),  # type: ignore[index]
            )
            old.execute("CREATE VIEW mine AS SELECT * FROM users")
        (folder / "v0" / "a").mkdir()
        (folder / "v0" / "a" / "b.rtp").write_bytes(b"there")
    secrets = json.loads((folder / "database.json").read_text())
    del secrets["owner_password"]
    (folder / "database.json").write_text(json.dumps(secrets))

    with EmbeddedPostgres(folder, port=0, settings=SETTINGS, writes=False) as server:
        ready(server.url, folder)
        with Database(server.url, size=2) as database:
            with database.connection() as connection:
                found = volumes.listing(connection)
                owners = connection.execute(
                    "SELECT DISTINCT pg_get_userbyid(relowner) AS owner FROM pg_class "
                    "WHERE relnamespace = 'public'::regnamespace"
                ).fetchall()
                assert audit.verify(connection).rows == 2
                assert connection.execute("SELECT role, tenant_id FROM reader_roles").fetchall() == [
                    {"role": NAME, "tenant_id": None}
                ]
            assert [row["owner"] for row in owners] == [OWNER]
            assert [volume.name for volume in found] == ["Volume 1", "same", "same (3)", "gone"]
            # Volumes whose files are seen, and empty ones, have their markers; the one without its files has none.
            assert [volume.warning.partition(":")[0] for volume in found] == [
                "", "", "", "is not mounted there, or was moved",
            ]  # fmt: skip
            assert not (folder / "v3" / ".callreplay").exists()
            (folder / "v3" / "a").mkdir()
            (folder / "v3" / "a" / "c.rtp").write_bytes(b"mounted")
            ready(server.url, folder)
            assert found[3].warning == ""
            # New calls come in, and the published login reads them and no secrets.
            filed = filing.file_call(database, 1, rows, record(rows), UTC, 2)
            assert filed.volume_id == 2
        with reader(server) as client:
            assert len(client.execute("SELECT * FROM calls").fetchall()) == 2
            for statement in (
                "SELECT * FROM mine",
                "DROP TABLE calls",
                "CREATE TABLE x ()",
                "CREATE ROLE x",
                "TABLE users",
            ):
                with pytest.raises(psycopg.Error):
                    client.execute(statement.encode())


def test_the_switch_at_a_start(folder: Path) -> None:
    for writes, allowed in ((True, True), (None, True), (False, False)):
        with EmbeddedPostgres(folder, port=0, settings=SETTINGS, writes=writes) as server:
            ready(server.url, folder)
            with reader(server) as client:
                row = client.execute("SELECT pg_has_role('callreplay_writer', 'USAGE') AS writes").fetchone()
                assert row == {"writes": allowed}


def from_outside() -> str:
    """An address of this machine that is not loopback: what comes over it is a stranger's, for all the server knows."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            pytest.skip("this machine has no address but loopback")
        return str(probe.getsockname()[0])


def test_from_another_machine_only_readers_come_and_never_by_the_default_password(folder: Path) -> None:
    prepare(folder)
    outside = from_outside()
    with EmbeddedPostgres(folder, host="0.0.0.0", port=0, settings=SETTINGS, password="a reader's") as server:

        def answer(user: str, password: str, host: str) -> str:
            try:
                psycopg.connect(
                    host=host, port=server.port, dbname=NAME, user=user, password=password, connect_timeout=10
                ).close()
            except psycopg.OperationalError as error:
                return next(
                    (word for word in ("rejects", "authentication failed") if word in str(error)), str(error)
                )
            return "welcome"

        kept = json.loads((folder / "database.json").read_text())
        who = {NAME: "a reader's", OWNER: kept["owner_password"], SUPERUSER: kept["superuser_password"]}
        here = {user: answer(user, password, "127.0.0.1") for user, password in who.items()}
        assert here == dict.fromkeys(who, "welcome")
        there = {user: answer(user, password, outside) for user, password in who.items()}
        assert there == {NAME: "welcome", OWNER: "rejects", SUPERUSER: "rejects"}
        assert answer(NAME, DEFAULT_PASSWORD, outside) == "authentication failed"
        with pytest.raises(EmbeddedError, match="accepted on loopback only"):
            server.set_password(DEFAULT_PASSWORD)
        server.set_password("another one")
        assert answer(NAME, "a reader's", outside) == "authentication failed"
        assert answer(NAME, "another one", outside) == "welcome"


@pytest.mark.parametrize(
    ("host", "alone"),
    [("127.0.0.1", True), ("127.0.0.2", True), ("::1", True), ("localhost", True), ("0.0.0.0", False),
     ("::", False), ("192.0.2.1", False), ("localhost.example", False), ("", False)],
)  # fmt: skip
def test_what_is_reached_from_this_machine_alone(host: str, alone: bool) -> None:
    assert is_loopback(host) == alone


def test_an_export_of_the_audit_log_is_whole(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read a page at a time and handed on piece by piece: each row once."""
    monkeypatch.setattr(audit, "_PAGE", 7)
    with database.connection() as connection:
        for number in range(30):
            audit.write(connection, "test.row", actor="=boss", target=f"{number} {'x' * 5000}", tenant_id=1)
    rows = list(audit.every(database, 1))
    assert [row["object"].partition(" ")[0] for row in rows] == [
        str(number) for number in reversed(range(30))
    ]
    pieces = list(audit.as_csv(rows))
    assert len(pieces) > 1
    read = list(csv.DictReader(io.StringIO("".join(pieces))))
    assert [row["id"] for row in read] == [str(row["id"]) for row in rows]
    assert {row["actor"] for row in read} == {"'=boss"}
