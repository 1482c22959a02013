"""What recorders and gateways put into SIP: recording sessions, digits, diversions, compressed bodies, host names."""

from __future__ import annotations

import gzip
import zlib
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import captures as c

import callreplay
from callreplay import signalling
from callreplay.model import CallDescription, Flow, Message
from callreplay.signalling import bodies, rtpengine
from callreplay.signalling.rsmetadata import Metadata

T = 1_700_000_000_000_000_000
SECOND = 10**9
SRC, SRS = "10.0.0.1", "10.8.8.8"
TAGS = ("<sip:src@10.0.0.1>;tag=aa", "<sip:srs@10.8.8.8>;tag=bb")


def _message(seconds: float, payload: bytes, *, back: bool = False) -> Message:
    ends = (SRS, 5060, SRC, 5060) if back else (SRC, 5060, SRS, 5060)
    return Message("sip", T + round(seconds * SECOND), Flow(*ends), "udp", payload)


def _siprec(
    start: str, description: str, metadata: str, *, cseq: str = "1 INVITE", to: str = "<sip:srs@10.8.8.8>"
) -> bytes:
    body = c.siprec_body(description, metadata)
    headers = (
        "Require: siprec",
        "Contact: <sip:src@10.0.0.1>;+sip.src",
        "Content-Type: multipart/mixed;boundary=bnd",
    )
    made = c.sip(start, sender=TAGS[0], to=to, call_id="rs@x", cseq=cseq, headers=headers, body=body)
    return made.replace(b"Content-Type: application/sdp\r\nContent-Length", b"Content-Length", 1)


def _answer(lines: Sequence[tuple[int, str]], cseq: str = "1 INVITE") -> bytes:
    body = c.siprec_sdp(SRS, lines, "recvonly")
    return c.sip("SIP/2.0 200 OK", sender=TAGS[0], to=TAGS[1], call_id="rs@x", cseq=cseq, body=body)


def _bye() -> bytes:
    return c.sip("BYE sip:srs@10.8.8.8 SIP/2.0", sender=TAGS[0], to=TAGS[1], call_id="rs@x", cseq="9 BYE")


TWO = [("p1", "1001", "Ann", ["s1"]), ("p2", "2002", "Bob", ["s2"])]
LABELS = [("s1", "1"), ("s2", "2")]


def _sides(call: CallDescription) -> set[tuple[str, str, int]]:
    return {(row.side, row.address, row.port) for row in call.media}


@pytest.mark.parametrize("turned", [False, True])
def test_parties_and_streams_are_those_of_the_metadata(turned: bool) -> None:
    """The labels tie them, whatever the order of the m= lines."""
    lines = [(24000, "1"), (24002, "2")]
    back = [(50000, ""), (50002, "")]
    if turned:
        lines.reverse()
    invite = _siprec("INVITE sip:srs@10.8.8.8 SIP/2.0", c.siprec_sdp(SRC, lines), c.rs_metadata(TWO, LABELS))
    said = [_message(0, invite), _message(1, _answer(back), back=True), _message(22, _bye())]
    (call,) = signalling.describe(said)
    assert (call.caller_number, call.caller_name, call.called_number, call.called_name) == (
        "1001",
        "Ann",
        "2002",
        "Bob",
    )
    assert (call.status, call.start_ns, call.end_ns) == ("answered", T, T + 22 * SECOND)
    first, second = (50002, 50000) if turned else (50000, 50002)
    assert _sides(call) == {
        ("caller", SRC, 24000), ("called", SRS, first), ("called", SRC, 24002), ("caller", SRS, second),
    }  # fmt: skip
    assert all(row.fork == (row.address == SRS) for row in call.media)


