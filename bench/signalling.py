"""Signalling: what a SIP message costs to read, to put into its dialog, and to be heard by a recorder.

``CALLS`` calls of two hops through a B2BUA that anchors media: 14 messages a call with 11 to 13 headers each, four of
them with an SDP of 13 lines. CPU time of one core, the least of ``TURNS`` tries, each with fresh tables; ``ratio`` is
the time over the 15 us that are promised for a message.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from callreplay.model import Flow, Message

CALLS = 300
TURNS = 7
PROMISED_US = 15.0
_START_NS = 1_700_000_000 * 10**9
_SDP = (
    "v=0\r\no=- {number} {number} IN IP4 {address}\r\ns=call\r\nc=IN IP4 {address}\r\nt=0 0\r\n"
    "m=audio {port} RTP/AVP 8 0 18 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:18 G729/8000\r\n"
    "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\n"
)
_HEADS = (
    "Via: SIP/2.0/UDP {near}:5060;branch=z9hG4bK{call}{cseq};rport\r\nMax-Forwards: 70\r\n"
    'From: "{caller}" <sip:{caller}@{near}>;tag=f{call}\r\nTo: <sip:{called}@{far}>{tag}\r\n'
    "Call-ID: {call}@{near}\r\nCSeq: {cseq} {method}\r\nContact: <sip:{party}@{source}:5060>\r\n"
    "User-Agent: bench 1.0\r\nAllow: INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE\r\nSupported: timer, replaces\r\n"
    "{asserted}{kind}Content-Length: {size}\r\n\r\n"
)
_STEPS = (  # ms, from the caller, start line, number and method of CSeq, has an SDP, has a To tag
    (0, True, "INVITE sip:{called}@{far} SIP/2.0", 1, "INVITE", True, False),
    (5, False, "SIP/2.0 100 Trying", 1, "INVITE", False, False),
    (40, False, "SIP/2.0 180 Ringing", 1, "INVITE", False, True),
    (3000, False, "SIP/2.0 200 OK", 1, "INVITE", True, True),
    (3010, True, "ACK sip:{called}@{far} SIP/2.0", 1, "ACK", False, True),
    (90000, True, "BYE sip:{called}@{far} SIP/2.0", 2, "BYE", False, True),
    (90010, False, "SIP/2.0 200 OK", 2, "BYE", False, True),
)


def _hop(
    call: str, at_ns: int, near: str, far: str, caller: str, called: str, port: int
) -> Iterator[Message]:
    for ms, forth, start, cseq, method, described, tagged in _STEPS:
        source, target = (near, far) if forth else (far, near)
        party = caller if forth else called
        body = _SDP.format(number=port, address=source, port=port + 2 * forth) if described else ""
        said = {"near": near, "far": far, "caller": caller, "called": called, "call": call, "cseq": cseq,
                "method": method, "source": source, "party": party, "size": len(body),
                "tag": f";tag=t{call}" if tagged else "",
                "asserted": f"P-Asserted-Identity: <sip:{caller}@{near}>\r\n" if described and forth else "",
                "kind": "Content-Type: application/sdp\r\n" if body else ""}  # fmt: skip
        text = f"{start}\r\n{_HEADS}".format(**said) + body
        yield Message("sip", at_ns + ms * 1_000_000, Flow(source, 5060, target, 5060), "udp", text.encode())


def messages(calls: int = CALLS) -> list[Message]:
    """The load in order of time: calls begin a tenth of a second apart."""
    found: list[Message] = []
    for number in range(calls):
        caller, called = f"07{number:08}", f"02{number:08}"
        phone, other = f"10.1.{number >> 8}.{number & 255}", f"10.2.{number >> 8}.{number & 255}"
        at = _START_NS + number * 100_000_000
        found += _hop(f"a{number:06}", at, phone, "10.0.0.1", caller, called, 20000 + 8 * number % 40000)
        found += _hop(
            f"b{number:06}", at + 2_000_000, "10.0.0.1", other, caller, called, 20004 + 8 * number % 40000
        )
    return sorted(found, key=lambda message: message.arrival_ns)


class _Nowhere:
    """Takes ways as a spooler does, and puts them nowhere."""

    def spool_for(self, group: object) -> int:
        return 0

    def put(self, way: int, group: object) -> None:
        pass


def _best(count: int, once: Callable[[], None]) -> float:
    best = float("inf")
    for _ in range(TURNS):
        began = time.process_time()
        once()
        best = min(best, time.process_time() - began)
    return best / count * 1e6


def run() -> list[dict[str, Any]]:
    """The rows of the table."""
    from callreplay.signalling import sdp, sip
    from callreplay.signalling.dialogs import Dialogs
    from callreplay.splitting.groups import Board
    from callreplay.splitting.hearing import Hearing

    load = messages()
    bodies = [sip.parse(message.payload).sdp for message in load]  # type: ignore[union-attr]
    bodies = [body for body in bodies if body]

    def read() -> None:
        for message in load:
            sip.parse(message.payload)

    def described() -> None:
        for body in bodies:
            sdp.parse(body)

    def dialogs() -> None:
        table = Dialogs(Counter())
        for message in load:
            table.take(message)
        assert sum(dialog.ended for dialog in table.every) == 2 * CALLS

    def heard() -> None:
        board = Board(_Nowhere())
        hearing = Hearing(board)
        for message in load:
            hearing.take(message, message.arrival_ns)
        assert len(board.groups) == CALLS

    rows: list[dict[str, Any]] = [
        {"name": "SIP: sip.parse, us a message", "ratio": _best(len(load), read)},
        {"name": "SIP: an SDP, us", "ratio": _best(len(bodies), described)},
    ]
    for name, once in (("into its dialog", dialogs), ("heard by the recorder", heard)):
        us = _best(len(load), once)
        rows.append({"name": f"SIP: a message {name}, over {PROMISED_US:.0f} us", "us": us, "ratio": us / PROMISED_US,
                     "bar": 1.0, "bar_kind": "at_most"})  # fmt: skip
    return rows
