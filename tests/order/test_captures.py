"""From capture files to ordered legs: simulated calls through a real pcap, and the real captures of the vectors."""

import os
import re
from pathlib import Path

import numpy as np
import pytest

from callreplay import packets, signalling
from callreplay.order import CallMedia, assemble
from tests.scenario.call import Call, Network, SyntheticScan, capture
from tests.scenario.truth import placement_errors_ms

FOLDER = Path(os.environ.get("CALLREPLAY_VECTORS", Path(__file__).parents[3] / "shared" / "vectors"))


def scan(source: Path | bytes) -> packets.Scan:
    return packets.scan(packets.open_buffer(source))


def vector(name: str) -> Path:
    path = FOLDER / name
    if not path.exists():
        if os.environ.get("CI") == "true":
            pytest.fail(f"no test vector {path}")
        pytest.skip(f"no test vector {path}; set CALLREPLAY_VECTORS")
    return path


def calls(name: str) -> list[CallMedia]:
    found = scan(vector(name))
    descriptions = signalling.merge_related(signalling.describe(found.messages))
    return assemble(found, descriptions, reports=found.sender_reports)


def counts(name: str) -> list[tuple[int, int, int]]:
    """Packets (copies left out), lost and duplicates of each stream, as rtpproxy's own tool counted them."""
    text = vector(f"two-leg/{name}.output").read_text()
    return [
        (int(received), int(lost), int(duplicates))
        for duplicates, received, lost in re.findall(r"duplicates=(\d+)\n.*precvd=(\d+), plost=(\d+)", text)
    ]


def test_a_simulated_call_through_a_pcap_is_ordered_as_its_columns_are() -> None:
    call = Call.between()
    call.networks = (Network(20, 120, 0.1, 0.05, seed=5), Network(40, 60, 0.02, seed=6))
    call.caller.talk(5).advance(4).talk(5)
    call.called.start_ns += 500_000_000
    call.called.talk(4).noise().advance(3).talk(4)
    arrived = call.arrived()
    read, made = assemble(scan(capture(arrived)))[0], assemble(SyntheticScan(arrived))[0]
    for one, other, direction in zip(read.legs, made.legs, (call.caller, call.called), strict=True):
        assert one.columns.timestamp.tolist() == other.columns.timestamp.tolist()
        assert np.array_equal(one.columns.gaps, other.columns.gaps)
        assert one.statistics == other.statistics
        assert np.abs(placement_errors_ms(one, direction.packets)).max() <= 5.0


@pytest.mark.parametrize("name", ["call1_alaw", "call1_ulaw", "call1_g729"])
def test_both_legs_of_a_real_call_count_as_another_tool_counted(name: str) -> None:
    legs = [scan(vector(f"two-leg/{name}.{side}.rtp")) for side in "ao"]
    media = assemble(legs)
    assert len(media) == 1
    found = sorted(
        (leg.statistics.packets - leg.statistics.duplicates, leg.statistics.lost, leg.statistics.duplicates)
        for leg in media[0].legs
    )
    assert found == sorted(counts(name))
    assert abs(media[0].caller.start_ns - media[0].called.start_ns) < 1_000_000_000


@pytest.mark.parametrize("name", ["dups.a", "lost.o"])
def test_real_duplicates_and_losses(name: str) -> None:
    statistics = calls(f"two-leg/{name}.rtp")[0].caller.statistics
    found = (statistics.packets - statistics.duplicates, statistics.lost, statistics.duplicates)
    assert found in counts(name.split(".", maxsplit=1)[0])


def test_a_real_call_with_digits() -> None:
    (media,) = calls("sip/SIP_DTMF2.cap")
    assert [str(leg.codec) for leg in media.legs] == ["PCMA/8000", "PCMA/8000"]
    assert [leg.statistics.ptime_ms for leg in media.legs] == [30.0, 30.0]
    assert sum(leg.statistics.lost for leg in media.legs) == 2
    assert "".join(event.digit for leg in media.legs for event in leg.events) == "6789123"


def test_a_real_call_with_comfort_noise() -> None:
    (media,) = calls("sip/rtp-protocol.pcap")
    assert [str(leg.codec) for leg in media.legs] == ["PCMA/8000", "PCMA/8000"]
    assert [leg.statistics.lost for leg in media.legs] == [0, 0]
    assert not media.one_way


def test_codecs_negotiated_in_mid_call_against_an_echo() -> None:
    (media,) = calls("sip/codec-negotiation.pcap")
    for leg in media.legs:
        assert [str(span.codec) for span in leg.columns.spans] == ["PCMU/8000", "G722/8000"]


def test_a_skinny_call_captured_twice_with_forks_to_a_recorder() -> None:
    (media,) = calls("sip/skinny.pcap")
    assert media.copies == 4
    assert not media.one_way
    assert [leg.statistics.lost for leg in media.legs] == [0, 0]
    assert len({leg.streams[0].ssrc for leg in media.legs}) == 2


@pytest.mark.parametrize(("name", "seconds"), [("bark.rtp", 0.3), ("voice.rtpdump", 8.7)])
def test_rtpdump_files_are_one_way_calls(name: str, seconds: float) -> None:
    (media,) = calls(f"rtpdump/{name}")
    assert media.one_way
    assert (media.end_ns - media.start_ns) * 1e-9 == pytest.approx(seconds, abs=1e-3)


@pytest.mark.parametrize(
    ("name", "sources", "packets_each", "seconds"),
    [
        ("SIP_DTMF2.cap", ("192.168.105.110:4374", "192.168.105.172:4376"), (665, 666), 20.0),
        ("codec-negotiation.pcap", ("127.0.0.1:5084", "127.0.0.1:5094"), (302, 302), 6.0),
        ("register-invite-reinvite-bye.pcap", ("127.0.0.1:5094", "127.0.0.1:5084"), (109, 109), 2.1),
        ("rtp-protocol.pcap", ("10.33.6.101:6040", "10.33.6.100:6020"), (201, 47), 4.5),
        ("sip-rtp-g711.pcap", ("", "10.0.2.15:27942"), (0, 425), 8.5),
        ("sip-rtp-g729a.pcap", ("", "10.0.2.15:28120"), (0, 425), 8.5),
        ("skinny.pcap", ("192.168.195.58:32144", "192.168.195.50:17718"), (36, 33), 0.4),
    ],
)
def test_real_calls_have_their_sides_the_right_way_round(
    name: str, sources: tuple[str, str], packets_each: tuple[int, int], seconds: float
) -> None:
    """Who sends from where, by the SDP in each (or StartMediaTransmission), and how much, by tshark's count."""
    media = calls(f"sip/{name}")[0]
    for leg, source, count in zip(media.legs, sources, packets_each, strict=True):
        flows = {stream.flow for stream in leg.streams}
        assert {f"{flow.source}:{flow.source_port}" for flow in flows} == ({source} if source else set())
        assert leg.statistics.packets == count
    assert not media.sides_inferred
    assert (media.end_ns - media.start_ns) * 1e-9 == pytest.approx(seconds, abs=0.06)