def test_without_labels_the_order_decides_and_the_calling_party_may_be_named() -> None:
    lines = [(24000, ""), (24002, "")]
    text = c.rs_metadata(TWO, LABELS).replace(
        '<participant participant_id="p2">',
        '<participant participant_id="p2"><extensiondata xmlns:apkt="http://acmepacket.com/siprec/extensiondata">'
        "<apkt:callingParty>true</apkt:callingParty></extensiondata>",
    )
    invite = _siprec("INVITE sip:srs@10.8.8.8 SIP/2.0", c.siprec_sdp(SRC, lines), text)
    (call,) = signalling.describe(
        [_message(0, invite), _message(1, _answer([(50000, ""), (50002, "")]), back=True)]
    )
    assert (call.caller_number, call.called_number) == ("2002", "1001")
    assert {("called", SRC, 24000), ("caller", SRC, 24002)} <= _sides(call)


def test_metadata_of_the_drafts_is_read() -> None:
    """Ids in ``id``, what a participant sends inside it, a namespace prefix."""
    text = (
        '<r:recording xmlns:r="urn:ietf:params:xml:ns:recording"><r:session id="cs"/>'
        '<r:participant id="p1" session="cs"><r:nameID aor="tel:+15551001"><r:name>Ann</r:name></r:nameID>'
        '<r:send>s1</r:send></r:participant><r:participant id="p2" session="cs"><r:nameID aor="sip:2002@x"/>'
        '<r:send>s2</r:send></r:participant><r:stream id="s1" session="cs"><r:label>1</r:label></r:stream>'
        '<r:stream id="s2" session="cs"><r:label>2</r:label></r:stream></r:recording>'
    )
    invite = _siprec("INVITE sip:srs@10.8.8.8 SIP/2.0", c.siprec_sdp(SRC, [(24000, "1"), (24002, "2")]), text)
    (call,) = signalling.describe([_message(0, invite)])
    assert (call.caller_number, call.caller_name, call.called_number) == ("+15551001", "Ann", "2002")


def test_several_calls_of_one_recording_session_stay_apart() -> None:
    four = [*TWO, ("p3", "3003", "", ["s3"]), ("p4", "4004", "", ["s4"])]
    labels = [*LABELS, ("s3", "3"), ("s4", "4")]
    of = dict.fromkeys(("p3", "p4", "s3", "s4"), "cs2")
    lines = [(24000 + 2 * n, str(n + 1)) for n in range(4)]
    text = c.rs_metadata(four, labels, sessions=("cs1", "cs2"), session_of=of)
    invite = _siprec("INVITE sip:srs@10.8.8.8 SIP/2.0", c.siprec_sdp(SRC, lines), text)
    back = [(50000 + 2 * n, "") for n in range(4)]
    calls = signalling.calls_of(
        [_message(0, invite), _message(1, _answer(back), back=True), _message(22, _bye())]
    )
    assert [(call.caller_number, call.called_number) for call in calls] == [
        ("1001", "2002"),
        ("3003", "4004"),
    ]
    assert {row.port for row in calls[0].media} == {24000, 24002, 50000, 50002}
    assert len({call.call_id for call in calls}) == 2


def test_calls_one_after_the_other_on_one_recording_session() -> None:
    """A turret's session stays up: the next call comes with a re-INVITE, on the same ports with labels of its own."""
    first = _siprec(
        "INVITE sip:srs@10.8.8.8 SIP/2.0",
        c.siprec_sdp(SRC, [(24000, "1"), (24002, "2")]),
        c.rs_metadata(TWO, LABELS),
    )
    later = c.rs_metadata(
        [("p3", "3003", "", ["s3"]), ("p4", "4004", "", ["s4"])],
        [("s3", "3"), ("s4", "4")],
        sessions=("cs2",),
    )
    second = _siprec(
        "INVITE sip:srs@10.8.8.8 SIP/2.0",
        c.siprec_sdp(SRC, [(24000, "3"), (24002, "4")]),
        later,
        cseq="2 INVITE",
        to=TAGS[1],
    )
    back = [(50000, ""), (50002, "")]
    said = [
        _message(0, first), _message(1, _answer(back), back=True), _message(30, second),
        _message(31, _answer(back, "2 INVITE"), back=True), _message(60, _bye()),
    ]  # fmt: skip
    calls = signalling.calls_of(said)
    assert [(call.caller_number, call.start_ns - T, call.end_ns - T) for call in calls] == [
        ("1001", 0, 30 * SECOND), ("3003", 30 * SECOND, 60 * SECOND),
    ]  # fmt: skip


