"""No terminal obeys what a capture holds, whichever command prints it and in whichever form."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path

import pytest
from tests.captures import pcap, rtp, udp

from callreplay import cli
from callreplay.cli.app import COMMANDS
from callreplay.cli.printable import careful_streams

OBEYED = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]|\r(?!\n)")
EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e[red]"
START = 1_700_000_000_000_000_000


def hostile(codec: str = "PCMU/8000") -> bytes:
    """A call with such characters in every text that signalling has."""
    evil = EVIL.encode()
    body = (
        b"v=0\r\no="
        + evil
        + b" 1 1 IN IP4 %s\r\ns="
        + evil
        + b"\r\nc=IN IP4 %s\r\nt=0 0\r\nm=audio %d RTP/AVP 0 101\r\n"
        b"a=rtpmap:0 " + codec.encode() + b"\r\na=rtpmap:101 " + evil + b"/8000\r\na=label:" + evil + b"\r\n"
    )

    def message(first: bytes, address: bytes, port: int, tag: bytes = b"") -> bytes:
        text = body % (address, address, port)
        return (
            first + b"\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK" + evil + b'\r\nFrom: "' + evil + b'" <sip:'
            + evil + b"100@pbx>;tag=a" + evil + b'\r\nTo: "' + evil + b'" <sip:200' + evil + b"@pbx>" + tag
            + b"\r\nCall-ID: one" + evil + b"@pbx\r\nCSeq: 1 INVITE\r\nUser-Agent: " + evil
            + b"\r\nContact: <sip:" + evil + b"@10.0.0.1>\r\nContent-Type: application/sdp\r\nContent-Length: "
            + str(len(text)).encode() + b"\r\n\r\n" + text
        )  # fmt: skip

    records = [
        (START - 2 * 10**9, udp("10.0.0.1", 5060, "10.0.0.2", 5060,
                                message(b"INVITE sip:200" + evil + b"@pbx SIP/2.0", b"10.0.0.1", 4000))),
        (START - 10**9, udp("10.0.0.2", 5060, "10.0.0.1", 5060,
                            message(b"SIP/2.0 200 OK" + evil, b"10.0.0.2", 5000, b";tag=b"))),
    ]  # fmt: skip
    for n in range(100):
        records.append(
            (
                START + n * 20_000_000,
                udp("10.0.0.1", 4000, "10.0.0.2", 5000, rtp(n, n * 160, 7, 0, bytes([n]) * 160)),
            )
        )
        records.append(
            (
                START + n * 20_000_000,
                udp("10.0.0.2", 5000, "10.0.0.1", 4000, rtp(n, n * 160, 8, 0, bytes([n]) * 160)),
            )
        )
    return pcap(sorted(records))


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    name = EVIL.replace("/", "")
    made = {
        "good": hostile(), "unknown": hostile(EVIL + "/8000"),
        "empty": pcap([(START, udp("10.0.0.1", 5060, "10.0.0.2", 5060, b"INVITE %b SIP/2.0\r\n\r\n" % EVIL.encode()))]),
        "broken": b"\x1b[2J no capture",
    }  # fmt: skip
    for kind, octets in made.items():
        (tmp_path / f"{kind}{name}.pcap").write_bytes(octets)
    return {kind: str(tmp_path / f"{kind}{name}.pcap") for kind in made} | {
        "folder": str(tmp_path),
        "evil": EVIL,
    }


OFFLINE = [
    ["info", "{good}"], ["info", "--why", "{good}"], ["info", "--json", "{good}"], ["info", "--why", "{unknown}"],
    ["info", "--why", "{empty}"], ["info", "{broken}"], ["info", "{good}", "--codec", "0={evil}"],
    ["info", "{folder}/nothing{evil}"],
    ["transcode", "{good}", "-o", "{folder}/out.wav"], ["transcode", "{unknown}", "-o", "{folder}/out2.wav"],
    ["transcode", "{empty}", "-o", "{folder}/out3.wav"], ["transcode", "{good}", "-o", "{folder}/o.{evil}"],
    ["info", "{folder}/out.wav"], ["info", "--json", "{folder}/out.wav"],
    ["peaks", "{good}", "-o", "{folder}/out.json"], ["peaks", "{broken}", "-o", "{folder}/out.json"],
    ["speech", "{good}"], ["speech", "{empty}"], ["speech", "{broken}"],
    ["batch", "{folder}", "-o", "{folder}/batch", "--workers", "1"],
    ["batch", "{folder}", "-o", "{folder}/other", "--workers", "1", "--json"],
    ["batch", "{folder}/none{evil}", "-o", "{folder}/batch"],
    ["{evil}"], ["info", "--{evil}"],
]  # fmt: skip


def run(words: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["callreplay", *words])
    with pytest.raises(SystemExit) as left:
        cli.main()
    return int(left.value.code or 0)


def test_no_command_prints_what_a_terminal_obeys(
    files: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = 0
    for words in OFFLINE:
        given = [re.sub(r"\{(\w+)\}", lambda found: files[found[1]], word) for word in words]
        run(given, monkeypatch)
        shown = capsys.readouterr()
        for text in (shown.out, shown.err):
            assert not (found := OBEYED.search(text)), (
                words,
                found,
                text[max(0, found.start() - 80) :][:160],
            )
            said += "owned" in text
        if "--json" in words and shown.out:
            lines = shown.out.splitlines() if words[0] == "batch" else [shown.out]
            for line in lines:
                json.loads(line)
    assert said >= len(OFFLINE) // 2, "such texts were there to be printed"
    assert {words[0] for words in OFFLINE} <= {*COMMANDS, "{evil}"}


def test_every_word_that_is_printed_goes_through_the_careful_stream() -> None:
    out = io.TextIOWrapper(io.BytesIO(), "utf-8")
    kept, sys.stdout = sys.stdout, out
    try:
        with careful_streams():
            print(EVIL, "ștefan\tline\r\nnext", end="\r")
            sys.stdout.write("half \ud83d\n")
    finally:
        sys.stdout = kept
    out.flush()
    buffer = out.buffer
    assert isinstance(buffer, io.BytesIO)
    text = buffer.getvalue().decode()
    assert text == "\\x1b]0;owned\\x07\\x1b[2J\\u009b31m\\u202e[red] ștefan\tline\r\nnext\\x0dhalf \\ud83d\n"
