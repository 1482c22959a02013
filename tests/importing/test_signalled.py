"""Signalled scenarios down to their rows: dialogs and RTP in a capture, the real importer, the embedded database."""

from __future__ import annotations

import random
import subprocess
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from tests.captures import Record, fragments, frame, ip, pcap, rtp, tcp_segment, udp_datagram
from tests.captures import sdp as session
from tests.scenario.ladder import MS, A, B, Ladder, P, sdp

import callreplay
from callreplay.importing import importer, workers
from callreplay.model import Message
from callreplay.store import volumes
from callreplay.store.database import Database

START_MS = 1_700_000_000_000
C = "10.0.0.3"
MACS = {A: "02:00:00:00:00:01", B: "02:00:00:00:00:02", C: "02:00:00:00:00:03", P: "02:00:00:00:00:09"}
ROUTER = "02:00:00:00:00:fe"


def framed(packet: bytes, source: str, destination: str) -> bytes:
    return frame(packet, source=MACS.get(source, ROUTER), destination=MACS.get(destination, ROUTER))


def ssrc_of(*ends: tuple[str, int]) -> int:
    return zlib.crc32(repr(ends).encode())


@dataclass
class Tap:
    """What a tap on the wire records of one scenario, and the clock that goes with it."""

    name: str
    records: list[Record] = field(default_factory=list)

    def datagram(
        self, at_ns: int, source: tuple[str, int], destination: tuple[str, int], data: bytes
    ) -> None:
        packet = ip(udp_datagram(source[1], destination[1], data), source[0], destination[0])
        self.records.append((at_ns, framed(packet, source[0], destination[0])))

    def signal(self, messages: list[Message]) -> None:
        for message in messages:
            flow = message.flow
            source, destination = (flow.source, flow.source_port), (flow.destination, flow.destination_port)
            self.datagram(message.arrival_ns, source, destination, message.payload)

    def speak(
        self,
        source: tuple[str, int],
        destination: tuple[str, int],
        at_ms: int,
        packets: int = 100,
        *,
        first: int = 0,
        ssrc: int = 0,
        payload_type: int = 8,
    ) -> None:
        """A packet every 20 ms; no two payloads of a scenario are alike. ``first`` goes on with a stream."""
        ssrc = ssrc or ssrc_of(source, destination)
        for number in range(first, first + packets):
            payload = bytes(0xD0 + octet % 16 for octet in random.Random(ssrc << 16 | number).randbytes(160))
            data = rtp(number, number * 160, ssrc, payload_type, payload, number == first)
            self.datagram((at_ms + (number - first) * 20) * MS, source, destination, data)

    def talk(self, caller: tuple[str, int], called: tuple[str, int], at_ms: int, packets: int = 100) -> None:
        self.speak(caller, called, at_ms, packets)
        self.speak(called, caller, at_ms + 3, packets)


def answered(ladder: Ladder, *, headers: str = "", answer_headers: str = "") -> int:
    """INVITE to ACK with audio on A:4000 and B:5000; returns when the ACK went."""
    ladder.invite(sdp(A, 4000, "8"), headers=headers)
    ladder.reply("180 Ringing", headers=answer_headers)
    ladder.reply("200 OK", sdp(B, 5000, "8"), headers=answer_headers)
    ladder.ack()
    return ladder.time_ms


def goodbye(ladder: Ladder, at_ms: int) -> None:
    ladder.time_ms = at_ms
    ladder.add("BYE", "9 BYE", gap_ms=0)
    ladder.reply("200 OK", cseq="9 BYE")


Scenario = Callable[[Tap, Ladder], None]
SCENARIOS: dict[str, Scenario] = {}


def scenario(function: Scenario) -> Scenario:
    SCENARIOS[function.__name__] = function
    return function


@scenario
def plain(tap: Tap, ladder: Ladder) -> None:
    now = answered(ladder)
    tap.talk((A, 4000), (B, 5000), now)
    goodbye(ladder, now + 2000)


