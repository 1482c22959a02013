"""SIP dialogs message by message, as a ladder diagram would show them."""

from __future__ import annotations

from callreplay import signalling
from callreplay.model import CallDescription, Flow, Message

__all__ = ["MS", "A", "B", "Ladder", "P", "sdp"]

A, B, P = "10.0.0.1", "10.0.0.2", "10.0.0.9"
MS = 1_000_000


def sdp(address: str, port: int, formats: str = "0", extra: str = "", profile: str = "RTP/AVP") -> str:
    head = f"v=0\r\no=- 1 1 IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\n"
    return f"{head}m=audio {port} {profile} {formats}\r\n{extra}"


class Ladder:
    """Writes the messages of one Call-ID as a ladder diagram would show them."""

    def __init__(self, call_id: str = "abcdef@a", start_ms: int = 1000) -> None:
        self.call_id = call_id
        self.time_ms = start_ms
        self.messages: list[Message] = []
        self.caller = "<sip:100@a.example>"
        self.called = "<sip:200@b.example>"

    def add(
        self,
        start: str,
        cseq: str,
        *,
        body: str = "",
        tags: tuple[str, str] = ("A", "B"),
        route: tuple[str, str] = (A, B),
        swap: bool = False,
        headers: str = "",
        gap_ms: int = 10,
    ) -> Message:
        """``tags`` are those of caller and called; ``swap`` when the called party sends the request."""
        ends = [
            text + (f";tag={tag}" if tag else "")
            for text, tag in zip((self.caller, self.called), tags, strict=True)
        ]
        if swap:
            ends.reverse()
        self.time_ms += gap_ms
        if not start.startswith("SIP/"):
            start += " sip:200@b.example SIP/2.0"
        kind = "Content-Type: application/sdp\r\n" if body else ""
        text = (
            f"{start}\r\nVia: SIP/2.0/UDP {route[0]};branch=z9hG4bK{self.time_ms}\r\n"
            f"From: {ends[0]}\r\nTo: {ends[1]}\r\nCall-ID: {self.call_id}\r\nCSeq: {cseq}\r\n"
            f"{headers}{kind}Content-Length: {len(body)}\r\n\r\n{body}"
        )
        message = Message(
            "sip", self.time_ms * MS, Flow(route[0], 5060, route[1], 5060), "udp", text.encode()
        )
        self.messages.append(message)
        return message

    def invite(self, body: str, cseq: int = 1, headers: str = "") -> None:
        self.add("INVITE", f"{cseq} INVITE", body=body, tags=("A", ""), headers=headers)

    def reply(
        self, status: str, body: str = "", cseq: str = "1 INVITE", tag: str = "B", headers: str = ""
    ) -> None:
        self.add(f"SIP/2.0 {status}", cseq, body=body, tags=("A", tag), route=(B, A), headers=headers)

    def ack(self, body: str = "") -> None:
        self.add("ACK", "1 ACK", body=body)

    def call(self) -> CallDescription:
        calls = signalling.describe(self.messages)
        assert len(calls) == 1
        return calls[0]
