"""A call that goes on, heard through the Transcoder: a recorder fed in pace, and a client that follows it."""

from __future__ import annotations

import io
import subprocess
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

import callreplay
from tests import programs
from tests.captures import Record, pcap
from tests.importing.test_rotation import call as talk
from tests.service.conftest import Running

TRANSCODER = "/CallRecorder/Transcoder"
SECONDS = 8


@contextmanager
def paced(service: Running, spools: Path, records: list[Record]) -> Iterator[subprocess.Popen[bytes]]:
    """A recorder of the service's database that gets packets when their time is."""
    words = ["record", "-", "--database-url", service.database_url, "--spool", str(spools), "--flush", "0.2"]
    process = programs.Program(words, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stderr is not None
    assert b"recording from" in process.stderr.readline()

    def feed() -> None:
        assert process.stdin is not None
        start = time.monotonic()
        with suppress(BrokenPipeError), process.stdin as out:
            out.write(pcap([]))
            for at, octets in records:
                left = (at - records[0][0]) / 1e9 - (time.monotonic() - start)
                if left > 0.02:
                    out.flush()
                    time.sleep(left)
                out.write(pcap([(at, octets)])[24:])

    feeding = threading.Thread(target=feed)
    feeding.start()
    try:
        yield process
        feeding.join()
        process.wait(60)
        assert b"1 calls added" in process.stderr.read()
    finally:
        process.kill()
        process.wait()
        feeding.join()
        process.stderr.close()


@pytest.fixture(autouse=True)
def as_before(service: Running) -> Iterator[None]:
    """Other tests count the calls of the service."""
    there = [row["uuid"] for row in service.rows("SELECT uuid FROM calls")]
    yield
    service.rows("DELETE FROM calls WHERE uuid <> ALL (%s)", there)


def pcm(wav: bytes) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    return np.frombuffer(wav[44 : len(wav) // 2 * 2], np.int16)


def test_a_call_is_heard_while_it_goes_on(service: Running, tmp_path: Path) -> None:
    """Audio to the live edge and on to the end, sample for sample that of the stored call; other forms so far."""
    records = sorted(talk(77, 0, SECONDS))
    with service.basic() as client:
        (volume,) = service.rows("SELECT count(*) AS n FROM storage_volumes")
        assert volume["n"]
        with paced(service, tmp_path / "spools", records):
            asked = {"callerNumber": "177", "format": "json"}
            deadline = time.monotonic() + 60
            while not (found := client.get(TRANSCODER, params=asked).json()):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            name = found[0]["callId"]
            assert (found[0]["status"], found[0]["legs"]) == ("in progress", [])
            with service.logged_in() as visitor:
                page = visitor.get("/CallRecorder/", params={"callDetails": name})
                assert "in progress" in page.text
                assert "This call goes on" in page.text
            while (first := client.get(TRANSCODER, params={"callId": name})).status_code == 404:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            assert first.status_code == 302, first.text
            check_other_forms(service, name)
            heard, whens = bytearray(), list[tuple[float, int]]()
            with client.stream("GET", first.headers["location"]) as answer:
                assert answer.status_code == 200
                assert "content-length" not in answer.headers
                for data in answer.iter_raw():
                    heard += data
                    whens.append((time.monotonic(), len(heard)))
        stored = client.get(TRANSCODER, params={"callId": name}, follow_redirects=True).content
        assert len(stored) > SECONDS * 15_000
        (row,) = client.get(TRANSCODER, params=asked).json()
    assert (row["callId"], row["status"]) == (name, "answered")
    assert whens[-1][0] - whens[0][0] > 1, "it did not come in pace"
    assert heard[:4] == b"RIFF"
    assert heard[40:44] == b"\xff\xff\xff\xff"
    live = pcm(bytes(heard))
    with callreplay.open(pcap(records)) as capture:
        whole = capture.calls[0].mix(channels="mono")
    assert abs(len(live) - len(whole)) <= 160
    common = min(len(live), len(whole))
    np.testing.assert_array_equal(live[:common], whole[:common])


def check_other_forms(service: Running, name: str) -> None:
    with service.basic() as client:
        picture = client.get(TRANSCODER, params={"callId": name, "format": "png"}, follow_redirects=True)
        assert (picture.status_code, picture.content[1:4]) == (200, b"PNG")
        packets = client.get(TRANSCODER, params={"callId": name, "format": "rtp"}, follow_redirects=True)
        (row,) = client.get(TRANSCODER, params={"callId": name, "format": "json"}).json()
        if row["status"] != "in progress":
            return  # a slow machine: it is over, and what came may be of the stored call
        with (
            zipfile.ZipFile(io.BytesIO(packets.content)) as archive,
            callreplay.open(archive.read(archive.namelist()[0])) as capture,
        ):
            assert capture.calls[0].description.call_id == "call-77@a"


def test_no_media_is_no_recording_yet(service: Running, tmp_path: Path) -> None:
    """While it rings there is nothing to hear; every form says so."""
    records = [record for record in sorted(talk(78, 0, 2)) if b"SIP/2.0" in record[1]]
    with service.basic() as client, paced(service, tmp_path / "spools", records):
        asked = {"callerNumber": "178"}
        deadline = time.monotonic() + 60
        while not client.get(TRANSCODER, params=asked | {"format": "json"}).json():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        for form in ("wav", "png", "rtp"):
            assert client.get(TRANSCODER, params=asked | {"format": form}).status_code == 404
