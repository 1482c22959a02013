"""The native walk over a message's head gives what the parser in Python gives, which any message may be left to."""

from __future__ import annotations

import gzip
import random
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.signalling.conftest import vectors

from callreplay import packets
from callreplay.signalling import heads, sip

PIECES = (
    b"INVITE sip:a@b SIP/2.0", b"SIP/2.0 200 OK", b"sip/2.0  180", b"SIP/2.0 2000 x", b"SIP/2.0 099 x", b"SIP/2.0",
    b"ACK  SIP/2.0 sip/2.0", b"x" * 33 + b" u SIP/2.0", b"INVITE SIP/2.0", b"Call-ID", b"i", b"I", b"CSeq", b"v",
    b"Content-Length: 4", b"l:9", b"c", b"no colon", b": ", b":", b" ", b"\t", b"\r\n", b"\n", b"\r", b"\r\n\r\n",
    b"\n\n",
    b"x-A", b"\x00", b"\x7f", b"\x85", b"\xc2\xa0", b"\xc3\xa4", b"\x1c", b"\x0b", b"v=0\r\n", b"A" * 70, b"1 INVITE",
)  # fmt: skip
CALL_ID = re.compile(rb"^(?:call-id|i)[ \t]*:[ \t]*([^\r\n]*?)[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
CSEQ = re.compile(rb"^cseq[ \t]*:[ \t]*\d+[ \t]+([A-Za-z]+)[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)


def _agree(data: bytes) -> bool:
    """Hold both to each other; whether the message was plain."""
    read = heads.read(data)
    if read is not None:
        assert read == sip._read(data, None), data
        if read:
            assert list(read[4]) == list(sip._read(data, None)[4])  # type: ignore[misc]
    found = CALL_ID.search(data)
    assert heads.call_id(data) == (found[1] if found else None), data
    asked = heads.asked(data)
    if asked:  # of a message with several lines CSeq the first counts, and where it cannot be read none does
        assert any(asked == one[1] for one in CSEQ.finditer(data)), data
    return read is not None


@given(st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=6)), max_size=24).map(b"".join))
@settings(max_examples=200, deadline=None)
def test_any_octets(data: bytes) -> None:
    _agree(data)


@cache
def _messages() -> tuple[bytes, ...]:
    """Messages of the shared captures, each different one once for each start line."""
    found: dict[bytes, None] = {}
    paths = [*(vectors() / "sip").rglob("*.pcap*"), *(vectors().parent / "cases").glob("*.pcap.gz")]
    for path in sorted(paths):
        octets = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        if len(octets) > 4 << 20:
            continue
        for message in packets.scan(
            packets.open_buffer(np.frombuffer(octets, np.uint8), warnings=[])
        ).messages:
            if message.protocol == "sip":
                found[message.payload] = None
    return tuple(found)


def _altered() -> Iterator[bytes]:
    generator = random.Random(18)
    for message in _messages()[:400]:
        for _ in range(6):
            octets = bytearray(message)
            for _ in range(generator.randint(1, 4)):
                at = generator.randrange(len(octets) + 1)
                if generator.random() < 0.3:
                    del octets[at : at + generator.randint(1, 30)]
                else:
                    octets[at:at] = generator.choice(PIECES)
            yield bytes(octets)


def test_messages_of_captures_as_they_are_and_altered() -> None:
    if not _messages():
        pytest.skip("the shared captures are missing")
    plain = sum(_agree(message) for message in _messages())
    assert plain > 0.8 * len(_messages())  # or nothing would be won
    assert sum(_agree(message) for message in _altered()) > 100


def test_every_cut_of_a_message() -> None:
    whole = (
        b"\r\nINVITE sip:b@c SIP/2.0\r\nVia: a\r\nv : b\r\nbad\r\nCall-ID:\t x \r\nCSeq:  7 \t INVITE\r\n\r\n"
        b"v=0\r\ni: y\r\n"
    )
    for end in range(len(whole) + 1):
        _agree(whole[:end])
        _agree(whole[:end] + b"\r")
        _agree(whole[end:])


def test_faults_are_counted_alike() -> None:
    faults: Counter[str] = Counter()
    message = sip.parse(b"BYE sip:a SIP/2.0\r\nnone\r\nL: 9\r\nneither\r\n\r\nabc", faults)
    assert message is not None
    assert message.body == b"abc"
    assert faults == {"sip: bad header line": 2, "sip: body cut short": 1}


def test_names_from_outside_are_not_kept_for_ever() -> None:
    for number in range(3000):
        read = heads.read(b"BYE sip:a SIP/2.0\r\nX-%d: 1\r\n\r\n" % number)
        assert read
        assert read[4] == {f"x-{number}": ["1"]}


def test_as_many_headers_as_are_read() -> None:
    for count in (1023, 1024, 1025):
        faults: Counter[str] = Counter()
        message = sip.parse(b"BYE sip:a SIP/2.0\r\n" + b"a: 1\r\n" * count + b"\r\n", faults)
        assert message is not None
        assert len(message.headers["accept-contact"]) == min(count, 1024)
        assert faults == ({"sip: too many headers": 1} if count > 1024 else {})
