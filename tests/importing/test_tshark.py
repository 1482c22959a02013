"""Imported calls of the real captures against what tshark reads of them: parties, times, durations, packets."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from callreplay.importing import importer
from callreplay.importing.importer import Job
from callreplay.store import volumes
from callreplay.store.database import Database

VECTORS = Path(
    os.environ.get("CALLREPLAY_VECTORS", Path(__file__).resolve().parents[3] / "shared" / "vectors")
)
SIP = ("SIP_DTMF2.cap", "codec-negotiation.pcap", "register-invite-reinvite-bye.pcap", "rtp-protocol.pcap",
       "sip-rtp-g711.pcap", "sip-rtp-g729a.pcap")  # fmt: skip
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def fields(path: Path, chosen: str, *names: str) -> list[list[str]]:
    """Fields of the frames that ``chosen`` lets through, first occurrences."""
    if not path.is_file() or shutil.which("tshark") is None:
        missing = path if not path.is_file() else "tshark"
        if os.environ.get("CI") == "true":
            pytest.fail(f"{missing} is missing")
        pytest.skip(f"{missing} is not here")
    command = ["tshark", "-n", "-r", str(path), "-Y", chosen, "-T", "fields", "-E", "occurrence=f"]
    for name in names:
        command += ["-e", name]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [line.split("\t") for line in done.stdout.splitlines()]


def moment(text: str) -> datetime:
    return EPOCH + timedelta(microseconds=int(Decimal(text) * 10**6))


@dataclass
class Call:
    """What tshark says of one call."""

    caller: str = ""
    called: str = ""
    name: str = ""
    status: str = ""
    start: datetime | None = None
    answer: datetime | None = None
    end: datetime | None = None
    media: set[tuple[str, str]] = field(default_factory=set)
    packets: dict[tuple[str, str], set[tuple[str, str]]] = field(default_factory=lambda: defaultdict(set))
    times: list[datetime] = field(default_factory=list)


def dialogs(path: Path) -> dict[str, Call]:
    """The INVITE dialogs of a capture, by Call-ID, with the RTP that comes from their media ends."""
    calls: dict[str, Call] = {}
    frames = fields(
        path, "sip", "frame.time_epoch", "sip.Call-ID", "sip.Method", "sip.Status-Code", "sip.CSeq.method",
        "sip.from.user", "sip.to.user", "sip.From", "sdp.connection_info.address", "sdp.media.port",
    )  # fmt: skip
    for text, name, method, status, about, caller, called, origin, address, port in frames:
        time = moment(text)
        if method == "INVITE":
            call = calls.setdefault(name, Call(caller, called, start=time))
            said = re.match(r'\s*"?([^"<]*?)"?\s*<', origin)
            call.name = call.name or (said[1] if said else "")
        elif name not in calls:
            continue
        call = calls[name]
        if port:
            call.media.add((address, port))
        if about == "INVITE" and status == "200":
            call.answer, call.status = call.answer or time, "answered"
        elif about == "INVITE" and status >= "300" and status != "401" and not call.answer and not call.end:
            call.end, call.status = time, f"failed {status}"
        elif method == "BYE":
            call.end = call.end or time
    names = ("frame.time_epoch", "ip.src", "udp.srcport", "ip.dst", "udp.dstport", "rtp.ssrc", "rtp.seq")
    for text, source, sport, target, dport, ssrc, sequence in fields(path, "rtp.ssrc", *names):
        time = moment(text)
        for call in calls.values():
            # One of the ends: a phone behind NAT names another address than the one it sends from. The next call may
            # use the same ports.
            during = call.start is not None and call.start <= time and (not call.end or time <= call.end)
            if during and {(source, sport), (target, dport)} & call.media:
                call.packets[source, sport].add((ssrc, sequence))
                call.times.append(time)
    return calls


def imported(database: Database, path: Path, shelf: Path) -> dict[str, dict[str, Any]]:
    with database.connection() as connection:
        volumes.add(connection, shelf)
    assert importer.import_one(database, Job(database.url, 1), path).error == ""
    with database.connection() as connection:
        rows = connection.execute(
            "SELECT *, (SELECT coalesce(jsonb_object_agg(leg, packets), '{}') FROM call_files "
            "WHERE call_uuid = uuid) AS legs FROM calls"
        ).fetchall()
    return {str(row["wire_call_id"]): row for row in rows}


@pytest.mark.parametrize("name", SIP)
def test_sip_calls_are_what_tshark_says(name: str, database: Database, tmp_path: Path) -> None:
    path = VECTORS / "sip" / name
    wanted = dialogs(path)
    rows = imported(database, path, tmp_path / "shelf")
    assert set(rows) == set(wanted)
    assert wanted
    for call_id, call in wanted.items():
        row = rows[call_id]
        assert (row["caller_number"], row["called_number"]) == (call.caller, call.called)
        assert row["caller_name"] == call.name
        assert str(row["status"]).startswith(call.status)
        assert call.status
        assert call.start is not None
        assert (row["started_at"], row["answered_at"]) == (call.start, call.answer)
        if call.end:
            assert row["ended_at"] == call.end
        else:  # no BYE: where the media ends, which is after its last packet has come
            # A packet leaves when its last sample was spoken: the sound ends with its arrival, but for jitter.
            assert (
                timedelta(milliseconds=-20) < row["ended_at"] - max(call.times) < timedelta(milliseconds=100)
            )
        length = row["ended_at"] - call.start
        assert row["duration_ms"] == pytest.approx(length / timedelta(milliseconds=1), abs=1)
        counted = sorted(len(packets) for packets in call.packets.values())
        assert sorted(row["legs"].values()) == counted


def test_the_skinny_call_is_what_tshark_says(database: Database, tmp_path: Path) -> None:
    path = VECTORS / "sip" / "skinny.pcap"
    states = fields(path, "skinny.callState", "frame.time_epoch")
    ((caller, called, caller_name, called_name),) = {
        tuple(line)
        for line in fields(
            path, "skinny.callingParty", "skinny.callingParty", "skinny.calledParty",
            "skinny.callingPartyName", "skinny.calledPartyName",
        )
    }  # fmt: skip
    ((call_id, row),) = imported(database, path, tmp_path / "shelf").items()
    assert (row["caller_number"], row["called_number"]) == (caller, called)
    assert (row["caller_name"], row["called_name"]) == (caller_name, called_name)
    assert [call_id] == sorted(
        {line[0] for line in fields(path, "skinny.callState", "skinny.callReference")}
    )[:1]
    assert row["started_at"] == moment(states[0][0])
    # The phones' own streams, each captured twice; the others go to the recorder.
    phones = "rtp && ip.addr == 192.168.195.58 && ip.addr == 192.168.195.50"
    frames = [(source, sequence) for source, sequence in fields(path, phones, "ip.src", "rtp.seq")]
    counted = Counter(source for source, _ in frames)
    different = Counter(source for source, _ in set(frames))
    with database.connection() as connection:
        files = connection.execute("SELECT leg, packets, duplicates FROM call_files").fetchall()
    assert {(file["packets"], file["duplicates"]) for file in files} == {
        (counted[source], counted[source] - different[source]) for source in counted
    }
