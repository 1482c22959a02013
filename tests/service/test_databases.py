"""Clients of the embedded PostgreSQL, and a PostgreSQL of one's own in its place."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pg8000.dbapi
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row

from callreplay.store.cluster import DEFAULT_PASSWORD
from callreplay.store.embedded import free_port
from tests import programs

from .conftest import Running, ended, fresh

pytestmark = [pytest.mark.database, pytest.mark.slow]
VIEWS = ("call_list", "call_media", "volume_usage", "calls", "call_files", "storage_volumes")
DEBIAN = Path("/usr/lib/postgresql/15/bin")


def test_psql_connects(service: Running) -> None:
    asked = "SELECT caller_name FROM call_list WHERE caller_name LIKE 'Ana P%'"
    done = subprocess.run(
        ["psql", "-XAt", "-w", service.reader_url, "-c", asked], capture_output=True, text=True, check=True
    )
    assert done.stdout == "Ana Pop\n"
    wrong = service.reader_url.replace(DEFAULT_PASSWORD, "wrong")
    done = subprocess.run(
        ["psql", "-XAt", "-w", wrong, "-c", asked], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "password authentication failed" in done.stderr


def test_a_client_of_another_make_connects_with_the_plain_password(service: Running) -> None:
    """pg8000 speaks the protocol and scram-sha-256 by itself, as the JDBC driver does, without libpq."""
    place = conninfo_to_dict(service.reader_url)
    given = {
        "user": "callreplay",
        "host": place["host"],
        "port": int(place["port"] or 0),
        "database": "callreplay",
    }
    connection = pg8000.dbapi.connect(**given, password=DEFAULT_PASSWORD)
    try:
        cursor = connection.cursor()
        cursor.execute("SELECT count(*) FROM call_list WHERE tenant = %s", ("default",))
        assert cursor.fetchall() == ([3],)
    finally:
        connection.close()
    with pytest.raises(pg8000.dbapi.DatabaseError, match="28P01"):
        pg8000.dbapi.connect(**given, password="wrong")


@contextmanager
def debian_postgresql(folder: Path, options: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """URLs of a plain Debian cluster's superuser, and of a user who owns an empty database and nothing more."""
    port = free_port("127.0.0.1", 0)
    account: dict[str, Any] = {"cwd": "/"}
    if os.geteuid() == 0:
        shutil.chown(folder, "nobody", "nogroup")
        account |= {"user": "nobody", "group": "nogroup", "extra_groups": []}
    secret = folder / "password"
    secret.write_text("the superuser's")
    subprocess.run(
        [DEBIAN / "initdb", "-D", folder / "data", "-U", "root", "--pwfile", secret, "--auth=scram-sha-256",
         "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"],
        check=True, capture_output=True, **account,
    )  # fmt: skip
    command: list[Any] = [DEBIAN / "postgres", "-D", folder / "data", "-p", str(port), "-c", "fsync=off",
                          "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", *options]  # fmt: skip
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, **account) as server:
        try:
            root = f"postgresql://root:the%20superuser's@127.0.0.1:{port}/postgres"
            while True:
                try:
                    connection = psycopg.connect(root, autocommit=True)
                    break
                except psycopg.OperationalError:
                    assert server.poll() is None
                    time.sleep(0.05)
            with connection:
                connection.execute("CREATE ROLE owner LOGIN PASSWORD 'p@ss/word'")
                connection.execute("CREATE DATABASE calls OWNER owner")
            yield root, f"postgresql://owner:p%40ss%2Fword@127.0.0.1:{port}/calls"
        finally:
            server.terminate()


