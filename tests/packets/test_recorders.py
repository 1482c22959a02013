"""Containers of recorders and capture tools: snoop, MJR, rtpproxy, captures laid end to end, compression, streams."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import captures as c

import callreplay
from callreplay import packets
from callreplay.errors import CallReplayError, CaptureError, LimitError

T = 1_700_000_000_000_000_000
A, B = "10.0.0.1", "10.0.0.2"


def _rtp(count: int, ssrc: int = 7, pt: int = 0, first: int = 0) -> list[tuple[int, bytes]]:
    return [
        (
            T + (first + i) * 20_000_000,
            c.rtp(first + i, (first + i) * 160, ssrc, pt, bytes([first + i & 255]) * 160),
        )
        for i in range(count)
    ]


def _frames(count: int, **options: int) -> list[tuple[int, bytes]]:
    return [(time, c.udp(A, 4000, B, 5000, packet)) for time, packet in _rtp(count, **options)]


def _scan(octets: bytes) -> packets.Scan:
    return packets.scan(packets.open_buffer(octets, warnings=[]))


@pytest.mark.parametrize("datalink", [0, 4])
def test_snoop_is_read_to_its_end(datalink: int) -> None:
    found = _scan(c.snoop(_frames(50), datalink=datalink))
    assert (found.container, found.links, len(found.rtp.offset)) == ("snoop", ["Ethernet"], 50)
    assert found.rtp.arrival_ns.tolist() == [time for time, _ in _frames(50)]
    assert packets.span(packets.open_buffer(c.snoop(_frames(50)))) == (T, T + 49 * 20_000_000)
    cut = _scan(c.snoop(_frames(50))[:-100])
    assert cut.truncated
    assert len(cut.rtp.offset) == 50
    assert _scan(c.snoop(_frames(50), snaplen=60)).counters["cut_by_snaplen"] == 50


def test_snoop_of_another_version_is_refused() -> None:
    octets = bytearray(c.snoop(_frames(2)))
    octets[11] = 3
    with pytest.raises(CaptureError, match="version 3, at octet 8"):
        _scan(bytes(octets))
    with pytest.raises(CaptureError, match="cut at octet 12"):
        _scan(bytes(octets[:12]))


def test_mjr_is_a_leg_with_its_codec_and_times() -> None:
    found = _scan(c.mjr(_rtp(50, pt=111), start_ns=T))
    assert (found.container, len(found.rtp.offset)) == ("mjr", 50)
    assert found.rtp.arrival_ns.tolist() == [time for time, _ in _rtp(50)]
    assert str(found.codecs[111]) == "OPUS/48000"
    with callreplay.open(c.mjr(_rtp(50, pt=8), codec="pcma", start_ns=T)) as capture:
        (call,) = capture.calls
        assert (call.duration_s, [str(codec) for codec in call.caller.codecs]) == (1.0, ["PCMA/8000"])


@pytest.mark.parametrize("old", [False, True])
def test_mjr_without_times_goes_by_its_timestamps(old: bool) -> None:
    media = [c.rtp(i, i * 960, 7, 111, b"x" * 60) for i in range(50)]
    octets = c.mjr_old(media) if old else c.mjr([(0, one) for one in media], start_ns=T, version=1)
    found = _scan(octets)
    assert np.diff(found.rtp.arrival_ns).tolist() == [20_000_000] * 49
    assert "without times" in found.warnings[0]


@pytest.mark.parametrize(
    ("octets", "what"),
    [
        (c.mjr(_rtp(3), kind="v", codec="vp8", start_ns=T), "of video"),
        (c.mjr_old([b"x"], b"video"), "of video"),
        (b'MJR00002\x00\x05{"t":', "not what Janus writes"),
        (b"MJR00002\x00\x50{}", "cut at octet 12"),
        (b"MJR00002\x00", "cut at octet 9"),
        (b"MJR00002\x00\x02[]", "not what Janus writes"),
    ],
)
def test_mjr_that_holds_no_audio_is_refused(octets: bytes, what: str) -> None:
    with pytest.raises(CaptureError, match=what):
        _scan(octets)


@pytest.mark.parametrize("first", [[], [c.stun()], [b"\r\n\r\n"], [b"\0", c.dtls()] * 8, [c.stun()] * 100])
@pytest.mark.parametrize(("address", "family"), [("10.0.0.1", 0), ("2001:db8::1", 10), ("2001:db8::1", 28)])
def test_rtpproxy_may_begin_with_anything(first: list[bytes], address: str, family: int) -> None:
    records = [(T - 10**9 + i * 10**6, octets) for i, octets in enumerate(first)] + _rtp(50)
    found = _scan(c.rtpproxy_any(records, address=address, port=5062, family=family))
    assert (found.container, len(found.rtp.offset)) == ("rtpproxy", 50)
    (stream,) = found.streams
    assert (stream.flow.source, stream.flow.source_port) == (address, 5062)


@settings(max_examples=100, deadline=None)
@given(st.binary(min_size=30, max_size=400))
def test_what_has_no_sane_times_is_no_rtpproxy(octets: bytes) -> None:
    with pytest.raises(CaptureError):
        _scan(b"\x02\0" + octets[:18] + bytes(8) + octets[18:])


VARIANTS: dict[str, Callable[[list[tuple[int, bytes]]], bytes]] = {
    "little": c.pcap,
    "big": lambda frames: c.pcap(frames, big=True),
    "nano": lambda frames: c.pcap(frames, nano=True),
    "modified": lambda frames: c.pcap(frames, modified=True),
    "pcapng": c.pcapng,
    "pcapng-big": lambda frames: c.pcapng(frames, big=True),
}


@pytest.mark.parametrize("first", VARIANTS)
@pytest.mark.parametrize("second", VARIANTS)
def test_captures_laid_end_to_end_are_read_to_the_end(first: str, second: str) -> None:
    octets = (
        VARIANTS[first](_frames(20)) + VARIANTS[second](_frames(20, first=20)) + c.pcap(_frames(5, first=40))
    )
    found = _scan(octets)
    assert len(found.rtp.offset) == 45
    assert found.rtp.arrival_ns.tolist() == [time for time, _ in _frames(45)]
    assert not found.warnings


def test_a_link_type_of_its_own_holds_for_its_part() -> None:
    cooked = [
        (T + 10**9, c.linux_sll(c.ip(c.udp_datagram(4000, 5000, packet), A, B))) for _, packet in _rtp(5)
    ]
    assert len(_scan(c.pcap(_frames(5)) + c.pcap(cooked, link=113)).rtp.offset) == 10


def test_heads_of_captures_without_end_take_no_stack() -> None:
    heads = c.pcap([]) * 50_000 + (c.pcap([]) + c.pcapng([])) * 5_000
    assert len(_scan(heads + c.pcap(_frames(3))).rtp.offset) == 3


def _xz(octets: bytes) -> bytes:
    import lzma

    half = len(octets) // 2
    return lzma.compress(octets[:half]) + lzma.compress(octets[half:]) + bytes(8)


def _bz2(octets: bytes) -> bytes:
    import bz2

    half = len(octets) // 2
    return bz2.compress(octets[:half]) + bz2.compress(octets[half:])


COMPRESSED: dict[str, Callable[[bytes], bytes]] = {
    "xz": _xz,
    "bz2": _bz2,
    "zip": lambda octets: c.zipped({"a/call.pcap": octets, "__MACOSX/._call.pcap": b"x", ".DS_Store": b"y"}),
    "zip without a name": lambda octets: c.zipped({"qqqq": octets}).replace(b"qqqq", b"\0qqq"),
    "zip-stored": lambda octets: c.zipped({"call.pcap": octets}, method=0),
    "zip-lzma": lambda octets: c.zipped({"call.pcap": octets}, method=14),
    "zip of gz": lambda octets: c.zipped({"call.pcap.gz": c.gz(octets)}),
}


@pytest.mark.parametrize("kind", COMPRESSED)
def test_compressed_captures_are_read(kind: str, tmp_path: Path) -> None:
    plain = c.pcap(_frames(50))
    packed = COMPRESSED[kind](plain)
    assert packets.open_buffer(packed).tobytes() == plain
    path = tmp_path / "call"
    path.write_bytes(packed)
    assert packets.open_buffer(path).tobytes() == plain


@pytest.mark.parametrize("kind", ["xz", "bz2", "zip"])
def test_a_bomb_meets_the_limit(kind: str) -> None:
    packed = COMPRESSED[kind](bytes(64 << 20))
    assert len(packed) < 200_000
    with pytest.raises(LimitError, match="more than 1048576 octets"):
        packets.open_buffer(packed, limit=1 << 20)


def test_an_xz_that_asks_for_gigabytes_is_refused() -> None:
    import lzma

    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 30}]
    with pytest.raises(LimitError, match="too much memory"):
        packets.open_buffer(lzma.compress(b"x" * 1000, lzma.FORMAT_XZ, filters=filters))


@pytest.mark.parametrize("kind", ["xz", "bz2"])
def test_what_is_cut_is_read_up_to_there(kind: str) -> None:
    noise = os.urandom(3 << 20)
    said: list[str] = []
    packed = COMPRESSED[kind](noise)
    data = packets.open_buffer(packed[: len(packed) * 3 // 4], warnings=said)
    assert noise.startswith(data.tobytes())
    assert len(data) > 1 << 20
    assert said == ["capture: the compressed data ends too soon; read up to the cut"]


@pytest.mark.parametrize(
    ("octets", "what"),
    [
        (c.zipped({"a.pcap": b"x", "b.pcap": b"y"}), r"2 files \(a.pcap, b.pcap\): unpack it"),
        (c.zipped({}) or b"", "not a capture"),
        (b"PK\3\4" + bytes(60), "damaged ZIP archive"),
        (c.zipped({"folder/": b""}), "without a file"),
        (b"BZh91AY&SY" + bytes(20), "corrupt compression"),
        (b"\xfd7zXZ\0" + bytes(20), "corrupt compression"),
    ],
)
def test_archives_that_cannot_be_read_say_why(octets: bytes, what: str) -> None:
    with pytest.raises(CaptureError, match=what):
        _scan(octets)


def test_an_encrypted_member_is_named() -> None:
    octets = bytearray(c.zipped({"call.pcap": b"x" * 100}, method=0))
    octets[6] |= 1
    octets[octets.index(b"PK\1\2") + 8] |= 1
    with pytest.raises(CaptureError, match=r"call\.pcap in it is encrypted"):
        packets.open_buffer(bytes(octets))


def test_a_directory_of_a_million_files_is_not_read() -> None:
    octets = bytearray(c.zipped({"call.pcap": b"x"}))
    octets[octets.rindex(b"PK\5\6") + 12 : octets.rindex(b"PK\5\6") + 16] = (1 << 30).to_bytes(4, "little")
    with pytest.raises(LimitError, match="too many files"):
        packets.open_buffer(bytes(octets))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([*COMPRESSED]), st.data())
def test_damaged_archives_raise_nothing_else(kind: str, data: st.DataObject) -> None:
    packed = bytearray(COMPRESSED[kind](c.pcap(_frames(3))))
    for _ in range(data.draw(st.integers(1, 4))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(CallReplayError):
        packets.open_buffer(bytes(packed[: data.draw(st.integers(1, len(packed)))]), warnings=[])


def test_a_stream_is_read_to_its_end() -> None:
    plain = c.pcap(_frames(50))
    here, there = os.pipe()

    def write() -> None:
        with os.fdopen(there, "wb") as file:
            for at in range(0, len(plain), 700):
                file.write(plain[at : at + 700])
                file.flush()

    writer = threading.Thread(target=write)
    writer.start()
    with os.fdopen(here, "rb") as file:
        assert packets.open_buffer(file).tobytes() == plain
    writer.join()


def test_a_named_pipe_is_waited_for_only_where_it_is_meant(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(CaptureError, match="not a regular file"):
        packets.open_buffer(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(c.gz(c.pcap(_frames(50))),))
    writer.start()
    with callreplay.open(pipe) as capture:
        assert capture.calls[0].caller.statistics.packets == 50
    writer.join()


def test_a_stream_without_end_meets_the_limit() -> None:
    with open("/dev/zero", "rb") as file, pytest.raises(LimitError):  # noqa: PTH123
        packets.open_buffer(file, limit=1 << 22)