@scenario
def hold(tap: Tap, ladder: Ladder) -> None:
    now = answered(ladder)
    tap.talk((A, 4000), (B, 5000), now, 50)
    ladder.time_ms = now + 1000
    ladder.add("INVITE", "2 INVITE", body=sdp(A, 4000, "8", "a=sendonly\r\n"))
    ladder.reply("200 OK", sdp(B, 5000, "8", "a=recvonly\r\n"), cseq="2 INVITE")
    ladder.time_ms = now + 5000
    ladder.add("INVITE", "3 INVITE", body=sdp(A, 4000, "8"))
    ladder.reply("200 OK", sdp(B, 5000, "8"), cseq="3 INVITE")
    # RTP time runs on while nobody sends, sequence numbers do not.
    for source, destination, late in (((A, 4000), (B, 5000), 0), ((B, 5000), (A, 4000), 3)):
        ssrc = ssrc_of(source, destination)
        for number in range(50, 100):
            data = rtp(number, (number + 202) * 160, ssrc, 8, bytes([0xD0 + number % 16]) * 160, number == 50)
            tap.datagram((now + late + (number + 202) * 20) * MS, source, destination, data)
    goodbye(ladder, now + 6100)


@scenario
def codec_change(tap: Tap, ladder: Ladder) -> None:
    now = answered(ladder)
    tap.talk((A, 4000), (B, 5000), now, 50)
    ladder.time_ms = now + 980
    ladder.add("INVITE", "2 INVITE", body=sdp(A, 4000, "9"))
    ladder.reply("200 OK", sdp(B, 5000, "9"), cseq="2 INVITE")
    tap.speak((A, 4000), (B, 5000), now + 1000, 100, first=50, payload_type=9)
    tap.speak((B, 5000), (A, 4000), now + 1003, 100, first=50, payload_type=9)
    goodbye(ladder, now + 3100)


def _moved(method: str, tap: Tap, ladder: Ladder) -> None:
    """The caller's media move to another address of its own, by re-INVITE or UPDATE; so does the SSRC."""
    now = answered(ladder)
    tap.talk((A, 4000), (B, 5000), now, 100)
    ladder.time_ms = now + 1980
    ladder.add(method, f"2 {method}", body=sdp("10.0.0.11", 4100, "8"))
    ladder.reply("200 OK", sdp(B, 5000, "8"), cseq=f"2 {method}")
    tap.speak(("10.0.0.11", 4100), (B, 5000), now + 2020, 60)
    tap.speak(
        (B, 5000),
        ("10.0.0.11", 4100),
        now + 2003,
        60,
        first=100,
        ssrc=hash(((B, 5000), (A, 4000))) & 0xFFFFFFF | 1,
    )
    goodbye(ladder, now + 3300)


SCENARIOS["address_change_reinvite"] = partial(_moved, "INVITE")
SCENARIOS["address_change_update"] = partial(_moved, "UPDATE")


@scenario
def refer(tap: Tap, ladder: Ladder) -> None:
    now = answered(ladder)
    tap.talk((A, 4000), (B, 5000), now)
    ladder.time_ms = now + 1900
    ladder.add("REFER", "2 REFER", headers="Refer-To: <sip:300@b.example?Replaces=x>\r\n")
    ladder.reply("202 Accepted", cseq="2 REFER")
    goodbye(ladder, now + 2000)


@scenario
def authentication(tap: Tap, ladder: Ladder) -> None:
    ladder.invite(sdp(A, 4000, "8"))
    ladder.reply("407 Proxy Authentication Required", headers='Proxy-Authenticate: Digest realm="x"\r\n')
    ladder.ack()
    ladder.invite(sdp(A, 4000, "8"), cseq=2, headers='Proxy-Authorization: Digest realm="x"\r\n')
    ladder.reply("200 OK", sdp(B, 5000, "8"), cseq="2 INVITE", tag="C")
    ladder.add("ACK", "2 ACK", tags=("A", "C"))
    now = ladder.time_ms
    tap.talk((A, 4000), (B, 5000), now)
    ladder.time_ms = now + 2000
    ladder.add("BYE", "3 BYE", tags=("A", "C"), gap_ms=0)


