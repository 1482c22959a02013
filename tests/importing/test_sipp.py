"""Real dialogs: SIPp calls SIPp in a network namespace of their own while tcpdump captures; then the importer."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.captures import pcap, rtp, udp

from callreplay.importing import importer
from callreplay.importing.importer import Job
from callreplay.store import volumes
from callreplay.store.database import Database

PACKETS, CALLS, TALK_MS = 50, 2, 1200
UNSHARE = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--net", "--map-root-user"]

# What sipp's own scenario "uac_pcap" does, without its digits and with a second of our speech.
CALLER = f"""<?xml version="1.0" encoding="ISO-8859-1" ?>
<scenario name="caller">
  <send retrans="500"><![CDATA[
INVITE sip:[service]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: "Anna Bee" <sip:4711@[local_ip]:[local_port]>;tag=[pid]SIPpTag09[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>
Call-ID: [call_id]
CSeq: 1 INVITE
Contact: <sip:4711@[local_ip]:[local_port]>
Max-Forwards: 70
Content-Type: application/sdp
Content-Length: [len]

v=0
o=user1 53655765 2353687637 IN IP[local_ip_type] [local_ip]
s=-
c=IN IP[local_ip_type] [local_ip]
t=0 0
m=audio [auto_media_port] RTP/AVP 8
a=rtpmap:8 PCMA/8000

]]></send>
  <recv response="100" optional="true"/>
  <recv response="180" optional="true"/>
  <recv response="200" rtd="true" crlf="true"/>
  <send><![CDATA[
ACK sip:[service]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: "Anna Bee" <sip:4711@[local_ip]:[local_port]>;tag=[pid]SIPpTag09[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>[peer_tag_param]
Call-ID: [call_id]
CSeq: 1 ACK
Max-Forwards: 70
Content-Length: 0

]]></send>
  <nop><action><exec play_pcap_audio="speech.pcap"/></action></nop>
  <pause milliseconds="{TALK_MS}"/>
  <send retrans="500"><![CDATA[
BYE sip:[service]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: "Anna Bee" <sip:4711@[local_ip]:[local_port]>;tag=[pid]SIPpTag09[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>[peer_tag_param]
Call-ID: [call_id]
CSeq: 2 BYE
Max-Forwards: 70
Content-Length: 0

]]></send>
  <recv response="200" crlf="true"/>
</scenario>
"""

# One call after the other: the echo of both goes over the one port of the answering side, which then would wait four
# seconds for a BYE sent again.
SCRIPT = f"""
set -e
ip link set lo up
tcpdump -i lo -U -n --immediate-mode -w calls.pcap udp 2>tcpdump.log & dump=$!
for _ in $(seq 100); do grep -q listening tcpdump.log && break; sleep 0.05; done
sipp -sn uas -i 127.0.0.1 -p 5070 -mi 127.0.0.1 -mp 7000 -rtp_echo -m {CALLS} -nostdin >uas.log 2>&1 & uas=$!
sleep 0.3
sipp -sf caller.xml -i 127.0.0.1 -p 5080 -mi 127.0.0.1 -s 8000 -m {CALLS} -l 1 -r 10 -nostdin \\
  127.0.0.1:5070 >uac.log 2>&1
kill $uas
sleep 0.3
kill $dump
wait $dump
"""


@pytest.fixture
def captured(tmp_path: Path) -> Path:
    """What tcpdump saw of the calls."""
    for tool in ("sipp", "tcpdump", "ip", "unshare"):
        if shutil.which(tool) is None:
            if os.environ.get("CI") == "true":
                pytest.fail(f"{tool} is missing")
            pytest.skip(f"{tool} is missing")
    trial = subprocess.run(
        [*UNSHARE, "ip", "link", "set", "lo", "up"], capture_output=True, text=True, check=False
    )
    if trial.returncode:
        pytest.skip(f"no network namespaces here: {trial.stderr.strip()}")
    speech = [
        (
            n * 20_000_000,
            udp("10.0.0.1", 4000, "10.0.0.2", 4002, rtp(n, n * 160, 77, 8, bytes([n ^ 0x55]) * 160)),
        )
        for n in range(PACKETS)
    ]
    (tmp_path / "speech.pcap").write_bytes(pcap(speech))
    (tmp_path / "caller.xml").write_text(CALLER)
    done = subprocess.run(
        [*UNSHARE, "bash", "-c", SCRIPT],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    logs = "\n".join(path.read_text(errors="replace")[-800:] for path in tmp_path.glob("*.log"))
    assert done.returncode == 0, done.stderr + logs
    return tmp_path / "calls.pcap"


def test_sipps_calls_are_these_rows(captured: Path, database: Database, tmp_path: Path) -> None:
    with database.connection() as connection:
        volumes.add(connection, tmp_path / "shelf")
    outcome = importer.import_one(database, Job(database.url, 1), captured)
    assert (outcome.error, outcome.warnings, outcome.added) == ("", [], CALLS)
    with database.connection() as connection:
        rows = connection.execute("SELECT * FROM calls ORDER BY started_at").fetchall()
        files = connection.execute("SELECT * FROM call_files").fetchall()
    assert len({row["wire_call_id"] for row in rows}) == CALLS
    for row in rows:
        assert (row["protocol"], row["status"], row["inferred"]) == ("sip", "answered", False)
        assert (row["caller_number"], row["caller_name"], row["called_number"]) == (
            "4711",
            "Anna Bee",
            "8000",
        )
        assert (str(row["caller_ip"]), str(row["called_ip"]), row["called_port"]) == (
            "127.0.0.1",
            "127.0.0.1",
            7000,
        )
        assert row["started_at"] < row["answered_at"] < row["ended_at"]
        assert TALK_MS <= row["duration_ms"] < 5000
        legs = {file["leg"]: file for file in files if file["call_uuid"] == row["uuid"]}
        assert {leg: (file["packets"], file["codec"], file["lost"]) for leg, file in legs.items()} == {
            "caller": (PACKETS, "PCMA/8000", 0),
            "called": (PACKETS, "PCMA/8000", 0),
        }
    assert [
        line["added"] for line in importer.import_one(database, Job(database.url, 1), captured).calls
    ] == [False] * CALLS
