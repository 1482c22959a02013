"""Captures given as file objects, URLs and what other libraries open."""

import functools
import http.server
import io
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import callreplay
from callreplay.errors import ArgumentError, CaptureError, UnsupportedError
from callreplay.packets import opening

SAMPLE = Path(__file__).resolve().parents[2] / "samples" / "support.pcap"


@pytest.fixture(scope="module")
def want() -> Any:
    return callreplay.open(SAMPLE)[0].mix()


class _Slow(io.RawIOBase):
    """A file that gives few octets at a time, as sockets do."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._file.read(min(size, 1000) if size >= 0 else -1)


def _later(data: bytes) -> io.BytesIO:
    late = io.BytesIO(b"header" + data)
    late.seek(6)
    return late


def _temporary(data: bytes, folder: Path) -> Any:
    file = tempfile.NamedTemporaryFile(dir=folder)  # noqa: SIM115
    file.write(data)
    file.seek(0)
    return file


def _given(how: str, folder: Path) -> Any:
    data = SAMPLE.read_bytes()
    return {
        "bytes": lambda: data,
        "bytearray": lambda: bytearray(data),
        "memoryview": lambda: memoryview(data),
        "array": lambda: np.frombuffer(data, np.uint8),
        "path": lambda: SAMPLE,
        "text": lambda: str(SAMPLE),
        "file": lambda: SAMPLE.open("rb"),
        "unbuffered": lambda: SAMPLE.open("rb", buffering=0),
        "BytesIO": lambda: io.BytesIO(data),
        "from where it stands": lambda: _later(data),
        "slow": lambda: _Slow(data),
        "temporary": lambda: _temporary(data, folder),
        "file URL": SAMPLE.as_uri,
    }[how]()


HOW = (
    "bytes", "bytearray", "memoryview", "array", "path", "text", "file", "unbuffered", "BytesIO",
    "from where it stands", "slow", "temporary", "file URL",
)  # fmt: skip


@pytest.mark.parametrize("how", HOW)
def test_every_kind_of_source_gives_the_same_call(how: str, want: Any, tmp_path: Path) -> None:
    given = _given(how, tmp_path)
    try:
        assert np.array_equal(callreplay.open(given)[0].mix(), want)
    finally:
        if hasattr(given, "close"):
            given.close()


def test_files_on_a_disk_are_mapped_and_others_above_16_mib_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with SAMPLE.open("rb") as file:
        mapped = opening.localised(file)
        assert file.tell() == 0
    assert mapped.tobytes() == SAMPLE.read_bytes()
    monkeypatch.setattr(opening, "_IN_MEMORY", 1 << 14)
    assert opening.localised(io.BytesIO(SAMPLE.read_bytes())).tobytes() == SAMPLE.read_bytes()


def test_text_files_are_refused() -> None:
    with SAMPLE.open(encoding="latin-1") as file, pytest.raises(ArgumentError, match="'rb'"):
        callreplay.open(file)  # type: ignore[arg-type]

    class Texts:
        def read(self, size: int) -> str:
            return "text"

    with pytest.raises(ArgumentError, match="'rb'"):
        callreplay.open(Texts())  # type: ignore[arg-type]


def test_what_is_no_source_is_an_error_of_ours() -> None:
    for nothing in (b"", io.BytesIO(b"")):
        with pytest.raises(CaptureError, match="empty"):
            callreplay.open(nothing)
    with pytest.raises(UnsupportedError, match="fsspec"):
        _without("fsspec", lambda: callreplay.open("dav://host/x.pcap"))


def _without(module: str, work: Any) -> Any:
    import sys

    before = sys.modules.get(module)
    sys.modules[module] = None  # type: ignore[assignment]
    try:
        return work()
    finally:
        del sys.modules[module]
        if before is not None:
            sys.modules[module] = before


@pytest.fixture(scope="module")
def web() -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(SAMPLE.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_http(web: str, want: Any) -> None:
    with callreplay.open(f"{web}/support.pcap") as capture:
        assert capture.name == f"{web}/support.pcap"
        assert np.array_equal(capture[0].mix(), want)
    with pytest.raises(CaptureError, match=r"absent\.pcap: .*404"):
        callreplay.open(f"{web}/absent.pcap")


def test_fsspec(want: Any) -> None:
    fsspec = pytest.importorskip("fsspec")
    with fsspec.open("memory://calls/x.pcap", "wb") as file:
        file.write(SAMPLE.read_bytes())
    assert np.array_equal(callreplay.open("memory://calls/x.pcap")[0].mix(), want)
    assert np.array_equal(callreplay.open(fsspec.open("memory://calls/x.pcap"))[0].mix(), want)
    with fsspec.open("memory://calls/x.pcap", "rb") as file:
        assert np.array_equal(callreplay.open(file)[0].mix(), want)
    with pytest.raises(CaptureError, match=r"memory://calls/absent\.pcap"):
        callreplay.open("memory://calls/absent.pcap")


def test_obstore(want: Any) -> None:
    obstore = pytest.importorskip("obstore")
    store = obstore.store.MemoryStore()
    obstore.put(store, "calls/x.pcap", SAMPLE.read_bytes())
    assert np.array_equal(callreplay.open(obstore.open_reader(store, "calls/x.pcap"))[0].mix(), want)
    assert np.array_equal(callreplay.open(obstore.get(store, "calls/x.pcap").bytes())[0].mix(), want)
    with pytest.raises(CaptureError, match="names no object"):
        callreplay.open("s3://bucket")