@scenario
def cancelled(_: Tap, ladder: Ladder) -> None:
    ladder.invite(sdp(A, 4000, "8"))
    ladder.reply("180 Ringing")
    ladder.add("CANCEL", "1 CANCEL", tags=("A", ""), gap_ms=3000)
    ladder.reply("200 OK", cseq="1 CANCEL")
    ladder.reply("487 Request Terminated")


@scenario
def busy(_: Tap, ladder: Ladder) -> None:
    ladder.invite(sdp(A, 4000, "8"))
    ladder.reply("486 Busy Here")
    ladder.ack()


@scenario
def forked(tap: Tap, ladder: Ladder) -> None:
    """Two phones ring with early media of their own; the second is answered."""
    ladder.invite(sdp(A, 4000, "8"))
    ladder.reply("183 Session Progress", sdp(B, 5000, "8"), tag="B1")
    tap.speak((B, 5000), (A, 4000), ladder.time_ms + 5, 10)
    ladder.reply("183 Session Progress", sdp(C, 6000, "8"), tag="B2")
    ladder.add(
        "SIP/2.0 200 OK", "1 INVITE", body=sdp(C, 6000, "8"), tags=("A", "B2"), route=(B, A), gap_ms=400
    )
    ladder.add("ACK", "1 ACK", tags=("A", "B2"))
    tap.talk((A, 4000), (C, 6000), ladder.time_ms)
    ladder.add("BYE", "2 BYE", tags=("A", "B2"), gap_ms=2000)


@scenario
def over_tcp(tap: Tap, ladder: Ladder) -> None:
    """Both directions in pieces of 200 octets: neighbours swapped, each third sent twice."""
    now = answered(ladder)
    tap.talk((A, 4000), (B, 5000), now)
    goodbye(ladder, now + 2000)
    position = {A: 1000, B: 2000}
    for message in ladder.messages:
        source, destination = message.flow.source, message.flow.destination
        data, pieces = message.payload.replace(b"/UDP", b"/TCP"), []
        for start in range(0, len(data), 200):
            segment = tcp_segment(
                message.flow.source_port + (source == A), message.flow.destination_port + (source == B),
                data[start : start + 200], position[source] + start,
            )  # fmt: skip
            pieces.append(framed(ip(segment, source, destination, 6), source, destination))
        position[source] += len(data)
        pieces[1:3] = pieces[1:3][::-1]
        pieces += pieces[::3]
        tap.records += [(message.arrival_ns + number, piece) for number, piece in enumerate(pieces)]
    ladder.messages.clear()


A6, B6 = "2001:db8::a", "2001:db8::b"


@scenario
def over_ipv6(tap: Tap, ladder: Ladder) -> None:
    formats = {8: "PCMA/8000"}
    ladder.add("INVITE", "1 INVITE", body=session(A6, 4000, formats), tags=("A", ""), route=(A6, B6))
    ladder.add("SIP/2.0 200 OK", "1 INVITE", body=session(B6, 5000, formats), route=(B6, A6))
    ladder.add("ACK", "1 ACK", route=(A6, B6))
    tap.talk((A6, 4000), (B6, 5000), ladder.time_ms)
    ladder.add("BYE", "2 BYE", route=(A6, B6), gap_ms=2000)


@scenario
def fragmented(tap: Tap, ladder: Ladder) -> None:
    now = answered(ladder, headers="".join(f"X-Filler-{n}: {'x' * 200}\r\n" for n in range(12)))
    tap.talk((A, 4000), (B, 5000), now)
    goodbye(ladder, now + 2000)
    invite = ladder.messages.pop(0)
    pieces = fragments(udp_datagram(5060, 5060, invite.payload), A, B, 1480)
    assert len(pieces) > 1
    for number, piece in enumerate(reversed(pieces)):
        tap.records.append((invite.arrival_ns + number, framed(piece, A, B)))


