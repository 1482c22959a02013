"""The cases of ``../shared/cases`` that recorders and captures of several files make; its README has the truth."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import callreplay

CASES = Path(os.environ.get("CALLREPLAY_CASES", Path(__file__).resolve().parents[2] / "shared" / "cases"))


def _case(name: str) -> Path:
    path = CASES / f"{name}.gz"
    if not path.exists():
        if os.environ.get("CI") == "true":
            pytest.fail(f"{path} is missing")
        pytest.skip(f"{path} is missing; set CALLREPLAY_CASES")
    return path


@pytest.mark.parametrize(
    ("name", "parties", "packets"),
    [
        ("09-siprec.pcap", ("Ann <1001>", "Bob <2002>"), (1000, 1000)),
        ("33-sip-over-websocket.pcap", ("100", "200"), (190, 190)),
        ("35-sip-over-sctp.pcap", ("100", "200"), (190, 190)),
        ("36-gzip-body.pcap", ("100", "200"), (200, 200)),
    ],
)
def test_signalling_is_read(name: str, parties: tuple[str, str], packets: tuple[int, int]) -> None:
    with callreplay.open(_case(name)) as capture:
        (call,) = capture.calls
        assert (call.party("caller"), call.party("called")) == parties
        assert tuple(leg.statistics.packets for leg in call.legs) == packets
        assert call.description.status == "answered"
        assert not [*capture.warnings, *call.warnings]


def test_events_alone_have_their_time() -> None:
    with callreplay.open(_case("24-events-only.pcap")) as capture:
        (call,) = capture.calls
        report = call.report()
    assert report["start"] == "2023-11-14T22:13:23.000000Z"
    assert 5.5 < report["duration_s"] < 6.5
    assert "".join(event["digit"] for event in report["legs"][0]["events"]) == "471"


@pytest.mark.parametrize("turned", [False, True])
def test_signalling_and_media_in_two_files(turned: bool) -> None:
    paths = [_case("25-split-sip.pcap"), _case("25-split-rtp.pcap")]
    with callreplay.open(*(paths[::-1] if turned else paths)) as capture:
        (call,) = capture.calls
        assert (call.party("caller"), call.party("called")) == ("Ann <1001>", "Bob <2002>")
        assert [leg.statistics.packets for leg in call.legs] == [1000, 1000]
        assert [leg.flows[0].source for leg in call.legs] == ["10.0.0.1", "10.0.0.2"]


@pytest.mark.parametrize(
    ("name", "source"),
    [("28-rtpproxy-stun-first.o.rtp", "10.0.0.1"), ("29-rtpproxy-ipv6.o.rtp", "2001:db8::1")],
)
def test_recordings_of_rtpproxy(name: str, source: str) -> None:
    with callreplay.open(_case(name)) as capture:
        (call,) = capture.calls
        assert (call.duration_s, call.caller.flows[0].source) == (8.0, source)


def test_tls_is_named() -> None:
    with callreplay.open(_case("34-sip-over-tls.pcap")) as capture:
        assert len(capture.calls) == 1
        assert "10.1.0.1:40000 > 10.2.0.1:5061 (20 packets)" in capture.warnings[0]
        (unread,) = capture.report(audio=False)["unread_signalling"]
    assert (unread["protocol"], unread["server_port"], unread["packets"]) == ("TLS", 5061, 20)
