"""Strangers cannot spend our sockets, memory or threads, and whoever asks is answered meanwhile."""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from callreplay.service import logs
from callreplay.service.settings import Settings

from .conftest import Running, ended, fresh
from .test_lifecycle import gone

pytestmark = pytest.mark.database
HALF_OPEN = 3000
NICE = "nice-headers: yes\r\n"


@pytest.fixture(scope="module")
def narrow() -> Iterator[Running]:
    """A service that may open 1,024 descriptors and no more, and gives headers two seconds."""
    with ended(fresh(("--header-seconds", "2"))) as running:
        running.prefix = ("prlimit", "--nofile=1024:1024")
        yield running.start()


def connect(running: Running, source: str = "127.0.0.1") -> socket.socket:
    port = int(running.base.rsplit(":", 1)[1])
    return socket.create_connection(("127.0.0.1", port), 10, source_address=(source, 0))


def rest(taken: socket.socket, seconds: float = 10) -> bytes:
    """What comes until the other side closes."""
    taken.settimeout(seconds)
    found = b""
    try:
        while data := taken.recv(65536):
            found += data
    except ConnectionResetError:
        pass
    return found


@pytest.fixture
def many_sockets() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < HALF_OPEN + 500:
        pytest.skip("this process may not open so many sockets")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_sockets")
@pytest.mark.parametrize("sources", [1, 30])
def test_thousands_of_half_open_connections_keep_nobody_out(narrow: Running, sources: int) -> None:
    def ask() -> float:
        began = time.perf_counter()
        assert httpx.get(narrow.base + "/healthz", timeout=10).status_code == 200
        return time.perf_counter() - began

    quiet = max(ask() for _ in range(20))
    lines = narrow.log.count("\n")
    took = []
    with ExitStack() as owned:
        for number in range(HALF_OPEN):
            taken = owned.enter_context(connect(narrow, f"127.0.1.{1 + number % sources}"))
            taken.sendall(b"GET /CallRecorder/ HTTP/1.1\r\nhost: x\r\n")
            if number % 30 == 0:  # while they come, and each by a connection of its own
                took.append(ask())
    took.sort()
    # A machine that is busy with other things was so a moment before.
    assert took[int(len(took) * 0.99) - 1] < 1 + 5 * quiet, f"p99 {took[-2]:.3f} s"
    log = narrow.log
    assert "Too many open files" not in log
    assert "out of system resource" not in log
    assert log.count("\n") - lines < len(took) + 20, "they are not told of one by one"


def test_headers_must_come_in_time(narrow: Running) -> None:
    began = time.monotonic()
    with connect(narrow) as silent, connect(narrow) as slow, connect(narrow) as done:
        slow.sendall(b"GET /healthz HTTP/1.1\r\n")
        done.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        for letter in NICE * 40:  # more than a minute of it
            try:
                slow.sendall(letter.encode())
            except OSError:
                break
            time.sleep(0.1)
            if time.monotonic() - began > 50:
                break
        assert time.monotonic() - began < 40, "one octet after the other does not help"
        assert rest(silent, 40) == b""
        assert rest(slow, 40) == b""
        assert rest(done, 40).startswith(b"HTTP/1.1 200 OK")
    assert time.monotonic() - began < 60


def test_a_form_must_come_in_time(narrow: Running) -> None:
    with connect(narrow) as slow:
        head = "POST /CallRecorder/Login HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n"
        slow.sendall(f"{head}content-type: application/x-www-form-urlencoded\r\n\r\nuser=".encode())
        began = time.monotonic()
        answer = rest(slow, 40)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert time.monotonic() - began < 40


@pytest.mark.parametrize(
    "head",
    [
        b"GET /healthz HTTP/1.1\r\nhost: x\r\n" + b"a: " + b"x" * 200_000,
        b"GET /healthz HTTP/1.1\r\nhost: x\r\n" + b"a: x\r\n" * 40_000,
        b"GET /" + b"x" * 200_000,
        b"\r\n" * 100_000,
    ],
    ids=["one long header", "many headers", "a long address", "nothing at all"],
)
def test_heads_of_requests_are_bounded(narrow: Running, head: bytes) -> None:
    with connect(narrow) as taken:
        try:
            for begin in range(0, len(head), 10_000):
                taken.sendall(head[begin : begin + 10_000])
        except OSError:
            return  # closed meanwhile
        answer = rest(taken)
    assert answer.startswith(b"HTTP/1.1 431 ") or answer == b""