def _certificate(folder: Path) -> tuple[Path, Path]:
    certificate, key = folder / "server.crt", folder / "server.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=database", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    key.chmod(0o600)
    return certificate, key


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_a_database_behind_tls_is_spoken_to_in_nothing_else() -> None:
    """``database_url`` with sslmode=verify-full: every connection is encrypted; another's certificate is refused."""
    with tempfile.TemporaryDirectory(prefix="callreplay-tls-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        certificate, key = _certificate(folder)
        if os.geteuid() == 0:
            shutil.chown(key, "nobody", "nogroup")
        options = ("-c", "ssl=on", "-c", f"ssl_cert_file={certificate}", "-c", f"ssl_key_file={key}")
        (folder / "other").mkdir()
        other, _ = _certificate(folder / "other")
        with debian_postgresql(folder, options) as (root, plain):
            url = f"{plain}?sslmode=verify-full&sslrootcert={certificate}"
            with ended(fresh(("--database-url", url))) as running, running.start().basic() as client:
                assert len(client.get("/CallRecorder/Transcoder", params={"format": "json"}).json()) == 3
                with psycopg.connect(root) as connection:
                    asked = (
                        "SELECT bool_and(ssl), count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) "
                        "WHERE usename = 'owner'"
                    )
                    encrypted, count = connection.execute(asked).fetchone() or (False, 0)
                assert encrypted
                assert count
            url = f"{plain}?sslmode=verify-full&sslrootcert={other}"
            done = programs.run(["calls", "find", "--database-url", url], capture_output=True, text=True)
            assert done.returncode == 1, done.stderr
            assert "certificate verify failed" in done.stderr
            assert "Traceback" not in done.stderr
            assert "p%40ss" not in done.stderr


@pytest.fixture(scope="module")
def foreign() -> Iterator[tuple[Running, str, str]]:
    """A service on Debian's PostgreSQL 15; the URLs of the cluster's superuser and of the database's owner."""
    if not (DEBIAN / "postgres").exists():
        if "CI" in os.environ:
            pytest.fail("postgresql-15 is not installed")
        pytest.skip("postgresql-15 is not installed")
    with tempfile.TemporaryDirectory(prefix="callreplay-debian-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with debian_postgresql(folder) as (root, url), ended(fresh(("--database-url", url))) as running:
            yield running.start(), root, url


def test_another_postgresql_holds_the_schema_and_answers_searches(foreign: tuple[Running, str, str]) -> None:
    running, _, url = foreign
    assert not (running.folder / "data" / "cluster").exists(), "no server of ours"
    with psycopg.connect(url) as connection:
        [version] = connection.execute("SHOW server_version_num").fetchone() or ("",)
        assert 150000 <= int(version) < 160000
    with running.basic() as client:
        every = client.get("/CallRecorder/Transcoder", params={"format": "json"}).json()
        assert len(every) == 3
        [ana] = [each for each in every if each["callerName"] == "Ana Pop"]
        for name in ("callId", "wireCallId", "callerIP", "callerNumber", "callerName", "calledNumber"):
            parameters = {name: ana[name], "beginTime": ana["beginTime"], "format": "json"}
            found = client.get("/CallRecorder/Transcoder", params=parameters)
            assert [each["callId"] for each in found.json()] == [ana["callId"]], name
        for part in ("a", "NA", "na po", "zz"):
            found = client.get("/CallRecorder/Transcoder", params={"callerName": part, "format": "json"})
            expected = [
                each["callId"] for each in every if part.lower() in (each["callerName"] or "").lower()
            ]
            assert [each["callId"] for each in found.json()] == expected, part
        answer = client.get(
            "/CallRecorder/Transcoder", params={"callerName": "ana pop"}, follow_redirects=True
        )
        assert answer.content.startswith(b"RIFF")


def test_the_read_only_role_of_another_postgresql_is_made_by_its_administrator(
    foreign: tuple[Running, str, str],
) -> None:
    """The owner of the database may not create roles there; docs/database.md tells the administrator what to do."""
    _, root, url = foreign
    text = (Path(__file__).parents[2] / "docs" / "database.md").read_text(encoding="utf-8")
    roles, reader_of_one = re.findall(r"```sql\n(.*?)```", text, re.DOTALL)
    as_root = root.replace("/postgres", "/calls")
    with psycopg.connect(as_root, autocommit=True) as connection:
        assert (
            connection.execute("SELECT FROM pg_roles WHERE rolname = 'callreplay_readonly'").fetchone()
            is None
        )
        connection.execute(roles)
        connection.execute("INSERT INTO tenants (name) VALUES ('acme')")
        connection.execute(reader_of_one)
        connection.execute("CREATE ROLE reader LOGIN PASSWORD 'reads' IN ROLE callreplay_readonly")
        connection.execute("INSERT INTO reader_roles (role) VALUES ('reader')")
    of_acme = re.sub(r"//[^@]+@", "//acme_reports:choose-one@", url)
    with psycopg.connect(of_acme, autocommit=True) as connection:
        assert connection.execute("SELECT FROM call_list").fetchall() == []
        assert connection.execute("SELECT FROM calls").fetchall() == []
    reader = re.sub(r"//[^@]+@", "//reader:reads@", url)
    with psycopg.connect(reader, row_factory=dict_row, autocommit=True) as connection:
        for view in VIEWS:
            rows = connection.execute(f"SELECT * FROM {view}".encode()).fetchall()
            assert len(rows) == {"call_list": 3, "calls": 3, "volume_usage": 1}.get(view, len(rows)) > 0
        for refused in ("SELECT * FROM users", "SELECT * FROM settings", "DELETE FROM volume_usage"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(refused.encode())
