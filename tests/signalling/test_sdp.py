from __future__ import annotations

from collections import Counter

from callreplay.signalling import sdp

FULL = b"""v=0
o=alice 2890844526 2890842807 IN IP4 10.47.16.5
s=Call
c=IN IP4 224.2.17.12/127
t=0 0
a=recvonly
a=ptime:40
m=audio 49170 RTP/AVP 0 18 101 96 97
a=rtpmap:18 G729/8000
a=fmtp:18 annexb=no
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-16
a=rtpmap:97 opus/48000/2
a=sendonly
a=rtcp:53020
m=video 51372 RTP/AVP 99
c=IN IP6 2001:DB8::0001
a=rtpmap:99 H264/90000
m=audio 0 RTP/AVP 9
m=audio 5000 UDP/TLS/RTP/SAVPF 9
a=fingerprint:sha-256 AB:CD
a=setup:actpass
a=rtcp-mux
a=ptime:20
m=audio 5002 RTP/SAVP 8
a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj
m=image 5004 udptl t38
"""


def test_sections_with_session_defaults() -> None:
    faults: Counter[str] = Counter()
    session = sdp.parse(FULL.replace(b"\n", b"\r\n"), faults)
    assert session is not None
    first, video, refused, dtls, sdes, fax = session.media
    assert (first.address, first.port, first.direction, first.ptime_ms) == (
        "224.2.17.12",
        49170,
        "sendonly",
        40.0,
    )
    assert first.rtcp_port == 53020
    assert {number: str(codec) for number, codec in first.payload_types.items()} == {
        0: "PCMU/8000",
        18: "G729/8000",
        101: "TELEPHONE-EVENT/8000",
        97: "OPUS/48000",
    }
    assert first.payload_types[18].fmtp == "annexb=no"
    assert video.address == "2001:db8::1"
    assert not video.is_audio_rtp
    assert (refused.port, refused.direction, refused.rtcp_port) == (0, "recvonly", 0)
    assert (dtls.encrypted, dtls.setup, dtls.fingerprint, dtls.rtcp_port) == (
        True,
        "actpass",
        "sha-256 AB:CD",
        5000,
    )
    assert dtls.payload_types[9].clock_rate_hz == 8000
    assert dtls.payload_types[9].sample_rate_hz == 16000
    assert sdes.encrypted
    assert sdes.crypto[0].startswith("1 AES_CM_128")
    assert not fax.is_audio_rtp
    assert [section.port for section in session.audio] == [49170, 0, 5000, 5002]
    assert faults == {"sdp: payload type without rtpmap": 1}


def test_hold() -> None:
    for address, attribute, held in (
        (b"0.0.0.0", b"sendrecv", True),
        (b"10.0.0.1", b"inactive", True),
        (b"10.0.0.1", b"sendonly", True),
        (b"10.0.0.1", b"recvonly", False),
        (b"10.0.0.1", b"sendrecv", False),
    ):
        session = sdp.parse(b"v=0\nc=IN IP4 " + address + b"\nm=audio 4000 RTP/AVP 0\na=" + attribute + b"\n")
        assert session is not None
        assert session.media[0].held is held


def test_bad_lines_are_counted_not_raised() -> None:
    faults: Counter[str] = Counter()
    body = (
        b"v=0\nc=IN IP4\nm=audio 70000 RTP/AVP 0\na=sendonly\nm=audio x RTP/AVP\nm=audio 10 RTP/AVP 0 200 x\n"
        b"a=rtpmap:0 PCMU/x\na=rtpmap:999 A/1\na=ptime:-1\na=ptime:nan\n\xff\xfe=\na=fmtp\n"
    )
    session = sdp.parse(body, faults)
    assert session is not None
    assert len(session.media) == 1
    assert session.media[0].direction == "sendrecv"
    assert list(session.media[0].payload_types) == [0]
    assert faults == {
        "sdp: bad c= line": 1,
        "sdp: bad m= line": 2,
        "sdp: bad payload type": 2,
        "sdp: bad a=rtpmap": 2,
        "sdp: bad a=ptime": 2,
        "sdp: bad a=fmtp": 1,
    }
    assert sdp.parse(b"hello", faults) is None


def test_sections_are_bounded() -> None:
    session = sdp.parse(b"v=0\n" + b"m=audio 4000 RTP/AVP 0\n" * 4000)
    assert session is not None
    assert len(session.media) == sdp.MAX_SECTIONS


def test_what_is_remembered_of_a_description_is_nobody_elses() -> None:
    body = (
        b"v=0\r\nc=IN IP4 192.0.2.1\r\na=ptime:x\r\nm=audio 4000 RTP/AVP 0 96\r\na=rtpmap:96 opus/48000/2\r\n"
        b"a=sendonly\r\na=rtpmap:999 x\r\nm=bad\r\na=rtpmap:999 x\r\n"
    )
    faults: Counter[str] = Counter()
    first = sdp.parse(body, faults)
    assert first is not None
    before = repr(first)
    first.media[0].payload_types.clear()
    again: Counter[str] = Counter()
    second = sdp.parse(body, again)
    assert repr(second) == before
    assert again == faults == {"sdp: bad a=ptime": 1, "sdp: bad a=rtpmap": 2, "sdp: bad m= line": 1}
    other = sdp.parse(body.replace(b"4000", b"4002").replace(b"192.0.2.1", b"192.0.2.9"))
    assert other is not None
    assert (other.media[0].port, other.media[0].address) == (4002, "192.0.2.9")