def test_what_stands_behind_a_body_is_no_header(service: Running) -> None:
    token = b"0\r\nauthorization: Bearer x\r\nx-request-id: behind\r\n\r\n"
    with connect(service) as taken:
        taken.sendall(
            b"POST /CallRecorder/Login HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n"
            b"connection: close\r\n\r\n" + token
        )
        answer = rest(taken)
    assert answer.startswith(b"HTTP/1.1 ")
    assert b"behind" not in answer


def test_requests_one_behind_the_other_are_all_answered(narrow: Running) -> None:
    with connect(narrow) as taken:
        request = b"GET /healthz HTTP/1.1\r\nhost: x\r\n"
        taken.sendall((request + b"\r\n") * 50 + request + b"connection: close\r\n\r\n")
        assert rest(taken).count(b"HTTP/1.1 200 OK") == 51


@pytest.mark.parametrize("path", ["/healthz", "/CallRecorder/Login", "/CallRecorder/Nothing"])
def test_a_request_with_two_lengths_is_refused_and_its_connection_closed(narrow: Running, path: str) -> None:
    smuggled = b"0\r\n\r\nGET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
    with connect(narrow) as taken:
        head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(smuggled)}\r\n"
        taken.sendall(f"{head}transfer-encoding: chunked\r\n\r\n".encode() + smuggled)
        answer = rest(taken)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1, "what follows is not taken for a request"


def test_made_up_methods_do_not_fill_the_metrics(service: Running) -> None:
    with service.client() as client:
        client.request("PROPFIND", "/CallRecorder/")
        client.request("MADEUP", "/CallRecorder/0")
        size = len(httpx.get(service.metrics).content)
        for number in range(2000):
            assert client.request("SEARCH", f"/CallRecorder/{number}").status_code in (404, 405)
        for number in range(20):
            refused = client.request(f"MADEUP{number}", f"/CallRecorder/{number}")
            assert refused.status_code == 400, "llhttp knows no such method"
    text = httpx.get(service.metrics).text
    assert "MADEUP" not in text
    assert 'method="other"' in text
    assert len(text) < size + 10_000


def test_metrics_have_an_address_of_their_own(service: Running) -> None:
    place = service.metrics.removesuffix("/metrics")
    assert place != service.base
    assert httpx.get(service.base + "/metrics").status_code == 404
    assert httpx.get(place + "/healthz").status_code == 200
    for path in ("/", "/CallRecorder/", "/CallRecorder/Login", "/CallRecorder/static/style.css"):
        assert httpx.get(place + path).status_code == 404, path


def test_bad_utf8_is_400(service: Running) -> None:
    for path in ("/CallRecorder/?callDetails=%ff", "/CallRecorder/%ff", "/CallRecorder/Transcoder?a=%c0%ae"):
        assert httpx.get(service.base + path).status_code == 400, path
    form = {"content-type": "application/x-www-form-urlencoded"}
    answer = httpx.post(service.base + "/CallRecorder/Login", content=b"user=%ff&password=x", headers=form)
    assert answer.status_code == 400


