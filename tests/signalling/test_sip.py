from __future__ import annotations

from collections import Counter

import pytest

from callreplay.signalling import sip

INVITE = (
    b"INVITE sip:bob@biloxi.example.com;transport=tcp SIP/2.0\r\n"
    b"v: SIP/2.0/UDP a;branch=z9hG4bK1,\r\n"
    b"  SIP/2.0/UDP b;branch=z9hG4bK2\r\n"
    b'f: "A. \\"Ace\\" Lee, Jr." <sip:+1-212-555-1212@a.example;user=phone>;tag=9fxced76sl\r\n'
    b"t: sip:%2b49%20331@b.example;tag=x\r\n"
    b"i: 3848276298220188511@a.example\r\n"
    b"CSeq: 12 INVITE\r\n"
    b'P-Asserted-Identity: "Cullen" <sip:fluffy@cisco.example>, tel:+14085264000\r\n'
    b"no colon here\r\n"
    b"c: application/sdp\r\n"
    b"l: 5\r\n\r\nv=0\r\nTRAILING"
)


def test_request_with_compact_folded_and_multiple_values() -> None:
    faults: Counter[str] = Counter()
    message = sip.parse(INVITE, faults)
    assert message is not None
    assert (message.method, message.request_uri) == ("INVITE", "sip:bob@biloxi.example.com;transport=tcp")
    assert message.values("via") == ["SIP/2.0/UDP a;branch=z9hG4bK1", "SIP/2.0/UDP b;branch=z9hG4bK2"]
    assert message.sender.display_name == 'A. "Ace" Lee, Jr.'
    assert message.sender.number == "+12125551212"
    assert message.sender.tag == "9fxced76sl"
    assert message.recipient.number == "+49331"
    assert message.recipient.tag == "x"
    assert message.cseq == (12, "INVITE")
    assert [identity.number for identity in message.identities("p-asserted-identity")] == [
        "fluffy",
        "+14085264000",
    ]
    assert message.sdp == b"v=0\r\n"
    assert faults == {"sip: bad header line": 1}


def test_response() -> None:
    message = sip.parse(b"\r\n\r\nSIP/2.0 486 Busy Here\r\nCall-ID : x\r\nCSeq: 1 INVITE\r\n\r\n")
    assert message is not None
    assert (message.method, message.status, message.reason, message.call_id) == ("", 486, "Busy Here", "x")


@pytest.mark.parametrize(
    "data",
    [b"", b"\x00", b"GET / HTTP/1.1\r\n\r\n", b"SIP/2.0 99 x\r\n\r\n", b"INVITE sip:x\r\n\r\n", b"\r\n" * 9],
)
def test_what_is_not_sip(data: bytes) -> None:
    faults: Counter[str] = Counter()
    assert sip.parse(data, faults) is None
    assert faults == {"sip: no start line": 1}


def test_lone_line_feeds_and_short_body() -> None:
    faults: Counter[str] = Counter()
    message = sip.parse(b"BYE sip:a SIP/2.0\nContent-Length: 9\nCall-ID: q\n\nabc", faults)
    assert message is not None
    assert (message.call_id, message.body) == ("q", b"abc")
    assert faults == {"sip: body cut short": 1}


@pytest.mark.parametrize(
    ("text", "name", "number"),
    [
        ("Bob <sip:100@h>", "Bob", "100"),
        ("sip:100@h;tag=1", "", "100"),
        ('"=?UTF-8?B?SsO8cmdlbg==?=" <sip:1@h>', "Jürgen", "1"),
        ('"J%C3%BCrgen" <sip:1@h>', "Jürgen", "1"),
        ('"caf\\\\e" <sip:1@h>', "caf\\e", "1"),
        ("<tel:+44-(20)-7946.0000;ext=5>", "", "+442079460000"),
        ("<sip:alice.b@h>", "", "alice.b"),
        ("<sip:1234;phone-context=+1@h;user=phone>", "", "1234"),
        ("<sip:u:secret@h:5070>", "", "u"),
        ("<sip:user;par=a?b@h>", "", "user"),
        ("<sips:host.example>", "", ""),
        ("<http://x>", "", ""),
        ('"unterminated <sip:1@h>', "unterminated <sip:1@h>", ""),
        ("=?bogus?Q?=E9?= <sip:1@h>", "=?bogus?Q?=E9?=", "1"),
        ("", "", ""),
    ],
)
def test_names_and_numbers(text: str, name: str, number: str) -> None:
    address = sip.parse_name_address(text)
    assert (address.display_name, address.number) == (name, number)


def test_uri_hosts_and_ports() -> None:
    uri = sip.parse_uri("sip:a@[2001:db8::1]:5062;transport=udp;lr")
    assert uri is not None
    assert (uri.host, uri.port, uri.parameters) == ("2001:db8::1", 5062, {"transport": "udp", "lr": ""})
    assert sip.parse_uri("sip:a@h:99999") == sip.Uri("sip", "a", "h", 0, {})
    assert sip.parse_uri("mailto:a@h") is None


def test_sdp_in_multipart() -> None:
    body = (
        b"--b\r\nContent-Type: application/isup\r\n\r\n\x01\x02\r\n"
        b"--b\r\nContent-Type: application/sdp\r\nContent-Disposition: session\r\n\r\nv=0\r\ns=x\r\n\r\n--b--\r\n"
    )
    head = b'SIP/2.0 200 OK\r\nContent-Type: multipart/mixed;boundary="b"\r\n\r\n'
    message = sip.parse(head + body)
    assert message is not None
    assert message.sdp.startswith(b"v=0\r\ns=x")
    other = sip.parse(b"SIP/2.0 200 OK\r\nContent-Type: text/plain\r\n\r\nv=0\r\n")
    assert other is not None
    assert other.sdp == b""


def test_headers_are_bounded() -> None:
    faults: Counter[str] = Counter()
    message = sip.parse(b"BYE sip:a SIP/2.0\r\n" + b"X: y\r\n" * 5000 + b"\r\n", faults)
    assert message is not None
    assert len(message.headers["session-expires"]) == sip.MAX_HEADERS
    assert faults == {"sip: too many headers": 1}


@pytest.mark.parametrize("word", ["=?utf-7?q?+2AA-?=", "=?unicode_escape?q?=5Cud800?="])
def test_encoded_names_never_give_lone_surrogates(word: str) -> None:
    name = sip.parse_name_address(f'"{word}" <sip:1@a>').display_name
    assert name.encode() == b"?"
