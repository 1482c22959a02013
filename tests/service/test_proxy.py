"""The nginx of docs/nginx.conf before the real service."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import tempfile
import time
from pathlib import Path

import httpx
import pytest

from .conftest import ended, fresh
from .test_connections import certificate

pytestmark = [pytest.mark.database, pytest.mark.slow]
EXAMPLE = Path(__file__).parents[2] / "docs" / "nginx.conf"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
def test_nginx_as_the_documentation_has_it() -> None:
    port = free_port()
    with (
        tempfile.TemporaryDirectory(prefix="callreplay-nginx-") as made,
        ended(fresh(("--trusted-proxies", "127.0.0.1", "--secure-cookies"))) as running,
    ):
        folder = Path(made)
        folder.chmod(0o755)
        cert, key = certificate(folder)
        running.start()
        text = EXAMPLE.read_text(encoding="utf-8")
        for old, new in (
            ("127.0.0.1:8080", running.base.removeprefix("http://")),
            ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
            ("/etc/ssl/calls.example.com.pem", cert),
            ("/etc/ssl/calls.example.com.key", key),
        ):
            assert old in text
            text = text.replace(old, new)
        places = "".join(f"{name}_temp_path {folder}/{name};" for name in
                         ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))  # fmt: skip
        (folder / "nginx.conf").write_text(
            f"daemon off; pid {folder}/pid; error_log {folder}/error.log;\nevents {{}}\nhttp {{ {places}\n{text}}}\n"
        )
        command = ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as proxy:
            try:
                use(f"https://127.0.0.1:{port}", cert, running.password)
            finally:
                proxy.terminate()
        [row] = running.rows("SELECT host(address) AS address FROM audit_log WHERE action = 'login' LIMIT 1")
        assert row["address"] == "127.0.0.1"
        assert "does not name it" not in running.log


def use(place: str, cert: str, password: str) -> None:
    with httpx.Client(base_url=place, verify=ssl.create_default_context(cafile=cert), timeout=30) as client:
        deadline = time.monotonic() + 10
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