def certificate(folder: Path) -> tuple[str, str]:
    cert, key = str(folder / "cert.pem"), str(folder / "key.pem")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
               "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=localhost",
               "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    return cert, key


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, str]]:
    """A service with a certificate, which may open 256 descriptors and gives two seconds; and the certificate."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate")
    cert, key = certificate(tmp_path_factory.mktemp("tls"))
    with ended(fresh(("--header-seconds", "2", "--tls-cert", cert, "--tls-key", key))) as running:
        running.prefix = ("prlimit", "--nofile=256:256")
        yield running.start(), cert


@pytest.mark.parametrize("sources", [1, 30])
def test_half_open_handshakes_keep_nobody_out(secure: tuple[Running, str], sources: int) -> None:
    running, cert = secure
    trusting = ssl.create_default_context(cafile=cert)
    with ExitStack() as owned:
        for number in range(600):
            taken = owned.enter_context(connect(running, f"127.0.1.{1 + number % sources}"))
            if number % 3:
                taken.sendall(b"\x16\x03\x01\x02\x00"[: number % 6])  # the beginning of a greeting
            if number % 60 == 0:
                assert httpx.get(running.base + "/healthz", timeout=30, verify=trusting).status_code == 200
        silent = connect(running)
        began = time.monotonic()
        assert rest(silent, 50) == b""
        assert time.monotonic() - began < 40, (
            "a handshake has the time that headers have: asyncio's is a minute"
        )
        silent.close()
    for text in ("Too many open files", "out of system resource", "Traceback", "Fatal error"):
        assert text not in running.log
    with connect(running) as plain:
        plain.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        assert b"HTTP" not in rest(plain), "not TLS: closed"
    assert httpx.get(running.base + "/healthz", verify=trusting).status_code == 200


def test_requests_over_tls_are_answered_whole(secure: tuple[Running, str]) -> None:
    running, cert = secure
    with connect(running) as taken:
        trusting = ssl.create_default_context(cafile=cert)
        with trusting.wrap_socket(taken, server_hostname="localhost") as speaking:
            # With the last octets of the handshake, before anybody over there has got up.
            speaking.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n" * 2)
            speaking.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            found = b""
            while data := speaking.recv(65536):
                found += data
    assert found.count(b"HTTP/1.1 200 OK") == 3


def children(pid: int) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
    return [int(line) for line in found.stdout.split()]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_tls_and_workers_that_end_with_their_parent(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    with ended(fresh(("--workers", "2", "--tls-cert", cert, "--tls-key", key))) as running:
        running.start()
        assert running.base.startswith("https://")
        trusting = ssl.create_default_context(cafile=cert)
        with httpx.Client(base_url=running.base, verify=trusting) as client:
            given = {"user": "admin", "password": running.password}
            entered = client.post("/CallRecorder/Login", data=given)
            assert entered.status_code == 303
            assert "; Secure" in entered.headers["set-cookie"]
            assert client.get("/CallRecorder/").status_code == 200
        with pytest.raises(httpx.TransportError):
            httpx.get(running.base.replace("https", "http") + "/healthz")
        assert running.process is not None
        workers = [
            pid for pid in children(running.process.pid)
            if "resource_tracker" not in (words := Path(f"/proc/{pid}/cmdline").read_text())
            and ("spawn_main" in words or "tests.programs" in words)
        ]  # fmt: skip
        assert len(workers) in (2, 3)  # with what workers are forked from (tests/programs)
        os.kill(running.process.pid, signal.SIGKILL)
        running.process.wait()
        deadline = time.monotonic() + 60
        while not all(map(gone, workers)):
            assert time.monotonic() < deadline, "the workers go on without the parent"
            time.sleep(0.05)


# -- what is written to the log -------------------------------------------------------------------------------------

SECRET = "Tell-No1"


@pytest.mark.parametrize(
    "query",
    [
        "user=a&amp;password={}",
        "user=a;password={}",
        "user=a%26password={}",
        "user=a%26password%3D{}%26x=1",
        "callDetails=a%3Fpassword%3D{}",
        "%70assword={}",
        "%2570assword={}",
        "a=%2526password%253D{}",
        "password%3D{}",
        "PASSWORD={}",
        "new_password={}",
        "ticket={}",
        "password=a;{}",
        "&".join(["x=1"] * 300) + "&password={}",
    ],
)
def test_no_spelling_of_a_password_reaches_the_log(service: Running, query: str) -> None:
    asked = query.format(SECRET)
    assert SECRET not in logs.redact_query(asked)
    httpx.get(f"{service.base}/CallRecorder/Nothing?{asked}")
    if "%25" not in query:  # a path is decoded once, where it is read
        httpx.get(f"{service.base}/CallRecorder/Nothing/{asked}")
    assert SECRET not in service.log


def test_what_a_library_says_again_and_again_is_said_once(service: Running) -> None:
    before = service.log.count("Invalid HTTP request")
    for _ in range(50):
        with connect(service) as taken:
            taken.sendall(b"nonsense\r\n\r\n")
            rest(taken)
    assert service.log.count("Invalid HTTP request") - before <= 2


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"trusted_proxies": ("proxy.example.com",)}, "trusted_proxies"),
        ({"auth_header": "X-User"}, "trusted_proxies"),
        ({"auth_header": "X User", "trusted_proxies": ("127.0.0.1",)}, "auth_header"),
        ({"tls_cert": "cert.pem"}, "tls_key"),
        ({"metrics_listen": "9464"}, "metrics_listen"),
        ({"metrics_listen": "127.0.0.1:99999"}, "metrics_listen"),
        ({"db_password": "short"}, "db_password"),
        ({"db_password": "Football"}, "guessed first"),
        ({"password_length": 4}, "password_length"),
    ],
)
def test_settings_that_open_a_door_are_checked(values: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=re.escape(named)):
        Settings(**values)  # type: ignore[arg-type]
