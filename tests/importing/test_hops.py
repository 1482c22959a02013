"""A call of several hops in the database: every number that was called finds it, and who answered is shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.captures import pcap, rtp, udp
from tests.scenario.call import EPOCH_NS
from tests.scenario.office import sdp, sip

from callreplay.importing import importer
from callreplay.importing.importer import Job
from callreplay.model import Flow
from callreplay.store import volumes
from callreplay.store.database import Database
from callreplay.store.search import CallQuery, find

S = 1_000_000_000


def queue() -> bytes:
    """100 calls QUEUE; a B2BUA rings agent0 in vain, then agent1, who answers."""
    near = "<sip:100@10.1.0.1>;tag=a", "<sip:QUEUE@10.5.0.1>"
    tagged = near[0], near[1] + ";tag=b"
    to, back = ("10.1.0.1", "10.5.0.1"), ("10.5.0.1", "10.1.0.1")
    messages = [
        sip(
            EPOCH_NS,
            to,
            "INVITE sip:QUEUE@10.5.0.1 SIP/2.0",
            "in",
            near,
            "1 INVITE",
            sdp(("10.1.0.1", 10000)),
        ),
        sip(EPOCH_NS + 9 * S, back, "SIP/2.0 200 OK", "in", tagged, "1 INVITE", sdp(("10.5.0.1", 30000))),
        sip(EPOCH_NS + 20 * S, to, "BYE sip:QUEUE@10.5.0.1 SIP/2.0", "in", tagged, "2 BYE"),
    ]
    for number in (0, 1):
        host, start, name = f"10.2.0.{number}", EPOCH_NS + (1 + 4 * number) * S, f"hop-{number}"
        ends = "<sip:100@10.5.0.1>;tag=c", f"<sip:agent{number}@{host}>"
        offer = sdp(("10.5.0.1", 31000 + 2 * number))
        route = "10.5.0.1", host
        messages.append(
            sip(start, route, f"INVITE sip:agent{number}@{host} SIP/2.0", name, ends, "1 INVITE", offer)
        )
        status, body = ("200 OK", sdp((host, 20000))) if number else ("480 Gone", "")
        answer = f"SIP/2.0 {status}"
        told = ends[0], ends[1] + ";tag=d"
        messages.append(sip(start + 3 * S, route[::-1], answer, name, told, "1 INVITE", body))
    records = [
        (m.arrival_ns, udp(m.flow.source, 5060, m.flow.destination, 5060, m.payload)) for m in messages
    ]
    for side, flow in enumerate(
        (Flow("10.1.0.1", 10000, "10.5.0.1", 30000), Flow("10.5.0.1", 30000, "10.1.0.1", 10000))
    ):
        ends_of = flow.source, flow.source_port, flow.destination, flow.destination_port
        records += [
            (EPOCH_NS + 10 * S + index * 20_000_000, udp(*ends_of, rtp(index, 160 * index, side + 1)))
            for index in range(100)
        ]
    return pcap(sorted(records))


@pytest.mark.parametrize("asked", ["QUEUE", "agent0", "agent1", "UE", "nt0"])
def test_every_hop_s_number_finds_the_call(asked: str, database: Database, tmp_path: Path) -> None:
    capture = tmp_path / "queue.pcap"
    capture.write_bytes(queue())
    with database.connection() as connection:
        volumes.add(connection, tmp_path / "shelf")
    assert importer.import_one(database, Job(database.url, 1), capture).error == ""
    with database.connection() as connection:
        (row,) = find(connection, 1, CallQuery(called_number=asked))
        assert find(connection, 1, CallQuery(called_number=asked, caller_number="100")) == [row]
        assert find(connection, 1, CallQuery(called_number="agent9")) == []
    assert (row["caller_number"], row["called_number"], sorted(row["related"])) == (
        "100",
        "agent1",
        ["hop-0", "hop-1"],
    )