PRIVATE, PUBLIC = "192.168.1.10", "198.51.100.9"


@scenario
def nat(tap: Tap, ladder: Ladder) -> None:
    """The caller tells of a private socket; its packets come from the public one, and the answer goes there."""
    ladder.add("INVITE", "1 INVITE", body=sdp(PRIVATE, 4000, "8"), tags=("A", ""), route=(PUBLIC, B))
    ladder.add("SIP/2.0 200 OK", "1 INVITE", body=sdp(B, 5000, "8"), route=(B, PUBLIC))
    ladder.add("ACK", "1 ACK", route=(PUBLIC, B))
    tap.talk((PUBLIC, 40000), (B, 5000), ladder.time_ms)
    ladder.add("BYE", "2 BYE", route=(PUBLIC, B), gap_ms=2000)


@scenario
def video_beside_audio(tap: Tap, ladder: Ladder) -> None:
    video = "m=video {} RTP/AVP 99\r\na=rtpmap:99 H264/90000\r\n"
    ladder.invite(sdp(A, 4000, "8", video.format(4002)))
    ladder.reply("200 OK", sdp(B, 5000, "8", video.format(5002)))
    ladder.ack()
    now = ladder.time_ms
    tap.talk((A, 4000), (B, 5000), now)
    tap.speak((A, 4002), (B, 5002), now, payload_type=99)
    tap.speak((B, 5002), (A, 4002), now, payload_type=99)
    goodbye(ladder, now + 2000)


def _b2bua(rewritten: bool, tap: Tap, near: Ladder) -> None:
    """Both hops on one tap: each packet passes twice, with the SSRC of the hop if ``rewritten``."""
    far = Ladder(f"far-{near.call_id}", near.time_ms)
    near.invite(sdp(A, 4000, "8"))
    far.time_ms = near.time_ms
    far.caller = '"P" <sip:100@p.example>'
    far.add(
        "INVITE", "1 INVITE", body=sdp(P, 7000, "8"), tags=("F", ""), route=(P, B),
        headers=f"X-Original-Call-ID: {near.call_id}\r\n",
    )  # fmt: skip
    far.add("SIP/2.0 200 OK", "1 INVITE", body=sdp(B, 5000, "8"), tags=("F", "G"), route=(B, P), gap_ms=500)
    near.time_ms = far.time_ms
    near.reply("200 OK", sdp(P, 7002, "8"))
    near.ack()
    now = near.time_ms
    for first, second, ssrc in (
        (((A, 4000), (P, 7002)), ((P, 7000), (B, 5000)), 0x1111),
        (((B, 5000), (P, 7000)), ((P, 7002), (A, 4000)), 0x2222),
    ):
        heard = Tap("")
        heard.speak(*first, now, ssrc=ssrc)
        tap.records += heard.records
        for time_ns, packet in heard.records:
            octets = packet[42:]
            if rewritten:
                octets = octets[:8] + (ssrc ^ 0xF0F0).to_bytes(4, "big") + octets[12:]
            tap.datagram(time_ns + MS, *second, octets)
    goodbye(near, now + 2000)
    far.add("BYE", "2 BYE", tags=("F", "G"), route=(P, B), gap_ms=now + 2005 - far.time_ms)
    near.messages += far.messages


SCENARIOS["b2bua"] = partial(_b2bua, False)
SCENARIOS["b2bua_rewriting"] = partial(_b2bua, True)


def _named(caller: str, headers: str, answer_headers: str, tap: Tap, ladder: Ladder) -> None:
    ladder.caller = caller
    now = answered(ladder, headers=headers, answer_headers=answer_headers)
    tap.talk((A, 4000), (B, 5000), now, 20)
    goodbye(ladder, now + 500)


