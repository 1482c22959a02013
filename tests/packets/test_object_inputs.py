"""Captures that lie in an object store, by URL: a server that speaks S3 over HTTP."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.scenario.stores import BUCKET, object_store

import callreplay
from callreplay.errors import CaptureError
from callreplay.packets import opening

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
LEGS = Path(__file__).resolve().parents[1] / "golden" / "0.1.0"
NAMES = ("top.pcap", "2026/03/x.pcap", "2026/Anrufe März/Ana & co #1, 50 %.pcap", "a+b=c/100%25.pcap")


@pytest.fixture(scope="module")
def environment() -> Iterator[dict[str, str]]:
    with object_store() as (environment, bucket):
        store = _store(environment)
        for name in NAMES:
            store.put(name, (SAMPLES / "support.pcap").read_bytes())
        for name in ("caller.rtp", "caller.rtp.idx"):
            store.put(f"legs/{name}", (LEGS / name).read_bytes())
        store.put("legs/bare.rtp", (LEGS / "caller.rtp").read_bytes())
        store.put("empty.pcap", b"")
        assert len(bucket.keys) == len(NAMES) + 4
        yield environment


@pytest.fixture
def there(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}"


def _store(environment: dict[str, str]) -> Any:
    from obstore.store import S3Store

    return S3Store(
        BUCKET,
        endpoint=environment["AWS_ENDPOINT_URL"],
        access_key_id="somebody",
        secret_access_key="secret",
        region="us-east-1",
        client_options={"allow_http": True},
    )


@pytest.fixture(scope="module")
def want() -> Any:
    return callreplay.open(SAMPLES / "support.pcap")[0].mix()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("in_memory", [1 << 24, 1 << 14])
def test_a_url_of_an_object_opens(
    there: str, name: str, in_memory: int, want: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "_IN_MEMORY", in_memory)
    with callreplay.open(f"{there}/{name}") as capture:
        assert capture.name == f"{there}/{name}"
        assert np.array_equal(capture[0].mix(), want)


def test_a_call_that_was_pickled_is_fetched_again(there: str, want: Any) -> None:
    with callreplay.open(f"{there}/top.pcap") as capture:
        kept = pickle.dumps(capture[0])
    assert len(kept) < 1000
    assert np.array_equal(pickle.loads(kept).mix(), want)


def test_a_stored_leg_comes_with_its_side_index(there: str) -> None:
    with callreplay.open(LEGS / "caller.rtp") as capture:
        want = capture.report()
    with callreplay.open(f"{there}/legs/caller.rtp") as capture:
        got = capture.report()
        assert capture[0].description.caller_name == "Ana Pop"
    assert got["calls"] == want["calls"]
    with callreplay.open(f"{there}/legs/bare.rtp") as capture:
        assert capture[0].description.caller_name == ""
        assert not capture.warnings


def test_what_fsspec_opens_there(environment: dict[str, str], there: str, want: Any) -> None:
    fsspec = pytest.importorskip("fsspec")
    from obstore.fsspec import FsspecStore

    files = FsspecStore(
        "s3",
        endpoint=environment["AWS_ENDPOINT_URL"],
        access_key_id="somebody",
        secret_access_key="secret",
        region="us-east-1",
        client_options={"allow_http": True},
    )
    with files.open(f"{BUCKET}/top.pcap", "rb") as file:
        assert np.array_equal(callreplay.open(file)[0].mix(), want)
    late = fsspec.core.OpenFile(files, f"{BUCKET}/top.pcap", "rb")
    assert np.array_equal(callreplay.open(late)[0].mix(), want)


def test_a_signed_url_opens(environment: dict[str, str], want: Any) -> None:
    from datetime import timedelta

    import obstore

    url = obstore.sign(_store(environment), "GET", "2026/03/x.pcap", timedelta(minutes=5))
    assert np.array_equal(callreplay.open(url)[0].mix(), want)


@pytest.mark.parametrize(
    ("name", "said"),
    [("absent.pcap", r"absent\.pcap: .+"), ("empty.pcap", "empty"), ("", "names no object")],
)
def test_what_is_not_there_is_said(there: str, name: str, said: str) -> None:
    with pytest.raises(CaptureError, match=said) as told:
        callreplay.open(f"{there}/{name}")
    assert str(told.value).startswith(f"{there}/{name}: ")
    assert "\n" not in str(told.value)


def test_a_bucket_that_is_not_there_is_said(there: str) -> None:
    for url in ("s3://absent-bucket/x.pcap", "s3:///x.pcap"):
        with pytest.raises(CaptureError) as told:
            callreplay.open(url)
        assert str(told.value).startswith(f"{url}: ")


def test_a_zip_archive_by_url_gives_what_it_gives_as_a_file(there: str, tmp_path: Path, want: Any) -> None:
    """Each of its members is a file, whichever way it is given."""
    from zipfile import ZipFile

    import obstore

    whole = (SAMPLES / "support.pcap").read_bytes()
    at = 24
    while at < len(whole) // 2:
        at += 16 + int.from_bytes(whole[at + 8 : at + 12], "little")
    path = tmp_path / "both.zip"
    with ZipFile(path, "w") as archive:
        archive.writestr("first.pcap", whole[:at])
        archive.writestr("second.pcap", whole[:24] + whole[at:])
    obstore.put(obstore.store.from_url(there), "both.zip", path.read_bytes())
    url = f"{there}/both.zip"
    with path.open("rb") as file:
        given = ((path, str(path)), (url, url), (path.read_bytes(), "<buffer>"), (file, str(path)))
        for source, name in given:
            with callreplay.open(source) as capture:
                assert capture.name == f"{name}/first.pcap, {name}/second.pcap"
                assert np.array_equal(capture[0].mix(), want)
