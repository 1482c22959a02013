"""Several files of one call in any order, and captures that are none of each other's business."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import callreplay
from callreplay.errors import ArgumentError, CaptureError
from tests import captures as c

T = 1_700_000_000_000_000_000
SECOND = 10**9
A, B = "10.0.0.1", "10.0.0.2"
Record = tuple[int, bytes]


def _sip(call_id: str = "1@x", start: int = T, port: int = 4000) -> list[Record]:
    offer, answer = (c.sdp(host, port, {0: "PCMU/8000"}) for host in (A, B))
    ends: dict[str, Any] = {"call_id": call_id, "sender": "<sip:100@pbx>;tag=a"}
    said = [
        (0.0, A, c.sip("INVITE sip:200@pbx SIP/2.0", body=offer, **ends)),
        (0.5, B, c.sip("SIP/2.0 200 OK", to="<sip:200@pbx>;tag=b", body=answer, **ends)),
        (21, A, c.sip("BYE sip:200@pbx SIP/2.0", to="<sip:200@pbx>;tag=b", cseq="2 BYE", **ends)),
    ]
    return [
        (start + round(at * SECOND), c.udp(host, 5060, B if host == A else A, 5060, octets))
        for at, host, octets in said
    ]


def _media(
    host: str, *, start: int = T + SECOND, port: int = 4000, count: int = 1000, ssrc: int = 7
) -> list[Record]:
    """A leg of noise of its own, its first octets the SSRC."""
    noise = random.Random(ssrc)
    other = B if host == A else A
    return [
        (
            start + i * 20_000_000,
            c.udp(host, port, other, port, c.rtp(i, i * 160, ssrc, 0, bytes([ssrc]) + noise.randbytes(159))),
        )
        for i in range(count)
    ]


def _legs(call: callreplay.capture.Call) -> list[tuple[int, int]]:
    """(packets, SSRC) of caller and called."""
    return [
        (leg.statistics.packets, leg.columns.spans[0].ssrc if leg.columns.spans else 0) for leg in call.legs
    ]


PARTS = {
    "signalling": _sip(),
    "caller's": _media(A, ssrc=1),
    "called's": _media(B, ssrc=2),
}


@pytest.mark.parametrize("order", list(itertools.permutations(PARTS)))
def test_signalling_and_legs_in_any_order_are_one_call(order: Sequence[str]) -> None:
    with callreplay.open(*(c.pcap(PARTS[name]) for name in order)) as capture:
        (call,) = capture.calls
    assert (call.description.call_id, _legs(call)) == ("1@x", [(1000, 1), (1000, 2)])


def test_files_of_every_kind_go_together(tmp_path: Path) -> None:
    (tmp_path / "a.pcap.gz").write_bytes(c.gz(c.pcap(PARTS["signalling"])))
    (tmp_path / "b.pcapng").write_bytes(c.pcapng(PARTS["caller's"]))
    (tmp_path / "c.snoop").write_bytes(c.snoop(PARTS["called's"]))
    for paths in itertools.permutations(sorted(tmp_path.iterdir())):
        with callreplay.open(*paths) as capture:
            (call,) = capture.calls
        assert _legs(call) == [(1000, 1), (1000, 2)]
    both = c.zipped(
        {
            "sip.pcap": c.pcap(PARTS["signalling"]),
            "x/rtp.pcap": c.pcap(sorted(PARTS["caller's"] + PARTS["called's"])),
        }
    )
    (tmp_path / "all.zip").write_bytes(both)
    with callreplay.open(tmp_path / "all.zip") as capture:
        (call,) = capture.calls
    assert _legs(call) == [(1000, 1), (1000, 2)]


def test_files_of_a_rotation_are_one_call() -> None:
    """Each has both directions and looks like a call of its own; its streams go on from file to file."""
    whole = sorted(itertools.chain.from_iterable(PARTS.values()))
    files = [c.pcap(whole[at : at + 500]) for at in range(0, len(whole), 500)]
    with callreplay.open(*files[::-1]) as capture:
        (call,) = capture.calls
    assert _legs(call) == [(1000, 1), (1000, 2)]


def test_two_taps_of_one_call_are_one_call() -> None:
    whole = sorted(itertools.chain.from_iterable(PARTS.values()))
    with callreplay.open(
        c.pcap(whole), c.pcap([(time + 300_000, frame) for time, frame in whole])
    ) as capture:
        (call,) = capture.calls
    assert [ssrc for _, ssrc in _legs(call)] == [1, 2]


@pytest.mark.parametrize("apart", [0, 3, 40, 4000])
@pytest.mark.parametrize("signalled", [False, True])
def test_captures_of_their_own_are_refused_with_the_way_to_look_at_them(apart: int, signalled: bool) -> None:
    """At the same hosts and ports, with the same SSRCs even: nothing of one goes on in the other."""
    later = T + apart * SECOND
    one = [*_media(A, ssrc=1), *_media(B, ssrc=2), *(_sip("1@x") if signalled else [])]
    other = [
        *_media(A, ssrc=1, start=later + SECOND, count=900), *_media(B, ssrc=2, start=later + SECOND),
        *(_sip("2@x", later) if signalled else []),
    ]  # fmt: skip
    with pytest.raises(ArgumentError, match=r"hold whole calls and have none in common.*callreplay batch"):
        callreplay.open(c.pcap(sorted(one)), c.pcap(sorted(other)))


def test_without_signalling_the_first_leg_is_the_caller_s() -> None:
    legs = [c.pcap(_media(A, ssrc=1, start=T + SECOND)), c.pcap(_media(B, ssrc=2, start=T))]
    for files, expected in ((legs, [1, 2]), (legs[::-1], [2, 1])):
        with callreplay.open(*files) as capture:
            (call,) = capture.calls
        assert [ssrc for _, ssrc in _legs(call)] == expected


def test_legs_without_addresses_go_by_the_signalling() -> None:
    legs = []
    for host, ssrc in ((A, 1), (B, 2)):
        records = [(T + SECOND + i * 20_000_000, c.rtp(i, i * 160, ssrc)) for i in range(100)]
        # rtpdump names where the packets were received
        legs.append(c.rtpdump(records, address=B if host == A else A, port=4000, start_ns=T + SECOND))
    for files in itertools.permutations([*legs, c.pcap(_sip())]):
        with callreplay.open(*files) as capture:
            (call,) = capture.calls
        assert (call.description.call_id, _legs(call)) == ("1@x", [(100, 1), (100, 2)])


def test_recordings_of_rtpproxy_are_told_by_their_names(tmp_path: Path) -> None:
    for side, ssrc in (("a", 2), ("o", 1)):
        records = [(T + i * 20_000_000, c.rtp(i, i * 160, ssrc)) for i in range(100)]
        (tmp_path / f"call.{side}.rtp").write_bytes(c.rtpproxy(records))
    paths = [tmp_path / "call.a.rtp", tmp_path / "call.o.rtp"]
    for given in (paths, paths[::-1]):
        with callreplay.open(*given) as capture:
            (call,) = capture.calls
        assert [ssrc for _, ssrc in _legs(call)] == [1, 2]


def test_three_legs_are_too_many() -> None:
    records = [(T + i * 20_000_000, c.rtp(i, i * 160, 7)) for i in range(100)]
    with pytest.raises(ArgumentError, match="two legs, and these are 3 files"):
        callreplay.open(*[c.mjr(records, start_ns=T)] * 3)


def _relayed() -> list[Record]:
    """Both directions as rtpengine records them: to its own ports, from the parties' addresses."""
    frames = []
    for i in range(200):
        for host, port, local, ssrc in ((A, 4000, 30002, 1), (B, 5000, 30000, 2)):
            packet = c.rtp(i, i * 160, ssrc, 8, bytes([ssrc, i]) * 80)
            frames.append((T + i * 20_000_000, c.udp(host, port, "10.5.0.1", local, packet)))
    return frames