# caller's From, headers of the INVITE, headers of the answers; caller number and name, called number and name
NAMES: dict[str, tuple[tuple[str, str, str], tuple[str, str, str, str]]] = {
    "quoted": (
        (r'"Anna \"Bee\", Ltd" <sip:100@a.example;user=phone>', "", ""),
        ("100", 'Anna "Bee", Ltd', "200", ""),
    ),
    "token": (
        ("Anna Bee <sip:+37120000000;phone-context=x@a.example>", "", ""),
        ("+37120000000", "Anna Bee", "200", ""),
    ),
    "utf8": (('"J\u00fcrgen" <sip:100@a.example>', "", ""), ("100", "J\u00fcrgen", "200", "")),
    "rfc2047": (('"=?UTF-8?Q?J=C3=BCrgen_M?=" <sip:100@a.example>', "", ""), ("100", "J\u00fcrgen M", "200", "")),
    "tel": (("<tel:+371-2000-0001;ext=5>", "", ""), ("+37120000001", "", "200", "")),
    "asserted": (
        ('"Anonymous" <sip:anonymous@anonymous.invalid>',
         'P-Asserted-Identity: "Anna" <sip:anna@a.example>\r\nP-Asserted-Identity: <tel:+37120000002>\r\n',
         'P-Asserted-Identity: "Bob Desk" <sip:299@b.example>\r\n'),
        ("+37120000002", "Anna", "200", "Bob Desk"),
    ),
    "remote_party": (
        ("<sip:trunk@a.example>", 'Remote-Party-ID: "Rita" <sip:555@a.example>;party=calling;screen=yes\r\n',
         'Remote-Party-ID: "Sam" <sip:299@b.example>;party=called\r\n'),
        ("555", "Rita", "200", "Sam"),
    ),
}  # fmt: skip
SCENARIOS |= {f"named_{name}": partial(_named, *told) for name, (told, _) in NAMES.items()}


@dataclass
class Filed:
    """Every row of the one import, by scenario."""

    folder: Path
    shelf: Path
    calls: dict[str, list[dict[str, Any]]]

    def one(self, name: str) -> dict[str, Any]:
        (row,) = self.calls[name]
        return row


@pytest.fixture(scope="module")
def filed(emptied: Callable[[], str], tmp_path_factory: pytest.TempPathFactory) -> Filed:
    """All scenarios, each a capture of its own, imported once; the rows as they stood then."""
    folder = tmp_path_factory.mktemp("signalled")
    url = emptied()
    paths = []
    for number, (title, write) in enumerate(SCENARIOS.items()):
        tap, ladder = Tap(title), Ladder(f"{title}@wire.example", START_MS + number * 3_600_000)
        write(tap, ladder)
        tap.signal(ladder.messages)
        paths.append(folder / f"{title}.pcap")
        paths[-1].write_bytes(pcap(sorted(tap.records, key=lambda record: record[0]), nano=True))
    shelf = folder / "shelf"
    with Database(url, size=2) as database:
        with database.connection() as connection:
            volumes.add(connection, shelf)
        outcomes = list(workers.import_captures(importer.Job(url, 1), paths))
        assert [(outcome.error, outcome.warnings) for outcome in outcomes] == [("", [])] * len(paths)
    calls: dict[str, list[dict[str, Any]]] = {title: [] for title in SCENARIOS}
    with psycopg.connect(url, row_factory=dict_row) as reading:
        for row in reading.execute("SELECT * FROM calls ORDER BY started_at").fetchall():
            row["files"] = reading.execute(
                "SELECT * FROM call_files WHERE call_uuid = %s ORDER BY position", (row["uuid"],)
            ).fetchall()
            calls[Path(row["source"]).stem].append(row)
    return Filed(folder, shelf, calls)


def moment(name: str, offset_ms: int) -> datetime:
    """The time that is ``offset_ms`` after the scenario's ladder begins."""
    start = START_MS + list(SCENARIOS).index(name) * 3_600_000
    return datetime.fromtimestamp((start + offset_ms) / 1000, UTC)


End = tuple[str, int, str]


def end(row: dict[str, Any], side: str) -> End:
    return str(row[f"{side}_ip"]), row[f"{side}_port"], row[f"{side}_mac"]


def legs(row: dict[str, Any]) -> dict[str, tuple[int, str]]:
    return {file["leg"]: (file["packets"], file["codec"]) for file in row["files"]}


