"""The nginx of docs/nginx.conf, and the Caddy of deploy/Caddyfile, before the real service."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from .conftest import Running, ended, fresh
from .test_connections import certificate

pytestmark = [pytest.mark.database, pytest.mark.slow]
ROOT = Path(__file__).parents[2]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@pytest.fixture(scope="module")
def behind() -> Iterator[Running]:
    """A service that believes what a proxy on this machine says."""
    with ended(fresh(("--trusted-proxies", "127.0.0.1", "--secure-cookies"))) as running:
        yield running.start()


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="callreplay-proxy-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


def example(path: Path, *changes: tuple[str, str]) -> str:
    """An example with the places of this test in it."""
    text = path.read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text


def seen(behind: Running) -> None:
    """What the service made of it."""
    [row] = behind.rows("SELECT host(address) AS address FROM audit_log WHERE action = 'login' LIMIT 1")
    assert row["address"] == "127.0.0.1"
    assert "does not name it" not in behind.log
    behind.rows("TRUNCATE audit_log")


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
def test_nginx_as_the_documentation_has_it(behind: Running, folder: Path) -> None:
    port = free_port()
    cert, key = certificate(folder)
    text = example(
        ROOT / "docs" / "nginx.conf",
        ("127.0.0.1:8080", behind.base.removeprefix("http://")),
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("/etc/ssl/calls.example.com.pem", cert),
        ("/etc/ssl/calls.example.com.key", key),
    )
    places = "".join(f"{name}_temp_path {folder}/{name};" for name in
                     ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))  # fmt: skip
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/pid; error_log {folder}/error.log;\nevents {{}}\nhttp {{ {places}\n{text}}}\n"
    )
    command = ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as proxy:
        try:
            use(f"https://127.0.0.1:{port}", cert, behind.password)
        finally:
            proxy.terminate()
    seen(behind)


@pytest.mark.skipif(shutil.which("caddy") is None, reason="Caddy is not installed")
def test_caddy_as_deploy_has_it(behind: Running, folder: Path) -> None:
    port = free_port()
    cert, key = certificate(folder)
    text = example(
        ROOT / "deploy" / "Caddyfile",
        ("calls.example.com {", f"https://127.0.0.1:{port} {{\n\ttls {cert} {key}"),
        ("127.0.0.1:8080", behind.base.removeprefix("http://")),
    )
    (folder / "Caddyfile").write_text(f"{{\n\tadmin off\n\tauto_https disable_redirects\n}}\n{text}")
    environment = os.environ | {
        "HOME": str(folder),
        "XDG_DATA_HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder),
    }
    command = ["caddy", "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]
    log = folder / "log"
    with log.open("wb") as out, subprocess.Popen(command, stderr=out, env=environment) as proxy:
        try:
            use(f"https://127.0.0.1:{port}", cert, behind.password)
        except BaseException:
            print(log.read_text())
            raise
        finally:
            proxy.terminate()
    seen(behind)


def use(place: str, cert: str, password: str) -> None:
    with httpx.Client(base_url=place, verify=ssl.create_default_context(cafile=cert), timeout=30) as client:
        deadline = time.monotonic() + 60
        while True:
            try:
                client.get("/CallRecorder/")
                break
            except httpx.TransportError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        entered = client.post("/CallRecorder", data={"user": "admin", "password": password})
        assert entered.status_code == 303
        assert "; Secure" in entered.headers["set-cookie"]
        assert client.get(entered.headers["location"]).status_code == 200
        found = client.get("/CallRecorder/Transcoder", params={"callerName": "ana"}, follow_redirects=True)
        assert found.content.startswith(b"RIFF")
        forged = client.get("/CallRecorder/Users", headers={"x-forwarded-user": "admin", "cookie": ""})
        assert forged.status_code in (200, 401)
        assert client.get("/metrics").status_code == 404, "nginx leads to the pages and to nothing else"
