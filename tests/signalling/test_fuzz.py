"""Bytes from outside never raise: hypothesis for structure, a seeded mutation run over real messages for the rest."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callreplay import signalling
from callreplay.model import Flow, Message
from callreplay.signalling import sdp, sip, skinny

SECONDS = float(os.environ.get("CALLREPLAY_FUZZ_SECONDS", "5"))
FLOW = Flow("10.0.0.1", 5060, "10.0.0.2", 5060)
TOKENS = (
    b"INVITE sip:a@b SIP/2.0\r\n", b"SIP/2.0 200 OK\r\n", b"Call-ID: x\r\n", b"CSeq: 1 INVITE\r\n",
    b"From: <sip:a@b>;tag=1\r\n",
    b"To: <sip:b@c>\r\n", b"\r\n", b"v=0\r\n", b"m=audio 1 RTP/AVP 0\r\n", b"c=IN IP4 1.2.3.4\r\n",
    b"a=rtpmap:0 PCMU/8000\r\n",
    b'"', b"<", b">", b";", b"=?utf-8?Q?=00?=", b"%", b"\\", b",", b"\x00", b"\xff", b" ", b":", b"=",
)  # fmt: skip


@given(st.lists(st.one_of(st.sampled_from(TOKENS), st.binary(max_size=8)), max_size=30).map(b"".join))
@settings(max_examples=300, deadline=None)
def test_sip_and_sdp_never_raise(data: bytes) -> None:
    message = sip.parse(data)
    if message is not None:
        assert message.method or 100 <= message.status < 700
        list(message.identities("from"))
        assert isinstance(message.sdp, bytes)
    session = sdp.parse(data)
    if session is not None:
        assert all(0 <= section.port <= 0xFFFF for section in session.media)
    signalling.describe([Message("sip", 0, FLOW, "udp", data)])


@given(st.text(max_size=80))
@settings(max_examples=300, deadline=None)
def test_name_addresses_never_raise(text: str) -> None:
    address = sip.parse_name_address(text)
    assert "\x00" not in address.display_name
    assert all(value == value.strip() for value in sip.split_values(text))


@given(st.sampled_from(sorted(skinny._HANDLERS)), st.integers(0, 30), st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_skinny_never_raises(message_id: int, version: int, body: bytes) -> None:
    frame = (
        (len(body) + 4).to_bytes(4, "little")
        + version.to_bytes(4, "little")
        + message_id.to_bytes(4, "little")
        + body
    )
    parsed = skinny.parse(frame)
    assert parsed is not None
    assert parsed.body == body
    for call in signalling.describe([Message("skinny", 7, FLOW, "tcp", frame)] * 2):
        assert call.protocol == "skinny"


def _mutate(generator: random.Random, data: bytes) -> bytes:
    mutated = bytearray(data)
    for _ in range(generator.randint(1, 8)):
        position = generator.randrange(len(mutated) + 1)
        choice = generator.randrange(5)
        if choice == 0 and mutated:
            mutated[position % len(mutated)] = generator.randrange(256)
        elif choice == 1:
            del mutated[position : position + generator.randint(1, 40)]
        elif choice == 2:
            mutated[position:position] = generator.choice(TOKENS)
        elif choice == 3:
            mutated[position:position] = mutated[position : position + generator.randint(1, 60)]
        else:
            mutated[position : position + 4] = generator.choice(
                (b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"9999")
            )
    return bytes(mutated)


@pytest.mark.parametrize("name", ["SIP_DTMF2.cap", "codec-negotiation.pcap", "skinny.pcap"])
def test_mutated_real_messages_never_raise(capture: Callable[[str], list[Message]], name: str) -> None:
    generator = random.Random(0xCA11)
    messages = capture(name)
    faults: Counter[str] = Counter()
    runs = 0
    stop = time.monotonic() + SECONDS / 3
    while time.monotonic() < stop:
        mutated = [
            Message(m.protocol, m.arrival_ns, m.flow, m.transport, _mutate(generator, m.payload))
            if generator.random() < 0.3
            else m
            for m in messages
        ]
        generator.shuffle(mutated)
        for call in signalling.merge_related(signalling.describe(mutated, faults)):
            assert call.call_id
        signalling.skinny.registrations(mutated)
        runs += 1
    assert runs > 0
    assert faults