PCMA = {"caller": (100, "PCMA/8000"), "called": (100, "PCMA/8000")}
AT_A, AT_B = (A, 4000, MACS[A]), (B, 5000, MACS[B])

# begin, answer and end in ms of the ladder; what each leg holds; both ends
EXPECTED: dict[str, tuple[tuple[int, int, int], dict[str, tuple[int, str]], End, End]] = {
    "plain": ((10, 30, 2040), PCMA, AT_A, AT_B),
    "hold": ((10, 30, 6140), PCMA, AT_A, AT_B),
    "codec_change": (
        (10, 30, 3140), {"caller": (150, "G722/8000"), "called": (150, "G722/8000")}, AT_A, AT_B
    ),
    "address_change_reinvite": (
        (10, 30, 3340), {"caller": (160, "PCMA/8000"), "called": (160, "PCMA/8000")}, AT_A, AT_B
    ),
    "address_change_update": (
        (10, 30, 3340), {"caller": (160, "PCMA/8000"), "called": (160, "PCMA/8000")}, AT_A, AT_B
    ),
    "refer": ((10, 30, 2040), PCMA, AT_A, AT_B),
    "authentication": ((10, 50, 2060), PCMA, AT_A, AT_B),
    "forked": (
        (10, 430, 2440), {"caller": (100, "PCMA/8000"), "called": (110, "PCMA/8000")}, AT_A, (C, 6000, MACS[C])
    ),
    "over_tcp": ((10, 30, 2040), PCMA, AT_A, AT_B),
    "over_ipv6": ((10, 20, 2030), PCMA, (A6, 4000, ROUTER), (B6, 5000, ROUTER)),
    "fragmented": ((10, 30, 2040), PCMA, AT_A, AT_B),
    "nat": ((10, 20, 2030), PCMA, (PUBLIC, 40000, ROUTER), AT_B),
    "video_beside_audio": ((10, 20, 2030), PCMA, AT_A, AT_B),
}  # fmt: skip


@pytest.mark.parametrize("name", EXPECTED)
def test_an_answered_call_is_this_row(name: str, filed: Filed) -> None:
    row = filed.one(name)
    times, media, caller, called = EXPECTED[name]
    assert (row["wire_call_id"], row["protocol"], row["status"], row["inferred"]) == (
        f"{name}@wire.example", "sip", "answered", False,
    )  # fmt: skip
    assert (row["caller_number"], row["called_number"]) == ("100", "200")
    found = tuple(row[column] for column in ("started_at", "answered_at", "ended_at"))
    assert found == tuple(moment(name, offset) for offset in times)
    assert legs(row) == media
    assert (end(row, "caller"), end(row, "called")) == (caller, called)
    assert row["quality"]["media"]
    assert not row["quality"]["one_way"]
    for file in row["files"]:
        stored = filed.shelf / file["path"]
        assert stored.name == f"{row['started_at']:%Y-%m-%d_%H-%M-%S}_100_200-{file['position']}.rtp"
        assert stored.is_file()
        assert stored.with_name(stored.name + ".idx").is_file()
        assert (file["lost"], file["duplicates"], file["reordered"]) == (0, 0, 0)


@pytest.mark.parametrize("name", EXPECTED)
def test_its_files_are_the_call_of_the_capture(name: str, filed: Filed) -> None:
    row = filed.one(name)
    paths = [filed.shelf / file["path"] for file in row["files"]]
    with callreplay.open(filed.folder / f"{name}.pcap") as capture, callreplay.open(*paths) as stored:
        before = next(call for call in capture.calls if call.description.call_id == row["wire_call_id"])
        (after,) = stored.calls
        assert after.description == before.description
        assert (after.mix() == before.mix()).all()
        assert before.mix().any()