@pytest.mark.parametrize("how", ["beside", "given", "given first", "spool"])
def test_rtpengine_s_pcap_and_its_metadata(tmp_path: Path, how: str) -> None:
    offer, answer = (c.sdp("10.5.0.1", port, {8: "PCMA/8000"}) for port in (30000, 30002))
    name = "abc%40pbx-0123456789abcdef"
    text = c.rtpengine_metadata(
        f"/x/pcaps/{name}.pcap", [("offer", offer), ("answer", answer)], more="from:100|to:200"
    )
    folder = tmp_path / "pcaps"
    folder.mkdir()
    pcap = folder / f"{name}.pcap"
    pcap.write_bytes(c.pcap(_relayed()))
    beside = {"beside": folder, "spool": tmp_path / "metadata"}.get(how, tmp_path)
    beside.mkdir(exist_ok=True)
    metadata = beside / f"{name}.txt"
    metadata.write_text(text)
    given = {"given": [pcap, metadata], "given first": [metadata, pcap]}.get(how, [pcap])
    with callreplay.open(*given) as capture:
        (call,) = capture.calls
    assert (call.description.call_id, call.party("caller"), call.party("called")) == ("abc@pbx", "100", "200")
    assert _legs(call) == [(200, 1), (200, 2)]


def test_metadata_alone_is_no_capture(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text(c.rtpengine_metadata("/x/y.pcap", [("offer", c.sdp(A, 4000, {0: "PCMU/8000"}))]))
    with pytest.raises(CaptureError, match="without the recording"):
        callreplay.open(path)


def test_a_truncated_gzip_is_one_warning(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    path = tmp_path / "call.pcap.gz"
    path.write_bytes(__import__("gzip").compress(c.pcap(_media(A)))[:60_000])
    with callreplay.open(path) as capture:
        assert capture.warnings == [f"{path}: the compressed data ends too soon; read up to the cut"]
    assert not recwarn.list


@pytest.mark.parametrize("gap", [0, 3])
def test_events_alone_have_their_time_and_are_heard(gap: int) -> None:
    frames = []
    for press, code in enumerate((4, 7, 1)):
        for update in range(8):
            at = T + (press * 3 + gap) * SECOND + update * 20_000_000
            payload = c.event(code, 160 * (update + 1), end=update == 7)
            packet = c.rtp(press * 8 + update, (press * 3 + gap) * 8000, 7, 101, payload)
            frames.append((at, c.udp(A, 4000, B, 5000, packet)))
    with callreplay.open(c.pcap(frames), codecs={101: "telephone-event/8000"}) as capture:
        (call,) = capture.calls
        assert call.start_ns == T + gap * SECOND
        assert abs(call.duration_s - 6.15) < 0.1
        assert "".join(event.digit for event in call.caller.events) == "471"
        pcm = call.mix("mono", dtmf="tone")
        assert abs(len(pcm) - 8000 * call.duration_s) <= 1
        assert all(abs(pcm[8000 * at : 8000 * at + 800].astype(int)).max() > 1000 for at in (0, 3, 6))
        assert not call.mix("mono").any()
