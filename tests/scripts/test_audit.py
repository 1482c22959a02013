"""scripts/audit: what it exits with, and what it says, over a server that speaks OSV's protocol."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def advisories(known: dict[str, str], broken: str = "") -> Iterator[tuple[str, list[str]]]:
    """The URL of a server that knows a vulnerability of each package in ``known``, and the packages asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = json.loads(self.rfile.read(int(self.headers["content-length"])))
            name = query["package"]["name"]
            asked.append(name)
            content: dict[str, Any] = {}
            if name in known:
                affected = [{"package": {"name": name, "ecosystem": "PyPI"}, "ranges": []}]
                content = {
                    "vulns": [{"id": known[name], "summary": "Told for a test.", "affected": affected}]
                }
            data = json.dumps(content).encode()
            self.send_response(500 if name == broken else 200)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1/query", asked
        finally:
            server.shutdown()
            thread.join()


def audit(url: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"CALLREPLAY_OSV_URL": url, "no_proxy": "127.0.0.1"}
    return subprocess.run(
        [ROOT / "scripts" / "audit"], env=environment, capture_output=True, text=True, check=False
    )


def test_a_finding_fails_and_is_named() -> None:
    with advisories({"starlette": "GHSA-told-for-test"}) as (url, _):
        done = audit(url)
    assert done.returncode == 1
    assert "starlette" in done.stdout
    assert "GHSA-told-for-test" in done.stdout
    assert "FAILED" in done.stderr


def test_none_passes_and_everything_was_asked_for() -> None:
    with advisories({}) as (url, asked):
        done = audit(url)
    assert done.returncode == 0, done.stderr
    # Direct and indirect; nothing that only tests need.
    assert {"numpy", "starlette", "psycopg", "uvicorn", "argon2-cffi", "argon2-cffi-bindings"} <= set(asked)
    assert not {"callreplay", "pytest", "mypy", "pip-audit"} & set(asked)
    assert f"clean, {len(set(asked))} packages" in done.stdout


def test_an_audit_that_breaks_off_fails() -> None:
    with advisories({}, broken="uvicorn") as (url, _):
        done = audit(url)
    assert done.returncode == 1
    assert "clean" not in done.stdout


def test_it_says_that_it_was_skipped_where_nobody_answers() -> None:
    with advisories({}) as (url, _):
        pass
    done = audit(url)
    assert done.returncode == 0
    assert done.stdout.startswith("audit: SKIPPED")