@pytest.mark.parametrize(
    ("name", "status", "times"),
    [("cancelled", "cancelled", (10, 3040)), ("busy", "failed 486 Busy Here", (10, 20))],
)
def test_a_call_without_media_is_kept_and_marked(
    name: str, status: str, times: tuple[int, int], filed: Filed
) -> None:
    row = filed.one(name)
    assert (row["status"], row["answered_at"], row["quality"]) == (status, None, {"media": False})
    assert (row["started_at"], row["ended_at"]) == tuple(moment(name, offset) for offset in times)
    assert (row["caller_number"], row["called_number"], row["files"]) == ("100", "200", [])
    assert (str(row["caller_ip"]), row["caller_port"], str(row["called_ip"])) == (A, 4000, B)


def test_a_hold_is_a_gap_of_both_legs(filed: Filed) -> None:
    for file in filed.one("hold")["files"]:
        holds = [gap for gap in file["gaps"] if gap[2] == "hold"]
        assert holds == [[1010 if file["leg"] == "caller" else 1013, 4040, "hold"]]


def test_a_transfer_names_its_target(filed: Filed) -> None:
    assert filed.one("refer")["quality"]["transferred_to"] == "300"
    assert "transferred_to" not in filed.one("plain")["quality"]


@pytest.mark.parametrize("name", ["b2bua", "b2bua_rewriting"])
def test_a_b2bua_is_one_call_with_two_signalling_legs(name: str, filed: Filed) -> None:
    row = filed.one(name)
    assert (row["wire_call_id"], row["related"]) == (f"{name}@wire.example", [f"far-{name}@wire.example"])
    assert (row["caller_number"], row["called_number"], row["status"]) == ("100", "200", "answered")
    assert legs(row) == PCMA
    assert row["quality"]["copies"] == 2
    found = tuple(row[column] for column in ("started_at", "answered_at", "ended_at"))
    assert found == tuple(moment(name, offset) for offset in (10, 530, 2540))
    ends = end(row, "caller"), end(row, "called")
    assert ends == (AT_A, AT_B)


@pytest.mark.parametrize("name", NAMES)
def test_parties_are_named(name: str, filed: Filed) -> None:
    row = filed.one(f"named_{name}")
    columns = ("caller_number", "caller_name", "called_number", "called_name")
    assert tuple(row[column] for column in columns) == NAMES[name][1]
    assert legs(row) == {"caller": (20, "PCMA/8000"), "called": (20, "PCMA/8000")}


def test_captures_that_overlap_are_merged_first(database: Database, tmp_path: Path) -> None:
    """What docs/import.md says of them."""
    tap, ladder = Tap("plain"), Ladder("plain@wire.example", START_MS)
    plain(tap, ladder)
    tap.signal(ladder.messages)
    records = sorted(tap.records, key=lambda record: record[0])
    half = len(records) // 2
    parts = {"whole": records, "one": records[:half], "two": records[half:], "other": records[half - 20 :]}
    for name, chosen in parts.items():
        (tmp_path / f"{name}.pcap").write_bytes(pcap(chosen, nano=True))
    commands = [
        "mergecap -F nsecpcap -w rotated.pcap one.pcap two.pcap",
        "mergecap -F nsecpcap -w - one.pcap other.pcap | editcap -F nsecpcap -d - overlapping.pcap",
    ]
    for command in commands:
        subprocess.run(command, shell=True, cwd=tmp_path, check=True, capture_output=True)
    with database.connection() as connection:
        volumes.add(connection, tmp_path / "shelf")

    def lines(name: str) -> list[dict[str, Any]]:
        outcome = importer.import_one(database, importer.Job(database.url, 1), tmp_path / f"{name}.pcap")
        assert outcome.error == ""
        return outcome.calls

    (whole,) = lines("whole")
    assert whole["added"]
    for name in ("rotated", "overlapping"):
        (merged,) = lines(name)
        assert (merged["added"], merged["callId"]) == (False, whole["callId"])
    (first,), (second,) = lines("one"), lines("two")
    assert (first["added"], first["inferred"], first["wireCallId"]) == (True, False, "plain@wire.example")
    assert (second["added"], second["inferred"], second["wireCallId"]) == (True, True, "")
