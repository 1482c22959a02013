"""What was split off as it came is what the whole capture says, call by call and octet by octet."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.captures import (
    Record,
    fragments,
    frame,
    hep3,
    linux_sll,
    pcap,
    pcapng,
    rtp,
    tcp,
    udp,
    udp_datagram,
)
from tests.importing.test_rotation import START_MS, call
from tests.scenario.ladder import MS, A, B, Ladder, sdp
from tests.splitting.splits import SHARED, calls, groups_of, opened, read_groups, spooled, start, whole

from callreplay.packets.recognise import JOINABLE, recognise
from callreplay.splitting.merger import Merger
from callreplay.splitting.splitter import Splitter
from callreplay.splitting.spooling import Limits
from callreplay.splitting.stops import Stop

CAPTURES = sorted([*(SHARED / "cases").glob("*.pcap*"), *(SHARED / "vectors").rglob("*.pcap*")])


def test_the_folder_of_captures_is_there() -> None:
    if not CAPTURES:
        if os.environ.get("CI"):
            pytest.fail(f"{SHARED} has no captures")
        pytest.skip(f"{SHARED} has no captures")


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.name)
def test_every_capture_is_the_same_split(path: Path, tmp_path: Path) -> None:
    data = opened(path)
    if recognise(data).number not in JOINABLE:
        pytest.skip("a leg, not a capture")
    assert calls(read_groups(groups_of(tmp_path, data))) == calls([whole(path)])


def compare(records: list[Record], tmp_path: Path, groups: int | None = None) -> None:
    """The records give the same calls whole and split, in so many groups."""
    path = tmp_path / "whole.pcap"
    path.write_bytes(pcapng(sorted(records, key=lambda record: record[0])))
    found = groups_of(tmp_path / "spools", opened(path))
    assert calls(read_groups(found)) == calls([whole(path)])
    if groups is not None:
        assert len(found) == groups


def test_calls_at_the_same_time_have_a_spool_each(tmp_path: Path) -> None:
    compare([record for number in range(9) for record in call(number, 300 * number, 4)], tmp_path, 9)


def test_sockets_that_are_used_again_at_once(tmp_path: Path) -> None:
    """The next call has the ports of the last one, a second after its BYE."""
    records = call(1, 0, 4)
    later = call(1, 5_300, 4)
    records += [(at, octets.replace(b"call-1@a", b"call-2@a")) for at, octets in later]
    compare(records, tmp_path, 2)


def test_packets_that_come_before_their_signalling_are_adopted(tmp_path: Path) -> None:
    records = call(1, 0, 4)
    media = [record for record in records if b"SIP/2.0" not in record[1]]
    messages = [record for record in records if b"SIP/2.0" in record[1]]
    compare([(at - 120 * MS, octets) for at, octets in media] + messages, tmp_path, 1)


def test_rtp_that_nobody_announced_has_a_spool_a_pair_of_sockets(tmp_path: Path) -> None:
    records = [
        record
        for number in range(4)
        for record in call(number, 100 * number, 2)
        if b"SIP/2.0" not in record[1]
    ]
    compare(records, tmp_path, 4)


def test_what_only_looks_like_rtp_is_no_spool(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    records = [
        (START_MS * MS + n * MS, udp(A, 1000 + n, B, 9, bytes([0x80, 0]) + random.bytes(40)))
        for n in range(50)
    ]
    spooler, found = start(tmp_path)
    spooled(spooler, pcap(records))
    spooler.finish()
    assert (spooler.junk, found) == (50, [])
    assert list(spooler.open_folder.iterdir()) == []


def test_fragments_and_segments(tmp_path: Path) -> None:
    """An INVITE in IP fragments, an answer in two TCP segments on one connection with that of another call."""
    records: list[Record] = []
    for number in (1, 2):
        own = call(number, 200 * number, 3)
        for at, octets in own:
            payload = octets[42:]
            if payload.startswith(b"INVITE"):
                pieces = fragments(udp_datagram(5060, 5060, payload), A, B, 256, identification=number)
                records += [(at + n, frame(piece)) for n, piece in enumerate(pieces)]
            else:
                records.append((at, octets))
    compare(records, tmp_path, 2)


def test_messages_of_several_calls_on_one_connection(tmp_path: Path) -> None:
    messages = sorted(
        (record for number in range(5) for record in call(number, 10 * number, 3) if b"SIP/2.0" in record[1]),
        key=lambda record: record[0],
    )
    records = [
        record
        for number in range(5)
        for record in call(number, 10 * number, 3)
        if b"SIP/2.0" not in record[1]
    ]
    sent = {A: 1, B: 1}
    for at, octets in messages:
        source = A if octets[26:30] == bytes([10, 0, 0, 1]) else B
        ends = (A, 5060, B, 5060) if source == A else (B, 5060, A, 5060)
        for part in (octets[42:342], octets[342:]):
            if part:
                records.append((at, tcp(*ends, part, sent[source])))
                sent[source] += len(part)
    compare(records, tmp_path, 5)


def test_agents_and_link_layers(tmp_path: Path) -> None:
    """Signalling by HEP3, media as an interface of another link type has it."""
    plain: list[Record] = []
    for at, octets in call(1, 0, 3):
        payload, ends = octets[42:], [".".join(map(str, octets[n : n + 4])) for n in (26, 30)]
        if b"SIP/2.0" in payload:
            agent = hep3(payload, ends[0], 5060, ends[1], 5060, time_ns=at)
            plain.append((at, udp("10.9.9.9", 40000, "10.9.9.8", 9060, agent)))
        else:
            plain.append((at, octets))
    compare(plain, tmp_path, 1)
    cooked = [(at, linux_sll(octets[14:])) for at, octets in sorted(call(1, 0, 3))]
    found = groups_of(tmp_path / "sll", pcap(cooked, link=113))
    assert [read.calls[0].description.call_id for read in read_groups(found)] == ["call-1@a"]


def test_both_hops_of_a_b2bua_share_a_group(tmp_path: Path) -> None:
    middle, far = "10.0.0.9", "10.0.0.3"
    records: list[Record] = []
    near, hop = Ladder("near@a", START_MS), Ladder("hop@b", START_MS + 5)
    near.add("INVITE", "1 INVITE", body=sdp(A, 4000), tags=("A", ""), route=(A, middle))
    hop.add(
        "INVITE",
        "1 INVITE",
        body=sdp(middle, 6000),
        tags=("C", ""),
        route=(middle, far),
        headers="X-Cid: near@a\r\n",
    )
    hop.add("SIP/2.0 200 OK", "1 INVITE", body=sdp(far, 5000), tags=("C", "D"), route=(far, middle))
    near.add(
        "SIP/2.0 200 OK", "1 INVITE", body=sdp(middle, 6002), tags=("A", "B"), route=(middle, A), gap_ms=40
    )
    for message in (*near.messages, *hop.messages):
        records.append(
            (
                message.arrival_ns,
                udp(message.flow.source, 5060, message.flow.destination, 5060, message.payload),
            )
        )
    random = np.random.default_rng(5)
    for n in range(150):
        for (source, sport, relay, inside, outside, target, dport), ssrc in (
            ((A, 4000, middle, 6002, 6000, far, 5000), 1),
            ((far, 5000, middle, 6000, 6002, A, 4000), 2),
        ):
            packet = rtp(n, n * 160, ssrc, 0, random.bytes(160))
            at = (START_MS + 100 + n * 20) * MS
            records.append((at, udp(source, sport, relay, inside, packet)))
            records.append((at + MS, udp(relay, outside, target, dport, packet)))
    compare(records, tmp_path, 1)


def test_a_long_call_goes_on_in_another_file(tmp_path: Path) -> None:
    records = sorted(call(1, 0, 25) + call(2, 0, 3))
    (_, long) = sorted(groups_of(tmp_path, pcap(records), Limits(part=8.0)), key=lambda one: len(one.files))
    assert len(long.files) == 3
    path = tmp_path / "whole.pcap"
    path.write_bytes(pcap(sorted(call(1, 0, 25))))
    assert calls(read_groups([long])) == calls([whole(path)])
    cut = groups_of(tmp_path / "cut", pcap(records), Limits(part=4.0, parts=2))
    legs = [leg for read in read_groups(cut) for each in read.calls for leg in each.legs]
    assert sum(len(leg.rows) for leg in legs) == 2 * 50 * (25 + 3)


def test_groups_are_handed_on_when_they_are_over(tmp_path: Path) -> None:
    """After BYE and five seconds, RTP that nobody announced after three minutes, an answered call after an hour."""
    records = sorted(call(1, 0, 3) + call(2, 0, 4, bye=False))
    records += [record for record in call(3, 0, 2) if b"SIP/2.0" not in record[1]]
    spooler, found = start(tmp_path)
    spooled(spooler, pcap(sorted(records)))
    now = START_MS * MS
    for seconds, wanted in ((7, 0), (9, 1), (180, 1), (184, 2), (3600, 2), (3606, 3)):
        spooler.sweep(now + seconds * 10**9)
        spooler.flush()
        assert len(found) == wanted, seconds
    assert spooler.splitter.counters()["spools"] == 0


def test_memory_does_not_grow_with_calls(tmp_path: Path) -> None:
    spooler, _ = start(tmp_path)
    spooled(
        spooler, pcap(sorted(record for number in range(60) for record in call(number, 3_000 * number, 1)))
    )
    counters = spooler.splitter.counters()
    assert len(spooler.board.groups) + len(spooler._waiting) == 60
    assert counters["spools"] <= 3
    assert counters["ways"] <= 12
    spooler.finish()
    assert len(spooler.board.ways) == 0
    assert not spooler.board._talks
    assert not spooler.board._ways_of
    assert not spooler.board._pairs
    assert not spooler.board._alone
    assert not spooler.board._ports
    assert not spooler.hearing._sip
    assert not spooler.hearing._recent


@given(st.lists(st.integers(1, 900), max_size=12))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_stream_may_be_cut_anywhere(tmp_path_factory: pytest.TempPathFactory, cuts: list[int]) -> None:
    records = sorted(call(1, 0, 1))
    content = pcapng(records)
    spooler, found = start(tmp_path_factory.mktemp("spools"))
    held, at, first = b"", 0, True
    for size in [*cuts, len(content)]:
        held += content[at : at + size]
        at += size
        if len(held) < 28:
            continue
        octets = np.frombuffer(held, np.uint8)
        if first:
            spooler.splitter.open(octets, 2, stream=True)
            first = False
        else:
            spooler.splitter.feed(octets)
        assert spooler.drain() in (Stop.CUT, Stop.END)
        held = held[spooler.splitter.used :]
        spooler.splitter.rest()
    assert held == b""
    spooler.finish()
    (read,) = read_groups(found)
    assert [len(leg.rows) for leg in read.calls[0].legs] == [50, 50]


def test_captures_are_merged_in_order_of_time() -> None:
    records = sorted(call(1, 0, 2))
    pieces = [records[n::3] for n in range(3)]
    sources = []
    for n, piece in enumerate(pieces):
        octets = np.frombuffer(pcapng(piece) if n else pcap(piece, nano=True), np.uint8)
        found = recognise(octets)
        sources.append((octets, found.number, found.options))
    merger = Merger(sources)
    out, got = np.empty(4096, np.uint8), b""
    while used := merger.take(out):
        got += out[:used].tobytes()
    assert merger.packets == len(records)
    splitter = Splitter()
    splitter.open(np.frombuffer(got, np.uint8), 2)
    times = []
    while (stop := splitter.run(1)) != Stop.END:
        assert stop != Stop.DAMAGED
        times.append(splitter.last_ns)
    assert times == sorted(times)
    with pytest.raises(ValueError, match="needs"):
        Merger(sources).take(np.empty(60, np.uint8))


def test_numbers_that_are_none() -> None:
    splitter = Splitter()
    for bad in (splitter.forget, splitter.way, splitter.leave, splitter.spool_of):
        with pytest.raises(IndexError):
            bad(0)
    with pytest.raises(ValueError, match="no name"):
        splitter.spool(b"../x", True)
    spool = splitter.spool(b"x", True)
    with pytest.raises(ValueError, match="pending"):
        splitter.keep(spool)
    splitter.drop(spool)
    with pytest.raises(IndexError):
        splitter.drop(spool)


ADDRESSES = ["10.1.2.3", "8.8.8.8", "8.8.8.888", "192.168.1.1", "192.169.1.1", "172.16.0.1", "224.0.0.1", "240.0.0.1",
             "239.1.1.1", "100.64.0.1", "host.example", "999.1.1.1", "::1", "ff02::1", "2001:4860::8888", "127.0.0.1",
             "169.254.1.1", "1.2.3"]  # fmt: skip


@pytest.mark.parametrize("address", ADDRESSES)
def test_addresses_are_judged_as_the_library_does(address: str) -> None:
    from callreplay.splitting import groups

    try:
        found = ipaddress.ip_address(address)
        wanted = found.is_multicast, found.is_private
    except ValueError:
        wanted = False, True
    assert (groups._multicast(address), groups._unroutable(address)) == wanted