def test_a_third_party_of_a_conference_has_a_call_of_its_own() -> None:
    three = [*TWO, ("p3", "3003", "", ["s3"])]
    lines = [(24000, "1"), (24002, "2"), (24004, "3")]
    invite = _siprec(
        "INVITE sip:srs@10.8.8.8 SIP/2.0",
        c.siprec_sdp(SRC, lines),
        c.rs_metadata(three, [*LABELS, ("s3", "3")]),
    )
    calls = signalling.calls_of([_message(0, invite)])
    assert [(call.caller_number, call.called_number) for call in calls] == [("1001", "2002"), ("3003", "")]


def test_who_comes_for_another_goes_on_in_the_same_call() -> None:
    first = _siprec(
        "INVITE sip:srs@10.8.8.8 SIP/2.0",
        c.siprec_sdp(SRC, [(24000, "1"), (24002, "2")]),
        c.rs_metadata(TWO, LABELS),
    )
    later = c.rs_metadata([TWO[0], ("p3", "3003", "", ["s3"])], [LABELS[0], ("s3", "3")])
    lines = [(24000, "1"), (0, "2"), (24004, "3")]
    second = _siprec(
        "INVITE sip:srs@10.8.8.8 SIP/2.0", c.siprec_sdp(SRC, lines), later, cseq="2 INVITE", to=TAGS[1]
    )
    (call,) = signalling.calls_of([_message(0, first), _message(20, second)])
    assert (call.caller_number, call.called_number, call.transferred_to) == ("1001", "2002", "3003")
    assert {("called", SRC, 24002), ("called", SRC, 24004)} <= _sides(call)


def test_a_paused_recording_stays_one_call() -> None:
    lines = [(24000, "1"), (24002, "2")]
    said = []
    for number, (at, direction) in enumerate(((0, "sendonly"), (5, "inactive"), (9, "sendonly"))):
        to = TAGS[1] if number else "<sip:srs@10.8.8.8>"
        description = c.siprec_sdp(SRC, lines, direction)
        partial = c.rs_metadata(TWO, LABELS, mode="partial" if number else "complete")
        said.append(
            _message(
                at,
                _siprec(
                    "INVITE sip:srs@10.8.8.8 SIP/2.0",
                    description,
                    partial,
                    cseq=f"{number + 1} INVITE",
                    to=to,
                ),
            )
        )
    (call,) = signalling.calls_of(said)
    assert [row.direction for row in call.media if row.port == 24000] == ["sendonly", "inactive", "sendonly"]
    assert call.end_ns == 0


def test_without_metadata_nobody_is_src_or_srs() -> None:
    invite = c.sip(
        "INVITE sip:srs@10.8.8.8 SIP/2.0", sender=TAGS[0], call_id="rs@x", headers=("Require: siprec",),
        body=c.siprec_sdp(SRC, [(24000, "1"), (24002, "2")]),
    )  # fmt: skip
    (call,) = signalling.describe([_message(0, invite)])
    assert (call.caller_number, call.called_number) == ("", "")
    assert {("caller", SRC, 24000), ("called", SRC, 24002)} == _sides(call)
    assert "parties unknown" in call.warnings[0]


