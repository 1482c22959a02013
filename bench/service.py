"""The service under load, by wrk on loopback: cached Transcoder redirects and ranged reads of temporary URLs."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

SECONDS = 8


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def _wrk(url: str, headers: dict[str, str], connections: int) -> dict[str, float]:
    command = ["wrk", "-t1", f"-c{connections}", f"-d{SECONDS}s", "--latency", url]
    for name, value in headers.items():
        command += ["-H", f"{name}: {value}"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in text or "Socket errors" in text:
        raise RuntimeError(text)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    tail = re.search(r"99%\s+([\d.]+)(us|ms|s)", text)
    assert rate
    assert tail
    scale = {"us": 0.001, "ms": 1.0, "s": 1000.0}[tail[2]]
    return {"requests per second": float(rate[1]), "p99 ms": float(tail[1]) * scale}


def run() -> list[dict[str, Any]]:
    """One row per kind of request."""
    folder = Path(tempfile.mkdtemp(prefix="callreplay-bench-"))
    folder.chmod(0o755)
    command = [str(Path(sys.executable).with_name("callreplay")), "serve", "--data-dir", str(folder / "data"),
               "--port", "0", "--db-port", "0", "--log-level", "warning"]  # fmt: skip
    with (folder / "out").open("wb") as out:
        process = subprocess.Popen(command, stdout=out)
    try:
        while not (found := re.search(r"serving (http://[^/]+)/", (folder / "out").read_text())):
            if process.poll() is not None:
                raise RuntimeError("the service did not start")
            time.sleep(0.1)
        password = re.search(r"^password: (\S+)$", (folder / "out").read_text(), re.MULTILINE)
        assert password
        secret = {"authorization": "Basic " + base64.b64encode(f"admin:{password[1]}".encode()).decode()}
        place = f"{found[1]}/CallRecorder/Transcoder?callerName=ana&format=wav"
        opener, location = urllib.request.build_opener(_NoRedirect), ""
        for _ in range(100):
            try:
                opener.open(urllib.request.Request(place, headers=secret))
            except urllib.error.HTTPError as answer:
                location = answer.headers["location"]
                break
            except urllib.error.URLError:
                time.sleep(0.1)
        with urllib.request.urlopen(found[1] + location) as whole:
            whole.read()
        rows: list[dict[str, Any]] = []
        for name, url, headers, connections in (
            ("cached Transcoder redirects", place, secret, 16),
            ("ranged reads of a temporary URL", found[1] + location, {"range": "bytes=1000-65535"}, 16),
            ("health", found[1] + "/healthz", {}, 4),
        ):
            rows.append({"name": f"service: {name}", **_wrk(url, headers, connections)})
        return rows
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    for row in run():
        print(row)