def _dialog(
    call_id: str = "cs@x", session_id: str = "", caller: str = "1001", called: str = "2002"
) -> list[Message]:
    headers = (f"Session-ID: {session_id};remote={'0' * 32}",) if session_id else ()
    ends = (f"<sip:{caller}@pbx>;tag=a", f"<sip:{called}@pbx>")
    flow = Flow("10.1.0.1", 5060, "10.1.0.2", 5060)
    invite = c.sip(
        f"INVITE sip:{called}@pbx SIP/2.0", call_id=call_id, sender=ends[0], to=ends[1], headers=headers,
        body=c.sdp("10.1.0.1", 7000, {0: "PCMU/8000"}),
    )  # fmt: skip
    answer = c.sip(
        "SIP/2.0 200 OK",
        call_id=call_id,
        sender=ends[0],
        to=ends[1] + ";tag=b",
        body=c.sdp("10.1.0.2", 8000, {0: "PCMU/8000"}),
    )
    return [
        Message("sip", T - SECOND, flow, "udp", invite),
        Message("sip", T - SECOND // 2, flow, "udp", answer),
    ]


@pytest.mark.parametrize("by", ["session", "parties", "parties turned"])
def test_a_recording_is_tied_to_its_call_where_the_capture_has_both(by: str) -> None:
    session_id = "ab30317f1a784dc48ff824d0d3715d86"
    own = f"{session_id};remote={'1' * 32}" if by == "session" else ""
    text = c.rs_metadata(TWO, LABELS, sip_session_id=own)
    invite = _siprec("INVITE sip:srs@10.8.8.8 SIP/2.0", c.siprec_sdp(SRC, [(24000, "1"), (24002, "2")]), text)
    numbers = ("2002", "1001") if by == "parties turned" else ("1001", "2002")
    said = [*_dialog(session_id=session_id if by == "session" else "", caller=numbers[0], called=numbers[1])]
    said += [_message(0, invite), _message(0.1, _answer([(50000, ""), (50002, "")]), back=True)]
    (call,) = signalling.calls_of(said)
    assert (call.call_id, call.caller_number, call.related) == ("cs@x", numbers[0], ["rs@x"])
    forks = {(row.side, row.port) for row in call.media if row.fork}
    assert forks == (
        {("called", 50000), ("caller", 50002)}
        if by != "parties turned"
        else {("caller", 50000), ("called", 50002)}
    )


def test_other_calls_of_others_are_not_taken_for_recorded() -> None:
    text = c.rs_metadata(TWO, LABELS)
    invite = _siprec("INVITE sip:srs@10.8.8.8 SIP/2.0", c.siprec_sdp(SRC, [(24000, "1"), (24002, "2")]), text)
    calls = signalling.calls_of([*_dialog(caller="1003"), _message(0, invite)])
    assert len(calls) == 2
    assert not any(call.related for call in calls)


@pytest.mark.parametrize(
    "text",
    [
        b"<?xml version='1.0'?><!DOCTYPE r [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;'>]><recording>&b;</recording>",
        b"<recording>" + b"<x>" * 1000,
        b"<recording>" + b"<x/>" * 20_000 + b"</recording>",
        b"<other/>",
        b"\xff\xfe<",
        b"<?xml version='1.0' encoding='UTF-9'?><recording/>",
        b"",
    ],
)
def test_metadata_that_nobody_sends_is_refused(text: bytes) -> None:
    metadata = Metadata()
    metadata.take(text, 0)
    assert not metadata.participants


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damaged_metadata_ends(data: st.DataObject) -> None:
    text = bytearray(c.rs_metadata(TWO, LABELS).encode())
    for _ in range(data.draw(st.integers(1, 5))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    Metadata().take(bytes(text), 0)
    invite = _siprec(
        "INVITE sip:srs@10.8.8.8 SIP/2.0", c.siprec_sdp(SRC, [(24000, "1")]), text.decode("latin-1")
    )
    signalling.calls_of([_message(0, invite)])


def test_both_voices_of_a_recording_are_heard() -> None:
    lines = [(24000, "1"), (24002, "2")]
    frames = [
        (
            T,
            c.udp(
                SRC,
                5060,
                SRS,
                5060,
                _siprec(
                    "INVITE sip:srs@10.8.8.8 SIP/2.0", c.siprec_sdp(SRC, lines), c.rs_metadata(TWO, LABELS)
                ),
            ),
        )
    ]
    frames.append((T + 10**8, c.udp(SRS, 5060, SRC, 5060, _answer([(50000, ""), (50002, "")]))))
    for index in range(100):
        for line in (0, 1):
            packet = c.rtp(index, index * 160, 70 + line, 0, bytes([line + 1]) * 160)
            frames.append(
                (T + 10**9 + index * 20_000_000, c.udp(SRC, 24000 + 2 * line, SRS, 50000 + 2 * line, packet))
            )
    with callreplay.open(c.pcap(frames)) as capture:
        (call,) = capture.calls
        assert [leg.statistics.packets for leg in call.legs] == [100, 100]
        assert [leg.columns.data[leg.columns.offset[5]] for leg in call.legs] == [1, 2]
        assert not call.warnings


def _info(kind: str, body: str, cseq: int, *, tag: str = "a") -> bytes:
    other = "b" if tag == "a" else "a"
    made = c.sip(
        "INFO sip:x@pbx SIP/2.0", call_id="cs@x", sender=f"<sip:1@pbx>;tag={tag}", to=f"<sip:2@pbx>;tag={other}",
        cseq=f"{cseq} INFO", headers=(f"Content-Type: {kind}",), body=body,
    )  # fmt: skip
    return made.replace(b"Content-Type: application/sdp\r\n", b"")


@pytest.mark.parametrize(
    ("kind", "body", "digit", "duration_ms"),
    [
        ("application/dtmf-relay", "Signal=5\r\nDuration=120\r\n", "5", 120),
        ("application/dtmf-relay", "Signal= *\r\nDuration= 250\r\n", "*", 250),
        ("application/dtmf-relay", "Signal=11\r\n", "#", 160),
        ("Application/DTMF-Relay", "signal: d", "D", 160),
        ("application/dtmf", "7", "7", 160),
        ("application/dtmf", "#\r\n", "#", 160),
        ("application/vnd.nortelnetworks.digits", "p=Digit-Collection\r\ny=Digits\r\n\r\nd=3\r\n", "3", 160),
        ("application/hook-flash", "x", "flash", 160),
    ],
)
def test_digits_of_info_are_the_sender_s(kind: str, body: str, digit: str, duration_ms: float) -> None:
    flow = Flow("10.1.0.1", 5060, "10.1.0.2", 5060)
    said = _dialog()
    for number, tag in enumerate(("a", "b")):
        for _ in range(2):  # the second is another tap's, with another Via
            payload = _info(kind, body, 10 + number, tag=tag).replace(b"z9hG4bK1", b"z9hG4bK%d" % len(said))
            said.append(Message("sip", T + number * SECOND, flow, "udp", payload))
    (call,) = signalling.describe(said)
    assert [tuple(one) for one in call.digits] == [
        ("caller", digit, T, duration_ms), ("called", digit, T + SECOND, duration_ms),
    ]  # fmt: skip


def test_a_digit_sent_both_ways_is_reported_once() -> None:
    frames = [
        (message.arrival_ns, c.udp("10.1.0.1", 5060, "10.1.0.2", 5060, message.payload))
        for message in _dialog()
    ]
    for index in range(200):
        pt, payload = (
            (0, b"\xff" * 160)
            if not 50 <= index < 56
            else (101, c.event(5, 160 * (index - 49), end=index == 55))
        )
        stamp = index * 160 if pt == 0 else 50 * 160
        frames.append(
            (
                T + index * 20_000_000,
                c.udp("10.1.0.1", 7000, "10.1.0.2", 8000, c.rtp(index, stamp, 7, pt, payload)),
            )
        )
    for number, (digit, at) in enumerate((("5", 1.1), ("6", 2.0))):
        info = _info("application/dtmf-relay", f"Signal={digit}\r\nDuration=100\r\n", 20 + number)
        frames.append((T + round(at * SECOND), c.udp("10.1.0.1", 5060, "10.1.0.2", 5060, info)))
    with callreplay.open(c.pcap(sorted(frames))) as capture:
        (call,) = capture.calls
        assert [event.digit for event in call.caller.events] == ["5", "6"]
        assert [event.digit for event in call.called.events] == []


def test_diversion_and_history_info_are_kept() -> None:
    headers = (
        'Diversion: "Queue" <sip:500@pbx>;reason=no-answer;counter=1, <tel:+1555>;reason=user-busy',
        "History-Info: <sip:200@pbx>;index=1, <sip:300@pbx?Reason=SIP%3Bcause%3D302>;index=1.1;mp=1",
    )
    invite = c.sip(
        "INVITE sip:400@pbx SIP/2.0", headers=headers, body=c.sdp("10.0.0.1", 4000, {0: "PCMU/8000"})
    )
    frames = [(T, c.udp("10.0.0.1", 5060, "10.0.0.2", 5060, invite))]
    frames += [
        (T + i * 20_000_000, c.udp("10.0.0.2", 5000, "10.0.0.1", 4000, c.rtp(i, i * 160, 7)))
        for i in range(20)
    ]
    with callreplay.open(c.pcap(frames)) as capture:
        kept = capture.calls[0].report(audio=False)["diversions"]
    assert [(hop["number"], hop["name"], hop["reason"], hop["header"]) for hop in kept] == [
        ("500", "Queue", "no-answer", "diversion"),
        ("+1555", "", "user-busy", "diversion"),
        ("200", "", "", "history-info"),
        ("300", "", "SIP;cause=302", "history-info"),
    ]


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate", "raw", "gzip, deflate"])
@pytest.mark.parametrize("short", [False, True])
def test_compressed_bodies_are_read(encoding: str, short: bool) -> None:
    body = c.sdp("10.0.0.1", 4000, {0: "PCMU/8000"}).encode()
    packed = gzip.compress(body) if "gzip" in encoding else zlib.compress(body)
    if encoding == "raw":
        packed = zlib.compress(body)[2:-4]
    if encoding == "gzip, deflate":
        packed = zlib.compress(packed)
    head = c.sip("INVITE sip:200@pbx SIP/2.0").partition(b"Content-Length")[0]
    names = (b"e", b"c", b"l") if short else (b"Content-Encoding", b"Content-Type", b"Content-Length")
    said = encoding.replace("raw", "deflate").encode()
    payload = head + b"%b: %b\r\n%b: application/sdp\r\n%b: %d\r\n\r\n" % (
        names[0],
        said,
        names[1],
        names[2],
        len(packed),
    )
    (call,) = signalling.describe([_message(0, payload + packed)])
    assert {(row.address, row.port) for row in call.media} == {("10.0.0.1", 4000)}


def test_a_body_that_grows_without_end_is_cut_and_one_that_is_none_counted() -> None:
    assert len(bodies.decoded("gzip", gzip.compress(bytes(64 << 20)))) == bodies.MAX_BODY
    faults: Counter[str] = Counter()
    assert bodies.decoded("br", b"abc", faults) == b"abc"
    assert faults == {"sip: body encoded as br cannot be read": 1}


def test_parts_may_be_nested_encoded_and_without_headers() -> None:
    body = (
        b'preamble\r\n--a\r\nContent-Type: multipart/alternative; boundary="b"\r\n\r\n--b\r\n\r\nv=0\r\n--b--\r\n'
        b"\r\n--a\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\naGVsbG8=\r\n--a--\r\nepilogue"
    )
    found = list(bodies.parts("multipart/mixed;boundary=a", body))
    assert [(part.kind, part.content.strip()) for part in found] == [("", b"v=0"), ("text/plain", b"hello")]


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.sampled_from(["multipart/x;boundary=a", "multipart/x", "", "text/plain"]))
def test_any_octets_as_bodies_end(octets: bytes, kind: str) -> None:
    list(bodies.parts(kind, octets.replace(b"0", b"--a\r\n")))


def _named(host: str) -> str:
    return c.sdp("10.0.0.9", 4000, {0: "PCMU/8000"}).replace("c=IN IP4 10.0.0.9", f"c=IN IP4 {host}")


def test_host_names_stand_for_who_calls_itself_so() -> None:
    """The proxy's name is in its Via; the phone's in its Contact, which a proxy hands on from an address of its own."""
    flow = Flow("10.0.0.1", 5060, "10.0.0.2", 5060)
    onward = Flow("10.0.0.2", 5060, "10.0.0.3", 5060)
    contact = ("Contact: <sip:100@phone.example:5062>",)
    invite = c.sip("INVITE sip:200@pbx SIP/2.0", headers=contact, body=_named("phone.example"))
    relayed = invite.replace(b"branch=z9hG4bK1", b"branch=z9hG4bK2")
    said = [Message("sip", T, flow, "udp", invite), Message("sip", T + 1, onward, "udp", relayed)]
    (call,) = signalling.describe(said)
    assert {(row.address, row.port) for row in call.media} == {("10.0.0.1", 4000)}
    assert call.caller_address == "10.0.0.1"


@pytest.mark.parametrize(
    "hosts", [("10.1.0.1", "10.2.0.1"), ("10.1.0.5", "10.2.0.5"), ("198.51.100.1", "203.0.113.9")]
)
def test_media_of_a_name_that_nothing_explains_finds_its_call(hosts: tuple[str, str]) -> None:
    """At the hosts that signal, or at others: the ports tell."""
    offer, answer = (_named("a.example"), _named("b.example").replace("audio 4000", "audio 5000"))
    frames = [
        (T, c.udp("10.1.0.1", 5060, "10.2.0.1", 5060, c.sip("INVITE sip:200@pbx SIP/2.0", body=offer))),
        (
            T + SECOND,
            c.udp(
                "10.2.0.1",
                5060,
                "10.1.0.1",
                5060,
                c.sip("SIP/2.0 200 OK", to="<sip:200@pbx>;tag=b", body=answer),
            ),
        ),
    ]
    for index in range(100):
        at = T + 2 * SECOND + index * 20_000_000
        frames.append(
            (at, c.udp(hosts[0], 4000, hosts[1], 5000, c.rtp(index, index * 160, 1, 0, b"\xd5" * 160)))
        )
        frames.append(
            (at, c.udp(hosts[1], 5000, hosts[0], 4000, c.rtp(index, index * 160, 2, 0, b"\x55" * 160)))
        )
    with callreplay.open(c.pcap(frames)) as capture:
        (call,) = capture.calls
        assert (call.party("caller"), call.party("called")) == ("100", "200")
        assert [leg.columns.spans[0].ssrc for leg in call.legs] == [1, 2]


OFFER, ANSWER = c.sdp("10.5.0.1", 30000, {8: "PCMA/8000"}), c.sdp("10.5.0.1", 30002, {8: "PCMA/8000"})


def test_metadata_of_rtpengine_tells_the_sides() -> None:
    text = c.rtpengine_metadata(
        "/var/spool/rtpengine/pcaps/abc%40pbx-0123456789abcdef.pcap",
        [("offer", OFFER), ("answer", ANSWER), ("offer", ANSWER)],
        started_ms=T / 1e6,
        more="from:1001|to:sip:2002@pbx|x:y",
    )
    assert rtpengine.is_metadata(text[:4096].encode())
    call = rtpengine.parse(text.encode())
    assert call is not None
    assert (call.call_id, call.caller_number, call.called_number) == ("abc@pbx", "1001", "2002")
    assert [(row.side, row.port) for row in call.media] == [("caller", 30000), ("called", 30002)]
    assert str(call.media[0].payload_types[8]) == "PCMA/8000"


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_any_octets_as_metadata_end(octets: bytes) -> None:
    rtpengine.is_metadata(octets)
    rtpengine.parse(b"/x/y.pcap\nSDP mode: offer\nSDP before RTP packet: 1\n\nv=0\r\n" + octets)
